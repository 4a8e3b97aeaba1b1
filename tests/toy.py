"""A closed-form mission for learning tests: unlike agents, asynchronous decisions, and an optimum known exactly.

Each agent takes images one after another. Its ``slots`` offer the values 0.1, 0.4, 1.0 in random order, the order is
drawn anew for each decision, and one slot that is not the best is illegal now and then. An image lasts
``image_s[i]`` seconds and pays at its end. Action 0, "charge", lasts 1 s. A mortal agent has a battery of one image:
with an empty battery it dies of imaging, which pays ``-penalty``; charging refills it. So the best plan images the best
slot, and charges when (and only when) the battery is empty.
"""

from __future__ import annotations

import math

import numpy as np

from envs.api import AgentSpec, FeatureBlock, IntArray, Step

VALUES = np.array([0.1, 0.4, 1.0])
SLOTS = len(VALUES)
CHARGE_S = 1.0


class ToyEnv:
    """Satisfies ``envs.api.VectorEnv``."""

    def __init__(
        self,
        image_s: tuple[float, ...] = (1.0, 1.5, 1.0),
        mortal: tuple[bool, ...] = (False, False, True),
        horizon_s: float = 12.0,
        penalty: float = 5.0,
    ) -> None:
        self.image_s, self.mortal = np.array(image_s), np.array(mortal)
        self.horizon_s, self.penalty = horizon_s, penalty
        self.agents = len(image_s)
        self.specs = tuple(
            AgentSpec(
                name=f"toy_{i}",
                hardware="mortal" if mortal[i] else "plain",
                blocks=(
                    FeatureBlock("battery", 1, "", 1.0),
                    FeatureBlock("value", 1, "", 1.0, SLOTS),
                    FeatureBlock("hardware", self.agents, "", 1.0),
                    FeatureBlock("noise", 2, "", 1.0, SLOTS),
                ),
                fixed_actions=("charge",),
                slots=SLOTS,
            )
            for i in range(self.agents)
        )
        self.state_size = 4

    def optimum(self) -> float:
        """Return of the best plan, for every seed."""
        cycles = self.image_s + np.where(self.mortal, CHARGE_S, 0.0)
        images = [
            math.floor((self.horizon_s + (CHARGE_S if mortal else 0.0)) / cycle)
            for cycle, mortal in zip(cycles, self.mortal, strict=True)
        ]
        return float(sum(images) * VALUES.max())

    def reset(self, seeds: list[int]) -> Step:
        episodes = len(seeds)
        self.random = [np.random.default_rng(seed) for seed in seeds]
        self.clock = np.zeros(episodes)
        self.busy_until = np.zeros((episodes, self.agents))
        self.alive = np.ones((episodes, self.agents), bool)
        self.battery = np.ones((episodes, self.agents))
        self.pending = np.full((episodes, self.agents), -1, np.int64)
        self.values = np.zeros((episodes, self.agents, SLOTS))
        self.mask = np.ones((episodes, self.agents, 1 + SLOTS), bool)
        self.noise = np.zeros((episodes, self.agents, SLOTS, 2))
        self.active = np.ones((episodes, self.agents), bool)
        self._offer()
        return self._step(np.zeros(episodes), np.zeros(episodes))

    def step(self, actions: IntArray) -> Step:
        reward, duration = np.zeros(len(self.clock)), np.zeros(len(self.clock))
        running = ~self._ended()
        asked = self.active.copy()
        self.active[:] = False
        for e in np.flatnonzero(running):
            for i in np.flatnonzero(asked[e]):
                assert self.mask[e, i, actions[e, i]], "illegal action"
                self.pending[e, i] = actions[e, i]
                self.busy_until[e, i] = self.clock[e] + (self.image_s[i] if actions[e, i] else CHARGE_S)
            until = min(self.busy_until[e][self.alive[e]].min(), self.horizon_s)
            duration[e] = until - self.clock[e]
            self.clock[e] = until
            for i in np.flatnonzero(self.alive[e] & (self.busy_until[e] <= until)):
                reward[e] += self._finish(e, i)
        self.active &= ~self._ended()[:, None]
        self._offer()
        return self._step(reward, duration)

    def close(self) -> None:
        pass

    def _finish(self, e: np.intp, i: np.intp) -> float:
        self.active[e, i] = True
        action = self.pending[e, i]
        if action == 0:
            self.battery[e, i] = 1.0
            return 0.0
        if self.mortal[i]:
            if self.battery[e, i] == 0:
                self.alive[e, i] = self.active[e, i] = False
                return -self.penalty
            self.battery[e, i] = 0.0
        return float(self.values[e, i, action - 1])

    def _offer(self) -> None:
        for e, i in np.argwhere(self.active):
            self.values[e, i] = self.random[e].permutation(VALUES)
            self.noise[e, i] = self.random[e].normal(size=(SLOTS, 2))
            self.mask[e, i] = True
            if self.random[e].random() < 0.5:
                self.mask[e, i, 1 + np.argsort(self.values[e, i])[self.random[e].integers(SLOTS - 1)]] = False

    def _ended(self) -> np.ndarray:
        return (self.clock >= self.horizon_s) | ~self.alive.any(1)

    def _step(self, reward: np.ndarray, duration: np.ndarray) -> Step:
        episodes = len(self.clock)
        parts = (
            self.battery[..., None],
            self.values,
            np.broadcast_to(np.eye(self.agents), (episodes, self.agents, self.agents)),
            self.noise.reshape(episodes, self.agents, -1),
        )
        left = np.broadcast_to((self.horizon_s - self.clock)[:, None] / self.horizon_s, self.alive.shape)
        busy = (self.busy_until - self.clock[:, None]) * self.alive
        state = np.stack((self.battery, self.alive, left, busy), axis=-1)
        dead = ~self.alive.any(1)
        return Step(
            obs=np.concatenate(parts, axis=-1).astype(np.float32),
            action_mask=self.mask.copy(),
            active=self.active.copy(),
            alive=self.alive.copy(),
            reward=reward.astype(np.float32),
            duration_s=duration.astype(np.float32),
            terminated=np.asarray(dead),
            truncated=(self.clock >= self.horizon_s) & ~dead,
            state=state.astype(np.float32),
            health=np.tile(np.float32([1, 1, 0, 0]), (*self.alive.shape, 1)),
        )


class ToyOptimum:
    """The best plan as a ``Policy``."""

    def __init__(self, env: ToyEnv) -> None:
        self.env = env

    def reset(self, seeds: list[int]) -> None:
        pass

    def act(self, step: Step) -> IntArray:
        best = 1 + step.obs[..., 1 : 1 + SLOTS].argmax(-1)
        return np.where(self.env.mortal & (step.obs[..., 0] == 0), 0, best)
