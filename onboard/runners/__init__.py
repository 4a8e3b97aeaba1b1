"""Runners compute decisions. All have one interface, so the executor does not depend on the implementation.

``reference`` computes in numpy, ``native`` in the C engine within this process, ``isolated`` in a process of its own
under hard limits, ``emulated`` on an emulated flight processor. All give the same bits.
"""

from __future__ import annotations

from typing import Protocol

from onboard.spec import BoolArray, FloatArray


class RunnerError(Exception):
    """No usable answer; the message says why."""


class UpsetError(RunnerError):
    """The weights in memory are no longer those that were loaded."""


class DeadlineError(RunnerError):
    """No answer in time. The runner was stopped: ``reload`` starts it again."""


class BrokenError(RunnerError):
    """The runner broke down, as when its process died: ``reload`` starts it again."""


class BuildError(ValueError):
    """This machine cannot build or start a runner; the message is one sentence."""


class Runner(Protocol):
    """One satellite's network. It keeps no hidden state of its own: the executor decides which one is carried on."""

    def step(self, obs: FloatArray, mask: BoolArray, hidden: FloatArray) -> tuple[FloatArray, FloatArray]:
        """obs [O], mask [A], hidden [H], none of them changed, to logits [A] and the next hidden [H].

        Raises RunnerError: no usable answer; an answer computed from upset weights is never returned.
        """

    def send(self, obs: FloatArray, hidden: FloatArray) -> int:
        """The message before a decision, the lowest bit first: of obs [O] without its last block, and hidden [H].

        Raises RunnerError: as of ``step``, or the network sends no messages.
        """

    def reload(self) -> None:
        """Take the weights anew from the copy that was loaded first, in a new process where there is one."""

    def flip(self, bit: int) -> None:
        """Fault injection: invert one bit of the weights in memory, counted modulo their number."""

    def close(self) -> None: ...


# What the C engine says (engine/kd_engine.h).
SILENT, NOT_FINITE, UPSET = -1, -12, -13
STATUS = {
    SILENT: "a null pointer, or a message of a network that sends none",
    -2: "the table is shorter or longer than its header says",
    -3: "not a weight table",
    -4: "a table version that this engine does not read",
    -5: "the table's CRC-32 is wrong",
    -6: "dimensions that contradict each other or exceed the engine's maxima",
    -7: "too little memory for the weights",
    -8: "a weight is not finite",
    -9: "an observation column is not finite",
    -10: "no action is legal",
    -11: "the hidden state is not finite or leaves [-1, 1]",
    NOT_FINITE: "a logit or the hidden state of the answer is not finite, or the latter leaves [-1, 1]",
    UPSET: "the weights in memory have changed",
    -14: "the table's signature is not the key's",
    -15: "the table was signed before the one that was accepted last",
}


def failure(status: int) -> RunnerError:
    """The engine's status below zero as an exception."""
    text = STATUS.get(status, f"unknown status {status}")
    return UpsetError(text) if status == UPSET else RunnerError(text)
