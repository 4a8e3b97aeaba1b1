"""Policies that use a twin of the simulation: a rule of one step, and a planner of the whole episode.

They know what no satellite knows on board (all windows, all targets, what the others plan) and are there to compare
with and to learn from. Both decide in Basilisk's episodes and read the satellites' true states from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from bsk_rl.scene.targets import Target
from numpy.typing import NDArray

from envs.api import IntArray, Step
from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.episode import Episode
from envs.basilisk.twin.forecast import outcomes
from envs.basilisk.twin.layout import CHARGE, DESAT, DOWNLINK
from envs.basilisk.twin.library import library
from envs.basilisk.twin.plan import Effort, Plan, Planner, Skies
from envs.basilisk.twin.state import state_of
from envs.basilisk.twin.tables import Tables, tables
from envs.heuristics import housekeeping
from scenarios.mission import Communication, ScenarioConfig

_NAMES = {CHARGE: "charge", DOWNLINK: "downlink", DESAT: "desat"}


class Twin:
    """One episode in Basilisk, and its satellites' twins."""

    def __init__(self, config: ScenarioConfig, episode: Episode) -> None:
        """Call after ``Episode.reset``."""
        self.episode = episode
        self.fleet: list[Tables] = tables(config, episode.constellation)
        self._held = [0] * len(self.fleet)  # limits that each satellite's guard holds

    def state(self, row: int) -> NDArray[np.void]:
        """A satellite's state at its decision; once for each decision, since the guard remembers."""
        satellite, knowledge = self.episode.constellation.satellites[row], self.episode.features.knowledge
        running = knowledge.index_of(satellite.running) if isinstance(satellite.running, Target) else None
        known = knowledge.imaged[row]
        if satellite.hardware.needs_clear_view:
            known = known | knowledge.clouded[row]
        state = state_of(satellite, self.fleet[row], running, np.nonzero(known)[0].tolist())
        state["held"] = self._held[row]
        library().tw_guard(self.fleet[row].address, state.ctypes.data)
        self._held[row] = int(state["held"])
        return state

    def foretold(self, row: int, state: NDArray[np.void]) -> tuple[NDArray[np.int64], NDArray[np.void]]:
        """The windows on offer [K] (indices of the satellite's), and what would come of an image in each, [K] of
        layout.STEP."""
        fleet, slots = self.fleet[row], int(self.fleet[row].record["slots"])
        windows = np.zeros(slots, np.int32)
        offered = library().tw_offer(fleet.address, state.ctypes.data, None, windows.ctypes.data, slots)
        return windows[:offered].astype(np.int64), outcomes(fleet, state, windows[:offered])

    def action(self, row: int, local: int) -> int | None:
        """The environment's action for one of the twin's; None: its target is not on offer."""
        fixed = self.episode.constellation.config.actions.fixed
        if local < 0:
            return fixed.index(_NAMES[local])
        slots = np.nonzero(self.episode.features.offered[row] == self.fleet[row].target[local])[0]
        return len(fixed) + int(slots[0]) if len(slots) else None


class ForecastPolicy:
    """Image the target that earns most per second until the image, as the twin foretells it; charge when the battery
    is low. An image that will not come off is not tried."""

    def __init__(self, env: ConstellationEnv) -> None:
        self._env = env

    def reset(self, seeds: Sequence[int]) -> None:
        """Call after the environment's own reset."""
        self._twins = [Twin(self._env.config, self._env.episode(index)) for index in range(len(seeds))]

    def act(self, step: Step) -> IntArray:
        actions = np.zeros(step.active.shape, np.int64)
        for e, n in zip(*np.nonzero(step.active), strict=True):
            actions[e, n] = self._image(self._twins[e], int(n), step.action_mask[e, n])
        for n, spec in enumerate(self._env.specs):
            actions[:, n] = housekeeping(spec, step.obs[:, n], actions[:, n])
        return actions

    def _image(self, twin: Twin, row: int, mask: NDArray[np.bool_]) -> int:
        best, chosen = 0.0, 0
        features = twin.episode.features
        _, found = twin.foretold(row, twin.state(row))
        for step in found[found["captured"] >= 0]:
            action, target = twin.action(row, int(step["action"])), twin.fleet[row].target[step["action"]]
            seconds = float(step["ended"] - step["begun"]) * float(twin.fleet[row].record["tick_s"])
            rate = features.priority[target] * (1.0 - features.cloud(row)[target]) / seconds
            if action is not None and mask[action] and rate > best:
                best, chosen = rate, action
        return chosen


@dataclass(frozen=True, slots=True)
class PlannerSettings:
    """``scenarios.schema.PlannerConfig`` without Hydra."""

    effort: Effort
    iterations: int
    budget_s: float | None


class PlannerPolicy:
    """Flies a plan of the whole constellation, and plans anew where the flight departs from it."""

    def __init__(self, env: ConstellationEnv, settings: PlannerSettings) -> None:
        self._env, self._settings = env, settings

    def reset(self, seeds: Sequence[int]) -> None:
        """Plan every episode; call after the environment's own reset."""
        self._flights = [
            _Flight(Twin(self._env.config, self._env.episode(index)), self._settings, seed)
            for index, seed in enumerate(seeds)
        ]

    @property
    def planned(self) -> list[float]:
        """What each episode's plan was to capture before it began."""
        return [flight.planned for flight in self._flights]

    def act(self, step: Step) -> IntArray:
        actions = np.zeros(step.active.shape, np.int64)
        for e in np.nonzero(step.active.any(axis=1))[0].tolist():
            self._flights[e].learn()
            for n in np.nonzero(step.active[e])[0].tolist():
                actions[e, n] = self._flights[e].decide(n, step.action_mask[e, n])
        return actions


class _Flight:
    """One episode under its plan."""

    def __init__(self, twin: Twin, settings: PlannerSettings, seed: int) -> None:
        self._twin = twin
        features, config = twin.episode.features, twin.episode.constellation.config
        self._skies = Skies(features.priority, features.cloud_chance.copy(), features.knowledge.all_imaged.copy())
        told = config.communication is Communication.free
        self._planner = Planner(twin.fleet, self._skies, settings.effort, told, seed)
        rows = range(len(twin.fleet))
        self._planner.plan_all([twin.state(row) for row in rows], settings.iterations, settings.budget_s)
        self.planned = self._planner.worth()
        self._next = [0] * len(rows)
        self._stale = [False] * len(rows)

    def learn(self) -> None:
        """Take over what has been imaged, and which clouds were seen: a plan that others can mend is made anew."""
        knowledge, fleet = self._twin.episode.features.knowledge, self._twin.fleet
        seen = knowledge.clouded.any(axis=0)
        news = seen & (self._skies.cloud < 1.0)
        self._skies.earned[:] = knowledge.all_imaged
        self._skies.cloud[seen] = 1.0
        if news.any():
            for row, tables in enumerate(fleet):
                self._stale[row] |= not tables.record["needs_clear_view"] and bool(news[tables.target].any())

    def decide(self, row: int, mask: NDArray[np.bool_]) -> int:
        state, planner = self._twin.state(row), self._planner
        plan, at = planner.plans[row], self._next[row]
        if self._stale[row] or not self._on_plan(row, state, plan, at):
            planner.plans[row], self._next[row], self._stale[row] = self._mended(row, state, plan, at), 0, False
            plan, at = planner.plans[row], 0
        self._next[row] = at + 1
        action = self._twin.action(row, int(plan[at]["action"])) if at < len(plan) else 0
        return action if action is not None and mask[action] else 0

    def _on_plan(self, row: int, state: NDArray[np.void], plan: Plan, at: int) -> bool:
        """Whether the decision comes when it was to come, and the last image was taken as planned."""
        if at >= len(plan) or plan[at]["begun"] != state["tick"]:
            return False
        last = plan[at - 1] if at > 0 else None
        if last is None or last["captured"] < 0:
            return True
        target = self._twin.fleet[row].target[last["action"]]
        return bool(self._skies.earned[target]) or self._skies.cloud[target] == 1.0

    def _mended(self, row: int, state: NDArray[np.void], plan: Plan, at: int) -> Plan:
        """The rest of the plan from where the satellite really is, or a better one."""
        planner, rest = self._planner, plan[at:]
        planner.plans[row] = rest[:0]
        hoped = planner.plan_worth(row, plan[max(0, at - 1) :])
        again, worth = planner.replayed(row, state, rest["action"])
        if len(again) and worth >= hoped - 1e-6 and not self._stale[row]:
            return again
        anew = planner.searched(row, state)
        return anew if planner.plan_worth(row, anew) > worth or not len(again) else again
