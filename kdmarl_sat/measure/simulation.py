"""Our simulation against plain BSK-RL, and its memory over many resets.

Both fly the same decisions of the same episodes in one process, so that machine and load are the same; rewards must be
equal. Speeds are CPU seconds of this process, resets included, network inference not.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.heuristics import GreedyPolicy, RandomPolicy
from envs.basilisk.upstream import Decision, check_comparable, chosen_target, plain_environment, replay
from envs.files import write_json
from kdmarl_sat.missions.report.metrics import json_ready
from kdmarl_sat.provenance import provenance
from scenarios.schema import RunConfig

WANTED_RATIO = 2.5
REWARD_TOLERANCE = 1e-4  # cumulative, float32 against float64


def measure(config: RunConfig, episodes: int, resets: int, record: Path) -> dict[str, Any]:
    """What was measured; the record says beside it of what code and configuration.

    Raises:
        ConfigError: a mission that plain BSK-RL is not built for here.
    """
    check_comparable(config.scenario)
    record.parent.mkdir(parents=True, exist_ok=True)
    measured: dict[str, Any] = {}
    if resets:  # first: plain BSK-RL leaks, in this process too
        measured["memory"] = watch_memory(config, resets)
    measured["speed"] = compare_speed(config, episodes)
    plain: dict[str, Any] = json_ready(measured)
    write_json(record, {"run": provenance(config), **plain})
    return plain


def compare_speed(config: RunConfig, episodes: int) -> dict[str, float | bool]:
    """Decisions per CPU second both ways, and the largest difference of the cumulative reward; infinite, and rewards
    not equal, where steps end at other times."""
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
            difference = max(difference, largest_difference(earned[1:], theirs))
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


def largest_difference(earned: Sequence[tuple[float, float]], theirs: Sequence[tuple[float, float]]) -> float:
    """Of the cumulative reward at the ends of our steps; infinite if one of them is not the end of one of theirs.

    Args:
        earned: (end [s], cumulative reward) of each step of ours.
        theirs: (end [s], reward of the step).
    """
    totals = np.cumsum([reward for _, reward in theirs])
    known = {round(end, 2): float(total) for (end, _), total in zip(theirs, totals, strict=True)}
    return max((abs(known.get(round(end, 2), math.inf) - value) for end, value in earned), default=0.0)


def watch_memory(config: RunConfig, resets: int) -> dict[str, float]:
    """Resident memory of this process after a fifth of the resets and at the end."""
    env = ConstellationEnv(replace(config.scenario, duration_s=60.0))
    policy = RandomPolicy()
    warm = 0.0
    for seed in track(range(resets), description="resets"):
        policy.reset([seed])
        step = env.reset([seed])
        while not (step.terminated | step.truncated).all():
            step = env.step(policy.act(step))
        if seed == resets // 5:
            warm = resident_mib()
    return {"resets": resets, "resident MiB after a fifth": warm, "resident MiB at the end": resident_mib()}


def resident_mib() -> float:
    """Now, not at the worst moment so far."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
