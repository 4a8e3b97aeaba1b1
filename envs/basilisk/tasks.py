"""What the satellites of one episode were told to do, and what came of it: one record per decision acted upon."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from envs.files import read_arrays, write_arrays

# What the numbers of ``Tasks.outcome`` mean.
OUTCOMES = (
    "done",  # it ran its time: no image
    "captured",  # the first image of its target
    "missed",  # the window closed before an image was taken
    "duplicate",  # an image of a target that had been imaged
    "clouded",  # an image that shows nothing but clouds
    "guard",  # the guard's action, in place of the policy's
    "not_received",  # the decision did not arrive: the satellite charges instead
    "late",  # the decision is under way: the satellite charges meanwhile
    "lost",  # the satellite was lost within it
    "unfinished",  # the episode ended within it
    "timed_out",  # the timeout passed before an image was taken, and the window was still open
)
DONE, CAPTURED, MISSED, DUPLICATE, CLOUDED, GUARD, NOT_RECEIVED, LATE, LOST, UNFINISHED, TIMED_OUT = range(
    len(OUTCOMES)
)
IMAGES = (CAPTURED, DUPLICATE, CLOUDED)  # an image was taken


@dataclass(frozen=True, slots=True)
class Tasks:
    """K tasks in the order in which they began.

    An image's task ends with the tick in which the image has reached the storage. Angles are of the tick before, in
    which the instrument fired. A task that took the place of an image names the target that was to be imaged.
    """

    satellite: NDArray[np.int64]  # [K] row of the satellite
    start_s: NDArray[np.float64]  # [K] since the start of the episode
    end_s: NDArray[np.float64]  # [K]
    action: NDArray[np.int64]  # [K] as ``trace.ACTIVITIES`` says
    outcome: NDArray[np.int64]  # [K] as ``OUTCOMES`` says
    target: NDArray[np.int64]  # [K] index of the target; -1: none
    target_name: NDArray[np.str_]  # [K]
    latitude_deg: NDArray[np.float64]  # [K] of the target: geodetic where it is from a file; NaN: there is none
    longitude_deg: NDArray[np.float64]  # [K]
    priority: NDArray[np.float64]  # [K]
    off_nadir_deg: NDArray[np.float64]  # [K] at the satellite, from the Earth's centre to the target; NaN: no image
    elevation_deg: NDArray[np.float64]  # [K] at the target, above the plane square to its radius; NaN: no image
    held_s: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))  # [K] longest hold of the attitude, where
    # the target asks for a dwell, else 0; empty in files of older versions

    def save(self, path: Path) -> None:
        """Write an npz; the file appears whole or not at all."""
        write_arrays(path, {name: getattr(self, name) for name in self.__slots__}, compressed=True)

    @classmethod
    def load(cls, path: Path) -> Tasks:
        return cls(**read_arrays(path))
