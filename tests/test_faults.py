"""Faults in the loop: their rates against closed form, and what they do to an episode."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.episode_result import EpisodeResult
from envs.basilisk.faults import Faults, spells
from envs.basilisk.heuristics import GreedyPolicy
from scenarios.communication import Communication, CommunicationConfig
from scenarios.compose import composed
from scenarios.mission import FaultsConfig, ScenarioConfig
from scenarios.ranges import ConfigError

FOREVER_S = 1e12


def mission(duration_s: float = 600.0, communication: str = "free", **faults: float | bool) -> ScenarioConfig:
    base = composed("scenario=imaging_constellation").scenario
    heard = CommunicationConfig(Communication(communication))
    deaf = {group: [block for block in blocks if block != "intent"] for group, blocks in base.sensing.items()}
    faulty = FaultsConfig(**faults)
    return dataclasses.replace(base, duration_s=duration_s, sensing=deaf, communication=heard, faults=faulty)


def flown(config: ScenarioConfig, seed: int = 4, training: bool = False) -> tuple[EpisodeResult, float, bool]:
    """Account, return, and whether all were lost."""
    env = ConstellationEnv(config, training)
    policy = GreedyPolicy(env.specs)
    step = env.reset([seed])
    total = 0.0
    while not (step.terminated | step.truncated).all():
        step = env.step(policy.act(step))
        total += float(step.reward[0])
    return env.results()[0], total, bool(step.terminated[0])


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_spells_take_up_their_share_of_the_time(share: float) -> None:
    span_s, mean_s = 2e6, 100.0
    made = spells(share, mean_s, span_s, np.random.default_rng(0))
    lengths = np.minimum(made.end_s, span_s) - made.start_s
    assert (made.start_s[1:] >= made.end_s[:-1]).all()
    # Of an alternating renewal process with exponential times: the number of cycles has about its mean's deviation.
    cycles = span_s * share / mean_s
    assert lengths.sum() / span_s == pytest.approx(share, abs=6 * share * (1 - share) * np.sqrt(2 / cycles) + 1e-3)
    assert np.mean(lengths) == pytest.approx(mean_s, rel=6 / np.sqrt(cycles))
    # At time 0 it is as likely out as at any other.
    begun = np.mean([spells(share, mean_s, 1.0, np.random.default_rng(seed)).holds(0.0) for seed in range(1000)])
    assert begun == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 1000))


def test_spells_hold_from_start_to_end() -> None:
    made = spells(0.5, 50.0, 1000.0, np.random.default_rng(1))
    start, end = float(made.start_s[0]), float(made.end_s[0])
    assert made.holds(start) and made.holds(end - 1e-6) and not made.holds(end)
    assert not spells(0.0, 50.0, 1000.0, np.random.default_rng(1)).holds(10.0)


def test_failures_come_at_their_rate_and_streams_do_not_mix() -> None:
    def drawn(**rates: float) -> Faults:
        return Faults(FaultsConfig(**rates), satellites=4000, blocks=2, orbit_s=6000.0, span_s=100.0, seed=1)

    once = drawn(satellite_failures=0.5).failure_s
    assert np.mean(once) == pytest.approx(12000.0, rel=4 / np.sqrt(4000))
    assert np.mean(once > 12000.0) == pytest.approx(np.exp(-1), abs=4 * np.sqrt(0.23 / 4000))
    np.testing.assert_allclose(drawn(satellite_failures=1.0).failure_s, once / 2)
    np.testing.assert_array_equal(drawn(satellite_failures=0.5, crosslink_outage=0.5).failure_s, once)
    assert np.isinf(drawn(crosslink_outage=0.5).failure_s).all()


def test_no_fault_changes_nothing() -> None:
    assert flown(mission()) == flown(mission(outage_s=5.0, dropout_s=5.0, training=False))


def test_a_satellite_that_fails_is_nobodys_fault() -> None:
    result, total, over = flown(mission(satellite_failures=60.0))
    assert over and result.failures == 4 and result.deaths == 0
    assert total == pytest.approx(result.captured, abs=1e-4)  # no penalty
    assert result.duration_s < 600.0


def test_one_that_fails_is_gone_at_that_tick_and_the_others_go_on() -> None:
    env = ConstellationEnv(mission(satellite_failures=15.0))
    policy = GreedyPolicy(env.specs)
    step = env.reset([0])
    fails_s = env.episode(0).faults.failure_s
    first = int(np.argmin(fails_s))
    assert fails_s[first] < 600.0
    now_s = 0.0
    while not (step.terminated | step.truncated).all():
        assert step.alive[0, first] == (now_s < fails_s[first])
        assert not (step.active[0, first] and now_s >= fails_s[first])
        step = env.step(policy.act(step))
        now_s += float(step.duration_s[0])
        if not step.alive[0, first] and now_s - float(step.duration_s[0]) < fails_s[first]:
            assert now_s - fails_s[first] <= 1.0  # the simulation's step
    result = env.results()[0]
    assert result.failures == int(np.sum(fails_s <= 600.0))
    assert sum(result.decisions) > result.decisions[first]


def test_the_dead_reach_no_target() -> None:
    """What a satellite is told of who else can still reach a target counts the living."""
    env = ConstellationEnv(mission(900.0, satellite_failures=12.0))
    policy = GreedyPolicy(env.specs)
    step = env.reset([1])
    seen = dict.fromkeys(range(1, 5), 0.0)  # greatest share, by how many live
    while not (step.terminated | step.truncated).all():
        for n in np.nonzero(step.active[0])[0]:
            spec = env.specs[n]
            share = step.obs[0, n, spec.slice("claimed")].reshape(spec.slots, 2)[:, 1].max()
            living = int(step.alive[0].sum())
            seen[living] = max(seen[living], float(share))
            assert share <= (living - 1) / 3 + 1e-6
        step = env.step(policy.act(step))
    assert seen[4] == 1.0 and seen[1] == 0.0


def test_decisions_that_do_not_arrive_leave_a_satellite_charging() -> None:
    result, _, _ = flown(mission(missing_decisions=1.0))
    assert result.missed == sum(result.decisions) == sum(result.charges)
    assert sum(result.images) == 0
    some, _, _ = flown(mission(missing_decisions=0.5))
    assert 0.2 < some.missed / sum(some.decisions) < 0.8


def test_late_decisions_begin_when_they_arrive_and_are_what_was_chosen() -> None:
    late_s = 40.0
    config = mission(1500.0, late_decisions=1.0, late_s=late_s)
    env = ConstellationEnv(config)
    policy = GreedyPolicy(env.specs)
    step = env.reset([4])
    episode = env.episode(0)
    fixed = len(config.actions.fixed)
    chosen: dict[int, tuple[float, object, float]] = {}  # by satellite: when it was asked, its target, until when
    now_s, begun, void = 0.0, 0, 0
    while not (step.terminated | step.truncated).all():
        action = policy.act(step)
        for n in np.nonzero(step.active[0])[0]:
            if n in chosen:  # asked before its decision began: it came too late for its target
                asked_s, _, until_s = chosen.pop(n)
                assert asked_s + late_s <= now_s and until_s <= now_s
                void += 1
            if action[0, n] >= fixed:
                chosen[n] = (now_s, *episode.features.opportunity(n, int(action[0, n]) - fixed))
        step = env.step(action)
        now_s += float(step.duration_s[0])
        for n, satellite in enumerate(episode.constellation.satellites):
            if n not in chosen:
                continue
            asked_s, target, _ = chosen[n]
            if satellite.running is target:
                assert now_s - asked_s == pytest.approx(late_s, abs=config.sim_step_s)
                assert not step.active[0, n]
                del chosen[n]
                begun += 1
            else:
                assert satellite.running == "charge" and now_s - asked_s < late_s + config.sim_step_s
    result = env.results()[0]
    assert result.late == sum(result.decisions) and result.missed == 0
    assert begun > 10 and void > 0 and 0 < sum(result.images) <= begun


def test_late_decisions_come_at_their_share_and_cost() -> None:
    some, none = flown(mission(1500.0, late_decisions=0.5))[0], flown(mission(1500.0))[0]
    assert 0.3 < some.late / sum(some.decisions) < 0.7
    assert none.late == 0 and sum(some.images) < sum(none.images)
    lost = flown(mission(missing_decisions=1.0, late_decisions=1.0))[0]
    assert lost == dataclasses.replace(flown(mission(missing_decisions=1.0))[0], late=0)
    both = flown(mission(1500.0, missing_decisions=0.5, late_decisions=0.5))[0]
    assert 0.3 < both.late / (sum(both.decisions) - both.missed) < 0.7


def test_any_late_decision_lasts_as_long_as_one_in_time() -> None:
    """From its arrival on; here those that end by the clock: charging, downlink and desaturation."""
    config = composed("scenario=tip_and_cue", "scenario.duration_s=900").scenario
    config = dataclasses.replace(config, faults=FaultsConfig(late_decisions=1.0, late_s=25.0))
    lasts_s = {
        "charge": config.actions.charge_duration_s,
        "downlink": config.actions.downlink_duration_s,
        "desat": config.actions.desaturation_duration_s,
    }
    env = ConstellationEnv(config)
    step = env.reset([1])
    satellites = env.episode(0).constellation.satellites
    action = np.array([[0, 1, 2, 0, 1, 2]])
    names = [config.actions.fixed[a] for a in action[0]]
    assert step.action_mask[0, range(6), action[0]].all() and step.active.all()
    step = env.step(action)
    assert step.duration_s[0] == 25.0 and not step.active.any()
    for satellite, name in zip(satellites, names, strict=True):
        assert satellite.running == name
        assert satellite.deadline_s == pytest.approx(25.0 + lasts_s[name])
    step = env.step(action)
    assert step.duration_s[0] == min(lasts_s.values())


def test_a_satellite_that_fails_never_gets_its_late_decision() -> None:
    env = ConstellationEnv(mission(900.0, satellite_failures=12.0, late_decisions=1.0, late_s=60.0))
    policy = GreedyPolicy(env.specs)
    step = env.reset([1])
    satellites = env.episode(0).constellation.satellites
    while not (step.terminated | step.truncated).all():
        step = env.step(policy.act(step))
        for n in np.nonzero(~step.alive[0])[0]:
            assert satellites[n].running is None and not step.active[0, n]
    assert env.results()[0].failures == 4


def test_a_block_that_is_out_reads_nothing() -> None:
    env = ConstellationEnv(mission(sensor_dropout=0.999999, dropout_s=FOREVER_S))
    step = env.reset([0])
    assert step.active.all() and not step.obs.any()
    assert step.state.any() and step.health.any()  # the critic and the guard are told as ever
    half = ConstellationEnv(mission(sensor_dropout=0.5, dropout_s=FOREVER_S)).reset([0]).obs[0]
    whole = ConstellationEnv(mission()).reset([0]).obs[0]
    blank = 0
    for row, spec in enumerate(env.specs):
        for block in spec.blocks:
            part = spec.slice(block.name)
            out = not half[row, part].any()
            blank += out and bool(whole[row, part].any())
            if not out:
                np.testing.assert_array_equal(half[row, part], whole[row, part])
    assert 8 < blank < 36  # of 44 blocks, those that are 0 anyway not counted


def test_an_outage_without_end_is_no_communication() -> None:
    without, *ended = flown(mission(1500.0, "none"))
    out, *out_ended = flown(mission(1500.0, crosslink_outage=0.999999, outage_s=FOREVER_S))
    assert out.sent_bits == tuple(16 * decisions for decisions in out.decisions)  # sent, though nobody hears
    assert without.sent_bits == (0,) * 4
    silent = dataclasses.replace(out, sent_bits=without.sent_bits, bits_per_orbit=without.bits_per_orbit)
    assert (silent, out_ended) == (without, ended)
    assert flown(mission(1500.0))[0].duplicates < without.duplicates


def test_after_an_outage_all_is_told() -> None:
    """News is kept until it can be told, though nothing new has come since."""
    env = ConstellationEnv(mission(1500.0, crosslink_outage=0.5, outage_s=100.0))
    policy = GreedyPolicy(env.specs)
    step = env.reset([4])
    now_s, told = 0.0, 0
    while not (step.terminated | step.truncated).all():
        step = env.step(policy.act(step))
        now_s += float(step.duration_s[0])
        episode = env.episode(0)
        if not episode.faults.outage.holds(episode.constellation.time_s):
            everything = episode.constellation.rewarder.data.imaged
            assert all(s.data_store.data.imaged == everything for s in episode.constellation.satellites)
            told += bool(everything)
    assert told > 5


def test_training_can_be_spared() -> None:
    faulty = mission(satellite_failures=60.0, training=False)
    assert flown(faulty, training=True)[0].failures == 0
    assert flown(faulty, training=False)[0].failures == 4


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"crosslink_outage": 1.0}, "faults.crosslink_outage=1.0 is not allowed: it must be from 0 to below 1"),
        ({"sensor_dropout": -0.1}, "faults.sensor_dropout=-0.1 is not allowed: it must be from 0 to below 1"),
        ({"late_decisions": -0.1}, "faults.late_decisions=-0.1 is not allowed: it must be between 0 and 1"),
        ({"late_s": 0.0}, "faults.late_s=0.0 is not allowed"),
        ({"missing_decisions": 2.0}, "faults.missing_decisions=2.0 is not allowed: it must be between 0 and 1"),
        ({"outage_s": 0.0}, "faults.outage_s=0.0 is not allowed: it must be a number above 0"),
    ],
)
def test_bad_rates_are_refused(setting: dict[str, float], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        FaultsConfig(**setting)  # type: ignore[arg-type]
