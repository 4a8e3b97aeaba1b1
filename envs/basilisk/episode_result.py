"""What one episode came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from envs.basilisk.completion import Completion


@dataclass(frozen=True, slots=True)
class EpisodeResult:
    """Accounts of one episode of N satellites."""

    seed: int
    captured: float  # what the team earned: the priorities of all targets imaged or delivered, or what a rule gave
    available: float  # sum of the priorities of all targets that some satellite could have imaged
    captured_by: tuple[float, ...]  # per satellite; a simultaneous image is split
    images: tuple[int, ...]  # per satellite, duplicates included
    duplicates: int  # images of targets that were already imaged
    deaths: int  # of what it did: an empty battery, wheels too fast
    decisions: tuple[int, ...]  # per satellite
    charges: tuple[int, ...]  # per satellite, decisions to charge
    duration_s: float
    failures: int = 0  # satellites lost to faults, whatever they did
    missed: int = 0  # decisions that did not arrive
    late: int = 0  # decisions that were late, those too late for their targets included
    spoiled: int = 0  # images that showed nothing but clouds
    undelivered: float = 0.0  # priorities of the targets of which images were on board at the end, and none delivered
    sent_bits: tuple[int, ...] = ()  # per satellite, of intents; a broadcast counts once, whoever hears it
    bits_per_orbit: tuple[float, ...] = ()  # the same, in the time of one orbit; both empty where nobody counted
    from_sgp4_km: tuple[float, ...] = ()  # per satellite, how far Basilisk and SGP4 part; empty where SGP4 has no part
    completion: Completion | None = None  # of the tasks; None where the targets are not from a file

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> EpisodeResult:
        """From what JSON makes of ``dataclasses.asdict``."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
        done = values.get("completion")
        return cls(**{**values, "completion": None if done is None else Completion(**done)})
