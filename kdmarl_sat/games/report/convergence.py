"""Whether learning curves still rise at their end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import t as student_t

from kdmarl_sat.games.records import GameRecord
from kdmarl_sat.games.report.statistics import CONFIDENCE, UNKNOWN, FloatArray
from kdmarl_sat.report.statistics import Interval

LEAST_POINTS = 4  # in the second half of a curve

LAST_GAIN = (
    "Gain in the last quarter: a straight line is fitted to the second half of each learning curve (least squares); "
    f"its slope times a quarter of the steps, mean over seeds, with the {CONFIDENCE:.0%} t interval from the points' "
    "distances to the lines. Where the interval lies above 0, the curve still rises; where it is wide, the points are "
    f"too few or too noisy to tell. Halves of fewer than {LEAST_POINTS} points are not judged."
)


def last_gain(records: Sequence[GameRecord]) -> Interval:
    """What the last quarter of the steps gained, as ``LAST_GAIN`` says: in percent of games won, or in return."""
    gains, variances, freedom = [], [], 0
    for record in records:
        steps, scores = _second_half(record)
        if len(steps) < LEAST_POINTS:
            continue
        quarter, centred = record.curve[-1]["steps"] / 4, steps - steps.mean()
        slope = float(centred @ scores / (centred @ centred))
        residuals = scores - scores.mean() - slope * centred
        gains.append(quarter * slope)
        variances.append(quarter**2 * float(residuals @ residuals) / (len(steps) - 2) / float(centred @ centred))
        freedom += len(steps) - 2
    if not gains:
        return UNKNOWN
    error = np.sqrt(sum(variances)) / len(gains)
    width = float(student_t.ppf((1 + CONFIDENCE) / 2, freedom) * error)
    gain = float(np.mean(gains))
    return Interval(gain, gain - width, gain + width)


def _second_half(record: GameRecord) -> tuple[FloatArray, FloatArray]:
    """Steps and scores of the points behind half of the steps."""
    points = [point for point in record.curve if point["steps"] > record.curve[-1]["steps"] / 2]
    scores = [point["return"] if (rate := point["win_rate"]) is None else 100 * rate for point in points]
    return np.array([point["steps"] for point in points], dtype=np.float64), np.array(scores, dtype=np.float64)
