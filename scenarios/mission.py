"""A mission: constellation, hardware, sensing, targets, actions and what goes wrong (scenarios/scenario/*.yaml).

Range checks raise ``ConfigError`` with the field, its value and what is allowed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from omegaconf import MISSING

from scenarios.communication import CommunicationConfig, check_communication
from scenarios.constellation import ConstellationConfig, HardwareConfig
from scenarios.epoch import in_basilisk_format
from scenarios.files.mission import check_classes, check_files, has_due
from scenarios.ground import CitiesConfig as CitiesConfig
from scenarios.ground import GroundStationsConfig as GroundStationsConfig
from scenarios.ground import TargetsConfig as TargetsConfig
from scenarios.ranges import check, check_name, listed, named, positive, within

# The feature blocks that every mission has, and those that come with what a mission adds, in the order in which a
# satellite has them (envs/basilisk/features.py builds them).
BLOCKS = ("battery", "gyro", "hardware", "sun", "eclipse", "urgent", "priority", "window", "angle", "rate", "claimed")
DOWNLINK_BLOCKS = ("storage", "station")
DESATURATION_BLOCKS = ("wheels",)
SCOUT_BLOCKS = ("cue",)
CLOUD_BLOCKS = ("instrument", "cloud")
FORECAST_BLOCKS = ("foretold",)
DUE_BLOCKS = ("due",)  # of targets from a file with due times
INTENT_BLOCKS = ("intent",)  # the last, so that all others keep their columns where intents are switched on


@dataclass
class CloudsConfig:
    """Clouds that stand still for an episode: a random field over the Earth, drawn from the episode's seed."""

    cover: float = 0.5  # share of the Earth
    scale_km: float = 300.0  # over which the sky changes
    forecast_error: float = 0.5  # of the forecast, as a multiple of the field's own spread; 0: it is right

    def __post_init__(self) -> None:
        within("scenario.clouds", 0.01, 0.99, cover=self.cover)
        within("scenario.clouds", 10, 20000, scale_km=self.scale_km)
        within("scenario.clouds", 0, 100, forecast_error=self.forecast_error)


class RewardAt(Enum):
    image = "image"
    downlink = "downlink"


@dataclass
class RewardConfig:
    """What the team earns for a target."""

    at: RewardAt = RewardAt.image  # when the image is taken, or when it has been downlinked
    # null: its priority, once. Else "module:function" of yours (docs/extending.md).
    rule: str | None = None

    def __post_init__(self) -> None:
        _check_place("scenario.reward.rule", self.rule)


def _check_place(name: str, place: str | None) -> None:
    if place is not None:
        module, _, attribute = place.partition(":")
        named = all(part.isidentifier() for part in (*module.split("."), attribute))
        check(name, place, named, "module:attribute, of a module that Python can import")


@dataclass
class ActionsConfig:
    image_slots: int = 12  # upcoming targets offered, soonest closing first
    image_timeout_s: float = 120.0
    charge_duration_s: float = 60.0
    downlink_duration_s: float | None = None  # null: there is no such action
    desaturation_duration_s: float | None = None  # null: there is no such action

    def __post_init__(self) -> None:
        within("scenario.actions", 1, 64, image_slots=self.image_slots)
        positive("scenario.actions", image_timeout_s=self.image_timeout_s, charge_duration_s=self.charge_duration_s)
        for name in ("downlink_duration_s", "desaturation_duration_s"):
            if getattr(self, name) is not None:
                positive("scenario.actions", **{name: getattr(self, name)})

    @property
    def fixed(self) -> tuple[str, ...]:
        """The actions before those on targets, by the names that the guard knows."""
        downlink = ("downlink",) if self.downlink_duration_s is not None else ()
        desaturation = ("desat",) if self.desaturation_duration_s is not None else ()
        return ("charge", *downlink, *desaturation)


@dataclass
class GuardConfig:
    """Hard limits of every flight; beyond them a safe action overrides the policy (onboard/guard.py)."""

    enabled: bool = True  # in flights; training is never guarded, so that a teacher learns what it costs
    reserve_min_Wh: float = 5.0  # battery left at the lowest point ahead, if it images once more and then charges
    wheel_speed_max: float = 0.9  # fraction of the speed at which a wheel fails
    storage_max: float = 0.95  # fraction filled
    release: float = 0.02  # by how much a quantity must be within its limit again before the guard lets go

    def __post_init__(self) -> None:
        within("scenario.guard", 0, 1e6, reserve_min_Wh=self.reserve_min_Wh)
        within(
            "scenario.guard",
            0,
            1,
            wheel_speed_max=self.wheel_speed_max,
            storage_max=self.storage_max,
            release=self.release,
        )


@dataclass
class FaultsConfig:
    """What goes wrong in every episode; all 0: nothing (envs/basilisk/faults.py)."""

    satellite_failures: float = 0.0  # expected number per satellite and orbit; it fails for good
    crosslink_outage: float = 0.0  # share of the time in which no satellite hears of another, below 1
    outage_s: float = 300.0  # mean length of such a spell
    sensor_dropout: float = 0.0  # share of the time in which a feature block reads 0, each by itself
    dropout_s: float = 300.0  # mean length of such a spell
    missing_decisions: float = 0.0  # share of decisions that never come: the satellite charges instead
    late_decisions: float = 0.0  # share of decisions (of the others) that come late: the satellite charges meanwhile
    late_s: float = 30.0  # by so much
    training: bool = True  # in training episodes too, so that a policy learns to live with them

    def __post_init__(self) -> None:
        within("scenario.faults", 0, 1000, satellite_failures=self.satellite_failures)
        within("scenario.faults", 0, 1, missing_decisions=self.missing_decisions, late_decisions=self.late_decisions)
        for name in ("crosslink_outage", "sensor_dropout"):
            check(f"scenario.faults.{name}", getattr(self, name), 0 <= getattr(self, name) < 1, "from 0 to below 1")
        positive("scenario.faults", outage_s=self.outage_s, dropout_s=self.dropout_s, late_s=self.late_s)


@dataclass
class ScenarioConfig:
    """One mission (scenarios/scenario/*.yaml)."""

    name: str = MISSING
    epoch_utc: str = "2026 MAR 20 12:00:00.000 (UTC)"  # or ISO 8601: 2026-03-20T12:00:00Z
    support_data_dir: str | None = None  # null: the excerpt carried in the project (2000-2029)
    duration_s: float = 2850.0
    training_duration_s: list[float] | None = None  # [low, high] drawn per training episode; null: duration_s
    sim_step_s: float = 1.0
    constellation: ConstellationConfig = field(default_factory=ConstellationConfig)
    hardware: dict[str, HardwareConfig] = field(default_factory=dict)
    sensing: dict[str, list[str]] = field(default_factory=dict)  # group -> visible blocks
    teacher_sensing: list[str] | None = None  # null: every block of the mission but intent: claimed knows more
    foretell: bool = False  # satellites compute which images will come off, and when (block "foretold")
    features: dict[str, str] = field(default_factory=dict)  # further blocks: name -> "module:attribute" of yours
    targets: TargetsConfig = field(default_factory=TargetsConfig)
    clouds: CloudsConfig | None = None  # null: a clear sky
    ground_stations: GroundStationsConfig | None = None  # null: nothing is downlinked
    reward: RewardConfig = field(default_factory=RewardConfig)
    communication: CommunicationConfig = field(default_factory=CommunicationConfig)
    actions: ActionsConfig = field(default_factory=ActionsConfig)
    death_penalty: float = 10.0  # team reward lost with each satellite
    guard: GuardConfig = field(default_factory=GuardConfig)
    faults: FaultsConfig = field(default_factory=FaultsConfig)

    def __post_init__(self) -> None:
        check_name("scenario.name", self.name)
        for group in ("hardware", "sensing", "features"):
            for name in getattr(self, group):
                named(f"scenario.{group}", name)
        self.epoch_utc = in_basilisk_format(self.epoch_utc)
        positive("scenario", duration_s=self.duration_s, sim_step_s=self.sim_step_s)
        within("scenario", 0, 1e7, duration_s=self.duration_s)
        if self.training_duration_s is not None:
            allowed = "[low, high] in seconds with 0 < low <= high <= 1e+07, or null"
            window = self.training_duration_s
            listed("scenario.training_duration_s", window, 2, lambda low, high: 0 < low <= high <= 1e7, allowed)
        within("scenario", 0.05, 2, sim_step_s=self.sim_step_s)  # beyond, the attitude control is unstable
        whole = abs(self.sim_step_s * 1e9 - round(self.sim_step_s * 1e9)) < 1e-3
        check("scenario.sim_step_s", self.sim_step_s, whole, "a whole number of nanoseconds")
        within("scenario", 0, 1e6, death_penalty=self.death_penalty)
        for name, bus in self.hardware.items():
            bus.check_as(f"scenario.hardware.{name}")
            clear = self.clouds is not None or not bus.needs_clear_view
            check(f"scenario.hardware.{name}.needs_clear_view", True, clear, "false, for there are no scenario.clouds")
        for index, member in enumerate(self.constellation.classes):
            where = f"scenario.constellation.classes.{index}"
            hardware, groups = sorted(self.hardware), sorted(self.sensing)
            check(f"{where}.hardware", member.hardware, member.hardware in hardware, f"one of {', '.join(hardware)}")
            check(f"{where}.sensing", member.sensing, member.sensing in groups, f"one of {', '.join(groups)}")
            battery_Wh, reserve_Wh = self.hardware[member.hardware].battery_Wh, self.guard.reserve_min_Wh
            fits = not self.guard.enabled or reserve_Wh <= battery_Wh
            allowed = f"at most {battery_Wh:g}, the battery of hardware {member.hardware!r}"
            check("scenario.guard.reserve_min_Wh", reserve_Wh, fits, allowed)
        classes, size = self.constellation.classes, self.constellation.size
        check("scenario.constellation.classes", [], bool(classes), "at least one class")
        check_classes(self.constellation)
        check(
            "scenario.constellation.classes", len(classes), len(classes) <= size, f"at most {size}, one per satellite"
        )
        self._check_features()
        check_communication(self)
        sensing = {f"sensing.{name}": blocks for name, blocks in self.sensing.items()}
        for group, blocks in {**sensing, "teacher_sensing": self.taught}.items():
            for block in blocks:
                allowed = f"among the blocks {', '.join(self.blocks)}"
                check(f"scenario.{group}", block, block in self.blocks, allowed)
            check(f"scenario.{group}", list(blocks), bool(blocks), "at least one block")
        self._check_downlink()
        check_files(self)

    def _check_features(self) -> None:
        with_others = (*DOWNLINK_BLOCKS, *DESATURATION_BLOCKS, *SCOUT_BLOCKS, *CLOUD_BLOCKS, *FORECAST_BLOCKS)
        known = (*BLOCKS, *with_others, *DUE_BLOCKS, *INTENT_BLOCKS)
        for name, place in self.features.items():
            free = name.isidentifier() and name not in known
            allowed = f"a name other than {', '.join(known)}, of letters, digits and _ as in Python"
            check("scenario.features", name, free, allowed)
            _check_place(f"scenario.features.{name}", place)

    def _check_downlink(self) -> None:
        duration_s, stations = self.actions.downlink_duration_s, self.ground_stations is not None
        allowed = "a number of seconds where there are ground_stations, null where there are none"
        check("scenario.actions.downlink_duration_s", duration_s, (duration_s is not None) == stations, allowed)
        allowed = "image, for there are no ground_stations"
        check("scenario.reward.at", self.reward.at.value, stations or self.reward.at is RewardAt.image, allowed)

    @property
    def blocks(self) -> tuple[str, ...]:
        """The names of all feature blocks of the mission, in their order."""
        used = [self.hardware[member.hardware] for member in self.constellation.classes]
        optical = self.clouds is not None or any(hardware.needs_light for hardware in used)
        return (
            *BLOCKS,
            *(DOWNLINK_BLOCKS if self.ground_stations is not None else ()),
            *(DESATURATION_BLOCKS if self.actions.desaturation_duration_s is not None else ()),
            *(SCOUT_BLOCKS if any(hardware.scout for hardware in used) else ()),
            *(CLOUD_BLOCKS if optical else ()),
            *(FORECAST_BLOCKS if self.foretell else ()),
            *(DUE_BLOCKS if has_due(self.targets) else ()),
            *self.features,
            *(INTENT_BLOCKS if self.communication.bits_per_decision > 0 else ()),
        )

    @property
    def taught(self) -> list[str]:
        """The blocks that the teacher reads."""
        if self.teacher_sensing is None:
            return [block for block in self.blocks if block not in INTENT_BLOCKS]
        return list(self.teacher_sensing)

    @property
    def visible(self) -> list[list[str]]:
        """The blocks that each satellite senses."""
        return [list(self.sensing[member.sensing]) for member in self.constellation.members]
