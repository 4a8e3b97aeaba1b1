"""Downlink, buffers and wheels in Basilisk, against Basilisk's own messages and the momentum that a torque brings."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from envs.api import Policy, Step
from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.features import PASS_SCALE
from envs.basilisk.heuristics import GreedyPolicy
from envs.basilisk.trace import ACTIVITIES
from envs.basilisk.windows import merged
from scenarios.communication import Communication, CommunicationConfig
from scenarios.mission import FaultsConfig, RewardAt, RewardConfig
from tests.test_missions import block, mission
from training.missions.flight import GuardedPolicy, limits_of

CHARGE, DOWNLINK, DESATURATE, FIRST_IMAGE = range(4)


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


def test_the_trace_tells_deliveries_apart_from_images() -> None:
    env = ConstellationEnv(mission("tip_and_cue", 2400.0), traced=1)
    policy = GreedyPolicy(env.specs, global_knowledge=True)
    step = env.reset([2])
    while not (step.terminated | step.truncated).all():
        step = env.step(policy.act(step))
    [trace], [result] = env.traces(), env.results()
    delivered = trace.target_delivered_by >= 0
    assert 0 < delivered.sum() < (trace.target_imaged_by >= 0).sum()
    assert (trace.target_delivered_s[delivered] > trace.target_imaged_s[delivered]).all()
    by = [trace.target_priority[trace.target_delivered_by == n].sum() for n in range(len(env.specs))]
    assert sum(by) == pytest.approx(result.captured)
    np.testing.assert_allclose(by, result.captured_by, atol=1e-6)
    # What was first imaged by somebody and is still on board; duplicates of it are on board nowhere else.
    waiting = (trace.target_imaged_by >= 0) & ~delivered
    assert trace.target_priority[waiting].sum() == pytest.approx(result.undelivered)


def test_images_reach_the_ground_in_downlinks_where_they_are_rewarded_when_taken_too() -> None:
    config = mission("tip_and_cue", 2400.0)
    env = ConstellationEnv(dataclasses.replace(config, reward=RewardConfig(at=RewardAt.image)), traced=1)
    policy = GreedyPolicy(env.specs, global_knowledge=True)
    step = env.reset([2])
    while not (step.terminated | step.truncated).all():
        step = env.step(policy.act(step))
    [trace], [tasks] = env.traces(), env.tasks()
    env.close()
    assert (trace.target_delivered_by == trace.target_imaged_by).all()  # what is rewarded
    sent = np.flatnonzero(trace.target_sent_by >= 0)
    assert 0 < len(sent) < (trace.target_imaged_by >= 0).sum()
    downlinks = tasks.action == ACTIVITIES.index("downlinking")
    for m in sent:
        own = downlinks & (tasks.satellite == trace.target_sent_by[m])
        when_s = trace.target_sent_s[m]
        assert when_s > trace.target_imaged_s[m]
        assert ((tasks.start_s[own] < when_s) & (when_s <= tasks.end_s[own])).any()
    assert np.isnan(trace.target_sent_s[trace.target_sent_by < 0]).all()


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


def test_a_lost_satellite_takes_its_images_along() -> None:
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
    config = dataclasses.replace(mission("tip_and_cue", 3000.0), communication=CommunicationConfig(Communication.none))
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
        name: dataclasses.replace(hardware, transmitter_power_W=60.0, max_wheel_speed_rpm=6000.0)  # no wheel fails
        for name, hardware in config.hardware.items()
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
