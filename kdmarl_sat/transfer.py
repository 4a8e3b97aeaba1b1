"""``python -m kdmarl_sat.transfer``: a run's policies in missions that they were not trained for.

Any number of satellites, targets in proportion, and faults:

  python -m kdmarl_sat.transfer --to scenario.constellation.planes=6 scenario.constellation.per_plane=11 \\
    scenario.targets.clusters_per_orbit=990
  python -m kdmarl_sat.transfer --vary scenario.faults.satellite_failures=0,0.1,0.3,1

The run is the one that the overrides name, as for kdmarl_sat.run; what of it is not in the cache is trained first. The
teacher is one network for all satellites. Of the students, each further satellite takes the one of a satellite of the
same class, in turn. All fly under the guard, heuristics too; networks fly as they are, not under the onboard executor.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from rich.table import Table

from envs.episode_result import EpisodeResult
from envs.files import write_json, write_whole
from envs.memory import available_bytes, check_workers
from kdmarl_sat.command import sentences
from kdmarl_sat.console import Console
from kdmarl_sat.pipeline import HEURISTICS, fly, mission_of, policies
from kdmarl_sat.provenance import provenance
from kdmarl_sat.report.formats import number, spread
from kdmarl_sat.report.metrics import json_ready
from kdmarl_sat.report.render import png
from kdmarl_sat.report.statistics import mean_interval
from kdmarl_sat.report.style import MUTED, WIDTH_IN, family_colour, styled
from scenarios.compose import composed
from scenarios.mission import ScenarioConfig
from scenarios.ranges import ConfigError
from scenarios.schema import RunConfig, to_dict
from training.simulate import Flyer, TeamPlan, flyer, worker_pool

_TITLE = "Captured priority in other missions than the run's own, held-out episodes"
_COLUMNS = (
    "mission",
    "policy",
    "captured",
    "interval",
    "per satellite",
    "return",
    "dupl.",
    "lost",
    "failed",
    "missed",
    "late",
)
LABELS = {"teacher_fo": "teacher, FO", "kd_lh": "KD-MARL LH", "kd_lh_a": "KD-MARL LH+A"}


@dataclasses.dataclass(frozen=True, slots=True)
class Flight:
    """One policy in one mission."""

    mission: str  # what is unlike the run's own
    policy: str
    satellites: int
    death_penalty: float
    episodes: tuple[EpisodeResult, ...]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="kdmarl_sat.transfer", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("overrides", nargs="*", help="name the run, as for kdmarl_sat.run")
    parser.add_argument("--to", nargs="+", action="append", default=[], metavar="OVERRIDE", help="a mission to fly")
    parser.add_argument("--vary", metavar="KEY=A,B,...", help="a mission for each value, beside every --to")
    parser.add_argument("--out", type=Path, help="default: outputs/transfer/ and what is flown")
    options = parser.parse_intermixed_args(arguments)
    with sentences(parser.prog):
        run = composed(*options.overrides)
        missions = {
            " ".join(extra) or "as trained": _mission(run, options.overrides, extra)
            for extra in variations(options.to, options.vary)
        }
        work(run, missions, options.out or Path("outputs/transfer") / folder_name(run, options.to, options.vary))


def variations(to: Sequence[Sequence[str]], vary: str | None) -> list[list[str]]:
    """The overrides of each mission to fly.

    Raises:
        ConfigError: neither is given, or ``vary`` is no KEY=A,B,...
    """
    if not to and vary is None:
        raise ConfigError("--to and --vary are both missing: at least one must say which missions to fly")
    if vary is None:
        return [list(each) for each in to]
    key, _, values = vary.partition("=")
    if not key or not values:
        raise ConfigError(f"--vary={vary} is not allowed: it must be KEY=A,B,...")
    return [[*each, f"{key}={value}"] for each in (to or [[]]) for value in values.split(",")]


def folder_name(run: RunConfig, to: Sequence[Sequence[str]], vary: str | None) -> str:
    """The run, and the last part of each override: another question does not overwrite this one's answer."""
    asked = [part.rpartition("=") for extra in to for part in extra] + (
        [(vary.partition("=")[0], "", "")] if vary else []
    )
    parts = [key.rpartition(".")[2] + (f"-{value}" if value else "") for key, _, value in asked]
    return re.sub(r"[^\w.-]+", "_", "-".join([run.scenario.name, run.preset, f"seed{run.seed}", *parts]))[:200]


def _mission(run: RunConfig, overrides: Sequence[str], extra: Sequence[str]) -> ScenarioConfig:
    target = composed(*overrides, *extra)
    if dataclasses.replace(target, scenario=run.scenario) != run:
        raise ConfigError(f"--to {' '.join(extra)} is not allowed: it must change the scenario alone")
    ours, theirs = run.scenario.constellation, target.scenario.constellation
    if theirs.size < ours.size or theirs.classes != ours.classes:
        raise ConfigError(
            f"--to {' '.join(extra)} is not allowed: it must have the same classes of satellites, and at least "
            f"{ours.size} satellites"
        )
    return target.scenario


def work(run: RunConfig, missions: dict[str, ScenarioConfig], out: Path) -> list[Flight]:
    """Fly all policies in all missions; leaves transfer.json, transfer.md and transfer.png in ``out``."""
    for scenario in missions.values():
        check_workers(run.compute, scenario.constellation.size, available_bytes())
    torch.set_num_threads(run.compute.threads)
    origin = provenance(run)
    flights: list[Flight] = []
    with worker_pool(run.compute) as pool, Console() as console:
        trained = policies(mission_of(run, pool, console, origin))
        for label, scenario in missions.items():
            console.say(f"mission: {label}")
            mission = mission_of(dataclasses.replace(run, scenario=scenario), pool, console, origin)
            size, classes = len(mission.specs), len(scenario.constellation.classes)
            for which, name in HEURISTICS.items():
                flown = fly(mission, which.value, Flyer(heuristic=which), {"heuristic": which.value})
                flights.append(Flight(label, name, size, scenario.death_penalty, flown.episodes))
            for key, (plan, team, artifact) in trained.items():
                larger = spread_over(plan, classes, size)
                who = flyer(larger, team, sample=False)
                depends_on = {"policy": artifact.digest, "plan": dataclasses.asdict(larger)}
                flown = fly(mission, f"transferred-{key}", who, depends_on)
                flights.append(Flight(label, LABELS[key], size, scenario.death_penalty, flown.episodes))
        out.mkdir(parents=True, exist_ok=True)
        result = {
            "run": origin,
            "config": to_dict(run),
            "missions": {label: to_dict(scenario) for label, scenario in missions.items()},
            "flights": [dataclasses.asdict(flight) for flight in flights],
        }
        write_json(out / "transfer.json", json_ready(result))
        write_whole(out / "transfer.png", png(figure(flights)))
        write_whole(out / "transfer.md", markdown(flights, run.evaluation.confidence, origin).encode())
        console.show(table(flights, run.evaluation.confidence))
        console.say(f"transfer.json, transfer.md and transfer.png: {out}")
    return flights


def spread_over(plan: TeamPlan, classes: int, size: int) -> TeamPlan:
    """The same networks over ``size`` satellites: each is served as one of its class was, those in turn."""
    trained = len(plan.visible)
    serves = {agent: group for group, agents in enumerate(plan.groups) for agent in agents}
    like = []
    for satellite in range(size):
        alike = range(satellite % classes, trained, classes)
        like.append(alike[satellite // classes % len(alike)])
    groups: list[list[int]] = [[] for _ in plan.groups]
    for satellite, agent in enumerate(like):
        groups[serves[agent]].append(satellite)
    return TeamPlan(tuple(plan.visible[agent] for agent in like), tuple(map(tuple, groups)), plan.hidden)


def table(flights: Sequence[Flight], confidence: float) -> Table:
    """As much of it as fits a terminal of 80 columns."""
    shown = Table(title=_TITLE)
    columns = _COLUMNS[: _COLUMNS.index("return") + 1]
    for column in columns:
        shown.add_column(column, justify="left" if column in ("mission", "policy") else "right")
    mission = None
    for flight in flights:
        told = "" if flight.mission == mission else _short(flight.mission)
        shown.add_row(told, *_row(flight, confidence)[1 : len(columns)])
        mission = flight.mission
    return shown


def markdown(flights: Sequence[Flight], confidence: float, run: dict[str, Any]) -> str:
    """The same table, for a page."""
    lines = [
        f"# {run['scenario']}: {_TITLE[0].lower()}{_TITLE[1:]}",
        "",
        f"preset={run['preset']}, seed={run['seed']}, commit {run['commit'][:10]}, "
        f"{len(flights[0].episodes)} episodes each, {confidence:.0%} intervals over them. "
        "Made by `python -m kdmarl_sat.transfer`.",
        "",
        "![captured priority per satellite](transfer.png)",
        "",
        f"| {' | '.join(_COLUMNS)} |",
        f"|{'---|' * len(_COLUMNS)}",
        *(f"| {' | '.join(_row(flight, confidence))} |" for flight in flights),
    ]
    return "\n".join(lines) + "\n"


def _row(flight: Flight, confidence: float) -> tuple[str, ...]:
    mean = mean_interval([e.captured for e in flight.episodes], confidence)
    per_episode = [
        number(float(np.mean([getattr(e, name) for e in flight.episodes])), 2)
        for name in ("duplicates", "deaths", "failures", "missed", "late")
    ]
    earned = float(np.mean([e.captured - flight.death_penalty * e.deaths for e in flight.episodes]))
    means = (number(mean.estimate), spread(mean), number(mean.estimate / flight.satellites, 2), number(earned))
    return (flight.mission, flight.policy, *means, *per_episode)


@styled
def figure(flights: Sequence[Flight]) -> Figure:
    """Captured priority per satellite: a place for each mission, a line for each policy."""
    missions = list(dict.fromkeys(flight.mission for flight in flights))
    drawn = Figure(figsize=(WIDTH_IN, 3.6), layout="constrained")
    axes = drawn.subplots()
    styles: dict[str, int] = {}
    for policy in dict.fromkeys(flight.policy for flight in flights):
        own: dict[str, Any] = {flight.mission: flight for flight in flights if flight.policy == policy}
        means = [mean_interval([e.captured / own[m].satellites for e in own[m].episodes]) for m in missions]
        colour = family_colour(policy)
        style = ("-", "--", ":", "-.")[styles.setdefault(colour, 0)]
        styles[colour] = (styles[colour] + 1) % 4
        places = np.arange(len(missions))
        axes.plot(places, [m.estimate for m in means], style, color=colour, marker="o", markersize=4, label=policy)
        axes.fill_between(
            places, [m.low for m in means], [m.high for m in means], color=colour, alpha=0.12, linewidth=0
        )
    axes.set_xticks(range(len(missions)), [_short(m).replace("=", "\n= ") for m in missions], fontsize=7.5)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("captured priority per satellite")
    axes.grid(axis="y")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    drawn.suptitle("mean and 95% interval over held-out episodes", fontsize=8.5, x=0.01, ha="left", color=MUTED)
    return drawn


def _short(mission: str) -> str:
    """The last part of each key with its value, one to a line."""
    overrides = (part.partition("=") for part in mission.split(" "))
    return "\n".join(key.rpartition(".")[2] + equals + value for key, equals, value in overrides)


if __name__ == "__main__":
    main()
