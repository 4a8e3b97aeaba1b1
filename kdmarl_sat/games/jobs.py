"""Runs of the benchmark as processes: which are missing, so many at a time, ended together with this one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from envs.tether import tethered
from kdmarl_sat.console import plain_console
from kdmarl_sat.games.records import TEACHER_SEED, GameRecord, depends_on_a_teacher, read_all, settings
from scenarios.compose import composed_game
from scenarios.games import schema
from scenarios.ranges import ConfigError
from scenarios.schema import to_dict

# What is off, or otherwise, in each variant of a distilled method.
VARIANTS: Mapping[str, tuple[str, ...]] = {
    "no_ppo": ("distill.ppo=0",),
    "no_kl": ("distill.kl=0",),
    "no_ce": ("distill.ce=0",),
    "no_relation": ("distill.relation=0",),
    "no_role": ("distill.role=0",),
    "no_entropy": ("distill.entropy=0",),
    "buffer_only": ("distill.student_steps=0",),
    "own_only": ("distill.teacher_steps=0",),
    "constant_imitation": ("distill.imitation_left=1",),
    "frozen_critic": ("distill.tune_critic=false",),
}
OURS = (
    "scenario",
    "seed",
    "methods",
    "variant",
    "budget",
    "compute.threads",
    "output.records_dir",
)  # set for every job

_POLL_S = 0.1
_GOODBYE_S = 10.0


@dataclass(frozen=True, slots=True)
class Job:
    """The runs of one process: methods that have no record yet, of one scenario, seed, variant and budget."""

    scenario: str
    seed: int
    methods: tuple[str, ...]
    variant: str = ""
    overrides: tuple[str, ...] = ()
    budget: str = "equal"

    @property
    def name(self) -> str:
        budget = self.budget if self.budget != "equal" else ""
        return "-".join([*filter(None, [self.scenario, self.variant, budget]), f"seed{self.seed}"])

    def arguments(self, records: Path, threads: int) -> list[str]:
        quoted = str(records).replace("\\", "\\\\").replace("'", "\\'")
        return [
            *(f"scenario={self.scenario}", f"seed={self.seed}", f"methods=[{','.join(self.methods)}]"),
            *([f"variant={self.variant}"] if self.variant else []),
            f"budget={self.budget}",
            *self.overrides,
            *(f"compute.threads={threads}", f"output.records_dir='{quoted}'"),
        ]


@dataclass(frozen=True, slots=True)
class Failure:
    job: Job
    reason: str


def scenario_names() -> list[str]:
    return sorted(path.stem for path in (Path(schema.__file__).parent / "scenario").glob("*.yaml"))


@cache
def composed(*overrides: str) -> dict[str, Any]:
    """The configuration of a run with these overrides, as a record has it.

    Raises:
        ConfigError, or one of ``scenarios.messages.COMPOSITION_ERRORS``.
    """
    return to_dict(composed_game(*overrides))


def missing(jobs: Iterable[Job], folder: Path) -> list[Job]:
    """The same jobs without the methods that have a record of this scenario, seed, variant, budget and configuration.

    Raises:
        RecordError: a record cannot be read.
    """
    records = read_all(folder)
    return [
        replace(job, methods=methods)
        for job in jobs
        if (methods := tuple(method for method in job.methods if not _recorded(job, method, records)))
    ]


def _recorded(job: Job, method: str, records: Sequence[GameRecord]) -> bool:
    config = composed(f"scenario={job.scenario}", f"budget={job.budget}", *job.overrides)
    wanted = settings(config, method)
    name, backend = config["scenario"]["name"], config["scenario"]["environment"]["backend"]
    return any(
        (record.scenario, record.method, record.seed, record.variant) == (name, method, job.seed, job.variant)
        and (record.budget == job.budget or method == "teacher")
        and (record.backend == backend or backend == "auto" or record.backend not in ("smax", "smac"))
        and _as_asked(record, wanted, config["teacher"]["load"])
        for record in records
    )


def _as_asked(record: GameRecord, wanted: Mapping[str, Any], load: str | None) -> bool:
    """Whether a record has the wanted settings, and the teacher of ``load`` (None: that of its own seed)."""
    found = record.settings()
    if load is None or not depends_on_a_teacher(record.method):
        return found == wanted
    found.pop(TEACHER_SEED, None)
    return found == wanted and record.teacher is not None and record.teacher["path"] == load


def run(
    jobs: Sequence[Job],
    records: Path,
    logs: Path,
    at_once: int = 2,
    threads: int = 1,
    module: str = "kdmarl_sat.run",
    console: Console | None = None,
) -> list[Failure]:
    """Run every job as ``python -m module``, ``at_once`` at a time, its output in ``logs``.

    On an exception (Ctrl-C) the processes that run are ended with all that they started.
    """
    console = console or plain_console()
    logs.mkdir(parents=True, exist_ok=True)
    records.mkdir(parents=True, exist_ok=True)
    failures: list[Failure] = []
    pending, running = deque(jobs), list[_Running]()
    with _progress(console) as progress:
        whole = progress.add_task("all", total=len(jobs), saying="")
        try:
            while pending or running:
                while pending and len(running) < at_once:
                    job = pending.popleft()
                    bar = progress.add_task(job.name, total=None, saying=", ".join(job.methods))
                    running.append(_Running(job, bar, _command(job, records, threads, module), logs, threads))
                    console.print(f"begins  {job.name}: {', '.join(job.methods)}", markup=False)
                for each in [each for each in running if each.process.poll() is not None]:
                    running.remove(each)
                    each.log.close()
                    progress.remove_task(each.bar)
                    progress.advance(whole)
                    failure = _failure(each, records)
                    failures += [failure] if failure else []
                    took = f"{each.job.name} after {time.monotonic() - each.since:.0f} s"
                    said = f"failed  {took}: {failure.reason}" if failure else f"done    {took}"
                    console.print(said, markup=False)
                for each in running:
                    progress.update(each.bar, saying=each.last_line()[:60] or ", ".join(each.job.methods))
                time.sleep(_POLL_S)
        finally:
            _end(running)
    return failures


class _Running:
    """A job's process and its log, which goes on where an earlier attempt left it."""

    def __init__(self, job: Job, bar: TaskID, command: Sequence[str], logs: Path, threads: int) -> None:
        self.job, self.bar, self.since = job, bar, time.monotonic()
        self.path = logs / f"{job.name}.log"
        self.log: BinaryIO = self.path.open("ab")
        self.begin = self.log.tell()
        limits = {f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "MKL", "OPENBLAS")}
        self.process = subprocess.Popen(
            tethered(command),
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **limits},
            start_new_session=True,  # so that it can be ended with its workers, by us alone
        )

    def last_line(self) -> str:
        """What it wrote last; empty where it wrote nothing yet."""
        with self.path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self.begin, size - 4096))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else ""


def _command(job: Job, records: Path, threads: int, module: str) -> list[str]:
    return [sys.executable, "-m", module, *job.arguments(records, threads)]


def _failure(ended: _Running, records: Path) -> Failure | None:
    code = ended.process.returncode
    if code:
        said = ended.last_line() or "it wrote nothing"
        return Failure(ended.job, f"{said} (exit code {code}, log {ended.path})")
    left = missing([ended.job], records)
    if left:
        return Failure(ended.job, f"it ended without a record of {', '.join(left[0].methods)} (log {ended.path})")
    return None


def _end(running: Sequence[_Running]) -> None:
    """End processes and what they started: asked first, then made to."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        for each in running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(each.process.pid, sign)
        deadline = time.monotonic() + _GOODBYE_S
        for each in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                each.process.wait(max(0.0, deadline - time.monotonic()))
    for each in running:
        each.log.close()


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description:<28}"),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[saying]}", markup=False),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def checked_overrides(overrides: Sequence[str]) -> tuple[str, ...]:
    """Overrides of the user.

    Raises:
        ConfigError: one that the command sets itself.
    """
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~")
        if key in OURS:
            raise ConfigError(f"{override} is not allowed: it must be another setting than {', '.join(OURS)}")
    return tuple(overrides)
