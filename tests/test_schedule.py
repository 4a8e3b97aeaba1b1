"""Schedules of real flights: every outcome provoked, held against the simulation's accounts and geometry by hand."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.heuristics import GreedyPolicy
from envs.basilisk.task_log import elevation_deg, off_nadir_deg
from envs.basilisk.tasks import OUTCOMES, Tasks
from envs.basilisk.trace import ACTIVITIES, Trace
from kdmarl_sat.missions.report.czml import czml
from kdmarl_sat.missions.report.schedule import COLUMNS, Flight, as_csv, as_geojson, as_json
from kdmarl_sat.missions.report.schedule_figures import gantt
from onboard.flightlog import Kind
from scenarios.compose import composed
from training.missions.flight import FlightPlan
from training.missions.simulate import Flown, Flyer, Heuristic, Job, TeamPlan, fly

ROOT = Path(__file__).parents[1]
BUNDLE = ROOT / "results/bundles/imaging_constellation-lh_a"
GREEDY = Flyer(heuristic=Heuristic.greedy_battery)
R_KM = 6378.1366


def flown(who: Flyer, *overrides: str, seeds: tuple[int, ...] = (3,)) -> Flown:
    return fly(Job(composed(*overrides).scenario, who, seeds, training=False, traced=len(seeds)))


@pytest.fixture(scope="module")
def plain() -> Flown:
    return flown(GREEDY, "scenario=imaging_constellation", "scenario.duration_s=1200")


@pytest.fixture(scope="module")
def cloudy() -> Flown:
    faults = ("late_decisions=0.2", "missing_decisions=0.2", "satellite_failures=0.5")
    given = ("scenario=optical_sar", "scenario.duration_s=900", *(f"scenario.faults.{fault}" for fault in faults))
    return flown(GREEDY, *given, seeds=(3, 4))


def outcomes(tasks: Tasks) -> Counter[str]:
    return Counter(OUTCOMES[outcome] for outcome in tasks.outcome)


def flight_of(tasks: Tasks, names: tuple[str, ...] = ("A", "B", "C", "D"), numbers: Any = (1, 2, 3, None)) -> Flight:
    return Flight("a mission", "a policy", "2026 MAR 20 12:00:00.000 (UTC)", names, numbers)


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_outcomes_are_the_simulations_accounts(plain: Flown, cloudy: Flown) -> None:
    both = (*zip(plain.tasks, plain.results, plain.traces, strict=True),
            *zip(cloudy.tasks, cloudy.results, cloudy.traces, strict=True))  # fmt: skip
    for tasks, result, trace in both:
        found = outcomes(tasks)
        captured = tasks.outcome == OUTCOMES.index("captured")
        assert found["captured"] == (trace.target_imaged_by >= 0).sum()
        assert found["duplicate"] == result.duplicates and found["clouded"] == result.spoiled
        images = np.isin(tasks.outcome, [OUTCOMES.index(name) for name in ("captured", "duplicate", "clouded")])
        taken = Counter(tasks.satellite[images].tolist())
        assert [taken[satellite] for satellite in range(len(result.images))] == list(result.images)
        lost = found["lost"]  # within a task that may have been one of these
        assert result.missed - lost <= found["not_received"] <= result.missed
        assert result.late - lost <= found["late"] <= result.late
        assert lost <= result.failures + result.deaths
        assert sum(result.decisions) <= len(tasks.start_s) <= sum(result.decisions) + result.late
        assert tasks.priority[captured].sum() == pytest.approx(result.captured)
        for k in np.flatnonzero(captured):
            assert trace.target_imaged_by[tasks.target[k]] == tasks.satellite[k]
            assert trace.target_imaged_s[tasks.target[k]] == tasks.end_s[k]
    assert min(outcomes(plain.tasks[0])[name] for name in ("done", "captured", "missed", "duplicate", "unfinished")) > 0
    assert (
        min(
            sum(map(outcomes, cloudy.tasks), Counter[str]())[name]
            for name in ("clouded", "not_received", "late", "lost")
        )
        > 0
    )


def test_a_satellites_tasks_follow_one_another(plain: Flown) -> None:
    [tasks], [result] = plain.tasks, plain.results
    for satellite in range(4):
        own = tasks.satellite == satellite
        assert tasks.start_s[own][0] == 0 and tasks.end_s[own][-1] == result.duration_s
        assert (tasks.start_s[own][1:] == tasks.end_s[own][:-1]).all()
    assert (np.diff(tasks.start_s) >= 0).all()
    images = tasks.action == ACTIVITIES.index("imaging")
    assert ((tasks.target >= 0) == images).all()  # there was no guard's action
    assert ((tasks.target_name != "") == images).all()


def test_an_image_without_success_times_out_while_its_window_is_open_and_is_missed_when_it_closes(plain: Flown) -> None:
    """The scenario's timeout is 120 s; windows are those that BSK-RL found."""
    [tasks], timeout_s = plain.tasks, 120.0
    lasted_s = tasks.end_s - tasks.start_s
    missed, timed_out = (tasks.outcome == OUTCOMES.index(name) for name in ("missed", "timed_out"))
    assert missed.any() and timed_out.any()
    assert (np.abs(lasted_s[timed_out] - timeout_s) <= 1).all()
    assert (lasted_s[missed] <= timeout_s + 1).all() and (lasted_s[missed] < timeout_s - 1).any()


def starved(*more: str) -> tuple[str, ...]:
    hardware = ("wide", "narrow", "slow")
    low = (f"scenario.hardware.{name}.initial_charge=[0.1,0.2]" for name in hardware)
    return ("scenario=imaging_constellation", "scenario.duration_s=400", *low, *more)


def test_the_guards_actions_are_told_with_what_they_took_away() -> None:
    rule = flown(Flyer(heuristic=Heuristic.random), *starved())
    visible = tuple(map(tuple, composed("scenario=imaging_constellation").scenario.visible))
    students = flown(Flyer(plan=TeamPlan(visible, (), ()), flight=FlightPlan(BUNDLE)), *starved())
    for flight in (rule, students):
        [tasks] = flight.tasks
        guarded = tasks.outcome == OUTCOMES.index("guard")
        assert guarded.sum() == flight.overrides[0] > 0
        assert (tasks.action[guarded] == ACTIVITIES.index("charging")).all()
        assert (tasks.target[guarded] >= 0).all()  # what else it can choose is an image
    [tasks], [log] = students.tasks, students.logs
    guarded = tasks.outcome == OUTCOMES.index("guard")
    told = [(event.satellite, event.time_s) for event in log.events if event.kind is Kind.OVERRIDE]
    names = ("sat_0_slow", "sat_1_narrow", "sat_2_wide", "sat_3_wide")
    assert [names[n] for n in tasks.satellite[guarded]] == [name for name, _ in told]
    assert tasks.start_s[guarded] == pytest.approx([time_s for _, time_s in told], abs=0.01)  # float32 seconds, summed


# --- angles -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("apart_deg", [0.0, 0.5, 2.0, 5.0, 10.0])
def test_angles_by_plane_geometry(apart_deg: float) -> None:
    """The triangle of Earth's centre, satellite and target, by the law of cosines and of sines."""
    radius, height, apart = 6371.0, 500.0, math.radians(apart_deg)
    satellite = np.array([0.0, radius + height, 0.0])
    target = radius * np.array([math.sin(apart), math.cos(apart), 0.0])
    slant = math.sqrt(radius**2 + (radius + height) ** 2 - 2 * radius * (radius + height) * math.cos(apart))
    nadir = math.degrees(math.asin(radius * math.sin(apart) / slant))
    assert off_nadir_deg(satellite, target) == pytest.approx(nadir, abs=1e-9)
    # The angles of a triangle: apart, nadir and 90 deg + elevation.
    assert elevation_deg(satellite, target) == pytest.approx(90.0 - nadir - apart_deg, abs=1e-9)


def test_angles_of_a_flight_are_of_the_trajectory_computed_ahead() -> None:
    scenario = dataclasses.replace(composed("scenario=imaging_constellation").scenario, duration_s=600.0)
    env = ConstellationEnv(scenario)
    policy = GreedyPolicy(env.specs)
    step = env.reset([3])
    while not (step.terminated | step.truncated).all():
        step = env.step(policy.act(step))
    [tasks], constellation = env.tasks(), env.episode(0).constellation
    took = np.flatnonzero(np.isfinite(tasks.elevation_deg))
    assert len(took) > 5
    for k in took:
        satellite, target = constellation.satellites[tasks.satellite[k]], constellation.targets[tasks.target[k]]
        r_sat = satellite.position_P(tasks.end_s[k] - scenario.sim_step_s)
        line = target.r_LP_P - r_sat
        up = target.r_LP_P / np.linalg.norm(target.r_LP_P)
        elevation = math.degrees(math.asin(-line @ up / np.linalg.norm(line)))
        nadir = math.degrees(math.acos(-line @ r_sat / np.linalg.norm(line) / np.linalg.norm(r_sat)))
        assert tasks.elevation_deg[k] == pytest.approx(elevation, abs=0.01)
        assert tasks.off_nadir_deg[k] == pytest.approx(nadir, abs=0.01)
        # Basilisk lets the instrument fire above this elevation, as of a tick before.
        assert elevation > satellite.hardware.min_elevation_deg - 0.6
        assert tasks.latitude_deg[k] == pytest.approx(math.degrees(math.asin(up[2])), abs=1e-6)
        assert tasks.target_name[k] == target.name and tasks.priority[k] == target.priority
    env.close()


# --- files ------------------------------------------------------------------------------------------------------------


def test_csv_and_json_are_the_tasks(plain: Flown) -> None:
    [tasks] = plain.tasks
    told = table(as_csv(tasks, flight_of(tasks)))
    document = json.loads(as_json(tasks, flight_of(tasks)))
    assert tuple(told[0]) == COLUMNS and len(told) == len(document["tasks"]) == len(tasks.start_s)
    assert (document["format"], document["version"]) == ("kdmarl_sat.schedule", 1)
    epoch = datetime(2026, 3, 20, 12, tzinfo=UTC)
    for k, (row, same) in enumerate(zip(told, document["tasks"], strict=True)):
        assert row == {name: "" if value is None else str(value) for name, value in same.items()}
        for name, seconds in (("start_utc", tasks.start_s[k]), ("end_utc", tasks.end_s[k])):
            assert row[name].endswith("Z")
            assert datetime.fromisoformat(row[name]) == epoch + timedelta(seconds=float(seconds))
        assert row["satellite"] == "ABCD"[tasks.satellite[k]]
        assert same["catalogue_number"] == (1, 2, 3, None)[tasks.satellite[k]]
        assert row["action"] in ("charge", "image") and row["outcome"] in OUTCOMES
        assert (
            (row["target"] == "")
            == (row["latitude_deg"] == "")
            == (row["priority"] == "")
            == (row["action"] == "charge")
        )
        assert (row["elevation_deg"] != "") == (row["outcome"] in ("captured", "duplicate", "clouded"))


def test_text_that_a_csv_must_quote_comes_back(plain: Flown) -> None:
    [tasks] = plain.tasks
    names = np.where(tasks.target >= 0, 'Łódź, "old"\ntown', "")
    strange = dataclasses.replace(tasks, target_name=names)
    assert {row["target"] for row in table(as_csv(strange, flight_of(tasks)))} == {'Łódź, "old"\ntown', ""}
    assert 'Łódź, \\"old\\"' in as_json(strange, flight_of(tasks))


def test_targets_tell_who_imaged_them_and_when(plain: Flown) -> None:
    [tasks], [trace] = plain.tasks, plain.traces
    features = json.loads(as_geojson(trace, flight_of(tasks)))["features"]
    assert len(features) == len(trace.target_priority)
    rows = json.loads(as_json(tasks, flight_of(tasks)))["tasks"]
    captured = {row["target"]: row for row in rows if row["outcome"] == "captured"}
    told = {each["properties"]["name"]: each for each in features if each["properties"]["imaged_by"] is not None}
    assert set(told) == set(captured) and captured
    for name, feature in told.items():
        properties, row = feature["properties"], captured[name]
        assert (properties["imaged_by"], properties["imaged_utc"]) == (row["satellite"], row["end_utc"])
        assert properties["catalogue_number"] == row["catalogue_number"] and properties["in_reach"]
        assert feature["geometry"]["coordinates"] == pytest.approx(
            [row["longitude_deg"], row["latitude_deg"]], abs=1e-5
        )
    missed = [each["properties"] for each in features if each["properties"]["imaged_by"] is None]
    assert all(each["imaged_utc"] is None and each["delivered_utc"] is None for each in missed)


def test_czml_has_the_tasks(plain: Flown) -> None:
    [tasks], [trace] = plain.tasks, plain.traces
    packets = json.loads(czml(trace, "ABCD", "2026 MAR 20 12:00:00.000 (UTC)", "a flight", tasks))
    satellites = [packet for packet in packets if packet["id"].startswith("satellite-")]
    for n, packet in enumerate(satellites):
        own = np.flatnonzero(tasks.satellite == n)
        what, came = packet["properties"]["task"], packet["properties"]["outcome"]
        assert len(what) == len(came) == len(own)
        assert [each["string"] for each in came] == [OUTCOMES[tasks.outcome[k]] for k in own]
        assert all(
            each["string"] == f"{ACTIVITIES[tasks.action[k]]} {tasks.target_name[k]}".strip()
            for each, k in zip(what, own, strict=True)
        )
        assert all(one["interval"].split("/")[1] == next_["interval"].split("/")[0] for one, next_ in pairwise(what))
    targets = [packet for packet in packets if packet["id"].startswith("target-")]
    assert sum("imaged_by" in packet["properties"] for packet in targets) == (trace.target_imaged_by >= 0).sum()


def test_records_come_back_from_disk(plain: Flown, tmp_path: Path) -> None:
    [tasks], [trace] = plain.tasks, plain.traces
    tasks.save(tmp_path / "tasks.npz")
    trace.save(tmp_path / "trace.npz")
    for ours, theirs in ((tasks, Tasks.load(tmp_path / "tasks.npz")), (trace, Trace.load(tmp_path / "trace.npz"))):
        for name in ours.__slots__:
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


def test_a_trace_of_an_older_version_numbers_its_targets(tmp_path: Path) -> None:
    with np.load(ROOT / "results/flights/imaging_constellation-lh_a.npz") as stored:
        np.savez(tmp_path / "older.npz", **{name: stored[name] for name in stored.files if name != "target_name"})
    trace = Trace.load(tmp_path / "older.npz")
    assert len(trace.target_name) == 0 and trace.name_of(7) == "target 7"
    names = tuple(f"s{n}" for n in range(trace.battery.shape[1]))
    features = json.loads(as_geojson(trace, Flight("m", "p", "2026 MAR 20 12:00:00.000 (UTC)", names, ())))["features"]
    assert features[7]["properties"]["name"] == "target 7"
    assert features[7]["properties"]["catalogue_number"] is None


def test_the_chart_has_a_bar_per_task(plain: Flown, cloudy: Flown) -> None:
    for tasks in (*plain.tasks, *cloudy.tasks):
        [axes] = gantt(tasks, "ABCD").axes
        bars = sum(len(each.get_paths()) for each in axes.collections)
        assert bars == len(tasks.start_s)
        marks = sum(len(line.get_xdata()) for line in axes.lines)
        assert marks == sum(outcomes(tasks)[name] for name in (
            "guard", "not_received", "late", "lost", "duplicate", "clouded"))  # fmt: skip
