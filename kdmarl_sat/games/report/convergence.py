"""Whether a learning curve has become flat."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from kdmarl_sat.games.records import GameRecord
from kdmarl_sat.report.formats import MISSING

TOLERANCE = 0.02
LEAST_POINTS = 8  # of a curve: two per quarter

FLAT = (
    "A learning curve is flat where the mean score in the last quarter of its steps is above that in the third by no "
    f"more than {TOLERANCE:.0%}: of all games in games with victory, else of what the last quarter has gained over "
    f"random actions. Curves of fewer than {LEAST_POINTS} points cannot be judged."
)


def flat(record: GameRecord) -> bool | None:
    """Whether a run no longer improved, as ``FLAT`` says; None where that cannot be judged."""
    if len(record.curve) < LEAST_POINTS:
        return None
    steps = np.array([point["steps"] for point in record.curve], dtype=np.float64)
    rates = [point["win_rate"] for point in record.curve]
    victory = all(rate is not None for rate in rates)
    scores = np.array(rates if victory else [point["return"] for point in record.curve], dtype=np.float64)
    third, last = (
        scores[(steps > low * steps[-1]) & (steps <= high * steps[-1])] for low, high in pairwise((0.5, 0.75, 1.0))
    )
    if not len(third) or not len(last):
        return None
    scale = 1.0 if victory else abs(float(last.mean()) - record.random_return)
    return bool(last.mean() - third.mean() <= TOLERANCE * scale)


def flat_runs(records: Sequence[GameRecord]) -> str:
    """How many of the runs whose curves can be judged are flat, for a table."""
    judged = [found for record in records if (found := flat(record)) is not None]
    return f"{sum(judged)} of {len(judged)}" if judged else MISSING
