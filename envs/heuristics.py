"""Hand-written tasking rules, as policies: what learning has to beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from envs.api import AgentSpec, IntArray, Step

CHARGE_ACTION = 0


class RandomPolicy:
    """Any allowed action with equal chance."""

    def reset(self, seeds: Sequence[int]) -> None:
        self._generators = [np.random.default_rng([seed, 2]) for seed in seeds]

    def act(self, step: Step) -> IntArray:
        actions = np.zeros(step.active.shape, dtype=np.int64)
        for e, n in zip(*np.nonzero(step.active), strict=True):
            actions[e, n] = self._generators[e].choice(np.nonzero(step.action_mask[e, n])[0])
        return actions


class GreedyPolicy:
    """Image the most valuable target on offer; charge when the battery is low.

    With ``global_knowledge`` it also knows what every other satellite is after and does not take the same target (those
    that are asked in the same instant cannot know of one another's choice). It uses nothing else of the observation,
    so it is the rule that an operator would write first.
    """

    def __init__(self, specs: Sequence[AgentSpec], charge_below: float = 0.25, global_knowledge: bool = False) -> None:
        """
        Args:
            specs: full (unmasked) agent specs.
            charge_below: battery fraction under which the satellite charges.
            global_knowledge: avoid targets that others are tasked with.
        """
        self._specs = specs
        self._charge_below = charge_below
        self._global_knowledge = global_knowledge

    def reset(self, seeds: Sequence[int]) -> None:
        """It has no memory."""

    def act(self, step: Step) -> IntArray:
        actions = np.full(step.active.shape, CHARGE_ACTION, dtype=np.int64)
        for n, spec in enumerate(self._specs):
            obs = step.obs[:, n]
            legal = step.action_mask[:, n, 1:].copy()
            value = _slots(spec, obs, "priority")[..., 0].astype(np.float64)
            if self._global_knowledge:
                legal &= _slots(spec, obs, "claimed")[..., 0] == 0
            value[~legal] = -1.0
            charge = (obs[:, spec.slice("battery")][:, 0] < self._charge_below) | ~legal.any(axis=-1)
            actions[:, n] = np.where(charge, CHARGE_ACTION, 1 + value.argmax(axis=-1))
        return actions


def _slots(spec: AgentSpec, obs: NDArray[np.float32], block: str) -> NDArray[np.float32]:
    """[E, K, size] columns of a slot block."""
    return obs[:, spec.slice(block)].reshape(len(obs), spec.slots, -1)
