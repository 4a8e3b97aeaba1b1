"""Multi-agent particle environments: on jaxmarl, to train on, and on mpe2, the canonical package, to report on.

Shapes: E environments, N learning agents, L landmarks, G good agents, O observation columns of the widest agent, A
actions of the one that has most.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from envs.api import AgentSpec, FeatureBlock
from envs.games.api import Frame, GameError, Transition
from envs.games.jax_bridge import Lockstep, load

HORIZON = 25  # steps
_MOVES = ("none", "left", "right", "down", "up")
_SAYS = ("say_0", "say_1", "say_2")
_SPREAD = {"velocity": 2, "position": 2, "landmarks": 6, "allies": 4, "comm": 4}
_GOOD = {"goal": 2, "landmarks": 4, "others": 4}

# Map -> its name in jaxmarl and mpe2, and the learning agents: name, hardware, blocks, actions.
_MAPS: dict[str, tuple[str, tuple[tuple[str, str, dict[str, int], tuple[str, ...]], ...]]] = {
    "simple_spread": (
        "simple_spread_v3",
        tuple((f"agent_{index}", "agent", _SPREAD, _MOVES) for index in range(3)),
    ),
    "simple_speaker_listener": (
        "simple_speaker_listener_v4",
        (
            ("speaker_0", "speaker", {"goal": 3}, _SAYS),
            ("listener_0", "listener", {"velocity": 2, "landmarks": 6, "message": 3}, _MOVES),
        ),
    ),
    "simple_adversary": (
        "simple_adversary_v3",
        tuple((f"agent_{index}", "agent", _GOOD, _MOVES) for index in range(2)),
    ),
}
_ADVERSARY = "adversary_0"
_GLIDE_S = 0.4  # a free particle comes to rest this many seconds of its speed ahead: dt / damping = 0.1 / 0.25
_NEAR = 0.1  # half of how far one push carries (accel 5 x dt 0.1 x 0.4 s): a push from less far would lead no nearer


def adversary_action(xp: Any, velocity: Any, landmarks: Any, others: Any) -> Any:
    """What simple_adversary's adversary does; ``xp`` is numpy or jax.numpy.

    velocity [2] is its own; landmarks [L, 2] and others [G, 2] are seen from where it is. It does not know which
    landmark is the goal. It heads for the landmark nearest to the mean position of the good agents (of equally near
    ones, the first). To stop there it looks at where it would glide to without a push: if that is within 0.1 of the
    landmark along both axes it does nothing, else it pushes towards the landmark along the axis with the larger rest
    (of equal ones, x).
    """
    away = xp.sum(xp.square(landmarks - xp.mean(others, axis=0)), axis=1)
    rest = landmarks[xp.argmin(away)] - _GLIDE_S * velocity
    axis = xp.argmax(xp.abs(rest))
    return xp.where(xp.abs(rest[axis]) <= _NEAR, 0, 1 + 2 * axis + (rest[axis] > 0))


class MpeGame:
    """E environments of one map on jaxmarl.

    The reward is the mean over the learning agents of mpe2's rewards per agent. Episodes end only by the time limit.
    In simple_adversary the two good agents learn, and the adversary, which does as ``adversary_action`` says, is part
    of the environment. The state holds all learning agents' observations, one after the other.
    """

    backend = "mpe"
    has_victory = False
    horizon = HORIZON

    def __init__(self, map_name: str, environments: int) -> None:
        self.name = map_name
        self.environments = environments
        self.specs = _specs(map_name)
        self.state_size = sum(spec.obs_size for spec in self.specs)
        jnp = load("jax.numpy")
        # jaxmarl compares the limit with the number of steps before this one.
        env = load("jaxmarl").make(f"MPE_{_MAPS[map_name][0]}", max_steps=HORIZON - 1)
        learners = [spec.name for spec in self.specs]
        width = max(spec.obs_size for spec in self.specs)
        mask = _action_mask(self.specs)

        def view(state: Any) -> tuple[Any, Any, Any, Any]:
            obs = env.get_obs(state)
            rows = [jnp.pad(obs[name], (0, width - len(obs[name]))) for name in learners]
            state_row = jnp.concatenate([obs[name] for name in learners])
            return jnp.stack(rows), jnp.asarray(mask), jnp.ones(len(learners), bool), state_row

        def advance(key: Any, state: Any, action: Any) -> tuple[Any, Any, Any, Any, Any]:
            actions = dict(zip(learners, action, strict=True))
            if _ADVERSARY in env.agents:
                position = state.p_pos - state.p_pos[0]
                actions[_ADVERSARY] = adversary_action(
                    jnp, state.p_vel[0], position[env.num_agents :], position[1 : env.num_agents]
                ).astype(action.dtype)
            _, state, rewards, dones, _ = env.step_env(key, state, actions)
            reward = sum(rewards[name] for name in learners) / len(learners)
            never = jnp.array(False)
            return state, reward, never, dones["__all__"], never

        def start(key: Any, hardness: Any) -> Any:  # MPE's games have but one
            return env.reset(key)[1]

        self.lockstep = Lockstep(environments, start, advance, view)

    def reset(self, seed: int) -> Frame:
        return self.lockstep.reset(seed)

    def step(self, action: Tensor) -> Transition:
        return self.lockstep.step(action)

    def close(self) -> None:
        """Nothing to let go of."""


class Mpe2Game:
    """The same game on mpe2, one environment after the other: slow, for the final evaluation."""

    backend = "mpe2"
    has_victory = False
    horizon = HORIZON

    def __init__(self, map_name: str, environments: int) -> None:
        if environments < 1:
            raise GameError(f"environments is {environments}; allowed: at least 1")
        self.name = map_name
        self.environments = environments
        self.specs = _specs(map_name)
        self.state_size = sum(spec.obs_size for spec in self.specs)
        module = load(f"mpe2.{_MAPS[map_name][0]}")
        self.envs = [module.parallel_env(max_cycles=HORIZON, continuous_actions=False) for _ in range(environments)]
        self._mask = torch.from_numpy(_action_mask(self.specs)).expand(environments, -1, -1)
        self._alive = torch.ones(environments, len(self.specs), dtype=torch.bool)
        self._obs: list[dict[str, Any]] = []  # each environment's latest

    def reset(self, seed: int) -> Frame:
        words = [np.random.SeedSequence([seed, index]).generate_state(1) for index in range(self.environments)]
        self._obs = [env.reset(seed=int(word[0]))[0] for env, word in zip(self.envs, words, strict=True)]
        return self._frame()

    def step(self, action: Tensor) -> Transition:
        if not self._obs:
            raise GameError("step was called before reset; allowed: reset first")
        reward = torch.zeros(self.environments)
        truncated = torch.zeros(self.environments, dtype=torch.bool)
        never = torch.zeros(self.environments, dtype=torch.bool)
        for index, (env, row) in enumerate(zip(self.envs, action.tolist(), strict=True)):
            actions = {spec.name: choice for spec, choice in zip(self.specs, row, strict=True)}
            if _ADVERSARY in env.possible_agents:
                actions[_ADVERSARY] = _mpe2_adversary(env)
            self._obs[index], rewards, _, truncations, _ = env.step(actions)
            reward[index] = sum(rewards[spec.name] for spec in self.specs) / len(self.specs)
            truncated[index] = all(truncations.values())
        last = frame = self._frame()
        if truncated.any():
            for index in truncated.nonzero()[:, 0].tolist():
                self._obs[index] = self.envs[index].reset()[0]  # its generator goes on from where the seed led it
            frame = self._frame()
        return Transition(frame, reward, never, truncated, last, never)

    def close(self) -> None:
        for env in self.envs:
            env.close()

    def _frame(self) -> Frame:
        obs = np.zeros((self.environments, len(self.specs), max(spec.obs_size for spec in self.specs)), np.float32)
        for index, seen in enumerate(self._obs):
            for agent, spec in enumerate(self.specs):
                obs[index, agent, : spec.obs_size] = seen[spec.name]
        state = np.concatenate([obs[:, agent, : spec.obs_size] for agent, spec in enumerate(self.specs)], axis=1)
        return Frame(torch.from_numpy(obs), self._mask, self._alive, torch.from_numpy(state))


def _mpe2_adversary(env: Any) -> int:
    world = env.unwrapped.world
    at = world.agents[0].state
    return int(
        adversary_action(
            np,
            at.p_vel,
            np.stack([landmark.state.p_pos for landmark in world.landmarks]) - at.p_pos,
            np.stack([agent.state.p_pos for agent in world.agents[1:]]) - at.p_pos,
        )
    )


def _specs(map_name: str) -> tuple[AgentSpec, ...]:
    if map_name not in _MAPS:
        raise GameError(f"MPE has no map {map_name!r}; allowed: {', '.join(sorted(_MAPS))}")
    return tuple(
        AgentSpec(
            name, hardware, tuple(FeatureBlock(block, size, "1", 1.0) for block, size in blocks.items()), actions, 0
        )
        for name, hardware, blocks, actions in _MAPS[map_name][1]
    )


def _action_mask(specs: tuple[AgentSpec, ...]) -> Any:
    """[N, A] bool: an agent's own actions."""
    sizes = np.array([len(spec.actions) for spec in specs])
    return np.arange(sizes.max()) < sizes[:, None]
