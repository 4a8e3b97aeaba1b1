"""A mission's satellites: their hardware, their classes and their orbits."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from omegaconf import MISSING

from scenarios.files.mission import class_of_each, read_constellation
from scenarios.ground import CitiesConfig as CitiesConfig
from scenarios.ground import GroundStationsConfig as GroundStationsConfig
from scenarios.ground import TargetsConfig as TargetsConfig
from scenarios.ranges import SELDOM, check, positive, within


@dataclass
class SteeringConfig:
    """MRP steering in place of MRP feedback: an outer loop commands a body rate, a servo follows it (Basilisk's
    mrpSteering and rateServoFullNonlinear). The defaults are BSK-RL's."""

    attitude_gain_rad_s: float = 0.25  # K1: commanded rate per MRP
    cubic_gain_rad_s: float = 3.0  # K3: per MRP cubed
    max_rate_deg_s: float = 3.0  # omega_max: about each axis, which the commanded rate approaches
    rate_gain_Nms: float = 150.0  # P of the servo: torque per rad/s of rate error
    angle_gain_Nm: float = 5.0  # Ki of the servo: torque per rad of the rate error's integral

    def check_as(self, where: str) -> None:
        """Called by the hardware, which knows where it stands.

        Raises:
            ConfigError: a value out of its range.
        """
        within(where, 0, 100, attitude_gain_rad_s=self.attitude_gain_rad_s, cubic_gain_rad_s=self.cubic_gain_rad_s)
        within(where, 0.01, 90, max_rate_deg_s=self.max_rate_deg_s)
        positive(where, rate_gain_Nms=self.rate_gain_Nms, angle_gain_Nm=self.angle_gain_Nm)


@dataclass
class HardwareConfig:
    """One class of satellite bus and payload."""

    min_elevation_deg: float = MISSING  # lowest elevation, seen from the target, at which it can be imaged
    max_wheel_torque_Nm: float = MISSING  # per reaction wheel: how fast it slews
    max_wheel_speed_rpm: float = 6000.0  # beyond which a wheel, and with it the satellite, fails
    battery_Wh: float = MISSING
    initial_charge: list[float] = field(default_factory=lambda: [0.3, 0.6])  # fraction, drawn uniformly
    panel_area_m2: float = MISSING
    panel_efficiency: float = 0.2
    panel_normal_B: list[float] = field(default_factory=lambda: [0.0, 1.0, 0.0])  # body frame
    base_power_W: float = MISSING
    instrument_power_W: float = MISSING  # drawn while an imaging task runs
    image_attitude_error_mrp: float = 0.01
    image_rate_error_rad_s: float = 0.01
    disturbance_torque_Nm: float = 0.0  # constant in the body frame, of a direction drawn per episode: winds wheels up
    storage_images: int = 1000000  # that fit into the buffer; an image more is refused
    transmitter_power_W: float = 15.0  # drawn while it downlinks
    downlink_s_per_image: float = 10.0
    scout: bool = False  # tells the others which targets it has seen to be urgent (block "cue")
    needs_light: bool = False  # images only what the Sun lights
    needs_clear_view: bool = False  # an image through clouds shows nothing (scenario.clouds)
    steering: SteeringConfig | None = field(default=None, metadata=SELDOM)  # null: MRP feedback with BSK-RL's gains

    def check_as(self, where: str) -> None:
        """Called by the mission, which knows the class's name.

        Raises:
            ConfigError: a value out of its range.
        """
        within(where, 1, 89, min_elevation_deg=self.min_elevation_deg)
        positive(
            where,
            max_wheel_torque_Nm=self.max_wheel_torque_Nm,
            max_wheel_speed_rpm=self.max_wheel_speed_rpm,
            battery_Wh=self.battery_Wh,
            panel_area_m2=self.panel_area_m2,
            image_attitude_error_mrp=self.image_attitude_error_mrp,
            image_rate_error_rad_s=self.image_rate_error_rad_s,
        )
        within(where, 0, 1, panel_efficiency=self.panel_efficiency)
        powers = {name: getattr(self, f"{name}_power_W") for name in ("base", "instrument", "transmitter")}
        within(where, 0, 1e6, **{f"{name}_power_W": watts for name, watts in powers.items()})
        within(where, 0, 1, disturbance_torque_Nm=self.disturbance_torque_Nm)
        within(where, 1, 1e6, storage_images=self.storage_images)
        positive(where, downlink_s_per_image=self.downlink_s_per_image)
        charge = self.initial_charge
        check(
            f"{where}.initial_charge",
            charge,
            len(charge) == 2 and 0 < charge[0] <= charge[1] <= 1,
            "[low, high] with 0 < low <= high <= 1",
        )
        normal = self.panel_normal_B
        check(
            f"{where}.panel_normal_B",
            normal,
            len(normal) == 3 and all(math.isfinite(c) for c in normal) and any(c != 0 for c in normal),
            "three finite components, not all 0",
        )
        if self.steering is not None:
            self.steering.check_as(f"{where}.steering")


@dataclass
class SatelliteClassConfig:
    """What a satellite is built of and what it senses; classes are dealt to satellites in turn."""

    hardware: str = MISSING  # a key of scenario.hardware
    sensing: str = MISSING  # a key of scenario.sensing
    # Of a constellation from a file: names or catalogue numbers, * and ? for any characters; null: the rest, in turn.
    satellites: list[str] | None = field(default=None, metadata=SELDOM)


@dataclass
class ConstellationConfig:
    """Circular orbits: ``planes`` planes, each with ``per_plane`` satellites one behind the other.

    Where that many do not fit round the circle at the spacing given, they stand evenly round it; planes too.

    Or the satellites of a ``file`` of mean elements (docs/own-files.md): then ``planes``, ``per_plane`` and
    ``altitude_km`` are made to say how many they are and how high the first one flies, and what else says where
    satellites stand is not used.
    """

    planes: int = 1
    per_plane: int = 4
    altitude_km: float = 500.0
    inclination_deg: float = 50.0
    raan_deg: float = 0.0  # right ascension of the first plane's ascending node
    raan_spacing_deg: float = 0.0
    spacing_deg: float = 3.0  # argument of latitude between neighbours of one plane
    phasing_deg: float = 0.0  # shift from each plane to the next
    random_start: bool = True  # the first argument of latitude and node are drawn per episode
    classes: list[SatelliteClassConfig] = MISSING
    file: str | None = field(default=None, metadata=SELDOM)  # TLE, 3LE, or OMM as CSV, JSON, XML or KVN
    file_sha256: str | None = field(default=None, metadata=SELDOM)  # of that file; filled in for records
    max_age_days: float = field(default=14.0, metadata=SELDOM)  # between a satellite's elements and the epoch

    def __post_init__(self) -> None:
        if read_constellation(self):
            return
        within("scenario.constellation", 1, 1000, planes=self.planes, per_plane=self.per_plane)
        within("scenario.constellation", 250, 2000, altitude_km=self.altitude_km)
        within("scenario.constellation", 0, 180, inclination_deg=self.inclination_deg)
        for name in ("raan_deg", "raan_spacing_deg", "spacing_deg", "phasing_deg"):
            within("scenario.constellation", -360, 360, **{name: getattr(self, name)})
        first: dict[tuple[float, float], int] = {}
        for index in range(self.size):
            node, along = self.place_deg(index)
            if self.inclination_deg in (0, 180):  # one plane, whatever the node
                node, along = 0.0, along + (node if self.inclination_deg == 0 else -node)
            twin = first.setdefault((_on_circle(node), _on_circle(along)), index)
            if twin != index:
                same_plane = twin // self.per_plane == index // self.per_plane
                name = "spacing_deg" if same_plane else "raan_spacing_deg"
                allowed = f"such that satellites {twin} and {index} are not in the same place"
                check(f"scenario.constellation.{name}", getattr(self, name), False, allowed)

    @property
    def size(self) -> int:
        return self.planes * self.per_plane

    @property
    def members(self) -> list[SatelliteClassConfig]:
        """Each satellite's class."""
        return [self.classes[index] for index in class_of_each(self)]

    def place_deg(self, index: int, node_deg: float = 0.0, start_deg: float = 0.0) -> tuple[float, float]:
        """Right ascension of a satellite's ascending node and its argument of latitude, given the first satellite's."""
        plane, behind = divmod(index, self.per_plane)
        along = start_deg - behind * _fitting(self.spacing_deg, self.per_plane) + plane * self.phasing_deg
        return node_deg + plane * _fitting(self.raan_spacing_deg, self.planes), along

    @property
    def string_deg(self) -> float:
        """From a plane's first satellite to its last; 0 where they come from a file."""
        return 0.0 if self.file is not None else (self.per_plane - 1) * abs(_fitting(self.spacing_deg, self.per_plane))


def _fitting(spacing_deg: float, number: int) -> float:
    """The spacing, or where the last would pass the first what spreads them evenly round the circle."""
    fits = (number - 1) * abs(spacing_deg) < 360.0
    return spacing_deg if fits else math.copysign(360.0 / number, spacing_deg)


def _on_circle(angle_deg: float) -> float:
    """To 0.01 deg: a kilometre or so."""
    return round(angle_deg % 360.0, 2) % 360.0
