"""What an imaging satellite senses: named feature blocks, all satellites' opportunities in one numpy pass.

Frames: N inertial, P planet-fixed, B body. Angles in rad, times in s, positions in m before scaling.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from Basilisk.utilities import macros
from bsk_rl.scene.targets import Target
from numpy.typing import NDArray

from envs.api import AgentSpec, BoolArray, FeatureBlock, FloatArray
from envs.basilisk.satellites import CHARGE, ECLIPSE_LOOKAHEAD_S, Imager
from envs.basilisk.simulation import Constellation
from scenarios.schema import ScenarioConfig

RATE_SCALE = 0.03  # rad/s, a brisk slew
WHEELS_IDLE_W = 1.2  # three wheels of 0.4 W, BSK-RL's default
SOLAR_FLUX_W_m2 = 1361.0  # at 1 AU
TURN_TO_SUN_S = 420.0  # the longest turn seen: wheels that run fast from the start slow a slew down
TIME_SCALE = 120.0  # s, the timeout of an image
STATE_HORIZONS_S = (120.0, 600.0)  # over which the critic sees each satellite's open value


def agent_spec(config: ScenarioConfig, satellite: Imager, hardware: str) -> AgentSpec:
    """All blocks that the simulation can give of one satellite; sensing.py takes away what it cannot sense."""
    slots = config.actions.image_slots
    blocks = (
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
        FeatureBlock("claimed", 2, "others tasked with it, share of others that can still reach it", 1.0, slots),
    )
    return AgentSpec(satellite.name, hardware, blocks, (CHARGE,), slots)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The physical state of N satellites at one instant, read from Basilisk once."""

    time_s: float
    r_BP_P: NDArray[np.float64]  # [N, 3]
    v_BP_P: NDArray[np.float64]  # [N, 3] as seen in the rotating planet frame
    boresight_P: NDArray[np.float64]  # [N, 3] unit vectors
    omega_BP_P: NDArray[np.float64]  # [N, 3]
    rate: NDArray[np.float64]  # [N] |omega_BN|
    battery: NDArray[np.float64]  # [N] fraction
    sunlit: BoolArray  # [N]
    to_eclipse_start_s: NDArray[np.float64]  # [N]
    to_eclipse_end_s: NDArray[np.float64]  # [N]


def snapshot(constellation: Constellation) -> Snapshot:
    satellites = constellation.satellites
    time_s = constellation.time_s
    world = constellation.simulator.world
    planet = world.gravFactory.spiceObject.planetStateOutMsgs[world.body_index].read()
    PN = np.array(planet.J20002Pfix)
    PN_dot = np.array(planet.J20002Pfix_dot)
    skew_PN_N = -PN.T @ PN_dot
    omega_PN_N = np.array([skew_PN_N[2, 1], skew_PN_N[0, 2], skew_PN_N[1, 0]])
    buses = [s.bus() for s in satellites]
    r_BN_N = np.array([bus.r_BN_N for bus in buses])
    v_BN_N = np.array([bus.v_BN_N for bus in buses])
    NB = _dcm_from_mrp(np.array([bus.sigma_BN for bus in buses])).transpose(0, 2, 1)
    omega_BN_B = np.array([bus.omega_BN_B for bus in buses])
    boresight_B = np.array([[0.0, 0.0, 1.0]] * len(satellites))  # inst_pHat_B, BSK-RL's default
    omega_BN_N = np.einsum("nij,nj->ni", NB, omega_BN_B)
    starts, ends = zip(*(_next_eclipse(s, time_s) for s in satellites), strict=True)
    to_start, to_end = np.array(starts) - time_s, np.array(ends) - time_s
    return Snapshot(
        time_s=time_s,
        r_BP_P=r_BN_N @ PN.T,
        v_BP_P=(v_BN_N - np.cross(omega_PN_N, r_BN_N)) @ PN.T,
        boresight_P=np.einsum("nij,nj->ni", NB, boresight_B) @ PN.T,
        omega_BP_P=(omega_BN_N - omega_PN_N) @ PN.T,
        rate=np.linalg.norm(omega_BN_B, axis=-1),
        battery=np.array([bus.battery_J for bus in buses]) / constellation.capacity_J,
        sunlit=to_start <= to_end,
        to_eclipse_start_s=to_start,
        to_eclipse_end_s=to_end,
    )


def _next_eclipse(satellite: Imager, time_s: float) -> tuple[float, float]:
    """Times of the next eclipse start and end; an orbit without eclipse has them beyond the look-ahead."""
    starts, ends = satellite.eclipse_starts_s, satellite.eclipse_ends_s
    start = np.searchsorted(starts, time_s, side="right")
    end = np.searchsorted(ends, time_s, side="right")
    never = time_s + ECLIPSE_LOOKAHEAD_S
    return (
        float(starts[start]) if start < len(starts) else never,
        float(ends[end]) if end < len(ends) else never,
    )


def _dcm_from_mrp(sigma: NDArray[np.float64]) -> NDArray[np.float64]:
    """Direction cosine matrices [N, 3, 3] (BN) of modified Rodrigues parameters [N, 3] (Schaub & Junkins, 3.147)."""
    squared = np.sum(sigma**2, axis=-1)
    tilde = np.zeros((len(sigma), 3, 3))
    tilde[:, 0, 1], tilde[:, 0, 2], tilde[:, 1, 2] = -sigma[:, 2], sigma[:, 1], -sigma[:, 0]
    tilde -= tilde.transpose(0, 2, 1)
    scale = ((1.0 + squared) ** 2)[:, None, None]
    return np.asarray(np.eye(3) + (8.0 * tilde @ tilde - 4.0 * (1.0 - squared)[:, None, None] * tilde) / scale)


class FeatureExtractor:
    """Offers opportunities to satellites and turns a simulation into observations, masks and the critic's state.

    ``shuffled`` marks satellites that must not learn the order of closing times from the order of their slots
    (they do not sense windows): their slots are permuted at random, the same for whoever flies the episode.
    """

    STATE_SIZE = 16

    def __init__(self, config: ScenarioConfig, constellation: Constellation, shuffled: BoolArray, seed: int) -> None:
        """Prepare one episode; call after ``Constellation.reset``."""
        self._spec = agent_spec(config, constellation.satellites[0], "")  # the layout, the same for all
        self._slots = config.actions.image_slots
        self._urgent_above = config.targets.urgent_above
        self._timeout_s = config.actions.image_timeout_s
        self._constellation = constellation
        self._shuffled = shuffled
        self._rng = np.random.default_rng([seed, 1])
        targets = constellation.targets
        self._index = {id(target): index for index, target in enumerate(targets)}
        self.priority = np.array([target.priority for target in targets])
        self._r_LP_P = np.array([target.r_LP_P for target in targets])
        satellites = constellation.satellites
        count = len(satellites)
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
        classes = [config.hardware[member.hardware] for member in constellation.sensing_classes]
        self._hardware = np.array(
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
        self._capacity_Wh = np.array([h.battery_Wh for h in classes])
        self._base_power_W = np.array([h.base_power_W for h in classes])
        self._idle_power_W = self._base_power_W + WHEELS_IDLE_W
        self._imaging_power_W = self._idle_power_W + np.array([h.instrument_power_W for h in classes])
        panels_W = [SOLAR_FLUX_W_m2 * h.panel_area_m2 * h.panel_efficiency for h in classes]
        self._charge_power_W = np.array(panels_W) - self._idle_power_W
        self._imaged = np.zeros(len(targets), dtype=np.bool_)  # by anyone
        self._known_imaged = np.zeros((count, len(targets)), dtype=np.bool_)
        self._count, self._known_count = 0, [0] * count
        self.offered: list[NDArray[np.int64]] = [np.empty(0, np.int64)] * count  # targets in each satellite's slots
        self._offered_close_s: list[NDArray[np.float64]] = [np.empty(0)] * count

    @property
    def blocks(self) -> tuple[FeatureBlock, ...]:
        return self._spec.blocks

    def offer(self, row: int, time_s: float) -> None:
        """Fill a satellite's slots: the unimaged targets it knows of that close soonest, one window each."""
        windows = self._constellation.satellites[row].windows
        first = np.searchsorted(windows.close_s, time_s + 1e-12, side="left")
        ahead = windows.target[first:]
        usable = ~self._known_imaged[row, ahead] & (windows.open_s[first:] < time_s + self._timeout_s)
        chosen = np.nonzero(usable)[0]
        # A target's earliest window comes first; a later one of the same target is no second opportunity.
        _, earliest = np.unique(ahead[chosen], return_index=True)
        chosen = chosen[np.sort(earliest)][: self._slots] + first
        if self._shuffled[row]:
            chosen = self._rng.permutation(chosen)
        self.offered[row] = windows.target[chosen]
        self._offered_open_s = windows.open_s[chosen]
        self._offered_close_s[row] = windows.close_s[chosen]

    def opportunity(self, row: int, slot: int) -> tuple[Target, float]:
        """The target in a slot and when its window closes."""
        return self._constellation.targets[self.offered[row][slot]], float(self._offered_close_s[row][slot])

    def index_of(self, target: Target) -> int:
        return self._index[id(target)]

    def accessible(self, until_s: float) -> BoolArray:
        """Which targets [M] some satellite has a window on that opens before ``until_s``."""
        reached = np.zeros(len(self.priority), dtype=np.bool_)
        for satellite in self._constellation.satellites:
            windows = satellite.windows
            reached[windows.target[windows.open_s < until_s]] = True
        return reached

    def learn_images(self) -> None:
        """Take over what has been imaged, and what each satellite now knows of it."""
        everything = self._constellation.rewarder.data.imaged
        if len(everything) != self._count:
            self._imaged[[self._index[id(target)] for target in everything]] = True
            self._count = len(everything)
        for row, satellite in enumerate(self._constellation.satellites):
            imaged = satellite.data_store.data.imaged
            if len(imaged) != self._known_count[row]:
                if len(imaged) == self._count:
                    self._known_imaged[row] = self._imaged
                else:
                    self._known_imaged[row, [self._index[id(target)] for target in imaged]] = True
                self._known_count[row] = len(imaged)

    def observe(self, now: Snapshot, active: BoolArray) -> tuple[FloatArray, BoolArray]:
        """Observations [N, O] and action masks [N, A]; rows of satellites not asked are zero (charge legal)."""
        count = len(active)
        context = {
            "battery": np.stack([now.battery, self._reserve(now)], axis=-1),
            "gyro": now.rate[:, None],
            "hardware": self._hardware,
            "sun": now.sunlit[:, None].astype(np.float64),
            "eclipse": np.stack([now.to_eclipse_start_s, now.to_eclipse_end_s], axis=-1),
        }
        obs = np.zeros((count, self._spec.obs_size), dtype=np.float32)
        mask = np.zeros((count, 1 + self._spec.slots), dtype=np.bool_)
        mask[:, 0] = True
        tasked = self._tasked()
        for row in np.nonzero(active)[0].tolist():
            self.offer(row, now.time_s)
            mask[row, 1 : 1 + len(self.offered[row])] = True
            values = {name: rows[row] for name, rows in context.items()} | self._opportunities(row, now, tasked)
            column = 0
            for block in self._spec.blocks:
                value = values[block.name] / block.scale
                obs[row, column : column + value.size] = value.reshape(-1)  # slots without an opportunity stay 0
                column += block.columns
        return obs, mask

    def _opportunities(self, row: int, now: Snapshot, tasked: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
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
        reachable = np.sum(self._last_close_s[others][:, targets] > now.time_s, axis=0)
        priority = self.priority[targets]
        return {
            "urgent": (priority >= self._urgent_above)[:, None].astype(np.float64),
            "priority": priority[:, None],
            "window": np.stack([self._offered_open_s, self._offered_close_s[row]], axis=-1) - now.time_s,
            "angle": np.arccos(np.clip(cosine, -1.0, 1.0))[:, None],
            "rate": rate[:, None],
            "claimed": np.stack([claimed, reachable / max(1, len(tasked) - 1)], axis=-1),
        }

    def _reserve(self, now: Snapshot) -> NDArray[np.float64]:
        """Battery fraction [N] that would be left if the satellite idled through the eclipse it is in, or the next."""
        dark_s = now.to_eclipse_end_s - np.where(now.sunlit, now.to_eclipse_start_s, 0.0)
        return np.asarray(now.battery - self._base_power_W * dark_s / 3600.0 / self._capacity_Wh)

    def _used(self, power_W: NDArray[np.float64], time_s: float | NDArray[np.float64]) -> NDArray[np.float64]:
        """Battery fractions [N] that a power takes in a time."""
        return np.asarray(power_W * time_s / 3600.0 / self._capacity_Wh)

    def health(self, now: Snapshot, active: BoolArray) -> FloatArray:
        """What the bus of each satellite that is asked tells its guard, [N, 4] as ``envs.api.HEALTH`` says; else 0."""
        # An action is not interrupted: so this is the lowest charge ahead if it takes one more image, for as long as
        # an image may last, then turns to the Sun, and charges until the coming eclipse.
        after = now.battery - self._used(self._imaging_power_W, self._timeout_s)
        turned = after - self._used(self._idle_power_W, TURN_TO_SUN_S)
        sunlit_s = np.maximum(0.0, now.to_eclipse_start_s - self._timeout_s - TURN_TO_SUN_S)
        filled = np.minimum(1.0, turned + self._used(self._charge_power_W, sunlit_s))
        dark_s = now.to_eclipse_end_s - np.where(now.sunlit, now.to_eclipse_start_s, self._timeout_s)
        end = np.where(now.sunlit, filled, after) - self._used(self._idle_power_W, np.maximum(0.0, dark_s))
        reserve = np.minimum(turned, end)
        rows = np.zeros((len(active), 4), dtype=np.float32)
        for row in np.nonzero(active)[0].tolist():
            satellite = self._constellation.satellites[row]
            wheel = satellite.bus().wheels_rad_s[0] / (satellite.dynamics.maxWheelSpeed * macros.rpm2radsec)
            rows[row] = now.battery[row], reserve[row], wheel, float(satellite.dynamics.storage_level_fraction)
        return rows

    def _tasked(self) -> NDArray[np.int64]:
        """Index of the target that each living satellite is after, -1 for none."""
        return np.array([self._pursued(satellite) for satellite in self._constellation.satellites])

    def _pursued(self, satellite: Imager) -> int:
        busy = satellite.is_alive() and not satellite.requires_retasking
        return self._index[id(satellite.running)] if busy and isinstance(satellite.running, Target) else -1

    def state(self, now: Snapshot) -> FloatArray:
        """The critic's view [N, S]: every satellite's health, hardware, task and the value open to it."""
        satellites, count = self._constellation.satellites, len(self._constellation.satellites)
        first = np.searchsorted(self._all_close_s, now.time_s, side="right")
        value = np.where(self._imaged, 0.0, self.priority)[self._all_target[first:]]
        opens, row_of = self._all_open_s[first:], self._all_row[first:]
        near_s, far_s = STATE_HORIZONS_S
        near = np.bincount(row_of, value * (opens < now.time_s + near_s), count)
        far = np.bincount(row_of, value * (opens < now.time_s + far_s), count)
        alive = np.array([satellite.is_alive() for satellite in satellites])
        busy = alive & ~np.array([satellite.requires_retasking for satellite in satellites])
        left_s = np.maximum(0.0, np.array([satellite.deadline_s for satellite in satellites]) - now.time_s)
        # What it is after: without it the critic could not foresee the next rewards of the others.
        tasked = self._tasked()
        after = tasked >= 0
        line = self._r_LP_P[tasked] - now.r_BP_P
        cosine = np.sum(line * now.boresight_P, axis=-1) / np.linalg.norm(line, axis=-1)
        columns = [
            alive,
            now.battery,
            self._reserve(now),
            *self._hardware.T,
            now.sunlit,
            now.to_eclipse_start_s / ECLIPSE_LOOKAHEAD_S,
            now.to_eclipse_end_s / ECLIPSE_LOOKAHEAD_S,
            near / 5.0,
            far / 20.0,
            np.where(busy, left_s, 0.0) / TIME_SCALE,
            busy,
            np.where(after, self.priority[tasked], 0.0),
            np.where(after, np.arccos(np.clip(cosine, -1.0, 1.0)), 0.0),
        ]
        return np.stack(columns, axis=-1).astype(np.float32)
