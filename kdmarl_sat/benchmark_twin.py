"""``python -m kdmarl_sat.benchmark_twin``: the twin against Basilisk, action by action, and how fast it is.

Every action of flights of every shipped mission is flown in Basilisk and, from the same state, on the twin. Speeds are
decisions per CPU-second of this process, resets and policies not counted, in one run: plain BSK-RL, our loop in
Basilisk, the twin.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.twin.environment import TwinEnv
from envs.basilisk.twin.parity import Parity, compare
from envs.basilisk.twin.worlds import make_worlds
from envs.basilisk.upstream import Decision, chosen_target, plain_environment, replay
from envs.files import write_json
from envs.heuristics import GreedyPolicy, RandomPolicy
from kdmarl_sat.command import sentences
from kdmarl_sat.provenance import provenance
from kdmarl_sat.report.metrics import json_ready
from scenarios.compose import composed
from scenarios.mission import ScenarioConfig

MISSIONS = ("imaging_constellation", "optical_sar", "tip_and_cue", "walker_cities")
SIZES = {4: ("planes=1", "per_plane=4"), 24: ("planes=3", "per_plane=8"), 66: ("planes=6", "per_plane=11")}
WANTED_RATIO = 50.0
_ON_TWIN = 16  # episodes in lockstep


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="kdmarl_sat.benchmark_twin", description=__doc__)
    parser.add_argument("--episodes", type=int, default=3, help="per mission and rule")
    parser.add_argument("--record", type=Path, default=Path("results/benchmark_twin.json"))
    options = parser.parse_args(arguments)
    if options.episodes < 1:
        parser.error(f"--episodes={options.episodes} is not allowed: it must be at least 1")
    with sentences(parser.prog):
        measured = measure(options.episodes)
        options.record.parent.mkdir(parents=True, exist_ok=True)
        write_json(options.record, measured)
    print(json.dumps(measured["measured"], indent=1))


def measure(episodes: int) -> dict[str, Any]:
    work = [(name, "parity") for name in MISSIONS] + [(str(size), "speed") for size in SIZES]
    measured: dict[str, Any] = {"parity": {}, "speed": {}}
    for name, what in track(work, description="the twin against Basilisk"):
        measured[what][name] = parity(name, episodes) if what == "parity" else speed(int(name))
    run = provenance(composed("scenario=imaging_constellation"))
    return {"run": run, "measured": json_ready(measured)}


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
    env, policy = ConstellationEnv(config), RandomPolicy()
    step = env.reset([0])
    policy.reset([0])
    spent = 0.0
    while not (step.terminated | step.truncated).all():
        actions = policy.act(step)
        began = time.process_time()
        step = env.step(actions)
        spent += time.process_time() - began
    decisions = sum(env.results()[0].decisions)
    env.close()
    return decisions / spent


def _on_twin(config: ScenarioConfig) -> float:
    env, policy = TwinEnv(config, make_worlds(config, [0])), RandomPolicy()
    seeds = list(range(_ON_TWIN))
    step = env.reset(seeds)
    policy.reset(seeds)
    spent = 0.0
    while not (step.terminated | step.truncated).all():
        actions = policy.act(step)
        began = time.process_time()
        step = env.step(actions)
        spent += time.process_time() - began
    return float(np.sum([sum(result.decisions) for result in env.results()])) / spent


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


if __name__ == "__main__":
    main()
