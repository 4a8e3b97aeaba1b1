"""Robust standard output: no encoding and no closed pipe ends a run."""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import TextIO

# What we print besides ASCII, for terminals and files that cannot show it.
_PLAIN = {"→": "->", "–": "-", "—": "-", "−": "-", "±": "+/-", "µ": "u", "μ": "u", "×": "x", "…": "...", "≥": ">=",
          "≤": "<=", "†": "+", "·": "-", "•": "-", "°": " deg", "²": "2", "Δ": "d"}  # fmt: skip
_PLAIN |= dict.fromkeys("─━╴╶╸╺═", "-") | dict.fromkeys("│┃║", "|") | dict.fromkeys("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "*")
_HANDLER = "kdmarl_sat.plain"


class _Steady(io.FileIO):
    """A descriptor whose reader may go away: what nobody reads is dropped."""

    def write(self, content: object) -> int:
        try:
            return super().write(content)  # type: ignore[arg-type]
        except BrokenPipeError:
            return len(memoryview(content))  # type: ignore[arg-type]


def prepare() -> None:
    """Prepare standard output and error when a command starts.

    Characters that an encoding lacks are written in ASCII. A closed stream is the null device. A reader that goes away
    (``| head``) does not stop the work: what it makes is in files.
    """
    codecs.register_error(_HANDLER, _plain)
    for name in ("stdout", "stderr"):
        setattr(sys, name, _prepared(getattr(sys, name), getattr(sys, f"__{name}__")))


def give_up_output() -> None:
    """Of a command that ends with a sentence: what standard output cannot take (its disk is full) is dropped, or Python
    would fail on it again at its exit."""
    try:
        sys.stdout.flush()
    except OSError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # to the process's end


def _prepared(stream: TextIO | None, original: TextIO | None) -> TextIO:
    if stream is None:
        _hold_descriptors()
        return open(os.devnull, "w", encoding="utf-8")
    if stream is not original or not isinstance(stream, io.TextIOWrapper) or stream.errors == _HANDLER:
        return stream  # somebody else's (a notebook's, a test's), or ours already
    stream.flush()
    buffer = io.BufferedWriter(_Steady(stream.fileno(), "w", closefd=False))
    lines = stream.line_buffering or stream.isatty()
    return io.TextIOWrapper(buffer, stream.encoding, _HANDLER, line_buffering=lines, write_through=False)


def _hold_descriptors() -> None:
    """Standard descriptors that are closed are opened on the null device, or the next file would take their place."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """An error handler of codecs: in ASCII what it can, as Python's escapes what it cannot."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(_PLAIN.get(each) or each.encode("ascii", "backslashreplace").decode() for each in missing), error.end
