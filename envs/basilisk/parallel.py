"""A constellation mission as a PettingZoo ``ParallelEnv``, for learners other than ours."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

from envs.api import Step
from envs.basilisk.environment import ConstellationEnv
from scenarios.mission import ScenarioConfig

Observation = dict[str, np.ndarray]


class ConstellationParallelEnv(ParallelEnv):  # type: ignore[misc]  # pettingzoo is untyped here
    """Satellites as agents; observations are ``{"observation": [O], "action_mask": [A] int8}``.

    A step lasts until some satellite's action ends, so its length varies: ``infos[agent]["duration_s"]``. Only agents
    with ``infos[agent]["asked"]`` decide, in some steps none; the actions of the others are ignored. The reward is the
    team's, the same for all. A dead satellite terminates and leaves; the time limit truncates all.
    """

    metadata: ClassVar[dict[str, Any]] = {
        "name": "kdmarl_sat_constellation",
        "render_modes": [],
        "is_parallelizable": True,
    }
    render_mode = None

    def __init__(self, config: ScenarioConfig) -> None:
        self._env = ConstellationEnv(config)
        self.possible_agents = [spec.name for spec in self._env.specs]
        self.agents: list[str] = []
        self._next_seed = 0
        size, actions = self._env.specs[0].obs_size, len(self._env.specs[0].actions)
        self._observation_spaces = {
            agent: spaces.Dict(
                {
                    "observation": spaces.Box(-np.inf, np.inf, (size,), np.float32),
                    "action_mask": spaces.Box(0, 1, (actions,), np.int8),
                }
            )
            for agent in self.possible_agents
        }
        self._action_spaces = {agent: spaces.Discrete(actions) for agent in self.possible_agents}

    def observation_space(self, agent: str) -> spaces.Dict:
        return self._observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Discrete:
        return self._action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Observation], dict[str, dict[str, Any]]]:
        """Without a seed, the one after the last is taken, so that episodes differ."""
        seed = self._next_seed if seed is None else seed
        self._next_seed = seed + 1
        self._step = self._env.reset([seed])
        self.agents = list(self.possible_agents)
        return self._observations(self._step), self._infos(self._step)

    def step(
        self, actions: dict[str, int]
    ) -> tuple[dict[str, Observation], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        joint = np.array([[actions.get(agent, 0) for agent in self.possible_agents]], dtype=np.int64)
        step = self._step = self._env.step(joint)
        reward = float(step.reward[0])
        alive = dict(zip(self.possible_agents, step.alive[0], strict=True))
        truncated = bool(step.truncated[0])
        observations, infos = self._observations(step), self._infos(step)
        result = (
            observations,
            dict.fromkeys(self.agents, reward),
            {agent: not alive[agent] for agent in self.agents},
            dict.fromkeys(self.agents, truncated),
            infos,
        )
        self.agents = [agent for agent in self.agents if alive[agent] and not truncated]
        return result

    def state(self) -> np.ndarray:
        """The critic's view of all satellites, [N * S]."""
        return np.asarray(self._step.state[0].reshape(-1))

    def close(self) -> None:
        self._env.close()

    def _observations(self, step: Step) -> dict[str, Observation]:
        return {
            agent: {"observation": step.obs[0, n], "action_mask": step.action_mask[0, n].astype(np.int8)}
            for n, agent in enumerate(self.possible_agents)
            if agent in self.agents or not self.agents
        }

    def _infos(self, step: Step) -> dict[str, dict[str, Any]]:
        return {
            agent: {"asked": bool(step.active[0, n]), "duration_s": float(step.duration_s[0])}
            for n, agent in enumerate(self.possible_agents)
            if agent in self.agents or not self.agents
        }
