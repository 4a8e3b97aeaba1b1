"""What was measured: lines with wanted and measured, kept part by part, so that one part can be measured again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from envs.files import read_json, write_json
from kdmarl_sat.missions.report.metrics import json_ready

FORMAT, VERSION = "kdmarl_sat.benchmark_onboard", 1

Tell = Callable[[float, str], None]  # (share done, what to say)


def within(tell: Tell, start: float, share: float) -> Tell:
    """A progress function for a part of the work, which begins at ``start`` and is a ``share`` of the whole."""
    return lambda done, text: tell(start + share * done, text)


class RecordError(ValueError):
    """A record that cannot be read; the message is one sentence."""


class Relation(StrEnum):
    AT_MOST = "≤"
    AT_LEAST = "≥"
    EXACTLY = "="
    TOLD = ""  # nothing is wanted of it


@dataclass(frozen=True, slots=True)
class Line:
    """One figure beside what is wanted of it."""

    what: str
    measured: float | None  # None: not here, and the note says why
    relation: Relation = Relation.TOLD
    wanted: float = 0.0
    unit: str = ""  # "share": between 0 and 1
    note: str = ""

    @property
    def met(self) -> bool | None:
        """None: it was not measured, or nothing is wanted."""
        if self.measured is None or self.relation is Relation.TOLD:
            return None
        if self.relation is Relation.AT_MOST:
            return self.measured <= self.wanted
        if self.relation is Relation.AT_LEAST:
            return self.measured >= self.wanted
        return self.measured == self.wanted


@dataclass(frozen=True, slots=True)
class Part:
    """What one part of the benchmark found; ``details`` is plain JSON."""

    lines: tuple[Line, ...]
    details: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)  # when, of what code, on what machine


Record = Mapping[str, Part]


def read_record(path: Path) -> dict[str, Part]:
    """The parts measured so far; none where there is no file.

    Raises:
        RecordError: a record that is damaged or of another version.
    """
    if not path.exists():
        return {}
    try:
        stored = read_json(path)
        if stored["format"] != FORMAT or stored["version"] != VERSION:
            raise RecordError(f"record {path} is not of {FORMAT} version {VERSION}: measure into another file")
        return {name: _part(part) for name, part in stored["parts"].items()}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise RecordError(f"record {path} is damaged ({type(error).__name__}: {error})") from error


def _part(stored: Mapping[str, Any]) -> Part:
    lines = [
        Line(**{key: value for key, value in line.items() if key != "met"} | {"relation": Relation(line["relation"])})
        for line in stored["lines"]
    ]
    return Part(tuple(lines), stored["details"], stored["run"])


def write_record(path: Path, record: Record) -> None:
    """Raises:
    OSError: the file cannot be written.
    """
    parts = {
        name: {
            "run": part.run,
            "lines": [{**dataclasses.asdict(line), "met": line.met} for line in part.lines],
            "details": part.details,
        }
        for name, part in record.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, json_ready({"format": FORMAT, "version": VERSION, "parts": parts}))
