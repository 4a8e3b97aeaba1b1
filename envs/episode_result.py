"""What one episode came to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EpisodeResult:
    """Accounts of one episode of N satellites."""

    seed: int
    captured: float  # sum of the priorities of all targets imaged at least once
    available: float  # sum of the priorities of all targets that some satellite could have imaged
    captured_by: tuple[float, ...]  # per satellite; a simultaneous image is split
    images: tuple[int, ...]  # per satellite, duplicates included
    duplicates: int  # images of targets that were already imaged
    deaths: int
    decisions: tuple[int, ...]  # per satellite
    charges: tuple[int, ...]  # per satellite, decisions to charge
    duration_s: float
