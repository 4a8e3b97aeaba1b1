"""The main job as a user runs it, at a size of seconds: end to end, again, killed and resumed, on 1 or 2 workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kdmarl_sat.measure.evidence.kills import RUNS
from onboard.bundle import read_bundle

ROOT = Path(__file__).parents[1]
SCENARIO, *TINY = RUNS["mission"]  # the smallest run that trains, distils and flies


def start(folder: Path, *overrides: str) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "kdmarl_sat.run", SCENARIO, *TINY, *overrides],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def newest(folder: Path) -> Path:
    return sorted((folder / "outputs").glob("2*"))[-1]


def measured(folder: Path) -> dict[str, Any]:
    """metrics.json without what the clock and the place decide."""
    metrics = json.loads((newest(folder) / "metrics.json").read_text())
    del metrics["run"], metrics["config"]
    for policy in metrics["policies"]:
        del policy["timing"]
    return dict(metrics)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("whole")
    out = finish(start(folder))
    assert "Captured priority over 3 held-out episodes" in out
    return folder


def test_a_run_leaves_report_metrics_figures_and_bundles(whole: Path) -> None:
    folder = newest(whole)
    assert {"report.html", "metrics.json", "run_record.json", "captured-priority.png"} <= {
        path.name for path in folder.iterdir()
    }
    metrics = json.loads((folder / "metrics.json").read_text())
    names = [policy["name"] for policy in metrics["policies"]]
    heuristics = ["random", "greedy_battery", "global_knowledge", "forecast", "planner"]
    assert names == [*heuristics, "teacher_fo", "kd_lh", "kd_lh_a", "mappo_lh_a"]
    seeds = [[episode["seed"] for episode in policy["episodes"]] for policy in metrics["policies"]]
    assert len(seeds[0]) == 3 and all(each == seeds[0] for each in seeds)
    bundles = sorted((whole / "outputs/cache").glob("bundle-*/bundle"))
    kept = sorted((folder / "bundles").iterdir())
    assert [each.name for each in kept] == ["kd_lh", "kd_lh_a"]
    assert sorted((each / "manifest.json").read_bytes() for each in kept) == sorted(
        (each / "manifest.json").read_bytes() for each in bundles
    )
    for bundle in bundles:
        assert [s.spec.name for s in read_bundle(bundle).satellites] == metrics["satellites"]
        blocks = [{block.name for block in s.spec.blocks} for s in read_bundle(bundle).satellites]
        assert all("claimed" not in each for each in blocks)
        assert "priority" not in blocks[1] and "window" not in blocks[2] and "rate" not in blocks[3]
    logs = sorted((whole / "outputs/cache").glob("flight-kd_*/flight_log.jsonl"))
    assert len(logs) == 2
    events = [json.loads(line) for line in logs[0].read_text().splitlines()]
    assert sum(event["kind"] == "decision" for event in events) > 10


def test_networks_of_their_own_are_cloned_in_their_own_number_of_epochs(whole: Path) -> None:
    cloned = {}
    for name in ("teacher", "mappo_lh_a"):
        [done] = (whole / "outputs/cache").glob(f"{name}-*/done.json")
        cloned[name] = json.loads(done.read_text())["depends_on"]["teacher"]["imitation_epochs"]
    assert cloned == {"teacher": 60, "mappo_lh_a": 10}  # of TINY, and of preset=smoke


def test_a_second_run_redoes_nothing_and_measures_the_same(whole: Path) -> None:
    before = measured(whole)
    time.sleep(1.1)  # folders are named to the second
    out = finish(start(whole))
    assert "MAPPO:" not in out and "flight:" not in out
    assert measured(whole) == before


def test_one_worker_measures_what_two_do(whole: Path, tmp_path: Path) -> None:
    finish(start(tmp_path, "compute.workers=1"))
    assert measured(tmp_path) == measured(whole)


@pytest.mark.parametrize(("stage", "saves"), [("teacher", 1), ("teacher", 2), ("kd_lh", 1), ("mappo_lh_a", 2)])
def test_killed_in_a_stage_the_same_command_ends_in_the_same_result(
    whole: Path, tmp_path: Path, stage: str, saves: int
) -> None:
    """The first save of a teacher is its clone's, the second comes after an update."""
    process = start(tmp_path)
    deadline = time.monotonic() + 120
    seen: set[int] = set()
    while len(seen) < saves:
        assert process.poll() is None and time.monotonic() < deadline
        seen |= {p.stat().st_mtime_ns for p in (tmp_path / "outputs/cache").glob(f"{stage}-*/checkpoint.safetensors")}
        time.sleep(0.005)
    process.kill()
    process.communicate()
    out = finish(start(tmp_path))
    assert ("MAPPO: teacher" in out) == (stage == "teacher")
    assert measured(tmp_path) == measured(whole)


def test_a_bundle_that_is_over_budget_is_refused_in_one_sentence(whole: Path) -> None:
    process = start(whole, "budget.max_macs_per_decision=1000", "budget.max_parameters=10")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "the bundle is over its budget: satellite 'sat_0_slow': parameters" in err
    assert "MACs per decision" in err and "exceeds the limit 1000" in err
    assert "Traceback" not in err


def test_an_epoch_outside_the_ephemeris_is_refused_before_any_compute(tmp_path: Path) -> None:
    process = start(tmp_path, "scenario.epoch_utc='2031 JAN 01 00:00:00.000 (UTC)'")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2 and "flight" not in out
    assert "scenario.epoch_utc=" in err and "Traceback" not in err


def test_labels_of_a_planner_that_nobody_has_are_refused_before_any_compute(tmp_path: Path) -> None:
    process = start(tmp_path, "distill.labels=both", "training.simulation=basilisk")
    out, err = process.communicate(timeout=60)
    assert process.returncode != 0 and "flight" not in out
    assert "distill.labels=both is not allowed: it must be teacher where nobody plans" in err
