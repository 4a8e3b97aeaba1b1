"""Jobs in spawned processes that may crash or hang: their work is done again, by a new process.

A job must be a function of its argument alone, so that doing it twice gives the same result and the number of
workers changes nothing but the time. Processes are spawned, never forked: Basilisk and JAX do not survive a fork.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import signal
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Generic, TypeVar

PACKAGES = ("kdmarl_sat", "scenarios", "envs", "training", "onboard")  # whose errors carry a sentence for the user
Job = TypeVar("Job")
Result = TypeVar("Result")


def is_ours(error: BaseException | None) -> bool:
    """Whether an exception's class is defined in one of our packages, so that its message is meant for the user."""
    return type(error).__module__.partition(".")[0] in PACKAGES


_GOODBYE_S = 5.0


class WorkerError(RuntimeError):
    """A job that keeps killing or stalling its worker, or that raised; an error of ours is its sentence alone."""


class _Outcome(Enum):
    done = auto()  # with the result
    refused = auto()  # with a sentence for the user
    raised = auto()  # with a traceback


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    job: int | None = None  # index of the job it is at
    since: float = field(default_factory=time.monotonic)


class WorkerPool(Generic[Job, Result]):
    """``workers`` processes that apply one function to jobs; use as a context manager."""

    def __init__(
        self,
        function: Callable[[Job], Result],
        workers: int,
        job_timeout_s: float = 600.0,
        max_restarts: int = 3,
    ) -> None:
        """
        Args:
            function: importable by name in a new process.
            workers: number of processes.
            job_timeout_s: a worker that is at one job for longer is killed and replaced.
            max_restarts: how often one job may cost its worker before ``map`` gives up.
        """
        self._function = function
        self._job_timeout_s = job_timeout_s
        self._max_restarts = max_restarts
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        self._count = workers
        self.restarts = 0

    def __enter__(self) -> WorkerPool[Job, Result]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Idle workers leave by themselves, and tidily; busy ones are killed."""
        for worker in self._workers:
            worker.pipe.close()
        for worker in self._workers:
            worker.process.join(_GOODBYE_S if worker.job is None else 0.0)
            worker.process.kill()
            worker.process.join()
        self._workers = []

    def map(self, jobs: Sequence[Job]) -> Iterator[Result]:
        """Results in the order of the jobs, each as soon as it and all before it are there.

        Raises:
            WorkerError: a job raised, or its worker died or fell silent ``max_restarts`` + 1 times.
        """
        while len(self._workers) < min(self._count, len(jobs)):
            self._workers.append(self._spawn())
        waiting = deque(range(len(jobs)))
        failures = [0] * len(jobs)
        done: dict[int, Result] = {}
        following = 0
        try:
            while following < len(jobs):
                for worker in self._workers:
                    if worker.job is None and waiting:
                        self._submit(worker, waiting.popleft(), jobs)
                ready = wait([w.pipe for w in self._workers if w.job is not None], timeout=1.0)
                for position, worker in enumerate(self._workers):
                    if worker.job is None:
                        continue
                    index = worker.job
                    failure = ""
                    if worker.pipe in ready:
                        try:
                            outcome, value = pickle.loads(worker.pipe.recv_bytes())
                        except (EOFError, OSError):
                            worker.process.join()
                            failure = f"its worker died (exit code {worker.process.exitcode})"
                        else:
                            if outcome is _Outcome.refused:
                                raise WorkerError(value)
                            if outcome is _Outcome.raised:
                                raise WorkerError(f"job {index} failed: {value}")
                            done[index] = value
                            worker.job = None
                    elif time.monotonic() - worker.since > self._job_timeout_s:
                        failure = f"its worker was silent for {self._job_timeout_s:g} s"
                    if failure:
                        failures[index] += 1
                        if failures[index] > self._max_restarts:
                            raise WorkerError(
                                f"job {index} was given up after {failures[index]} attempts: {failure}; "
                                f"the job was {_short(jobs[index])}"
                            )
                        self.restarts += 1
                        self._replace(position)
                        waiting.appendleft(index)
                while following in done:
                    yield done.pop(following)
                    following += 1
        finally:
            if following < len(jobs):  # given up or abandoned: unread answers must not meet the next jobs
                self.close()

    def _submit(self, worker: _Worker, index: int, jobs: Sequence[Job]) -> None:
        worker.job, worker.since = index, time.monotonic()
        with contextlib.suppress(OSError):  # it died while idle: its pipe reads as closed, and the job counts as lost
            worker.pipe.send_bytes(pickle.dumps(jobs[index]))

    def _spawn(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(self._function, theirs), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def _replace(self, position: int) -> None:
        old = self._workers[position]
        old.pipe.close()
        old.process.kill()
        old.process.join()
        self._workers[position] = self._spawn()


def _serve(function: Callable[[Any], Any], pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    while True:
        try:
            job = pickle.loads(pipe.recv_bytes())
        except (EOFError, OSError):
            return
        try:
            answer = (_Outcome.done, function(job))
        except Exception as error:
            answer = (_Outcome.refused, str(error)) if is_ours(error) else (_Outcome.raised, traceback.format_exc())
        try:
            pipe.send_bytes(pickle.dumps(answer))
        except OSError:
            return


def _short(job: object) -> str:
    text = repr(job)
    return text if len(text) <= 200 else text[:197] + "..."
