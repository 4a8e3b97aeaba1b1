"""What a run measured, as plain objects: the report draws them, metrics.json stores them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from envs.basilisk.episode_result import EpisodeResult
from envs.basilisk.tasks import Tasks
from envs.basilisk.trace import Trace


@dataclass(frozen=True, slots=True)
class PolicyResult:
    """One compared policy over the held-out episodes; all policies fly the same seeds in the same order."""

    name: str  # "random", "greedy_battery", "global_knowledge", "teacher_fo", "kd_lh", "kd_lh_a", "mappo_lh_a", ...
    label: str  # for tables and figures: "KD-MARL LH+A"
    episodes: tuple[EpisodeResult, ...]
    macs_per_decision: tuple[int, ...] = ()  # per satellite; empty for heuristics
    parameters: tuple[int, ...] = ()  # per satellite; empty for heuristics
    agreement: tuple[float, ...] = ()  # per satellite, with the teacher's greedy action; empty where not measured
    host_latency_us: tuple[float, ...] = ()  # per satellite, median wall clock of one decision
    trace: Trace | None = None  # of the first held-out episode
    film: bytes | None = None  # of the same, for Vizard
    events: dict[str, int] | None = None  # flight log events by kind, of a flown bundle
    overrides: tuple[int, ...] = ()  # by the guards, one count per episode; empty where nobody was guarded
    tasks: tuple[Tasks, ...] = ()  # of the first held-out episode, or of each one


@dataclass(frozen=True, slots=True)
class Curve:
    """A learning curve: one point per update."""

    label: str
    x: tuple[float, ...]  # episodes simulated so far
    y: tuple[float, ...]  # captured priority per training episode
    x_label: str = "training episodes"
    y_label: str = "captured priority per episode"


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """One satellite's student against one limit of its flight budget."""

    bundle: str  # "KD-MARL LH+A"
    satellite: str
    quantity: str  # "parameters", "bytes", "MACs per decision", "longest latency on GR712RC"
    unit: str
    value: float
    limit: float

    @property
    def used(self) -> float:
        """The share of the limit; where nothing is granted, nothing is used."""
        return self.value / self.limit if self.limit > 0 else 0.0


@dataclass(frozen=True, slots=True)
class RunResult:
    """All that metrics.json and the report are made of."""

    # seed, preset, date, commit, versions {name: version}, stage_s {stage: wall clock of this run}, cpu_s {stage: CPU-
    # seconds of all processes, when it was made, ``kdmarl_sat.stages``}
    run: dict[str, Any]
    config: dict[str, Any]
    satellites: tuple[str, ...]
    policies: tuple[PolicyResult, ...]
    curves: tuple[Curve, ...]
    budget: tuple[BudgetRow, ...]
    catalogue_numbers: tuple[int | None, ...] = ()  # of the satellites; empty: unknown
    claims: tuple[tuple[str, float, float, bool], ...] = field(default_factory=tuple)  # text, measured, wanted, met
