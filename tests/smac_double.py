"""Stands in for oxwhirl's package smac where StarCraft II is not at hand: its public interface, and a battle on a line.

Sizes, layouts, legality, rewards and the end of episodes are those of smac 1.0.0; the battle is not StarCraft's. Allies
start at x = 0, enemies at a distance drawn from the seed; moves east and west change it by 2, north and south do
nothing. Whoever is within 6 can be shot at; a shot takes 15 of 45 health. Allies shoot first; then each enemy left
shoots the first ally that was in its range before the step. In ``StarCraft2Env.made`` tests find every environment,
with the orders that it was given.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest

HEALTH, SHOT, RANGE, SIGHT = 45.0, 15.0, 6.0, 9.0

# agents, enemies, limit, race of both sides, bits of the unit type
MAPS = {
    "3m": (3, 3, 60, "T", 0),
    "8m": (8, 8, 120, "T", 0),
    "5m_vs_6m": (5, 6, 70, "T", 0),
    "3s5z": (8, 8, 150, "P", 2),
}


class StarCraft2Env:
    made: ClassVar[list[StarCraft2Env]] = []
    breaks_down_at: ClassVar[int | None] = None  # step of an episode on which StarCraft II breaks down

    def __init__(self, map_name: str = "8m", seed: int | None = None, continuing_episode: bool = False) -> None:
        self.n_agents, self.n_enemies, self.episode_limit, race, self.unit_type_bits = MAPS[map_name]
        self.shield_bits = 1 if race == "P" else 0
        self.n_actions = 6 + self.n_enemies
        self.continuing_episode = continuing_episode
        self.max_reward = self.n_enemies * (10.0 + HEALTH) + 200.0
        self.seed_given = seed
        self.random = np.random.default_rng(seed)
        self.orders: list[list[int]] = []
        self.launched = self.closed = 0
        StarCraft2Env.made.append(self)

    def reset(self) -> tuple[list[Any], Any]:
        self.launched = 1
        self.steps = 0
        self.ally_x = np.zeros(self.n_agents)
        self.enemy_x = np.full(self.n_enemies, self.random.uniform(7.0, 8.0))
        self.ally = np.full(self.n_agents, HEALTH)
        self.enemy = np.full(self.n_enemies, HEALTH)
        self.last_action = np.zeros((self.n_agents, self.n_actions))
        return self.get_obs(), self.get_state()

    def step(self, actions: list[int]) -> tuple[float, bool, dict[str, Any]]:
        legal = self.get_avail_actions()
        for agent, action in enumerate(actions):
            assert legal[agent][action] == 1, f"Agent {agent} cannot perform action {action}"
        self.orders.append(list(actions))
        self.last_action = np.eye(self.n_actions)[np.array(actions)]
        if self.steps + 1 == StarCraft2Env.breaks_down_at:
            return 0, True, {}
        before, living = self.enemy.sum(), (self.enemy > 0).sum()
        in_range = np.abs(self.ally_x - self.enemy_x[:, None]) <= RANGE  # [enemies, agents]
        for agent, action in enumerate(actions):
            self.ally_x[agent] += {4: 2.0, 5: -2.0}.get(action, 0.0)
            if action >= 6:
                self.enemy[action - 6] = max(0.0, self.enemy[action - 6] - SHOT)
        for enemy in range(self.n_enemies):
            near = (self.ally > 0) & in_range[enemy]
            if self.enemy[enemy] > 0 and near.any():
                self.ally[near.argmax()] = max(0.0, self.ally[near.argmax()] - SHOT)
        self.steps += 1
        reward = before - self.enemy.sum() + 10.0 * (living - (self.enemy > 0).sum())
        info: dict[str, Any] = {"battle_won": False, "dead_allies": int((self.ally == 0).sum())}
        won = bool(self.ally.any() and not self.enemy.any())
        terminated = not self.ally.any() or not self.enemy.any()
        if won:
            info["battle_won"] = True
            reward += 200.0
        if not terminated and self.steps >= self.episode_limit:
            terminated = True
            if self.continuing_episode:
                info["episode_limit"] = True
        return reward / (self.max_reward / 20), terminated, info

    def get_avail_agent_actions(self, agent_id: int) -> list[int]:
        if self.ally[agent_id] == 0:
            return [1] + [0] * (self.n_actions - 1)
        near = (self.enemy > 0) & (np.abs(self.enemy_x - self.ally_x[agent_id]) <= RANGE)
        return [0, 1, 1, 1, 1, int(self.ally_x[agent_id] > -10), *near.astype(int).tolist()]

    def get_avail_actions(self) -> list[list[int]]:
        return [self.get_avail_agent_actions(agent) for agent in range(self.n_agents)]

    def get_obs_agent(self, agent_id: int) -> Any:
        move = np.zeros(self.get_obs_move_feats_size(), np.float32)
        enemy = np.zeros(self.get_obs_enemy_feats_size(), np.float32)
        ally = np.zeros(self.get_obs_ally_feats_size(), np.float32)
        own = np.zeros(self.get_obs_own_feats_size(), np.float32)
        if self.ally[agent_id] > 0:
            legal, x = self.get_avail_agent_actions(agent_id), self.ally_x[agent_id]
            move[:] = legal[2:6]
            own[0] = self.ally[agent_id] / HEALTH
            others = [other for other in range(self.n_agents) if other != agent_id]
            for rows, places, health, flags in (
                (enemy, self.enemy_x, self.enemy, legal[6:]),
                (ally, self.ally_x[others], self.ally[others], [1] * len(others)),
            ):
                for row, place, left, flag in zip(rows, places, health, flags, strict=True):
                    if left > 0 and abs(place - x) < SIGHT:
                        row[:5] = flag, abs(place - x) / SIGHT, (place - x) / SIGHT, 0.0, left / HEALTH
        return np.concatenate([part.flatten() for part in (move, enemy, ally, own)])

    def get_obs(self) -> list[Any]:
        return [self.get_obs_agent(agent) for agent in range(self.n_agents)]

    def get_state(self) -> Any:
        width = self.shield_bits + self.unit_type_bits
        ally, enemy = np.zeros((self.n_agents, 4 + width)), np.zeros((self.n_enemies, 3 + width))
        ally[:, 0], ally[:, 2] = self.ally / HEALTH, self.ally_x / 32
        enemy[:, 0], enemy[:, 1] = self.enemy / HEALTH, self.enemy_x / 32
        return np.concatenate([ally.ravel(), enemy.ravel(), self.last_action.ravel()]).astype(np.float32)

    def get_obs_move_feats_size(self) -> int:
        return 4

    def get_obs_enemy_feats_size(self) -> tuple[int, int]:
        return self.n_enemies, 5 + self.shield_bits + self.unit_type_bits

    def get_obs_ally_feats_size(self) -> tuple[int, int]:
        return self.n_agents - 1, 5 + self.shield_bits + self.unit_type_bits

    def get_obs_own_feats_size(self) -> int:
        return 1 + self.shield_bits + self.unit_type_bits

    def get_obs_size(self) -> int:
        enemy, ally = self.get_obs_enemy_feats_size(), self.get_obs_ally_feats_size()
        return 4 + enemy[0] * enemy[1] + ally[0] * ally[1] + self.get_obs_own_feats_size()

    def get_state_size(self) -> int:
        width = self.shield_bits + self.unit_type_bits
        return self.n_agents * (4 + width) + self.n_enemies * (3 + width) + self.n_agents * self.n_actions

    def get_env_info(self) -> dict[str, Any]:
        return {
            "state_shape": self.get_state_size(),
            "obs_shape": self.get_obs_size(),
            "n_actions": self.n_actions,
            "n_agents": self.n_agents,
            "episode_limit": self.episode_limit,
        }

    def close(self) -> None:
        self.closed += 1


def install(monkeypatch: pytest.MonkeyPatch, folder: Path) -> str:
    """Puts the double where smac would be, and gives a folder that looks like StarCraft II's."""
    maps = ModuleType("smac.env.starcraft2.maps.smac_maps")
    maps.get_smac_map_registry = lambda: dict.fromkeys(MAPS)  # type: ignore[attr-defined]
    env = ModuleType("smac.env")
    env.StarCraft2Env = StarCraft2Env  # type: ignore[attr-defined]
    packages = [ModuleType(name) for name in ("smac", "smac.env.starcraft2", "smac.env.starcraft2.maps")]
    for module in (*packages, env, maps):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(StarCraft2Env, "made", [])
    monkeypatch.setattr(StarCraft2Env, "breaks_down_at", None)
    monkeypatch.setenv("SC2PATH", str(folder))  # a game sets it: put back as it was after the test
    (folder / "Versions" / "Base75689").mkdir(parents=True)
    (folder / "Maps" / "SMAC_Maps").mkdir(parents=True)
    return str(folder)
