"""Every choice a user can make, typed, with units in the names and ranges checked on load.

Hydra composes YAML into these dataclasses (``load``); below this module Hydra does not exist. A range check
raises ``ConfigError`` with the field, its value and what is allowed.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

from scenarios.compute import ComputeConfig, OutputConfig
from scenarios.messages import unknown_key
from scenarios.mission import ScenarioConfig
from scenarios.processor import ProcessorConfig, check_processors
from scenarios.ranges import ConfigError, check, check_name, given_once, listed, positive, within


class Labels(Enum):
    """Whose decision is the hard label of Eq. 8."""

    teacher = "teacher"
    planner = "planner"  # and the teacher's policy (Eq. 7) is no label
    both = "both"  # the planner's action, beside the teacher's policy


class Simulation(Enum):
    twin = "twin"  # the fast twin of the simulation; where a mission has what the twin lacks, Basilisk all the same
    basilisk = "basilisk"


@dataclass
class TrainingConfig:
    """Where policies are trained. All that is reported is flown in Basilisk, whatever this says."""

    simulation: Simulation = Simulation.twin
    worlds: int = 48  # geometries (orbits, targets) that Basilisk draws for the twin; each is flown many times
    episodes_per_job: int = 32  # on the twin, in lockstep; fixes results, as compute.episodes_per_job does in Basilisk

    def __post_init__(self) -> None:
        within("training", 1, 1e5, worlds=self.worlds, episodes_per_job=self.episodes_per_job)


@dataclass
class PlannerConfig:
    """The planner: beam search on the twin for each satellite in turn, then neighbourhood search over satellites."""

    width: int = 12  # partial plans kept at each time
    bucket_s: float = 10.0  # within which times count as equal
    iterations: int = 0  # of the neighbourhood search
    budget_s: float | None = None  # CPU-seconds per episode, after which no further iteration begins; null: no limit

    def __post_init__(self) -> None:
        within("planner", 1, 1000, width=self.width)
        within("planner", 0, 1e6, iterations=self.iterations)
        positive("planner", bucket_s=self.bucket_s)
        if self.budget_s is not None:
            positive("planner", budget_s=self.budget_s)


@dataclass
class TeacherConfig:
    """Recurrent MAPPO (Yu et al. 2022) with time-discounted GAE per decision, from a clone of the planner."""

    hidden: int = 128
    episodes: int = 1920
    episodes_per_update: int = 64
    epochs: int = 5
    minibatches: int = 8
    learning_rate: float = 1e-3
    critic_learning_rate: float = 1e-3
    discount_per_s: float = 0.999  # gamma to the power of each decision's seconds
    gae_lambda: float = 0.85  # per decision; 0.95 learns more slowly here: the team reward is noisy
    clip: float = 0.2
    target_kl: float = 0.02  # an update's actor steps end after the epoch in which the mean KL passes this
    entropy: list[float] = field(default_factory=lambda: [0.01, 0.001])  # first and last update
    max_grad_norm: float = 0.5
    # Episodes cloned before RL, 0: none. On the twin they are the planner's; in Basilisk the global-knowledge rule's.
    imitation_episodes: int = 96
    imitation_width: int = 6  # of the planner that is cloned, in place of planner.width
    # Then, on the twin: so many times the clone flies and a planner of a short horizon labels what it meets (data
    # aggregation, Ross et al. 2011).
    aggregation_rounds: int = 0
    aggregation_episodes: int = 32  # per round
    aggregation_horizon_s: float = 200.0
    imitation_epochs: int = 10
    imitation_learning_rate: list[float] = field(default_factory=lambda: [2e-3, 1e-4])  # at first, after the last epoch
    # How the teacher and MAPPO LH+A decide in evaluations, and what students learn as the teacher's decision. false:
    # the most likely action. true: the most likely kind of action (each action but imaging is a kind; to image is
    # one), then the most likely action of that kind. With many targets on offer, charging can be more likely than each
    # image, but less likely than all images together.
    decide_by_kind: bool = False
    load: str | None = None  # folder of a finished teacher, which is then not trained
    resume: str | None = None  # folder of an unfinished one, from whose checkpoint training goes on

    def __post_init__(self) -> None:
        within("teacher", 1, 4096, hidden=self.hidden)
        within("teacher", 1, 1e7, episodes=self.episodes, episodes_per_update=self.episodes_per_update)
        within("teacher", 1, 100, epochs=self.epochs, minibatches=self.minibatches)
        positive("teacher", learning_rate=self.learning_rate, critic_learning_rate=self.critic_learning_rate)
        within("teacher", 0.5, 1, discount_per_s=self.discount_per_s, gae_lambda=self.gae_lambda)
        within("teacher", 0.01, 1, clip=self.clip)
        positive("teacher", target_kl=self.target_kl)
        listed("teacher.entropy", self.entropy, 2, lambda *ends: min(ends) >= 0, "[first, last], neither below 0")
        allowed = "[first, last], above 0 and not below 0"
        rates = self.imitation_learning_rate
        listed("teacher.imitation_learning_rate", rates, 2, lambda first, last: first > 0 and last >= 0, allowed)
        positive("teacher", max_grad_norm=self.max_grad_norm)
        within("teacher", 0, 1e6, imitation_episodes=self.imitation_episodes)
        within("teacher", 1, 1e4, imitation_epochs=self.imitation_epochs)
        within("teacher", 1, 1000, imitation_width=self.imitation_width)
        within("teacher", 0, 1000, aggregation_rounds=self.aggregation_rounds)
        within("teacher", 1, 1e6, aggregation_episodes=self.aggregation_episodes)
        positive("teacher", aggregation_horizon_s=self.aggregation_horizon_s)
        given_once(self.load, self.resume)


class Dtype(Enum):
    float32 = "float32"
    int8 = "int8"  # weights; a quarter of the bytes


@dataclass
class StudentConfig:
    """Sizes: LH gives every satellite ``hidden``; LH+A gives ``hidden_small`` to those that sense little.

    MAPPO LH+A trains networks of the same sizes without a teacher, with the settings of ``teacher``.
    """

    hidden: int = 20
    hidden_small: int = 12
    small_below: float = 0.9  # LH+A: satellites with a smaller share of the widest one's columns get the small network
    dtype: Dtype = Dtype.float32  # of the weights that fly; int8: fine-tuned as ``quantise`` says
    # Of MAPPO LH+A, in place of ``teacher.imitation_epochs``. A network that learns from one satellite alone needs
    # more passes than one that all satellites share: after too few, its likeliest action is the commonest, to charge.
    imitation_epochs: int = 60

    def __post_init__(self) -> None:
        within("student", 1, 4096, hidden=self.hidden, hidden_small=self.hidden_small)
        within("student", 0, 1, small_below=self.small_below)
        within("student", 1, 1e4, imitation_epochs=self.imitation_epochs)


@dataclass
class DistillConfig:
    """KD-MARL, Eqs. 1-11. A weight of 0 switches its term off."""

    labels: Labels = Labels.teacher
    labels_horizon_s: float = 200.0  # how far the planner looks ahead at each decision that it labels
    teacher_episodes: int = 64  # the paper's expert buffer; 0: none
    teacher_epochs: int = 20
    student_iterations: int = 12  # own rollouts labelled by the teacher; 0: none
    student_episodes: int = 32  # per iteration
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
        positive("distill", max_grad_norm=self.max_grad_norm)
        within("distill", 0, 1e3, ppo=self.ppo, kl=self.kl, ce=self.ce, relation=self.relation, role=self.role)
        within("distill", 0, 1e3, entropy=self.entropy)
        positive("distill", labels_horizon_s=self.labels_horizon_s)
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
class BudgetConfig:
    """Limits on the cost of one decision on one satellite's flight processor."""

    max_parameters: int = 20000
    max_bytes: int = 100000  # of weights, as uplinked
    max_ram_bytes: int = 150000  # weights and working memory of the C engine
    max_macs_per_decision: int = 60000  # of the network
    max_sensing_macs: int = 600000  # with which what the network is to see is computed (the block foretold), at most
    max_instructions: float = 4e6  # of both, modelled on the processor below, as the next two
    max_latency_ms: float = 200.0
    max_energy_mj: float = 300.0
    deadline_ms: float = 250.0  # wall clock of the executor, per decision
    max_misses: int = 3  # decisions in a row without a usable answer, after which the satellite stays in safe mode
    max_bits_per_decision: int = 32  # of intents over the crosslink
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
        within("budget", 0, 4096, max_bits_per_decision=self.max_bits_per_decision)
        within("budget", 0, 2**53, max_sensing_macs=self.max_sensing_macs)


@dataclass
class EvaluationConfig:
    episodes: int = 20  # held-out: seeds never trained on
    trace: bool = True  # keep the first episode in full, for the report's maps and timelines
    controls: bool = False  # "claimed hidden only" and the wide masked student
    confidence: float = 0.95

    def __post_init__(self) -> None:
        within("evaluation", 1, 1e6, episodes=self.episodes)
        within("evaluation", 0.5, 0.999, confidence=self.confidence)


@dataclass
class RunConfig:
    """The whole of a run."""

    seed: int = 0
    preset: str = "default"
    scenario: ScenarioConfig = MISSING
    training: TrainingConfig = field(default_factory=TrainingConfig)
    planner: PlannerConfig = field(default_factory=PlannerConfig)
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
        check_name("preset", self.preset)
        check_processors(self.processors)


def register() -> None:
    """Make the typed root known to Hydra; ``config.yaml`` starts from it."""
    # Hydra copies its sources, and with them the store, for every group that --help lists; it is one for all.
    ConfigStore.__deepcopy__ = lambda store, memo: store  # type: ignore[attr-defined]
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
    if dataclasses.is_dataclass(node):
        known = [field.name for field in dataclasses.fields(node)]
        for key in vars(node):
            if key not in known:
                raise ConfigError(unknown_key(where + key, known))
        items: dict[Any, Any] = vars(node)
    elif isinstance(node, dict | list):
        items = node if isinstance(node, dict) else dict(enumerate(node))
    else:
        return
    for key, value in items.items():
        _refuse_strays(value, f"{where}{key}.")


def to_dict(config: Any) -> dict[str, Any]:
    """A config dataclass as plain JSON types, without the ``seldom`` fields that are as usual."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value):
            return {
                each.name: plain(getattr(value, each.name))
                for each in dataclasses.fields(value)
                if not (each.metadata.get("seldom") and getattr(value, each.name) == each.default)
            }
        if isinstance(value, Enum):
            return value.value
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return value

    found = plain(config)
    assert isinstance(found, dict)
    return found
