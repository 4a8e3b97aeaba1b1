"""The planner: its search against every sequence there is, its plans against their flights."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from envs.api import Policy
from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.episode_result import EpisodeResult
from envs.basilisk.heuristics import GreedyPolicy
from envs.basilisk.planner import ForecastPolicy, PlannerPolicy, PlannerSettings
from envs.basilisk.twin.environment import TwinEnv
from envs.basilisk.twin.layout import CHARGE
from envs.basilisk.twin.plan import Effort, Planner, Skies
from envs.basilisk.twin.worlds import World, make_worlds
from scenarios.compose import composed
from scenarios.mission import ScenarioConfig
from scenarios.ranges import ConfigError
from training.missions.flight import GuardedPolicy, limits_of

QUICK = PlannerSettings(Effort(width=6))


def mission(name: str = "imaging_constellation", duration_s: float = 900.0) -> ScenarioConfig:
    return dataclasses.replace(composed(f"scenario={name}").scenario, duration_s=duration_s, training_duration_s=None)


@pytest.fixture(scope="module")
def worlds() -> list[World]:
    return make_worlds(mission(), [11, 12])


def fly(env: TwinEnv | ConstellationEnv, policy: Policy, seeds: list[int]) -> list[EpisodeResult]:
    step = env.reset(seeds)
    policy.reset(seeds)
    while not (step.terminated | step.truncated).all():
        step = env.step(policy.act(step))
    return env.results()


def test_the_search_finds_the_best_of_all_sequences() -> None:
    """200 s of one satellite with three slots: every sequence of its decisions is flown, and none earns more."""
    config = mission(duration_s=200.0)
    actions = dataclasses.replace(config.actions, image_slots=3)
    config = dataclasses.replace(config, actions=actions)
    for seed in (11, 12, 13):
        world = make_worlds(config, [seed])[0]
        for row in (1, 2):
            skies = Skies(world.priority, world.cloud_chance, np.zeros(world.targets, np.bool_))
            effort = Effort(width=4000, bucket_s=1.0, energy_prices=(0.0,))
            planner = Planner(world.fleet, skies, effort, told=True, seed=0)
            state = world.first[row : row + 1].copy().reshape(())
            planner.plans[row] = planner.searched(row, state)
            found = planner.worth()
            reachable = np.unique(world.fleet[row].arrays["window_target"][:8]).tolist()
            best = 0.0
            for depth in (1, 2, 3):
                for sequence in itertools.product([CHARGE, *reachable], repeat=depth):
                    # What is not on offer in its turn is left out: the sequences contain every legal one.
                    best = max(best, planner.replayed(row, state, np.array(sequence, np.int32))[1])
            assert found >= best - 1e-9
            assert found == pytest.approx(planner.replayed(row, state, planner.plans[row]["action"])[1])


def test_a_plan_is_flown_as_planned_on_the_twin(worlds: list[World]) -> None:
    config = mission()
    env = TwinEnv(config, worlds)
    policy = PlannerPolicy(env, QUICK)
    results = fly(env, policy, [1, 2])
    planned = policy.planned
    for result, expected in zip(results, planned, strict=True):
        assert result.captured >= 0.98 * expected  # planning anew under way may find more
        assert result.deaths == 0


def test_in_basilisk_the_planner_beats_the_forecast_and_that_the_greedy_rule() -> None:
    config = mission(duration_s=1500.0)
    env = ConstellationEnv(config)
    limits = limits_of(config, env.specs)
    assert limits is not None
    earned = {}
    for name, policy in {
        "greedy": GreedyPolicy(env.specs, global_knowledge=True),
        "forecast": ForecastPolicy(env),
        "planner": PlannerPolicy(env, QUICK),
    }.items():
        results = [fly(env, GuardedPolicy(policy, env.specs, limits), [seed])[0] for seed in (101, 102)]
        assert all(result.captured <= result.available for result in results)
        earned[name] = float(np.mean([result.captured for result in results]))
    assert earned["planner"] > 1.2 * earned["forecast"]
    assert earned["forecast"] > earned["greedy"]


def test_plans_depend_on_the_seed_and_the_iterations_alone(worlds: list[World]) -> None:
    config = mission()
    env = TwinEnv(config, worlds)

    def plans(seed: int, iterations: int) -> list[list[int]]:
        env.reset([5])
        flight = env.flight(0)
        skies = Skies(flight.priority, flight.chance, np.zeros(len(flight.priority), np.bool_))
        planner = Planner(flight.fleet, skies, Effort(width=4), told=True, seed=seed)
        planner.plan_all([flight.state(row) for row in range(4)], iterations)
        return [plan["action"].tolist() for plan in planner.plans]

    assert plans(0, 3) == plans(0, 3)
    assert plans(0, 0) == plans(1, 0)


def test_more_iterations_never_cost_worth(worlds: list[World]) -> None:
    env = TwinEnv(mission(), worlds)
    env.reset([6])
    flight = env.flight(0)
    worths = []
    for iterations in (0, 4, 8):
        skies = Skies(flight.priority, flight.chance, np.zeros(len(flight.priority), np.bool_))
        planner = Planner(flight.fleet, skies, Effort(width=4), told=True, seed=0)
        planner.plan_all([flight.state(row) for row in range(4)], iterations)
        worths.append(planner.worth())
    assert worths == sorted(worths)


def test_a_rolling_planner_labels_any_state(worlds: list[World]) -> None:
    """It decides from where a random pilot has led the satellites, and always legally."""
    env = TwinEnv(mission(), worlds)
    rolling = PlannerPolicy(env, PlannerSettings(Effort(width=3, horizon_s=100.0)))
    rng = np.random.default_rng(0)
    step = env.reset([3])
    rolling.reset([3])
    images = 0
    while not (step.terminated | step.truncated).all():
        advice = rolling.act(step)
        chosen = np.take_along_axis(step.action_mask, advice[..., None], -1)[..., 0]
        assert chosen[step.active].all()
        images += int((advice[step.active] > 0).sum())
        step = env.step((rng.random(step.action_mask.shape) * step.action_mask).argmax(-1))
    assert images > 20


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("planner.budget_s=0", "planner.budget_s=0.0"),
        ("planner.budget_s=-1", "planner.budget_s=-1.0"),
        ("planner.width=0", "planner.width=0"),
        ("planner.iterations=-1", "planner.iterations=-1"),
    ],
)
def test_a_budget_of_nothing_is_refused(override: str, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        composed("scenario=imaging_constellation", override)
    assert told in str(refused.value)
