"""``kdmarl-sat transfer``: a run's policies in missions that they were not trained for.

Any number of satellites, targets in proportion, and faults:

  kdmarl-sat transfer to.scenario.constellation.planes=6 to.scenario.constellation.per_plane=11 \\
    to.scenario.targets.clusters_per_orbit=990
  kdmarl-sat transfer to.scenario.faults.satellite_failures=0,0.1,0.3,1 to.scenario.faults.crosslink_outage=0,0.3,0.7

The run is the one that the overrides without to. name, as for kdmarl-sat run. What of it is not in the cache is trained
first. A key with several values is varied, one key at a time. The teacher is one network for all satellites. Of the
students, each further satellite takes the one of a satellite of the same class, in turn. All fly under the guard,
heuristics too; networks fly as they are, not under the onboard executor. Flights are kept: the same command again goes
on where it was stopped.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from envs.basilisk.episode_result import EpisodeResult
from envs.files import read_json, write_json, write_whole
from kdmarl_sat.arguments import Parser
from kdmarl_sat.command import sentences
from kdmarl_sat.console import Console
from kdmarl_sat.missions.flights import HEURISTICS, fly, fly_rule, rules
from kdmarl_sat.missions.mission import mission_of
from kdmarl_sat.missions.pipeline import policies
from kdmarl_sat.missions.records import RecordError
from kdmarl_sat.missions.report.metrics import json_ready
from kdmarl_sat.missions.report.transfer import Flight, figure, markdown, short_name, table
from kdmarl_sat.provenance import provenance
from kdmarl_sat.report.render import png
from kdmarl_sat.streams import prepare
from scenarios.compose import composed
from scenarios.folders import check_folder, check_writable
from scenarios.memory import available_bytes, check_workers
from scenarios.mission import ScenarioConfig
from scenarios.ranges import ConfigError
from scenarios.schema import RunConfig, to_dict
from training.missions.simulate import TeamPlan, flyer, worker_pool

TO = "to."  # before the overrides of a mission that a run's policies are flown in
FORMAT = "kdmarl_sat.transfer"
VERSION = 1
RECORD = "transfer.json"


def main(arguments: Sequence[str] | None = None) -> None:
    prepare()
    parser = Parser(
        prog="kdmarl-sat transfer", description=__doc__
    )
    parser.add_argument("overrides", nargs="*", help="name the run, as for kdmarl_sat.run")
    parser.add_argument("--config-dir", "-cd", type=Path, metavar="FOLDER", help="as for kdmarl_sat.run")
    parser.add_argument("--out", type=Path, help="default: outputs/transfer/ and what is flown")
    parser.add_argument("--redraw", type=Path, metavar="FOLDER", help="fly nothing: draw a transfer.json again")
    given = sys.argv[1:] if arguments is None else list(arguments)
    asked = [argument.removeprefix(TO) for argument in given if argument.startswith(TO)]
    options = parser.parse_intermixed_args([argument for argument in given if not argument.startswith(TO)])
    with sentences(parser.prog, resumable=True):
        if options.redraw is not None:
            if options.overrides or asked or options.out:
                raise ConfigError("redraw stands alone: it flies nothing, and writes where it reads")
            redraw(options.redraw)
            return
        run = composed(*options.overrides, config_dir=options.config_dir)
        missions = {
            " ".join(extra) or "as trained": _mission(run, options.overrides, extra, options.config_dir)
            for extra in variations(asked)
        }
        work(run, missions, options.out or Path("outputs/transfer") / folder_name(run, asked))


def variations(asked: Sequence[str]) -> list[list[str]]:
    """The overrides of each mission to fly: keys with one value hold in all, of the others one is varied at a time.

    Raises:
        ConfigError: nothing is asked for, or something that is no KEY=VALUE or KEY=A,B,...
    """
    if not asked:
        raise ConfigError(f"no mission to fly is named: at least one {TO}KEY=VALUE or {TO}KEY=A,B,... must be given")
    held, varied = list[str](), list[tuple[str, list[str]]]()
    for override in asked:
        key, _, value = override.partition("=")
        if not key or not value:
            raise ConfigError(f"{TO}{override} is not allowed: it must be {TO}KEY=VALUE or {TO}KEY=A,B,...")
        values = _apart(value)
        if len(values) > 1:
            varied.append((key, values))
        else:
            held.append(override)
    return [[*held, f"{key}={value}"] for key, values in varied for value in values] or [held]


def _apart(value: str) -> list[str]:
    """Values between commas, but for those within brackets, braces or quotes."""
    values, depth, quote = [""], 0, ""
    for sign in value:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        elif sign in "[{(":
            depth += 1
        elif sign in ")}]":
            depth -= 1
        elif sign == "," and depth == 0:
            values.append("")
            continue
        values[-1] += sign
    return values


def folder_name(run: RunConfig, asked: Sequence[str]) -> str:
    """The run, and the last part of each override: another question does not overwrite this one's answer."""
    parts = []
    for override in asked:
        key, _, value = override.partition("=")
        parts.append(short_name(key) + ("" if len(_apart(value)) > 1 else f"-{value}"))
    return re.sub(r"[^\w.-]+", "_", "-".join([run.scenario.name, run.preset, f"seed{run.seed}", *parts]))[:200]


def _mission(
    run: RunConfig, overrides: Sequence[str], extra: Sequence[str], config_dir: Path | None = None
) -> ScenarioConfig:
    target = composed(*overrides, *extra, config_dir=config_dir)
    if dataclasses.replace(target, scenario=run.scenario) != run:
        raise ConfigError(f"{_typed(extra)} is not allowed: it must change the scenario alone")
    ours, theirs = run.scenario.constellation, target.scenario.constellation
    if theirs.size < ours.size or theirs.classes != ours.classes:
        raise ConfigError(
            f"{_typed(extra)} is not allowed: it must have the same classes of satellites, and at least "
            f"{ours.size} satellites"
        )
    return target.scenario


def _typed(overrides: Sequence[str]) -> str:
    return " ".join(f"{TO}{override}" for override in overrides)


def work(run: RunConfig, missions: dict[str, ScenarioConfig], out: Path) -> list[Flight]:
    """Fly all policies in all missions; leaves transfer.json, transfer.md and transfer.png in ``out``."""
    check_writable(run.output)
    check_folder(f"out={out}", out)
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
            for which in rules(mission):
                name, flown = HEURISTICS[which], fly_rule(mission, which)
                flights.append(Flight(label, name, size, scenario.death_penalty, flown.episodes))
            for entry in trained:
                larger = spread_over(entry.plan, classes, size)
                who = flyer(larger, entry.team, sample=False)
                depends_on = {"policy": entry.trained.digest, "plan": dataclasses.asdict(larger)}
                flown = fly(mission, f"transferred-{entry.name}", who, depends_on)
                flights.append(Flight(label, entry.label, size, scenario.death_penalty, flown.episodes))
        out.mkdir(parents=True, exist_ok=True)
        result = {
            "format": FORMAT,
            "version": VERSION,
            "run": origin,
            "config": to_dict(run),
            "missions": {label: to_dict(scenario) for label, scenario in missions.items()},
            "flights": [dataclasses.asdict(flight) for flight in flights],
        }
        write_json(out / RECORD, json_ready(result))
        redraw(out)
        console.show(table(flights, run.evaluation.confidence))
        console.say(f"{RECORD}, transfer.md and transfer.png: {out}")
    return flights


def redraw(folder: Path) -> None:
    """Table and figure of the record in ``folder``, beside it.

    Raises:
        RecordError: it is damaged or of another version.
        OSError: there is none.
    """
    path = folder / RECORD
    try:
        record = read_json(path)
        if (record["format"], record["version"]) != (FORMAT, VERSION):
            raise RecordError(f"{path} has version {record['version']!r}; this program reads version {VERSION}")
        flights = [
            Flight(**{**flight, "episodes": tuple(map(EpisodeResult.from_dict, flight["episodes"]))})
            for flight in record["flights"]
        ]
        page = markdown(flights, record["config"]["evaluation"]["confidence"], record["run"])
    except (ValueError, KeyError, TypeError, IndexError) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"{path} is damaged ({type(error).__name__}: {error})") from error
    write_whole(folder / "transfer.png", png(figure(flights)))
    write_whole(folder / "transfer.md", page.encode())


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


if __name__ == "__main__":
    main()
