"""How much of a list of tasks was done: the measures of AEOS-Bench (Wang et al., arXiv 2510.26297, and its code).

A task is a target of a file. It is done when an image of it was captured after its attitude was held for its dwell. Its
progress is the longest time for which the attitude was held, over all satellites and attempts; a hold that breaks
before the task of the satellite ends is counted as far as the last decision saw it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.basilisk.tasks import CAPTURED, Tasks
from envs.basilisk.trace import ACTIVITIES

_IMAGE = ACTIVITIES.index("imaging")
LEAST_DWELL_S = 1.0  # the weight of a task that asks for no dwell: one image takes a tick or so


@dataclass(frozen=True, slots=True)
class Completion:
    """Of one episode, over all tasks, those that nobody can reach included."""

    CR: float  # share of tasks that are done
    WCR: float  # the same, weighted by their dwells
    PCR: float  # mean of progress over dwell
    WPCR: float  # sum of progress over sum of dwells
    TAT_s: float | None  # mean time from a done task's release to its image; None: none is done
    PC_Ws: float  # energy that instruments took: their power while a satellite was told to image


def mean_completion(episodes: Sequence[Completion | None]) -> Completion | None:
    """The mean over episodes; of ``TAT_s``, over those in which some task is done. None where nobody counted tasks."""
    counted = [each for each in episodes if each is not None]
    if not counted:
        return None
    values = {name: [getattr(each, name) for each in counted] for name in Completion.__slots__}
    waited = [each for each in values.pop("TAT_s") if each is not None]
    means = {name: float(np.mean(of)) for name, of in values.items()}
    return Completion(**means, TAT_s=float(np.mean(waited)) if waited else None)


def completion(
    tasks: Tasks, dwell_s: NDArray[np.float64], release_s: NDArray[np.float64], instrument_power_W: Sequence[float]
) -> Completion:
    """
    Args:
        tasks: of one episode.
        dwell_s: [M] of all targets, as numbered in ``tasks``.
        release_s: [M] since the start of the episode; what was released before it waits from the start.
        instrument_power_W: of each satellite.
    """
    dwell_s = np.maximum(dwell_s, LEAST_DWELL_S)
    progress_s = np.zeros(len(dwell_s))
    imaging = (tasks.action == _IMAGE) & (tasks.target >= 0)
    np.maximum.at(progress_s, tasks.target[imaging], tasks.held_s[imaging])
    captured = tasks.outcome == CAPTURED
    done = np.zeros(len(dwell_s), np.bool_)
    done[tasks.target[captured]] = True
    progress_s = np.where(done, dwell_s, np.minimum(progress_s, dwell_s))
    waited_s = tasks.end_s[captured] - np.maximum(release_s, 0.0)[tasks.target[captured]]
    power_W = np.asarray(instrument_power_W)[tasks.satellite[imaging]]
    return Completion(
        CR=float(done.mean()),
        WCR=float(dwell_s[done].sum() / dwell_s.sum()),
        PCR=float((progress_s / dwell_s).mean()),
        WPCR=float(progress_s.sum() / dwell_s.sum()),
        TAT_s=float(waited_s.mean()) if len(waited_s) else None,
        PC_Ws=float(power_W @ (tasks.end_s[imaging] - tasks.start_s[imaging])),
    )
