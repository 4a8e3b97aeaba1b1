"""Policies flown on held-out episodes, and what the report says of each."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from kdmarl_sat.missions.mission import Mission
from kdmarl_sat.missions.results import BudgetRow, PolicyResult
from kdmarl_sat.missions.stages import NETWORKS
from kdmarl_sat.stages import Stage
from onboard.admission import measure
from onboard.budget import margins
from onboard.bundle import read_bundle
from scenarios.compute import Schedules
from training.artifact import Artifact, Place
from training.missions.distill import Teacher
from training.missions.evaluate import Evaluation, evaluate, host_latency_us
from training.missions.flight import FlightPlan
from training.missions.networks import Team
from training.missions.simulate import ON_TWIN, Flyer, Heuristic, TeamPlan, flyer, settings_of

# The code that a flight's result depends on, for the cache.
FLIGHT = (
    *NETWORKS,
    "training/distill.py",
    *(f"training/missions/{name}.py" for name in ("evaluate", "flight", "assign", "distill")),
    "onboard",
)

HEURISTICS = {
    Heuristic.random: "random",
    Heuristic.greedy_battery: "greedy + battery",
    Heuristic.global_knowledge: "global knowledge",
    Heuristic.forecast: "forecast",
    Heuristic.planner: "planner",
}


def fly(
    mission: Mission, name: str, who: Flyer, depends_on: dict[str, Any], compared: tuple[Team, Team] | None = None
) -> Evaluation:
    """Held-out episodes of the mission, from the cache where they have been flown."""
    config = mission.config

    def work(place: Place) -> dict[str, Any]:
        evaluate(who, config, mission.pool, place, compared)
        return {}

    asked = {"episodes": config.evaluation.episodes, "trace": config.evaluation.trace}
    flown = {**mission.simulated, "evaluation": asked, **depends_on}
    flight = mission.workshop.make(Stage(f"flight-{name}", f"flight: {name}", flown, FLIGHT, work))
    return Evaluation.load(flight.path, every=config.output.schedules is Schedules.all)


def rules(mission: Mission) -> list[Heuristic]:
    """The policies that need no training; without those on the twin if the mission cannot be planned."""
    return [which for which in HEURISTICS if mission.planner_fault is None or which not in ON_TWIN]


def fly_rule(mission: Mission, which: Heuristic) -> Evaluation:
    """Held-out episodes of a policy that needs no training."""
    planner = settings_of(mission.config.planner) if which is Heuristic.planner else None
    depends_on = {"heuristic": which.value, **({} if planner is None else {"planner": dataclasses.asdict(planner)})}
    return fly(mission, which.value, Flyer(heuristic=which, planner=planner), depends_on)


def heuristic(mission: Mission, which: Heuristic) -> PolicyResult:
    """A policy that needs no training, flown."""
    evaluation = fly_rule(mission, which)
    return PolicyResult(
        which.value,
        HEURISTICS[which],
        evaluation.episodes,
        trace=evaluation.trace,
        film=evaluation.film,
        tasks=evaluation.tasks,
        overrides=evaluation.overrides,
    )


@dataclass(frozen=True)
class Entry:
    """A policy as the report lists it, and the networks that make it."""

    name: str
    label: str
    plan: TeamPlan
    team: Team
    trained: Artifact  # the stage that made the networks


@dataclass(frozen=True)
class Taught:
    """The run's teacher, and the stage that made it."""

    teacher: Teacher
    artifact: Artifact


def networks(mission: Mission, entry: Entry, taught: Taught | None = None) -> PolicyResult:
    """Networks that stay on the ground, flown greedily; compared with the teacher's choices where one is given."""
    depends_on = {"policy": entry.trained.digest, "teacher": taught.artifact.digest if taught else None}
    compared = (entry.team, taught.teacher.team) if taught else None
    evaluation = fly(mission, entry.name, flyer(entry.plan, entry.team, sample=False), depends_on, compared)
    return PolicyResult(
        entry.name,
        entry.label,
        evaluation.episodes,
        macs_per_decision=tuple(network.macs() for network in entry.team.members),
        parameters=tuple(sum(p.numel() for p in network.parameters()) for network in entry.team.members),
        agreement=evaluation.agreement,
        host_latency_us=host_latency_us(entry.team),
        trace=evaluation.trace,
        film=evaluation.film,
        tasks=evaluation.tasks,
        overrides=evaluation.overrides,
    )


def packaged(mission: Mission, entry: Entry, bundle: Artifact, taught: Taught) -> PolicyResult:
    """The packaged students under the onboard executor, in the loop with Basilisk."""
    who = Flyer(plan=entry.plan, flight=FlightPlan(bundle.path / "bundle"))
    depends_on = {"bundle": bundle.digest, "teacher": taught.artifact.digest}
    evaluation = fly(mission, entry.name, who, depends_on, (entry.team, taught.teacher.team))
    flown = read_bundle(bundle.path / "bundle")
    measured = [measure(satellite) for satellite in flown.satellites]
    return PolicyResult(
        entry.name,
        entry.label,
        evaluation.episodes,
        macs_per_decision=tuple(m.macs for m in measured),
        parameters=tuple(m.parameters for m in measured),
        agreement=evaluation.agreement,
        host_latency_us=evaluation.latency_us,
        trace=evaluation.trace,
        film=evaluation.film,
        tasks=evaluation.tasks,
        overrides=evaluation.overrides,
        events=evaluation.events,
    )


def budget_rows(label: str, bundle: Artifact) -> list[BudgetRow]:
    """What every satellite of a bundle costs, beside its limits."""
    return [
        BudgetRow(label, satellite.spec.name, margin.quantity, margin.unit, margin.value, margin.limit)
        for satellite in read_bundle(bundle.path / "bundle").satellites
        for margin in margins(measure(satellite), satellite.budget)
    ]
