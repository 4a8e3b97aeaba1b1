"""Intents over the crosslink: who hears whose, when they are forgotten, what they cost, and what is refused."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.episode import Episode
from envs.basilisk.episode_result import EpisodeResult
from envs.basilisk.faults import Spells
from envs.basilisk.heuristics import RandomPolicy
from envs.basilisk.intents import Intents
from envs.basilisk.simulation import Constellation
from envs.basilisk.twin.environment import TwinEnv
from envs.basilisk.twin.worlds import world_of
from onboard.admission import admit
from onboard.budget import BudgetError
from onboard.bundle import BundleError, read_bundle, write_bundle
from scenarios.communication import Communication, CommunicationConfig, most_targets
from scenarios.compose import composed
from scenarios.mission import ScenarioConfig
from scenarios.ranges import ConfigError
from tests.test_communication import NO_OUTAGE
from tests.test_missions import mission
from training.missions.export import budget_of, export_students
from training.missions.flight import FlightPlan, OnboardPolicy
from training.missions.policies import NetworkPolicy
from training.missions.rollout import collect
from training.missions.simulate import TeamPlan

# Satellites that sense no intents.
DEAF = tuple(
    f"scenario.sensing.{group}=[{','.join(block for block in blocks if block != 'intent')}]"
    for group, blocks in composed("scenario=imaging_constellation").scenario.sensing.items()
)
FLOWN = Path(__file__).parents[1] / "results/bundles/imaging_constellation-lh_a"
CHAIN = (  # three in a row: each sees its neighbours, the ends do not see each other
    *("scenario.constellation.per_plane=3", "scenario.constellation.spacing_deg=40"),
    *("scenario.communication.mode=line_of_sight", "scenario.constellation.classes=[{hardware:wide,sensing:full}]"),
)


# --- what is heard, and for how long ---


def test_an_intent_is_kept_until_the_next_is_heard_or_it_is_stale() -> None:
    intents = Intents(CommunicationConfig(intent_bits=9), satellites=3, stale_s=120.0, seed=0)
    everyone = np.array([True, True, True])
    assert intents.heard(0, 0.0).tolist() == [-1, -1, -1]
    intents.broadcast(1, 7, 10.0, everyone & [True, False, True])
    intents.broadcast(2, 7, 20.0, everyone & [True, True, False])
    assert intents.heard(0, 30.0).tolist() == [-1, 7, 7]
    assert intents.heard(1, 30.0).tolist() == [-1, -1, 7]
    intents.broadcast(1, -1, 40.0, np.array([True, False, False]))  # it pursues nothing now; satellite 2 does not hear
    assert intents.heard(0, 50.0).tolist() == [-1, -1, 7]
    assert intents.heard(2, 50.0).tolist() == [-1, 7, -1]
    assert intents.heard(2, 129.9).tolist() == [-1, 7, -1]  # the intent of 10 s is stale at 130 s
    assert intents.heard(2, 130.0).tolist() == [-1, -1, -1]
    assert intents.sent_bits.tolist() == [0, 18, 9]  # once per broadcast, whoever hears it


def test_each_receiver_loses_its_share_and_with_more_losses_the_same_and_more() -> None:
    everyone, broadcasts = np.array([False, True, True, True]), 4000

    def lost(share: float) -> np.ndarray:
        intents = Intents(CommunicationConfig(intent_loss=share), satellites=4, stale_s=1.0, seed=5)
        missed = np.zeros((broadcasts, 3), dtype=np.bool_)
        for k in range(broadcasts):
            intents.broadcast(0, k, 2.0 * k, everyone)
            missed[k] = [intents.heard(receiver, 2.0 * k)[0] != k for receiver in (1, 2, 3)]
        return missed

    third, half = lost(0.3), lost(0.5)
    assert not lost(0.0).any() and lost(1.0).all()
    for receiver in range(3):
        assert third[:, receiver].mean() == pytest.approx(0.3, abs=4 * math.sqrt(0.21 / broadcasts))
    assert half[third].all() and half.sum() > third.sum()
    together = (third[:, 0] & third[:, 1]).mean()  # each receiver by itself
    assert together == pytest.approx(0.09, abs=4 * math.sqrt(0.09 * 0.91 / broadcasts))


# --- in Basilisk ---


def flown(*overrides: str, seed: int = 3, deaf: bool = False) -> tuple[int, int, EpisodeResult, list[np.ndarray]]:
    """Random decisions to the end. The intent block of every satellite that is asked is checked against a record kept
    here of who sent what when; all others hear it, or, being ``deaf``, nobody.

    Returns:
        how many intents the blocks counted, how many were sent for a target, the account, and the other columns.
    """
    env = ConstellationEnv(mission("imaging_constellation", 900.0, *overrides))
    spec, fixed = env.specs[0], len(env.specs[0].fixed_actions)
    columns = spec.slice("intent")
    policy = RandomPolicy()
    policy.reset([seed])
    step = env.reset([seed])
    now_s, last, counted, sent, others = 0.0, {}, 0, 0, []
    while True:
        others.append(step.obs[0, :, : columns.start].copy())
        offered = env.episode(0).features.offered
        for n in np.nonzero(step.active[0])[0].tolist():
            expected = [
                sum(
                    target == offered_target and now_s - at_s < 120.0 and not deaf
                    for sender, (target, at_s) in last.items()
                    if sender != n
                )
                for offered_target in offered[n]
            ]
            block = step.obs[0, n, columns]
            np.testing.assert_array_equal(block[: len(expected)], expected)
            assert not block[len(expected) :].any()
            counted += sum(expected)
        if (step.terminated | step.truncated).all():
            return counted, sent, env.results()[0], others
        actions = policy.act(step)
        for n in np.nonzero(step.active[0])[0].tolist():
            slot = int(actions[0, n]) - fixed
            last[n] = (int(offered[n][slot]) if slot >= 0 else -1, now_s)
            sent += slot >= 0
        step = env.step(actions)
        now_s = env.episode(0).constellation.time_s


def test_everybody_hears_what_is_pursued() -> None:
    counted, sent, result, _ = flown("scenario.constellation.spacing_deg=2")
    assert counted > 20 and sent > 30
    assert result.sent_bits == tuple(16 * decisions for decisions in result.decisions)
    orbit_s = 2 * math.pi * math.sqrt(6878136.6**3 / 3.986004415e14)
    assert result.bits_per_orbit == pytest.approx([bits * orbit_s / 900.0 for bits in result.sent_bits])


def test_only_those_in_sight_hear_and_nobody_passes_it_on() -> None:
    env = ConstellationEnv(mission("imaging_constellation", 300.0, *CHAIN))
    step = env.reset([1])
    env.step(np.where(step.action_mask[0, :, 1], 1, 0)[None])
    while not step.truncated.all():
        step = env.step(np.zeros((1, 3), np.int64))
        heard = np.isfinite(env.episode(0).features.intents._sent_s)  # [receiver, sender]
        assert heard.tolist() == [[False, True, False], [True, False, True], [False, True, False]]


def test_sight_is_a_line_that_clears_the_earth() -> None:
    """Basilisk's Earth is flattened by 2 %: between the two radii the line may be clear or not."""
    constellation = Constellation(mission("walker_cities", 1500.0))
    constellation.reset(2)
    clear, hidden = 0, 0
    while not constellation.over():
        for satellite in constellation.satellites:
            satellite.charge(300.0)
        constellation.advance(np.full(8, np.inf), NO_OUTAGE)
        r = np.array([satellite.bus().r_BN_N for satellite in constellation.satellites])
        for sender in range(8):
            hears = constellation.hearers(sender, NO_OUTAGE)
            assert not constellation.hearers(sender, Spells(np.array([0.0]), np.array([1e9]))).any()
            assert not hears[sender]
            for receiver in range(8):
                line = r[receiver] - r[sender]
                along = np.linspace(0.0, 1.0, 2001)[:, None]
                nearest = np.linalg.norm(r[sender] + along * line, axis=-1).min()
                if receiver != sender and nearest > 6378136.6:
                    assert hears[receiver]
                    clear += 1
                if nearest < 0.98 * 6378136.6:
                    assert not hears[receiver]
                    hidden += 1
    assert clear > 20 and hidden > 20


def test_nobody_hears_during_an_outage_and_it_is_sent_all_the_same() -> None:
    out = ("scenario.faults.crosslink_outage=0.999999", "scenario.faults.outage_s=1e9")
    _, sent, result, _ = flown(*out, deaf=True)
    assert sent > 30 and result.sent_bits == tuple(16 * decisions for decisions in result.decisions)


def test_losses_and_bits_move_nothing_but_the_intents() -> None:
    lossless, lossy = (
        flown("scenario.communication.intent_bits=9"),
        ConstellationEnv(mission("imaging_constellation", 900.0, "scenario.communication.intent_loss=1")),
    )
    policy = RandomPolicy()
    policy.reset([3])
    step, trail = lossy.reset([3]), []
    columns = lossy.specs[0].slice("intent")
    while True:
        trail.append(step.obs[0, :, : columns.start].copy())
        assert not step.obs[0, :, columns].any()
        if step.truncated.all():
            break
        step = lossy.step(policy.act(step))
    np.testing.assert_array_equal(np.stack(trail), np.stack(lossless[3]))
    ours, theirs = lossy.results()[0], lossless[2]
    assert (ours.captured, ours.images, ours.decisions) == (theirs.captured, theirs.images, theirs.decisions)
    assert [bits / 16 for bits in ours.sent_bits] == [bits / 9 for bits in theirs.sent_bits]


def test_with_and_without_intents_all_else_is_the_same_to_the_bit() -> None:
    """Sensor dropouts are drawn per block: a block more moves none of them."""
    seen = []
    for bits in (0, 16):
        env = ConstellationEnv(
            mission(
                *("imaging_constellation", 300.0, f"scenario.communication.intent_bits={bits}"),
                *("scenario.faults.sensor_dropout=0.3", "scenario.faults.dropout_s=50"),
                *(DEAF if bits == 0 else ()),
            )
        )
        policy = RandomPolicy()
        policy.reset([1])
        step, trail = env.reset([1]), []
        while not step.truncated.all():
            trail.append((step.obs[..., : env.specs[0].slice("foretold").stop], step.state, step.action_mask))
            step = env.step(policy.act(step))
        seen.append(trail)
        names = [block.name for block in env.specs[0].blocks]
        assert ("intent" in names) == (bits > 0) and (bits == 0 or names[-1] == "intent")
        assert any(not obs[step_mask[..., 0]].any(axis=0).all() for obs, _, step_mask in trail)
    for (obs, state, mask), (more_obs, more_state, more_mask) in zip(*seen, strict=True):
        assert obs.tobytes() == more_obs.tobytes() and state.tobytes() == more_state.tobytes()
        assert mask.tobytes() == more_mask.tobytes()


def test_a_decision_that_comes_late_is_told_when_it_comes() -> None:
    env = ConstellationEnv(
        mission("imaging_constellation", 600.0, "scenario.faults.late_decisions=1", "scenario.faults.late_s=30")
    )
    step = env.reset([2])
    env.step(np.where(step.action_mask[0, :, 1], 1, 0)[None])
    assert env.episode(0).constellation.time_s == pytest.approx(30.0)
    intents = env.episode(0).features.intents
    begun = [satellite.imaging for satellite in env.episode(0).constellation.satellites]
    assert sum(begun) >= 2  # the windows of the others have closed meanwhile, and nothing began
    assert (intents.sent_bits > 0).tolist() == begun
    assert np.isclose(intents._sent_s[0, 1:], 30.0).tolist() == begun[1:]


# --- numbers of targets, and what is refused ---


def talking(name: str, bits: int) -> ScenarioConfig:
    return mission(name, 900.0, "scenario.training_duration_s=null", f"scenario.communication.intent_bits={bits}")


@pytest.mark.parametrize("name", ["imaging_constellation", "tip_and_cue", "optical_sar", "walker_cities"])
def test_the_bits_number_every_target(name: str) -> None:
    config = mission(name, 900.0, "scenario.training_duration_s=null")
    constellation = Constellation(config)
    most = most_targets(config)
    for seed in (1, 2):
        constellation.reset(seed)
        if config.targets.cities is None:
            assert len(constellation.targets) == most  # clusters: the very number
        else:
            assert 0 < len(constellation.targets) < most == 8000
    needed = math.ceil(math.log2(most + 1))
    assert talking(name, needed).communication.bits_per_decision == needed
    with pytest.raises(
        ConfigError,
        match=rf"^scenario.communication.intent_bits={needed - 1} is not allowed: it must be at least {needed} to "
        rf"number up to {most} targets, or 0 for no intents$",
    ):
        talking(name, needed - 1)


def test_the_longest_training_episode_counts() -> None:
    short = most_targets(composed().scenario)
    config = composed("scenario.training_duration_s=[100,57000]").scenario
    assert most_targets(config) > 5 * short


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"intent_bits": -1}, "intent_bits=-1 is not allowed: it must be a whole number between 0 and 32"),
        ({"intent_bits": 9.5}, "intent_bits=9.5 is not allowed: it must be a whole number between 0 and 32"),
        ({"intent_bits": True}, "intent_bits=True is not allowed"),
        ({"intent_bits": 33}, "intent_bits=33 is not allowed: it must be a whole number between 0 and 32"),
        ({"intent_loss": -0.1}, "intent_loss=-0.1 is not allowed: it must be between 0 and 1"),
        ({"intent_loss": 1.1}, "intent_loss=1.1 is not allowed: it must be between 0 and 1"),
        ({"intent_loss": math.nan}, "intent_loss=nan is not allowed: it must be between 0 and 1"),
    ],
)
def test_impossible_intents_are_refused(values: dict[str, float], sentence: str) -> None:
    with pytest.raises(ConfigError, match=rf"^scenario.communication.{sentence}"):
        CommunicationConfig(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("group", ["sensing.full", "teacher_sensing"])
@pytest.mark.parametrize("silent", ["mode=none", "intent_bits=0"])
def test_intents_that_nobody_hears_cannot_be_sensed(group: str, silent: str) -> None:
    sensing = f"scenario.{group}=[battery,intent]"
    assert "intent" in composed(*DEAF, sensing).scenario.blocks
    with pytest.raises(ConfigError) as caught:
        composed(*DEAF, sensing, f"scenario.communication.{silent}")
    assert str(caught.value) == (
        f"scenario.{group}='intent' is not allowed: it must be a block other than intent, for nobody hears one with "
        f"scenario.communication.{silent}"
    )


def test_the_teacher_reads_intents_only_if_it_is_told_to() -> None:
    assert "intent" not in composed("scenario.teacher_sensing=null").scenario.taught
    assert CommunicationConfig(Communication.none).bits_per_decision == 0


@pytest.mark.parametrize(
    "overrides",
    [
        ("scenario.constellation.spacing_deg=2",),
        ("scenario.constellation.spacing_deg=2", "scenario.communication.mode=line_of_sight"),
        CHAIN,
    ],
)
def test_the_twin_hears_what_basilisk_hears(overrides: tuple[str, ...]) -> None:
    config = mission("imaging_constellation", 900.0, *overrides)
    size = config.constellation.size
    episode = Episode(config, np.zeros(size, dtype=np.bool_), training=False)
    moment = episode.reset(6)
    env = TwinEnv(config, [world_of(config, episode.constellation)], training=False)
    step, policy, columns, heard = env.replay([0]), RandomPolicy(), env.specs[0].slice("intent"), 0
    policy.reset([6])
    while not (moment.terminated or moment.truncated):
        np.testing.assert_array_equal(moment.active, step.active[0])
        np.testing.assert_array_equal(moment.obs[:, columns], step.obs[0, :, columns])
        ours, theirs = env.flight(0), episode.features.intents
        np.testing.assert_array_equal(ours._arrays["intent"], theirs._target)  # of whom who heard last
        np.testing.assert_allclose(ours._arrays["intent_s"], theirs._sent_s)
        heard += int(moment.obs[:, columns].sum())
        actions = policy.act(step)
        moment, step = episode.step(actions[0]), env.step(actions)
    assert heard > 20 or size == 3
    ours, theirs = env.results()[0], episode.result()
    assert ours.sent_bits == theirs.sent_bits == tuple(16 * decisions for decisions in theirs.decisions)
    assert ours.bits_per_orbit == pytest.approx(theirs.bits_per_orbit)


def test_the_twin_loses_the_share_of_the_intents() -> None:
    config = mission("imaging_constellation", 900.0)
    constellation = Constellation(config)
    constellation.reset(1)
    worlds = [world_of(config, constellation)]

    def heard(share: float) -> tuple[int, list[np.ndarray]]:
        """How many intents were heard in some episodes at their first decisions, and how these went on."""
        told = dataclasses.replace(config, communication=CommunicationConfig(intent_loss=share))
        env, policy = TwinEnv(told, worlds, training=False), RandomPolicy()
        step = env.reset(list(range(200)))
        policy.reset(list(range(200)))
        step = env.step(policy.act(step))
        at_first = sum(int((env.flight(index)._arrays["intent_s"] == 0.0).sum()) for index in range(200))
        others = []
        for _ in range(20):
            others.append(step.obs[..., : env.specs[0].slice("intent").start])
            step = env.step(policy.act(step))
        return at_first, others

    all_of_them = 200 * 4 * 3  # each of four satellites is heard by three
    none_lost, some_lost = heard(0.0), heard(0.4)
    assert none_lost[0] == all_of_them and heard(1.0)[0] == 0
    assert some_lost[0] / all_of_them == pytest.approx(0.6, abs=4 * math.sqrt(0.24 / all_of_them))
    np.testing.assert_array_equal(np.stack(none_lost[1]), np.stack(some_lost[1]))  # nothing else moves


# --- students that sense them, and their bundle ---


def test_students_that_hear_intents_fly_from_a_bundle_that_carries_their_bits(tmp_path: Path) -> None:
    config = mission(
        "imaging_constellation",
        300.0,
        "scenario.sensing.full=[battery,eclipse,priority,angle,intent]",
        "scenario.communication.intent_bits=10",
    )
    env = ConstellationEnv(config)
    plan = TeamPlan(tuple(map(tuple, config.visible)), tuple((n,) for n in range(4)), (8,) * 4)
    team, sensings = plan.build(env.specs), plan.sensings(env.specs)
    rollout = collect(env, NetworkPolicy(team, sample=True), [1])
    folder = tmp_path / "bundle"
    run = composed()
    export_students(
        *(folder, "imaging_constellation", team, sensings, rollout, budget_of(run.budget, {}), {}),
        bits_per_decision=config.communication.bits_per_decision,
    )
    bundle = read_bundle(folder)
    assert bundle.satellites[0].spec.blocks[-1].name == "intent"
    assert [cost.bits_per_decision for cost in admit(bundle)] == [10] * 4

    def policy(path: Path, intent_bits: int) -> OnboardPolicy:
        return OnboardPolicy(FlightPlan(path, "reference"), env.specs, plan.visible, None, 300.0, intent_bits)

    assert not policy(folder, 10).silent.any() and not policy(folder, 0).silent.any()
    with pytest.raises(BundleError, match=r"made to send 10 bits with each decision, and .*intent_bits=11 are more$"):
        policy(folder, 11)
    tight = budget_of(type(run.budget)(max_bits_per_decision=9), {})
    export_students(
        *(tmp_path / "tight", "imaging_constellation", team, sensings, rollout, tight, {}), bits_per_decision=10
    )
    with pytest.raises(BudgetError, match=r"bits sent per decision 10 exceeds the limit 9"):
        policy(tmp_path / "tight", 10).reset([1])


def test_a_bundle_without_bits_flies_and_says_nothing(tmp_path: Path) -> None:
    bundle = read_bundle(FLOWN)
    silent = [dataclasses.replace(each, bits_per_decision=0) for each in bundle.satellites]
    write_bundle(tmp_path / "silent", bundle.scenario, silent, bundle.provenance)
    config = mission("imaging_constellation", 300.0)
    env = ConstellationEnv(config)
    policy = OnboardPolicy(FlightPlan(tmp_path / "silent", "reference"), env.specs, config.visible, None, 300.0, 16)
    assert policy.silent.all()
    env.silence(policy.silent)
    collect(env, policy, [1])
    policy.close()
    (result,) = env.results()
    assert sum(result.decisions) > 10 and result.sent_bits == (0,) * 4 and result.bits_per_orbit == (0.0,) * 4
