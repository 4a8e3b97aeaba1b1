"""Keeps the tasks of an episode while it is flown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from envs.basilisk import tasks as record
from envs.basilisk.clock import nanoseconds
from envs.basilisk.satellites import Imager
from envs.basilisk.snapshot import Snapshot
from envs.basilisk.targets import GroundTarget
from envs.basilisk.tasks import Tasks


def off_nadir_deg(r_BP_P: NDArray[np.float64], r_LP_P: NDArray[np.float64]) -> float:
    """Angle [deg] at a satellite between the Earth's centre and a place; planet-fixed positions [3] in one unit."""
    return _angle_deg(-r_BP_P, r_LP_P - r_BP_P)


def elevation_deg(r_BP_P: NDArray[np.float64], r_LP_P: NDArray[np.float64]) -> float:
    """Elevation [deg] of a satellite above the plane square to a place's radius, as Basilisk's access has it."""
    return 90.0 - _angle_deg(r_LP_P, r_BP_P - r_LP_P)


def _angle_deg(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(one, other)), one @ other)))


@dataclass(frozen=True, slots=True)
class _Task:
    satellite: int
    start_s: float
    action: int
    target: int
    preset: int | None  # the outcome, where it is known from the beginning
    end_s: float = np.nan
    outcome: int = record.UNFINISHED
    off_nadir_deg: float = np.nan
    elevation_deg: float = np.nan
    held_s: float = 0.0


class TaskLog:
    """The tasks of N satellites; it changes nothing of what they do."""

    def __init__(self, satellites: Sequence[Imager], targets: Sequence[GroundTarget]) -> None:
        self._satellites, self._targets = satellites, targets
        self._index = {id(target): index for index, target in enumerate(targets)}
        self._imaged: set[int] = set()  # indices of the targets that images show
        self._images = [0] * len(satellites)  # taken so far
        self._tasks: list[_Task] = []  # in the order in which they began
        self._running: dict[int, int] = {}  # by the satellite's row, index of the task

    def begin(self, row: int, action: int, target: int, time_s: float, preset: int | None = None) -> None:
        """A satellite begins a task.

        Args:
            row: of the satellite.
            action: as ``trace.ACTIVITIES`` says.
            target: index of the target that it images, or was to image; -1: none.
            time_s: now.
            preset: the outcome, where it is known already.
        """
        self._running[row] = len(self._tasks)
        outcome = record.UNFINISHED if preset is None else preset
        self._tasks.append(_Task(row, time_s, action, target, preset, outcome=outcome))

    def follow(self, now: Snapshot) -> None:
        """What has come of the tasks that have ended; call it at every step, after the simulation was advanced."""
        for row, satellite in enumerate(self._satellites):
            took = satellite.imaged > self._images[row]
            self._images[row] = satellite.imaged
            if row not in self._running:
                continue
            self._hold(row, satellite.held_ns() / 1e9)
            if took:
                shutter_r_P = now.r_BP_P[row] - satellite.step_s * now.v_BP_P[row]  # a tick ago, within 20 m
                self._end(row, now.time_s, self._of_image(satellite), shutter_r_P)
            elif not satellite.is_alive():
                self._end(row, now.time_s, record.LOST)
            elif satellite.requires_retasking and nanoseconds(satellite.deadline_s) <= nanoseconds(now.time_s):
                self._end(row, now.time_s, self._without_image(satellite))

    @staticmethod
    def _without_image(satellite: Imager) -> int:
        """The outcome of an action that ran its time."""
        if not satellite.imaging:
            return record.DONE
        return record.TIMED_OUT if satellite.deadline_s < satellite.window_closes_s else record.MISSED

    def _hold(self, row: int, held_s: float) -> None:
        task = self._tasks[self._running[row]]
        if held_s > task.held_s:
            self._tasks[self._running[row]] = replace(task, held_s=held_s)

    def _of_image(self, satellite: Imager) -> int:
        """Two images of one instant: the first satellite's is the first."""
        index = self._index[id(satellite.latest_target)]
        if not satellite.data_store.shows(self._targets[index]):
            return record.CLOUDED
        outcome = record.DUPLICATE if index in self._imaged else record.CAPTURED
        self._imaged.add(index)
        return outcome

    def _end(self, row: int, time_s: float, outcome: int, r_BP_P: NDArray[np.float64] | None = None) -> None:
        """``r_BP_P`` [3] in m: where the satellite took an image, if it did."""
        index = self._running.pop(row)
        task, angles = self._tasks[index], (np.nan, np.nan)
        if r_BP_P is not None:
            r_LP_P = self._targets[task.target].r_LP_P
            angles = off_nadir_deg(r_BP_P, r_LP_P), elevation_deg(r_BP_P, r_LP_P)
            task = replace(task, held_s=self._targets[task.target].dwell_s)
        told = outcome if task.preset is None or outcome == record.LOST else task.preset
        self._tasks[index] = replace(task, end_s=time_s, outcome=told, off_nadir_deg=angles[0], elevation_deg=angles[1])

    def tasks(self, time_s: float) -> Tasks:
        """All so far; those that run at ``time_s`` are unfinished."""
        tasks = [replace(task, end_s=time_s) if np.isnan(task.end_s) else task for task in self._tasks]
        targets = [self._targets[task.target] if task.target >= 0 else None for task in tasks]
        places = np.array([place_deg(t) if t is not None else (np.nan, np.nan) for t in targets]).reshape(-1, 2)
        return Tasks(
            satellite=np.array([task.satellite for task in tasks], np.int64),
            start_s=np.array([task.start_s for task in tasks]),
            end_s=np.array([task.end_s for task in tasks]),
            action=np.array([task.action for task in tasks], np.int64),
            outcome=np.array([task.outcome for task in tasks], np.int64),
            target=np.array([task.target for task in tasks], np.int64),
            target_name=np.array([t.name if t is not None else "" for t in targets], np.str_),
            latitude_deg=places[:, 0],
            longitude_deg=places[:, 1],
            priority=np.array([t.priority if t is not None else np.nan for t in targets]),
            off_nadir_deg=np.array([task.off_nadir_deg for task in tasks]),
            elevation_deg=np.array([task.elevation_deg for task in tasks]),
            held_s=np.array([task.held_s for task in tasks]),
        )


def place_deg(target: GroundTarget) -> tuple[float, float]:
    """Latitude and longitude [deg] of a target: geodetic as its file says, else geocentric of its position."""
    x, y, z = target.r_LP_P
    if target.latitude_deg is not None and target.longitude_deg is not None:
        return target.latitude_deg, target.longitude_deg
    return float(np.degrees(np.arctan2(z, np.hypot(x, y)))), float(np.degrees(np.arctan2(y, x)))
