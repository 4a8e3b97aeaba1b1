"""Hand-written tasking rules, as policies: what learning has to beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from envs.api import AgentSpec, IntArray, Step

CHARGE_ACTION = 0
CHARGE_BELOW = 0.25  # battery fraction
DESATURATE_ABOVE = 0.7  # wheel speed, as a fraction of what a wheel stands


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

    Where a mission has them: desaturate when the wheels are fast, downlink whatever is on board while a ground station
    is in view, and value a target by the chance that it can be seen. With ``global_knowledge`` it also knows what every
    other satellite is after and does not take the same target (those that are asked in the same instant cannot know of
    one another's choice), and one that sees through clouds leaves to the others what they can see. It uses nothing else
    of the observation, so it is the rule that an operator would write first.
    """

    def __init__(
        self,
        specs: Sequence[AgentSpec],
        charge_below: float = CHARGE_BELOW,
        global_knowledge: bool = False,
        desaturate_above: float = DESATURATE_ABOVE,
    ) -> None:
        """
        Args:
            specs: full (unmasked) agent specs.
            charge_below: battery fraction under which the satellite charges.
            global_knowledge: avoid targets that others are tasked with.
            desaturate_above: wheel speed, as a fraction of what a wheel stands, above which it desaturates.
        """
        self._specs = specs
        self._charge_below = charge_below
        self._global_knowledge = global_knowledge
        self._desaturate_above = desaturate_above

    def reset(self, seeds: Sequence[int]) -> None:
        """It has no memory."""

    def act(self, step: Step) -> IntArray:
        actions = np.full(step.active.shape, CHARGE_ACTION, dtype=np.int64)
        for n, spec in enumerate(self._specs):
            obs, fixed = step.obs[:, n], len(spec.fixed_actions)
            legal = step.action_mask[:, n, fixed:].copy()
            value = self._value(spec, obs)
            if self._global_knowledge:
                legal &= _slots(spec, obs, "claimed")[..., 0] == 0
            value[~legal] = -1.0
            choice = np.where(legal.any(axis=-1), fixed + value.argmax(axis=-1), CHARGE_ACTION)
            actions[:, n] = housekeeping(spec, obs, choice, self._charge_below, self._desaturate_above)
        return actions

    def _value(self, spec: AgentSpec, obs: NDArray[np.float32]) -> NDArray[np.float64]:
        """[E, K] of each target on offer."""
        value = _slots(spec, obs, "priority")[..., 0].astype(np.float64)
        if "cloud" not in {block.name for block in spec.blocks}:
            return value
        cloud = _slots(spec, obs, "cloud")[..., 0]
        needs_clear_view = obs[:, spec.slice("instrument")][:, 1:2] == 1
        if not self._global_knowledge:
            return np.where(needs_clear_view, value * (1.0 - cloud), value)
        reachable = _slots(spec, obs, "claimed")[..., 1] > 0  # by another
        return value * np.where(needs_clear_view, 1.0 - cloud, np.where(reachable, 0.7 + 0.3 * cloud, 1.0))


def housekeeping(
    spec: AgentSpec,
    obs: NDArray[np.float32],
    choice: IntArray,
    charge_below: float = CHARGE_BELOW,
    desaturate_above: float = DESATURATE_ABOVE,
) -> IntArray:
    """A choice [E] of images, overruled by what the bus needs: downlink what is on board while a ground station is in
    view, desaturate fast wheels, charge a low battery; each overrules those before it."""
    choice = choice.copy()
    if "downlink" in spec.fixed_actions:
        storage, station = obs[:, spec.slice("storage")][:, 0], obs[:, spec.slice("station")]
        in_view = (station[:, 0] == 0) & (station[:, 1] > 0)  # all 0: the sensor is out
        choice[in_view & (storage > 0)] = spec.fixed_actions.index("downlink")
    if "desat" in spec.fixed_actions:
        fast = obs[:, spec.slice("wheels")][:, 0] > desaturate_above
        choice[fast] = spec.fixed_actions.index("desat")
    choice[obs[:, spec.slice("battery")][:, 0] < charge_below] = CHARGE_ACTION
    return choice


def _slots(spec: AgentSpec, obs: NDArray[np.float32], block: str) -> NDArray[np.float32]:
    """[E, K, size] columns of a slot block."""
    return obs[:, spec.slice(block)].reshape(len(obs), spec.slots, -1)
