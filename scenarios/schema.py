"""Every choice a user can make, typed, with units in the names and ranges checked on load.

Hydra composes YAML into these dataclasses (``load``); below this module Hydra does not exist. A range check
raises ``ConfigError`` with the field, its value and what is allowed.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

from scenarios.messages import unknown_key


class ConfigError(ValueError):
    """A configuration value that cannot be used; the message is one sentence for the user."""


def check(name: str, value: Any, ok: bool, allowed: str) -> None:
    if not ok:
        raise ConfigError(f"{name}={value!r} is not allowed: it must be {allowed}")


def positive(owner: str, **values: float) -> None:
    for name, value in values.items():
        check(f"{owner}.{name}", value, math.isfinite(value) and value > 0, "a number above 0")


def within(owner: str, low: float, high: float, **values: float) -> None:
    for name, value in values.items():
        check(f"{owner}.{name}", value, low <= value <= high, f"between {low:g} and {high:g}")


class Communication(Enum):
    none = "none"
    free = "free"
    line_of_sight = "line_of_sight"


# The feature blocks an imaging satellite's sensors can give (envs/basilisk/features.py builds them).
BLOCKS = ("battery", "gyro", "hardware", "sun", "eclipse", "urgent", "priority", "window", "angle", "rate", "claimed")


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

    def __post_init__(self) -> None:
        within("hardware", 1, 89, min_elevation_deg=self.min_elevation_deg)
        positive(
            "hardware",
            max_wheel_torque_Nm=self.max_wheel_torque_Nm,
            max_wheel_speed_rpm=self.max_wheel_speed_rpm,
            battery_Wh=self.battery_Wh,
            panel_area_m2=self.panel_area_m2,
            image_attitude_error_mrp=self.image_attitude_error_mrp,
            image_rate_error_rad_s=self.image_rate_error_rad_s,
        )
        within("hardware", 0, 1, panel_efficiency=self.panel_efficiency)
        within("hardware", 0, 1e6, base_power_W=self.base_power_W, instrument_power_W=self.instrument_power_W)
        charge = self.initial_charge
        check(
            "hardware.initial_charge",
            charge,
            len(charge) == 2 and 0 < charge[0] <= charge[1] <= 1,
            "[low, high] with 0 < low <= high <= 1",
        )
        normal = self.panel_normal_B
        check(
            "hardware.panel_normal_B",
            normal,
            len(normal) == 3 and any(c != 0 for c in normal),
            "three components, not all 0",
        )


@dataclass
class SatelliteClassConfig:
    """What a satellite is built of and what it senses; classes are dealt to satellites in turn."""

    hardware: str = MISSING  # a key of scenario.hardware
    sensing: str = MISSING  # a key of scenario.sensing


@dataclass
class ConstellationConfig:
    """Circular orbits: ``planes`` planes, each with ``per_plane`` satellites one behind the other."""

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

    def __post_init__(self) -> None:
        within("constellation", 1, 1000, planes=self.planes, per_plane=self.per_plane)
        within("constellation", 250, 2000, altitude_km=self.altitude_km)
        within("constellation", 0, 180, inclination_deg=self.inclination_deg)
        for name in ("raan_deg", "raan_spacing_deg", "spacing_deg", "phasing_deg"):
            within("constellation", -360, 360, **{name: getattr(self, name)})

    @property
    def size(self) -> int:
        return self.planes * self.per_plane


@dataclass
class CitiesConfig:
    """Cities of the world, drawn anew for every episode (the simplemaps database that BSK-RL carries)."""

    number: int = 5000
    of_largest: int = 20000  # by population

    def __post_init__(self) -> None:
        within("targets.cities", 1, 44000, number=self.number, of_largest=self.of_largest)
        allowed = f"at least number={self.number}"
        check("targets.cities.of_largest", self.of_largest, self.of_largest >= self.number, allowed)


@dataclass
class TargetsConfig:
    """What is to be imaged: clusters of point targets strewn near the constellation's ground track, or cities."""

    cities: CitiesConfig | None = None  # null: clusters
    clusters_per_orbit: int = 60
    per_cluster: int = 8
    cluster_radius_km: float = 100.0  # one standard deviation within a cluster
    cross_track_km: float = 150.0  # one standard deviation of the cluster centres
    priority_exponent: float = 2.0  # priority = u**exponent, u uniform in (0, 1)
    urgent_above: float = 0.5  # priority from which the ground flags a target as urgent

    def __post_init__(self) -> None:
        within("targets", 1, 10000, clusters_per_orbit=self.clusters_per_orbit)
        within("targets", 1, 1000, per_cluster=self.per_cluster)
        within("targets", 0, 2000, cluster_radius_km=self.cluster_radius_km, cross_track_km=self.cross_track_km)
        within("targets", 0, 10, priority_exponent=self.priority_exponent)
        within("targets", 0, 1, urgent_above=self.urgent_above)


@dataclass
class ActionsConfig:
    image_slots: int = 12  # upcoming targets offered, soonest closing first
    image_timeout_s: float = 120.0
    charge_duration_s: float = 60.0

    def __post_init__(self) -> None:
        within("actions", 1, 64, image_slots=self.image_slots)
        positive("actions", image_timeout_s=self.image_timeout_s, charge_duration_s=self.charge_duration_s)


@dataclass
class GuardConfig:
    """Hard limits of every flight; beyond them a safe action overrides the policy (onboard/guard.py)."""

    enabled: bool = True  # in flights; training is never guarded, so that a teacher learns what it costs
    reserve_min_Wh: float = 5.0  # battery left at the lowest point ahead, if it images once more and then charges
    wheel_speed_max: float = 0.9  # fraction of the speed at which a wheel fails
    storage_max: float = 0.95  # fraction filled
    release: float = 0.02  # by how much a quantity must be within its limit again before the guard lets go

    def __post_init__(self) -> None:
        within("guard", 0, 1e6, reserve_min_Wh=self.reserve_min_Wh)
        within("guard", 0, 1, wheel_speed_max=self.wheel_speed_max, storage_max=self.storage_max, release=self.release)


@dataclass
class FaultsConfig:
    """What goes wrong in every episode; all 0: nothing (envs/basilisk/faults.py)."""

    satellite_failures: float = 0.0  # expected number per satellite and orbit; it fails for good
    crosslink_outage: float = 0.0  # share of the time in which no satellite hears of another, below 1
    outage_s: float = 300.0  # mean length of such a spell
    sensor_dropout: float = 0.0  # share of the time in which a feature block reads 0, each by itself
    dropout_s: float = 300.0  # mean length of such a spell
    missing_decisions: float = 0.0  # share of decisions that come too late or never: the satellite charges instead
    training: bool = True  # in training episodes too, so that a policy learns to live with them

    def __post_init__(self) -> None:
        within("faults", 0, 1000, satellite_failures=self.satellite_failures)
        within("faults", 0, 1, missing_decisions=self.missing_decisions)
        for name in ("crosslink_outage", "sensor_dropout"):
            check(f"faults.{name}", getattr(self, name), 0 <= getattr(self, name) < 1, "from 0 to below 1")
        positive("faults", outage_s=self.outage_s, dropout_s=self.dropout_s)


@dataclass
class ScenarioConfig:
    """One mission (scenarios/scenario/*.yaml)."""

    name: str = MISSING
    epoch_utc: str = "2026 MAR 20 12:00:00.000 (UTC)"
    support_data_dir: str | None = None  # null: the excerpt carried in the project (2000-2029)
    duration_s: float = 2850.0
    training_duration_s: list[float] | None = None  # [low, high] drawn per training episode; null: duration_s
    sim_step_s: float = 1.0
    constellation: ConstellationConfig = field(default_factory=ConstellationConfig)
    hardware: dict[str, HardwareConfig] = field(default_factory=dict)
    sensing: dict[str, list[str]] = field(default_factory=dict)  # group -> visible blocks
    teacher_sensing: list[str] = field(default_factory=lambda: list(BLOCKS))
    targets: TargetsConfig = field(default_factory=TargetsConfig)
    communication: Communication = Communication.free
    actions: ActionsConfig = field(default_factory=ActionsConfig)
    death_penalty: float = 10.0  # team reward lost with each satellite
    guard: GuardConfig = field(default_factory=GuardConfig)
    faults: FaultsConfig = field(default_factory=FaultsConfig)

    def __post_init__(self) -> None:
        positive("scenario", duration_s=self.duration_s, sim_step_s=self.sim_step_s)
        within("scenario", 0.05, 5, sim_step_s=self.sim_step_s)
        within("scenario", 0, 1e6, death_penalty=self.death_penalty)
        for group, blocks in {**self.sensing, "teacher_sensing": self.teacher_sensing}.items():
            for block in blocks:
                check(f"scenario.sensing.{group}", block, block in BLOCKS, f"among the blocks {', '.join(BLOCKS)}")
            check(f"scenario.sensing.{group}", list(blocks), bool(blocks), "at least one block")
        for index, member in enumerate(self.constellation.classes):
            where = f"scenario.constellation.classes[{index}]"
            hardware, groups = sorted(self.hardware), sorted(self.sensing)
            check(f"{where}.hardware", member.hardware, member.hardware in hardware, f"one of {', '.join(hardware)}")
            check(f"{where}.sensing", member.sensing, member.sensing in groups, f"one of {', '.join(groups)}")
        classes, size = self.constellation.classes, self.constellation.size
        check("scenario.constellation.classes", [], bool(classes), "at least one class")
        check(
            "scenario.constellation.classes", len(classes), len(classes) <= size, f"at most {size}, one per satellite"
        )
        window = self.training_duration_s
        if window is not None:
            check(
                "scenario.training_duration_s",
                window,
                len(window) == 2 and 0 < window[0] <= window[1],
                "[low, high] in seconds with 0 < low <= high, or null",
            )

    @property
    def visible(self) -> list[list[str]]:
        """The blocks that each satellite senses."""
        classes = self.constellation.classes
        return [list(self.sensing[classes[n % len(classes)].sensing]) for n in range(self.constellation.size)]


@dataclass
class TeacherConfig:
    """Recurrent MAPPO (Yu et al. 2022) with time-discounted GAE per decision."""

    hidden: int = 256
    episodes: int = 272
    episodes_per_update: int = 8
    epochs: int = 6
    minibatches: int = 4
    learning_rate: float = 1e-3
    critic_learning_rate: float = 1e-3
    discount_per_s: float = 0.999  # gamma to the power of each decision's seconds
    gae_lambda: float = 0.85  # per decision; 0.95 learns more slowly here: the team reward is noisy
    clip: float = 0.2
    target_kl: float = 0.015  # an update's actor steps end after the epoch in which the mean KL passes this
    entropy: list[float] = field(default_factory=lambda: [0.01, 0.001])  # first and last update
    max_grad_norm: float = 0.5
    imitation_episodes: int = 24  # episodes of the global-knowledge heuristic cloned before RL; 0: none
    imitation_epochs: int = 16

    def __post_init__(self) -> None:
        within("teacher", 1, 4096, hidden=self.hidden)
        within("teacher", 1, 1e7, episodes=self.episodes, episodes_per_update=self.episodes_per_update)
        within("teacher", 1, 100, epochs=self.epochs, minibatches=self.minibatches)
        positive("teacher", learning_rate=self.learning_rate, critic_learning_rate=self.critic_learning_rate)
        within("teacher", 0.5, 1, discount_per_s=self.discount_per_s, gae_lambda=self.gae_lambda)
        within("teacher", 0.01, 1, clip=self.clip)
        positive("teacher", target_kl=self.target_kl)
        ends = self.entropy
        check("teacher.entropy", ends, len(ends) == 2 and min(ends) >= 0, "[first, last], neither below 0")
        positive("teacher", max_grad_norm=self.max_grad_norm)
        within("teacher", 0, 1e6, imitation_episodes=self.imitation_episodes)
        within("teacher", 1, 1e4, imitation_epochs=self.imitation_epochs)


class Dtype(Enum):
    float32 = "float32"
    int8 = "int8"  # weights; a quarter of the bytes


@dataclass
class StudentConfig:
    """Sizes: LH gives every satellite ``hidden``; LH+A gives ``hidden_small`` to those that sense little."""

    hidden: int = 32
    hidden_small: int = 16
    small_below: float = 0.9  # LH+A: satellites with a smaller share of the widest one's columns get the small network
    dtype: Dtype = Dtype.float32  # of the weights that fly; int8: fine-tuned as ``quantise`` says

    def __post_init__(self) -> None:
        within("student", 1, 4096, hidden=self.hidden, hidden_small=self.hidden_small)
        within("student", 0, 1, small_below=self.small_below)


@dataclass
class DistillConfig:
    """KD-MARL, Eqs. 1-11. A weight of 0 switches its term off."""

    teacher_episodes: int = 32  # the paper's expert buffer; 0: none
    teacher_epochs: int = 20
    student_iterations: int = 10  # own rollouts labelled by the teacher; 0: none
    student_episodes: int = 8  # per iteration
    student_epochs: int = 6
    minibatches: int = 4
    learning_rate: float = 3e-3
    ppo: float = 1.0  # Eqs. 1-4
    kl: float = 1.0  # lambda_1, Eq. 7
    ce: float = 0.5  # lambda_2, Eq. 8
    relation: float = 0.1  # lambda_3, Eq. 9
    role: float = 0.1  # lambda_4, Eqs. 10-11
    entropy: float = 0.01  # c_H, Eq. 5
    imitation_left: float = 0.2  # share of lambda_1 and lambda_2 left at the end of the own rollouts; 1: constant
    clip: float = 0.2
    relation_width: int = 16  # common width to which unlike students are mapped for Eq. 9
    roles: int = 8  # K of Eq. 11
    role_temperature: float = 1.0  # tau of Eq. 11
    max_grad_norm: float = 0.5

    def __post_init__(self) -> None:
        within("distill", 0, 1e6, teacher_episodes=self.teacher_episodes, student_iterations=self.student_iterations)
        within("distill", 1, 1e6, teacher_epochs=self.teacher_epochs, student_episodes=self.student_episodes)
        within("distill", 1, 1e4, student_epochs=self.student_epochs, minibatches=self.minibatches)
        positive("distill", learning_rate=self.learning_rate, role_temperature=self.role_temperature)
        within("distill", 0, 1e3, ppo=self.ppo, kl=self.kl, ce=self.ce, relation=self.relation, role=self.role)
        within("distill", 0, 1e3, entropy=self.entropy)
        within("distill", 0, 1, imitation_left=self.imitation_left)
        within("distill", 0.01, 1, clip=self.clip)
        within("distill", 2, 1024, relation_width=self.relation_width, roles=self.roles)
        last = self.ppo + self.entropy + self.relation + self.role + (self.kl + self.ce) * self.imitation_left
        check("distill", "every weight 0", last > 0, "at least one loss term whose weight stays above 0 to the end")
        check(
            "distill",
            "teacher_episodes=0, student_iterations=0",
            self.teacher_episodes > 0 or self.student_iterations > 0,
            "at least one data source (teacher_episodes or student_iterations above 0)",
        )


@dataclass
class QuantiseConfig:
    """Fine-tuning of distilled students for int8 weights (Jacob et al. 2018)."""

    episodes: int = 32  # flown by the float32 students, whose policies are the labels
    epochs: int = 20
    minibatches: int = 2
    learning_rate: float = 3e-4
    max_grad_norm: float = 0.5

    def __post_init__(self) -> None:
        within("quantise", 1, 1e6, episodes=self.episodes)
        within("quantise", 1, 1e4, epochs=self.epochs, minibatches=self.minibatches)
        positive("quantise", learning_rate=self.learning_rate, max_grad_norm=self.max_grad_norm)


@dataclass
class ProcessorConfig:
    """A flight processor of the user's own; onboard/processors.py has the built-in ones, and what the fields mean."""

    core: str = MISSING
    clock_mhz: float = MISSING
    ram_bytes: int | None = None  # null: as much as its board carries
    power_w: float = MISSING  # at work
    cpi: float = MISSING  # cycles per instruction
    counted_as: str = MISSING  # a core of onboard/closed_form.json: it needs that core's instructions,
    factor: float = 1.0  # times this
    basis: str = "the user's own figures"

    def __post_init__(self) -> None:
        positive("processor", clock_mhz=self.clock_mhz, power_w=self.power_w, cpi=self.cpi, factor=self.factor)
        if self.ram_bytes is not None:
            within("processor", 1, 2**53, ram_bytes=self.ram_bytes)


@dataclass
class BudgetConfig:
    """What one satellite's flight processor grants one decision."""

    max_parameters: int = 20000
    max_bytes: int = 100000  # of weights, as uplinked
    max_ram_bytes: int = 150000  # weights and working memory of the C engine
    max_macs_per_decision: int = 60000
    max_instructions: float = 500000.0  # modelled on the processor below, as the next two
    max_latency_ms: float = 50.0
    max_energy_mj: float = 100.0
    deadline_ms: float = 250.0  # wall clock of the executor, per decision
    max_misses: int = 3  # decisions in a row without a usable answer, after which the satellite stays in safe mode
    processor: str = "GR712RC"  # built in (onboard/processors.py), or one of the run's own processors

    def __post_init__(self) -> None:
        positive(
            "budget",
            max_parameters=self.max_parameters,
            max_bytes=self.max_bytes,
            max_ram_bytes=self.max_ram_bytes,
            max_macs_per_decision=self.max_macs_per_decision,
            max_instructions=self.max_instructions,
            max_latency_ms=self.max_latency_ms,
            max_energy_mj=self.max_energy_mj,
            deadline_ms=self.deadline_ms,
            max_misses=self.max_misses,
        )


@dataclass
class EvaluationConfig:
    episodes: int = 20  # held-out: seeds never trained on
    trace: bool = True  # keep the first episode in full, for the report's maps and timelines
    controls: bool = False  # "claimed hidden only" and the wide masked student
    confidence: float = 0.95

    def __post_init__(self) -> None:
        within("evaluation", 1, 1e6, episodes=self.episodes)
        within("evaluation", 0.5, 0.999, confidence=self.confidence)


class WorkersOn(Enum):
    processes = "processes"  # of this machine
    ray = "ray"  # on a Ray cluster (docs/distributed.md)


@dataclass
class ComputeConfig:
    workers: int = 2  # simulation processes
    workers_on: WorkersOn = WorkersOn.processes
    ray_address: str | None = None  # HOST:PORT of a cluster; auto: this machine's; null: one of its own, here
    threads: int = 2  # torch threads of the learner
    episodes_per_job: int = 4  # episodes that one worker runs in lockstep; fixes results, whatever `workers` is
    job_timeout_s: float = 600.0  # a worker silent for longer is replaced
    max_restarts: int = 3  # of one job, before the run gives up

    def __post_init__(self) -> None:
        within("compute", 1, 1024, workers=self.workers, threads=self.threads, episodes_per_job=self.episodes_per_job)
        positive("compute", job_timeout_s=self.job_timeout_s)
        within("compute", 0, 100, max_restarts=self.max_restarts)


@dataclass
class OutputConfig:
    dir: str = "outputs"
    cache_dir: str = "outputs/cache"
    records_dir: str | None = None  # where the run record is also kept, e.g. results/runs


@dataclass
class RunConfig:
    """The whole of a run."""

    seed: int = 0
    preset: str = "default"
    scenario: ScenarioConfig = MISSING
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    student: StudentConfig = field(default_factory=StudentConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    quantise: QuantiseConfig = field(default_factory=QuantiseConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    processors: dict[str, ProcessorConfig] = field(default_factory=dict)  # profiles of the user's own, by name
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    output: OutputConfig = field(default_factory=OutputConfig)

    def __post_init__(self) -> None:
        check("seed", self.seed, 0 <= self.seed < 2**31, "between 0 and 2147483647")


def register() -> None:
    """Make the typed root known to Hydra; ``config.yaml`` starts from it."""
    ConfigStore.instance().store(name="run_schema", node=RunConfig)


def load(cfg: Any) -> Any:
    """A composed Hydra config as the typed, checked object that its root declares.

    Raises:
        ConfigError: a value out of range, with field, value and what is allowed.
    """
    config = OmegaConf.to_object(cfg)
    _refuse_strays(config, "")
    return config


def _refuse_strays(node: Any, where: str) -> None:
    """Keys that no dataclass has: ``+key=value`` on the command line gets them past OmegaConf."""
    known = [field.name for field in dataclasses.fields(node)]
    for key, value in vars(node).items():
        if key not in known:
            raise ConfigError(unknown_key(where + key, known))
        if dataclasses.is_dataclass(value):
            _refuse_strays(value, f"{where}{key}.")


def to_dict(config: Any) -> dict[str, Any]:
    """A config dataclass as plain JSON types."""

    def plain(value: Any) -> Any:
        if isinstance(value, Enum):
            return value.value
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return value

    return {key: plain(value) for key, value in dataclasses.asdict(config).items()}
