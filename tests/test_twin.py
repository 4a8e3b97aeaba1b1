"""The twin against Basilisk: the same actions flown in both; and against closed forms."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest

from envs.basilisk.energy import Energy
from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.episode import Episode
from envs.basilisk.heuristics import RandomPolicy
from envs.basilisk.twin import layout
from envs.basilisk.twin.environment import TwinEnv
from envs.basilisk.twin.library import library
from envs.basilisk.twin.mirrored import check_mirrored, planner_fault, twin_fault
from envs.basilisk.twin.parity import Parity, compare, state_now
from envs.basilisk.twin.sunlight import illumination
from envs.basilisk.twin.tables import tables
from envs.basilisk.twin.worlds import make_worlds, world_of
from onboard.guard import Guard, Health, Limits
from scenarios.compose import composed
from scenarios.mission import FaultsConfig, RewardConfig, ScenarioConfig
from scenarios.ranges import ConfigError

MISSIONS = ("bskrl_aeos", "imaging_constellation", "optical_sar", "tip_and_cue", "walker_cities")
FIXED = {"charge": layout.CHARGE, "downlink": layout.DOWNLINK, "desat": layout.DESAT}


def mission(name: str = "imaging_constellation", duration_s: float = 900.0) -> ScenarioConfig:
    return dataclasses.replace(composed(f"scenario={name}").scenario, duration_s=duration_s, training_duration_s=None)


@pytest.mark.parametrize("name", MISSIONS)
def test_every_action_ends_as_in_basilisk(name: str) -> None:
    """The same images, each within a tick; errors far below the imaging tolerance (0.01 MRP, 0.01 rad/s)."""
    found = Parity()
    compare(mission(name, 1500.0), RandomPolicy(), 5, found)
    assert found.images > 20
    assert found.same_outcome == found.images
    assert found.worst_tick <= 1
    assert found.exact >= 0.98
    assert found.largest("attitude_mrp") < 5e-4
    assert found.largest("rate_rad_s") < 1e-4
    assert found.largest("wheels_rad_s") < 0.5  # of some hundred
    assert found.largest("battery_Wh") < 0.01
    assert found.largest("buffer_bits") <= 700_000  # a tick of the downlink


@pytest.mark.parametrize("name", MISSIONS)
def test_whole_episodes_are_those_of_basilisk(name: str) -> None:
    """Observations, masks, rewards, the critic's view and the accounts, for as long as every image is taken in the same
    tick."""
    config = mission(name, 1200.0)
    episode = Episode(config, np.zeros(config.constellation.size, dtype=np.bool_), training=False)
    moment = episode.reset(6)
    env = TwinEnv(config, [world_of(config, episode.constellation)], training=False)
    step, policy = env.replay([0]), RandomPolicy()
    policy.reset([6])
    steps = 0
    while True:
        assert moment.duration_s == pytest.approx(float(step.duration_s[0]))
        assert moment.reward == pytest.approx(float(step.reward[0]), abs=1e-6)
        np.testing.assert_array_equal(moment.active, step.active[0])
        np.testing.assert_array_equal(moment.action_mask, step.action_mask[0])
        np.testing.assert_allclose(moment.obs, step.obs[0], atol=0.02)
        np.testing.assert_allclose(moment.health, step.health[0], atol=1e-3)
        np.testing.assert_allclose(moment.state, step.state[0], atol=0.1)  # windows that close in this very second
        steps += 1
        if moment.terminated or moment.truncated:
            break
        actions = policy.act(step)
        moment, step = episode.step(actions[0]), env.step(actions)
    assert bool(step.truncated[0]) == moment.truncated
    ours, theirs = env.results()[0], episode.result()
    for field in ("images", "duplicates", "deaths", "decisions", "charges", "spoiled"):
        assert getattr(ours, field) == getattr(theirs, field), field
    assert ours.captured == pytest.approx(theirs.captured)
    assert ours.available == pytest.approx(theirs.available)
    assert steps > (30 if name == "bskrl_aeos" else 40)  # its actions last longer


def test_the_guard_is_the_onboard_guard() -> None:
    config = mission("tip_and_cue")
    env = ConstellationEnv(config)
    env.reset([1])
    fleet = tables(config, env.episode(0).constellation)
    each, spec = fleet[0], env.specs[0]
    record = each.record
    limits = Limits(float(record["reserve_min"]), float(record["wheels_max"]), float(record["storage_max"]), 0.02)
    guard = Guard(limits, spec.actions, spec.fixed_actions)
    rng = np.random.default_rng(0)
    state = np.zeros((), layout.STATE)
    seen = set()
    for _ in range(300):
        state["tick"] = rng.integers(0, 800)
        state["battery_J"] = rng.uniform(0.0, 1.0) * float(record["capacity_J"])
        state["wheels"] = rng.uniform(-1.1, 1.1, 3) * float(record["wheel_speed_fails"])
        state["bits"] = int(rng.uniform(0.0, 1.05) * float(record["storage_bits"]))
        ordered = library().tw_guard(each.address, state.ctypes.data)
        health = Health(
            float(state["battery_J"] / record["capacity_J"]),
            library().tw_lowest_ahead(each.address, state.ctypes.data),
            float(np.abs(state["wheels"]).max() / record["wheel_speed_fails"]),
            float(state["bits"] / record["storage_bits"]),
        )
        mask = np.ones(len(spec.actions), dtype=np.bool_)
        override = guard.override(health, len(spec.actions) - 1, mask)
        expected = layout.NONE if override is None else FIXED[spec.actions[override[0]]]
        assert ordered == expected
        seen.add(ordered)
    assert seen == {layout.NONE, layout.CHARGE, layout.DESAT, layout.DOWNLINK}


def test_the_battery_forecast_is_that_of_the_features() -> None:
    config = mission("tip_and_cue")
    env, policy = ConstellationEnv(config), RandomPolicy()
    step = env.reset([2])
    policy.reset([2])
    for _ in range(12):
        step = env.step(policy.act(step))
    constellation = env.episode(0).constellation
    fleet = tables(config, constellation)
    hardware = [satellite.hardware for satellite in constellation.satellites]
    energy = Energy(hardware, config.actions.image_timeout_s, config.actions.downlink_duration_s)
    expected = energy.lowest_ahead(constellation.snapshot())
    for row, each in enumerate(fleet):
        state = state_now(env.episode(0), row, fleet)
        assert library().tw_lowest_ahead(each.address, state.ctypes.data) == pytest.approx(expected[row], abs=1e-9)


def test_light_behind_the_earth() -> None:
    """Full beside the shadow, none on its axis, and falling through the penumbra."""
    au, radius = 149597870700.0, 6878e3
    sun = np.array([[au, 0.0, 0.0]])
    angle = np.radians(np.linspace(180.0, 90.0, 2000))
    around = radius * np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], axis=-1)
    light = illumination(around, np.broadcast_to(sun, around.shape))
    assert light[0] == 0.0
    assert light[-1] == 1.0
    assert all(after >= before - 1e-12 for before, after in pairwise(light))
    edge = np.arcsin(6378136.6 / radius)  # of a cylindrical shadow, from its axis
    half = np.pi - angle[int(np.searchsorted(light, 0.5))]
    assert half == pytest.approx(edge, abs=np.radians(0.3))


def test_training_episodes_longer_than_the_missions_own() -> None:
    """Worlds reach to the end of the longest training episode, and episodes end where they were drawn to."""
    config = dataclasses.replace(mission(duration_s=300.0), training_duration_s=[500.0, 900.0])
    env, policy = TwinEnv(config, make_worlds(config, [3])), RandomPolicy()
    seeds = list(range(6))
    step = env.reset(seeds)
    policy.reset(seeds)
    while not (step.terminated | step.truncated).all():
        step = env.step(policy.act(step))
    lengths = [result.duration_s for result in env.results() if result.deaths < 4]
    assert min(lengths) >= 500.0 and max(lengths) <= 901.0 and len(set(lengths)) > 3
    rows = {int(each.record["ticks"]) for each in env.flight(0).fleet}
    assert rows == {903}


def test_a_crowd_of_targets_is_told_before_any_compute() -> None:
    crowded = dataclasses.replace(
        mission(), targets=dataclasses.replace(mission().targets, clusters_per_orbit=3000, cross_track_km=50.0)
    )
    assert planner_fault(mission()) is None
    told = planner_fault(crowded)
    assert told is not None and "has no twin: a satellite can reach" in told


def test_an_episode_is_its_seed_alone() -> None:
    config = mission(duration_s=600.0)
    env = TwinEnv(config, make_worlds(config, [3, 4, 5]))

    def fly(seeds: list[int]) -> dict[int, object]:
        policy = RandomPolicy()
        step = env.reset(seeds)
        policy.reset(seeds)
        while not (step.terminated | step.truncated).all():
            step = env.step(policy.act(step))
        return {result.seed: result for result in env.results()}

    together, alone = fly([7, 8, 9]), fly([9])
    assert together[9] == alone[9]
    assert together[7] != together[8]


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"reward": RewardConfig(rule="tests.toy:rule")}, "scenario.reward.rule=tests.toy:rule"),
        ({"features": {"mine": "tests.toy:feature"}}, "the feature block 'mine'"),
        ({"faults": FaultsConfig(sensor_dropout=0.2)}, "scenario.faults.sensor_dropout=0.2"),
    ],
)
def test_what_the_twin_lacks_is_told(changed: dict[str, object], what: str) -> None:
    config = dataclasses.replace(mission(), **changed)
    with pytest.raises(ConfigError, match="has no twin: it lacks") as told:
        check_mirrored(config)
    assert what in str(told.value)
    assert twin_fault(config) == str(told.value)


def test_faults_of_flights_alone_do_not_matter() -> None:
    assert twin_fault(dataclasses.replace(mission(), faults=FaultsConfig(sensor_dropout=0.2, training=False))) is None
