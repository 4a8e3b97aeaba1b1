"""Policies that use a twin of the simulation: a rule of one step, and a planner.

They know what no satellite knows on board (all windows, all targets, what the others plan) and are there to compare
with and to learn from. They decide in Basilisk's episodes, of which they read the satellites' true states, and in the
twin's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from bsk_rl.scene.targets import Target
from numpy.typing import NDArray

from envs.api import AgentSpec, BoolArray, IntArray, Step
from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.episode import Episode
from envs.basilisk.heuristics import housekeeping
from envs.basilisk.twin.environment import Flight, TwinEnv
from envs.basilisk.twin.forecast import outcomes
from envs.basilisk.twin.layout import CHARGE, DESAT, DOWNLINK
from envs.basilisk.twin.library import library
from envs.basilisk.twin.plan import Effort, Plan, Planner, Skies
from envs.basilisk.twin.state import state_of
from envs.basilisk.twin.tables import Tables, check_fits, tables
from scenarios.communication import Communication
from scenarios.mission import ScenarioConfig

_NAMES = {CHARGE: "charge", DOWNLINK: "downlink", DESAT: "desat"}


class Sight(Protocol):
    """What planning sees of an episode of N satellites and M targets."""

    fleet: list[Tables]
    priority: NDArray[np.float64]  # [M]
    cloud_chance: NDArray[np.float64]  # [M]

    def state(self, row: int) -> NDArray[np.void]:
        """A satellite's state at its decision."""

    def imaged(self) -> BoolArray:
        """[M] by anyone."""

    def clouds_seen(self) -> BoolArray:
        """[M] by anyone."""

    def slot(self, row: int, target: int) -> int | None:
        """Where a target is on offer to a satellite."""


class BasiliskSight:
    """Of an episode in Basilisk."""

    def __init__(self, config: ScenarioConfig, episode: Episode) -> None:
        """Call after ``Episode.reset``."""
        self._episode = episode
        self.fleet = tables(config, episode.constellation)
        check_fits(config, self.fleet)
        self.priority, self.cloud_chance = episode.features.priority, episode.features.cloud_chance

    def state(self, row: int) -> NDArray[np.void]:
        satellite, knowledge = self._episode.constellation.satellites[row], self._episode.features.knowledge
        running = knowledge.index_of(satellite.running) if isinstance(satellite.running, Target) else None
        known = knowledge.imaged[row]
        if satellite.hardware.needs_clear_view:
            known = known | knowledge.clouded[row]
        return state_of(satellite, self.fleet[row], running, np.nonzero(known)[0].tolist())

    def imaged(self) -> BoolArray:
        return self._episode.features.knowledge.all_imaged

    def clouds_seen(self) -> BoolArray:
        return np.asarray(self._episode.features.knowledge.clouded.any(axis=0))

    def slot(self, row: int, target: int) -> int | None:
        return _first(self._episode.features.offered[row] == target)


class TwinSight:
    """Of an episode on the twin."""

    def __init__(self, flight: Flight) -> None:
        self._flight = flight
        self.fleet, self.priority, self.cloud_chance = flight.fleet, flight.priority, flight.chance

    def state(self, row: int) -> NDArray[np.void]:
        return self._flight.state(row)

    def imaged(self) -> BoolArray:
        return self._flight.known("anyone")

    def clouds_seen(self) -> BoolArray:
        return np.asarray(self._flight.known("saw_clouds").any(axis=0))

    def slot(self, row: int, target: int) -> int | None:
        each = self.fleet[row]
        return _first(each.target[each.arrays["window_target"][self._flight.offered(row)]] == target)


def _first(there: BoolArray) -> int | None:
    found = np.nonzero(there)[0]
    return int(found[0]) if len(found) else None


def sights(env: ConstellationEnv | TwinEnv, episodes: int) -> list[Sight]:
    """Of the episodes that an environment has just begun."""
    if isinstance(env, TwinEnv):
        return [TwinSight(env.flight(index)) for index in range(episodes)]
    return [BasiliskSight(env.config, env.episode(index)) for index in range(episodes)]


class ForecastPolicy:
    """Image the target that earns most per second until the image, as the twin foretells it; charge when the battery
    is low. An image that will not come off is not tried."""

    def __init__(self, env: ConstellationEnv | TwinEnv) -> None:
        self._env = env

    def reset(self, seeds: Sequence[int]) -> None:
        """Call after the environment's own reset."""
        self._sights = sights(self._env, len(seeds))

    def act(self, step: Step) -> IntArray:
        actions = np.zeros(step.active.shape, np.int64)
        for e, n in zip(*np.nonzero(step.active), strict=True):
            actions[e, n] = self._image(self._sights[e], int(n), step.action_mask[e, n])
        for n, spec in enumerate(self._env.specs):
            actions[:, n] = housekeeping(spec, step.obs[:, n], actions[:, n])
        return actions

    def _image(self, sight: Sight, row: int, mask: BoolArray) -> int:
        tables, state = sight.fleet[row], sight.state(row)
        slots = int(tables.record["slots"])
        windows = np.zeros(slots, np.int32)
        offered = library().tw_offer(tables.address, state.ctypes.data, None, windows.ctypes.data, slots)
        found = outcomes(tables, state, windows[:offered])
        best, chosen = 0.0, 0
        for step in found[found["captured"] >= 0]:
            target = int(tables.target[step["action"]])
            clear = 1.0 - (sight.cloud_chance[target] if tables.record["needs_clear_view"] else 0.0)
            rate = sight.priority[target] * clear / float(step["ended"] - step["begun"])
            slot = sight.slot(row, target)
            action = None if slot is None else len(self._env.config.actions.fixed) + slot
            if action is not None and mask[action] and rate > best:
                best, chosen = rate, action
        return chosen


@dataclass(frozen=True, slots=True)
class PlannerSettings:
    """With a horizon (``effort.horizon_s``) the planner plans anew at every decision; without, once for the episode."""

    effort: Effort
    iterations: int = 0  # of the neighbourhood search
    budget_s: float | None = None  # CPU-seconds for it, per episode


class PlannerPolicy:
    """Flies a plan of the whole constellation, and plans anew where the flight departs from it."""

    def __init__(self, env: ConstellationEnv | TwinEnv, settings: PlannerSettings) -> None:
        self._env, self._settings = env, settings

    def reset(self, seeds: Sequence[int]) -> None:
        """Plan every episode; call after the environment's own reset."""
        begin: Callable[..., _Follower] = _Follower if self._settings.effort.horizon_s is None else _Roller
        config, specs = self._env.config, self._env.specs
        self._flights = [
            begin(sight, config, specs, self._settings, seed)
            for sight, seed in zip(sights(self._env, len(seeds)), seeds, strict=True)
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


class _Follower:
    """One episode under a plan that reaches to its end."""

    def __init__(
        self, sight: Sight, config: ScenarioConfig, specs: Sequence[AgentSpec], settings: PlannerSettings, seed: int
    ) -> None:
        self._sight, self._fixed = sight, specs[0].fixed_actions
        self._skies = Skies(sight.priority, sight.cloud_chance.copy(), sight.imaged().copy())
        told = config.communication.mode is Communication.free
        rows = range(len(sight.fleet))
        self._planner = Planner(sight.fleet, self._skies, settings.effort, told, seed)
        self._held = [0 for _ in rows]  # limits that each satellite's guard holds
        self._next = [0 for _ in rows]
        self._stale = [False for _ in rows]
        self._begin(settings)
        self.planned = self._planner.worth()

    def _begin(self, settings: PlannerSettings) -> None:
        states = [self._sight.state(row) for row in range(len(self._sight.fleet))]
        self._planner.plan_all(states, settings.iterations, settings.budget_s)

    def learn(self) -> None:
        """Take over what has been imaged, and which clouds were seen: a plan that others can mend is made anew."""
        seen = self._sight.clouds_seen()
        news = seen & (self._skies.cloud < 1.0)
        self._skies.earned[:] = self._sight.imaged()
        self._skies.cloud[seen] = 1.0
        if news.any():
            for row, each in enumerate(self._sight.fleet):
                self._stale[row] |= not each.record["needs_clear_view"] and bool(news[each.target].any())

    def decide(self, row: int, mask: BoolArray) -> int:
        """The environment's action."""
        state = self._guarded(row)
        plan, at = self._planner.plans[row], self._next[row]
        if self._stale[row] or not self._on_plan(row, state, plan, at):
            plan, at = self._mended(row, state, plan, at), 0
            self._planner.plans[row], self._stale[row] = plan, False
        self._next[row] = at + 1
        return self._action(row, int(plan[at]["action"]) if at < len(plan) else CHARGE, mask)

    def _guarded(self, row: int) -> NDArray[np.void]:
        """A satellite's state with the limits that its guard holds; once for each decision, since it remembers."""
        state = self._sight.state(row)
        state["held"] = self._held[row]
        library().tw_guard(self._sight.fleet[row].address, state.ctypes.data)
        self._held[row] = int(state["held"])
        return state

    def _action(self, row: int, local: int, mask: BoolArray) -> int:
        """The environment's action for one of the twin's; charge where it is not on offer."""
        if local < 0:
            action = self._fixed.index(_NAMES[local])
        else:
            slot = self._sight.slot(row, int(self._sight.fleet[row].target[local]))
            action = 0 if slot is None else len(self._fixed) + slot
        return action if mask[action] else 0

    def _on_plan(self, row: int, state: NDArray[np.void], plan: Plan, at: int) -> bool:
        """Whether the decision comes when it was to come, and the last image was taken as planned."""
        if at >= len(plan) or plan[at]["begun"] != state["tick"]:
            return False
        last = plan[at - 1] if at > 0 else None
        if last is None or last["captured"] < 0:
            return True
        target = self._sight.fleet[row].target[last["action"]]
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


class _Roller(_Follower):
    """One episode in which every decision is planned anew, as far as the horizon: for any state, whoever led to it."""

    def _begin(self, settings: PlannerSettings) -> None:
        """Nothing is planned ahead."""

    def decide(self, row: int, mask: BoolArray) -> int:
        plan = self._planner.searched(row, self._guarded(row))
        self._planner.plans[row] = plan
        return self._action(row, int(plan[0]["action"]) if len(plan) else CHARGE, mask)
