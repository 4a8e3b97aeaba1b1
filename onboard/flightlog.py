"""The flight log: all events of a flight, in order."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path


class Kind(StrEnum):
    ADMITTED = "admitted"  # within budget, golden vectors reproduced
    RESET = "reset"  # the hidden state was forgotten
    DECISION = "decision"  # the network's action was taken
    BAD_OBSERVATION = "bad_observation"  # not finite
    EMPTY_MASK = "empty_mask"  # no action is legal
    LATE = "late"  # the answer came after the deadline and was discarded
    FAILED = "failed"  # the runner broke down
    UPSET = "upset"  # the weights in memory had changed; they were reloaded
    RESPAWNED = "respawned"  # a runner that was stopped, or had broken down, was started again
    SAFE_MODE = "safe_mode"  # too many decisions in a row without answer: the network is asked no more
    RESUMED = "resumed"  # safe mode was left
    BAD_OUTPUT = "bad_output"  # the answer was not finite, or out of bounds
    FALLBACK = "fallback"  # the action taken instead
    SENT = "sent"  # a message was broadcast before the decision
    UNSENT = "unsent"  # an intent that does not fit into the bundle's bits, or a message that had no answer in time
    OVERRIDE = "override"  # the guard's action, taken instead of the network's or the fallback
    AGREED = "agreed"  # in shadow: the policy that flies took the same action
    DIFFERED = "differed"  # in shadow: it took another


@dataclass(frozen=True, slots=True)
class Event:
    time_s: float  # mission time
    satellite: str
    kind: Kind
    detail: str


class FlightLog:
    def __init__(self) -> None:
        self._events: list[Event] = []

    @property
    def events(self) -> tuple[Event, ...]:
        return tuple(self._events)

    def add(self, time_s: float, satellite: str, kind: Kind, detail: str) -> None:
        self._events.append(Event(time_s, satellite, kind, detail))

    def counts(self, satellite: str | None = None) -> dict[Kind, int]:
        """Events of each kind, kinds that never happened included; of all satellites if none is named."""
        counted = Counter(event.kind for event in self._events if satellite in (None, event.satellite))
        return {kind: counted[kind] for kind in Kind}

    def clear(self) -> None:
        """Forget all events."""
        self._events.clear()

    def write(self, path: str | Path) -> None:
        """One JSON object per line; whole or not at all.

        Raises OSError: the file cannot be written.
        """
        target = Path(path)
        partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
        try:
            with partial.open("w", encoding="utf-8") as stream:
                for event in self._events:
                    stream.write(json.dumps(asdict(event), allow_nan=False) + "\n")
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)  # gone if it was renamed
