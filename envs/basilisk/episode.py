"""One episode of a constellation mission: decisions in, observations, reward and accounts out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from bsk_rl.scene.targets import Target
from numpy.typing import NDArray

from envs.api import BoolArray, FloatArray, IntArray
from envs.basilisk.completion import Completion, completion
from envs.basilisk.divergence import divergence_km
from envs.basilisk.episode_result import EpisodeResult
from envs.basilisk.faults import Faults
from envs.basilisk.features import FeatureExtractor
from envs.basilisk.satellites import CHARGE, DESATURATE, DOWNLINK
from envs.basilisk.simulation import Constellation
from envs.basilisk.snapshot import Snapshot
from envs.basilisk.task_log import TaskLog
from envs.basilisk.tasks import GUARD, LATE, NOT_RECEIVED, Tasks
from envs.basilisk.trace import ACTIVITIES, Trace
from scenarios.mission import INTENT_BLOCKS, FaultsConfig, RewardAt, ScenarioConfig
from scenarios.orbits import EARTH_RADIUS_M, period_s

_ACTIVITIES: dict[object, int] = {CHARGE: 0, DOWNLINK: 2, DESATURATE: 3}  # as in ``trace.ACTIVITIES``; else it images
_CHARGING, _IMAGING = ACTIVITIES.index("charging"), ACTIVITIES.index("imaging")


@dataclass(frozen=True, slots=True)
class Moment:
    """What one episode tells at a decision (see ``envs.api.Step``, without the leading E)."""

    obs: FloatArray  # [N, O]
    action_mask: BoolArray  # [N, A]
    active: BoolArray  # [N]
    alive: BoolArray  # [N]
    reward: float
    duration_s: float
    terminated: bool
    truncated: bool
    state: FloatArray  # [N, S]
    health: FloatArray  # [N, 4]


@dataclass(frozen=True, slots=True)
class _Doing:
    """A sample of a trace."""

    now: Snapshot
    activity: NDArray[np.int64]  # [N]
    pursued: NDArray[np.int64]  # [N]


@dataclass(frozen=True, slots=True)
class _Order:
    """A decision that is under way to its satellite."""

    begin: Callable[[], None]
    activity: int  # as ``trace.ACTIVITIES`` says
    target: int = -1  # the index of what is to be imaged, -1: nothing
    until_s: float = math.inf  # then the window of its target has closed
    wanted: int = -1  # for the record of tasks: the index of the target that was to be imaged
    preset: int | None = None  # likewise: the task's outcome, where it is known


class Episode:
    """Runs one constellation from a seed to its end, again and again.

    Time advances to the next decision of any satellite, or to a failure or a late decision's arrival, in which perhaps
    nobody is asked. Satellites whose action goes on are not asked. A dead satellite costs ``death_penalty`` once and is
    never asked again; the episode ends when all are dead (terminated) or at the time limit (truncated).
    """

    def __init__(self, config: ScenarioConfig, shuffled: BoolArray, training: bool, traced: bool = False) -> None:
        self._config = config
        active = not training or config.faults.training
        self._faults_config = config.faults if active else FaultsConfig()
        self._shuffled = shuffled
        self._traced = traced
        self.silent = np.zeros(config.constellation.size, dtype=np.bool_)  # [N] who broadcasts no intents
        self.constellation = Constellation(config, training, filmed=traced)
        if traced:
            self.constellation.watch = self._watch

    def reset(self, seed: int) -> Moment:
        self._seed = seed
        self.constellation.reset(seed)
        satellites = self.constellation.satellites
        count = len(satellites)
        self.features = FeatureExtractor(self._config, self.constellation, self._shuffled, seed)
        self._orbit_s = period_s(EARTH_RADIUS_M + self._config.constellation.altitude_km * 1e3)
        span_s = float(self.constellation.time_limit)
        blocks = sum(block.name not in INTENT_BLOCKS for block in self.features.blocks)
        self.faults = Faults(self._faults_config, count, blocks, self._orbit_s, span_s, seed)
        self._failed = np.zeros(count, dtype=np.bool_)
        self._missed = 0
        self._late = 0
        self._under_way: dict[int, _Order] = {}  # by row
        self._alive = np.ones(count, dtype=np.bool_)
        self._captured_by = np.zeros(count)
        self._decisions = np.zeros(count, dtype=np.int64)
        self._charges = np.zeros(count, dtype=np.int64)
        self._history: list[_Doing] = []
        self._imaged_at: dict[int, tuple[int, float]] = {}
        self._tasks = TaskLog(satellites, self.constellation.targets)
        self._overruled = np.full(count, -1)
        return self._moment(self.constellation.snapshot(), reward=0.0, duration_s=0.0)

    def overruled(self, chosen: IntArray) -> None:
        """Of the actions that come next: what the policy chose [N] where a guard took another; elsewhere -1."""
        self._overruled = chosen

    def step(self, actions: IntArray) -> Moment:
        """Task the satellites that were asked and run to the next decision.

        Args:
            actions: [N]; entries of satellites that were not asked are ignored.

        Raises:
            ValueError: an action that the mask forbids.
        """
        satellites = self.constellation.satellites
        for row in np.nonzero(self._active)[0].tolist():
            action = int(actions[row])
            if not (0 <= action < self._mask.shape[1] and self._mask[row, action]):
                raise ValueError(
                    f"action {action} of {satellites[row].name} is not allowed now; "
                    f"allowed: {np.nonzero(self._mask[row])[0].tolist()}"
                )
            self._decisions[row] += 1
            missing, late = self.faults.missing(), self.faults.late()
            chosen = int(self._overruled[row])
            wanted = self._target_of(row, action if chosen < 0 else chosen)
            preset = NOT_RECEIVED if missing else None if chosen < 0 else GUARD
            order = replace(self._order(row, 0 if missing else action), wanted=wanted, preset=preset)
            if missing or not late:
                self._missed += missing
                self._begin(row, order)
            else:
                self._late += 1
                self._under_way[row] = order
                satellites[row].charge(self._faults_config.late_s)
                self._tasks.begin(row, _CHARGING, wanted, self.constellation.time_s, LATE)
        self._overruled = np.full(len(satellites), -1)
        if self._traced:
            self._history.append(self._doing(self._now))
        already = set(self.constellation.rewarder.data.imaged) if self._traced else set()
        earned, duration_s = self.constellation.advance(self.faults.failure_s, self.faults.outage)
        by_satellite = np.array([earned.get(s.name, 0.0) for s in satellites])
        self._captured_by += by_satellite
        self._remember_images(already)
        now = self.constellation.snapshot()
        self._tasks.follow(now)
        died = self._alive & ~np.array([s.is_alive() for s in satellites])
        self._alive &= ~died
        failed = died & self.constellation.has_failed(self.faults.failure_s)
        self._failed |= failed
        # No decision could have kept a satellite from failing: only the others are blamed on the policy.
        reward = float(by_satellite.sum()) - self._config.death_penalty * int((died & ~failed).sum())
        self._arrive()
        return self._moment(now, reward, duration_s)

    def _order(self, row: int, action: int) -> _Order:
        """What an action asks of a satellite."""
        satellite, actions = self.constellation.satellites[row], self._config.actions
        name = actions.fixed[action] if action < len(actions.fixed) else None
        if name == CHARGE:
            self._charges[row] += 1
            return _Order(partial(satellite.charge, actions.charge_duration_s), _ACTIVITIES[name])
        if name == DOWNLINK and actions.downlink_duration_s is not None:
            return _Order(partial(satellite.downlink, actions.downlink_duration_s), _ACTIVITIES[name])
        if name == DESATURATE and actions.desaturation_duration_s is not None:
            return _Order(partial(satellite.desaturate, actions.desaturation_duration_s), _ACTIVITIES[name])
        target, close_s = self.features.opportunity(row, action - len(actions.fixed))
        begin = partial(satellite.image, target, close_s, actions.image_timeout_s)
        return _Order(begin, _IMAGING, self.features.knowledge.index_of(target), close_s)

    def _target_of(self, row: int, action: int) -> int:
        """The index of the target that an action images; -1: it images none."""
        slot = action - len(self._config.actions.fixed)
        return int(self.features.offered[row][slot]) if slot >= 0 else -1

    def _begin(self, row: int, order: _Order) -> None:
        """A satellite does what it is asked to do, and tells the others."""
        order.begin()
        self._tasks.begin(row, order.activity, order.wanted, self.constellation.time_s, order.preset)
        if self._config.communication.bits_per_decision > 0 and not self.silent[row]:
            in_reach = self.constellation.hearers(row, self.faults.outage)
            self.features.intents.broadcast(row, order.target, self.constellation.time_s, in_reach)

    def _arrive(self) -> None:
        """Late decisions reach their satellites. Where the target's window has closed meanwhile nothing begins, and the
        satellite is asked again."""
        now_s = self.constellation.time_s
        for row, order in list(self._under_way.items()):
            if self.constellation.satellites[row].requires_retasking:
                del self._under_way[row]
                if self._alive[row] and order.until_s > now_s and not self.constellation.over():
                    self._begin(row, order)

    def _moment(self, now: Snapshot, reward: float, duration_s: float) -> Moment:
        truncated = self.constellation.over()
        terminated = not self._alive.any()
        asked = np.array([s.requires_retasking for s in self.constellation.satellites])
        self._active = asked & self._alive & (not truncated)
        self._now = now
        self.features.knowledge.learn()
        obs, self._mask = self.features.observe(now, self._active)
        self._drop(obs)
        state = self.features.state(now)
        return Moment(
            obs,
            self._mask,
            self._active,
            self._alive.copy(),
            reward,
            duration_s,
            terminated,
            truncated,
            state,
            self.features.health(now, self._active),
        )

    def _drop(self, obs: FloatArray) -> None:
        """Blank the blocks of the satellites that are asked whose sensors are out."""
        for row in np.nonzero(self._active)[0].tolist():
            column = 0
            for block, out in zip(self.features.blocks, self.faults.dropped(row, self._now.time_s), strict=False):
                if out:
                    obs[row, column : column + block.columns] = 0.0
                column += block.columns

    def _remember_images(self, already: set[object]) -> None:
        if not self._traced:
            return
        for row, satellite in enumerate(self.constellation.satellites):
            for target in satellite.data_store.new_data.imaged - already:
                index = self.features.knowledge.index_of(target)
                self._imaged_at.setdefault(index, (row, self.constellation.time_s))

    def _watch(self) -> None:
        """Remember an instant within an action."""
        self._history.append(self._doing(self.constellation.snapshot()))

    def _doing(self, now: Snapshot) -> _Doing:
        satellites = self.constellation.satellites
        activities = [_ACTIVITIES.get(s.running, 1) if s.is_alive() else -1 for s in satellites]
        return _Doing(now, np.array(activities), self.features.pursued())

    def result(self) -> EpisodeResult:
        """What the episode has come to so far."""
        constellation = self.constellation
        limit_s = float(constellation.time_limit)
        sent_bits, orbits = self.features.intents.sent_bits, constellation.time_s / self._orbit_s
        downlinked = self._config.reward.at is RewardAt.downlink
        on_board = {target for s in constellation.satellites for target in s.data_store.on_board}
        return EpisodeResult(
            seed=self._seed,
            captured=float(self._captured_by.sum()),
            available=float(self.features.priority[self.features.accessible(limit_s)].sum()),
            captured_by=tuple(float(value) for value in self._captured_by),
            images=tuple(int(s.imaged) for s in constellation.satellites),
            duplicates=int(constellation.rewarder.data.duplicates),
            deaths=int((~self._alive & ~self._failed).sum()),
            decisions=tuple(int(value) for value in self._decisions),
            charges=tuple(int(value) for value in self._charges),
            duration_s=constellation.time_s,
            failures=int(self._failed.sum()),
            missed=self._missed,
            late=self._late,
            spoiled=sum(s.data_store.spoiled for s in constellation.satellites),
            undelivered=constellation.rewarder.undelivered(on_board) if downlinked else 0.0,
            sent_bits=tuple(int(bits) for bits in sent_bits),
            bits_per_orbit=tuple(float(bits) / orbits if orbits > 0 else 0.0 for bits in sent_bits),
            from_sgp4_km=tuple(divergence_km(constellation).tolist()),
            completion=self._completion(),
        )

    def _completion(self) -> Completion | None:
        if self._config.targets.file is None:
            return None
        power_W = [satellite.hardware.instrument_power_W for satellite in self.constellation.satellites]
        targets = self.constellation.targets
        dwell_s, release_s = (np.array([getattr(each, name) for each in targets]) for name in ("dwell_s", "release_s"))
        return completion(self.tasks(), dwell_s, release_s, power_W)

    def tasks(self) -> Tasks:
        """What its satellites have been told to do so far, and what came of it."""
        return self._tasks.tasks(self.constellation.time_s)

    def film(self) -> bytes:
        """The same for Vizard."""
        assert self.constellation.film is not None
        return self.constellation.film.read()

    def trace(self) -> Trace:
        """The whole episode, if it was asked to be traced."""
        history = [*self._history, self._doing(self._now)]
        r_P = np.stack([doing.now.r_BP_P for doing in history])
        latitude, longitude = _geocentric(r_P)
        target_r_P = np.array([target.r_LP_P for target in self.constellation.targets]).reshape(-1, 3)
        target_latitude, target_longitude = _geocentric(target_r_P)
        for index, target in enumerate(self.constellation.targets):  # of a file: as it says, on WGS84
            target_latitude[index] = target_latitude[index] if target.latitude_deg is None else target.latitude_deg
        imaged_by = np.full(len(target_r_P), -1)
        imaged_s = np.full(len(target_r_P), np.nan)
        for index, (row, time_s) in self._imaged_at.items():
            imaged_by[index], imaged_s[index] = row, time_s
        delivered_by, delivered_s = imaged_by, imaged_s
        if self._config.reward.at is RewardAt.downlink:
            delivered_by, delivered_s = self._first(self.constellation.rewarder.first_delivery)
        sent_by, sent_s = self._first(self.constellation.rewarder.first_sent)
        return Trace(
            time_s=np.array([doing.now.time_s for doing in history]),
            latitude_deg=latitude,
            longitude_deg=longitude,
            radius_km=np.linalg.norm(r_P, axis=-1) / 1e3,
            battery=np.stack([doing.now.battery for doing in history]),
            sunlit=np.stack([doing.now.sunlit for doing in history]),
            storage=np.stack([doing.now.storage for doing in history]),
            action=np.stack([doing.activity for doing in history]),
            pursued=np.stack([doing.pursued for doing in history]),
            target_latitude_deg=target_latitude,
            target_longitude_deg=target_longitude,
            target_name=np.array([target.name for target in self.constellation.targets], np.str_),
            target_priority=self.features.priority,
            target_imaged_by=imaged_by,
            target_imaged_s=imaged_s,
            target_delivered_by=delivered_by,
            target_delivered_s=delivered_s,
            target_accessible=self.features.accessible(float(self.constellation.time_limit)),
            target_sent_by=sent_by,
            target_sent_s=sent_s,
        )

    def _first(self, of: Mapping[Target, tuple[str, float]]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Of each target: the satellite's row (-1: none) and the time in s (NaN: never), from its name and the time."""
        count = len(self.constellation.targets)
        by, when_s = np.full(count, -1), np.full(count, np.nan)
        rows = {satellite.name: row for row, satellite in enumerate(self.constellation.satellites)}
        for target, (name, time_s) in of.items():
            index = self.features.knowledge.index_of(target)
            by[index], when_s[index] = rows[name], time_s
        return by, when_s


def _geocentric(r_P: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Geocentric latitude and longitude [deg] of planet-fixed positions [..., 3]."""
    x, y, z = np.moveaxis(r_P, -1, 0)
    return np.degrees(np.arctan2(z, np.hypot(x, y))), np.degrees(np.arctan2(y, x))
