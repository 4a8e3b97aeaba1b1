"""The simulation against closed-form physics, against plain BSK-RL, and against itself."""

from __future__ import annotations

import dataclasses
import resource

import numpy as np
import pytest

from envs.api import Step
from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.features import ECLIPSE_LOOKAHEAD_S, RATE_SCALE, TIME_SCALE
from envs.basilisk.heuristics import GreedyPolicy, RandomPolicy
from envs.basilisk.upstream import chosen_target, plain_environment, replay
from kdmarl_sat.missions.report import globe
from kdmarl_sat.missions.report.exhibits import exhibits
from kdmarl_sat.missions.report.summary import summarise
from kdmarl_sat.missions.results import PolicyResult, RunResult
from scenarios.communication import Communication, CommunicationConfig
from scenarios.compose import composed
from scenarios.constellation import ConstellationConfig
from scenarios.mission import CitiesConfig, ScenarioConfig
from scenarios.ranges import ConfigError
from scenarios.schema import to_dict

EARTH_RADIUS_M = 6378136.6
MU = 3.986004415e14


def mission(duration_s: float = 600.0, **changes: object) -> ScenarioConfig:
    base = composed("scenario=imaging_constellation").scenario
    deaf = {group: [block for block in blocks if block != "intent"] for group, blocks in base.sensing.items()}
    return dataclasses.replace(base, duration_s=duration_s, sensing=deaf, **changes)


def fly(env: ConstellationEnv, policy: GreedyPolicy | RandomPolicy, seeds: list[int]) -> list[Step]:
    steps = [env.reset(seeds)]
    policy.reset(seeds)
    while not (steps[-1].terminated | steps[-1].truncated).all():
        steps.append(env.step(policy.act(steps[-1])))
    return steps


@pytest.fixture(scope="module")
def env() -> ConstellationEnv:
    return ConstellationEnv(mission())


def test_eclipse_fraction_is_that_of_a_cylindrical_shadow() -> None:
    """Fraction of a circular orbit in the Earth's shadow at Sun angle beta:
    arccos(sqrt(h^2 + 2 R h) / ((R + h) cos beta)) / pi (Wertz & Larson, SMAD)."""
    base = mission()
    orbit = dataclasses.replace(base.constellation, random_start=False, raan_deg=40.0)
    long = dataclasses.replace(base, duration_s=60.0, constellation=orbit)
    env = ConstellationEnv(long)
    env.reset([0])
    satellite = env.episode(0).constellation.satellites[0]
    r = EARTH_RADIUS_M + orbit.altitude_km * 1e3
    period = 2 * np.pi * np.sqrt(r**3 / MU)
    start = satellite.eclipse_starts_s[0]
    end = satellite.eclipse_ends_s[satellite.eclipse_ends_s > start][0]
    # At the March equinox the Sun stands on the x axis: sin(beta) = sin(raan) sin(i), up to its sign.
    beta = np.arcsin(np.sin(np.radians(orbit.raan_deg)) * np.sin(np.radians(orbit.inclination_deg)))
    expected = np.arccos(np.sqrt(r**2 - EARTH_RADIUS_M**2) / (r * np.cos(beta))) / np.pi
    # The look-ahead's step is 30 s, and the real shadow is a cone.
    assert (end - start) / period == pytest.approx(expected, abs=45.0 / period)


def test_features_against_geometry(env: ConstellationEnv) -> None:
    """Each named block, recomputed from positions and attitudes alone."""
    step = env.reset([3])
    policy = GreedyPolicy(env.specs)
    for _ in range(6):
        step = env.step(policy.act(step))
    episode = env.episode(0)
    now = episode.constellation.snapshot()
    for n in np.nonzero(step.active[0])[0]:
        spec, satellite = env.specs[n], episode.constellation.satellites[n]
        blocks = {b.name: step.obs[0, n, spec.slice(b.name)].reshape(-1, b.size) for b in spec.blocks}
        assert blocks["battery"][0, 0] == pytest.approx(satellite.dynamics.battery_charge_fraction)
        assert blocks["gyro"][0, 0] * RATE_SCALE == pytest.approx(
            np.linalg.norm(satellite.dynamics.omega_BN_B), rel=1e-5
        )
        assert blocks["eclipse"][0, 0] * ECLIPSE_LOOKAHEAD_S == pytest.approx(now.to_eclipse_start_s[n], rel=1e-5)
        boresight_P = satellite.fsw.c_hat_P  # BSK-RL's own, from sigma_BN and the planet's attitude
        for slot, index in enumerate(episode.features.offered[n]):
            target = episode.constellation.targets[index]
            line = target.r_LP_P - satellite.dynamics.r_BN_P
            angle = np.arccos(line @ boresight_P / np.linalg.norm(line))
            assert blocks["angle"][slot, 0] == pytest.approx(angle, abs=1e-4)
            assert blocks["priority"][slot, 0] == pytest.approx(target.priority)
            close_s = now.time_s + blocks["window"][slot, 1] * TIME_SCALE
            up = target.r_LP_P / np.linalg.norm(target.r_LP_P)
            at_close = satellite.position_P(close_s) - target.r_LP_P
            elevation = np.degrees(np.arcsin(at_close @ up / np.linalg.norm(at_close)))
            if close_s < episode.constellation.scenario.span_s - 30.0:  # else cut by the end of the search
                assert elevation == pytest.approx(
                    np.degrees(satellite.sat_args["imageTargetMinimumElevation"]), abs=0.01
                )
        assert step.action_mask[0, n, 1:].sum() == len(episode.features.offered[n])


def test_target_angle_rate_is_the_derivative_of_pointing(env: ConstellationEnv) -> None:
    """A body that tracks a target perfectly has rate 0, one at rest in space has that of the line of sight."""
    step = env.reset([4])
    n = int(np.nonzero(step.active[0])[0][0])
    episode = env.episode(0)
    satellite = episode.constellation.satellites[n]
    index = episode.features.offered[n][0]
    target = episode.constellation.targets[index]
    rate = step.obs[0, n, env.specs[n].slice("rate")][0] * RATE_SCALE
    dt = 0.5
    lines = [target.r_LP_P - satellite.position_P(t) for t in (0.0, dt)]
    units = [line / np.linalg.norm(line) for line in lines]
    turning = np.cross(units[0], units[1]) / dt  # angular velocity of the line of sight, planet frame
    assert rate == pytest.approx(np.linalg.norm(satellite.dynamics.omega_BP_P - turning), rel=0.02)


def test_equal_rewards_to_plain_bsk_rl() -> None:
    config = mission(1500.0)
    env, plain = ConstellationEnv(config), plain_environment(config)
    policy = GreedyPolicy(env.specs, global_knowledge=True)
    step = env.reset([2])
    decisions, earned, time_s, ours = [], 0.0, 0.0, {}
    while not step.truncated.all():
        actions = policy.act(step)
        for n in np.nonzero(step.active[0])[0]:
            decisions.append((int(n), chosen_target(env.episode(0), n, actions[0, n])))
        step = env.step(actions)
        time_s += float(step.duration_s[0])
        earned += float(step.reward[0].sum())
        ours[round(time_s, 2)] = earned
    theirs, total = {}, 0.0
    for end_s, reward in replay(plain, 2, decisions):
        total += reward
        theirs[round(end_s, 2)] = total
    assert total > 5.0
    assert len(ours) > 50
    for end_s, value in ours.items():
        assert theirs[end_s] == pytest.approx(value, abs=1e-5)


def test_windows_equal_bsk_rls(env: ConstellationEnv) -> None:
    env.reset([5])
    plain = plain_environment(mission())
    plain.reset(seed=5)
    for ours, theirs in zip(env.episode(0).constellation.satellites, plain.satellites, strict=True):
        number = {id(target): index for index, target in enumerate(plain.scenario.targets)}
        limit = 1100.0  # both searches end a little past the episode, not at the same time
        expected = sorted(
            (number[id(o["object"])], *o["window"]) for o in theirs.opportunities if o["window"][1] < limit
        )
        windows = ours.windows
        found = sorted(
            (int(t), float(a), float(b))
            for t, a, b in zip(windows.target, windows.open_s, windows.close_s, strict=True)
            if b < limit
        )
        assert [row[0] for row in found] == [row[0] for row in expected]
        assert np.allclose([row[1:] for row in found], [row[1:] for row in expected], atol=1e-3)


def test_episode_depends_on_its_seed_alone(env: ConstellationEnv) -> None:
    alone = fly(env, RandomPolicy(), [11])
    np.random.seed(123)  # whatever the caller does with numpy's global generator
    together = fly(env, RandomPolicy(), [10, 11])
    again = fly(ConstellationEnv(mission()), RandomPolicy(), [11])
    for other, row in ((together, 1), (again, 0)):
        for mine, theirs in zip(alone, other, strict=False):
            assert mine.obs[0].tobytes() == theirs.obs[row].tobytes()
            assert mine.reward[0].tobytes() == theirs.reward[row].tobytes()
    assert alone[0].obs.tobytes() != fly(env, RandomPolicy(), [12])[0].obs.tobytes()


def test_callers_global_generator_is_left_alone(env: ConstellationEnv) -> None:
    np.random.seed(7)
    expected = np.random.get_state()[1].copy()
    fly(env, RandomPolicy(), [1])
    assert (np.random.get_state()[1] == expected).all()


def test_only_those_who_are_asked_decide(env: ConstellationEnv) -> None:
    step = env.reset([6])
    assert step.active.all()
    step = env.step(np.zeros((1, len(env.specs)), dtype=np.int64))  # all charge for equally long
    assert step.duration_s[0] == pytest.approx(60.0)
    assert step.active.all()
    policy = GreedyPolicy(env.specs)
    for _ in range(5):
        step = env.step(policy.act(step))
        assert 1 <= step.active.sum() <= len(env.specs)
        assert not step.obs[~step.active].any()


def test_an_illegal_action_is_refused(env: ConstellationEnv) -> None:
    env.reset([6])
    with pytest.raises(ValueError, match=r"action 99 of sat_0_slow is not allowed now; allowed: \[0"):
        env.step(np.full((1, len(env.specs)), 99))


def test_death_costs_once_and_ends_only_the_satellite() -> None:
    base = mission(1200.0)
    hungry = dataclasses.replace(base.hardware["slow"], battery_Wh=2.0, initial_charge=[0.3, 0.3], panel_area_m2=1e-6)
    full = {name: dataclasses.replace(hardware, initial_charge=[1.0, 1.0]) for name, hardware in base.hardware.items()}
    guard = dataclasses.replace(base.guard, enabled=False)  # it wants more left than this battery holds
    config = dataclasses.replace(base, hardware={**full, "slow": hungry}, guard=guard)
    env = ConstellationEnv(config)
    steps = fly(env, GreedyPolicy(env.specs, charge_below=0.0), [0])
    assert not steps[-1].alive[0, 0] and steps[-1].alive[0, 1:].all()
    assert steps[-1].truncated[0] and not steps[-1].terminated[0]
    died = next(i for i, step in enumerate(steps) if not step.alive[0, 0])
    assert not any(step.active[0, 0] for step in steps[died:])
    result = env.results()[0]
    total = sum(float(step.reward.sum()) for step in steps)
    assert result.deaths == 1
    assert total == pytest.approx(result.captured - config.death_penalty, rel=1e-5)
    assert result.captured_by[0] == 0.0 and result.images[0] == 0  # the dead image nothing
    # 0.6 Wh, at 10 W + 30 W, last 54 s.
    assert sum(float(step.duration_s[0]) for step in steps[: died + 1]) == pytest.approx(54.0, abs=40.0)


@pytest.mark.parametrize("spacing_deg", [8.0, -60.0, 120.0])
def test_every_satellite_finds_targets_on_its_own_track(spacing_deg: float) -> None:
    """Followers do not fly over the leader's ground track: the Earth has turned meanwhile."""
    base = mission(1500.0)
    string = dataclasses.replace(base.constellation, spacing_deg=spacing_deg, classes=[base.constellation.classes[0]])
    env = ConstellationEnv(dataclasses.replace(base, constellation=string))
    env.reset([1])
    found = [len(s.windows.target) for s in env.episode(0).constellation.satellites]
    assert min(found) > 0.3 * max(found)


def test_clusters_stand_where_their_tracks_pass() -> None:
    """Sub-satellite points of the real, propagated orbit against the places that the targets were strewn around."""
    base = mission(1500.0)
    close = dataclasses.replace(base.targets, cross_track_km=0.0, cluster_radius_km=0.0)
    env = ConstellationEnv(dataclasses.replace(base, targets=close))
    env.reset([3])
    constellation = env.episode(0).constellation
    time_s = np.linspace(0.0, 1500.0, 400)
    for satellite in constellation.satellites:
        under = satellite.position_P(time_s)
        under *= EARTH_RADIUS_M / np.linalg.norm(under, axis=-1, keepdims=True)
        targets = np.array([target.r_LP_P for target in constellation.targets])
        distance_km = np.linalg.norm(targets[:, None] - under[None], axis=-1).min(axis=1) / 1e3
        assert np.sort(distance_km)[len(targets) // 8] < 25.0  # an eighth of all at least is its own


def test_account_is_the_sum_of_what_happened(env: ConstellationEnv) -> None:
    steps = fly(env, GreedyPolicy(env.specs, global_knowledge=True), [21])
    result = env.results()[0]
    assert result.captured == pytest.approx(sum(result.captured_by))
    assert result.captured == pytest.approx(sum(float(step.reward.sum()) for step in steps), rel=1e-5)
    assert 0 < result.captured < result.available
    assert sum(result.decisions) == sum(int(step.active.sum()) for step in steps[:-1])
    assert result.duration_s == pytest.approx(600.0)


@pytest.mark.parametrize("communication", list(Communication))
def test_communication_decides_who_knows_of_an_image(communication: Communication) -> None:
    env = ConstellationEnv(mission(600.0, communication=CommunicationConfig(communication)))
    fly(env, GreedyPolicy(env.specs), [2])
    satellites = env.episode(0).constellation.satellites
    known = [s.data_store.data.imaged for s in satellites]
    everything = set().union(*known)
    assert len(everything) >= 3
    if communication is Communication.none:
        assert [len(each) for each in known] == list(env.results()[0].images)
    else:  # neighbours 3 deg apart are all in view of one another
        assert all(each == everything for each in known)


def test_slots_of_a_satellite_without_windows_come_in_no_order(env: ConstellationEnv) -> None:
    step = env.reset([2])
    assert (step.action_mask[0, :, 1:].sum(-1) >= 5).all()
    ordered, shuffled = [], []
    for n, spec in enumerate(env.specs):
        closing = step.obs[0, n, spec.slice("window")].reshape(-1, 2)[step.action_mask[0, n, 1:], 1]
        (shuffled if n == 2 else ordered).append(bool((np.diff(closing) >= 0).all()))
    assert all(ordered) and not any(shuffled)


def test_constellation_from_yaml_alone() -> None:
    config = composed(
        "scenario=imaging_constellation",
        "scenario.duration_s=120",
        "scenario.constellation.planes=2",
        "scenario.constellation.per_plane=3",
        "scenario.constellation.raan_spacing_deg=60",
    ).scenario
    env = ConstellationEnv(config)
    step = env.reset([0])
    assert step.obs.shape[1] == 6 and len(env.specs) == 6
    normals = [np.cross(s.dynamics.r_BN_N, s.dynamics.v_BN_N) for s in env.episode(0).constellation.satellites]
    unit = [normal / np.linalg.norm(normal) for normal in normals]
    assert unit[0] @ unit[2] == pytest.approx(1.0, abs=1e-9)
    # Planes of inclination i whose nodes are 60 deg apart: cos = cos^2 i + sin^2 i cos 60.
    i = np.radians(config.constellation.inclination_deg)
    assert unit[0] @ unit[3] == pytest.approx(np.cos(i) ** 2 + np.sin(i) ** 2 * 0.5, abs=1e-6)


@pytest.mark.parametrize(
    ("shape", "places"),
    [
        ({"planes": 1, "per_plane": 3, "spacing_deg": 40.0}, [(0, 0), (0, -40), (0, -80)]),
        ({"planes": 1, "per_plane": 2, "spacing_deg": 270.0}, [(0, 0), (0, -270)]),
        ({"planes": 1, "per_plane": 4, "spacing_deg": 120.0}, [(0, 0), (0, -90), (0, -180), (0, -270)]),
        ({"planes": 1, "per_plane": 4, "spacing_deg": -120.0}, [(0, 0), (0, 90), (0, 180), (0, 270)]),
        (
            {"planes": 2, "per_plane": 2, "spacing_deg": 8.0, "raan_spacing_deg": 30.0, "phasing_deg": 5.0},
            [(0, 0), (0, -8), (30, 5), (30, -3)],
        ),
        ({"planes": 3, "per_plane": 1, "raan_spacing_deg": 200.0}, [(0, 0), (120, 0), (240, 0)]),
        ({"planes": 2, "per_plane": 1, "phasing_deg": 10.0}, [(0, 0), (0, 10)]),
    ],
)
def test_where_satellites_stand(shape: dict[str, float], places: list[tuple[float, float]]) -> None:
    """At the spacing given, or evenly round the circle where that many do not fit."""
    constellation = ConstellationConfig(**shape, classes=[])  # type: ignore[arg-type]
    assert [constellation.place_deg(n) for n in range(constellation.size)] == places
    last = abs(constellation.place_deg(constellation.per_plane - 1)[1])
    assert constellation.string_deg == last
    assert constellation.place_deg(0, 20.0, 10.0) == (20.0, 10.0)


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ({"spacing_deg": 0.0}, r"spacing_deg=0.0 is not allowed: it must be such that satellites 0 and 1 are not"),
        ({"planes": 2}, r"raan_spacing_deg=0.0 is not allowed: it must be such that satellites 0 and 4 are not"),
        ({"planes": 2, "phasing_deg": 6.0}, r"satellites 0 and 6 "),  # two places behind
        ({"planes": 2, "inclination_deg": 0.0, "raan_spacing_deg": 6.0}, r"satellites 0 and 6 "),  # one plane in truth
        ({"planes": 2, "inclination_deg": 180.0, "raan_spacing_deg": 6.0}, r"satellites 2 and 4 "),
    ],
)
def test_two_satellites_in_one_place_are_refused(shape: dict[str, float], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        ConstellationConfig(**shape, classes=[])  # type: ignore[arg-type]


@pytest.mark.slow
def test_memory_stays_flat_over_many_resets() -> None:
    env = ConstellationEnv(mission(60.0))
    usage = []
    for seed in range(300):
        fly(env, RandomPolicy(), [seed])
        usage.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    assert usage[-1] - usage[60] < 20.0  # MiB; upstream grows by half a MiB per episode


@pytest.mark.parametrize("name", ["tip_and_cue", "optical_sar", "walker_cities"])
def test_plain_bsk_rl_is_not_asked_for_what_it_lacks(name: str) -> None:
    with pytest.raises(ValueError, match="is not compared with plain BSK-RL"):
        plain_environment(composed(f"scenario={name}").scenario)


def test_an_episode_without_a_single_target() -> None:
    """One city in the world: most flights never come near it."""
    targets = dataclasses.replace(mission().targets, cities=CitiesConfig(number=1, of_largest=1))
    env = ConstellationEnv(mission(300.0, targets=targets), traced=1)
    seed = next(seed for seed in range(50) if not _targets(env, seed))
    fly(env, GreedyPolicy(env.specs), [seed])
    [result] = env.results()
    assert (result.captured, result.available, sum(result.images)) == (0.0, 0.0, 0)
    assert result.duration_s == 300.0
    [trace] = env.traces()
    assert trace.target_priority.shape == (0,)
    policies = (PolicyResult("teacher_fo", "teacher", (result,), trace=trace, film=env.films()[0]),)
    config = to_dict(composed("scenario=imaging_constellation"))
    names = tuple(spec.name for spec in env.specs)
    run = RunResult(run={}, config=config, satellites=names, policies=policies, curves=(), budget=(), claims=())
    assert exhibits(run, summarise(run))
    assert globe.document(run) is not None


def _targets(env: ConstellationEnv, seed: int) -> int:
    env.reset([seed])
    return len(env.episode(0).constellation.targets)
