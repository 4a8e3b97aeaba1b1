"""A bundle flies in closed loop with Basilisk: what it earned, decided, missed and cost, with its schedule.

``policy=NAME`` flies a rule instead (rules.py).
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from envs.basilisk.completion import mean_completion
from envs.basilisk.features import agent_specs
from envs.basilisk.twin.library import fault as twin_library_fault
from envs.files import write_json, write_whole
from envs.sensing import sense
from kdmarl_sat.bundles.deliver import deliver
from kdmarl_sat.bundles.rules import fly_rule, trust_of
from kdmarl_sat.console import Console
from kdmarl_sat.missions.report.flight_events import events_figure
from kdmarl_sat.missions.report.metrics import json_ready
from kdmarl_sat.provenance import code_versions
from kdmarl_sat.report.render import png
from onboard import emulation
from onboard.budget import Measurement, estimate
from onboard.bundle import Bundle, read_bundle
from onboard.flightlog import Kind
from onboard.processors import Processor
from onboard.runners import choose
from onboard.runners.isolated import IsolatedRunner
from scenarios.memory import available_bytes, check_workers
from scenarios.mission import ScenarioConfig
from scenarios.onboard_sim import OnboardSimConfig, RunnerKind
from scenarios.ranges import ConfigError, check
from scenarios.schema import to_dict
from training.missions.assign import assigned, networks_for
from training.missions.export import processor_of
from training.missions.flight import FlightPlan, onboard_spec
from training.missions.simulate import HELD_OUT, Flown, Flyer, TeamPlan, episode_seeds, jobs, worker_pool

# What the flight log counts, as the table says it.
SHOWN = {
    Kind.DECISION: "decisions by the network",
    Kind.LATE: "missed deadlines",
    Kind.FAILED: "runners broken down",
    Kind.RESPAWNED: "runners started again",
    Kind.UPSET: "weight upsets detected",
    Kind.BAD_OUTPUT: "unusable answers",
    Kind.BAD_OBSERVATION: "unusable observations",
    Kind.FALLBACK: "fallback actions",
    Kind.OVERRIDE: "guard's overrides",
    Kind.SAFE_MODE: "satellites in safe mode",
}


def simulate(config: OnboardSimConfig, folder: Path) -> dict[str, Any]:
    """Fly the bundle with the faults, and without them to compare; write everything into ``folder``.

    Raises:
        ValueError: (subclasses of ours) anything that the user can mend, in one sentence.
    """
    if config.policy is not None:
        return fly_rule(config, folder)
    assert config.bundle is not None and config.episodes is not None
    scenario, path = config.scenario, Path(config.bundle).absolute()
    trust = trust_of(config)
    read = read_bundle(path, trust=trust)
    sensings = [sense(spec, blocks) for spec, blocks in zip(agent_specs(scenario), scenario.visible, strict=True)]
    specs = [onboard_spec(each) for each in sensings]
    of = "" if read.scenario == scenario.name else f" (made for scenario={read.scenario})"
    networks = [each.spec.name for each in networks_for(read.satellites, specs, f"{config.bundle}{of}")]
    bundle = assigned(read, specs, config.bundle)
    named = config.processor
    own = None if named is None else processor_of(named, config.processors, "processor")
    processors = [own or each.budget.processor for each in bundle.satellites]
    costs = [
        estimate(each.spec, each.network.design, processor)
        for each, processor in zip(bundle.satellites, processors, strict=True)
    ]
    sensed = {block for blocks in scenario.visible for block in blocks}
    if "foretold" in sensed and (fault := twin_library_fault()):
        raise ConfigError(f"bundle={config.bundle} senses the block foretold, which is not computed here: {fault}")
    _check_names(config, bundle)
    team = TeamPlan(tuple(map(tuple, scenario.visible)), (), ())
    plan = FlightPlan(
        path,
        config.runner.value,
        config.target,
        config.deadline_ms,
        fault_seed=config.seed,
        trust=trust,
        assigned=True,
        recorded=config.record,
    )
    flights: dict[str, list[Flown]] = {}
    check_workers(config.compute, scenario.constellation.size, available_bytes())
    with worker_pool(config.compute) as pool, Console() as console:
        if config.runner is RunnerKind.native and (fault := choose.native_fault()):
            console.say(f"{fault}; flying with the reference runner")
            plan = dataclasses.replace(plan, runner=RunnerKind.reference.value)
        isolation = _isolation(bundle) if config.runner is RunnerKind.isolated else None
        if isolation is not None:
            console.say(f"isolated: limits applied: {', '.join(isolation['applied'])}")
            if isolation["missing"]:
                console.say(f"isolated: NOT applied here: {', '.join(isolation['missing'])}")
        faulty = dataclasses.replace(plan, faults=config.faults)
        wanted = {"nominal": plan} if config.nominal or not config.faults.any else {}
        for name, way in (wanted | ({"with faults": faulty} if config.faults.any else {})).items():
            seeds = episode_seeds(HELD_OUT, 0, 0, config.episodes)
            work = jobs(scenario, Flyer(plan=team, flight=way), seeds, config.compute, training=False, traced=1)
            flights[name] = []
            with console.stage(f"flight, {name}") as progress:
                for part in pool.map(work):
                    flights[name].append(part)
                    done = [result.captured for flown in flights[name] for result in flown.results]
                    progress(len(done) / len(seeds), f"captured {np.mean(done):.1f}")
        result = {
            "run": {**code_versions(), "runner": plan.runner, "isolation": isolation, "bundle": bundle.provenance},
            "config": to_dict(config),
            "networks": dict(zip((spec.name for spec in specs), networks, strict=True)),
            "costs": [dataclasses.asdict(cost) for cost in costs],
            "flights": {name: summary(scenario, bundle, parts, costs) for name, parts in flights.items()},
        }
        folder.mkdir(parents=True, exist_ok=True)
        for index, (name, parts) in enumerate(flights.items()):
            stem = name.replace(" ", "_")
            deliver(
                parts, scenario, f"{path.name}, {name}", config.output.schedules, folder, f"-{stem}" if index else ""
            )
            logs = [log for part in parts for log in part.logs]
            for episode, log in enumerate(logs):
                log.write(folder / f"flight_log_{stem}_{episode}.jsonl")
            if config.record:
                write_whole(folder / f"flight_record_{stem}_0.jsonl", parts[0].recordings[0].encode())
            figure = events_figure(logs[0], [each.spec.name for each in bundle.satellites], scenario.duration_s)
            write_whole(folder / f"events_{stem}.png", png(figure))
        write_json(folder / "onboard_sim.json", json_ready(result))
        console.show(table(result, processors))
        if networks != [spec.name for spec in specs]:
            console.say("networks: " + "; ".join(told_networks(networks, [spec.name for spec in specs])))
        console.say(f"schedule, targets, flight, logs, figures and onboard_sim.json: {folder}")
    return result


def told_networks(networks: Sequence[str], satellites: Sequence[str]) -> list[str]:
    """Each network, and the satellites that fly it."""
    flown: dict[str, list[str]] = {}
    for network, satellite in zip(networks, satellites, strict=True):
        flown.setdefault(network, []).append(satellite)
    return [f"{network} flies {', '.join(names)}" for network, names in flown.items()]


def _check_names(config: OnboardSimConfig, bundle: Bundle) -> None:
    """
    Raises:
        ConfigError: a name that nothing is found by.
    """
    check("target", config.target, config.target in emulation.TARGETS, f"one of {', '.join(emulation.TARGETS)}")
    sensed = dict.fromkeys(block.name for each in bundle.satellites for block in each.spec.blocks)
    block = config.faults.block
    allowed = f"a block that a satellite of the bundle senses: {', '.join(sensed)}, or null for a random one"
    check("faults.block", block, block is None or block in sensed, allowed)


def _isolation(bundle: Bundle) -> dict[str, tuple[str, ...]]:
    """Which limits a worker of this bundle could take on itself on this machine, and which not."""
    first = bundle.satellites[0]
    with IsolatedRunner(first.network, first.spec, first.budget.deadline_ms) as runner:
        return {"applied": runner.applied, "missing": runner.missing}


def summary(
    scenario: ScenarioConfig, bundle: Bundle, parts: Sequence[Flown], costs: Sequence[Measurement]
) -> dict[str, Any]:
    """What a flight came to; energy is modelled, latency is this machine's wall clock."""
    results = [result for part in parts for result in part.results]
    logs = [log for part in parts for log in part.logs]
    injected = sum((Counter(counted) for part in parts for counted in part.injected), Counter[str]())
    decisions = np.mean([result.decisions for result in results], axis=0)
    per_orbit = decisions / scenario.duration_s * orbit_s(scenario.constellation.altitude_km)
    latency_us = [[us for part in parts for us in part.latencies_us[n]] for n in range(len(bundle.satellites))]
    return {
        "captured": [result.captured for result in results],
        "completion": mean_completion([result.completion for result in results]),
        "deaths": sum(result.deaths for result in results),
        "events": {kind.value: sum(log.counts()[kind] for log in logs) for kind in Kind},
        "injected": dict(sorted(injected.items())),
        "satellites": [
            {
                "name": each.spec.name,
                "decisions_per_orbit": float(per_orbit[n]),
                "latency_us": _spread(latency_us[n]),
                "energy_per_decision_mj": costs[n].energy_mj,
                "energy_per_orbit_mj": float(costs[n].energy_mj * per_orbit[n]),
            }
            for n, each in enumerate(bundle.satellites)
        ],
    }


def orbit_s(altitude_km: float) -> float:
    """Period of a circular orbit (Kepler's third law)."""
    return float(2 * np.pi * np.sqrt((6378.1366e3 + 1e3 * altitude_km) ** 3 / 3.986004418e14))


def _spread(latency_us: Sequence[float]) -> dict[str, float] | None:
    if not latency_us:
        return None
    return {"median": float(np.median(latency_us)), "p99": float(np.percentile(latency_us, 99))}


def table(result: dict[str, Any], processors: Sequence[Processor]) -> Table:
    """The flights side by side."""
    flights: dict[str, Any] = result["flights"]
    shown = Table(
        title=f"{len(next(iter(flights.values()))['captured'])} episodes, runner={result['run']['runner']}",
        title_justify="left",
        caption="latency: wall clock of this machine, the whole executor's; energy: modelled on "
        + ", ".join(dict.fromkeys(processor.name for processor in processors)),
        caption_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    shown.add_column("")
    for name in flights:
        shown.add_column(name, justify="right")
    rows: dict[str, list[str]] = {
        "captured priority per episode": [f"{np.mean(flight['captured']):.1f}" for flight in flights.values()],
        "satellites lost": [str(flight["deaths"]) for flight in flights.values()],
    }
    for kind, label in SHOWN.items():
        counts = [flight["events"][kind.value] for flight in flights.values()]
        if any(counts) or kind in (Kind.DECISION, Kind.LATE, Kind.FALLBACK):
            rows[label] = [str(count) for count in counts]
    for fault in sorted({name for flight in flights.values() for name in flight["injected"]}):
        rows[f"injected: {fault}"] = [str(flight["injected"].get(fault, 0)) for flight in flights.values()]
    for index, satellite in enumerate(next(iter(flights.values()))["satellites"]):
        each = [flight["satellites"][index] for flight in flights.values()]
        rows[f"{satellite['name']}: latency, median (99 %)"] = [
            "–" if s["latency_us"] is None else f"{s['latency_us']['median']:.0f} ({s['latency_us']['p99']:.0f}) µs"
            for s in each
        ]
        rows[f"{satellite['name']}: energy per decision, orbit"] = [
            f"{s['energy_per_decision_mj']:.3g} mJ, {s['energy_per_orbit_mj'] / 1000:.3g} J" for s in each
        ]
    for label, cells in rows.items():
        shown.add_row(label, *cells)
    return shown
