"""The mission bskrl_aeos against BSK-RL's own benchmark, built here of plain BSK-RL."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest
from bsk_rl import ConstellationTasking, obs
from bsk_rl.gym import NO_ACTION
from bsk_rl.utils.orbital import random_circular_orbit, walker_delta_args

from envs.basilisk.bskrl_aeos import DRAWN, SLOTS, AeosSatellite, aeos_episode
from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.features import agent_specs
from envs.basilisk.simulation import Constellation, draw_orbits
from scenarios.compose import composed
from scenarios.mission import ScenarioConfig
from scenarios.orbits import EARTH_RADIUS_M
from scenarios.ranges import ConfigError
from scenarios.schema import to_dict

REWARD = 1e-9
ONE = "scenario.constellation.per_plane=1"


class Decision(NamedTuple):
    time_s: float
    row: int  # of the satellite
    offered: list[int]  # indices of targets
    slot: int  # the one chosen


class Blind(AeosSatellite):
    """Theirs, without an observation that nobody reads here: it takes most of the time."""

    observation_spec: ClassVar[list[Any]] = [obs.Time()]


def mission(*overrides: str, duration_s: float) -> ScenarioConfig:
    return dataclasses.replace(composed("scenario=bskrl_aeos", *overrides).scenario, duration_s=duration_s)


def flown(env: ConstellationEnv, seed: int) -> tuple[list[Decision], list[tuple[float, float]]]:
    """Decisions, each on any target that is on offer: their satellites have no other action; and (time [s], reward so
    far) at the end of each step."""
    rng, decisions, earned = np.random.default_rng(seed), [], []
    step = env.reset([seed])
    episode = env.episode(0)
    while not step.truncated.all():
        actions = np.zeros(step.active.shape, dtype=np.int64)
        for row in np.nonzero(step.active[0])[0].tolist():
            offered = episode.features.offered[row].tolist()
            slot = int(rng.integers(len(offered)))
            actions[0, row] = slot + 1
            decisions.append(Decision(episode.constellation.time_s, row, offered, slot))
        step = env.step(actions)
        earned.append((episode.constellation.time_s, sum(env.results()[0].captured_by)))
    return decisions, earned


def replayed(
    env: ConstellationTasking, decisions: Sequence[Decision], limit_s: float, same_offers: bool
) -> list[tuple[float, float]]:
    """(Time [s], reward so far) at the end of each of their steps, which also end where ours has decided.

    Args:
        same_offers: whether they must offer the same targets, in the same order.
    """
    env.reset(seed=0)
    targets = env.scenario.targets
    times = sorted({each.time_s for each in decisions} | {limit_s})
    total, earned = 0.0, []
    for now_s, until_s in pairwise(times):
        actions: dict[str, Any] = {each.name: NO_ACTION for each in env.satellites}
        for each in decisions:
            if each.time_s == now_s:
                satellite = env.satellites[each.row]
                ahead = satellite.find_next_opportunities(n=2 * SLOTS, types="target")  # finds windows, too
                actions[satellite.name] = targets[each.offered[each.slot]]
                if same_offers:
                    # Ours look hardly further than the episode's end.
                    expected = [one["object"] for one in ahead[:SLOTS] if one["window"][1] < limit_s]
                    assert [targets[index] for index in each.offered[: len(expected)]] == expected
                    actions[satellite.name] = np.int64(each.slot)
        while env.simulator.sim_time < until_s:
            env.simulator.max_step_duration = min(300.0, until_s - env.simulator.sim_time)
            _, rewards, _, _, _ = env.step(actions)
            total += sum(rewards.values())
            earned.append((float(env.simulator.sim_time), total))
            actions = dict.fromkeys(actions, NO_ACTION)
    return earned


def check_equal(config: ScenarioConfig, seed: int, same_offers: bool = False) -> int:
    """The same images in the same steps, and equal rewards; how many images."""
    env = ConstellationEnv(config)
    decisions, ours = flown(env, seed)
    plain = aeos_episode(env.episode(0).constellation, Blind)
    known = dict(replayed(plain, decisions, config.duration_s, same_offers))
    assert max(abs(known[end_s] - value) for end_s, value in ours) < REWARD
    images = env.results()[0].images
    assert tuple(each.imaged for each in plain.satellites) == images
    assert not plain.rewarder.data.duplicates and not env.results()[0].duplicates
    return sum(images)


@pytest.mark.parametrize(("overrides", "seed", "images"), [((), 0, 30), ((ONE,), 4, 8)])
def test_equal_actions_earn_equal_rewards(overrides: tuple[str, ...], seed: int, images: int) -> None:
    assert check_equal(mission(*overrides, duration_s=1200.0), seed) > images


@pytest.mark.parametrize("overrides", [(), (ONE,)])
def test_without_our_timeout_the_same_targets_are_on_offer(overrides: tuple[str, ...]) -> None:
    config = mission(*overrides, "scenario.actions.image_timeout_s=17100", duration_s=1200.0)
    assert check_equal(config, seed=4, same_offers=True) > 2


@pytest.mark.slow
@pytest.mark.parametrize(("overrides", "seed", "images"), [((), 0, 400), ((ONE,), 4, 100)])
def test_equal_actions_earn_equal_rewards_over_three_orbits(overrides: tuple[str, ...], seed: int, images: int) -> None:
    assert check_equal(mission(*overrides, duration_s=3 * 5700.0), seed) > images


def test_satellites_are_built_of_the_same_numbers() -> None:
    """Every argument of BSK-RL's models, but for what is drawn, and what the mission cannot need."""
    config = mission(duration_s=60.0)
    ours = Constellation(config)
    ours.reset(3)
    plain = aeos_episode(ours, Blind)
    plain.reset(seed=0)
    more = ("dataStorageCapacity", "maxWheelSpeed", "transmitterBaudRate", "transmitterPacketSize")
    for our, their in zip(ours.satellites, plain.satellites, strict=True):
        assert our.sat_args.keys() == their.sat_args.keys()
        for name in our.sat_args.keys() - {*DRAWN, *more, "bufferNames"}:
            value, expected = our.sat_args[name], their.sat_args[name]
            assert np.all(value == expected) or np.allclose(value, expected, rtol=1e-12, atol=0), name
        assert our.sat_args["maxWheelSpeed"] > our.dynamics.rwFactory.rwList["RW1"].Omega_max * 60 / math.tau
        assert our.fsw_type.__mro__[1:] == their.fsw_type.__mro__[1:]
        assert our.dyn_type.__mro__[1:] == their.dyn_type.__mro__[1:]


def test_orbits_are_drawn_as_theirs() -> None:
    """From the same numbers of numpy's generator."""
    config = mission(duration_s=60.0)
    env = Constellation(config)
    np.random.seed(8)
    ours = draw_orbits(config, env.scenario, 60.0, env.satellites)
    np.random.seed(8)
    expected = walker_delta_args(n_planes=1, altitude=800, inc=45)(env.satellites)
    for satellite in env.satellites:
        our, their = ours[satellite]["oe"], expected[satellite]["oe"]
        assert (our.a, our.e, our.i, our.omega) == pytest.approx((their.a, their.e, their.i, their.omega), rel=1e-12)
        for angle in (our.Omega - their.Omega, our.f - their.f):
            assert math.remainder(angle, math.tau) == pytest.approx(0.0, abs=1e-12)


def test_one_satellite_flies_as_theirs() -> None:
    config = mission(ONE, duration_s=60.0)
    ours = Constellation(config)
    ours.reset(1)
    [satellite] = ours.satellites
    elements, their = satellite.sat_args["oe"], random_circular_orbit(alt=800, i=45)
    found = (elements.a, elements.e, elements.i, elements.omega)
    assert found == pytest.approx((their.a, their.e, their.i, their.omega), rel=1e-12)


def test_targets_are_drawn_as_theirs() -> None:
    ours = Constellation(mission(duration_s=5700.0))
    numbers, priorities = [], []
    for seed in range(5):
        ours.reset(seed)
        targets = ours.targets
        radii = [float(np.linalg.norm(target.r_LP_P)) for target in targets]
        assert np.allclose(radii, EARTH_RADIUS_M, rtol=1e-12)
        numbers.append(len(targets))
        priorities.extend(target.priority for target in targets)
    assert min(numbers) < 2500 and max(numbers) > 5000
    assert max(numbers) < 10000
    quantiles = np.quantile(priorities, [0.25, 0.5, 0.75])
    assert quantiles == pytest.approx([0.25, 0.5, 0.75], abs=0.01)


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("attitude_gain_rad_s", -0.1, "between 0 and 100"),
        ("cubic_gain_rad_s", 101.0, "between 0 and 100"),
        ("max_rate_deg_s", 0.0, "between 0.01 and 90"),
        ("max_rate_deg_s", math.nan, "between 0.01 and 90"),
        ("rate_gain_Nms", 0.0, "a number above 0"),
        ("angle_gain_Nm", math.inf, "a number above 0"),
    ],
)
def test_a_wrong_steering_is_one_sentence(key: str, value: float, allowed: str) -> None:
    name = f"scenario.hardware.agile.steering.{key}"
    with pytest.raises(ConfigError, match=rf"^{name}={value} is not allowed: it must be {allowed}$"):
        composed("scenario=bskrl_aeos", f"{name}={value}")


def test_what_is_foretold_counts_the_steering() -> None:
    told = {}
    for name in ("bskrl_aeos", "imaging_constellation"):
        config = composed(f"scenario={name}", "scenario.foretell=true").scenario
        ticks = config.actions.image_timeout_s / config.sim_step_s
        [block] = [block for block in agent_specs(config)[0].blocks if block.name == "foretold"]
        told[name] = block.macs / config.actions.image_slots / ticks
    assert told == {"bskrl_aeos": 362 + 66, "imaging_constellation": 362}


def test_records_of_other_missions_do_not_name_it() -> None:
    assert "steering" not in json.dumps(to_dict(composed("scenario=imaging_constellation")))
    ours = to_dict(composed("scenario=bskrl_aeos"))["scenario"]["hardware"]["agile"]
    assert ours["steering"]["max_rate_deg_s"] == 5.0
