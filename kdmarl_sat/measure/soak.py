"""Many episodes in one go, killed and resumed on the way, and what became of them. Linux only: it reads /proc."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from envs.basilisk.episode_result import EpisodeResult
from envs.files import write_json
from envs.tether import tethered
from kdmarl_sat.console import Console
from kdmarl_sat.missions.flights import fly
from kdmarl_sat.missions.mission import mission_of
from kdmarl_sat.provenance import provenance
from scenarios.ranges import ConfigError
from scenarios.schema import RunConfig
from training.missions.evaluate import Evaluation
from training.missions.simulate import HELD_OUT, Flyer, Heuristic, episode_seeds, jobs, worker_pool
from training.missions.simulate import fly as fly_job

WHO = Flyer(heuristic=Heuristic.greedy_battery)
GROWTH_MB = 10.0  # allowed of a process, per 100 episodes
_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Look:
    """What there was to see at an instant."""

    time_s: float
    done: int  # episodes with a result
    memory_MB: dict[int, float]  # resident, of each process


class SoakError(RuntimeError):
    """The flight did not end as it should; the message is one sentence for the user."""


def fly_whole(run: RunConfig) -> None:
    """What is killed: all episodes that have no result yet."""
    with worker_pool(run.compute) as pool, Console() as console:
        fly(mission_of(run, pool, console, {}), "soak", WHO, {})


def measure(
    run: RunConfig, overrides: Sequence[str], kills: int, again: int, folder: Path, record: Path
) -> dict[str, Any]:
    """Fly, kill, resume, and say what became of it; the record says beside it of what code and configuration.

    Args:
        overrides: of the command line that made ``run``, for the processes that are killed.
        again: episodes that are flown once more, alone.
    """
    with alone(folder):
        measured = soak(run, overrides, kills, again, folder)
    record.parent.mkdir(parents=True, exist_ok=True)
    write_json(record, {"run": provenance(run), **measured})
    return measured


def soak(run: RunConfig, overrides: Sequence[str], kills: int, again: int, folder: Path) -> dict[str, Any]:
    """Fly, kill, resume, and say what became of it."""
    episodes, size = run.evaluation.episodes, run.compute.episodes_per_job
    for stale in folder.glob("flight-soak-*"):
        shutil.rmtree(stale)
    asked = [f"--episodes={episodes}", f"--folder={folder}"]
    command = [sys.executable, "-m", "kdmarl_sat", "measure", "soak", *overrides, *asked]
    lives: list[list[Look]] = []
    with Console() as console, console.stage("soak") as progress:
        for life in range(kills + 1):
            until = episodes * (life + 1) // (kills + 1)  # of the last life: all
            lives.append(live([*command, "--fly"], lambda: _done(folder, episodes, size), until, episodes, progress))
            if life < kills and lives[-1][-1].done >= episodes:
                raise SoakError(f"all {episodes} episodes were done before kill {life + 1}: ask for more")
            console.say(f"{'killed' if life < kills else 'done'} after {lives[-1][-1].done} episodes")
    [flown] = folder.glob("flight-soak-*")
    results = Evaluation.load(flown).episodes
    seeds = episode_seeds(HELD_OUT, 0, 0, episodes)
    chosen = np.linspace(0, episodes - 1, again).astype(int).tolist()
    same = sum(asdict(_alone(run, seeds[index])) == asdict(results[index]) for index in chosen)
    growth = growth_MB(max(lives, key=len))
    in_order = [result.seed for result in results] == seeds
    return {
        "episodes": episodes,
        "done at each kill": [looks[-1].done for looks in lives[:-1]],
        "one result for every seed, in order": in_order,
        "flown again alone": again,
        "of them with the same result": same,
        "satellites failed": sum(result.failures for result in results),
        "satellites lost otherwise": sum(result.deaths for result in results),
        "decisions that did not arrive": sum(result.missed for result in results),
        "seconds": round(sum(looks[-1].time_s - looks[0].time_s for looks in lives), 1),
        "longest wait for a result, s": round(max(longest_wait_s(looks) for looks in lives), 1),
        "MB that a process grew per 100 episodes, longest life": [round(each, 2) for each in growth],
        "MB allowed": GROWTH_MB,
        "met": in_order and same == again and len(growth) > 0 and max(growth) < GROWTH_MB,
    }


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """No other soak in a folder: each begins by removing what an earlier one has left there.

    Raises:
        ConfigError: there is one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "soak.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            allowed = "it must be one that no other soak flies in"
            raise ConfigError(f"folder={folder} is not allowed: {allowed}") from error
        yield


def live(
    command: Sequence[str],
    done: Callable[[], int],
    until: int,
    episodes: int,
    progress: Callable[[float, str], None],
) -> list[Look]:
    """One life of a process group: it is killed once ``until`` episodes are done, unless those are all.

    Raises:
        SoakError: it ended by itself before.
    """
    looks: list[Look] = []
    process = subprocess.Popen(tethered(command), stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        while process.poll() is None:
            looks.append(Look(time.monotonic(), done(), memory_MB(process.pid)))
            progress(looks[-1].done / episodes, f"{looks[-1].done} episodes")
            if until <= looks[-1].done < episodes:
                return looks
            time.sleep(_LOOK_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    looks.append(Look(time.monotonic(), done(), {}))
    if process.returncode or looks[-1].done < episodes:
        raise SoakError(f"the flight ended with exit code {process.returncode} after {looks[-1].done} episodes")
    return looks


def _done(folder: Path, episodes: int, size: int) -> int:
    """Episodes with a result."""
    if any(folder.glob("flight-soak-*/done.json")):
        return episodes
    return min(episodes - 1, size * len(list(folder.glob("flight-soak-*/part-*.json"))))


def _alone(run: RunConfig, seed: int) -> EpisodeResult:
    [job] = jobs(run.scenario, WHO, [seed], run.compute, training=False)
    return fly_job(job).results[0]


def memory_MB(group: int) -> dict[int, float]:
    """Resident memory of each process of a group."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            state = (place / "stat").read_text().rpartition(")")[2].split()  # a name may hold spaces and brackets
            pages = int((place / "statm").read_text().split()[1])
        except (OSError, IndexError):  # it has ended meanwhile
            continue
        if int(state[2]) == group:
            found[int(place.name)] = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    return found


def growth_MB(looks: Sequence[Look]) -> list[float]:
    """Of each process that lived through the second half of the looks: by how much it grew per 100 episodes."""
    half = [look for look in looks[len(looks) // 2 :] if look.memory_MB]
    if len({look.done for look in half}) < 3:
        return []  # too short a life to tell
    lasting = set.intersection(*(set(look.memory_MB) for look in half))
    done = np.array([look.done for look in half]) / 100.0
    return [float(np.polyfit(done, [look.memory_MB[pid] for look in half], 1)[0]) for pid in sorted(lasting)]


def longest_wait_s(looks: Sequence[Look]) -> float:
    """Between two looks with news, or the first and the first news."""
    news = [looks[0], *(later for look, later in pairwise(looks) if later.done > look.done)]
    return max((b.time_s - a.time_s for a, b in pairwise(news)), default=0.0)
