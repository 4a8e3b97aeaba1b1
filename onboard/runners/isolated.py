"""The C engine in a process of its own, which took hard limits on itself before it saw any input (engine/sandbox.h).

Whatever happens to it, this process gets an answer or an error within the deadline, rounded up to a millisecond.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import struct
import sys
import time
import weakref
from pathlib import Path

import numpy as np

from onboard import build, fields, table
from onboard.network import Network
from onboard.runners import BrokenError, BuildError, DeadlineError, RunnerError, failure
from onboard.runners.native import SCRUB_WORDS
from onboard.spec import AgentSpec, BoolArray, FloatArray

# The bits of the worker's hello, from the lowest.
LIMITS = (
    "affinity",
    "address space",
    "data",
    "open files",
    "file size",
    "core dump",
    "CPU time",
    "processes",
    "closed files",
    "user",
    "no new privileges",
    "parent",
    "system calls",
)
START_MS = 2000.0  # to start a worker, and then to load its weights
_LOAD, _DECIDE, _SEND = 1, 2, 7  # engine/targets/driver.c
_HEADER = struct.Struct("<iI")  # of an answer: status, bytes that follow
_LONGEST_MS = 1e9  # poll counts milliseconds in an int
_LONGEST = 4096  # bytes of an answer; the engine's maxima allow 1544, which a pipe passes in one piece


class IsolatedRunner:
    """``applied`` names the limits that hold, ``missing`` those that this machine or its privileges do not allow."""

    applied: tuple[str, ...]
    missing: tuple[str, ...]

    def __init__(self, network: Network, spec: AgentSpec, deadline_ms: float, core: int | None = None) -> None:
        """``deadline_ms`` is wall clock, for one decision. ``core``: the processor core that the worker stays on; None:
        the one that its caller is on, because to wake an idle core takes longer than a decision.

        Raises BuildError: not Linux, no compiler, a network beyond the engine's maxima, or a process that cannot start.
        """
        if sys.platform != "linux":
            raise BuildError(f"runner=isolated needs Linux, and this is {sys.platform}: fly with native or reference")
        self._deadline_ms, self._core = min(fields.positive("deadline_ms", deadline_ms), _LONGEST_MS), core
        self._here = ctypes.PyDLL(None).sched_getcpu
        self._worker: _Worker | None = None
        weights = table.dump(network, spec)
        if len(weights) > build.TABLE_BYTES:
            raise BuildError(f"satellite {spec.name!r}: {len(weights)} bytes of weights, at most {build.TABLE_BYTES}")
        self._program, self._load = build.worker(), _start(_LOAD, len(weights)) + weights
        observed, legal, units = spec.obs_size, len(spec.actions), network.design.hidden
        size = 4 + 4 * observed + legal + 4 * units
        self._request = bytearray(_start(_DECIDE, size) + SCRUB_WORDS.to_bytes(4, "little") + bytes(size - 4))
        self._obs = np.frombuffer(self._request, "<f4", observed, 12)
        self._mask = np.frombuffer(self._request, np.bool_, legal, 12 + 4 * observed)
        self._hidden = np.frombuffer(self._request, "<f4", units, 12 + 4 * observed + legal)
        self._actions, self._values = legal, np.dtype("<f4")
        try:
            self.reload()
        except RunnerError as error:
            raise BuildError(f"satellite {spec.name!r}: the isolated runner cannot start: {error}") from error

    @property
    def pid(self) -> int:
        """Raises BrokenError: there is no worker."""
        return self._running().pid

    def send(self, obs: FloatArray, hidden: FloatArray) -> int:
        """Raises RunnerError: as of ``step``."""
        asked = np.concatenate((obs, hidden)).astype("<f4", copy=False).tobytes()
        answer = self._ask(_start(_SEND, len(asked)) + asked)
        return int.from_bytes(answer[_HEADER.size :], "little")

    def step(self, obs: FloatArray, mask: BoolArray, hidden: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Raises RunnerError: a DeadlineError or BrokenError has ended the worker, another has left it as it was."""
        self._obs[:] = obs
        self._mask[:] = mask
        self._hidden[:] = hidden
        values = np.frombuffer(self._ask(self._request), self._values, offset=_HEADER.size)
        return values[: self._actions], values[self._actions :]

    def _ask(self, request: bytes | bytearray) -> bytes:
        """The answer with its header."""
        worker = self._running()
        if self._core is None and (here := self._here()) != worker.core:
            worker.move(here)
        status, answer = worker.ask(request, self._deadline_ms)
        if status < 0:
            raise failure(status)
        return answer

    def reload(self) -> None:
        self.close()
        worker = self._worker = _Worker(self._program, self._here() if self._core is None else self._core)
        self.applied = tuple(name for bit, name in enumerate(LIMITS) if worker.limits >> bit & 1)
        self.missing = tuple(name for name in LIMITS if name not in self.applied)
        status, _ = worker.ask(self._load, START_MS)
        if status < 0:
            self.close()
            raise failure(status)

    def flip(self, bit: int) -> None:
        """Raises RunnerError: the operating system keeps this process from the worker's memory."""
        worker = self._running()
        try:
            with open(f"/proc/{worker.pid}/mem", "r+b", buffering=0) as memory:
                storage, words = struct.unpack("@PI", os.pread(memory.fileno(), 12, worker.model))  # as kd_model starts
                at = storage + bit // 8 % (4 * words)
                (byte,) = os.pread(memory.fileno(), 1, at)
                os.pwrite(memory.fileno(), bytes([byte ^ 1 << bit % 8]), at)
        except (OSError, struct.error) as error:
            raise RunnerError(f"no bit of process {worker.pid}'s weights can be flipped here: {error}") from error

    def pause(self) -> None:
        """Fault injection: the worker hangs. Returns when it does, for a signal takes its time."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        if self._worker is not None:
            self._worker.end()
            self._worker = None

    def __enter__(self) -> IsolatedRunner:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _running(self) -> _Worker:
        if self._worker is None or not self._worker.end.alive:
            raise BrokenError("there is no worker: reload starts one")
        return self._worker


class _Worker:
    """A worker process and its two pipes. Calling ``end`` ends it, as does losing the last reference to this."""

    def __init__(self, program: Path, core: int) -> None:
        """Raises DeadlineError or BrokenError: it does not start."""
        self.core = core
        pipes: list[int] = []
        try:
            pipes += os.pipe()
            pipes += os.pipe()
            self.pid = os.posix_spawn(
                program,
                [program.name, str(core)],
                {},
                file_actions=[(os.POSIX_SPAWN_DUP2, pipes[0], 0), (os.POSIX_SPAWN_DUP2, pipes[3], 1)],
                setpgroup=0,  # Ctrl-C in a terminal is for this process to handle
                setsigmask=(),
            )
        except OSError as error:
            for pipe in pipes:
                os.close(pipe)
            raise BrokenError(f"{program} does not start: {error}") from error
        theirs_in, self._to, self._from, theirs_out = pipes
        os.close(theirs_in)
        os.close(theirs_out)
        os.set_blocking(self._to, False)  # no write may outlast a deadline
        self.end = weakref.finalize(self, _end, self.pid, self._to, self._from)
        poll = select.poll()
        poll.register(self._from, select.POLLIN)
        self._wait = poll.poll
        self.limits, hello = self.ask(b"", START_MS)
        (self.model,) = struct.unpack_from("<Q", hello, _HEADER.size)

    def ask(self, request: bytes | bytearray, timeout_ms: float) -> tuple[int, bytes]:
        """Status and whole answer.

        Raises DeadlineError or BrokenError: no answer in time, or none to come. The worker was ended.
        """
        due = time.perf_counter() + timeout_ms / 1e3
        try:
            sent = os.write(self._to, request)
            if sent < len(request):
                self._send(memoryview(request)[sent:], due)
            if not self._wait(max(0.0, (due - time.perf_counter()) * 1e3)):  # rounded up to whole milliseconds
                raise DeadlineError(f"no answer within {timeout_ms:g} ms")
            answer = os.read(self._from, _LONGEST)
            if len(answer) >= _HEADER.size:
                status, length = _HEADER.unpack_from(answer)
                if len(answer) == _HEADER.size + length:
                    return status, answer
        except BrokenPipeError:
            pass
        except BaseException:  # an answer that comes after all must not be taken for the next one
            self.end()
            raise
        raise BrokenError(f"no whole answer: the worker {self.end()}")

    def move(self, core: int) -> None:
        """To another core; where that is not allowed, answers only take longer."""
        self.core = core
        with contextlib.suppress(OSError):
            os.sched_setaffinity(self.pid, (core,))

    def _send(self, rest: memoryview, due: float) -> None:
        """What the pipe did not hold at once."""
        poll = select.poll()
        poll.register(self._to, select.POLLOUT)
        while rest:
            if not poll.poll(max(0.0, (due - time.perf_counter()) * 1e3)):
                raise DeadlineError("the worker stopped reading")
            rest = rest[os.write(self._to, rest) :]


def _end(pid: int, *pipes: int) -> str:
    """Kill a worker, wait until it is gone, close its pipes; how it ended."""
    try:
        # A process that is not ours to wait for, as after a fork, is not ours to kill.
        ended, status = os.waitpid(pid, os.WNOHANG)
        if not ended:
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
    except ChildProcessError:
        return "is no child of this process"
    finally:
        for pipe in pipes:
            os.close(pipe)
    code = os.waitstatus_to_exitcode(status)
    return f"exited with {code}" if code >= 0 else f"was ended by signal {-code} ({signal.strsignal(-code)})"


def _start(opcode: int, length: int) -> bytes:
    return struct.pack("<II", opcode, length)
