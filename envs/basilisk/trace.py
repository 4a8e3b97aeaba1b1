"""One episode remembered in full, for maps and timelines."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from envs.files import read_arrays, write_arrays

SAMPLE_S = 30.0
ACTIVITIES = ("charging", "imaging", "downlinking", "desaturating")  # what the numbers of ``Trace.action`` mean


@dataclass(frozen=True, slots=True)
class Trace:
    """Sampled at every decision step, and every ``SAMPLE_S`` between two: T samples, N satellites, M targets."""

    time_s: NDArray[np.float64]  # [T]
    latitude_deg: NDArray[np.float64]  # [T, N] sub-satellite points, planet-fixed
    longitude_deg: NDArray[np.float64]  # [T, N]
    radius_km: NDArray[np.float64]  # [T, N] distance from the centre of the Earth
    battery: NDArray[np.float64]  # [T, N] fraction of capacity
    sunlit: NDArray[np.bool_]  # [T, N]
    storage: NDArray[np.float64]  # [T, N] fraction of capacity that is filled
    action: NDArray[np.int64]  # [T, N] running from this sample on, as ACTIVITIES says; -1: dead
    pursued: NDArray[np.int64]  # [T, N] target that is to be imaged from this sample on; -1: none
    target_latitude_deg: NDArray[np.float64]  # [M]
    target_longitude_deg: NDArray[np.float64]  # [M]
    target_priority: NDArray[np.float64]  # [M]
    target_imaged_by: NDArray[np.int64]  # [M] satellite that was first to image it; -1: nobody
    target_imaged_s: NDArray[np.float64]  # [M] when; NaN: never
    # Where nothing is downlinked, the same as imaged.
    target_delivered_by: NDArray[np.int64]  # [M] satellite that was first to earn it; -1: nobody
    target_delivered_s: NDArray[np.float64]  # [M] when; NaN: never
    target_accessible: NDArray[np.bool_]  # [M] some satellite had a window within the episode
    # [M]; empty in files that were written before names were kept.
    target_name: NDArray[np.str_] = field(default_factory=lambda: np.empty(0, np.str_))
    # Empty in files that were written before these were kept.
    target_sent_by: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))  # [M] satellite that was
    # first to send an image of it to the ground; -1: nobody
    target_sent_s: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))  # [M] when; NaN: never

    def name_of(self, target: int) -> str:
        """A target's name, or its number where the file has no names."""
        return str(self.target_name[target]) if len(self.target_name) else f"target {target}"

    def sent(self, target: int) -> tuple[int, float]:
        """The satellite that was first to send an image of a target to the ground, and when; -1 and NaN: nobody, or the
        file does not tell."""
        if not len(self.target_sent_by):
            return -1, float("nan")
        return int(self.target_sent_by[target]), float(self.target_sent_s[target])

    def save(self, path: Path) -> None:
        """Write an npz; the file appears whole or not at all."""
        write_arrays(path, {name: getattr(self, name) for name in self.__slots__}, compressed=True)

    @classmethod
    def load(cls, path: Path) -> Trace:
        return cls(**read_arrays(path))
