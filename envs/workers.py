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
from dataclasses import dataclass
from enum import Enum, auto
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

from envs.tether import leave_with_parent

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


@dataclass(frozen=True)
class Lost:
    """Returned in place of an answer if the worker was lost."""

    why: str


class Workers(Protocol):
    """Some workers, numbered from 0, that ``answer`` jobs. ``envs.ray_workers`` has those on a Ray cluster."""

    def grow(self, count: int) -> None:
        """Start workers until there are ``count``."""

    def ready(self) -> Sequence[int]:
        """Those that have started; one at work is among them."""

    def submit(self, worker: int, job: bytes) -> None: ...

    def answers(self, timeout_s: float) -> list[tuple[int, bytes | Lost]]:
        """What workers have answered by now, after waiting for the first for at most ``timeout_s``."""

    def replace(self, worker: int) -> None:
        """Kill it, whatever it does, and start another in its place."""

    def stop(self) -> None:
        """Idle workers leave; busy ones are killed. More can be started."""

    def close(self) -> None:
        """Stop, and let go of whatever the workers needed."""


class WorkerPool(Generic[Job, Result]):
    """``workers`` processes that apply one function to jobs; use as a context manager."""

    def __init__(
        self,
        function: Callable[[Job], Result],
        workers: int,
        job_timeout_s: float = 1800.0,
        max_restarts: int = 3,
        on: Callable[[Callable[[Any], Any]], Workers] | None = None,
    ) -> None:
        """
        Args:
            function: importable by name in a new process.
            workers: number of processes.
            job_timeout_s: a worker that is at one job for longer is killed and replaced.
            max_restarts: how often one job may cost its worker before ``map`` gives up.
            on: makes the workers for the function; processes of this machine if not given.
        """
        self._workers = Processes(function) if on is None else on(function)
        self._count = workers
        self._job_timeout_s = job_timeout_s
        self._max_restarts = max_restarts
        self.restarts = 0
        self.cpu_s = 0.0  # of jobs that are done, in all workers

    def __enter__(self) -> WorkerPool[Job, Result]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Idle workers leave by themselves, and tidily; busy ones are killed."""
        self._workers.close()

    def map(self, jobs: Sequence[Job]) -> Iterator[Result]:
        """Results in the order of the jobs, each as soon as it and all before it are there.

        Raises:
            WorkerError: a job raised, or its worker died or fell silent ``max_restarts`` + 1 times.
        """
        self._workers.grow(min(self._count, len(jobs)))
        waiting = deque(range(len(jobs)))
        failures = [0] * len(jobs)
        done: dict[int, Result] = {}
        following = 0
        busy: dict[int, tuple[int, float]] = {}  # worker -> its job, and since when
        try:
            while following < len(jobs):
                for worker in self._workers.ready():
                    if worker not in busy and waiting:
                        busy[worker] = waiting.popleft(), time.monotonic()
                        self._workers.submit(worker, pickle.dumps(jobs[busy[worker][0]]))
                answers = dict(self._workers.answers(timeout_s=1.0))
                for worker, (index, since) in list(busy.items()):
                    answer = answers.get(worker)
                    if answer is None and time.monotonic() - since > self._job_timeout_s:
                        answer = Lost(f"its worker was silent for {self._job_timeout_s:g} s")
                    if answer is None:
                        continue
                    del busy[worker]
                    if isinstance(answer, bytes):
                        outcome, value, cpu_s = pickle.loads(answer)
                        self.cpu_s += cpu_s
                        if outcome is _Outcome.refused:
                            raise WorkerError(value)
                        if outcome is _Outcome.raised:
                            raise WorkerError(f"job {index} failed: {value}")
                        done[index] = value
                        continue
                    failures[index] += 1
                    if failures[index] > self._max_restarts:
                        raise WorkerError(
                            f"job {index} was given up after {failures[index]} attempts: {answer.why}; "
                            f"the job was {_short(jobs[index])}"
                        )
                    self.restarts += 1
                    self._workers.replace(worker)
                    waiting.appendleft(index)
                while following in done:
                    yield done.pop(following)
                    following += 1
        finally:
            if following < len(jobs):  # given up or abandoned: unread answers must not meet the next jobs
                self._workers.stop()


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    busy: bool = False


class Processes:
    """``Workers`` of this machine, each with a pipe."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []

    def grow(self, count: int) -> None:
        while len(self._workers) < count:
            self._workers.append(self._spawn())

    def ready(self) -> Sequence[int]:
        return range(len(self._workers))

    def submit(self, worker: int, job: bytes) -> None:
        self._workers[worker].busy = True
        with contextlib.suppress(OSError):  # it died while idle: its pipe reads as closed, and the job counts as lost
            self._workers[worker].pipe.send_bytes(job)

    def answers(self, timeout_s: float) -> list[tuple[int, bytes | Lost]]:
        readable = wait([worker.pipe for worker in self._workers if worker.busy], timeout_s)
        return [(index, self._read(worker)) for index, worker in enumerate(self._workers) if worker.pipe in readable]

    def replace(self, worker: int) -> None:
        old = self._workers[worker]
        old.pipe.close()
        old.process.kill()
        old.process.join()
        self._workers[worker] = self._spawn()

    def stop(self) -> None:
        for worker in self._workers:
            worker.pipe.close()
        for worker in self._workers:
            worker.process.join(0.0 if worker.busy else _GOODBYE_S)
            worker.process.kill()
            worker.process.join()
        self._workers = []

    def close(self) -> None:
        self.stop()

    def _read(self, worker: _Worker) -> bytes | Lost:
        worker.busy = False
        try:
            return worker.pipe.recv_bytes()
        except (EOFError, OSError):
            worker.process.join()
            return Lost(f"its worker died (exit code {worker.process.exitcode})")

    def _spawn(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(self._function, theirs), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours)


def _serve(function: Callable[[Any], Any], pipe: Connection) -> None:
    leave_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    while True:
        try:
            job = pipe.recv_bytes()
        except (EOFError, OSError):
            return
        reply = answer(function, job)
        try:
            pipe.send_bytes(reply)
        except OSError:
            return


def answer(function: Callable[[Any], Any], job: bytes) -> bytes:
    """What a worker sends back for a pickled job: its pickled outcome, and the CPU-seconds that it took."""
    start = time.process_time()
    try:
        outcome = (_Outcome.done, function(pickle.loads(job)))
    except Exception as error:
        outcome = (_Outcome.refused, str(error)) if is_ours(error) else (_Outcome.raised, traceback.format_exc())
    return pickle.dumps((*outcome, time.process_time() - start))


def _short(job: object) -> str:
    text = repr(job)
    return text if len(text) <= 200 else text[:197] + "..."
