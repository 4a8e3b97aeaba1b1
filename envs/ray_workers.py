"""Workers on a Ray cluster (``workers=ray``): beyond one machine, and to the same results.

A worker is a Ray actor of one CPU. One that is lost, alone or with its node, costs the job that it was at, which
another does again. Ray starts fresh processes, as Basilisk needs. It is an extra of the project and imported late.
"""

from __future__ import annotations

import importlib
import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from envs.workers import Lost, WorkerError, answer
from scenarios.ranges import ConfigError

_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # else Ray reports to its makers
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what Ray will do by default; it warns otherwise
    "RAY_DEDUP_LOGS": "0",  # else of lines that differ in numbers only, it shows one
    "RAY_worker_niceness": "0",  # of a cluster that starts here; Ray's own 15 starves workers on a machine in use
}
_REACH_S = 10.0
_GOODBYE_S = 5.0
_FAILED_STARTS = 3  # in a row, after which the cluster is given up


def load(setting: str) -> Any:
    """Ray, for the ``setting`` that asks for it; untyped, so that our types do not depend on whether it is installed.

    Raises:
        ConfigError: it cannot be imported.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ConfigError(f'{setting} needs Ray ({error}); it comes with: pip install "kdmarl_sat[ray]"') from error


def reach(setting: str, address: str | None) -> None:
    """Refuse an ``address``, the value of ``setting``, that nobody listens at: Ray itself would try for an hour.

    Raises:
        ConfigError: with the reason.
    """
    if address in (None, "auto"):
        return
    host, _, port = address.rpartition(":")
    try:
        if not (host and port.isdecimal()):
            raise _refused(setting, address, "")
        socket.create_connection((host, int(port)), _REACH_S).close()
    except (OSError, OverflowError) as error:
        raise _refused(setting, address, f" ({error})") from error


def connect(setting: str, address: str | None, cpus: int, show: bool) -> bool:
    """Join the cluster at ``address``, the value of ``setting``; without one, start a cluster of ``cpus`` here.

    Args:
        show: print what the cluster's processes print.

    Returns:
        Whether it is for the caller to leave; a process that is part of a cluster already stays in that one.
    """
    ray = load(setting)
    if ray.is_initialized():
        return False
    reach(setting, address)
    local: dict[str, Any] = {"num_cpus": cpus, "include_dashboard": False} if address is None else {}
    try:
        ray.init(address=address or "local", logging_level=logging.ERROR, log_to_driver=show, **local)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        why = str(error).strip().partition("\n")[0]
        if address is None:
            raise WorkerError(f"no Ray cluster could be started on this machine: {why}") from error
        raise _refused(setting, address, f" ({why})") from error
    return True


def _refused(setting: str, address: str, why: str) -> ConfigError:
    return ConfigError(
        f"{setting}={address!r} is not allowed: it must be the HOST:PORT of a running Ray cluster, auto or null{why}"
    )


class _Server:
    """What an actor is made of."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def started(self) -> None:
        pass

    def answer(self, job: bytes) -> bytes:  # pickled by us: arrays that Ray carries are read-only
        return answer(self._function, job)


@dataclass
class _Actor:
    handle: Any
    asked: Any  # reference to the answer awaited: first of its start, then of jobs; None: idle
    up: bool = False
    since: float = field(default_factory=time.monotonic)


class RayWorkers:
    """``envs.workers.Workers`` on Ray. One for which the cluster has no CPU yet is not ready, and holds up none."""

    def __init__(
        self, function: Callable[[Any], Any], address: str | None, workers: int, start_timeout_s: float = 600.0
    ) -> None:
        """
        Args:
            address: of the cluster; None: one on this machine, with a CPU for each of ``workers``.
            start_timeout_s: how long to wait for the first worker.
        """
        self._ray = load("workers=ray")
        reach("compute.ray_address", address)
        self._function, self._address, self._cpus = function, address, workers
        self._start_timeout_s = start_timeout_s
        self._leave = False
        self._failed_starts = 0
        self._actors: list[_Actor] = []

    def grow(self, count: int) -> None:
        if connect("compute.ray_address", self._address, self._cpus, show=False):
            self._leave = True
        while len(self._actors) < count:
            self._actors.append(self._start())

    def ready(self) -> Sequence[int]:
        return [index for index, actor in enumerate(self._actors) if actor.up]

    def submit(self, worker: int, job: bytes) -> None:
        actor = self._actors[worker]
        actor.asked = actor.handle.answer.remote(job)

    def answers(self, timeout_s: float) -> list[tuple[int, bytes | Lost]]:
        asked = {actor.asked: index for index, actor in enumerate(self._actors) if actor.asked is not None}
        come, _ = self._ray.wait(list(asked), timeout=timeout_s)  # one at most
        if not come:
            self._check_start()
        answers: list[tuple[int, bytes | Lost]] = []
        for reference in come:
            index = asked[reference]
            actor = self._actors[index]
            actor.asked = None
            try:
                value = self._ray.get(reference)
            except self._ray.exceptions.RayError as error:
                lost = Lost(f"its worker died ({_reason(error)})")
                if actor.up:
                    answers.append((index, lost))
                else:
                    self._start_again(index, lost)
            else:
                if actor.up:
                    answers.append((index, value))
                actor.up, self._failed_starts = True, 0
        return answers

    def replace(self, worker: int) -> None:
        self._ray.kill(self._actors[worker].handle)
        self._actors[worker] = self._start()

    def stop(self) -> None:
        idle = [actor for actor in self._actors if actor.asked is None]
        for actor in self._actors:
            if actor.asked is not None:
                self._ray.kill(actor.handle)
        leaving = [actor.handle.__ray_terminate__.remote() for actor in idle]
        if leaving:
            self._ray.wait(leaving, num_returns=len(leaving), timeout=_GOODBYE_S)
        self._actors = []

    def close(self) -> None:
        self.stop()
        if self._leave:
            self._ray.shutdown()
            self._leave = False

    def _start(self) -> _Actor:
        handle = self._ray.remote(num_cpus=1)(_Server).remote(self._function)
        return _Actor(handle, handle.started.remote())

    def _start_again(self, index: int, lost: Lost) -> None:
        self._failed_starts += 1
        if self._failed_starts > _FAILED_STARTS:
            raise WorkerError(f"no worker could be started on the Ray cluster: {lost.why}")
        self.replace(index)

    def _check_start(self) -> None:
        if any(actor.up for actor in self._actors):
            return
        if time.monotonic() - min(actor.since for actor in self._actors) > self._start_timeout_s:
            cpus = self._ray.cluster_resources().get("CPU", 0)
            raise WorkerError(
                f"no worker could be started on the Ray cluster in {self._start_timeout_s:g} s: each needs a free CPU "
                f"of the cluster's {cpus:g}"
            )


def _reason(error: BaseException) -> str:
    """The last line of what Ray says, without the guesses that follow."""
    return str(error).strip().rpartition("\n")[2].partition(" Some common causes")[0].strip()
