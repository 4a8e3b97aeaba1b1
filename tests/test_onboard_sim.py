"""Flights of trained students with faults injected, on real Basilisk; and the command as a user runs it."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.episode_result import EpisodeResult
from kdmarl_sat.bundles.fly import orbit_s
from kdmarl_sat.bundles.replay import replay
from onboard.flightlog import FlightLog, Kind
from scenarios.compose import composed
from scenarios.onboard_sim import FaultConfig, LostReads
from training.missions.flight import FlightPlan, OnboardPolicy, limits_of
from training.missions.rollout import collect

ROOT = Path(__file__).parents[1]
BUNDLE = ROOT / "results/bundles/imaging_constellation-lh_a"
SCENARIO = composed("scenario.duration_s=400").scenario
ENV = ConstellationEnv(SCENARIO)
VISIBLE = SCENARIO.visible


def fly(faults: FaultConfig | None = None, **plan: object) -> tuple[EpisodeResult, FlightLog, dict[str, int]]:
    """One episode."""
    way = dataclasses.replace(FlightPlan(BUNDLE, "native", faults=faults), **plan)  # type: ignore[arg-type]
    policy = OnboardPolicy(way, ENV.specs, VISIBLE, limits_of(SCENARIO, ENV.specs), SCENARIO.duration_s)
    collect(ENV, policy, [5])
    policy.close()
    return ENV.results()[0], policy.logs[0], dict(policy.injected[0]) if faults else {}


@pytest.fixture(scope="module")
def nominal() -> EpisodeResult:
    result, log, _ = fly()
    counts = log.counts()
    assert counts[Kind.DECISION] == sum(result.decisions) > 20
    assert counts[Kind.FALLBACK] == counts[Kind.LATE] == counts[Kind.UPSET] == 0
    return result


@pytest.mark.requirement("EX-11")
@pytest.mark.parametrize("runner", ["reference", "isolated"])
def test_every_runner_flies_the_same_episode(nominal: EpisodeResult, runner: str) -> None:
    assert fly(runner=runner)[0] == nominal


@pytest.mark.requirement("EX-6")
@pytest.mark.parametrize("runner", ["native", "isolated"])
def test_bit_flips_are_detected_and_change_nothing(nominal: EpisodeResult, runner: str) -> None:
    result, log, injected = fly(FaultConfig(flip=1.0), runner=runner)
    assert log.counts()[Kind.UPSET] == injected["bit flip"] == sum(nominal.decisions)
    assert result == nominal


def test_a_hung_executor_is_replaced() -> None:
    result, log, injected = fly(FaultConfig(hang=0.3), runner="isolated", deadline_ms=100.0)
    counts = log.counts()
    assert counts[Kind.FALLBACK] == counts[Kind.LATE] >= injected["hang"] > 2  # a busy machine may miss a few more
    assert counts[Kind.RESPAWNED] >= counts[Kind.LATE] - len(result.decisions)  # the last one needs none
    assert counts[Kind.DECISION] + counts[Kind.FALLBACK] == sum(result.decisions)


@pytest.mark.parametrize("runner", ["native", "isolated"])
def test_a_slow_executor_misses_its_deadline(runner: str) -> None:
    faults = FaultConfig(slow=0.3, slow_ms=400.0)
    _, log, injected = fly(faults, runner=runner, deadline_ms=100.0)
    counts, unasked = log.counts(), unasked_in_safe_mode(log)
    # A busy machine may miss a few more.
    assert counts[Kind.FALLBACK] - unasked == counts[Kind.LATE] >= injected["slow answer"] > 2


def unasked_in_safe_mode(log: FlightLog) -> int:
    """Fallbacks of satellites whose third miss in a row has ended in safe mode, after that miss's own."""
    safe_since: dict[str, float] = {}
    unasked = 0
    for event in log.events:
        if event.kind is Kind.SAFE_MODE:
            safe_since[event.satellite] = event.time_s
        since = safe_since.get(event.satellite)
        unasked += event.kind is Kind.FALLBACK and since is not None and event.time_s > since
    return unasked


@pytest.mark.requirement("EX-9")
def test_an_executor_that_never_answers_ends_in_safe_mode() -> None:
    _, log, _ = fly(deadline_ms=1e-4)
    assert log.counts()[Kind.DECISION] == 0
    assert log.counts()[Kind.SAFE_MODE] == 4
    assert log.counts()[Kind.LATE] == 4 * 3  # three misses are allowed


def test_lost_satellites_decide_no_more(nominal: EpisodeResult) -> None:
    result, log, injected = fly(FaultConfig(lost_satellite=1.0))
    assert [name for name in injected if name.startswith("lost satellite")]
    assert 0 < log.counts()[Kind.DECISION] < sum(result.decisions)
    assert result.captured < nominal.captured


def test_a_lost_block() -> None:
    blind = FaultConfig(lost_block=1.0, block="battery")
    _, log, injected = fly(blind)
    assert "lost block battery of sat_0_slow" in injected
    assert log.counts()[Kind.BAD_OBSERVATION] == 0
    _, log, _ = fly(dataclasses.replace(blind, lost_reads=LostReads.nan))
    assert log.counts()[Kind.BAD_OBSERVATION] == log.counts()[Kind.FALLBACK] > 2
    _, log, injected = fly(FaultConfig(lost_block=1.0, block="claimed"))
    assert not injected  # nobody senses that one


def test_the_period_of_an_orbit() -> None:
    assert orbit_s(35786.0) == pytest.approx(86164.1, rel=2e-4)  # geostationary: one sidereal day
    assert math.isclose(orbit_s(500.0), 5676.98, rel_tol=1e-4)


def command(tmp_path: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kdmarl_sat", "fly", *overrides],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_command(tmp_path: Path) -> None:
    board = "{core: ours, clock_mhz: 50, power_w: 2, cpi: 3, counted_as: leon3}"
    done = command(
        tmp_path,
        f"bundle={BUNDLE}",
        "scenario.duration_s=300",
        "episodes=1",
        "faults.flip=0.5",
        "processor=board",
        f"+processors={{board: {board}}}",
        "compute.workers=1",
    )
    assert done.returncode == 0, done.stderr
    assert "weight upsets detected" in done.stdout and "modelled on board" in " ".join(done.stdout.split())
    (folder,) = (tmp_path / "outputs").iterdir()
    names = {path.name for path in folder.iterdir()}
    assert {"flight_log_nominal_0.jsonl", "flight_log_with_faults_0.jsonl", "events_with_faults.png"} <= names
    flights = json.loads((folder / "onboard_sim.json").read_text())["flights"]
    assert flights["nominal"]["captured"] == flights["with faults"]["captured"]
    assert flights["with faults"]["events"]["upset"] == flights["with faults"]["injected"]["bit flip"] > 0


def test_a_recorded_flight_is_decided_again_as_it_was_flown(tmp_path: Path) -> None:
    short = ("scenario.duration_s=300", "episodes=1", "compute.workers=1")
    done = command(tmp_path, f"bundle={BUNDLE}", "record=true", "faults.flip=0.3", *short)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "outputs").iterdir()
    logs = [json.loads(line) for line in (folder / "flight_log_nominal_0.jsonl").read_text().splitlines()]
    decided = sum(event["kind"] in ("decision", "fallback") for event in logs)
    for record in ("flight_record_nominal_0.jsonl", "flight_record_with_faults_0.jsonl"):
        said = f"{decided} decisions, all as they were flown (native runner)"
        assert replay(folder / record, BUNDLE, "native") == (said, True)
    said, same = replay(folder / record, BUNDLE.with_name("imaging_constellation-lh"), "reference")
    assert not same and " differs: sat_" in said


def test_a_shadow_decides_and_changes_nothing(tmp_path: Path) -> None:
    short = ("policy=greedy_battery", "scenario.duration_s=300", "episodes=1", "compute.workers=1")
    flights = {}
    for name, more in (("alone", ()), ("shadowed", (f"shadow={BUNDLE}",))):
        (tmp_path / name).mkdir()
        done = command(tmp_path / name, *short, *more)
        assert done.returncode == 0, done.stderr
        (folder,) = (tmp_path / name / "outputs").iterdir()
        flights[name] = json.loads((folder / "flight.json").read_text())
    assert flights["alone"]["episodes"] == flights["shadowed"]["episodes"] and "shadow" not in flights["alone"]
    counted = flights["shadowed"]["shadow"]
    logs = [json.loads(line) for line in (folder / "flight_log_shadow_0.jsonl").read_text().splitlines()]
    for kind in ("agreed", "differed"):
        assert counted[kind] == sum(event["kind"] == kind for event in logs)
    decisions = sum(flights["shadowed"]["episodes"][0]["decisions"])
    assert counted["agreed"] + counted["differed"] == decisions > 0
    assert f"shadow: agreed in {counted['agreed']} decisions, differed in {counted['differed']}" in done.stdout


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([f"bundle={BUNDLE}", "shadow=x"], "shadow='x' is not allowed: it must be null where a bundle flies"),
        (["policy=random", "record=true"], "record=True is not allowed: it must be false with policy"),
        (["policy=random", "runner=isolated"], "runner='isolated' is not allowed: it must be native with policy"),
        (["policy=random", "target=foo"], "target='foo' is not allowed: it must be cortex-a53 with policy"),
        (["policy=random", "processor=foo"], "processor='foo' is not allowed: it must be null with policy"),
        (["policy=random", "deadline_ms=3"], "deadline_ms=3.0 is not allowed: it must be null with policy and without"),
        ([f"bundle={BUNDLE}", "ledger=x"], "ledger='x' is not allowed: it must be null without key"),
        (["policy=random", "shadow=nowhere", "deadline_ms=3"], "nowhere is not a folder"),
        (["policy=random", "shadow=nowhere"], "nowhere is not a folder"),
        (["bundle=nowhere"], "nowhere is not a folder"),
        (["policy=random,planner"], "if it is a list; with -m, the command runs once for each value"),
        (["policy=random", "scenario=nosuch"], "scenario='nosuch' is not known: it must be one of bskrl_aeos, imaging"),
        ([], "bundle and policy: neither is given"),
        ([f"bundle={BUNDLE}", "faults.hang=0.1"], "only an isolated executor can be stopped from outside"),
        ([f"bundle={BUNDLE}", "faults.flip=2"], "flip=2.0 is not allowed: it must be between 0 and 1"),
        ([f"bundle={BUNDLE}", "runner=fast"], "runner='fast' is not allowed: it must be one of reference, native"),
        (
            [f"bundle={BUNDLE}", "scenario=walker_cities"],
            "(made for scenario=imaging_constellation): none of its networks fits the satellites sat_0_slow, ",
        ),
        ([f"bundle={BUNDLE}", "processor=Z80"], "processor='Z80' is not allowed: it must be one of RAD750, "),
        ([f"bundle={BUNDLE}", "faults.block=nosuch"], "faults.block='nosuch' is not allowed: it must be a block that"),
        ([f"bundle={BUNDLE}", "target=vax"], "target='vax' is not allowed: it must be one of cortex-m7, "),
        ([f"bundle={BUNDLE}", "episodes=0"], "kdmarl-sat fly: episodes=0 is not allowed: it must be between 1 and"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, overrides: list[str], said: str) -> None:
    done = command(tmp_path, *overrides)
    assert done.returncode != 0 and said in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.rglob("*")) in ([], [tmp_path / "outputs"])
