"""A run's policies flown in missions that they were not trained for, and what becomes of them there."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import torch

from envs.basilisk.episode_result import EpisodeResult
from envs.files import read_json, write_json, write_whole
from kdmarl_sat.console import Console
from kdmarl_sat.missions.flights import HEURISTICS, fly, fly_rule, rules
from kdmarl_sat.missions.mission import mission_of
from kdmarl_sat.missions.pipeline import policies
from kdmarl_sat.missions.records import RecordError
from kdmarl_sat.missions.report.metrics import json_ready
from kdmarl_sat.missions.report.transfer import Flight, figure, markdown, short_name, table
from kdmarl_sat.missions.variations import apart
from kdmarl_sat.provenance import provenance
from kdmarl_sat.report.render import png
from scenarios.folders import check_folder, check_writable
from scenarios.memory import available_bytes, check_workers
from scenarios.mission import ScenarioConfig
from scenarios.schema import RunConfig, to_dict
from training.missions.simulate import TeamPlan, flyer, worker_pool

FORMAT = "kdmarl_sat.transfer"
VERSION = 1
RECORD = "transfer.json"


def folder_name(run: RunConfig, asked: Sequence[str]) -> str:
    """The run, and the last part of each override: another question does not overwrite this one's answer."""
    parts = []
    for override in asked:
        key, _, value = override.partition("=")
        parts.append(short_name(key) + ("" if len(apart(value)) > 1 else f"-{value}"))
    return re.sub(r"[^\w.-]+", "_", "-".join([run.scenario.name, run.preset, f"seed{run.seed}", *parts]))[:200]


def work(
    run: RunConfig,
    missions: dict[str, ScenarioConfig],
    out: Path,
    bundles: Mapping[str, Path] = MappingProxyType({}),
) -> list[Flight]:
    """Fly all policies in all missions; leaves transfer.json, transfer.md and transfer.png in ``out``."""
    check_writable(run.output)
    check_folder(f"out={out}", out)
    for scenario in missions.values():
        check_workers(run.compute, scenario.constellation.size, available_bytes())
    torch.set_num_threads(run.compute.threads)
    origin = provenance(run)
    flights: list[Flight] = []
    with worker_pool(run.compute) as pool, Console() as console:
        trained = policies(mission_of(run, pool, console, origin), bundles)
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
    return TeamPlan(tuple(plan.visible[agent] for agent in like), tuple(map(tuple, groups)), plan.hidden, plan.by_kind)
