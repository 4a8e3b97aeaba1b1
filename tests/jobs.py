"""Jobs for worker processes, which import them by name."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path

from onboard.bundle import BundleError
from scenarios.ranges import ConfigError


def square(job: int) -> int:
    return job * job


def spend(cpu_s: float) -> float:
    """Computes for so many CPU-seconds, after a wait that costs none."""
    time.sleep(0.3)
    end = time.process_time() + cpu_s
    while time.process_time() < end:
        pass
    return cpu_s


def crash_once(job: tuple[str, int]) -> int:
    """Dies at the first attempt at an odd job, as a segmentation fault would; then answers."""
    folder, number = job
    mark = Path(folder) / str(number)
    if number % 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def hang_once(job: tuple[str, int]) -> int:
    folder, number = job
    mark = Path(folder) / str(number)
    if number == 1 and not mark.exists():
        mark.touch()
        time.sleep(600)
    return number * number


def always_crash(job: int) -> int:
    os.kill(os.getpid(), signal.SIGSEGV)
    return job


def refuse(job: int) -> int:
    raise ValueError(f"job {job} makes no sense")


def refuse_in_our_words(job: int) -> int:
    """As a mission does whose support data are missing, or an executor whose bundle is damaged."""
    raise ConfigError(f"job={job} is not allowed: it must be even") if job % 2 else BundleError("bundle x is damaged")


def crash_at_seed_zero(folder: Path, kind: str, seeds: range) -> tuple[Counter[str], list[str]]:
    """In the place of an attack on a bundle."""
    if 0 in seeds:
        os.kill(os.getpid(), signal.SIGSEGV)
    return Counter({"BundleError": len(seeds)}), []


def spin(folder: str) -> None:
    """Never ends, and says who it is by a file of that name."""
    (Path(folder) / str(os.getpid())).touch()
    while True:
        pass
