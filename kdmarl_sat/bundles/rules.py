"""``kdmarl-sat fly policy=NAME``: a policy that needs no training, and the schedule that it makes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from envs.basilisk.completion import mean_completion
from envs.basilisk.features import agent_specs
from envs.basilisk.twin.mirrored import planner_fault
from envs.files import write_json
from envs.sensing import sense
from kdmarl_sat.bundles.deliver import deliver
from kdmarl_sat.console import Console
from kdmarl_sat.missions.flights import HEURISTICS
from kdmarl_sat.missions.report.metrics import json_ready
from kdmarl_sat.provenance import code_versions
from onboard.authentic import Trust
from onboard.bundle import read_bundle
from onboard.flightlog import Kind
from onboard.runners import choose
from scenarios.memory import available_bytes, check_workers
from scenarios.onboard_sim import OnboardSimConfig
from scenarios.ranges import ConfigError
from scenarios.schema import to_dict
from training.missions.assign import assigned
from training.missions.flight import FlightPlan, onboard_spec
from training.missions.simulate import (
    HELD_OUT,
    ON_TWIN,
    Flown,
    Flyer,
    Heuristic,
    episode_seeds,
    jobs,
    settings_of,
    worker_pool,
)

RECORD = "flight.json"


def fly_rule(config: OnboardSimConfig, folder: Path) -> dict[str, Any]:
    """Fly the policy under the satellites' guards; write everything into ``folder``.

    Raises:
        ValueError: (subclasses of ours) anything that the user can mend, in one sentence.
    """
    assert config.policy is not None and config.episodes is not None
    scenario, which = config.scenario, Heuristic(config.policy.value)
    if which in ON_TWIN and (fault := planner_fault(scenario)):
        raise ConfigError(f"policy={which.value} is not allowed: {fault}")
    check_workers(config.compute, scenario.constellation.size, available_bytes())
    planner = settings_of(config.planner) if which is Heuristic.planner else None
    seeds = episode_seeds(HELD_OUT, 0, 0, config.episodes)
    shadow = None if config.shadow is None else _shadow(config)
    who = Flyer(heuristic=which, planner=planner, shadow=shadow)
    work = jobs(scenario, who, seeds, config.compute, training=False, traced=1)
    parts: list[Flown] = []
    with worker_pool(config.compute) as pool, Console() as console:
        with console.stage(f"flight: {HEURISTICS[which]}") as progress:
            for part in pool.map(work):
                parts.append(part)
                done = [result.captured for flown in parts for result in flown.results]
                progress(len(done) / len(seeds), f"captured {np.mean(done):.1f}")
        result = {
            "run": code_versions(),
            "config": to_dict(config),
            "policy": which.value,
            "episodes": [dataclasses.asdict(each) for part in parts for each in part.results],
            "overrides": [count for part in parts for count in part.overrides],
        }
        folder.mkdir(parents=True, exist_ok=True)
        deliver(parts, scenario, HEURISTICS[which], config.output.schedules, folder)
        logs = [log for part in parts for log in part.logs]
        for episode, log in enumerate(logs):
            log.write(folder / f"flight_log_shadow_{episode}.jsonl")
        if logs:
            counts = {kind: sum(log.counts()[kind] for log in logs) for kind in (Kind.AGREED, Kind.DIFFERED)}
            result["shadow"] = {"bundle": config.shadow, **{kind.value: count for kind, count in counts.items()}}
        write_json(folder / RECORD, json_ready(result))
        console.show(table(parts, HEURISTICS[which]))
        if logs:
            console.say(f"shadow: agreed in {counts[Kind.AGREED]} decisions, differed in {counts[Kind.DIFFERED]}")
        console.say(f"schedule, targets, flight and {RECORD}: {folder}")
    return result


def _shadow(config: OnboardSimConfig) -> FlightPlan:
    """
    Raises:
        ValueError: (subclasses of ours) the bundle is damaged, or does not fit the mission.
    """
    assert config.shadow is not None
    path, scenario = Path(config.shadow).absolute(), config.scenario
    sensings = [sense(spec, blocks) for spec, blocks in zip(agent_specs(scenario), scenario.visible, strict=True)]
    trust = trust_of(config)
    assigned(read_bundle(path, trust=trust), [onboard_spec(each) for each in sensings], config.shadow)
    runner = "reference" if choose.native_fault() else "native"
    return FlightPlan(path, runner, deadline_ms=config.deadline_ms, trust=trust, assigned=True)


def trust_of(config: OnboardSimConfig) -> Trust | None:
    """The configured key, and the newest bundle that it has accepted; None where no key is configured."""
    if config.key is None:
        return None
    return Trust(Path(config.key).absolute(), Path(config.ledger or f"{config.key}.accepted").absolute())


def table(parts: Sequence[Flown], label: str) -> Table:
    """What the episodes came to, in the mean."""
    results = [result for part in parts for result in part.results]
    overrides = [count for part in parts for count in part.overrides]
    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    shown.add_column(f"{len(results)} episode{'s' if len(results) > 1 else ''}")
    shown.add_column(label, justify="right")
    rows: dict[str, Sequence[float]] = {
        "captured priority": [result.captured for result in results],
        "priority within reach": [result.available for result in results],
        "images": [sum(result.images) for result in results],
        "duplicates": [result.duplicates for result in results],
        "satellites lost": [result.deaths + result.failures for result in results],
        "guard's overrides": overrides or [0],
    }
    for name, values in rows.items():
        shown.add_row(name, f"{np.mean(values):.1f}")
    if done := mean_completion([result.completion for result in results]):
        shown.add_row("targets done (CR)", f"{done.CR:.1%}")
        shown.add_row("release to image (TAT)", "–" if done.TAT_s is None else f"{done.TAT_s:.0f} s")
    return shown
