"""The upper bound: against every sequence of tiny instances, and against flights in Basilisk."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from envs.basilisk.bound import Prospect, Quota, Turns, upper_bound
from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.heuristics import GreedyPolicy
from envs.basilisk.prospects import episode_bound, prospects
from scenarios.compose import composed
from scenarios.mission import ScenarioConfig
from training.missions.flight import GuardedPolicy, limits_of

TICKS = 12


def prospect(captures: dict[int, list[int]], **facts: object) -> Prospect:
    """captures: ticks by target. Targets lie on a circle, a radian apart."""
    pairs = sorted((tick, target) for target, ticks in captures.items() for tick in ticks)
    target = np.array([target for _, target in pairs], np.int64)
    direction = np.stack([np.cos(target), np.sin(target), 0.0 * target], axis=-1)
    return Prospect(target, np.array([tick for tick, _ in pairs], np.int32), direction, **facts)  # type: ignore[arg-type]


def sequences(one: Prospect) -> list[tuple[int, ...]]:
    """Every sequence of captures that a satellite can make, as indices."""
    turns, found = one.turns, [()]

    def fits(chosen: tuple[int, ...]) -> bool:
        for a, b in itertools.combinations(chosen, 2):
            angle = float(np.arccos(np.clip(one.direction[a] @ one.direction[b], -1, 1)))
            least = one.least_ticks
            if turns is not None:
                least = max(least, int(turns.ticks[turns.angle_rad <= angle + 1e-9].max()))
            if one.tick[b] - one.tick[a] < least or one.target[a] == one.target[b]:
                return False
        ticks = one.tick[list(chosen)]
        return all(int(((ticks >= q.first) & (ticks <= q.last)).sum()) <= q.most for q in one.quotas)

    for size in range(1, 5):
        found += [chosen for chosen in itertools.combinations(range(len(one.tick)), size) if fits(chosen)]
    return found


def optimum(priority: NDArray[np.float64], fleet: list[Prospect]) -> float:
    """By enumeration of every choice of every satellite."""
    plans = [{frozenset(one.target[list(chosen)].tolist()) for chosen in sequences(one)} for one in fleet]
    return max(float(priority[list(frozenset().union(*choice))].sum()) for choice in itertools.product(*plans))


@pytest.mark.parametrize("seed", range(12))
def test_no_sequence_beats_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    priority = rng.uniform(0.1, 1.0, 4)
    turns = Turns(np.array([0.0, 0.5, 1.5]), np.array([1, 3, 6], np.int32)) if seed % 2 else None
    fleet = []
    for _ in range(2):
        captures = {j: sorted(rng.choice(TICKS, 2, replace=False).tolist()) for j in range(4) if rng.random() < 0.8}
        quotas = (Quota(3, 9, 1),) if seed % 3 == 0 else ()
        fleet.append(prospect(captures, least_ticks=2, quotas=quotas, turns=turns))
    best, bound = optimum(priority, fleet), upper_bound(priority, fleet, TICKS, 300)
    assert best - 1e-9 <= bound.value <= bound.reachable + 1e-9


def test_one_of_two_at_the_same_time() -> None:
    """Both are open at one tick only: the better one counts. The relaxation is exact here."""
    bound = upper_bound(np.array([0.7, 0.4]), [prospect({0: [3], 1: [4]})], TICKS)
    assert bound.value == pytest.approx(0.7, abs=1e-3)
    assert bound.reachable == pytest.approx(1.1)
    assert upper_bound(np.array([0.7, 0.4]), [prospect({0: [3], 1: [5]})], TICKS).value == pytest.approx(1.1)


def test_two_satellites_share_the_work() -> None:
    """Each target is within reach of both satellites in the same tick: two of three count."""
    fleet = [prospect({0: [5], 1: [5], 2: [5]})] * 2
    assert upper_bound(np.array([0.9, 0.8, 0.3]), fleet, TICKS, 400).value == pytest.approx(1.7, abs=1e-2)


def test_a_turn_takes_its_time() -> None:
    """A radian takes five ticks: the neighbour is 4 ticks away, and too near; a tick later it is not."""
    turns = Turns(np.array([0.0, 0.9]), np.array([2, 5], np.int32))
    for tick, worth in ((6, 0.9), (7, 1.4)):
        fleet = [prospect({0: [2], 1: [tick]}, turns=turns)]
        assert upper_bound(np.array([0.9, 0.5]), fleet, TICKS).value == pytest.approx(worth, abs=1e-3)


def test_quota() -> None:
    """Two of three fit into the buffer."""
    fleet = [prospect({0: [2], 1: [5], 2: [8]}, quotas=(Quota(0, TICKS - 1, 2),))]
    assert upper_bound(np.array([0.9, 0.5, 0.4]), fleet, TICKS, 400).value == pytest.approx(1.4, abs=1e-2)


def test_nothing_in_sight() -> None:
    bound = upper_bound(np.array([0.5]), [prospect({})], TICKS)
    assert (bound.value, bound.reachable) == (0.0, 0.0)


def mission(name: str, duration_s: float) -> ScenarioConfig:
    return dataclasses.replace(composed(f"scenario={name}").scenario, duration_s=duration_s, training_duration_s=None)


@pytest.mark.parametrize("name", ["imaging_constellation", "optical_sar", "tip_and_cue", "walker_cities"])
def test_a_flight_keeps_to_it(name: str) -> None:
    """The greedy rule under its guard: each image at a listed tick, two ticks apart, and in sum below the bound."""
    config = mission(name, 900.0)
    env = ConstellationEnv(config)
    policy = GuardedPolicy(GreedyPolicy(env.specs), env.specs, limits_of(config, env.specs) or {})
    step = env.reset([3])
    policy.reset([3])
    episode = env.episode(0)
    bound, found = episode_bound(config, episode, iterations=30), prospects(config, episode)
    listed = [set(zip(one.target.tolist(), one.tick.tolist(), strict=True)) for one in found]
    fired: list[list[int]] = [[] for _ in found]
    satellites = episode.constellation.satellites
    while not (step.terminated | step.truncated).all():
        before = [satellite.imaged for satellite in satellites]
        step = env.step(policy.act(step))
        for row, satellite in enumerate(satellites):
            if satellite.imaged > before[row]:
                tick = round(episode.constellation.time_s / config.sim_step_s) - 1  # stored one tick later
                target = episode.features.knowledge.index_of(satellite.latest_target)
                assert (target, tick) in listed[row] or not satellite.data_store.shows(satellite.latest_target)
                fired[row].append(tick)
    result = env.results()[0]
    assert sum(len(ticks) for ticks in fired) > 5
    assert all(np.diff(ticks).min(initial=2) >= 2 for ticks in fired)
    assert 0.0 <= result.captured <= bound.value <= bound.reachable + 1e-9
    assert bound.reachable <= result.available + 1e-9
