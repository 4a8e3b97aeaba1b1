"""The soak's own instruments, and a small soak."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kdmarl_sat.measure import doors
from kdmarl_sat.measure.soak import Look, SoakError, growth_MB, live, longest_wait_s, memory_MB


def test_memory_of_a_process_group() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", "held = bytearray(300_000_000); print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert child.stdout is not None
    child.stdout.readline()
    found = memory_MB(child.pid)
    child.communicate(b"\n")
    assert list(found) == [child.pid]
    assert 300 < found[child.pid] < 340
    assert memory_MB(child.pid) == {}
    assert os.getpid() in memory_MB(os.getpgrp())


def test_growth_is_that_of_the_second_half_and_of_who_lived_through_it() -> None:
    looks = [
        Look(
            float(i),
            10 * i,
            {1: 500.0 + (50.0 * i if i < 10 else 500.0), 2: 100.0 + 0.4 * i, **({3: 9.0} if i < 15 else {})},
        )
        for i in range(20)
    ]
    looks.append(Look(20.0, 200, {}))
    assert growth_MB(looks) == pytest.approx([0.0, 4.0], abs=1e-6)


def test_longest_wait() -> None:
    looks = [Look(time_s, done, {}) for time_s, done in ((0, 0), (1, 0), (2, 4), (3, 4), (9, 4), (10, 8), (11, 8))]
    assert longest_wait_s(looks) == 8
    assert longest_wait_s(looks[:2]) == 0.0


def test_a_life_too_short_tells_nothing_of_growth() -> None:
    assert growth_MB([Look(0.0, 0, {1: 5.0}), Look(1.0, 0, {1: 6.0}), Look(2.0, 4, {1: 7.0})]) == []


def test_two_soaks_in_one_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second would remove what the first has flown."""
    flown = tmp_path / "flight-soak-0" / "part-0.json"
    flown.parent.mkdir()
    flown.write_text("{}")
    with open(tmp_path / "soak.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SystemExit) as stopped:
            doors.soak([f"folder={tmp_path}", "episodes=5", f"record={tmp_path}/r.json", "compute.workers=1"])
    assert stopped.value.code == 2 and flown.exists()
    assert "is not allowed: it must be one that no other soak flies in\n" in capsys.readouterr().err


def test_a_flight_that_ends_too_early_is_told() -> None:
    with pytest.raises(SoakError, match="the flight ended with exit code 3 after 7 episodes"):
        live([sys.executable, "-c", "raise SystemExit(3)"], lambda: 7, 100, 100, lambda share, text: None)


def test_killed_and_resumed_twice_in_one_folder(tmp_path: Path) -> None:
    small = ["scenario.duration_s=150", "compute.episodes_per_job=1", "compute.workers=1"]
    small += ["scenario.faults.satellite_failures=10"]
    (tmp_path / "flown" / "flight-soak-of-another-day").mkdir(parents=True)
    files = [f"folder={tmp_path / 'flown'}", f"record={tmp_path / 'soak.json'}"]
    command = [sys.executable, "-m", "kdmarl_sat", "measure", "soak", "episodes=15", "kills=1", *files, *small]
    subprocess.run(command, capture_output=True, text=True, check=False)
    record = json.loads((tmp_path / "soak.json").read_text())
    assert record["one result for every seed, in order"] is True
    assert record["of them with the same result"] == 5
    [killed_at] = record["done at each kill"]
    assert 7 <= killed_at < 15
    assert record["satellites failed"] > 0
