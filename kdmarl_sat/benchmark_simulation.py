"""``python -m kdmarl_sat.benchmark_simulation``: our simulation against plain BSK-RL, and its memory over many resets.

Both fly the same decisions of the same episodes in one process, so that machine and load are the same; rewards must be
equal. Speeds are CPU seconds of this process, resets included, network inference not.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.progress import track

from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.upstream import Decision, chosen_target, plain_environment, replay
from envs.heuristics import GreedyPolicy, RandomPolicy
from kdmarl_sat.provenance import provenance
from scenarios.compose import composed
from scenarios.schema import RunConfig
from training.artifact import write_json

WANTED_RATIO = 2.5
REWARD_TOLERANCE = 1e-4  # cumulative, float32 against float64


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="kdmarl_sat.benchmark_simulation", description=__doc__)
    parser.add_argument("overrides", nargs="*", help="as for kdmarl_sat.run, e.g. scenario.duration_s=5700")
    parser.add_argument("--episodes", type=int, default=5, help="episodes flown both ways")
    parser.add_argument("--resets", type=int, default=300, help="short episodes over which memory is watched; 0: none")
    parser.add_argument("--record", type=Path, default=Path("results/benchmark_simulation.json"))
    options = parser.parse_args(arguments)
    config = composed(*options.overrides)
    record = {"run": provenance(config), "speed": compare_speed(config, options.episodes)}
    if options.resets:
        record["memory"] = watch_memory(config, options.resets)
    options.record.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.record, record)
    print(json.dumps({name: value for name, value in record.items() if name != "run"}, indent=1))


def compare_speed(config: RunConfig, episodes: int) -> dict[str, float | bool]:
    """Decisions per CPU second both ways, and the largest difference of the cumulative reward."""
    scenario = config.scenario
    env = ConstellationEnv(scenario)
    policy = GreedyPolicy(env.specs, global_knowledge=True)
    plain = plain_environment(scenario)
    retasked = plain_environment(scenario, retasked_only=True)
    seconds = {"ours": 0.0, "plain": 0.0, "plain, observing only who is retasked": 0.0}
    count, difference = 0, 0.0
    for seed in track(range(episodes), description="episodes"):
        decisions: list[Decision] = []
        earned = [(0.0, 0.0)]
        start, heuristic = time.process_time(), 0.0
        step = env.reset([seed])
        while not (step.terminated | step.truncated).all():
            paused = time.process_time()
            actions = policy.act(step)
            for n in np.nonzero(step.active[0])[0].tolist():
                decisions.append((n, chosen_target(env.episode(0), n, int(actions[0, n]))))
            heuristic += time.process_time() - paused
            step = env.step(actions)
            captured = sum(env.results()[0].captured_by)
            earned.append((earned[-1][0] + float(step.duration_s[0]), captured))
        seconds["ours"] += time.process_time() - start - heuristic
        count += len(decisions)
        for name, environment in (("plain", plain), ("plain, observing only who is retasked", retasked)):
            start = time.process_time()
            theirs = replay(environment, seed, decisions)
            seconds[name] += time.process_time() - start
            ends, totals = zip(*theirs, strict=True)
            known = dict(zip(np.round(ends, 2), np.cumsum(totals), strict=True))
            difference = max(difference, *(abs(known[round(end, 2)] - value) for end, value in earned[1:]))
    rates = {f"decisions per CPU second, {name}": count / value for name, value in seconds.items()}
    ratio = seconds["plain"] / seconds["ours"]
    return {
        **rates,
        "decisions": count,
        "ratio to plain": ratio,
        "ratio to plain, observing only who is retasked": seconds["plain, observing only who is retasked"]
        / seconds["ours"],
        "wanted ratio": WANTED_RATIO,
        "largest difference of cumulative reward": difference,
        "rewards equal": difference < REWARD_TOLERANCE,
        "met": ratio >= WANTED_RATIO and difference < REWARD_TOLERANCE,
    }


def watch_memory(config: RunConfig, resets: int) -> dict[str, float]:
    """Peak resident memory of this process after a fifth of the resets and at the end."""
    config.scenario.duration_s = 60.0
    env = ConstellationEnv(config.scenario)
    policy = RandomPolicy()
    warm = 0.0
    for seed in track(range(resets), description="resets"):
        policy.reset([seed])
        step = env.reset([seed])
        while not (step.terminated | step.truncated).all():
            step = env.step(policy.act(step))
        if seed == resets // 5:
            warm = _peak_mib()
    return {"resets": resets, "peak MiB after a fifth": warm, "peak MiB at the end": _peak_mib()}


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
