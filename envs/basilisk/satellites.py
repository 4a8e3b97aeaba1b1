"""BSK-RL's imaging satellite, with its costly parts replaced, and its arguments from a scenario's YAML."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from Basilisk.utilities import macros
from bsk_rl import act, obs, sats
from bsk_rl.scene.targets import Target
from bsk_rl.sim import dyn, fsw
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from envs.api import BoolArray
from envs.basilisk.images import IMAGE_BITS, ROUNDING, ImageStore
from envs.basilisk.windows import FREE, Asks, Windows, access_windows, asked_for, merged, sin_elevation
from scenarios.constellation import HardwareConfig
from scenarios.files.mission import names_from_file
from scenarios.mission import ScenarioConfig

CHARGE, DOWNLINK, DESATURATE = "charge", "downlink", "desat"  # the names that the guard knows
WATT_HOUR_J = 3600.0
DAYLIGHT_DEG = 10.0  # elevation of the Sun from which a target is lit
TRAJECTORY_STEP_S = 30.0  # of BSK-RL's trajectory look-ahead
ECLIPSE_LOOKAHEAD_S = 6000.0  # a little more than one low orbit: the next eclipse is always known


@dataclass(frozen=True, slots=True)
class Bus:
    """What a satellite's models say at one instant; reading a Basilisk message costs more than most of what is done
    with it, so each is read once."""

    r_BN_N: list[float]  # m
    v_BN_N: list[float]  # m/s
    sigma_BN: list[float]  # modified Rodrigues parameters
    omega_BN_B: list[float]  # rad/s
    battery_J: float
    wheels_rad_s: list[float]  # the fastest first
    stored_bits: float


class Imager(sats.ImagingSatellite):  # type: ignore[misc]  # bsk_rl is untyped
    """An imaging satellite whose physics and flight software are BSK-RL's, and whose bookkeeping is ours.

    Replaced, with equal results: the access windows (vectorised), the aliveness checks (upstream walks ``dir()`` at
    every call and reads every message anew), and the capture and timeout events (``run_until_decision`` watches for
    them). Not used: upstream observations and actions.
    """

    observation_spec: ClassVar[list[Any]] = [obs.Time()]
    action_spec: ClassVar[list[Any]] = [act.Charge()]
    dyn_type = dyn.ImagingDynModel
    fsw_type = fsw.ImagingFSWModel
    # Upstream caches the composed models on the class, and a subclass would inherit its parent's.
    _dyn_type = None
    _fsw_type = None

    hardware: HardwareConfig
    hardware_name: str
    step_s: float  # of the simulation
    catalogue_number: int | None  # of a satellite from a file
    data_store: ImageStore
    _is_alive: bool
    _bus: Bus
    windows: Windows
    passes_s: NDArray[np.float64]  # [P, 2] start and end of each time in which some ground station is in view
    eclipse_starts_s: NDArray[np.float64]
    eclipse_ends_s: NDArray[np.float64]

    def reset_overwrite_previous(self) -> None:
        super().reset_overwrite_previous()
        self._checked_ns = -1  # upstream asks several times per step; the state only changes with time
        self._read_ns = -1
        self.deadline_s = np.inf  # when the running action ends at the latest
        self.window_closes_s = np.inf  # of the target that it images
        self.running: str | Target | None = None  # "charge", ..., a target, or None before the first action

    def calculate_additional_windows(self, duration: float) -> None:
        """All windows of the episode, and its eclipses; called once, by BSK-RL's reset."""
        step_s = TRAJECTORY_STEP_S
        end_s = float(np.ceil(duration / step_s) * step_s)
        self.trajectory.extend_to(end_s + ECLIPSE_LOOKAHEAD_S + step_s)
        self.trajectory._generate_eclipses(end_s + ECLIPSE_LOOKAHEAD_S)
        self.eclipse_starts_s = np.array(self.trajectory._eclipse_starts)
        self.eclipse_ends_s = np.array(self.trajectory._eclipse_ends)
        times = self.trajectory.times
        r_BP_P = np.einsum(
            "tij,tj->ti",
            np.reshape(self.trajectory._J20002Pfix_log, (-1, 3, 3)),
            np.asarray(self.trajectory._r_BN_N_log),
        )
        self.position_P = CubicSpline(times, r_BP_P)
        self.windows = self._asked_for(self._windows("target", end_s))
        if self.hardware.needs_light:
            self.windows = self._lit(self.windows)
        passes = self._windows("ground_station", end_s)
        self.passes_s = merged(passes.open_s, passes.close_s)
        self.window_calculation_time = end_s

    def _windows(self, kind: str, end_s: float) -> Windows:
        """All windows of the places of a kind, which have one minimum elevation."""
        places = [place for place in self.locations_for_access_checking if place["type"] == kind]
        r_LP_P = np.array([place["r_LP_P"] for place in places]).reshape(-1, 3)
        min_elevation = places[0]["min_elev"] if places else np.pi / 2
        return access_windows(self.position_P, r_LP_P, min_elevation, end_s)

    def _lit(self, windows: Windows) -> Windows:
        """Those in whose middle the target has daylight."""
        world = self.simulator.world
        sun = world.gravFactory.spiceObject.planetStateOutMsgs[world.sun_index].read()
        times = self.trajectory.times
        PN = np.reshape(self.trajectory._J20002Pfix_log, (-1, 3, 3))
        sun_P = CubicSpline(times, PN @ (np.array(sun.PositionVector)))  # it moves by a degree a day in N
        middle_s = (windows.open_s + windows.close_s) / 2
        r_LP_P = np.array(
            [place["r_LP_P"] for place in self.locations_for_access_checking if place["type"] == "target"]
        )
        lit = sin_elevation(sun_P(middle_s), r_LP_P[windows.target]) > np.sin(np.radians(DAYLIGHT_DEG))
        return windows.some(lit)

    def _asked_for(self, windows: Windows) -> Windows:
        """Those in which the targets of a file ask for an image; of other missions, all."""
        targets = [place["object"] for place in self.locations_for_access_checking if place["type"] == "target"]
        asks = [Asks(t.release_s, t.due_s, t.dwell_s, t.sensor in (None, self.hardware_name)) for t in targets]
        return windows if all(each == FREE for each in asks) else asked_for(windows, asks, self.step_s)

    def is_alive(self, log_failure: bool = False) -> bool:
        """Whether every aliveness check of the dynamics and flight software models still passes."""
        now_ns = self.simulator.sim_time_ns
        if self._is_alive and self._checked_ns != now_ns and not self._passes():
            self._is_alive = False
            self.record_death(self.simulator.sim_time)
        self._checked_ns = now_ns
        return bool(self._is_alive)

    def _passes(self) -> bool:
        bus = self.bus()
        return bool(
            self.radius_m > self.dynamics.min_orbital_radius
            and bus.battery_J > 0
            and bus.wheels_rad_s[0] < self.wheels_fail_rad_s
            and all(getattr(self.dynamics, check)() for check in _other_checks(self.dyn_type))
            and all(getattr(self.fsw, check)() for check in _other_checks(self.fsw_type))
        )

    def bus(self) -> Bus:
        """Its state now."""
        now_ns = self.simulator.sim_time_ns
        if self._read_ns != now_ns:
            dynamics = self.dynamics
            motion = dynamics.scObject.scStateOutMsg.read()
            wheels = dynamics.rwStateEffector.rwSpeedOutMsg.read().wheelSpeeds[:3]
            self._bus = Bus(
                motion.r_BN_N,
                motion.v_BN_N,
                motion.sigma_BN,
                motion.omega_BN_B,
                dynamics.powerMonitor.batPowerOutMsg.read().storageLevel,
                sorted(map(abs, wheels), reverse=True),
                self.stored_bits(),
            )
            self._read_ns = now_ns
        return self._bus

    def charge(self, duration_s: float) -> None:
        """Point the panel at the Sun for ``duration_s``."""
        self.deadline_s = self.simulator.sim_time + duration_s
        self.requires_retasking = False
        if self.running != CHARGE:  # an action that goes on is not restarted, as upstream
            self.fsw.action_charge()
            self.running = CHARGE

    def downlink(self, duration_s: float) -> None:
        """Point the antenna to nadir and send, while a ground station is in view, for ``duration_s``."""
        self.deadline_s = self.simulator.sim_time + duration_s
        self.requires_retasking = False
        if self.running != DOWNLINK:
            self.fsw.action_downlink()
            self.running = DOWNLINK

    def desaturate(self, duration_s: float) -> None:
        """Take momentum out of the wheels with the thrusters, the panel to the Sun, for ``duration_s``."""
        self.deadline_s = self.simulator.sim_time + duration_s
        self.requires_retasking = False
        self.fsw.action_desat()  # begun anew each time, as upstream: it then dumps what momentum there is by now
        self.running = DESATURATE

    def image(self, target: Target, close_s: float, timeout_s: float) -> None:
        """Track a target until it is captured, its window closes or the timeout passes."""
        self.window_closes_s = close_s
        self.deadline_s = min(close_s, self.simulator.sim_time + timeout_s)
        self.requires_retasking = False
        if self.running is not target:
            self._hold(target.dwell_s)
            self.fsw.action_image(target.r_LP_P, self.buffer_name)
            self.running = target
        self.stored_bits_before = self.stored_bits()
        self.latest_target = target

    def _hold(self, dwell_s: float) -> None:
        """How long attitude, rate and access must be right before the instrument fires: Basilisk counts nanoseconds."""
        controller = self.fsw.insControl
        controller.useDurationImaging = dwell_s > 0
        controller.acquisitionTime = controller.allowedTime = dwell_s * 1e9
        controller.constraintsActive = 0

    def held_ns(self) -> float:
        """For how long they have been right until now; below 0: they are not, or nothing must be held."""
        controller = self.fsw.insControl
        if not (self.imaging and controller.useDurationImaging and controller.constraintsActive):
            return -1.0
        return float(self.simulator.sim_time_ns - controller.constraintStartTime)

    def fail(self) -> None:
        """Die of a fault."""
        self._is_alive = False
        self.record_death(self.simulator.sim_time)

    def retire(self) -> None:
        """Switch everything off, once, when the satellite has died; upstream lets it go on imaging and earning."""
        if self.running is not None:
            self.fsw.action_drift()
            self.running = None

    def sees(self, names: Sequence[str]) -> BoolArray:
        """[len(names)] Which satellites are in its line of sight now; it must have a model of that, and is not in its
        own."""
        links, ids = self.dynamics.losComms.accessOutMsgs, self.dynamics.los_comms_ids
        return np.array([name in ids and bool(links[ids.index(name)].read().hasAccess) for name in names])

    @property
    def imaging(self) -> bool:
        return isinstance(self.running, Target)

    def has_room(self) -> bool:
        """Whether one more image fits into the buffer."""
        return self.bus().stored_bits <= (self.hardware.storage_images - 1 + ROUNDING) * IMAGE_BITS

    @property
    def radius_m(self) -> float:
        """Distance from the centre of the Earth."""
        return math.hypot(*self.bus().r_BN_N)

    @property
    def wheels_fail_rad_s(self) -> float:
        return float(self.dynamics.maxWheelSpeed * macros.rpm2radsec)

    def wheels(self) -> float:
        """Speed of the fastest wheel, as a fraction of the speed at which it fails."""
        return self.bus().wheels_rad_s[0] / self.wheels_fail_rad_s

    def storage(self) -> float:
        """Fraction of the buffer that is filled."""
        return self.bus().stored_bits / (self.hardware.storage_images * IMAGE_BITS)

    def stored_bits(self) -> float:
        return float(self.dynamics.storageUnit.storageUnitDataOutMsg.read().storedData[0])


_OURS = ("altitude_valid", "battery_valid", "rw_speeds_valid")  # what _passes asks of the bus
_OTHERS: dict[type, tuple[str, ...]] = {}


def _other_checks(model: type) -> tuple[str, ...]:
    if model not in _OTHERS:
        checks = (name for name in dir(model) if hasattr(getattr(model, name, None), "is_aliveness_checker"))
        _OTHERS[model] = tuple(name for name in checks if name not in _OURS)
    return _OTHERS[model]


def name_of(index: int, hardware: str) -> str:
    """A satellite's name in the simulation, and in bundles: what else than ASCII letters and digits stands in the
    hardware's becomes "_", for BSK-RL asks for a Python identifier and bundles for a file's name."""
    return re.sub(r"\W", "_", f"sat_{index}_{hardware}", flags=re.ASCII)


def names_of(config: ScenarioConfig) -> list[str]:
    """Of all satellites, in the simulation and in bundles."""
    members = config.constellation.members
    found = names_from_file(config.constellation)
    return found or [name_of(index, member.hardware) for index, member in enumerate(members)]
