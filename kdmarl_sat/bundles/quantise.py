"""A float32 bundle becomes an int8 one, its students fine-tuned for it, and both are compared on held-out episodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table

from envs.api import IntArray
from envs.basilisk.environment import ConstellationEnv
from envs.files import write_json
from envs.sensing import Sensing, sense
from kdmarl_sat.console import Console
from kdmarl_sat.missions.report.metrics import json_ready
from kdmarl_sat.provenance import code_versions
from kdmarl_sat.report.statistics import Interval, mean_interval, paired_difference
from onboard import golden, network
from onboard.bundle import Bundle, SatelliteBundle, read_bundle, write_bundle
from onboard.network import Network
from onboard.quantise import quantised
from scenarios.memory import available_bytes, check_workers
from scenarios.mission import ScenarioConfig
from scenarios.quantise import QuantiseRunConfig
from scenarios.ranges import ConfigError
from scenarios.schema import to_dict
from training.missions.export import onboard_network, students_of
from training.missions.flight import FlightPlan, onboard_spec
from training.missions.loops import Pool, Sampler, quantise_students
from training.missions.networks import Team
from training.missions.rollout import Decisions, Rollout, concatenate, decisions
from training.missions.simulate import HELD_OUT, Flown, Flyer, Ground, TeamPlan, episode_seeds, jobs, worker_pool

WANTED_AGREEMENT = 0.99


def quantise(config: QuantiseRunConfig, folder: Path) -> dict[str, Any]:
    """Write the int8 bundle, and what it lost into ``folder``.

    Raises:
        ValueError: (subclasses of ours) anything that the user can mend, in one sentence.
    """
    scenario, out = config.scenario, Path(config.out)
    if out.exists():
        raise ConfigError(f"out={config.out} is not allowed: it must be a folder that does not exist yet")
    specs = ConstellationEnv(scenario).specs
    sensings = [sense(spec, blocks) for spec, blocks in zip(specs, scenario.visible, strict=True)]
    bundle = read_bundle(config.bundle, expect=[onboard_spec(sensing) for sensing in sensings])
    students = students_of(bundle, sensings)
    plan = TeamPlan(
        tuple(map(tuple, scenario.visible)),
        tuple((n,) for n in range(len(specs))),
        tuple(student.hidden for student in students.members),
    )
    check_workers(config.compute, scenario.constellation.size, available_bytes())
    with worker_pool(config.compute) as pool, Console() as console:
        with console.stage("int8: fine-tuning") as progress:
            ground = Ground(scenario, (), config.compute.episodes_per_job)
            tuned = quantise_students(students, Sampler(plan, ground, pool), config.quantise, config.seed, progress)
        origin = {**code_versions(), "seed": config.seed, "quantise": to_dict(config.quantise)}
        after = int8_bundle(bundle, sensings, tuned)
        write_bundle(out, bundle.scenario, after, {**bundle.provenance, "quantised": origin})
        flights = {
            dtype: _fly(Path(path), plan, config, pool, console, dtype)
            for dtype, path in (("float32", config.bundle), ("int8", config.out))
        }
        result = {
            "format": "kdmarl_sat.quantise",
            "version": 1,
            "run": {**code_versions(), "bundle": bundle.provenance},
            "config": to_dict(config),
            **comparison(bundle, after, sensings, flights, scenario),
        }
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "quantise.json", json_ready(result))
        if config.output.records_dir is not None:
            records = Path(config.output.records_dir)
            records.mkdir(parents=True, exist_ok=True)
            write_json(records / f"{out.name}.json", json_ready(result))
        console.show(tables(result))
        console.say(f"int8 bundle: {out}; quantise.json: {folder}")
    return result


def int8_bundle(bundle: Bundle, sensings: Sequence[Sensing], tuned: Team) -> list[SatelliteBundle]:
    """The satellites with new weights and new golden answers; the questions, budget and fallback stay."""
    by_name = {each.spec.name: each for each in bundle.satellites}
    satellites = []
    for sensing, actor in zip(sensings, tuned.members, strict=True):
        before, weights = by_name[sensing.spec.name], onboard_network(actor)
        recorded = golden.record(weights, before.spec, before.golden.obs, before.golden.mask)
        satellites.append(dataclasses.replace(before, network=weights, golden=recorded))
    return satellites


def _fly(
    bundle: Path, plan: TeamPlan, config: QuantiseRunConfig, pool: Pool, console: Console, dtype: str
) -> list[Flown]:
    seeds = episode_seeds(HELD_OUT, 0, 0, config.episodes)
    who = Flyer(plan=plan, flight=FlightPlan(bundle.absolute()))
    parts: list[Flown] = []
    with console.stage(f"flight, {dtype}") as progress:
        for part in pool.map(jobs(config.scenario, who, seeds, config.compute, training=False)):
            parts.append(part)
            captured = [result.captured for flown in parts for result in flown.results]
            progress(len(captured) / len(seeds), f"captured {np.mean(captured):.1f}")
    return parts


def comparison(
    bundle: Bundle,
    after: Sequence[SatelliteBundle],
    sensings: Sequence[Sensing],
    flights: Mapping[str, Sequence[Flown]],
    scenario: ScenarioConfig,
) -> dict[str, Any]:
    """Bytes and equal actions per satellite, and what both bundles earned on the same episodes.

    Actions are compared on the decisions that the float32 bundle flew, each network with a memory of its own; "rounded"
    is int8 without fine-tuning.
    """
    by_name = {each.spec.name: each for each in bundle.satellites}
    rollout = concatenate([flown.rollout for flown in flights["float32"]])
    made = decisions(rollout, 1.0)
    satellites: list[dict[str, Any]] = []
    for n, (sensing, tuned) in enumerate(zip(sensings, after, strict=True)):
        before = by_name[sensing.spec.name]
        wanted = _choices(before.network, sensing, made, n)
        satellites.append(
            {
                "name": before.spec.name,
                "hidden": before.network.design.hidden,
                "decisions": len(wanted),
                "equal_rounded": int((_choices(quantised(before.network), sensing, made, n) == wanted).sum()),
                "equal_tuned": int((_choices(tuned.network, sensing, made, n) == wanted).sum()),
                **{
                    f"{what}_{each.network.design.dtype.value}": count(each.spec, each.network.design)
                    for each in (before, tuned)
                    for what, count in (("bytes", network.count_bytes), ("ram_bytes", network.count_ram_bytes))
                },
            }
        )
    total = sum(each["decisions"] for each in satellites)
    equal = {way: sum(each[f"equal_{way}"] for each in satellites) / total for way in ("rounded", "tuned")}
    earned = {dtype: _earned(parts) for dtype, parts in flights.items()}
    intervals = {
        what: {
            **{dtype: dataclasses.asdict(mean_interval(values[what])) for dtype, values in earned.items()},
            "difference": dataclasses.asdict(paired_difference(earned["int8"][what], earned["float32"][what])),
        }
        for what in ("return", "captured")
    }
    return {
        "satellites": satellites,
        "agreement": {**equal, "wanted": WANTED_AGREEMENT, "met": equal["tuned"] >= WANTED_AGREEMENT},
        "episodes": {"duration_s": scenario.duration_s, **earned},
        "intervals": intervals,
    }


def _choices(weights: Network, sensing: Sensing, made: Decisions, agent: int) -> IntArray:
    """A network's greedy choices on an agent's recorded decisions, episode after episode."""
    chosen = []
    for episode in range(made.valid.shape[1]):
        asked = made.valid[:, episode, agent]
        obs, mask = made.obs[asked, episode, agent][:, sensing.columns], made.mask[asked, episode, agent]
        chosen.append(golden.record(weights, onboard_spec(sensing), obs, mask).action)
    return np.concatenate(chosen)


def _earned(parts: Sequence[Flown]) -> dict[str, list[float]]:
    """Per episode: the team's return, penalties included, the captured priority, and satellites lost."""
    rollouts: list[Rollout] = [flown.rollout for flown in parts]
    results = [result for flown in parts for result in flown.results]
    return {
        "return": [float(value) for rollout in rollouts for value in rollout.reward.sum(0)],
        "captured": [result.captured for result in results],
        "lost": [float(result.deaths) for result in results],
    }


def tables(result: Mapping[str, Any]) -> Group:
    """What int8 saves and costs."""
    episodes, agreement, satellites = result["episodes"], result["agreement"], result["satellites"]
    wanted = f"{agreement['wanted']:.0%}: {'met' if agreement['met'] else 'NOT MET'}"
    saved = _table(
        "float32 and int8", f"equal actions: on decisions flown in float32; after fine-tuning wanted {wanted}"
    )
    for heading in ("satellite", "units", "weights, bytes", "RAM, bytes", "equal actions: rounded", "fine-tuned"):
        saved.add_column(heading, justify="left" if heading == "satellite" else "right")
    for each in satellites:
        sizes = [f"{each[f'{what}_float32']:,} → {each[f'{what}_int8']:,}" for what in ("bytes", "ram_bytes")]
        equal = [f"{each[way] / each['decisions']:.2%}" for way in ("equal_rounded", "equal_tuned")]
        saved.add_row(each["name"], str(each["hidden"]), *sizes, *equal)
    saved.add_row("all", "", "", "", f"{agreement['rounded']:.2%}", f"{agreement['tuned']:.2%}")

    flown = len(episodes["int8"]["captured"])
    lost = _table(
        f"{flown} held-out episodes of {episodes['duration_s']:g} s", "intervals: 95 %, bootstrap over episodes"
    )
    for heading in ("per episode", "float32", "int8", "difference, paired"):
        lost.add_column(heading, justify="left" if heading == "per episode" else "right")
    for what, label in (("return", "team return"), ("captured", "captured priority")):
        cells = [Interval(**result["intervals"][what][name]) for name in ("float32", "int8", "difference")]
        lost.add_row(label, *(f"{cell.estimate:.2f} [{cell.low:.2f}, {cell.high:.2f}]" for cell in cells))
    deaths = [sum(episodes[dtype]["lost"]) / flown for dtype in ("float32", "int8")]
    lost.add_row("satellites lost", *(f"{each:.2f}" for each in (*deaths, deaths[1] - deaths[0])))
    return Group(saved, lost)


def _table(title: str, caption: str) -> Table:
    return Table(
        title=title, title_justify="left", caption=caption, caption_justify="left", box=SIMPLE_HEAD, pad_edge=False
    )
