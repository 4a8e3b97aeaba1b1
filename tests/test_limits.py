"""A limit that is crossed within an action counts, however long the action is, in Basilisk and on the twin alike."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest

from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.simulation import Constellation
from envs.basilisk.twin.environment import TwinEnv
from envs.basilisk.twin.worlds import make_worlds
from scenarios.compose import composed
from scenarios.mission import ScenarioConfig

SEED = 0


def mission(charge_s: float, duration_s: float, *overrides: str) -> ScenarioConfig:
    config = composed(
        "scenario=imaging_constellation",
        "scenario.guard.enabled=false",
        "scenario.guard.reserve_min_Wh=0.1",
        f"scenario.duration_s={duration_s}",
        f"scenario.actions.charge_duration_s={charge_s}",
        *overrides,
    ).scenario
    return dataclasses.replace(config, training_duration_s=None)


def batteries(watt_hours: float) -> list[str]:
    return [
        f"scenario.hardware.{name}.{key}"
        for name in ("wide", "narrow", "slow")
        for key in (f"battery_Wh={watt_hours}", "initial_charge=[0.9,0.9]")
    ]


def losses(env: ConstellationEnv | TwinEnv) -> tuple[list[float], float]:
    """When each satellite is lost (infinite: never), and the team's reward, if all charge."""
    step = env.reset([SEED]) if isinstance(env, ConstellationEnv) else env.replay([0])
    lost_s, now_s, reward = np.full(len(env.specs), np.inf), 0.0, 0.0
    while not (step.terminated | step.truncated).all():
        before = step.alive[0]
        step = env.step(np.zeros((1, len(env.specs)), np.int64))
        now_s += float(step.duration_s[0])
        reward += float(step.reward[0])
        lost_s[before & ~step.alive[0]] = now_s
    env.close()
    return lost_s.tolist(), reward


def both(config: ScenarioConfig) -> tuple[tuple[list[float], float], tuple[list[float], float]]:
    twin = TwinEnv(config, make_worlds(config, [SEED]), training=False)
    return losses(ConstellationEnv(config)), losses(twin)


def test_an_empty_battery_is_noticed_at_the_same_tick_however_long_the_action() -> None:
    """Looking after each second is the independent answer."""
    dark = [f"scenario.hardware.{name}.panel_area_m2=0.001" for name in ("wide", "narrow", "slow")]
    (short, few), (twin_short, twin_few) = both(mission(1.0, 200.0, *batteries(0.4), *dark))
    (long, many), (twin_long, twin_many) = both(mission(3600.0, 200.0, *batteries(0.4), *dark))
    assert short == long
    assert all(0.0 < each <= 0.36 * 3600.0 / 10.0 for each in long)  # 0.36 Wh at 10 W and more
    assert few == many == twin_few == twin_many == -40.0
    assert twin_short == twin_long
    np.testing.assert_allclose(twin_long, long, atol=1.0)


def test_four_satellites_that_only_charge_are_lost_with_hour_long_charges_too() -> None:
    (lost_s, reward), (twin_lost_s, twin_reward) = both(mission(3600.0, 5700.0, *batteries(4.0)))
    looked_at_each_minute = [math.ceil(each / 60.0) * 60.0 for each in lost_s]
    assert looked_at_each_minute == [1500.0, 1620.0, 1740.0, 1860.0]
    assert reward == twin_reward == -40.0
    np.testing.assert_allclose(twin_lost_s, lost_s, atol=1.0)


def test_a_wheel_that_is_too_fast_for_a_moment_only() -> None:
    overrides = [f"scenario.hardware.{name}.max_wheel_speed_rpm=1450" for name in ("wide", "narrow", "slow")]
    (short, _), (twin_short, _) = both(mission(1.0, 60.0, *overrides))
    (long, _), (twin_long, _) = both(mission(3600.0, 500.0, *overrides))
    assert short == long
    assert 1.0 < min(long) < 60.0
    assert twin_short == twin_long
    np.testing.assert_allclose(twin_long, long, atol=1.0)


def lowest(height_m: float, charge_s: float) -> float:
    """When the first satellite is lost if the lowest orbit allowed is ``height_m`` above its lowest point, in Basilisk
    and on the twin."""
    config = mission(charge_s, 1800.0)
    env = ConstellationEnv(config)
    env.reset([SEED])
    found = env.episode(0).constellation
    _raise_floor(found, lambda radius_m: height_m + radius_m)
    step, now_s = None, 0.0
    while step is None or (bool(step.alive[0, 0]) and not step.truncated.any()):
        step = env.step(np.zeros((1, 4), np.int64))
        now_s += float(step.duration_s[0])
    env.close()
    return now_s


def _raise_floor(constellation: Constellation, floor: Callable[[float], float]) -> None:
    satellite = constellation.satellites[0]
    radius_m = np.linalg.norm(np.asarray(satellite.trajectory._r_BN_N_log), axis=1)
    times = np.asarray(satellite.trajectory.times)
    satellite.dynamics.min_orbital_radius = floor(float(radius_m[times <= 1800.0].min()))


def test_an_orbit_that_is_too_low_for_a_moment_only() -> None:
    """10 m above the lowest point that is on the way, the satellite is lost shortly before it."""
    once, often = lowest(10.0, 3600.0), lowest(10.0, 20.0)
    assert 0.0 < once < 1800.0
    assert often - 20.0 <= once <= often
    assert lowest(-10.0, 3600.0) == 1800.0


def test_the_twin_knows_the_lowest_orbit() -> None:
    config = mission(3600.0, 1800.0)
    world = make_worlds(config, [SEED])[0]
    record = world.fleet[0]
    radius_m = np.linalg.norm(record.arrays["r_N"][:2401], axis=1)
    floor_m = float(radius_m.min()) + 10.0
    assert float(record.record["radius_fails"]) == pytest.approx(6578136.6, abs=1e3)
    record.record["radius_fails"] = floor_m
    lost_s, reward = losses(TwinEnv(config, [world], training=False))
    assert lost_s[0] == float(np.nonzero(radius_m[1:] <= floor_m)[0][0] + 1)
    assert reward == -10.0
