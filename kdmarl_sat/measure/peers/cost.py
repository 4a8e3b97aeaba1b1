"""CPU seconds of a program and all that it starts, and what they say when two programs are compared."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from envs.tether import tethered
from kdmarl_sat.measure.peers.programs import WINDOW_STEPS, Program, Report, Started

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_TAIL = 40  # lines of a program that failed


class FailedError(RuntimeError):
    """A program that ended otherwise than it should have; the message holds its last words."""


@dataclass(frozen=True, slots=True)
class Point:
    """A report, and the CPU seconds spent until it came."""

    steps: int
    cpu_s: float
    mean_return: float | None  # per agent, of the episodes that ended within the latest WINDOW_STEPS


@dataclass(frozen=True, slots=True)
class Run:
    """One training of one program."""

    program: str
    seed: int
    curve: tuple[Point, ...]
    cpu_s: float  # of the whole run: start, imports, compilation, training, end
    cpu_s_imports: float  # until training began
    wall_s: float

    @property
    def steps(self) -> int:
        return self.curve[-1].steps

    @property
    def steady_rate(self) -> float:
        """Environment steps per CPU second between the first report and the last: nothing is compiled there."""
        first, last = self.curve[0], self.curve[-1]
        return (last.steps - first.steps) / (last.cpu_s - first.cpu_s)

    @property
    def whole_rate(self) -> float:
        return self.steps / self.cpu_s

    @property
    def cpu_s_start(self) -> float:
        """What came before training at its steady rate: imports, compilation, memory that is touched first."""
        first = self.curve[0]
        return max(0.0, first.cpu_s - first.steps / self.steady_rate)

    @property
    def best(self) -> float | None:
        """The highest mean return over a full window."""
        full = [p.mean_return for p in self.curve if p.mean_return is not None and p.steps >= WINDOW_STEPS]
        return max(full, default=None)

    def cpu_s_to(self, level: float) -> float | None:
        """CPU seconds until a full window's mean return is at least ``level``; None: never."""
        for point in self.curve:
            if point.steps >= WINDOW_STEPS and point.mean_return is not None and point.mean_return >= level:
                return point.cpu_s
        return None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A peer and ours, means over seeds; ratios above 1 are in our favour."""

    peer: str
    ours: str
    rate: float  # ratio of environment steps per CPU second at the steady rate
    whole_rate: float  # everything counted
    level: float | None  # the lower of the best returns: both reach it
    cost: float | None  # ratio of CPU seconds to that return, without the start
    whole_cost: float | None  # everything counted


def measure(program: Program, steps: int, seed: int, threads: int) -> Run:
    """Run a program to its end.

    Raises:
        FailedError: it ended with an error, or did not report twice.
    """
    cores = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory() as folder:
        for module, source in program.doubles.items():
            (Path(folder) / f"{module}.py").write_text(source)
        work = Path(folder) / "work"
        work.mkdir()
        environment = os.environ | _limits(threads) | {"PYTHONPATH": ":".join((folder, *program.python_path))}
        began = os.times().elapsed
        os.sched_setaffinity(0, sorted(cores)[:threads])  # what is started here inherits it
        try:
            process = subprocess.Popen(
                tethered(program.command(round(steps * program.share), seed)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=work,
                env=environment,
                start_new_session=True,
            )
        finally:
            os.sched_setaffinity(0, cores)
        try:
            raw, imports, tail = _follow(process, program)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            _end(process)
        wall = os.times().elapsed - began
    if process.returncode != 0 or len(raw) < 2:
        raise FailedError(f"{program.name} ended with code {process.returncode}: " + "\n".join(tail))
    curve = [Point(report.steps, cpu, report.mean_return) for report, cpu in raw]
    if not program.averaged:
        curve = averaged(curve)
    # wait4 counts descendants that have been waited for; the session's count also those that have not.
    total = max(usage.ru_utime + usage.ru_stime, curve[-1].cpu_s)
    return Run(program.name, seed, tuple(curve), total, imports, wall)


def averaged(curve: Sequence[Point]) -> list[Point]:
    """Each report's return replaced by the mean over the reports of the latest WINDOW_STEPS."""
    points = []
    for index, point in enumerate(curve):
        recent = [
            p.mean_return
            for p in curve[: index + 1]
            if p.steps > point.steps - WINDOW_STEPS and p.mean_return is not None
        ]
        points.append(Point(point.steps, point.cpu_s, sum(recent) / len(recent) if recent else None))
    return points


def compare(runs: Sequence[Run], peer: str, ours: str) -> Comparison:
    theirs, own = ([run for run in runs if run.program == name] for name in (peer, ours))
    bests = [run.best for run in (*theirs, *own)]
    level, cost, whole_cost = None, None, None
    if all(best is not None for best in bests):
        level = min(best for best in bests if best is not None)
        cost = _mean([_cost(run, level) for run in theirs]) / _mean([_cost(run, level) for run in own])
        whole = [_mean([run.cpu_s_to(level) or 0.0 for run in part]) for part in (theirs, own)]
        whole_cost = whole[0] / whole[1]
    return Comparison(
        peer,
        ours,
        _mean([run.steady_rate for run in own]) / _mean([run.steady_rate for run in theirs]),
        _mean([run.whole_rate for run in own]) / _mean([run.whole_rate for run in theirs]),
        level,
        cost,
        whole_cost,
    )


def _cost(run: Run, level: float) -> float:
    spent = run.cpu_s_to(level)
    assert spent is not None
    return spent - run.cpu_s_start


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _limits(threads: int) -> Mapping[str, str]:
    """The same for all: so many threads, no accelerator, no window, lines as they are printed."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    one = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"} if threads == 1 else {}
    return {
        **dict.fromkeys(names, str(threads)),
        **one,
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
        "SDL_VIDEODRIVER": "dummy",
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore",
    }


def _follow(process: subprocess.Popen[bytes], program: Program) -> tuple[list[tuple[Report, float]], float, deque[str]]:
    """Reports with the CPU seconds at which they came, those at which training began, and the last lines."""
    assert process.stdout is not None
    reader, reports, imports = program.reader(), list[tuple[Report, float]](), 0.0
    tail: deque[str] = deque(maxlen=_TAIL)
    rest = b""
    with process.stdout as pipe:
        while chunk := os.read(pipe.fileno(), 65536):
            *lines, rest = re.split(rb"[\r\n]", rest + chunk)  # progress bars end lines with carriage returns
            for line in lines:
                text = line.decode(errors="replace")
                tail.append(text)
                said = reader(text)
                if isinstance(said, Started):
                    imports = cpu_s_of_session(process.pid)
                elif said is not None:
                    reports.append((said, cpu_s_of_session(process.pid)))
    return reports, imports, tail


def cpu_s_of_session(session: int) -> float:
    """User and system CPU seconds of a session's processes, and of their children that have ended."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()  # a program's name may hold anything
        except OSError:  # it has just ended
            continue
        if int(fields[3]) == session:
            ticks += sum(int(value) for value in fields[11:15])
    return ticks * _TICK


def _end(process: subprocess.Popen[bytes]) -> None:
    """Whatever is left of it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    if process.returncode is None:
        process.wait()
