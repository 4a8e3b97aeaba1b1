"""The report: statistics against hand-made numbers, figures and page against what was put in."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.collections
import matplotlib.colors
import matplotlib.image
import matplotlib.text
import numpy as np
import pytest
from rich.console import Console

from envs.basilisk.episode_result import EpisodeResult
from envs.basilisk.trace import ACTIVITIES, Trace
from kdmarl_sat.missions.report import console_table, figures, flight_figures, metrics, write_report
from kdmarl_sat.missions.report.exhibits import exhibits, traces_to_show
from kdmarl_sat.missions.report.geometry import along_and_across_km, west_edge_deg, wrap_track
from kdmarl_sat.missions.report.metrics import json_ready
from kdmarl_sat.missions.report.summary import ReportError, apart_of, faults_of, summarise
from kdmarl_sat.missions.results import BudgetRow, Curve, PolicyResult, RunResult
from kdmarl_sat.report import formats, style
from kdmarl_sat.report.statistics import (
    Interval,
    bootstrap_interval,
    interquartile_mean,
    mean_interval,
    mean_ratio,
    paired_difference,
    retention,
)

SATELLITES = ("sat-0 slow", "sat-1 narrow", "sat-2 wide", "sat-3 wide")
SEEDS = tuple(range(1000, 1020))
SCENARIO = {
    "name": "imaging_constellation",
    "epoch_utc": "2026 MAR 20 04:08:00.000 (UTC)",  # when the Sun is where synthetic_trace has it
    "duration_s": 2850.0,
    "constellation": {"altitude_km": 500.0},
}


def synthetic_trace(
    seed: int, skill: float, start_deg: float = 40.0, node_deg: float = 150.0, dies: bool = False
) -> Trace:
    """Four satellites, 3 degrees apart, half a circular orbit (500 km, 50 degrees), 240 clustered targets."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(0.0, 2850.0, 18.0)
    rate = 360.0 / 5677.0
    inclination = np.radians(50.0)

    def sub_point(angle_deg, when_s):
        u = np.radians(angle_deg)
        latitude = np.degrees(np.arcsin(np.sin(inclination) * np.sin(u)))
        longitude = node_deg + np.degrees(np.arctan2(np.cos(inclination) * np.sin(u), np.cos(u))) - when_s * 360 / 86164
        return latitude, (longitude + 180) % 360 - 180

    angle = start_deg + rate * time_s[:, None] - 3.0 * np.arange(4)
    latitude, longitude = sub_point(angle, time_s[:, None])
    at = np.repeat(rng.uniform(-12, 190, 34), 8)
    latitude_0, longitude_0 = sub_point(start_deg + at, at / rate)
    cross = np.repeat(rng.normal(0, 1.35, 34), 8)
    target_latitude = latitude_0 + cross * 0.7 + rng.normal(0, 0.7, at.size)
    target_longitude = longitude_0 + (cross * 0.7 + rng.normal(0, 0.7, at.size)) / np.cos(np.radians(latitude_0))
    priority = rng.random(at.size) ** 2
    accessible = (at > -9) & (at < 181) & (np.abs(cross) < 3.2)
    chance = np.clip(skill * (0.25 + 1.1 * priority), 0, 0.97)
    imaged = accessible & (rng.random(at.size) < chance)
    by = np.where(imaged, rng.integers(0, 4, at.size), -1)
    when = np.where(imaged, np.clip((at + 3 * by) / rate + rng.normal(0, 25, at.size), 0, 2840), np.nan)
    sunlit = (angle < 105) | (angle > 190)
    battery = np.empty_like(latitude)
    action = np.empty(latitude.shape, dtype=np.int64)
    level = rng.uniform(0.3, 0.6, 4)
    hold = np.zeros(4, dtype=int)
    current = np.ones(4, dtype=np.int64)
    for t in range(time_s.size):
        for i in range(4):
            if hold[i] == 0:
                hungry = level[i] < 0.3 and sunlit[t, i]
                current[i] = 0 if hungry or rng.random() < 0.12 else 1
                hold[i] = 3 if current[i] == 0 else rng.integers(2, 6)
            hold[i] -= 1
            battery[t, i], action[t, i] = level[i], current[i]
            level[i] = np.clip(level[i] + (0.013 if current[i] == 0 else 0.003) * sunlit[t, i] - 0.0035, 0.02, 1)
    if dies:
        action[110:, 1] = -1
        battery[100:, 1] = np.linspace(battery[100, 1], 0, time_s.size - 100)
        lost = (by == 1) & (when > time_s[110])
        by[lost], when[lost] = -1, np.nan
    pursued = np.full(action.shape, -1)
    for t, i in np.argwhere(action == 1):
        left_s = np.where(by == i, when, np.inf) - time_s[t]  # to the images it is going to take
        left_s[left_s < 0] = np.inf
        if left_s.min() < 120:
            pursued[t, i] = np.argmin(left_s)
    return Trace(
        time_s=time_s,
        latitude_deg=latitude,
        longitude_deg=longitude,
        radius_km=np.full(latitude.shape, 6878.0),
        battery=battery,
        sunlit=sunlit,
        storage=np.minimum(1, 0.02 + 0.006 * np.cumsum(action == 1, axis=0)),
        action=action,
        pursued=pursued,
        target_latitude_deg=target_latitude,
        target_longitude_deg=(target_longitude + 180) % 360 - 180,
        target_priority=priority,
        target_imaged_by=by.astype(np.int64),
        target_imaged_s=when,
        target_delivered_by=np.where(when + 300 < time_s[-1], by, -1).astype(np.int64),
        target_delivered_s=np.where(when + 300 < time_s[-1], when + 300, np.nan),
        target_accessible=accessible,
    )


def synthetic_policy(name, label, level, macs=(), parameters=(), agreement=(), latency=(), trace=None) -> PolicyResult:
    rng = np.random.default_rng(sum(map(ord, name)))
    common = np.random.default_rng(7).normal(0, 2.2, len(SEEDS))
    episodes = []
    for seed, shift in zip(SEEDS, common, strict=True):
        captured = float(max(1.0, level + shift + rng.normal(0, 0.9)))
        shares = rng.dirichlet([14, 9, 11, 10])
        images = rng.integers(18, 30, 4)
        episodes.append(
            EpisodeResult(
                seed=seed,
                captured=captured,
                available=62.0 + shift,
                captured_by=tuple((captured * shares).tolist()),
                images=tuple(images.tolist()),
                duplicates=int(rng.integers(0, 6)),
                deaths=int(rng.random() < 0.1),
                decisions=tuple(rng.integers(38, 60, 4).tolist()),
                charges=tuple(rng.integers(4, 15, 4).tolist()),
                duration_s=2850.0,
            )
        )
    return PolicyResult(name, label, tuple(episodes), macs, parameters, agreement, latency, trace)


def synthetic_result() -> RunResult:
    rng = np.random.default_rng(3)
    teacher_macs = (1_204_224,) * 4
    policies = (
        synthetic_policy("random", "Random", 17.0),
        synthetic_policy("greedy_battery", "Greedy + battery", 24.6),
        synthetic_policy("global_knowledge", "Global-knowledge heuristic", 29.3),
        synthetic_policy(
            "teacher_fo", "Teacher (FO)", 33.1, teacher_macs, (702_466,) * 4, (), (412.0, 409.5, 411.2, 415.0),
            synthetic_trace(1, 0.85),
        ),
        synthetic_policy(
            "kd_lh", "KD-MARL LH", 31.8, (22_880, 21_344, 21_344, 20_576), (9_121, 8_993, 8_993, 8_897),
            (0.86, 0.71, 0.78, 0.80), (58.2, 55.1, 54.9, 53.8), synthetic_trace(1, 0.8),
        ),
        synthetic_policy(
            "kd_lh_a", "KD-MARL LH+A", 31.3, (22_880, 9_232, 9_232, 9_040), (9_121, 3_105, 3_105, 3_057),
            (0.86, 0.66, 0.74, 0.77), (58.4, 47.0, 46.1, 45.9), synthetic_trace(1, 0.75, dies=True),
        ),
        synthetic_policy(
            "mappo_lh_a", "MAPPO LH+A, no teacher", 27.9, (22_880, 9_232, 9_232, 9_040), (9_121, 3_105, 3_105, 3_057),
            (), (58.4, 47.0, 46.1, 45.9),
        ),
    )  # fmt: skip

    def curve(label, start, end, episodes, pace):
        x = np.arange(16, episodes + 1, 16)
        y = end + (start - end) * np.exp(-x / pace) + rng.normal(0, 0.7, x.size)
        return Curve(label, tuple(x.astype(float).tolist()), tuple(y.tolist()))

    curves = (
        curve("Teacher (FO)", 17.5, 33.0, 480, 90.0),
        curve("KD-MARL LH", 24.0, 31.0, 128, 30.0),
        curve("KD-MARL LH+A", 23.0, 30.6, 128, 30.0),
        curve("MAPPO LH+A, no teacher", 17.0, 27.5, 480, 160.0),
    )
    budget = []
    for bundle, index in (("KD-MARL LH", 4), ("KD-MARL LH+A", 5)):
        for satellite, macs, parameters in zip(
            SATELLITES, policies[index].macs_per_decision, policies[index].parameters, strict=True
        ):
            budget += [
                BudgetRow(bundle, satellite, "parameters", "", parameters, 20_000),
                BudgetRow(bundle, satellite, "bytes", "B", 4 * parameters + 900, 100_000),
                BudgetRow(bundle, satellite, "MACs per decision", "MAC", macs, 60_000),
                BudgetRow(bundle, satellite, "modelled latency (GR712RC)", "ms", macs / 2100, 50.0),
            ]
    return RunResult(
        run={
            "seed": 0,
            "preset": "default",
            "date": "2026-03-20 12:00",
            "commit": "0f3c9ab",
            "config_digest": "5feceb66ffc86f38d952786c6d696c79",
            "stage_s": {"teacher": 312.4, "students": 121.9, "bundle": 1.4, "flight": 88.0, "report": 9.2},
            "versions": {"python": "3.11.9", "torch": "2.13.0", "bsk": "2.12.1", "bsk-rl": "1.3.8"},
        },
        config={"seed": 0, "scenario": SCENARIO, "preset": "default"},
        satellites=SATELLITES,
        policies=policies,
        curves=curves,
        budget=tuple(budget),
        claims=(
            ("Teacher captures at least 1.15 times what greedy + battery captures", 1.345, 1.15, True),
            ("KD-MARL LH keeps at least 90 % of the teacher (normalised retention)", 0.919, 0.90, True),
            ("KD-MARL LH+A keeps at least 90 % of the teacher (normalised retention)", 0.888, 0.90, False),
            ("Students need at least 28.6 times fewer MACs per decision than the teacher", 52.6, 28.6, True),
        ),
    )


@pytest.fixture(scope="module")
def result() -> RunResult:
    return synthetic_result()


@pytest.fixture(scope="module")
def folder(result, tmp_path_factory) -> Path:
    """A written report."""
    return write_report(result, tmp_path_factory.mktemp("report")).parent


# --- statistics -------------------------------------------------------------------------------------------------------


def test_mean_interval_of_many_normal_values_is_the_closed_form():
    values = np.random.default_rng(5).normal(10.0, 2.0, 400)
    interval = mean_interval(values.tolist())
    half = 1.96 * values.std(ddof=1) / 20
    assert interval.estimate == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.03)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.03)


def test_percentile_interval_of_three_values_is_the_exact_resampling_distribution():
    # The 27 resamples of (0, 0, 3) have mean 0, 1, 2, 3 with probabilities 8/27, 12/27, 6/27, 1/27 = 0.037.
    assert bootstrap_interval([[0, 0, 3]], np.mean, 0.95, method="percentile") == Interval(1.0, 0.0, 3.0)
    assert bootstrap_interval([[0, 0, 3]], np.mean, 0.90, method="percentile") == Interval(1.0, 0.0, 2.0)


def test_bca_corrects_for_skew():
    skewed = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 9.0]
    plain_bounds = bootstrap_interval([skewed], np.mean, method="percentile")
    corrected = mean_interval(skewed)
    assert corrected.high > plain_bounds.high and corrected.low > plain_bounds.low


def test_seed_fixes_the_interval():
    values = np.random.default_rng(0).random(20).tolist()
    assert mean_interval(values, seed=1) == mean_interval(values, seed=1)
    assert mean_interval(values, seed=1) != mean_interval(values, seed=2)


def test_interquartile_mean_by_hand():
    assert interquartile_mean([1, 2, 3, 4, 5, 6, 7, 800]).estimate == pytest.approx((3 + 4 + 5 + 6) / 4)


def test_retention_is_paired():
    # By hand: means 4, 2, 6, so (4 - 2) / (6 - 2). Each episode alone gives 1/2 too, so pairs leave no uncertainty,
    # which resampling each policy for itself would.
    random, teacher = [1.0, 2.0, 3.0], [3.0, 6.0, 9.0]
    policy = [2.0, 4.0, 6.0]
    interval = retention(policy, random, teacher)
    assert (interval.estimate, interval.low, interval.high) == pytest.approx((0.5, 0.5, 0.5))
    assert retention(random, random, teacher).estimate == 0.0
    assert retention(teacher, random, teacher) == Interval(1.0, 1.0, 1.0)


def test_difference_and_ratio_are_paired():
    reference = [10.0, 50.0, 20.0]
    assert paired_difference([12.0, 52.0, 22.0], reference) == Interval(2.0, 2.0, 2.0)
    ratio = mean_ratio([11.0, 55.0, 22.0], reference)
    assert (ratio.estimate, ratio.low, ratio.high) == pytest.approx((1.1, 1.1, 1.1))


def test_degenerate_samples_give_plain_answers():  # warnings are errors
    single = mean_interval([4.0])
    assert single.estimate == 4.0 and math.isnan(single.low) and math.isnan(single.high)
    assert mean_interval([4.0] * 6) == Interval(4.0, 4.0, 4.0)
    assert math.isnan(mean_interval([]).estimate)
    assert math.isnan(retention([1.0, 2.0], [3.0, 3.0], [3.0, 3.0]).estimate)
    assert math.isnan(retention([1.0, 2.0], [3.0, 3.0], [2.0, 3.0]).estimate)  # the teacher is worse than random
    two = retention([5.0, 1.0], [1.0, 3.0], [2.0, 3.0])  # a resample where random equals the teacher
    assert two.estimate == pytest.approx(2.0)
    with pytest.raises(ValueError, match="equally many"):
        paired_difference([1.0], [1.0, 2.0])


# --- summary and metrics ----------------------------------------------------------------------------------------------


def test_summary_by_hand():
    def policy(name, captured, macs=()):
        episodes = tuple(
            EpisodeResult(seed, c, 40.0, (c / 4, 3 * c / 4), (3, 4), 2, 0, (10, 20), (1, 1), 600.0)
            for seed, c in enumerate(captured)
        )
        return PolicyResult(name, name, episodes, macs, agreement=(0.5, math.nan) if macs else ())

    result = RunResult(
        {},
        {},
        ("a", "b"),
        (
            policy("random", [10.0, 10.0]),
            policy("teacher_fo", [30.0, 34.0], (1000, 1000)),
            policy("kd_lh", [20.0, 22.0], (10, 30)),
        ),
        (),
        (),
    )
    student = summarise(result)[2]
    assert student.captured.estimate == 21.0
    assert student.of_available == pytest.approx(21 / 40)
    assert student.retention is not None and student.retention.estimate == pytest.approx(11 / 22)
    assert student.difference is not None and student.difference.estimate == -11.0
    assert student.share == pytest.approx((0.25, 0.75))
    assert (student.macs_max, student.macs_sum) == (30, 40)
    assert (student.macs_ratio, student.macs_sum_ratio) == (pytest.approx(1000 / 30), pytest.approx(2000 / 40))
    assert student.macs_per_episode == (100.0, 600.0)
    assert student.agreement == 0.5


def test_the_distance_from_sgp4_is_the_largest_of_all_episodes(result):
    assert apart_of(result) is None
    first = result.policies[0]
    apart = [(0.5,) + (1.0,) * (len(result.satellites) - 1), (2.25,) + (0.25,) * (len(result.satellites) - 1)]
    episodes = tuple(dataclasses.replace(e, from_sgp4_km=km) for e, km in zip(first.episodes, apart, strict=False))
    flown = dataclasses.replace(result, policies=(dataclasses.replace(first, episodes=episodes), *result.policies[1:]))
    assert apart_of(flown) == (
        "Basilisk and SGP4 start from the same states and deviate by 1.00 to 2.25 km within an episode "
        f"(most: {result.satellites[0]})"
    )


def test_policies_that_flew_other_seeds_are_refused(result):
    stray = dataclasses.replace(result.policies[1], episodes=result.policies[1].episodes[::-1])
    with pytest.raises(ReportError, match="'greedy_battery' flew seeds"):
        summarise(dataclasses.replace(result, policies=(result.policies[0], stray)))


def test_metrics_round_trip_with_every_episode(result, folder):
    stored = json.loads((folder / "metrics.json").read_text())
    assert stored == metrics(result)
    assert (stored["format"], stored["version"]) == ("kdmarl_sat.metrics", 1)
    assert stored["config"] == result.config and stored["run"] == result.run
    for policy, record in zip(result.policies, stored["policies"], strict=True):
        rebuilt = [
            EpisodeResult(**{k: tuple(v) if isinstance(v, list) else v for k, v in episode.items()})
            for episode in record["episodes"]
        ]
        assert rebuilt == list(policy.episodes)
        assert record["summary"]["captured"]["estimate"] == pytest.approx(
            np.mean([e.captured for e in policy.episodes])
        )
    assert stored["claims"][2] == {
        "text": "KD-MARL LH+A keeps at least 90 % of the teacher (normalised retention)",
        "measured": 0.888,
        "wanted": 0.9,
        "met": False,
    }


def test_metrics_are_strict_json():
    odd = {"a": math.nan, "b": np.float32(1.5), "c": np.array([1, 2]), "d": Path("x/y"), "e": (True, None, -math.inf)}
    assert json_ready(odd) == {"a": None, "b": 1.5, "c": [1, 2], "d": "x/y", "e": [True, None, None]}


def test_a_claim_without_a_number_is_null_and_a_dash(result, tmp_path):
    run = bare(result.policies[:1], claims=(("teacher / greedy", math.nan, 1.15, False),))
    page = Page(write_report(run, tmp_path).read_text())
    assert "0 of 1 claims met" in page.text and "measured \u2013, wanted 1.15" in page.text
    [claim] = json.loads((tmp_path / "metrics.json").read_text())["claims"]
    assert claim == {"text": "teacher / greedy", "measured": None, "wanted": 1.15, "met": False}


CLEAN = {"admitted": 80, "decision": 4000, "late": 0, "bad_output": 0, "bad_observation": 0, "fallback": 0}
FAULTY = {**CLEAN, "decision": 3991, "late": 7, "bad_output": 2, "upset": 1, "fallback": 9, "override": 3}


def flown(result, *events) -> RunResult:
    """Random, and students whose flight logs say so."""
    random, *_, student = result.policies[:5]
    students = [dataclasses.replace(student, label=f"{HOSTILE} {i}", events=e) for i, e in enumerate(events)]
    return bare([random, *students])


def test_the_flight_log_is_counted(result, tmp_path):
    source = write_report(flown(result, CLEAN, FAULTY), tmp_path).read_text()
    table = source[source.index("<h3>Flight log</h3>") :]
    head, *rows = re.findall(r"<tr[^>]*>.*?</tr>", table[: table.index("</table>")])
    assert re.findall("<th>([^<]*)</th>", head) == [
        "bundle", "decisions", "late", "bad output", "broken down", "upsets", "started again", "safe mode",
        "bad observation", "no legal action", "fallbacks", "guard&#39;s overrides",
    ]  # fmt: skip
    assert [re.findall("<td>([^<]*)</td>", row) for row in rows] == [
        ["4\u202f000", "0", "0", "0", "0", "0", "0", "0", "0", "0", "0"],
        ["3\u202f991", "7", "2", "0", "1", "0", "0", "0", "0", "9", "3"],
    ]
    assert ['class="over"' in row for row in rows] == [False, True]
    stored = json.loads((tmp_path / "metrics.json").read_text())["policies"]
    assert [policy["events"] for policy in stored] == [None, CLEAN, FAULTY]


def test_a_fallback_in_flight_is_a_warning(result):
    def shown(run) -> str:
        console = Console(width=400, file=io.StringIO())
        console.print(console_table(run))
        return " ".join(console.file.getvalue().split())  # the caption is wrapped

    assert "warning" not in shown(flown(result, CLEAN))
    text = shown(flown(result, CLEAN, FAULTY))
    assert text.count("warning") == 1
    assert (
        f"warning: {HOSTILE} 1: 9 of 4 000 decisions in flight were the fallback action instead of the network's "
        "(7 late answers, 2 unusable answers)"
    ) in text


# --- numbers as text --------------------------------------------------------------------------------------------------


def test_numbers_as_text():
    assert formats.count(1204224) == "1\u202f204\u202f224"
    assert (
        formats.number(-0.04) == "0.0"
        and formats.number(-2.25, 2) == "\u22122.25"
        and formats.number(math.nan) == "\u2013"
    )
    assert [formats.significant(x) for x in (0.0123, 1.5, 57.25, 4321.0)] == ["0.0123", "1.50", "57.2", "4\u202f321"]
    assert formats.told_apart(0.89996, 0.9) == ("0.89996", "0.90000")
    assert [formats.duration(s) for s in (7.44, 59.96, 3599, 3899)] == [
        "7.4 s",
        "1 min 00 s",
        "59 min 59 s",
        "1 h 05 min",
    ]


# --- ground tracks ----------------------------------------------------------------------------------------------------


def test_track_is_cut_at_the_edge_of_the_map():
    x, y = wrap_track(np.array([170.0, -170.0, -160.0]), np.array([0.0, 10.0, 15.0]), west_deg=-180.0)
    np.testing.assert_allclose(x, [170, 180, np.nan, -180, -170, -160])
    np.testing.assert_allclose(y, [0, 5, np.nan, 5, 10, 15])
    x, y = wrap_track(np.array([-170.0, 160.0]), np.array([0.0, 30.0]), west_deg=-180.0)  # westward
    np.testing.assert_allclose(x, [-170, -180, np.nan, 180, 160])
    np.testing.assert_allclose(y, [0, 10, np.nan, 10, 30])


def test_map_is_cut_where_nothing_flies():
    assert west_edge_deg(np.array([170.0, -170.0, -150.0, 160.0])) == pytest.approx(5.0)  # gap 210..520: its middle


def test_along_and_across_the_equator():
    longitude = np.arange(0.0, 31.0)
    trace = dataclasses.replace(
        synthetic_trace(0, 0.5),
        latitude_deg=np.zeros((31, 1)),
        longitude_deg=longitude[:, None],
        target_latitude_deg=np.array([2.0, -1.0, 0.0]),
        target_longitude_deg=np.array([10.4, 30.0, -5.0]),  # the last lies behind the start
    )
    along, across, path, offset = along_and_across_km(trace)
    degree = 6371.0 * math.pi / 180
    np.testing.assert_allclose(along, np.array([10.4, 30.0, -5.0]) * degree, rtol=1e-3)
    np.testing.assert_allclose(across, np.array([2.0, -1.0, 0.0]) * degree, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(path[:, 0], longitude * degree, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(offset, 0, atol=1e-6)


@pytest.mark.parametrize("node_deg", [0.0, 150.0, -100.0])
def test_ground_track_draws_every_target_and_no_line_across_the_map(node_deg):
    trace = synthetic_trace(2, 0.8, node_deg=node_deg)
    figure = flight_figures.ground_track(trace, SATELLITES)
    axes = figure.axes[0]
    for line in axes.lines:
        steps = np.diff(np.asarray(line.get_xdata(), dtype=float))
        assert np.nanmax(np.abs(steps), initial=0) < 10
    points = np.concatenate([np.asarray(c.get_offsets()) for c in axes.collections])
    assert len(points) == trace.target_priority.size
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    reached = trace.target_accessible | (trace.target_imaged_by >= 0)
    inside = (points[:, 0] > left) & (points[:, 0] < right) & (points[:, 1] > bottom) & (points[:, 1] < top)
    assert inside.sum() >= reached.sum()
    assert right - left < 210  # half an orbit, not the whole world
    colours = {matplotlib.colors.to_hex(c.get_facecolor()[0]) for c in axes.collections if len(c.get_facecolor())}
    assert {style.satellite_colour(i) for i in range(4)} <= colours


def test_bigger_dots_are_worth_more():
    trace = synthetic_trace(2, 0.8)
    axes = flight_figures.ground_track(trace, SATELLITES).axes[0]
    first = next(
        c for c in axes.collections
        if len(c.get_facecolor()) and matplotlib.colors.to_hex(c.get_facecolor()[0]) == style.satellite_colour(0)
    )  # fmt: skip
    priority = trace.target_priority[trace.target_imaged_by == 0]
    assert np.corrcoef(first.get_sizes(), priority)[0, 1] == pytest.approx(1)


def test_meridians():
    assert [flight_figures.meridian(x) for x in (190.0, -190.0, 180.0, 360.0, -30.0)] == [
        "170° W", "170° E", "180°", "0°", "30° W",
    ]  # fmt: skip


def test_timeline_tells_action_eclipse_and_loss():
    trace = synthetic_trace(1, 0.75, dies=True)
    figure = flight_figures.timeline(trace, SATELLITES)
    assert len(figure.axes) == 4
    lost = figure.axes[1]
    assert "lost at 33 min" in " ".join(text.get_text() for text in lost.texts)  # sample 110 of 18 s
    assert not any("lost" in text.get_text() for text in figure.axes[0].texts)
    strip = {
        matplotlib.colors.to_hex(c.get_facecolor()[0]): c
        for c in lost.collections
        if isinstance(c, matplotlib.collections.PolyCollection)
    }
    assert set(strip) == {style.satellite_colour(1), style.SURFACE, style.INK}
    drawn = sum(np.ptp(path.vertices[:, 0]) for path in strip[style.SURFACE].get_paths())
    charging = (trace.action[:, 1] == 0).sum() * 18 / 60
    assert drawn == pytest.approx(charging)
    assert f" {(trace.target_imaged_by == 1).sum()} targets" in lost.get_title(loc="left")


def test_timeline_hatches_the_other_activities_where_they_occur():
    trace = synthetic_trace(1, 0.75)
    assert {"downlinking", "desaturating"}.isdisjoint(words(flight_figures.timeline(trace, SATELLITES)))
    action = trace.action.copy()
    action[10:20, 0], action[20:25, 0] = ACTIVITIES.index("downlinking"), ACTIVITIES.index("desaturating")
    figure = flight_figures.timeline(dataclasses.replace(trace, action=action), SATELLITES)
    assert {"downlinking", "desaturating"} <= set(words(figure)) and "dead" not in words(figure)
    hatched = {
        c.get_hatch(): sum(np.ptp(path.vertices[:, 0]) for path in c.get_paths())
        for c in figure.axes[0].collections
        if isinstance(c, matplotlib.collections.PolyCollection) and c.get_hatch()
    }
    assert len(hatched) == 2 and sorted(hatched.values()) == pytest.approx([5 * 18 / 60, 10 * 18 / 60])
    assert not any(c.get_hatch() for c in figure.axes[1].collections)


def test_runs():
    assert flight_figures.runs(np.array([True, True, False, True])) == [(0, 2), (3, 4)]
    assert flight_figures.runs(np.array([False, False])) == []


# --- comparison figures -----------------------------------------------------------------------------------------------


def words(figure) -> list[str]:
    texts = [text.get_text() for axes in figure.axes for text in axes.findobj(matplotlib.text.Text)]
    texts += [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return texts


def test_captured_priority_stands_where_the_numbers_are():
    scores = [
        figures.Score("random", "Random", (1.0, 3.0), Interval(2.0, 1.0, 3.0)),
        figures.Score("teacher_fo", "Teacher", (8.0, 10.0), Interval(9.0, 8.0, 10.0)),
        figures.Score("kd_lh", "One episode", (5.0,), Interval(5.0, math.nan, math.nan)),
    ]
    figure = figures.captured_priority(scores, available=20.0)
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["Random", "Teacher", "One episode"]
    assert axes.yaxis_inverted()  # the first on top
    dots = {line.get_ydata()[0]: line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 1}
    assert dots == {0: 2.0, 1: 9.0, 2: 5.0}
    bars = {line.get_ydata()[0]: list(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) == 2}
    assert bars == {0: [1.0, 3.0], 1: [8.0, 10.0]}
    assert {"2.0 [1.0, 3.0]", "5.0", "10\u202f%", "45\u202f%"} <= set(words(figure))


def test_learning_curves_are_named_at_their_ends_without_overlap():
    curves = [
        Curve(name, (1.0, 2.0, 3.0), (0.0, 5.0, end)) for name, end in (("Teacher", 9.0), ("KD a", 8.99), ("KD b", 1.0))
    ]
    curves.append(Curve("KD a", (1.0, 2.0), (2.0, 1.0), y_label="loss"))
    figure = figures.learning_curves(curves)
    assert len(figure.axes) == 2
    names = {text.get_text(): text.get_position()[1] for text in figure.axes[0].texts}
    assert set(names) == {"Teacher", "KD a", "KD b"}
    assert names["Teacher"] - names["KD a"] > 0.5 and names["KD b"] == pytest.approx(1.0)


def test_labels_are_pushed_apart_as_little_as_needed():
    np.testing.assert_allclose(figures.push_apart(np.array([5.0, 1.0, 5.0]), 1.0), [4.5, 1.0, 5.5])
    np.testing.assert_allclose(figures.push_apart(np.array([0.0, 0.1, 0.2]), 1.0), [-0.9, 0.1, 1.1])


def test_cost_says_how_much_less_than_the_teacher():
    teacher = figures.Cost("teacher_fo", "Teacher", (1000, 1000), (286_000, 286_000), (400.0, 400.0))
    student = figures.Cost("kd_lh", "Student", (100, 50), (10_000, 5_000), ())
    rule = figures.Cost("greedy_battery", "Greedy", (), (), (20.0,))
    figure = figures.cost([rule, teacher, student], teacher)
    assert [axes.get_title(loc="left").split(",")[0] for axes in figure.axes] == [
        "parameters",
        "multiply-accumulates (MAC) per decision",
        "host latency per decision",
    ]
    assert all(axes.get_xscale() == "log" for axes in figure.axes)
    shown = words(figure)
    assert "28.6\u00d7 less" in shown and "10\u202f000 (20\u202f000 FLOP)" in shown and "20.0\u00d7 less" in shown
    assert [tick.get_text() for tick in figure.axes[2].get_yticklabels()] == ["Greedy", "Teacher"]


def test_budget_marks_what_is_over_its_limit():
    rows = [
        BudgetRow("LH", "a", "parameters", "", 50, 200),
        BudgetRow("LH", "b", "parameters", "", 150, 200),
        BudgetRow("LH", "a", "bytes", "B", 900, 600),
    ]
    figure = figures.budget_margins(rows, ("a", "b"))
    axes = figure.axes[0]
    marks = {line.get_xdata()[0]: line.get_marker() for line in axes.lines if line.get_marker() in ("o", "X")}
    assert marks == {25.0: "o", 75.0: "o", 150.0: "X"}
    assert "150 of 200" in words(figure) and "over: 900 of 600 B" in words(figure)
    assert axes.get_xlim()[1] > 150


def test_one_colour_per_family():
    names = ("random", "greedy_battery", "teacher_fo", "kd_lh_a", "mappo_lh_a", "MAPPO LH+A, no teacher", "KD-MARL LH")
    assert [style.family(name) for name in names] == [
        "heuristic", "heuristic", "teacher", "student", "direct", "direct", "student",
    ]  # fmt: skip


def test_figures_leave_matplotlib_alone(result):
    before = dict(matplotlib.rcParams)
    exhibits(result, summarise(result))
    assert dict(matplotlib.rcParams) == before
    pyplot = sys.modules.get("matplotlib.pyplot")  # Basilisk imports it
    assert pyplot is None or not pyplot.get_fignums()


# --- the page ---------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Elements, their attributes, and the text of a page."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data):
        self.text += data


def test_report_is_complete_and_self_contained(result, folder):
    source = (folder / "report.html").read_text()
    page = Page(source)
    names = {path.stem for path in folder.glob("*.png")}
    assert names == {
        "captured-priority", "satellite-shares", "learning-curves", "agreement", "cost", "budget",
        "ground-track-teacher-fo", "unrolled-track-teacher-fo", "timeline-teacher-fo",
        "ground-track-kd-lh-a", "unrolled-track-kd-lh-a", "timeline-kd-lh-a",
    }  # fmt: skip
    assert page.tags.count("svg") == len(names)
    for _, name, value in page.attributes:
        if name in ("src", "href", "xlink:href", "srcset", "action"):
            assert value.startswith("#"), value
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", source)
    assert page.tags.count("script") == 2 and "link" not in page.tags  # the globe's data and code
    identifiers = [value for _, name, value in page.attributes if name == "id"]
    assert len(identifiers) == len(set(identifiers))
    wanted = {value[1:] for _, name, value in page.attributes if name == "xlink:href"}
    assert wanted and wanted <= set(identifiers)
    for text in (
        "3 of 4 claims met",
        "not met",
        "measured 0.888, wanted 0.900",
        "Global-knowledge heuristic",
        "0f3c9ab",
        "5feceb66ffc86f38d952786c6d696c79",
        "5 min 12 s",
        "2.12.1",
        '"duration_s": 2850.0',
        "sat-1 narrow",
        "1\u202f204\u202f224",
        "52.6\u00d7",
    ):
        assert text in page.text, text


def test_dark_pages_recolour_the_figures(folder):
    source = (folder / "report.html").read_text()
    body = source[source.index("<svg") :]
    assert not any(colour in body for colour in style.NEUTRALS)
    for variable in style.NEUTRALS.values():
        assert f"var(--{variable})" in body
        assert len(re.findall(rf"--{variable}: #", source)) == 2  # one value for light pages, one for dark ones


def test_pngs_are_pictures(folder):
    for path in folder.glob("*.png"):
        pixels = matplotlib.image.imread(path)
        assert pixels.shape[1] == 880 and pixels.shape[0] > 150
        assert pixels[..., :3].std() > 0.02


def test_same_result_same_bytes(result, tmp_path):
    run = dataclasses.replace(result, policies=result.policies[3:4])
    for name in ("first", "second"):
        write_report(run, tmp_path / name)
    written = list((tmp_path / "first").iterdir())
    assert len(written) > 8
    for path in written:
        assert (tmp_path / "second" / path.name).read_bytes() == path.read_bytes(), path.name


HOSTILE = '<script>alert("1")</script> & $\\frac{ %s {{ 7 * 7 }} --> [bold]x[/bold]'


def test_hostile_strings_are_shown_not_run(result, tmp_path):
    policies = tuple(
        dataclasses.replace(
            policy, name=f"{policy.name}/../<i>", label=HOSTILE, trace=policy.trace if index == 0 else None
        )
        for index, policy in enumerate(result.policies[3:6])
    )
    hostile = dataclasses.replace(
        result,
        run={**result.run, "commit": HOSTILE, "versions": {HOSTILE: HOSTILE}, "stage_s": {HOSTILE: 1.0}},
        config={"scenario": {**SCENARIO, "name": HOSTILE}, "note": "</pre>" + HOSTILE},
        satellites=(HOSTILE,) * 4,
        policies=policies,
        curves=(Curve(HOSTILE, (1.0, 2.0), (1.0, 2.0), HOSTILE, HOSTILE),),
        budget=(BudgetRow(HOSTILE, HOSTILE, HOSTILE, HOSTILE, 1.0, 2.0),),
        claims=((HOSTILE, 1.0, 2.0, False),),
    )
    source = write_report(hostile, tmp_path).read_text()
    page = Page(source)
    assert page.tags.count("script") == 2 and "i" not in page.tags  # the globe's data and code
    assert page.text.count('<script>alert("1")</script>') > 20
    assert "{{ 7 * 7 }}" in page.text
    names = r"[a-z0-9-]+\.(png|czml|npz|csv|geojson)|schedule-[a-z0-9-]+\.json|metrics\.json|report\.html"
    assert all(re.fullmatch(names, path.name) for path in tmp_path.iterdir())
    assert HOSTILE.replace("\\", "\\\\").replace('"', '\\"') in (tmp_path / "metrics.json").read_text()
    console = Console(width=400, file=io.StringIO())
    console.print(console_table(hostile))
    assert "[bold]x[/bold]" in console.file.getvalue()


def test_console_table(result):
    console = Console(width=120, file=io.StringIO())
    console.print(console_table(result))
    shown = console.file.getvalue()
    for policy in result.policies:
        assert policy.label in shown
    narrow = Console(width=80, file=io.StringIO())
    narrow.print(console_table(result))
    assert "agrees" in narrow.file.getvalue() and "79\u202f%" in narrow.file.getvalue()  # the last column is there
    mean = np.mean([episode.captured for episode in result.policies[3].episodes])
    line = next(line for line in shown.splitlines() if line.strip().startswith("Teacher (FO)"))
    assert f"{mean:.1f} [" in line and "100\u202f%" in line and "1.20M" in line


def test_faults_that_were_on_are_said(result, tmp_path):
    """Two policies of one episode each: 3 and 1 satellites failed, 4 and 5 decisions were missed, 2 and 0 were late."""
    flown = [
        dataclasses.replace(
            policy,
            episodes=(dataclasses.replace(policy.episodes[0], failures=failures, missed=missed, late=late),),
            trace=None,
        )
        for policy, failures, missed, late in zip(result.policies[:2], (3, 1), (4, 5), (2, 0), strict=True)
    ]
    faults = {"satellite_failures": 0.3, "crosslink_outage": 0.0, "missing_decisions": 0.05, "outage_s": 300.0}
    scenario = {**result.config["scenario"], "faults": faults}
    run = bare(flown, config={**result.config, "scenario": scenario})
    said = (
        "faults: satellite_failures=0.3, missing_decisions=0.05; per episode 2.00 satellites failed, 4.5 decisions "
        "did not arrive and 1.0 were late, mean over policies"
    )
    assert faults_of(run) == said
    assert faults_of(result) is None
    console = Console(width=400, file=io.StringIO())
    console.print(console_table(run))
    assert said in " ".join(console.file.getvalue().split())
    assert f"With {said}." in write_report(run, tmp_path).read_text()


def test_intent_bits_are_reported(result, tmp_path):
    """Two episodes of one policy: 4 satellites sent (100, 200, 0, 40) and (300, 1000, 0, 60) bits per orbit."""
    sent = ((100.0, 200.0, 0.0, 40.0), (300.0, 1000.0, 0.0, 60.0))
    first, second = result.policies[3], result.policies[4]
    episodes = tuple(
        dataclasses.replace(episode, bits_per_orbit=bits)
        for episode, bits in zip(first.episodes[:2], sent, strict=True)
    )
    talks = dataclasses.replace(first, episodes=episodes, trace=None)
    silent = dataclasses.replace(second, episodes=second.episodes[:2], trace=None)
    run = bare((talks, silent))
    summaries = summarise(run)
    assert summaries[0].bits_per_orbit == (200.0, 600.0, 0.0, 50.0) and summaries[0].bits_per_orbit_max == 600.0
    assert summaries[1].bits_per_orbit == () and summaries[1].bits_per_orbit_max is None
    console = Console(width=120, file=io.StringIO())
    console.print(console_table(run))
    heading, line = (next(x for x in console.file.getvalue().splitlines() if y in x) for y in ("kept", "Teacher (FO)"))
    assert heading.split()[-2:] == ["bits", "agrees"] and line.split()[-2] == "600"
    narrow = Console(width=80, file=io.StringIO())
    narrow.print(console_table(run))
    assert "agrees" in narrow.file.getvalue() and " 600 " in narrow.file.getvalue()
    quiet = Console(width=120, file=io.StringIO())
    quiet.print(console_table(bare((silent,))))
    assert "bits" not in quiet.file.getvalue()
    page = write_report(run, tmp_path).read_text()
    assert "<th>intent bits per orbit, max</th>" in page and "<td>600</td>" in page
    stored = json.loads((tmp_path / "metrics.json").read_text())["policies"][0]
    assert stored["summary"]["bits_per_orbit"] == [200.0, 600.0, 0.0, 50.0]
    assert stored["episodes"][1]["bits_per_orbit"] == [300.0, 1000.0, 0.0, 60.0]


def test_of_a_limit_of_0_nothing_is_used(result, tmp_path):
    """A satellite that may send nothing, and sends nothing."""
    rows = (*result.budget[:1], BudgetRow("KD-MARL", SATELLITES[0], "bits sent per decision", "", 0, 0))
    page = write_report(dataclasses.replace(result, budget=rows), tmp_path).read_text()
    assert "bits sent per decision" in page and rows[1].used == 0.0
    assert BudgetRow("KD-MARL", SATELLITES[0], "parameters", "", 30, 40).used == 0.75


# --- runs that lack things --------------------------------------------------------------------------------------------


def bare(policies, **changes) -> RunResult:
    return dataclasses.replace(RunResult({}, {}, SATELLITES, tuple(policies), (), ()), **changes)


def one_episode(policy: PolicyResult, **changes) -> PolicyResult:
    return dataclasses.replace(policy, episodes=policy.episodes[:1], **changes)


@pytest.mark.parametrize(
    "case", ["nothing", "one episode", "heuristics", "zeros", "unmeasured", "one satellite", "short"]
)
def test_a_run_that_lacks_things_still_gets_its_report(case, result, tmp_path):
    random, greedy, _, teacher, student = result.policies[:5]
    satellites = SATELLITES
    if case == "nothing":
        policies = []
    elif case == "one episode":
        policies = [one_episode(policy) for policy in (random, teacher, student)]
    elif case == "heuristics":
        policies = [random, greedy]
    elif case == "zeros":
        nothing = tuple(
            dataclasses.replace(e, captured=0.0, available=0.0, captured_by=(0.0,) * 4) for e in random.episodes
        )
        policies = [dataclasses.replace(policy, episodes=nothing, trace=None) for policy in (random, teacher)]
    elif case == "unmeasured":
        gap = (math.nan, 50.0, 50.0, 50.0)
        policies = [
            random,
            teacher,
            dataclasses.replace(student, host_latency_us=gap, agreement=(math.nan, 0.5, 0.1, 1.0)),
        ]
    elif case == "one satellite":
        satellites = ("alone",)
        episode = EpisodeResult(1, 5.0, 9.0, (5.0,), (3,), 0, 0, (9,), (1,), 300.0)
        trace = first_satellite(teacher.trace, samples=40)
        policies = [PolicyResult("teacher_fo", "Teacher", (episode,), (9,), (9,), trace=trace)]
    else:
        policies = [dataclasses.replace(teacher, trace=first_samples(teacher.trace, 1))]
    run = bare(policies, satellites=satellites)
    page = Page(write_report(run, tmp_path).read_text())
    for policy in policies:
        assert policy.label in page.text
    assert page.tags.count("svg") == len(list(tmp_path.glob("*.png")))
    assert json.loads((tmp_path / "metrics.json").read_text())["satellites"] == list(satellites)
    console = Console(width=100, file=io.StringIO())
    console.print(console_table(run))
    assert "nan" not in console.file.getvalue() and "nan" not in page.text.lower().split()


def first_samples(trace: Trace, samples: int) -> Trace:
    names = ("time_s", "latitude_deg", "longitude_deg", "battery", "sunlit", "storage", "action", "pursued")
    return dataclasses.replace(trace, **{name: getattr(trace, name)[:samples] for name in names})


def first_satellite(trace: Trace, samples: int) -> Trace:
    names = ("latitude_deg", "longitude_deg", "battery", "sunlit", "storage", "action", "pursued")
    short = first_samples(trace, samples)
    by = np.where(trace.target_imaged_by == 0, 0, -1)
    return dataclasses.replace(short, target_imaged_by=by, **{name: getattr(short, name)[:, :1] for name in names})


def test_flights_shown_are_the_teachers_and_the_small_students(result):
    assert [policy.name for policy, _ in traces_to_show(result.policies)] == ["teacher_fo", "kd_lh_a"]
    assert [policy.name for policy, _ in traces_to_show(result.policies[4:5])] == ["kd_lh"]


def test_many_orbits_have_a_map_but_no_unrolled_track(result, tmp_path):
    time_s = np.arange(0.0, 3 * 5677.0, 60.0)
    u = np.radians(time_s * 360 / 5677.0)
    latitude = np.degrees(np.arcsin(np.sin(0.87) * np.sin(u)))[:, None].repeat(4, 1)
    longitude = np.degrees(np.unwrap(np.arctan2(np.cos(0.87) * np.sin(u), np.cos(u))))[:, None].repeat(4, 1)
    longitude = (longitude - time_s[:, None] * 360 / 86164 + 180) % 360 - 180
    some = result.policies[3].trace
    trace = dataclasses.replace(
        some, time_s=time_s, latitude_deg=latitude, longitude_deg=longitude, battery=np.full_like(latitude, 0.5),
        sunlit=np.ones(latitude.shape, dtype=bool), action=np.ones(latitude.shape, dtype=np.int64),
        storage=np.zeros(latitude.shape), pursued=np.full(latitude.shape, -1),
    )  # fmt: skip
    teacher = dataclasses.replace(result.policies[3], trace=trace)
    names = {exhibit.name for exhibit in exhibits(bare([teacher]), summarise(bare([teacher])))}
    assert "ground-track-teacher-fo" in names and "unrolled-track-teacher-fo" not in names
    for line in flight_figures.ground_track(trace, SATELLITES).axes[0].lines:
        steps = np.diff(np.asarray(line.get_xdata(), dtype=float))
        assert np.nanmax(np.abs(steps), initial=0) < 30


def test_a_figure_with_a_colour_bar_is_drawn_whatever_another_library_has_set() -> None:
    import matplotlib
    from matplotlib.figure import Figure

    from kdmarl_sat.report.render import png

    with matplotlib.rc_context({"figure.autolayout": True}):
        figure = Figure(layout="constrained")
        figure.colorbar(figure.subplots().imshow([[1.0, 2.0], [3.0, 4.0]]))
        assert png(figure) == png(figure)
