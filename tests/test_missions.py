"""Downlink, desaturation, scouts, daylight and clouds in Basilisk, against Basilisk's own messages and astronomy."""

from __future__ import annotations

import dataclasses
from datetime import datetime

import numpy as np
import pytest

from envs.api import Policy, Step
from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.faults import Spells
from envs.basilisk.features import PASS_SCALE
from envs.basilisk.satellites import DAYLIGHT_DEG
from envs.basilisk.simulation import Constellation
from envs.basilisk.windows import merged
from envs.heuristics import GreedyPolicy
from scenarios.compose import composed
from scenarios.mission import Communication, FaultsConfig, GroundStationsConfig, ScenarioConfig
from scenarios.ranges import ConfigError
from training.flight import GuardedPolicy, limits_of

CHARGE, DOWNLINK, DESATURATE, FIRST_IMAGE = range(4)


def mission(name: str, duration_s: float, *overrides: str) -> ScenarioConfig:
    return composed(f"scenario={name}", f"scenario.duration_s={duration_s}", *overrides).scenario


def block(env: ConstellationEnv, step: Step, row: int, name: str) -> np.ndarray:
    return step.obs[0, row, env.specs[row].slice(name)]


@pytest.fixture(scope="module")
def tip_and_cue() -> ConstellationEnv:
    return ConstellationEnv(mission("tip_and_cue", 3000.0))


def test_passes_are_when_basilisk_sees_a_ground_station(tip_and_cue: ConstellationEnv) -> None:
    env = tip_and_cue
    step = env.reset([3])
    constellation = env.episode(0).constellation
    seen = 0
    while not step.truncated.all():
        step = env.step(np.zeros((1, 6), np.int64))
        stations = constellation.simulator.world.groundStations
        for n, satellite in enumerate(constellation.satellites):
            if not step.active[0, n]:
                continue
            access = any(station.accessOutMsgs[n].read().hasAccess for station in stations)
            start_s, end_s = PASS_SCALE * block(env, step, n, "station")
            edge = min(abs(satellite.passes_s - constellation.time_s).ravel(), default=np.inf)
            if edge > 2.0:  # Basilisk's message is a tick old, and its Earth an ellipsoid for the station's vertical
                assert access == (start_s == 0 and end_s > 0)
                seen += access
    assert seen > 10


def test_nothing_is_earned_before_it_is_downlinked_and_then_first_in_first_out(tip_and_cue: ConstellationEnv) -> None:
    """One imager takes images until it is in a pass, then downlinks: each image takes ``downlink_s_per_image``."""
    env = tip_and_cue
    hardware = env.episode(0).constellation.satellites[2].hardware
    emptied = 0
    for seed in range(6):
        step = env.reset([seed])
        satellite = env.episode(0).constellation.satellites[2]
        taken: list[float] = []  # priorities, in the order of their images
        sending_s, earned, lost, begun = 0.0, 0.0, 0.0, False
        while not step.truncated.all() and not (begun and block(env, step, 2, "station")[0] > 0):
            actions = np.zeros((1, 6), np.int64)
            in_view = block(env, step, 2, "station")[0] == 0
            if step.active[0, 2] and taken and in_view:
                actions[0, 2], begun = DOWNLINK, True
            elif step.active[0, 2] and not in_view and step.action_mask[0, 2, FIRST_IMAGE]:
                actions[0, 2] = FIRST_IMAGE
            before, running = satellite.imaged, satellite.running
            step = env.step(actions)
            if satellite.imaged > before:
                taken.append(satellite.latest_target.priority)
            sending = satellite.running == "downlink"
            sending_s += float(step.duration_s[0]) if sending else 0.0
            died = 10.0 * (~step.alive[0]).sum() - lost
            earned, lost = earned + float(step.reward[0]) + died, lost + died
            assert sending or running == "downlink" or earned == 0.0
        sent = next(count for count in range(len(taken) + 1) if abs(earned - sum(taken[:count])) < 1e-5)
        # The pass may begin a tick later, or end within the last action.
        assert sent == len(taken) or sending_s - 62 <= sent * hardware.downlink_s_per_image <= sending_s
        assert (satellite.storage() == 0.0) == (sent == len(taken))
        emptied += bool(taken) and sent == len(taken)
        [result] = env.results()
        assert result.captured == pytest.approx(earned)
        assert result.undelivered == pytest.approx(sum(taken) - earned, abs=1e-5)
    assert emptied >= 2


def test_a_full_buffer_refuses_images() -> None:
    config = mission("tip_and_cue", 2400.0)
    small = {name: dataclasses.replace(hardware, storage_images=2) for name, hardware in config.hardware.items()}
    env = ConstellationEnv(dataclasses.replace(config, hardware=small))
    step = env.reset([5])
    policy = GreedyPolicy(env.specs)
    full = np.zeros(6, np.bool_)
    while not step.truncated.all():
        actions = policy.act(step)
        actions[actions == DOWNLINK] = CHARGE
        step = env.step(actions)
        for n in np.nonzero(step.active[0])[0]:
            storage = float(block(env, step, n, "storage")[0])
            full[n] |= storage == 1.0
            assert storage in (0.0, 0.5, 1.0)
            assert step.action_mask[0, n, FIRST_IMAGE:].any() <= (storage < 1.0)
            assert step.action_mask[0, n, :FIRST_IMAGE].all()
            assert step.health[0, n, 3] == storage
    [result] = env.results()
    assert full.sum() >= 4
    assert max(result.images) == 2


@pytest.mark.parametrize("seconds", [7.0, 12.0, 60.0])
def test_an_emptied_buffer_takes_images_again(seconds: float) -> None:
    config = mission("tip_and_cue", 4000.0)
    single = {
        name: dataclasses.replace(hardware, storage_images=1, downlink_s_per_image=seconds)
        for name, hardware in config.hardware.items()
    }
    env = ConstellationEnv(dataclasses.replace(config, hardware=single))
    step, policy = env.reset([3]), GreedyPolicy(env.specs)
    while not step.truncated.all():
        step = env.step(policy.act(step))
    [result] = env.results()
    assert sum(images >= 2 for images in result.images) >= 3
    stores = [s.data_store for s in env.episode(0).constellation.satellites]
    delivered = sum(result.images) - sum(len(store.buffer) for store in stores)
    assert delivered >= 4
    assert result.captured > 0


def test_a_lost_satellite_takes_its_images_along(tip_and_cue: ConstellationEnv) -> None:
    env = tip_and_cue
    config = dataclasses.replace(mission("tip_and_cue", 3000.0), faults=FaultsConfig(satellite_failures=4.0))
    env = ConstellationEnv(config)
    step, policy = env.reset([2]), GreedyPolicy(env.specs)
    on_board: dict[int, int] = {}
    while not step.truncated.all() and not step.terminated.all():
        step = env.step(policy.act(step))
        for n, satellite in enumerate(env.episode(0).constellation.satellites):
            if not step.alive[0, n]:
                assert on_board.setdefault(n, len(satellite.data_store.buffer)) == len(satellite.data_store.buffer)
    assert env.results()[0].failures >= 2
    assert sum(on_board.values()) > 0


def test_undelivered_counts_each_target_once_and_none_that_another_has_delivered() -> None:
    config = dataclasses.replace(mission("tip_and_cue", 3000.0), communication=Communication.none)
    env = ConstellationEnv(config)
    step, policy = env.reset([1]), GreedyPolicy(env.specs)
    delivered: set[int] = set()
    buffers: list[list[object]] = [[] for _ in env.specs]
    while not step.truncated.all():
        step = env.step(policy.act(step))
        for n, satellite in enumerate(env.episode(0).constellation.satellites):
            now = list(satellite.data_store.buffer)
            delivered |= {id(image.target) for image in buffers[n] if image not in now}
            buffers[n] = now
    left = {id(image.target): image.target.priority for buffer in buffers for image in buffer}
    assert sum(len(buffer) for buffer in buffers) > len(left) or delivered & left.keys()
    expected = sum(priority for target, priority in left.items() if target not in delivered)
    assert env.results()[0].undelivered == pytest.approx(expected)


def test_the_guard_foresees_downlinks_that_cost_more_than_images() -> None:
    config = mission("tip_and_cue", 4000.0, "scenario.actions.downlink_duration_s=600")
    thirsty = {
        name: dataclasses.replace(hardware, transmitter_power_W=60.0) for name, hardware in config.hardware.items()
    }
    config = dataclasses.replace(config, hardware=thirsty)
    deaths = []
    for guarded in (False, True):
        env = ConstellationEnv(config)
        limits = limits_of(config, env.specs)
        assert limits is not None
        policy: Policy = Always(DOWNLINK)
        step = env.reset([1])
        if guarded:
            policy = GuardedPolicy(policy, env.specs, limits)
            policy.reset([1])
        while not (step.truncated | step.terminated).all():
            step = env.step(policy.act(step))
        deaths.append(env.results()[0].deaths)
    assert deaths[0] >= 3
    assert deaths[1] == 0


class Always:
    """Chooses one action."""

    def __init__(self, action: int) -> None:
        self._action = action

    def reset(self, seeds: list[int]) -> None:
        """It has no memory."""

    def act(self, step: Step) -> np.ndarray:
        return np.full(step.active.shape, self._action)


def test_desaturation_takes_momentum_out_of_the_wheels(tip_and_cue: ConstellationEnv) -> None:
    env = tip_and_cue
    speeds = {}
    for action in (CHARGE, DESATURATE):
        step = env.reset([1])
        while env.episode(0).constellation.time_s < 900.0:
            step = env.step(np.full((1, 6), action))
        speeds[action] = np.array([s.wheels() for s in env.episode(0).constellation.satellites])
        for n in np.nonzero(step.active[0])[0]:
            assert block(env, step, n, "wheels")[0] == pytest.approx(speeds[action][n], rel=1e-5)
    assert (speeds[DESATURATE] < 0.15).all()
    assert (speeds[CHARGE] > 0.15).all()


def test_the_disturbance_winds_the_wheels_up_by_its_momentum(tip_and_cue: ConstellationEnv) -> None:
    """With the panel's normal (y) at the Sun, a satellite turns about y alone: along it, all of what the torque brings
    goes into the wheel, dH_y = L_y dt."""
    env = tip_and_cue
    rotor_kg_m2 = 50.0 / (6000.0 * 2 * np.pi / 60.0)  # BSK-RL's Honeywell HR16: 50 Nms at 6,000 rpm, along the axes
    env.reset([0])
    satellites = env.episode(0).constellation.satellites
    momentum = {}
    while env.episode(0).constellation.time_s < 2500.0:
        env.step(np.zeros((1, 6), np.int64))
        speeds = [s.dynamics.rwStateEffector.rwSpeedOutMsg.read().wheelSpeeds[1] for s in satellites]
        momentum[env.episode(0).constellation.time_s] = rotor_kg_m2 * np.array(speeds)
    first, last = min(time for time in momentum if time > 900.0), max(momentum)
    torque = np.array([np.ravel(s.sat_args["disturbance_vector"]) for s in satellites])
    assert np.linalg.norm(torque, axis=-1) == pytest.approx(0.004)
    assert momentum[last] - momentum[first] == pytest.approx(torque[:, 1] * (last - first), rel=0.01)


def test_scouts_flag_urgent_targets_once_they_have_seen_them() -> None:
    config = mission("tip_and_cue", 900.0)
    free = dataclasses.replace(config, communication=Communication.free)
    alone = dataclasses.replace(config, communication=Communication.none)
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
    config = dataclasses.replace(mission("optical_sar", 1500.0), communication=communication)
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


def test_merged_windows_cover_the_same_instants() -> None:
    rng = np.random.default_rng(0)
    for count in (0, 1, 2, 7, 40):
        open_s = rng.uniform(0, 1000, count)
        close_s = open_s + rng.uniform(1, 60, count)
        spans = merged(open_s, close_s)
        assert (spans[1:, 0] > spans[:-1, 1]).all()
        for time_s in rng.uniform(-10, 1100, 500):
            inside = ((open_s <= time_s) & (time_s <= close_s)).any()
            assert inside == ((spans[:, 0] <= time_s) & (time_s <= spans[:, 1])).any()


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
            "ground_stations.at.Hawaii=[120.0, 0.0] is not allowed: it must be [latitude_deg, longitude_deg] within",
        ),
        (
            ["scenario=tip_and_cue", "scenario.hardware.imager.storage_images=0"],
            "hardware.storage_images=0 is not allowed: it must be between 1 and",
        ),
        (
            ["scenario=tip_and_cue", "scenario.reward.rule=nonsense"],
            "reward.rule='nonsense' is not allowed: it must be module:attribute",
        ),
        (
            ["scenario=tip_and_cue", "scenario.reward.rule=''"],
            "reward.rule='' is not allowed: it must be module:attribute",
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


def chain(*overrides: str) -> Constellation:
    """Three satellites one behind the other: each sees its neighbours, the first and the last do not see each other."""
    config = mission(
        "imaging_constellation",
        2400.0,
        *("scenario.constellation.per_plane=3", "scenario.constellation.spacing_deg=40"),
        *("scenario.communication=line_of_sight", "scenario.constellation.classes=[{hardware:wide,sensing:full}]"),
        *overrides,
    )
    constellation = Constellation(config)
    constellation.reset(1)
    return constellation


def all_image(constellation: Constellation, failure_s: np.ndarray, outage: Spells) -> None:
    """Every living satellite images whatever it can, to the end."""
    while not constellation.over():
        for satellite in constellation.satellites:
            if satellite.requires_retasking and satellite.is_alive():
                windows = satellite.windows
                open_now = np.nonzero(
                    (windows.open_s <= constellation.time_s) & (windows.close_s > constellation.time_s)
                )[0]
                new = [
                    k
                    for k in open_now
                    if constellation.targets[windows.target[k]] not in satellite.data_store.data.imaged
                ]
                if new:
                    satellite.image(
                        constellation.targets[windows.target[new[0]]], float(windows.close_s[new[0]]), 120.0
                    )
                else:
                    satellite.charge(30.0)
        constellation.advance(failure_s, outage)


NEVER = np.full(3, np.inf)
NO_OUTAGE = Spells(np.empty(0), np.empty(0))


def test_news_travels_along_a_chain_but_not_through_a_dead_link() -> None:
    heard = {}
    for name, failure_s in (("alive", NEVER), ("dead", np.array([np.inf, 60.0, np.inf]))):
        constellation = chain()
        all_image(constellation, failure_s, NO_OUTAGE)
        first, _, last = (satellite.data_store for satellite in constellation.satellites)
        own = {image.target for image in first.buffer}
        assert len(own) >= 5
        heard[name] = len(own & last.data.imaged - {image.target for image in last.buffer})
    assert heard["alive"] >= 4
    assert heard["dead"] <= 1  # what came before the link died


def test_what_was_in_sight_during_an_outage_is_not_heard_after_it() -> None:
    """Neighbours are always in sight here: after the outage they hear one another, within it they do not; but a
    constellation out of whose sight they are at its end hears nothing."""
    constellation = chain()
    all_image(constellation, NEVER, Spells(np.array([0.0]), np.array([2500.0])))
    stores = [satellite.data_store for satellite in constellation.satellites]
    assert all(store.data.imaged == {image.target for image in store.buffer} for store in stores)
    # As if the outage ended now, with nobody in sight any more:
    assert constellation.communicator.communication_pairs() == []


def test_each_pair_in_sight_is_told_once() -> None:
    constellation = chain()
    for satellite in constellation.satellites:
        satellite.charge(60.0)
    constellation.advance(NEVER, Spells(np.array([1000.0]), np.array([1001.0])))
    assert constellation.time_s == pytest.approx(60.0)
    for satellite in constellation.satellites:
        satellite.charge(60.0)
    constellation._run_until_decision(NEVER)
    a, b, c = constellation.satellites
    pairs = constellation.communicator.communication_pairs()
    assert len(pairs) == len({*pairs}) == 4
    assert {*pairs} == {(a, b), (b, a), (b, c), (c, b)}
