"""The twin against Basilisk, how fast it is, and what the planner makes of it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from envs.api import Policy
from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.episode_result import EpisodeResult
from envs.basilisk.heuristics import GreedyPolicy, RandomPolicy
from envs.basilisk.planner import ForecastPolicy, PlannerPolicy
from envs.basilisk.prospects import episode_bound
from envs.basilisk.twin.environment import TwinEnv
from envs.basilisk.twin.parity import Parity, compare
from envs.basilisk.twin.worlds import make_worlds
from envs.basilisk.upstream import Decision, chosen_target, plain_environment, replay
from envs.files import read_json, write_json
from kdmarl_sat.missions.report.metrics import json_ready
from kdmarl_sat.provenance import provenance
from scenarios.compose import composed
from scenarios.mission import ScenarioConfig
from scenarios.ranges import ConfigError
from scenarios.schema import PlannerConfig, RunConfig
from training.artifact import ROOT
from training.missions.flight import FlightPlan, GuardedPolicy, limits_of
from training.missions.rollout import collect
from training.missions.simulate import Flyer, Job, TeamPlan, episode_seeds, fly, settings_of

MISSIONS = ("imaging_constellation", "optical_sar", "tip_and_cue", "walker_cities")
SIZES = {4: ("planes=1", "per_plane=4"), 24: ("planes=3", "per_plane=8"), 66: ("planes=6", "per_plane=11")}
WANTED_RATIO = 50.0
CLUSTERS_PER_SATELLITE = 15  # and orbit, in constellations of any size
STUDENTS = {
    "KD-MARL LH": ROOT / "results/bundles/imaging_constellation-lh",
    "KD-MARL LH+A": ROOT / "results/bundles/imaging_constellation-lh_a",
}
SEARCH_S = 60.0  # CPU-seconds of neighbourhood search in a larger constellation
_ON_TWIN = 16  # episodes in lockstep


def measure(parts: Sequence[str], episodes: int, record: Path) -> dict[str, Any]:
    """What was measured. In the record it replaces these parts alone, and each part says of what code it is.

    Raises:
        ConfigError: the record holds something else.
    """
    stored = _stored(record)
    sizes = [str(size) for size in SIZES]
    rows = {"parity": MISSIONS, "speed": sizes, "planning": MISSIONS, "size": sizes[1:], "first_tick": MISSIONS[:1]}
    do: dict[str, Callable[[str, int], dict[str, Any]]] = {
        "parity": parity,
        "speed": lambda size, _: speed(int(size)),
        "planning": planning,
        "size": lambda size, _: larger(int(size)),
        "first_tick": first_tick,
    }
    measured: dict[str, Any] = {}
    work = [(part, name) for part in parts for name in rows[part]]
    for part, name in track(work, description="the twin and Basilisk"):
        measured.setdefault(part, {})[name] = do[part](name, episodes)
    plain: dict[str, Any] = json_ready(measured)
    run = dict.fromkeys(parts, provenance(composed("scenario=imaging_constellation")))
    record.parent.mkdir(parents=True, exist_ok=True)
    write_json(record, {"run": stored["run"] | run, "measured": stored["measured"] | plain})
    return plain


def _stored(record: Path) -> dict[str, Any]:
    """What a record holds already: of what code each part is, and what was measured."""
    if not record.exists():
        return {"run": {}, "measured": {}}
    try:
        found = read_json(record)
        if isinstance(found["run"], dict) and isinstance(found["measured"], dict):
            return dict(found)
    except (ValueError, TypeError, KeyError):
        pass
    raise ConfigError(f"record={record} is not allowed: it must be a record of kdmarl-sat measure twin, or a new file")


def parity(name: str, episodes: int) -> dict[str, Any]:
    """Of a mission, under a random policy (all actions, whole turns) and the greedy rule (many images)."""
    config = composed(f"scenario={name}").scenario
    specs, found = ConstellationEnv(config).specs, Parity()
    for seed in range(episodes):
        for policy in (RandomPolicy(), GreedyPolicy(specs)):
            compare(config, policy, seed, found)
    errors = ("attitude_mrp", "rate_rad_s", "wheels_rad_s", "battery_Wh")
    return {
        "actions": found.actions,
        "image attempts": found.images,
        "same outcome": found.same_outcome / found.images,
        "ends in the same tick": found.exact,
        "largest difference in ticks": found.worst_tick,
        **{f"{name}, rms": found.rms(name) for name in errors},
        **{f"{name}, largest": found.largest(name) for name in errors},
    }


def speed(satellites: int) -> dict[str, Any]:
    """Of imaging_constellation with so many satellites, decisions drawn at random."""
    overrides = [f"scenario.constellation.{each}" for each in SIZES[satellites]]
    full = composed("scenario=imaging_constellation", *overrides).scenario
    config = dataclasses.replace(full, foretell=False, teacher_sensing=None)
    rates = {
        "our loop in Basilisk": _in_basilisk(config),
        "twin": _on_twin(config),
        "twin, with the block foretold": _on_twin(full),
    }
    if satellites == 4:
        rates["plain BSK-RL"] = _plain(config)
    ratio = rates["twin"] / rates["our loop in Basilisk"]
    return {"decisions per CPU-second": rates, "twin / our loop": ratio, "wanted": WANTED_RATIO}


def _in_basilisk(config: ScenarioConfig) -> float:
    return _rate(ConstellationEnv(config), [0])


def _on_twin(config: ScenarioConfig) -> float:
    return _rate(TwinEnv(config, make_worlds(config, [0])), list(range(_ON_TWIN)))


def _rate(env: ConstellationEnv | TwinEnv, seeds: list[int]) -> float:
    """Decisions per CPU-second of the environment's steps."""
    policy = RandomPolicy()
    step = env.reset(seeds)
    policy.reset(seeds)
    spent = 0.0
    while not (step.terminated | step.truncated).all():
        actions = policy.act(step)
        began = time.process_time()
        step = env.step(actions)
        spent += time.process_time() - began
    decisions = sum(sum(result.decisions) for result in env.results())
    env.close()
    return decisions / spent


def _plain(config: ScenarioConfig) -> float:
    """The decisions of one of our episodes in plain BSK-RL; its reset is counted, as BSK-RL offers no other way."""
    env, policy = ConstellationEnv(config), RandomPolicy()
    step = env.reset([0])
    policy.reset([0])
    decisions: list[Decision] = []
    while not (step.terminated | step.truncated).all():
        actions = policy.act(step)
        for n in np.nonzero(step.active[0])[0].tolist():
            decisions.append((n, chosen_target(env.episode(0), n, int(actions[0, n]))))
        step = env.step(actions)
    plain = plain_environment(config)
    began = time.process_time()
    replay(plain, 0, decisions)
    return len(decisions) / (time.process_time() - began)


def planning(name: str, episodes: int) -> dict[str, Any]:
    """Mean captured priority of the rules and the planner, beside what is within reach and the proven bound."""
    run = composed(f"scenario={name}")
    env, seeds = ConstellationEnv(run.scenario), episode_seeds("validation", 0, 0, episodes)
    found = _captured(env, run, {"planner": run.planner}, seeds)
    bounds = []
    for seed in seeds:
        env.reset([seed])
        bounds.append(episode_bound(run.scenario, env.episode(0)).value)
    found["upper bound"] = float(np.mean(bounds))
    env.close()
    return found


def larger(satellites: int) -> dict[str, Any]:
    """One episode of imaging_constellation with so many satellites, and as many targets for each.

    The students were distilled in a constellation of four; each satellite takes the network of its kind.
    """
    overrides = [f"scenario.constellation.{each}" for each in SIZES[satellites]]
    run = composed(*overrides, f"scenario.targets.clusters_per_orbit={CLUSTERS_PER_SATELLITE * satellites}")
    searched = dataclasses.replace(run.planner, iterations=10**6, budget_s=SEARCH_S)
    planners = {"planner": run.planner, f"planner and {SEARCH_S:g} CPU-seconds of search": searched}
    env = ConstellationEnv(run.scenario)
    seeds = episode_seeds("validation", 0, 0, 1)
    found = _captured(env, run, planners, seeds)
    env.close()
    for label, bundle in STUDENTS.items():
        team = TeamPlan(tuple(map(tuple, run.scenario.visible)), (), ())
        who = Flyer(plan=team, flight=FlightPlan(bundle, assigned=True))
        began = time.process_time()
        found[label] = fly(Job(run.scenario, who, tuple(seeds), training=False)).results[0].captured
        found[f"{label}, CPU-seconds per episode"] = time.process_time() - began
    return found


def _captured(
    env: ConstellationEnv, run: RunConfig, planners: Mapping[str, PlannerConfig], seeds: Sequence[int]
) -> dict[str, Any]:
    """Mean captured priority of rules and planners, and the CPU-seconds that an episode takes with each."""
    policies: dict[str, Policy] = {
        "greedy + battery": GreedyPolicy(env.specs),
        "global knowledge": GreedyPolicy(env.specs, global_knowledge=True),
        "forecast": ForecastPolicy(env),
        **{label: PlannerPolicy(env, settings_of(planner)) for label, planner in planners.items()},
    }
    found: dict[str, Any] = {"episodes": len(seeds)}
    for label, policy in policies.items():
        began = time.process_time()
        flown = [_flown(env, policy, run.scenario, seed) for seed in seeds]
        found[label] = float(np.mean([result.captured for result in flown]))
        found[f"{label}, CPU-seconds per episode"] = (time.process_time() - began) / len(seeds)
    found["available"] = float(np.mean([result.available for result in flown]))
    return found


def first_tick(name: str, episodes: int) -> dict[str, Any]:
    """What the missing rate error in a task's first tick is worth: forecast and planner on the twin,
    without the guard, as BSK-RL has it, and with a rate error from the first tick on."""
    run = composed(f"scenario={name}")
    worlds, seeds = make_worlds(run.scenario, episode_seeds("validation", 0, 0, episodes)), list(range(5 * episodes))
    found: dict[str, Any] = {"episodes": len(seeds)}
    for at_once in (False, True):
        for world in worlds:
            for each in world.fleet:
                each.record["rate_at_once"] = at_once
        env = TwinEnv(run.scenario, worlds, training=False)
        for label, policy in (
            ("forecast", ForecastPolicy(env)),
            ("planner", PlannerPolicy(env, settings_of(run.planner))),
        ):
            collect(env, policy, seeds)
            captured = float(np.mean([result.captured for result in env.results()]))
            found[f"{label}, {'with' if at_once else 'without'}"] = captured
    return found


def _flown(env: ConstellationEnv, policy: Policy, config: ScenarioConfig, seed: int) -> EpisodeResult:
    limits = limits_of(config, env.specs)
    collect(env, GuardedPolicy(policy, env.specs, limits) if limits else policy, [seed])
    return env.results()[0]
