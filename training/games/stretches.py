"""The resumable loop of methods that learn from windows of play; after a crash they go on from the last checkpoint.

As in ``training.games.training``: a checkpoint is taken with every evaluation, and there all environments start anew
from a seed that the number of windows gives, whether the run is interrupted or not. Both runs give the same numbers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from training import checkpoint
from training.artifact import CHECKPOINT, Place
from training.games.networks import RecurrentTeam
from training.games.training import Curve, DivergedError, Evaluations


class Learner(Protocol):
    """What a checkpoint holds."""

    seed: int
    updates: int  # windows learnt from

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is learnt."""

    name: str  # of the method: the stream of its seeds, and in messages
    windows: int
    steps_per_window: int


def learn_in_stretches(
    learner: Learner,
    judged: RecurrentTeam,
    plan: Plan,
    restart: Callable[[int], None],
    learn: Callable[[], dict[str, float]],
    place: Place,
    evaluations: Evaluations,
) -> Curve:
    """Learn from ``plan.windows`` windows.

    Args:
        learner: freshly made; a checkpoint in the place replaces its state.
        judged: the team that is evaluated.
        restart: starts new play everywhere from a seed.
        learn: plays one window and learns from it, which counts it in ``learner.updates``; returns its statistics.
        evaluations: of ``judged``.

    Returns:
        Points with ``steps`` and ``cpu_s`` (of training alone, all threads), a window's statistics, and the
        evaluation's.

    Raises:
        DivergedError: a statistic is NaN or infinite.
    """
    saved, curve = place.folder / CHECKPOINT, list[dict[str, float]]()
    if saved.exists():
        state = checkpoint.load(saved, place.key)
        learner.load_state_dict(state["learner"])
        curve = state["curve"]
    spent = curve[-1]["cpu_s"] if curve else 0.0
    stretch = max(1, round(evaluations.every_steps / plan.steps_per_window))
    while learner.updates < plan.windows:
        restart(_seed(plan.name, learner.seed, learner.updates))
        clock, record = time.process_time() - spent, dict[str, float]()
        for _ in range(min(stretch, plan.windows - learner.updates)):
            record = _finite(learn(), plan.name)
            place.progress(learner.updates / plan.windows, f"loss {record['loss']:.3g}")
        spent = time.process_time() - clock
        steps = learner.updates * plan.steps_per_window
        curve.append({"steps": steps, "cpu_s": spent, **record, **evaluations.measure(judged)})
        checkpoint.save(saved, {"learner": learner.state_dict(), "curve": curve}, place.key)
        place.scalars(steps, curve[-1])
    return curve


def _seed(stream: str, seed: int, update: int) -> int:
    """Of the play that begins with an update; streams do not overlap."""
    words = [int.from_bytes(stream.encode(), "big") % 2**32, seed, update]
    return int(np.random.SeedSequence(words).generate_state(1)[0] >> 1)


def _finite(record: dict[str, float], name: str) -> dict[str, float]:
    wrong = sorted(what for what, value in record.items() if not math.isfinite(value))
    if wrong:
        raise DivergedError(f"training ({name}) diverged: {', '.join(wrong)} not finite; lower distill.learning_rate")
    return record
