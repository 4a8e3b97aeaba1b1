"""Any PettingZoo ParallelEnv with Discrete actions as a game, turn-based ones too; environments one after another."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Discrete, Space
from pettingzoo.utils.conversions import turn_based_aec_to_parallel_wrapper
from torch import Tensor

from envs.api import AgentSpec, BoolArray, FeatureBlock, FloatArray
from envs.games.api import Frame, GameError, Transition
from envs.games.spaces import Moment, Observed, by_agent, flag, handed_over, legal_actions, number
from scenarios.ranges import shown

HORIZON = 1000  # steps, for environments that name no max_cycles
_FIELD = "scenario.environment.blocks"

_STEP = ("observations", "rewards", "terminations", "truncations", "infos")


@dataclass(frozen=True, slots=True)
class _Look:
    """What one environment shows."""

    columns: FloatArray  # [N, O]
    mask: BoolArray  # [N, A] legal actions
    asked: BoolArray  # [N] lives, and has a choice
    state: FloatArray  # [S]
    living: bool  # whether anybody does


class ParallelGame:
    """Satisfies ``envs.games.api.Game``.

    The team's reward is the mean over all possible agents. An agent that was terminated, or is not observed, is dead:
    its columns are 0 and action 0 is its only legal one. An agent whose action mask is empty, or whose turn it is not
    in a turn-based game, waits: it observes, decides nothing, and no action of its is handed over. The game is
    terminated once all agents are; the first agent that is truncated cuts it off for all, and so does the horizon.
    """

    has_victory = False
    backend = "pettingzoo"

    def __init__(
        self,
        make_env: Callable[[], Any],
        environments: int,
        blocks: Mapping[str, Sequence[tuple[str, int]]] | None = None,
        *,
        name: str = "pettingzoo",
        horizon: int | None = None,
    ) -> None:
        """``blocks``: agent, as text ("*": all others) -> names and sizes that make up its flattened observation, in
        order; an agent without has the entries of its Dict as blocks, or one block "observation". ``horizon`` None: the
        environment's max_cycles, else 1000.

        Raises:
            GameError: the environment declares or hands over what is not a game of this kind.
        """
        if environments < 1:
            raise GameError(f"environments is {environments}; allowed: at least 1")
        self.name, self.environments = name, environments
        self._envs = [make_env() for _ in range(environments)]
        first = self._envs[0]
        self._agents: list[Any] = list(getattr(first, "possible_agents", None) or ())
        if not self._agents:
            raise GameError(f"the environment of {name!r} names no possible_agents: it must name at least one")
        self._check_names()
        _check_reset(first, name)
        given = dict(blocks or {})
        known = [str(agent) for agent in self._agents]
        if unknown := [agent for agent in given if agent not in (*known, "*")]:
            raise GameError(f"{_FIELD} names agent {unknown[0]!r}; allowed: {', '.join(known)}, or * for all others")
        self._observed = [Observed.of(agent, first.observation_space(agent)) for agent in self._agents]
        self.specs = tuple(
            _spec(first, each, given.get(str(each.agent), given.get("*", ()))) for each in self._observed
        )
        self._first_action = [int(first.action_space(agent).start) for agent in self._agents]
        self._columns = max(spec.obs_size for spec in self.specs)
        self._actions = max(len(spec.actions) for spec in self.specs)
        self.horizon: int = horizon or _max_cycles(first, name)
        self._state_shape: tuple[int, ...] | None = None
        self._seed = 0
        self._episode = np.zeros(environments, np.int64)
        self._steps = np.zeros(environments, np.int64)
        obs, infos = self._reset(first, 0)
        self._state_shape = _state_shape(first)
        look = self._look(first, obs, infos, {}, Moment(name, 0))
        self._check_asked(look, Moment(name, 0))
        self._looks = [look] * environments
        self.state_size: int = len(self._looks[0].state)

    def reset(self, seed: int) -> Frame:
        self._seed = seed
        self._episode[:] = -1
        self._looks = [self._start(e) for e in range(self.environments)]
        return _stack(self._looks)

    def step(self, action: Tensor) -> Transition:
        reward = np.zeros(self.environments, np.float32)
        terminated = np.zeros(self.environments, np.bool_)
        truncated = np.zeros(self.environments, np.bool_)
        lasts: list[_Look] = []
        for e, (env, row) in enumerate(zip(self._envs, action.tolist(), strict=True)):
            choices = {
                agent: start + choice
                for agent, start, choice, asked in zip(
                    self._agents, self._first_action, row, self._looks[e].asked, strict=True
                )
                if asked
            }
            self._steps[e] += 1
            moment = Moment(self.name, int(self._steps[e]))
            obs, rewards, gone, cut, infos = handed_over(env.step(choices), _STEP, "step()", moment)
            reward[e] = self._mean_reward(rewards, moment)
            ended, stopped = self._flags(gone, "terminations", moment), self._flags(cut, "truncations", moment)
            last = self._look(env, obs, infos, ended, moment)
            terminated[e] = not last.living
            # An environment that empties its list of agents is over, whatever its flags say.
            stops = any(stopped.values()) or not env.agents or self._steps[e] >= self.horizon
            truncated[e] = stops and not terminated[e]
            if not (terminated[e] or truncated[e]):
                self._check_asked(last, moment)
            lasts.append(last)
            self._looks[e] = self._start(e) if terminated[e] or truncated[e] else last
        return Transition(
            frame=_stack(self._looks),
            reward=torch.from_numpy(reward),
            terminated=torch.from_numpy(terminated),
            truncated=torch.from_numpy(truncated),
            last=_stack(lasts),
            won=torch.zeros(self.environments, dtype=torch.bool),
        )

    def close(self) -> None:
        for env in self._envs:
            env.close()

    def _start(self, e: int) -> _Look:
        self._episode[e] += 1
        self._steps[e] = 0
        entropy = (self._seed, e, int(self._episode[e]))
        seed = int(np.random.SeedSequence(entropy).generate_state(1)[0]) >> 1  # some environments take 31 bits only
        obs, infos = self._reset(self._envs[e], seed)
        look = self._look(self._envs[e], obs, infos, {}, Moment(self.name, 0))
        self._check_asked(look, Moment(self.name, 0))
        return look

    def _reset(self, env: Any, seed: int) -> tuple[Any, ...]:
        return handed_over(env.reset(seed=seed), ("observations", "infos"), "reset()", Moment(self.name, 0))

    def _look(self, env: Any, obs: Any, infos: Any, gone: Mapping[Any, bool], moment: Moment) -> _Look:
        """What one environment shows; ``gone``: agents that were terminated with this step."""
        columns = np.zeros((len(self.specs), self._columns), np.float32)
        mask = np.zeros((len(self.specs), self._actions), np.bool_)
        by_agent(obs, self._agents, "the observations", moment)
        if not isinstance(infos, Mapping):
            raise moment.refuse("the infos", infos, "a dict with an entry for each agent")
        living = [agent in obs and not gone.get(agent, False) for agent in self._agents]
        turn = [env.aec_env.agent_selection] if isinstance(env, turn_based_aec_to_parallel_wrapper) else self._agents
        for i, (agent, spec, each) in enumerate(zip(self._agents, self.specs, self._observed, strict=True)):
            if not living[i]:
                continue
            columns[i, : spec.obs_size], legal = each.split(obs[agent], infos.get(agent, {}), moment)
            if agent in turn:
                mask[i, : len(spec.actions)] = legal_actions(legal, len(spec.actions), agent, moment)
        asked: BoolArray = np.any(mask, axis=1)
        mask[~asked, 0] = True
        if self._state_shape is None:
            state = np.concatenate([row[: spec.obs_size] for row, spec in zip(columns, self.specs, strict=True)])
        else:
            state = np.array(env.state(), dtype=np.float32)
            if state.shape != self._state_shape or not np.isfinite(state).all():
                raise moment.refuse("state()", state.tolist(), f"{self._state_shape[0]} finite numbers")
        return _Look(columns, mask, asked, state, any(living))

    def _mean_reward(self, rewards: Any, moment: Moment) -> float:
        by_agent(rewards, self._agents, "the rewards", moment)
        given = [
            number(rewards[agent], f"the reward of agent {agent!r}", moment) if agent in rewards else 0.0
            for agent in self._agents
        ]
        return sum(given) / len(self._agents)

    def _flags(self, given: Any, what: str, moment: Moment) -> dict[Any, bool]:
        by_agent(given, self._agents, f"the {what}", moment)
        return {agent: flag(value, f"the {what[:-1]} of agent {agent!r}", moment) for agent, value in given.items()}

    def _check_asked(self, look: _Look, moment: Moment) -> None:
        """A game that goes on must ask somebody."""
        if not look.asked.any():
            raise moment.refuse("the number of agents that may act", 0, "at least 1: one alive with a legal action")

    def _check_names(self) -> None:
        names = [str(agent) for agent in self._agents]
        if repeated := [name for name in names if names.count(name) > 1]:
            raise GameError(f"{self.name!r} has two agents called {repeated[0]}: each needs a name of its own")


def _stack(looks: Sequence[_Look]) -> Frame:
    arrays = zip(*((look.columns, look.mask, look.asked, look.state) for look in looks), strict=True)
    return Frame(*(torch.from_numpy(np.stack(parts)) for parts in arrays))


def _check_reset(env: Any, name: str) -> None:
    """Episodes are functions of their seeds, so the environment must take one."""
    parameters = inspect.signature(env.reset).parameters
    if "seed" not in parameters and not any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        raise GameError(
            f"the environment of {name!r} has reset({', '.join(parameters)}): it must be reset(seed=None, "
            "options=None), so that episodes can be repeated"
        )


def _max_cycles(env: Any, name: str) -> int:
    limit = getattr(env.unwrapped, "max_cycles", None)
    if limit is None or limit == math.inf:
        return HORIZON
    if isinstance(limit, bool) or not isinstance(limit, int | float | np.integer) or limit % 1 != 0 or limit < 1:
        raise GameError(f"max_cycles of {name!r} is {shown(limit)}: it must be a whole number from 1, or None")
    return int(limit)


def _state_shape(env: Any) -> tuple[int, ...] | None:
    """Of a state that is a vector; None where there is no state, or an image or table too big for critics."""
    try:
        shape = np.shape(env.state())
    except (AttributeError, NotImplementedError):
        return None
    return shape if len(shape) == 1 else None


def _spec(env: Any, observed: Observed, blocks: Sequence[tuple[str, int]]) -> AgentSpec:
    agent = observed.agent
    actions: Space[Any] = env.action_space(agent)
    if not isinstance(actions, Discrete):
        raise GameError(f"agent {agent!r} has actions {shown(actions)}: they must be Discrete")
    named = list(blocks) or [(part.name, part.columns) for part in observed.parts if part.columns]
    names = [name for name, _ in named]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise GameError(f"{_FIELD} of agent {agent!r} names {repeated[0]!r} twice: each block needs a name of its own")
    if (total := sum(size for _, size in named)) != observed.columns:
        raise GameError(
            f"{_FIELD} of agent {agent!r} have {total} columns together: its observation has {observed.columns}"
        )
    return AgentSpec(
        name=str(agent),
        hardware="agent",
        blocks=tuple(FeatureBlock(name, size, "1", 1.0) for name, size in named),
        fixed_actions=tuple(f"action_{choice}" for choice in range(int(actions.n))),
        slots=0,
    )
