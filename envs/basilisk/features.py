"""What an imaging satellite senses: named feature blocks, all satellites' opportunities in one numpy pass.

Frames: N inertial, P planet-fixed, B body. Angles in rad, times in s, positions in m before scaling.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from bsk_rl.scene.targets import Target
from numpy.typing import NDArray

from envs.api import AgentSpec, BoolArray, FeatureBlock, FloatArray
from envs.basilisk.energy import Energy
from envs.basilisk.extensions import View, observed
from envs.basilisk.extensions import features as extra_features
from envs.basilisk.intents import Intents
from envs.basilisk.knowledge import Knowledge
from envs.basilisk.satellites import ECLIPSE_LOOKAHEAD_S, Imager, names_of
from envs.basilisk.simulation import Constellation
from envs.basilisk.snapshot import Snapshot
from envs.basilisk.twin.forecast import foretell, tick_macs
from envs.basilisk.twin.library import fault
from envs.basilisk.twin.state import state_of
from envs.basilisk.twin.tables import tables
from scenarios.constellation import HardwareConfig
from scenarios.mission import ScenarioConfig

RATE_SCALE = 0.03  # rad/s, a brisk slew
TIME_SCALE = 120.0  # s, the timeout of an image
PASS_SCALE = 600.0  # s, a long pass over a ground station
DUE_MOST_S = 6000.0  # what "due" says of a target that is due later, or never
STATE_HORIZONS_S = (120.0, 600.0)  # over which the critic sees each satellite's open value


def agent_spec(config: ScenarioConfig, name: str, hardware: str) -> AgentSpec:
    """All blocks that the simulation can give of one satellite; sensing.py takes away what it cannot sense."""
    slots = config.actions.image_slots
    every = (
        FeatureBlock("battery", 2, "fraction now, fraction left after idling through the next or present eclipse", 1.0),
        FeatureBlock("gyro", 1, "rad/s body rate", RATE_SCALE),
        FeatureBlock("hardware", 4, "cos min elevation, log10 torque in N m, battery in 100 Wh, load in 100 W", 1.0),
        FeatureBlock("sun", 1, "1 in sunlight", 1.0),
        FeatureBlock("eclipse", 2, "s to the next start and to the next end", ECLIPSE_LOOKAHEAD_S),
        FeatureBlock("urgent", 1, "flag of the ground", 1.0, slots),
        FeatureBlock("priority", 1, "priority", 1.0, slots),
        FeatureBlock("window", 2, "s to opening, s to closing", TIME_SCALE, slots),
        FeatureBlock("angle", 1, "rad off boresight", 1.0, slots),
        FeatureBlock("rate", 1, "rad/s to track it against the rate now", RATE_SCALE, slots),
        FeatureBlock(
            "claimed", 2, "others tasked with it, share of others, alive, that can still reach it", 1.0, slots
        ),
        FeatureBlock("storage", 1, "fraction of the buffer filled", 1.0),
        FeatureBlock("station", 2, "s to the start and to the end of the present or next pass", PASS_SCALE),
        FeatureBlock("wheels", 1, "speed of the fastest as a fraction of the speed at which it fails", 1.0),
        FeatureBlock("cue", 1, "flag of a scout", 1.0, slots),
        FeatureBlock("instrument", 2, "1 if it needs light, 1 if it needs a clear view", 1.0),
        FeatureBlock("cloud", 1, "chance of clouds; 1: somebody saw them", 1.0, slots),
        FeatureBlock(
            "foretold",
            2,
            "1 if an image begun now comes off, minutes until the action ends",
            1.0,
            slots,
            slots * tick_macs(config) * math.ceil(config.actions.image_timeout_s / config.sim_step_s),
        ),
        FeatureBlock("due", 1, "s until it is due, at most 6,000", PASS_SCALE, slots),
        *(
            FeatureBlock(added, extra.size, extra.unit, extra.scale, slots if extra.per_target else 0)
            for added, extra in extra_features(config).items()
        ),
        FeatureBlock("intent", 1, "others heard to pursue it", 1.0, slots),
    )
    blocks = tuple(block for block in every if block.name in config.blocks)
    return AgentSpec(name, hardware, blocks, config.actions.fixed, slots)


def agent_specs(config: ScenarioConfig) -> tuple[AgentSpec, ...]:
    """Of all satellites, by their names in the simulation."""
    members = config.constellation.members
    return tuple(
        agent_spec(config, name, member.hardware) for name, member in zip(names_of(config), members, strict=True)
    )


def shuffled(config: ScenarioConfig) -> BoolArray:
    """[N] Whether slots are in random order: order by closing time would tell the windows to who cannot sense them."""
    return np.array(["window" not in blocks for blocks in config.visible])


def hardware_columns(classes: Sequence[HardwareConfig]) -> NDArray[np.float64]:
    """[N, 4] the block "hardware" of satellites."""
    return np.array(
        [
            [
                np.cos(np.radians(h.min_elevation_deg)),
                np.log10(h.max_wheel_torque_Nm),
                h.battery_Wh / 100.0,
                (h.instrument_power_W + h.base_power_W) / 100.0,
            ]
            for h in classes
        ]
    )


def state_size(config: ScenarioConfig) -> int:
    """Columns of the critic's view: 16, and what ``FeatureExtractor.state`` adds where there are such blocks."""
    return 16 + sum(size for name, size in (("storage", 2), ("station", 2), ("wheels", 1)) if name in config.blocks)


class FeatureExtractor:
    """Offers opportunities to satellites and turns a simulation into observations, masks and the critic's state.

    ``shuffled`` marks satellites that must not learn the order of closing times from the order of their slots
    (they do not sense windows): their slots are permuted at random, the same for whoever flies the episode.
    """

    def __init__(self, config: ScenarioConfig, constellation: Constellation, shuffled: BoolArray, seed: int) -> None:
        """Prepare one episode; call after ``Constellation.reset``."""
        self._spec = agent_spec(config, constellation.satellites[0].name, "")  # the layout, the same for all
        self._fixed = len(config.actions.fixed)
        self._names = config.blocks
        self._extra = extra_features(config)
        self._slots = config.actions.image_slots
        self._urgent_above = config.targets.urgent_above
        self._timeout_s = config.actions.image_timeout_s
        self._constellation = constellation
        self._shuffled = shuffled
        self._rng = np.random.default_rng([seed, 1])
        targets = constellation.targets
        self.knowledge = Knowledge(constellation)
        self.priority = np.array([target.priority for target in targets])
        self._r_LP_P = np.array([target.r_LP_P for target in targets]).reshape(-1, 3)  # there may be none at all
        self._due_s = np.array([target.due_s for target in targets])
        self._clouded = np.array([target.clouded for target in targets], dtype=np.bool_)
        self.cloud_chance = np.array([target.cloud_chance for target in targets])
        classes = [config.hardware[member.hardware] for member in constellation.sensing_classes]
        self._instrument = np.array([[h.needs_light, h.needs_clear_view] for h in classes], dtype=np.float64)
        satellites = constellation.satellites
        count = len(satellites)
        self.intents = Intents(config.communication, count, self._timeout_s, seed)
        self._last_close_s = np.full((count, len(targets)), -np.inf)
        for row, satellite in enumerate(satellites):
            np.maximum.at(self._last_close_s[row], satellite.windows.target, satellite.windows.close_s)
        # The windows of all satellites, soonest closing first: the critic sums over those that are left.
        sizes = [len(satellite.windows.target) for satellite in satellites]
        close_s = np.concatenate([satellite.windows.close_s for satellite in satellites])
        order = np.argsort(close_s, kind="stable")
        self._all_close_s = close_s[order]
        self._all_open_s = np.concatenate([satellite.windows.open_s for satellite in satellites])[order]
        self._all_target = np.concatenate([satellite.windows.target for satellite in satellites])[order]
        self._all_row = np.repeat(np.arange(count), sizes)[order]
        self._all_shown = np.concatenate([self._shown(row) for row in range(count)])[order]
        self._hardware = hardware_columns(classes)
        foretells = "foretold" in self._names and fault() is None  # without a C compiler the block reads 0
        self._twins = tables(config, constellation) if foretells else []
        self._energy = Energy(classes, self._timeout_s, config.actions.downlink_duration_s)
        self.offered: list[NDArray[np.int64]] = [np.empty(0, np.int64)] * count  # targets in each satellite's slots
        self._windows = list(self.offered)  # the same opportunities, as indices of the satellite's windows
        self._offered_close_s: list[NDArray[np.float64]] = [np.empty(0)] * count

    @property
    def blocks(self) -> tuple[FeatureBlock, ...]:
        return self._spec.blocks

    def offer(self, row: int, time_s: float) -> None:
        """Fill a satellite's slots: the unimaged targets it knows of that close soonest, one window each."""
        windows = self._constellation.satellites[row].windows
        first = np.searchsorted(windows.close_s, time_s + 1e-12, side="left")
        ahead = windows.target[first:]
        usable = ~self.knowledge.imaged[row, ahead] & (windows.open_s[first:] < time_s + self._timeout_s)
        usable &= windows.in_time(time_s, int(first))
        if self._instrument[row, 1]:
            usable &= ~self.knowledge.clouded[row, ahead]
        chosen = np.nonzero(usable)[0]
        # A target's earliest window comes first; a later one of the same target is no second opportunity.
        _, earliest = np.unique(ahead[chosen], return_index=True)
        chosen = chosen[np.sort(earliest)][: self._slots] + first
        if self._shuffled[row]:
            chosen = self._rng.permutation(chosen)
        self._windows[row] = chosen
        self.offered[row] = windows.target[chosen]
        self._offered_open_s = windows.open_s[chosen]
        self._offered_close_s[row] = windows.close_s[chosen]

    def opportunity(self, row: int, slot: int) -> tuple[Target, float]:
        """The target in a slot and when its window closes."""
        return self._constellation.targets[self.offered[row][slot]], float(self._offered_close_s[row][slot])

    def accessible(self, until_s: float) -> BoolArray:
        """Which targets [M] some satellite can image in a window that opens before ``until_s``."""
        reached = np.zeros(len(self.priority), dtype=np.bool_)
        for row, satellite in enumerate(self._constellation.satellites):
            windows = satellite.windows
            reached[windows.target[(windows.open_s < until_s) & self._shown(row)]] = True
        return reached

    def _shown(self, row: int) -> BoolArray:
        """Of a satellite's windows: those in which no clouds are in its way."""
        targets = self._constellation.satellites[row].windows.target
        return ~self._clouded[targets] if self._instrument[row, 1] else np.ones(len(targets), dtype=np.bool_)

    def observe(self, now: Snapshot, active: BoolArray) -> tuple[FloatArray, BoolArray]:
        """Observations [N, O] and action masks [N, A]; rows of satellites not asked are zero (charge legal)."""
        count = len(active)
        context = {
            "battery": np.stack([now.battery, self._energy.after_eclipse(now)], axis=-1),
            "gyro": now.rate[:, None],
            "hardware": self._hardware,
            "sun": now.sunlit[:, None].astype(np.float64),
            "eclipse": np.stack([now.to_eclipse_start_s, now.to_eclipse_end_s], axis=-1),
            "storage": now.storage[:, None],
            "station": np.stack([now.to_pass_start_s, now.to_pass_end_s], axis=-1),
            "wheels": now.wheels[:, None],
            "instrument": self._instrument,
        }
        obs = np.zeros((count, self._spec.obs_size), dtype=np.float32)
        mask = np.zeros((count, self._fixed + self._spec.slots), dtype=np.bool_)
        mask[:, 0] = True
        tasked, alive = self.pursued(), self._alive()
        for row in np.nonzero(active)[0].tolist():
            self.offer(row, now.time_s)
            mask[row, : self._fixed] = True
            if self._constellation.satellites[row].has_room():
                mask[row, self._fixed : self._fixed + len(self.offered[row])] = True
            values = {name: rows[row] for name, rows in context.items()} | self._opportunities(row, now, tasked, alive)
            column = 0
            for block in self._spec.blocks:
                value = values[block.name] / block.scale
                obs[row, column : column + value.size] = value.reshape(-1)  # slots without an opportunity stay 0
                column += block.columns
        return obs, mask

    def _opportunities(
        self, row: int, now: Snapshot, tasked: NDArray[np.int64], alive: BoolArray
    ) -> dict[str, NDArray[np.float64]]:
        """The slot blocks of a satellite, in physical units, [offered, size] each."""
        targets = self.offered[row]
        line = self._r_LP_P[targets] - now.r_BP_P[row]
        distance = np.linalg.norm(line, axis=-1)
        cosine = line @ now.boresight_P[row] / distance
        # The rate at which the boresight must turn to follow the target, against the rate it has.
        needed = np.cross(now.v_BP_P[row], line) / (distance**2)[:, None]
        rate = np.linalg.norm(now.omega_BP_P[row] - needed, axis=-1)
        others = np.arange(len(tasked)) != row
        claimed = np.array([np.sum(tasked[others] == target) for target in targets])
        reachable = np.sum(self._last_close_s[others & alive][:, targets] > now.time_s, axis=0)
        priority = self.priority[targets]
        return {
            "urgent": (priority >= self._urgent_above)[:, None].astype(np.float64),
            "priority": priority[:, None],
            "window": np.stack([self._offered_open_s, self._offered_close_s[row]], axis=-1) - now.time_s,
            "angle": np.arccos(np.clip(cosine, -1.0, 1.0))[:, None],
            "rate": rate[:, None],
            "claimed": np.stack([claimed, reachable / max(1, len(tasked) - 1)], axis=-1),
            "cue": self.knowledge.cued[row, targets][:, None].astype(np.float64),
            "cloud": np.where(self.knowledge.clouded[row, targets], 1.0, self.cloud_chance[targets])[:, None],
            "due": np.minimum(self._due_s[targets] - now.time_s, DUE_MOST_S)[:, None],
            "intent": np.sum(self.intents.heard(row, now.time_s) == targets[:, None], axis=-1, keepdims=True) * 1.0,
            **({"foretold": self._foretold(row)} if "foretold" in self._names else {}),
            **self._users_own(row, now),
        }

    def _foretold(self, row: int) -> NDArray[np.float64]:
        """[K, 2] For each target on offer: 1 if an image begun now is taken, else 0; minutes until that action ends."""
        if not self._twins:
            return np.zeros((len(self.offered[row]), 2))
        satellite = self._constellation.satellites[row]
        running = self.knowledge.index_of(satellite.running) if isinstance(satellite.running, Target) else None
        state = state_of(satellite, self._twins[row], running, ())
        windows = np.ascontiguousarray(self._windows[row], np.int32)
        return foretell(self._twins[row], state, windows)

    def _users_own(self, row: int, now: Snapshot) -> dict[str, NDArray[np.float64]]:
        """The blocks that the user has added."""
        if not self._extra:
            return {}
        targets = self.offered[row]
        view = View(
            now,
            row,
            self._constellation.satellites[row].hardware,
            self._r_LP_P[targets],
            self.priority[targets],
            self._offered_open_s.copy(),  # what others do to a view must not move deadlines
            self._offered_close_s[row].copy(),
        )
        return {name: observed(name, extra, view) for name, extra in self._extra.items()}

    def health(self, now: Snapshot, active: BoolArray) -> FloatArray:
        """What the bus of each satellite that is asked tells its guard, [N, 4] as ``envs.api.HEALTH`` says; else 0."""
        rows = np.stack([now.battery, self._energy.lowest_ahead(now), now.wheels, now.storage], axis=-1)
        return np.where(active[:, None], rows, 0.0).astype(np.float32)

    def _alive(self) -> BoolArray:
        return np.array([satellite.is_alive() for satellite in self._constellation.satellites])

    def pursued(self) -> NDArray[np.int64]:
        """[N] index of the target that each living satellite is after, -1 for none."""
        return np.array([self._pursued(satellite) for satellite in self._constellation.satellites])

    def _pursued(self, satellite: Imager) -> int:
        busy = satellite.is_alive() and not satellite.requires_retasking
        return self.knowledge.index_of(satellite.running) if busy and isinstance(satellite.running, Target) else -1

    def state(self, now: Snapshot) -> FloatArray:
        """The critic's view [N, S]: every satellite's health, hardware, task and the value open to it."""
        satellites, count = self._constellation.satellites, len(self._constellation.satellites)
        first = np.searchsorted(self._all_close_s, now.time_s, side="right")
        value = np.where(self.knowledge.all_imaged, 0.0, self.priority)[self._all_target[first:]]
        value = value * self._all_shown[first:]
        opens, row_of = self._all_open_s[first:], self._all_row[first:]
        near_s, far_s = STATE_HORIZONS_S
        near = np.bincount(row_of, value * (opens < now.time_s + near_s), count)
        far = np.bincount(row_of, value * (opens < now.time_s + far_s), count)
        alive = self._alive()
        busy = alive & ~np.array([satellite.requires_retasking for satellite in satellites])
        left_s = np.maximum(0.0, np.array([satellite.deadline_s for satellite in satellites]) - now.time_s)
        # What it is after: without it the critic could not foresee the next rewards of the others.
        tasked = self.pursued()
        after = tasked >= 0
        priority, angle = np.zeros(count), np.zeros(count)
        line = self._r_LP_P[tasked[after]] - now.r_BP_P[after]
        cosine = np.sum(line * now.boresight_P[after], axis=-1) / np.linalg.norm(line, axis=-1)
        priority[after], angle[after] = self.priority[tasked[after]], np.arccos(np.clip(cosine, -1.0, 1.0))
        columns = [
            alive,
            now.battery,
            self._energy.after_eclipse(now),
            *self._hardware.T,
            now.sunlit,
            now.to_eclipse_start_s / ECLIPSE_LOOKAHEAD_S,
            now.to_eclipse_end_s / ECLIPSE_LOOKAHEAD_S,
            near / 5.0,
            far / 20.0,
            np.where(busy, left_s, 0.0) / TIME_SCALE,
            busy,
            priority,
            angle,
        ]
        undelivered = self._constellation.rewarder.undelivered
        more: dict[str, list[NDArray[np.float64]]] = {
            "storage": [now.storage, np.array([undelivered(s.data_store.on_board) for s in satellites]) / 5.0],
            "station": [now.to_pass_start_s / PASS_SCALE, now.to_pass_end_s / PASS_SCALE],
            "wheels": [now.wheels],
        }
        columns += [column for name, added in more.items() if name in self._names for column in added]
        return np.stack(columns, axis=-1).astype(np.float32)
