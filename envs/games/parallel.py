"""Any PettingZoo ParallelEnv with Box observations and Discrete actions as a game; environments one after another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Dict, Discrete, Space
from torch import Tensor

from envs.api import AgentSpec, BoolArray, FeatureBlock, FloatArray
from envs.games.api import Frame, GameError, Transition

HORIZON = 1000  # steps, for environments that name no max_cycles
_FIELD = "scenario.environment.blocks"

_Look = tuple[FloatArray, BoolArray, BoolArray, FloatArray]  # columns [N, O], legal actions [N, A], life [N], state [S]


class ParallelGame:
    """Satisfies ``envs.games.api.Game``.

    The team's reward is the mean over all possible agents. An agent that was terminated, or is not observed, is dead:
    its columns are 0 and action 0 is its only legal one. The game is terminated once all agents are; the first agent
    that is truncated cuts it off for all, and so does the horizon.
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
        """``blocks``: agent ("*": all others) -> names and sizes that make up its flattened observation, in order;
        an agent without has one block "observation". ``horizon`` None: the environment's max_cycles, else 1000.
        """
        if environments < 1:
            raise GameError(f"environments is {environments}; allowed: at least 1")
        self.name, self.environments = name, environments
        self._envs = [make_env() for _ in range(environments)]
        first = self._envs[0]
        self._agents: list[Any] = list(getattr(first, "possible_agents", ()))
        if not self._agents:
            raise GameError(f"the environment of {name!r} names no possible_agents: it must name at least one")
        given = dict(blocks or {})
        if unknown := [agent for agent in given if agent not in (*self._agents, "*")]:
            known = ", ".join(map(str, self._agents))
            raise GameError(f"{_FIELD} names agent {unknown[0]!r}; allowed: {known}, or * for all others")
        self.specs = tuple(_spec(first, agent, given.get(agent, given.get("*", ()))) for agent in self._agents)
        self._first_action = [int(first.action_space(agent).start) for agent in self._agents]
        self._columns = max(spec.obs_size for spec in self.specs)
        self._actions = max(len(spec.actions) for spec in self.specs)
        self.horizon: int = horizon or int(getattr(first.unwrapped, "max_cycles", None) or HORIZON)
        obs, infos = first.reset(seed=0)
        self._state_shape = _state_shape(first)
        self._seed = 0
        self._episode = np.zeros(environments, np.int64)
        self._steps = np.zeros(environments, np.int64)
        self._looks = [self._look(first, obs, infos, {})] * environments
        self.state_size: int = len(self._looks[0][3])

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
            alive = self._looks[e][2]
            choices = {
                agent: start + choice
                for agent, start, choice, lives in zip(self._agents, self._first_action, row, alive, strict=True)
                if lives
            }
            obs, rewards, gone, cut, infos = env.step(choices)
            self._steps[e] += 1
            reward[e] = sum(float(rewards.get(agent, 0.0)) for agent in self._agents) / len(self._agents)
            last = self._look(env, obs, infos, gone)
            terminated[e] = not last[2].any()
            # An environment that empties its list of agents is over, whatever its flags say.
            stops = any(cut.values()) or not env.agents or self._steps[e] >= self.horizon
            truncated[e] = stops and not terminated[e]
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
        obs, infos = self._envs[e].reset(seed=seed)
        return self._look(self._envs[e], obs, infos, {})

    def _look(self, env: Any, obs: Mapping[Any, Any], infos: Mapping[Any, Any], gone: Mapping[Any, Any]) -> _Look:
        """What one environment shows; ``gone``: agents that were terminated with this step."""
        columns = np.zeros((len(self.specs), self._columns), np.float32)
        mask = np.zeros((len(self.specs), self._actions), np.bool_)
        alive = np.array([agent in obs and not gone.get(agent, False) for agent in self._agents], dtype=np.bool_)
        mask[~alive, 0] = True
        for i, (agent, spec) in enumerate(zip(self._agents, self.specs, strict=True)):
            if not alive[i]:
                continue
            seen = obs[agent]
            legal = infos.get(agent, {}).get("action_mask")
            if isinstance(seen, Mapping):
                seen, legal = seen["observation"], seen.get("action_mask", legal)
            columns[i, : spec.obs_size] = np.ravel(seen)
            mask[i, : len(spec.actions)] = True if legal is None else np.asarray(legal, dtype=np.bool_)
            if not mask[i].any():
                raise GameError(f"agent {agent!r} of {self.name!r} has no legal action: its action_mask must allow one")
        if self._state_shape is None:
            state = np.concatenate([row[: spec.obs_size] for row, spec in zip(columns, self.specs, strict=True)])
        else:
            state = np.array(env.state(), dtype=np.float32)
        return columns, mask, alive, state


def _stack(looks: Sequence[_Look]) -> Frame:
    obs, mask, alive, state = (torch.from_numpy(np.stack(parts)) for parts in zip(*looks, strict=True))
    return Frame(obs, mask, alive, state)


def _state_shape(env: Any) -> tuple[int, ...] | None:
    """Of a state that is a vector; None where there is no state, or an image or table too big for critics."""
    try:
        shape = np.shape(env.state())
    except (AttributeError, NotImplementedError):
        return None
    return shape if len(shape) == 1 else None


def _spec(env: Any, agent: Any, blocks: Sequence[tuple[str, int]]) -> AgentSpec:
    actions: Space[Any] = env.action_space(agent)
    if not isinstance(actions, Discrete):
        raise GameError(f"agent {agent!r} has actions {actions}: they must be Discrete")
    seen: Space[Any] = env.observation_space(agent)
    if isinstance(seen, Dict) and "observation" in seen.spaces:
        seen = seen["observation"]
    if not isinstance(seen, Box):
        raise GameError(
            f"agent {agent!r} has observations {seen}: they must be a Box, or a Dict of 'observation', a Box, and "
            "'action_mask'"
        )
    columns = int(np.prod(seen.shape))
    named = list(blocks) or [("observation", columns)]
    names = [name for name, _ in named]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise GameError(f"{_FIELD} of agent {agent!r} names {repeated[0]!r} twice: each block needs a name of its own")
    if (total := sum(size for _, size in named)) != columns:
        raise GameError(f"{_FIELD} of agent {agent!r} have {total} columns together: its observation has {columns}")
    return AgentSpec(
        name=str(agent),
        hardware="agent",
        blocks=tuple(FeatureBlock(name, size, "1", 1.0) for name, size in named),
        fixed_actions=tuple(f"action_{choice}" for choice in range(int(actions.n))),
        slots=0,
    )
