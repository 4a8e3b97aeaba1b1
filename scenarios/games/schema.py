"""Every choice of a run on a benchmark game, typed and checked on load; ``scenarios.schema`` has a constellation's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

from scenarios.games.environment import GameConfig
from scenarios.games.peers import CtdsConfig, PtdeConfig, TsengConfig
from scenarios.ranges import check, check_folders, check_name, given_once, listed, positive, within


@dataclass
class PhaseConfig:
    """A stretch of MAPPO training; learning rate and entropy bonus fall linearly along it."""

    steps: int = MISSING  # of one environment, summed over environments
    learning_rate: float = 1e-3  # falls to 0
    entropy: list[float] = field(default_factory=lambda: [0.01, 0.0])  # bonus, first and last

    def check_as(self, where: str) -> None:
        """Called by the phase's owner, which knows its place.

        Raises:
            ConfigError: a value out of its range.
        """
        within(where, 1, 1e10, steps=self.steps)
        positive(where, learning_rate=self.learning_rate)
        listed(f"{where}.entropy", self.entropy, 2, lambda *ends: min(ends) >= 0, "[first, last], neither below 0")


def _check_phases(where: str, phases: list[PhaseConfig]) -> None:
    check(where, [], bool(phases), "at least one phase")
    for index, phase in enumerate(phases):
        phase.check_as(f"{where}.{index}")


@dataclass
class MappoConfig:
    """Recurrent MAPPO (Yu et al. 2022), with full sight and under masks."""

    hidden: int = 128
    critic_hidden: int = 128
    environments: int = 128
    window: int = 32  # steps between updates: one stretch of back-propagation through time
    phases: list[PhaseConfig] = field(default_factory=lambda: [PhaseConfig(steps=1_000_000)])
    epochs: int = 4
    minibatches: int = 4
    discount: float = 0.99
    gae_lambda: float = 0.95
    clip: float = 0.2
    max_grad_norm: float = 0.5
    last_action: bool = True  # the agent's latest action is part of its input

    def __post_init__(self) -> None:
        within("mappo", 1, 4096, hidden=self.hidden, critic_hidden=self.critic_hidden)
        within("mappo", 1, 65536, environments=self.environments, window=self.window)
        _check_phases("mappo.phases", self.phases)
        within("mappo", 1, 100, epochs=self.epochs, minibatches=self.minibatches)
        within("mappo", 0.5, 1, discount=self.discount, gae_lambda=self.gae_lambda)
        within("mappo", 0.01, 1, clip=self.clip)
        positive("mappo", max_grad_norm=self.max_grad_norm)


@dataclass
class CurriculumConfig:
    """Weaker enemies first (SMAX): each battle draws the share of health that they begin with from [lowest, 1]."""

    enemy_health: float = 1.0  # the lowest share in the beginning; 1: no curriculum
    rises: list[float] = field(default_factory=lambda: [0.2, 0.7])  # shares of training in which lowest rises to 1

    def __post_init__(self) -> None:
        within("teacher.curriculum", 0.05, 1, enemy_health=self.enemy_health)
        allowed = "[first, last] with 0 <= first < last <= 1"
        listed("teacher.curriculum.rises", self.rises, 2, lambda first, last: 0 <= first < last <= 1, allowed)

    def lowest(self, trained: float) -> float:
        """The lowest share of health when a share of the training is behind."""
        first, last = self.rises
        risen = min(1.0, max(0.0, (trained - first) / (last - first)))
        return self.enemy_health + (1 - self.enemy_health) * risen


@dataclass
class GameTeacherConfig:
    """The teacher: MAPPO with full sight, as ``mappo`` says but for as long as the ground can afford."""

    phases: list[PhaseConfig] = field(default_factory=lambda: [PhaseConfig(steps=1_000_000)])
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    load: str | None = None  # folder of a finished teacher, which is then not trained
    resume: str | None = None  # folder of an unfinished one, from whose checkpoint training goes on

    def __post_init__(self) -> None:
        _check_phases("teacher.phases", self.phases)
        given_once(self.load, self.resume)


@dataclass
class ValueDecompositionConfig:
    """Recurrent QMIX (Rashid et al. 2018) and VDN (Sunehag et al. 2018)."""

    hidden: int = 64
    mixer: int = 32  # QMIX: units of the mixing network
    hypernet: int = 64  # QMIX: units of the networks that make its weights
    environments: int = 32  # episodes collected per round
    steps: int = 1_000_000
    buffer_episodes: int = 5000
    batch_episodes: int = 32
    updates_per_round: int = 8
    learning_rate: float = 1e-3
    discount: float = 0.99
    td_lambda: float = 0.6
    epsilon: list[float] = field(default_factory=lambda: [1.0, 0.05])  # first and last
    epsilon_steps: int = 200_000  # along which epsilon falls
    target_updates: int = 100  # updates between copies to the target networks
    max_grad_norm: float = 10.0
    last_action: bool = True

    def __post_init__(self) -> None:
        within("values", 1, 4096, hidden=self.hidden, mixer=self.mixer, hypernet=self.hypernet)
        within("values", 1, 65536, environments=self.environments, batch_episodes=self.batch_episodes)
        within("values", 1, 1e10, steps=self.steps, buffer_episodes=self.buffer_episodes)
        within("values", 1, 1e10, epsilon_steps=self.epsilon_steps, target_updates=self.target_updates)
        within("values", 1, 1000, updates_per_round=self.updates_per_round)
        positive("values", learning_rate=self.learning_rate, max_grad_norm=self.max_grad_norm)
        within("values", 0, 1, td_lambda=self.td_lambda)
        within("values", 0.5, 1, discount=self.discount)
        allowed = "[first, last], falling, 0 to 1"
        listed("values.epsilon", self.epsilon, 2, lambda first, last: 0 <= last <= first <= 1, allowed)


@dataclass
class GameStudentConfig:
    """Sizes: LH gives every agent ``hidden``; LH+A gives ``hidden_small`` to those that sense little."""

    hidden: int = 32
    hidden_small: int = 16
    small_below: float = 0.75  # LH+A: agents with a smaller share of the widest one's columns get the small network
    last_action: bool = True
    message_bits: int = 0  # each KD-MARL student tells the others so many bits per step; 0: none (kd_lh_m: 8)
    message_loss: float = 0.1  # share of messages that are lost in training, on each link by itself

    def __post_init__(self) -> None:
        within("student", 1, 4096, hidden=self.hidden, hidden_small=self.hidden_small)
        within("student", 0, 1, small_below=self.small_below, message_loss=self.message_loss)
        within("student", 0, 32, message_bits=self.message_bits)  # what a bundle holds


@dataclass
class GameDistillConfig:
    """KD-MARL, Eqs. 1-11, on games. A weight of 0 switches its term off."""

    environments: int = 128
    window: int = 32
    teacher_steps: int = 200_000  # the paper's expert buffer, in environment steps; 0: none
    teacher_epochs: int = 10
    student_steps: int = 800_000  # own rollouts labelled by the teacher; 0: none (the paper's form)
    student_epochs: int = 4
    minibatches: int = 4
    learning_rate: float = 2e-3  # falls linearly to 0
    ppo: float = 1.0  # Eqs. 1-4
    kl: float = 1.0  # lambda_1, Eq. 7
    ce: float = 0.5  # lambda_2, Eq. 8
    relation: float = 0.1  # lambda_3, Eq. 9
    role: float = 0.1  # lambda_4, Eqs. 10-11
    entropy: float = 0.01  # c_H, Eq. 5
    imitation_left: float = 0.0  # share of lambda_1 and lambda_2 left at the end of the own rollouts; 1: constant
    tune_critic: bool = True  # the teacher's values go on learning, from the students' own play; False: the paper's way
    clip: float = 0.2
    relation_width: int = 16
    roles: int = 8
    role_temperature: float = 1.0
    max_grad_norm: float = 0.5

    def __post_init__(self) -> None:
        within("distill", 1, 65536, environments=self.environments, window=self.window)
        within("distill", 0, 1e10, teacher_steps=self.teacher_steps, student_steps=self.student_steps)
        within("distill", 1, 1e4, teacher_epochs=self.teacher_epochs, student_epochs=self.student_epochs)
        within("distill", 1, 100, minibatches=self.minibatches)
        positive("distill", learning_rate=self.learning_rate, role_temperature=self.role_temperature)
        within("distill", 0, 1e3, ppo=self.ppo, kl=self.kl, ce=self.ce, relation=self.relation, role=self.role)
        within("distill", 0, 1e3, entropy=self.entropy)
        within("distill", 0, 1, imitation_left=self.imitation_left)
        within("distill", 0.01, 1, clip=self.clip)
        within("distill", 2, 1024, relation_width=self.relation_width, roles=self.roles)
        positive("distill", max_grad_norm=self.max_grad_norm)
        check(
            "distill",
            "teacher_steps=0, student_steps=0",
            self.teacher_steps > 0 or self.student_steps > 0,
            "at least one data source (teacher_steps or student_steps above 0)",
        )


@dataclass
class GameEvaluationConfig:
    episodes: int = 512  # of the final evaluation, greedy actions, seeds never trained on
    every_steps: int = 100_000  # environment steps between evaluations along the way
    message_loss: float = 0.0  # share of the students' messages that are lost in the final evaluation

    def __post_init__(self) -> None:
        within("evaluation", 1, 1e6, episodes=self.episodes)
        within("evaluation", 1, 1e10, every_steps=self.every_steps)
        within("evaluation", 0, 1, message_loss=self.message_loss)


@dataclass
class GameComputeConfig:
    threads: int = 2  # torch threads
    reproducible: bool = False  # the same bytes on any x86-64 processor; slower (docs/distributed.md)

    def __post_init__(self) -> None:
        within("compute", 1, 1024, threads=self.threads)


@dataclass
class GameOutputConfig:
    dir: str = "outputs"
    cache_dir: str = "outputs/cache"
    records_dir: str | None = None  # where each method's run record is also kept, e.g. results/runs/benchmark
    tensorboard: bool = False  # write every training's statistics for TensorBoard, beside the report

    def __post_init__(self) -> None:
        check_folders(self)


# Algorithm, and what its agents see: FO everything, LH what their group senses, LH+A the same with a network each,
# sized to what it senses. kdmarl_sat/games/methods.py says what each is made of.
METHODS = (
    "teacher",
    *("mappo_fo", "mappo_lh", "mappo_lh_a", "qmix_fo", "qmix_lh", "qmix_lh_a", "vdn_fo", "vdn_lh", "vdn_lh_a"),
    *("kd_lh", "kd_lh_a", "kd_lh_m", "kd_buffer_lh", "kd_buffer_lh_a", "kd_fo_small", "kd_lh_wide"),
    *("ctds", "tseng", "ptde"),  # the paper's Table III
)


BUDGETS = ("equal", "converged")  # how long methods train, in the order of tables; scenarios/games/budget/


@dataclass
class GameRunConfig:
    """The whole of a run on a game."""

    seed: int = 0
    preset: str = "default"
    budget: str = "equal"  # what the budget group says: kept in the records, changes nothing itself
    variant: str = ""  # name of an ablation: kept in the records, changes nothing itself
    methods: list[str] = field(default_factory=lambda: ["teacher", "mappo_lh_a", "kd_lh", "kd_lh_a"])
    scenario: GameConfig = MISSING
    mappo: MappoConfig = field(default_factory=MappoConfig)
    teacher: GameTeacherConfig = field(default_factory=GameTeacherConfig)
    values: ValueDecompositionConfig = field(default_factory=ValueDecompositionConfig)
    student: GameStudentConfig = field(default_factory=GameStudentConfig)
    distill: GameDistillConfig = field(default_factory=GameDistillConfig)
    ctds: CtdsConfig = field(default_factory=CtdsConfig)
    tseng: TsengConfig = field(default_factory=TsengConfig)
    ptde: PtdeConfig = field(default_factory=PtdeConfig)
    evaluation: GameEvaluationConfig = field(default_factory=GameEvaluationConfig)
    compute: GameComputeConfig = field(default_factory=GameComputeConfig)
    output: GameOutputConfig = field(default_factory=GameOutputConfig)

    def __post_init__(self) -> None:
        check("seed", self.seed, 0 <= self.seed < 2**31, "between 0 and 2147483647")
        check_name("preset", self.preset)
        if self.variant:
            check_name("variant", self.variant)
        check("methods", [], bool(self.methods), "at least one method")
        check("budget", self.budget, self.budget in BUDGETS, f"one of {', '.join(BUDGETS)}")
        for method in self.methods:
            check("methods", method, method in METHODS, f"one of {', '.join(METHODS)}")


def steps_of(phases: Sequence[Any], less: int = 0) -> int:
    """Environment steps of all phases, less some; never below 0. For ``${steps_of:...}`` in YAML."""
    return int(max(0, sum(int(phase["steps"]) for phase in phases) - less))


def register() -> None:
    """Make the typed root known to Hydra; ``config.yaml`` starts from it."""
    OmegaConf.register_new_resolver("steps_of", steps_of, replace=True)
    ConfigStore.instance().store(name="game_schema", node=GameRunConfig)
