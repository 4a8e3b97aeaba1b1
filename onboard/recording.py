"""What an executor was asked in flight and what it answered: enough to decide everything again.

A recording is a file of JSON lines. The first is a header: format, version, the guards' limits by satellite, and
where satellites flew networks that were made for others, by satellite whose they are. Each further line is a question
with its answer, a message that was sent, or a reset or a resumption. The last is {"end": N}, N the number of lines
before it: a file that was cut off is not taken for a whole flight. Observations (float32) and health (float64) are
base64 of their little-endian bytes, so that a replay is asked to the bit what the flight was asked.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onboard.guard import Health, Limits
from onboard.spec import BoolArray, FloatArray

FORMAT, VERSION = "kdmarl_sat.flight_record", 3
WITHOUT_END = (1, 2)  # older versions, still read: the first has no messages


class RecordingError(ValueError):
    """A recording that cannot be read or does not fit the bundle; the message is one sentence."""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A question in flight, and the action that was taken."""

    time_s: float  # mission time
    satellite: str
    obs: FloatArray  # [O] as the sensors gave it
    mask: BoolArray  # [A] legal actions
    health: Health | None  # of the guard
    action: int


@dataclass(frozen=True, slots=True, eq=False)
class Sent:
    """A message that was broadcast before a decision."""

    time_s: float  # mission time
    satellite: str
    obs: FloatArray  # [O] as the sensors gave it
    message: int


@dataclass(frozen=True, slots=True)
class Told:
    """A reset of all satellites (no name) or a resumption of one."""

    time_s: float
    satellite: str | None


class Recorder:
    """Keeps what an executor is asked; give it to ``Executor(recorder=...)``."""

    def __init__(self) -> None:
        self._lines: list[dict[str, Any]] = []

    def asked(self, asked: Asked) -> None:
        health = None if asked.health is None else _packed(np.array(astuple(asked.health), "<f8"))
        self._lines.append(
            {
                "time_s": asked.time_s,
                "satellite": asked.satellite,
                "obs": _packed(asked.obs.astype("<f4")),
                "mask": "".join("01"[int(legal)] for legal in asked.mask),
                "health": health,
                "action": asked.action,
            }
        )

    def sent(self, sent: Sent) -> None:
        obs = _packed(sent.obs.astype("<f4"))
        self._lines.append({"sent_s": sent.time_s, "satellite": sent.satellite, "obs": obs, "message": sent.message})

    def reset(self, time_s: float) -> None:
        self._lines.append({"reset_s": time_s})

    def resumed(self, satellite: str, time_s: float) -> None:
        self._lines.append({"resumed_s": time_s, "satellite": satellite})

    def clear(self) -> None:
        """Forget all that was kept."""
        self._lines.clear()

    def text(self, limits: Mapping[str, Limits] | None, networks: Mapping[str, str] | None = None) -> str:
        """The file's content.

        Args:
            limits: of the guards that the executor had; None: it had none.
            networks: by satellite, the satellite of the bundle whose network it flew; None: each flew its own.
        """
        guards = None if limits is None else {name: asdict(each) for name, each in limits.items()}
        header: dict[str, Any] = {"format": FORMAT, "version": VERSION, "limits": guards}
        if networks is not None:
            header["networks"] = dict(networks)
        lines = [json.dumps(line, allow_nan=False) for line in (header, *self._lines)]
        return "".join(f"{line}\n" for line in (*lines, _end(len(lines))))


@dataclass(frozen=True, slots=True)
class Recording:
    """A flight as it was asked and answered, in order."""

    limits: dict[str, Limits] | None
    entries: tuple[Asked | Sent | Told, ...]
    networks: dict[str, str] | None = None  # by satellite, whose network it flew; None: each flew its own

    @property
    def questions(self) -> int:
        return sum(isinstance(entry, Asked) for entry in self.entries)


def read(path: str | Path) -> Recording:
    """
    Raises:
        RecordingError: damaged, cut off, of another version, or without any decision.
        OSError: it cannot be read.
    """
    try:
        lines = Path(path).read_text("utf-8").splitlines()
        if not lines:
            raise RecordingError(f"{path} is empty: it must be a recording of a flight")
        header = json.loads(lines[0])
        if header["format"] != FORMAT or header["version"] not in (*WITHOUT_END, VERSION):
            known = f"{FORMAT} version {', '.join(map(str, WITHOUT_END))} or {VERSION}"
            raise RecordingError(f"{path} is {header['format']!r} version {header['version']!r}: it must be {known}")
        if header["version"] == VERSION:
            *lines, last = lines
            if last != _end(len(lines)):
                raise RecordingError(
                    f"{path} is cut off: its last line must be the end mark, the number of lines before"
                )
        guards = header["limits"]
        limits = None if guards is None else {name: Limits(**each) for name, each in guards.items()}
        networks = header.get("networks")
        if networks is not None:
            networks = {str(name): str(whose) for name, whose in networks.items()}
        recording = Recording(limits, tuple(_entry(json.loads(line)) for line in lines[1:]), networks)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, RecordingError):
            raise
        raise RecordingError(f"{path} is damaged ({type(error).__name__}: {error})") from error
    if not recording.questions:
        raise RecordingError(f"{path} holds no decision: there is nothing to decide again")
    return recording


def _end(lines: int) -> str:
    return json.dumps({"end": lines})


def _entry(line: dict[str, Any]) -> Asked | Sent | Told:
    if "reset_s" in line:
        return Told(float(line["reset_s"]), None)
    if "resumed_s" in line:
        return Told(float(line["resumed_s"]), str(line["satellite"]))
    obs = np.array(list(_unpacked(line["obs"], "<f4")), np.float32)
    if "sent_s" in line:
        return Sent(float(line["sent_s"]), str(line["satellite"]), obs, int(line["message"]))
    health = None if line["health"] is None else Health(*_unpacked(line["health"], "<f8"))
    mask = np.array([sign == "1" for sign in line["mask"]], bool)
    if set(line["mask"]) - {"0", "1"}:
        raise ValueError(f"mask {line['mask']!r} holds more than 0 and 1")
    return Asked(float(line["time_s"]), str(line["satellite"]), obs, mask, health, int(line["action"]))


def _packed(values: np.ndarray[Any, Any]) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")


def _unpacked(text: str, kind: str) -> Iterator[float]:
    return iter(np.frombuffer(base64.b64decode(text, validate=True), kind).tolist())
