"""Every choice of a flight without training (``kdmarl-sat fly``), as schema.py has a run's."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from scenarios.compute import ComputeConfig, OutputConfig
from scenarios.mission import ScenarioConfig
from scenarios.processor import ProcessorConfig, check_processors
from scenarios.ranges import ConfigError, check, positive, within
from scenarios.schema import PlannerConfig

TARGET = "cortex-a53"


class RunnerKind(Enum):
    reference = "reference"  # numpy
    native = "native"  # the C engine in the simulation's process
    isolated = "isolated"  # the C engine in a process of its own, under hard limits
    emulated = "emulated"  # the C engine on an emulated processor


class Rule(Enum):
    """Policies that need no training, by the names of ``training.missions.simulate.Heuristic``."""

    random = "random"
    greedy_battery = "greedy_battery"
    global_knowledge = "global_knowledge"
    forecast = "forecast"
    planner = "planner"


class LostReads(Enum):
    zero = "zero"  # a lost block's columns are 0
    nan = "nan"  # they are not a number, and the executor does not ask the network


@dataclass
class FaultConfig:
    """What goes wrong in flight. Probabilities are per decision of a satellite but where they say otherwise."""

    hang: float = 0.0  # the executor's process stops before it answers; needs runner=isolated
    slow: float = 0.0  # the answer comes late by
    slow_ms: float = 300.0
    flip: float = 0.0  # one random bit of the weights in memory is inverted
    lost_satellite: float = 0.0  # per satellite and episode: from a random time on it decides no more, and charges
    lost_block: float = 0.0  # per satellite and episode: from a random time on it does not sense
    block: str | None = None  # this block; null: a random one
    lost_reads: LostReads = LostReads.zero

    def __post_init__(self) -> None:
        for name in ("hang", "slow", "flip", "lost_satellite", "lost_block"):
            within("faults", 0, 1, **{name: getattr(self, name)})
        positive("faults", slow_ms=self.slow_ms)

    @property
    def any(self) -> bool:
        return max(self.hang, self.slow, self.flip, self.lost_satellite, self.lost_block) > 0


@dataclass
class OnboardSimConfig:
    """A bundle under a chosen runner and processor profile, or a rule, flown in closed loop with Basilisk."""

    scenario: ScenarioConfig = MISSING
    bundle: str | None = None  # folder; its networks go to satellites of their own kind (training/missions/assign.py)
    policy: Rule | None = None  # who flies in place of a bundle
    planner: PlannerConfig = field(default_factory=PlannerConfig)  # of policy=planner
    shadow: str | None = None  # folder of a bundle that decides and logs beside the policy, and acts on nothing
    record: bool = False  # keep every question and answer of the first episode, for kdmarl-sat replay
    runner: RunnerKind = RunnerKind.native
    target: str = TARGET  # which processor the emulated runner emulates
    processor: str | None = None  # profile for the modelled figures; null: the one in the bundle's budget
    processors: dict[str, ProcessorConfig] = field(default_factory=dict)  # profiles of the user's own, by name
    key: str | None = None  # file of the operator's key: bundles that it did not sign are refused; null: none is needed
    ledger: str | None = None  # file of the newest bundle accepted; null: the key's name with ".accepted"
    deadline_ms: float | None = None  # null: the bundle's
    episodes: int | None = None  # null: 1 where satellites are from a file, else 4
    seed: int = 0  # of the faults; the episodes are the held-out ones
    nominal: bool = True  # fly without faults too, to compare
    faults: FaultConfig = field(default_factory=FaultConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    output: OutputConfig = field(default_factory=OutputConfig)

    def __post_init__(self) -> None:
        if self.episodes is None:
            self.episodes = 4 if self.scenario.constellation.file is None else 1
        within("", 1, 1e6, episodes=self.episodes)
        if (self.bundle is None) == (self.policy is None):
            given = "both are" if self.bundle is not None else "neither is"
            raise ConfigError(f"bundle and policy: {given} given: it must be one of them, bundle=FOLDER or policy=NAME")
        check("shadow", self.shadow, self.shadow is None or self.policy is not None, "null where a bundle flies")
        keyless = "null with policy and without shadow: no bundle is flown"
        check("key", self.key, self.key is None or self.bundle is not None or self.shadow is not None, keyless)
        allowed = "false with policy: a recording is of a bundle's decisions"
        check("record", self.record, self.policy is None or not self.record, allowed)
        if self.policy is not None:
            self._check_unflown()
            allowed = "0 with policy: it is a fault of the onboard executor, which flies bundles"
            for name in ("hang", "slow", "flip", "lost_satellite", "lost_block"):
                check(f"faults.{name}", getattr(self.faults, name), getattr(self.faults, name) == 0, allowed)
        check("ledger", self.ledger, self.ledger is None or self.key is not None, "null without key: it is the key's")
        check("seed", self.seed, 0 <= self.seed < 2**31, "between 0 and 2147483647")
        if self.deadline_ms is not None:
            positive("", deadline_ms=self.deadline_ms)
        check_processors(self.processors)
        check(
            "faults.hang",
            self.faults.hang,
            self.faults.hang == 0 or self.runner is RunnerKind.isolated,
            f"0 with runner={self.runner.value}: only an isolated executor can be stopped from outside",
        )

    def _check_unflown(self) -> None:
        """Refuse what a rule would fly without: the settings of the executor that flies bundles.

        Raises:
            ConfigError: one is not at its default.
        """
        native = RunnerKind.native
        check("runner", self.runner.value, self.runner is native, f"{native.value} with policy: no bundle is flown")
        check("target", self.target, self.target == TARGET, f"{TARGET} with policy: no bundle is flown")
        check("processor", self.processor, self.processor is None, "null with policy: no bundle is flown")
        unshadowed = self.deadline_ms is None or self.shadow is not None
        check("deadline_ms", self.deadline_ms, unshadowed, "null with policy and without shadow: no bundle is flown")


def register() -> None:
    """Make the typed root known to Hydra; ``onboard_sim.yaml`` starts from it."""
    ConfigStore.instance().store(name="onboard_sim_schema", node=OnboardSimConfig)
