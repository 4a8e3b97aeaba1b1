"""Kills runs (SIGKILL) at random moments, restarts them, and compares the results with those of an undisturbed run.

Only the program itself is killed: its workers must then leave by themselves. Compared are all weights and flights that
the run keeps, byte by byte, and its record but for dates, times and folders. Linux only: it reads /proc.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kdmarl_sat.measure.evidence.analysis import EvidenceError
from onboard import build

ROOT = build.ENGINE.parents[1]
# Both train a teacher and students, fly them, and write a record; the mission's simulation is Basilisk.
RUNS = {
    "game": ("scenario=mpe_spread", "preset=smoke", "methods=[kd_lh_a]", "compute.threads=1"),
    "mission": (
        "scenario=imaging_constellation",
        "preset=smoke",
        "scenario.duration_s=240",
        "teacher.hidden=24",
        "teacher.episodes=8",
        "teacher.episodes_per_update=2",
        "teacher.imitation_episodes=4",
        "teacher.imitation_epochs=60",
        "distill.teacher_episodes=2",
        "distill.student_episodes=2",
        "distill.student_iterations=2",
        "evaluation.episodes=3",
        "compute.threads=1",
    ),
}
KEPT = (".safetensors", ".kdwt", ".npz")  # weights and flights, compared byte by byte
TOLD = ("manifest.json",)  # of a bundle; compared as a record is
TIMES = ("run", "config", "timing", "cpu_s", "time_per_step_ms", "date")  # when, where and how fast
# Relative, so that a run's settings, and what is named by them, do not depend on where it is.
PLACES = ("output.cache_dir=cache", "output.records_dir=records", "output.dir=out")
LEAVE_S = 20.0  # within which a worker has to notice, on a busy machine
WHOLE_S = 1800.0  # a run's longest time

Result = Mapping[str, str]  # SHA-256 by what it is of


@dataclass(frozen=True, slots=True)
class Kill:
    """One run that was killed."""

    after_s: float  # its start
    workers: int  # processes of it that were left when it was gone
    leave_s: float  # until the last of them was gone
    files: int  # compared


def measure(overrides: tuple[str, ...], kills: int, seed: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Kill as many runs, each in folders of its own, at moments drawn between start and end.

    Raises EvidenceError: a run fails, comes to another result, or leaves a process.
    """
    generator, survived, ended = np.random.default_rng(seed), list[Kill](), 0
    with tempfile.TemporaryDirectory(prefix="kdmarl_sat_kills.") as name:
        start = time.monotonic()
        expected = _finish(_start(overrides, Path(name) / "whole"), Path(name) / "whole")
        took = time.monotonic() - start
        tell(f"undisturbed: {took:.0f} s, {len(expected)} files and records")
        while len(survived) < kills:
            folder = Path(name) / f"kill_{len(survived)}_{ended}"
            moment = float(generator.uniform(0.0, took))
            process = _start(overrides, folder)
            try:
                process.wait(moment)
                ended += 1  # the machine was less busy than before: another moment
                if process.returncode != 0 or ended > 5 * kills:
                    raise EvidenceError(f"a run of {' '.join(overrides)} ended by itself with {process.returncode}")
                continue
            except subprocess.TimeoutExpired:
                kill = _kill(process, moment)
            found = _finish(_start(overrides, folder), folder)
            if found != expected:
                names = sorted(each for each in {*found, *expected} if found.get(each) != expected.get(each))
                raise EvidenceError(f"killed after {moment:.1f} s, a run came to other bytes: {', '.join(names)}")
            survived.append(Kill(round(moment, 2), *kill, len(found)))
            tell(
                f"kill {len(survived)} of {kills}: after {moment:.1f} s, {kill[0]} workers left within {kill[1]:.1f} s"
            )
    return {
        "overrides": list(overrides),
        "seed": seed,
        "undisturbed_s": round(took, 1),
        "kills": [[each.after_s, each.workers, round(each.leave_s, 2)] for each in survived],
        "files_equal": len(expected),
    }


def _start(overrides: tuple[str, ...], folder: Path) -> subprocess.Popen[bytes]:
    """In a session of its own, by which its processes are known."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    with (folder / "said").open("ab") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "kdmarl_sat.run", *overrides, *PLACES],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": paths},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )


def _finish(process: subprocess.Popen[bytes], folder: Path) -> dict[str, str]:
    """What a run came to."""
    if process.wait(WHOLE_S) != 0:
        raise EvidenceError(f"a run failed: {(folder / 'said').read_text(errors='replace').strip()[-1000:]}")
    _left(process.pid, "at its end")
    return result(folder)


def _kill(process: subprocess.Popen[bytes], moment: float) -> tuple[int, float]:
    """(workers that it left behind, seconds until they were gone)."""
    process.send_signal(signal.SIGKILL)
    process.wait()
    return _left(process.pid, f"killed after {moment:.1f} s")


def _left(leader: int, when: str) -> tuple[int, float]:
    """(processes that a program left behind, seconds until they were gone).

    Raises EvidenceError: they stay.
    """
    start = time.monotonic()
    count = len(session(leader))
    while left := session(leader):
        if time.monotonic() - start > LEAVE_S:
            raise EvidenceError(f"{when}, a run left {len(left)} processes for {LEAVE_S:.0f} s")
        time.sleep(0.02)
    return count, time.monotonic() - start


def session(leader: int) -> list[int]:
    """Processes of a session that still run."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state, _, _, own = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            except OSError:  # it has just left
                continue
            if int(own) == leader and state != "Z":
                found.append(int(folder.name))
    return found


def result(folder: Path) -> dict[str, str]:
    """Digests of the weights, bundles and records of a run."""
    found = {}
    for path in sorted((folder / "cache").rglob("*")):
        if path.is_file() and path.name.endswith(KEPT):
            found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    for path in sorted((*(folder / "cache").rglob("*.json"), *(folder / "records").rglob("*.json"))):
        if path.name in TOLD or path.is_relative_to(folder / "records"):
            told = json.dumps(timeless(json.loads(path.read_text())), sort_keys=True)
            found[str(path.relative_to(folder))] = hashlib.sha256(told.encode()).hexdigest()
    return found


def timeless(told: Any) -> Any:
    """A record without the values that depend on time or folder."""
    if isinstance(told, dict):
        return {key: timeless(value) for key, value in told.items() if key not in TIMES}
    return [timeless(each) for each in told] if isinstance(told, list) else told
