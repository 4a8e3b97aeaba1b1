"""The C engine on an emulated flight processor (qemu): the same instructions as would fly, not their time."""

from __future__ import annotations

import os
import select
import shutil
import signal
import struct
import subprocess
import time
import weakref
from collections.abc import Sequence

import numpy as np

from onboard import emulation, fields, table
from onboard.network import Network
from onboard.runners import BuildError, DeadlineError, RunnerError, failure
from onboard.runners.native import SCRUB_WORDS
from onboard.spec import AgentSpec, BoolArray, FloatArray

START_MS = 30000.0  # wall clock, on a busy machine: to start an emulator, and then to load weights
LOAD, DECIDE, VERIFY, QUIT, STEP, FLIP, SEND = range(1, 8)  # engine/targets/driver.c
_REQUEST = struct.Struct("<II")  # opcode, bytes that follow
_ANSWER = struct.Struct("<iI")  # status, bytes that follow


class EmulatedRunner:
    def __init__(
        self, network: Network, spec: AgentSpec, target: str = "cortex-m7", deadline_ms: float = 5000.0
    ) -> None:
        """``target``: of emulation.TARGETS. ``deadline_ms`` is wall clock and the emulator's, not the processor's.

        Raises BuildError: a package is missing, a network beyond the engine's maxima, or no emulator that starts.
        """
        self._target = emulation.find(target)
        self._deadline_ms = fields.positive("deadline_ms", deadline_ms)
        self._table, self._actions = table.dump(network, spec), len(spec.actions)
        self._machine: Machine | None = None
        try:
            self.reload()
        except RunnerError as error:
            raise BuildError(f"satellite {spec.name!r}: target {target} cannot fly it: {error}") from error

    @property
    def pid(self) -> int:
        """The emulator's.

        Raises DeadlineError: there is none.
        """
        return self._running().pid

    def step(self, obs: FloatArray, mask: BoolArray, hidden: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Raises DeadlineError: no answer in time, or none to come; the emulator is gone."""
        answer = self._ask(DECIDE, decision(obs, mask, hidden, SCRUB_WORDS))
        values = np.frombuffer(answer, "<f4").astype(np.float32, copy=False)
        return values[: self._actions], values[self._actions :]

    def send(self, obs: FloatArray, hidden: FloatArray) -> int:
        """Raises RunnerError: as of ``step``."""
        return int.from_bytes(self._ask(SEND, np.concatenate((obs, hidden)).astype("<f4").tobytes()), "little")

    def reload(self) -> None:
        self.close()
        self._machine = Machine(emulation.command(self._target))
        try:
            self._ask(LOAD, self._table, START_MS)
        except RunnerError:
            self.close()
            raise

    def flip(self, bit: int) -> None:
        self._ask(FLIP, (bit % 2**32).to_bytes(4, "little"))

    def close(self) -> None:
        if self._machine is not None:
            self._machine.close()
            self._machine = None

    def _ask(self, opcode: int, payload: bytes, timeout_ms: float | None = None) -> bytes:
        machine = self._running()
        try:
            status, answer = machine.ask(opcode, payload, timeout_ms or self._deadline_ms)
        except BaseException:  # an answer that comes after all must not be taken for the next one
            machine.end()
            self._machine = None
            raise
        if status < 0:
            raise failure(status)
        return answer

    def _running(self) -> Machine:
        if self._machine is None:
            raise DeadlineError("the emulator is gone: reload starts another")
        return self._machine


def decision(obs: FloatArray, mask: BoolArray, hidden: FloatArray, words: int) -> bytes:
    """The payload of DECIDE and STEP; ``words`` of the weights are to be scrubbed."""
    return b"".join(
        (
            words.to_bytes(4, "little"),
            np.ascontiguousarray(obs, "<f4").tobytes(),
            np.ascontiguousarray(mask, np.bool_).tobytes(),
            np.ascontiguousarray(hidden, "<f4").tobytes(),
        )
    )


class Machine:
    """A running emulator, which answers one request at a time; ends with the last reference to it at the latest."""

    def __init__(self, command: Sequence[str]) -> None:
        """Raises DeadlineError: it does not start."""
        guarded = ["setpriv", "--pdeathsig", "KILL", *command] if shutil.which("setpriv") else command
        try:
            process = subprocess.Popen(
                guarded,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,  # read when it has ended; an emulator that says more than a pipe holds hangs
                process_group=0,  # Ctrl-C in a terminal is for this process to handle
            )
        except OSError as error:
            raise DeadlineError(f"{command[0]} does not start: {error}") from error
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        self._process, self.pid = process, process.pid
        self._to, self._from = process.stdin.fileno(), process.stdout.fileno()
        self._errors = process.stderr.fileno()
        os.set_blocking(self._to, False)
        os.set_blocking(self._from, False)
        self.end = weakref.finalize(self, _end, process)
        try:
            self._read(_ANSWER.size, time.monotonic() + START_MS / 1e3)  # unasked: it is ready
        except BaseException:
            self.end()
            raise

    def ask(self, opcode: int, payload: bytes, timeout_ms: float) -> tuple[int, bytes]:
        """Status and payload of the answer; after an exception there is no more to be had from this machine.

        Raises DeadlineError: no answer in time, or none to come.
        """
        due = time.monotonic() + timeout_ms / 1e3
        rest = memoryview(_REQUEST.pack(opcode, len(payload)) + payload)
        try:
            while rest:
                self._wait(self._to, select.POLLOUT, due)
                rest = rest[os.write(self._to, rest) :]
        except BrokenPipeError:
            raise self._ended() from None
        status, length = _ANSWER.unpack(self._read(_ANSWER.size, due))
        return status, self._read(length, due)

    def close(self) -> None:
        """Let it end by itself, which also writes what is still to be written, or end it."""
        if self.end.alive and self._process.poll() is None:
            try:
                os.write(self._to, _REQUEST.pack(QUIT, 0))
                self._process.wait(timeout=2)
            except (OSError, subprocess.TimeoutExpired):
                pass
        self.end()

    def _read(self, count: int, due: float) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            self._wait(self._from, select.POLLIN, due)
            part = os.read(self._from, count - len(parts))
            if not part:
                raise self._ended()
            parts += part
        return bytes(parts)

    def _wait(self, file: int, event: int, due: float) -> None:
        poll = select.poll()
        poll.register(file, event)
        if not poll.poll(max(0.0, (due - time.monotonic()) * 1e3)):
            raise DeadlineError("no answer in time")

    def _ended(self) -> DeadlineError:
        try:
            code = self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            return DeadlineError("the emulator closed its channel")
        said = " ".join(os.read(self._errors, 2000).decode(errors="replace").split())
        how = f"exited with {code}" if code >= 0 else f"was killed by {signal.Signals(-code).name}"
        return DeadlineError(f"no answer, the emulator {how}{': ' if said else ''}{said[:300]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill an emulator, wait until it is gone, close its pipes."""
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()
