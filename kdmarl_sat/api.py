"""The Python way in: compose a mission, fly rules and stored students, run the method, plot, read records.

    from kdmarl_sat.api import Heuristic, compose, fly_bundle, fly_rule, plot

Ten names, each a few lines on top of what the commands use. Flights are flown in this process, so that they work in a
notebook and in a script without ``if __name__ == "__main__"``; ``run`` starts worker processes and needs that line in a
script. Whatever the user can mend is a ``ValueError`` with one sentence.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from envs.basilisk.features import agent_specs
from envs.basilisk.twin.library import fault as twin_library_fault
from envs.basilisk.twin.mirrored import planner_fault
from kdmarl_sat.missions import pipeline
from kdmarl_sat.missions.flights import HEURISTICS
from kdmarl_sat.missions.records import Record
from kdmarl_sat.missions.records import read_records as _read_records
from kdmarl_sat.missions.report import figures, flight_figures
from kdmarl_sat.missions.results import PolicyResult, RunResult
from kdmarl_sat.report.statistics import mean_interval
from onboard.admission import measure
from onboard.bundle import read_bundle
from onboard.flightlog import Kind
from onboard.runners import choose
from scenarios.compose import composed
from scenarios.onboard_sim import FaultConfig
from scenarios.ranges import ConfigError
from scenarios.schema import RunConfig
from training.artifact import ROOT
from training.missions.flight import FlightPlan
from training.missions.simulate import (
    HELD_OUT,
    ON_TWIN,
    Flown,
    Flyer,
    Heuristic,
    TeamPlan,
    episode_seeds,
    fly,
    jobs,
    settings_of,
)

__all__ = [
    "Heuristic",
    "PolicyResult",
    "compose",
    "fly_bundle",
    "fly_rule",
    "plot",
    "plot_flight",
    "read_bundle",
    "read_records",
    "run",
]


def compose(*overrides: str, config_dir: Path | str | None = None) -> RunConfig:
    """The configuration that the command line would make of the same words.

    Args:
        overrides: as on the command line: ``"scenario=walker_cities"``, ``"preset=smoke"``.
        config_dir: folder with missions of your own, as ``--config-dir``.

    Returns:
        Every setting, checked; units are in the fields' names.

    Raises:
        ValueError: (``ConfigError``) an unknown key, or a value out of its range.
    """
    return composed(*overrides, config_dir=None if config_dir is None else Path(config_dir))


def run(config: RunConfig, folder: Path | str) -> RunResult:
    """The whole method, as ``python -m kdmarl_sat.run``: rules, teacher, students, bundles, flights, report.

    Args:
        config: of ``compose``; finished stages are taken from ``config.output.cache_dir``.
        folder: gets ``report.html``, figures and ``metrics.json``.

    Returns:
        What was measured: ``policies``, ``curves``, ``budget`` and ``claims``.

    Raises:
        ValueError: (subclasses of ours) anything that the user can mend, in one sentence.
    """
    return pipeline.run(config, Path(folder))


def fly_rule(config: RunConfig, rule: Heuristic) -> PolicyResult:
    """Fly a policy that needs no training, under the guard, on ``config.evaluation.episodes`` held-out episodes.

    Args:
        config: of ``compose``.
        rule: ``random``, ``greedy_battery``, ``global_knowledge``, ``forecast`` or ``planner``.

    Returns:
        One account per episode (captured priority, images, duplicates, losses), and with ``config.evaluation.trace``
        the first episode's trace.

    Raises:
        ValueError: (``ConfigError``) the rule needs the twin, which lacks something of this mission.
    """
    if rule in ON_TWIN and (missing := planner_fault(config.scenario)):
        raise ConfigError(f"rule={rule.value} is not allowed: {missing}; it must be a rule that needs no twin")
    planner = settings_of(config.planner) if rule is Heuristic.planner else None
    return _result(rule.value, HEURISTICS[rule], _flown(config, Flyer(heuristic=rule, planner=planner)))


def fly_bundle(
    config: RunConfig,
    folder: Path | str,
    runner: str = choose.BEST,
    faults: Mapping[str, Any] | None = None,
    label: str = "",
) -> PolicyResult:
    """Fly stored students under the onboard executor, in closed loop with Basilisk, on the held-out episodes.

    Args:
        config: of ``compose``; its mission must have the satellites that the bundle was made for.
        folder: of the bundle, for instance ``results/bundles/imaging_constellation-lh_a``.
        runner: ``native``, ``reference``, ``isolated`` or the best that works here; all give the same bits.
        faults: as ``faults.*`` of ``kdmarl-sat fly``: ``{"flip": 0.05}``; probabilities per decision.
        label: for tables and figures; the folder's name if empty.

    Returns:
        As ``fly_rule``, with MACs and parameters per satellite and the flight log's events by kind.

    Raises:
        ValueError: (``BundleError``, ``BudgetError`` ...) the bundle is damaged, or does not fit mission or budget.
    """
    path, scenario = Path(folder).absolute(), config.scenario
    bundle = read_bundle(path)
    sensed = {block.name for each in bundle.satellites for block in each.spec.blocks}
    if "foretold" in sensed and (fault := twin_library_fault()):
        raise ConfigError(f"bundle={folder} senses the block foretold, which is not computed here: {fault}")
    wrong = None if faults is None else FaultConfig(**faults)
    team = TeamPlan(tuple(map(tuple, scenario.visible)), (), ())
    flown = _flown(config, Flyer(plan=team, flight=FlightPlan(path, runner, faults=wrong, fault_seed=config.seed)))
    measured = [measure(each) for each in bundle.satellites]
    costs = tuple(each.macs for each in measured), tuple(each.parameters for each in measured)
    # The report colours policies by the first word that it knows: a bundle holds students.
    return _result(f"kd_{path.name}", label or path.name, flown, *costs)


def plot(flights: Sequence[PolicyResult]) -> Figure:
    """Captured priority of each policy: single episodes as dots, mean and 95 % bootstrap interval.

    Raises:
        ValueError: there is no flight, or they were not flown on the same episodes.
    """
    seeds = {tuple(episode.seed for episode in flight.episodes) for flight in flights}
    if len(seeds) != 1:
        raise ValueError("flights are not of the same episodes: plot those of one mission and one number of episodes")
    rows = []
    for flight in flights:
        captured = tuple(episode.captured for episode in flight.episodes)
        rows.append(figures.Score(flight.name, flight.label, captured, mean_interval(captured)))
    return figures.captured_priority(rows, float(np.mean([e.available for e in flights[0].episodes])))


def plot_flight(config: RunConfig, flight: PolicyResult, what: str = "timeline") -> Figure:
    """The first episode of a flight: ``timeline`` (battery and actions) or ``ground_track`` (map).

    Raises:
        ValueError: the flight has no trace (``evaluation.trace=false``), or there is no such picture.
    """
    draw = {"timeline": flight_figures.timeline, "ground_track": flight_figures.ground_track}
    if flight.trace is None:
        raise ValueError(f"the flight of {flight.label} has no trace: compose with evaluation.trace=true")
    if what not in draw:
        raise ValueError(f"what={what!r} is not allowed: it must be one of {', '.join(draw)}")
    return draw[what](flight.trace, [spec.name for spec in agent_specs(config.scenario)])


def read_records(folder: Path | str = ROOT / "results/runs") -> list[Record]:
    """The stored records of missions' runs, as the tables read them: plain JSON, one per run.

    Raises:
        ValueError: (``RecordError``) a file is no such record.
    """
    return _read_records(Path(folder))


def _flown(config: RunConfig, who: Flyer) -> list[Flown]:
    """The held-out episodes, one job after the other in this process; jobs are dealt as a run deals them."""
    seeds = episode_seeds(HELD_OUT, 0, 0, config.evaluation.episodes)
    traced = int(config.evaluation.trace)
    work = jobs(config.scenario, who, seeds, config.compute, training=False, traced=traced)
    with _same_threads():
        return [fly(job) for job in work]


@contextlib.contextmanager
def _same_threads() -> Iterator[None]:
    """A worker's flight sets torch's threads; the caller's number comes back."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _result(
    name: str, label: str, parts: Sequence[Flown], macs: tuple[int, ...] = (), parameters: tuple[int, ...] = ()
) -> PolicyResult:
    counts = [log.counts() for part in parts for log in part.logs]
    return PolicyResult(
        name,
        label,
        tuple(result for part in parts for result in part.results),
        macs_per_decision=macs,
        parameters=parameters,
        trace=parts[0].traces[0] if parts[0].traces else None,
        film=parts[0].films[0] if parts[0].films else None,
        events={kind.value: sum(count[kind] for count in counts) for kind in Kind} if counts else None,
        overrides=tuple(count for part in parts for count in part.overrides),
        tasks=parts[0].tasks[:1],
    )
