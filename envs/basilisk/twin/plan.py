"""Plans for a whole constellation on its twin: beam search for each satellite in turn, then neighbourhood search."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.basilisk.twin.layout import EFFORT, PRICES, STEP
from envs.basilisk.twin.library import library
from envs.basilisk.twin.tables import Tables

NEVER = 2**30  # a tick behind every episode
Plan = NDArray[np.void]  # [D] of layout.STEP
_CAPACITY = 1024  # decisions of one satellite in an episode


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard a search tries."""

    width: int = 12  # partial plans kept at each time
    bucket_s: float = 10.0  # within which times count as equal
    energy_prices: tuple[float, ...] = (0.0, 0.3, 1.0, 3.0)  # priority per Wh left; each with a share of the width
    horizon_s: float | None = None  # None: to the end of the episode


@dataclass
class Skies:
    """What planning knows of the M targets of an episode, now."""

    priority: NDArray[np.float64]  # [M]
    cloud: NDArray[np.float64]  # [M] chance of clouds, as forecast or seen
    earned: NDArray[np.bool_]  # [M] imaged by somebody: worth nothing any more


class Planner:
    """Plans of N satellites of one episode. Equal inputs and seeds give equal plans."""

    def __init__(self, fleet: Sequence[Tables], skies: Skies, effort: Effort, told: bool, seed: int) -> None:
        """
        Args:
            fleet: the satellites' tables.
            skies: of the same episode; its arrays are read at every search.
            effort: of every search.
            told: satellites hear at once of each other's images, so that those are no longer on offer.
            seed: of the neighbourhood search.
        """
        self._fleet, self._skies, self._effort, self._told = fleet, skies, effort, told
        self._rng = np.random.default_rng(seed)
        self.plans: list[Plan] = [np.zeros(0, STEP) for _ in fleet]

    def plan_all(self, states: Sequence[NDArray[np.void]], iterations: int, budget_s: float | None = None) -> None:
        """Plan for every satellite: each in turn given those before it, then ``iterations`` times one or two anew given
        the rest; what is better stays. ``budget_s``: CPU-seconds after which no further iteration is begun."""
        began_s = time.process_time()
        self.plans = [np.zeros(0, STEP) for _ in self._fleet]
        for row, state in enumerate(states):
            self.plans[row] = self.searched(row, state)
        best = self.worth()
        for _ in range(iterations):
            if budget_s is not None and time.process_time() - began_s >= budget_s:
                break
            kept = list(self.plans)
            self._replan_some(states)
            found = self.worth()
            if found >= best - 1e-9:
                best = found
            else:
                self.plans = kept

    def _replan_some(self, states: Sequence[NDArray[np.void]]) -> None:
        """Free one or two satellites and plan them again, values disturbed, so that the search finds other plans."""
        rows = self._rng.permutation(len(self._fleet))[: 1 if self._rng.random() < 0.25 else 2].tolist()
        freed = {row: self.plans[row] for row in rows}
        for row in rows:
            self.plans[row] = np.zeros(0, STEP)
        for position, row in enumerate(rows):
            factor = self._rng.uniform(0.85, 1.15, len(self._skies.priority))
            for later in rows[position + 1 :]:  # leave it some of what it had
                factor[self._captures(later, freed[later])] *= min(1.0, self._rng.uniform(0.0, 1.1))
            self.plans[row] = self.searched(row, states[row], factor)

    def searched(
        self, row: int, state: NDArray[np.void], factor: NDArray[np.float64] | None = None, effort: Effort | None = None
    ) -> Plan:
        """The best plan found for a satellite from a state on, given the others' plans."""
        tables, effort = self._fleet[row], effort or self._effort
        worth, others = self._worth(row), self._others(row)
        if factor is not None:
            worth = worth * factor[tables.target]
        tick_s, limit = float(tables.record["tick_s"]), int(tables.record["ticks"])
        until = limit if effort.horizon_s is None else int(state["tick"]) + round(effort.horizon_s / tick_s)
        record = np.zeros((), EFFORT)
        record["until"], record["width"] = min(until, limit), effort.width
        record["bucket"] = max(1, round(effort.bucket_s / tick_s))
        record["prices"] = len(effort.energy_prices)
        record["price"][: len(effort.energy_prices)] = effort.energy_prices[:PRICES]
        plan, value = np.zeros(_CAPACITY, STEP), ctypes.c_double()
        made = library().tw_search(
            tables.address,
            state.ctypes.data,
            worth.ctypes.data,
            None if others is None else others.ctypes.data,
            record.ctypes.data,
            plan.ctypes.data,
            _CAPACITY,
            ctypes.addressof(value),
        )
        if made < 0:
            raise MemoryError("a plan does not fit into memory")
        return plan[:made].copy()

    def replayed(self, row: int, state: NDArray[np.void], actions: NDArray[np.int32]) -> tuple[Plan, float]:
        """What becomes of actions [D] that are begun from a state, and what they earn."""
        worth, others = self._worth(row), self._others(row)
        actions = np.ascontiguousarray(actions, np.int32)
        plan, value = np.zeros(2 * len(actions) + 64, STEP), ctypes.c_double()
        made = library().tw_replay(
            self._fleet[row].address,
            state.ctypes.data,
            worth.ctypes.data,
            None if others is None else others.ctypes.data,
            actions.ctypes.data,
            len(actions),
            plan.ctypes.data,
            ctypes.addressof(value),
        )
        return plan[:made].copy(), value.value

    def worth(self) -> float:
        """The priority that all plans together are expected to capture; downlinks are taken to come off."""
        left = np.where(self._skies.earned, 0.0, self._skies.priority)
        expected = left * (1.0 - self._missed(None))
        return float(expected.sum())

    def plan_worth(self, row: int, plan: Plan) -> float:
        """What a satellite's plan adds to the others'."""
        return float(self._worth(row)[_captured(plan)].clip(min=0.0).sum())

    def _captures(self, row: int, plan: Plan) -> NDArray[np.int64]:
        """The mission's indices of the targets that a plan images."""
        return np.asarray(self._fleet[row].target[_captured(plan)])

    def _succeeds(self, row: int) -> NDArray[np.float64]:
        """[M] chance that a satellite's image of each target shows it."""
        if self._fleet[row].record["needs_clear_view"]:
            return 1.0 - self._skies.cloud
        return np.ones(len(self._skies.priority))

    def _missed(self, without: int | None) -> NDArray[np.float64]:
        """[M] chance that nobody (but one) images a target, by the plans."""
        missed = np.ones(len(self._skies.priority))
        for row, plan in enumerate(self.plans):
            if row != without and len(plan):
                captures = self._captures(row, plan)
                missed[captures] *= 1.0 - self._succeeds(row)[captures]
        return missed

    def _worth(self, row: int) -> NDArray[np.float64]:
        """[L] what an image of each of a satellite's targets adds."""
        left = np.where(self._skies.earned, 0.0, self._skies.priority) * self._missed(row) * self._succeeds(row)
        return np.ascontiguousarray(left[self._fleet[row].target])

    def _others(self, row: int) -> NDArray[np.int32] | None:
        """[L] tick from which somebody else has each target, and it is no longer on offer."""
        if not self._told:
            return None
        taken = np.full(len(self._skies.priority), NEVER, np.int32)
        for other, plan in enumerate(self.plans):
            if other != row and len(plan) and not self._fleet[other].record["needs_clear_view"]:
                done = plan[plan["captured"] >= 0]
                np.minimum.at(taken, self._fleet[other].target[done["action"]], done["captured"])
        return np.ascontiguousarray(taken[self._fleet[row].target])


def _captured(plan: Plan) -> NDArray[np.int32]:
    return np.asarray(plan["action"][plan["captured"] >= 0])
