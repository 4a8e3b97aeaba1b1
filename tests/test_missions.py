"""Scouts, daylight and clouds in Basilisk, against astronomy; what no mission may be."""

from __future__ import annotations

import dataclasses
from datetime import datetime

import numpy as np
import pytest

from envs.api import Step
from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.heuristics import GreedyPolicy
from envs.basilisk.satellites import DAYLIGHT_DEG
from scenarios.communication import Communication, CommunicationConfig
from scenarios.compose import composed
from scenarios.mission import GroundStationsConfig, ScenarioConfig
from scenarios.ranges import ConfigError


def mission(name: str, duration_s: float, *overrides: str) -> ScenarioConfig:
    return composed(f"scenario={name}", f"scenario.duration_s={duration_s}", *overrides).scenario


def block(env: ConstellationEnv, step: Step, row: int, name: str) -> np.ndarray:
    return step.obs[0, row, env.specs[row].slice(name)]


def test_scouts_flag_urgent_targets_once_they_have_seen_them() -> None:
    config = mission("tip_and_cue", 900.0)
    free = dataclasses.replace(config, communication=CommunicationConfig(Communication.free))
    alone = dataclasses.replace(config, communication=CommunicationConfig(Communication.none))
    heard = {}
    for name, each in (("free", free), ("none", alone)):
        env = ConstellationEnv(each)
        step = env.reset([2])
        policy = GreedyPolicy(env.specs)
        heard[name] = 0
        while not step.truncated.all():
            step = env.step(policy.act(step))
            episode = env.episode(0)
            scouts = episode.constellation.satellites[:2]
            now_s = episode.constellation.time_s
            seen = {
                int(index)
                for scout in scouts
                for index, open_s in zip(scout.windows.target, scout.windows.open_s, strict=True)
                if open_s <= now_s
            }
            for n in np.nonzero(step.active[0])[0]:
                offered = episode.features.offered[n]
                cue = block(env, step, n, "cue")[: len(offered)]
                if name == "free":
                    priority = episode.features.priority[offered]
                    expected = [index in seen and p >= 0.5 for index, p in zip(offered, priority, strict=True)]
                    assert cue.tolist() == expected
                elif n >= 2:
                    assert not cue.any()
                heard[name] += int(cue.sum()) if n >= 2 else 0
    assert heard["free"] > 50
    assert heard["none"] == 0


def sun_elevation_deg(r_P: np.ndarray, when: datetime) -> float:
    """By the Astronomical Almanac's low-precision formulas (good to 0.01 deg)."""
    days = (when - datetime(2000, 1, 1, 12)).total_seconds() / 86400.0
    anomaly = np.radians(357.528 + 0.9856003 * days)
    longitude = np.radians(280.460 + 0.9856474 * days + 1.915 * np.sin(anomaly) + 0.020 * np.sin(2 * anomaly))
    obliquity = np.radians(23.439 - 4e-7 * days)
    sun_N = [np.cos(longitude), np.cos(obliquity) * np.sin(longitude), np.sin(obliquity) * np.sin(longitude)]
    angle = np.radians(280.46061837 + 360.98564736629 * days)
    turn = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    return float(np.degrees(np.arcsin(turn @ sun_N @ r_P / np.linalg.norm(r_P))))


def test_an_optical_satellite_is_offered_only_what_the_sun_lights() -> None:
    config = mission("optical_sar", 2850.0)
    dark = dataclasses.replace(config.hardware["optical"], needs_light=False)
    both = (
        ConstellationEnv(config),
        ConstellationEnv(dataclasses.replace(config, hardware={**config.hardware, "optical": dark})),
    )
    lit = unlit = 0
    for seed in range(3):
        for env in both:
            env.reset([seed])
        day, all_day = (env.episode(0).constellation.satellites[0].windows for env in both)
        targets = both[0].episode(0).constellation.targets
        kept = set(zip(day.target.tolist(), day.open_s.tolist(), strict=True))
        for index, open_s, close_s in zip(all_day.target, all_day.open_s, all_day.close_s, strict=True):
            middle = datetime(2026, 3, 20, 12).timestamp() + (open_s + close_s) / 2
            elevation = sun_elevation_deg(targets[index].r_LP_P, datetime.fromtimestamp(middle))
            if abs(elevation - DAYLIGHT_DEG) > 0.3:
                assert ((index, open_s) in kept) == (elevation > DAYLIGHT_DEG)
                lit, unlit = lit + (elevation > DAYLIGHT_DEG), unlit + (elevation <= DAYLIGHT_DEG)
    assert min(lit, unlit) > 50


@pytest.mark.parametrize("communication", [Communication.free, Communication.none])
def test_an_image_of_clouds_earns_nothing_and_is_told(communication: Communication) -> None:
    config = dataclasses.replace(mission("optical_sar", 1500.0), communication=CommunicationConfig(communication))
    env = ConstellationEnv(config)
    policy = GreedyPolicy(env.specs)
    spoiled = 0
    for seed in (1, 2, 3):
        step = env.reset([seed])
        episode = env.episode(0)
        satellites, targets = episode.constellation.satellites, episode.constellation.targets
        seen_by: dict[int, set[int]] = {}  # clouded target -> satellites that took an image of it
        earned = 0.0
        while not step.truncated.all():
            running = [s.running for s in satellites]
            before = [s.imaged for s in satellites]
            step = env.step(policy.act(step))
            earned += float(step.reward[0])
            for n, satellite in enumerate(satellites):
                optical = satellite.hardware.needs_clear_view
                if satellite.imaged > before[n] and optical and running[n] is not None:
                    target = satellite.latest_target
                    if target.clouded:
                        seen_by.setdefault(episode.features.knowledge.index_of(target), set()).add(n)
            for n in np.nonzero(step.active[0])[0]:
                for slot, index in enumerate(episode.features.offered[n]):
                    told = index in seen_by and (communication is Communication.free or n in seen_by[index])
                    cloud = block(env, step, n, "cloud")[slot]
                    assert (cloud == 1.0) == told or targets[index].cloud_chance == 1.0
                    assert not (told and satellites[n].hardware.needs_clear_view)
        [result] = env.results()
        assert result.deaths == 0
        first = {}
        for satellite in satellites:
            for target in satellite.data_store.data.imaged:
                first[id(target)] = target.priority
        assert earned == pytest.approx(sum(first.values()), rel=1e-5)
        assert result.spoiled == sum(len(who) for who in seen_by.values())
        spoiled += result.spoiled
    assert spoiled >= 3


def test_what_is_available_lies_under_a_clear_sky_for_optical_satellites() -> None:
    config = mission("optical_sar", 1500.0, "scenario.clouds.cover=0.8")
    optical = dataclasses.replace(config.constellation, per_plane=2, classes=config.constellation.classes[:2])
    env = ConstellationEnv(dataclasses.replace(config, constellation=optical))
    available = under_clouds = 0.0
    for seed in range(3):
        env.reset([seed])
        [result] = env.results()
        constellation = env.episode(0).constellation
        open_s = np.full(len(constellation.targets), np.inf)
        for satellite in constellation.satellites:
            np.minimum.at(open_s, satellite.windows.target, satellite.windows.open_s)
        reached = [target for target, opens in zip(constellation.targets, open_s, strict=True) if opens < 1500.0]
        clear = sum(target.priority for target in reached if not target.clouded)
        assert result.available == pytest.approx(clear)
        available, under_clouds = available + clear, under_clouds + sum(t.priority for t in reached) - clear
    assert available > 1.0
    assert under_clouds > 2 * available


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["scenario=imaging_constellation", "scenario.sensing.full=[storage]"],
            "scenario.sensing.full='storage' is not allowed: it must be among the blocks battery,",
        ),
        (
            ["scenario=imaging_constellation", "scenario.reward.at=downlink"],
            "scenario.reward.at='downlink' is not allowed: it must be image, for there are no ground_stations",
        ),
        (
            ["scenario=imaging_constellation", "scenario.actions.downlink_duration_s=60"],
            "scenario.actions.downlink_duration_s=60.0 is not allowed: it must be a number of seconds where there are",
        ),
        (
            ["scenario=tip_and_cue", "scenario.ground_stations.at.Hawaii=[120,0]"],
            "scenario.ground_stations.at.Hawaii=[120, 0] is not allowed: it must be [latitude_deg, longitude_deg] "
            "within",
        ),
        (
            ["scenario=tip_and_cue", "scenario.hardware.imager.storage_images=0"],
            "scenario.hardware.imager.storage_images=0 is not allowed: it must be between 1 and",
        ),
        (
            ["scenario=tip_and_cue", "scenario.reward.rule=nonsense"],
            "scenario.reward.rule='nonsense' is not allowed: it must be module:attribute",
        ),
        (
            ["scenario=tip_and_cue", "scenario.reward.rule=''"],
            "scenario.reward.rule='' is not allowed: it must be module:attribute",
        ),
        (
            ["scenario=optical_sar", "scenario.clouds=null"],
            "scenario.hardware.optical.needs_clear_view=True is not allowed: it must be false, for there are no",
        ),
        (
            ["scenario=tip_and_cue", "scenario.sim_step_s=0.33333333333"],
            "scenario.sim_step_s=0.33333333333 is not allowed: it must be a whole number of nanoseconds",
        ),
        (
            ["scenario=tip_and_cue", "scenario.hardware.imager.panel_normal_B=[nan,0,0]"],
            "is not allowed: it must be three finite components",
        ),
    ],
)
def test_impossible_missions_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(Exception) as caught:  # OmegaConf wraps it
        composed(*overrides)
    assert message in str(caught.value)
    cause = caught.value
    while cause is not None and not isinstance(cause, ConfigError):
        cause = cause.__cause__
    assert isinstance(cause, ConfigError)


def test_ground_stations_need_a_place() -> None:
    with pytest.raises(ConfigError, match="at least one station"):
        GroundStationsConfig()
