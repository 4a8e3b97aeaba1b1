"""Intervals over training seeds and evaluation episodes together.

The pigeonhole bootstrap (Owen 2007): training seeds and episodes are drawn with replacement, independently of each
other. Every run of a game plays the same episodes in its final evaluation, so all seeds and methods share the drawn
episodes. Methods that are compared share the drawn seeds too, because a student's teacher has its seed. Over several
games, seeds and episodes are drawn within each game (stratified, Agarwal et al. 2021). With one seed, only episodes are
drawn. Bounds are percentiles.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import trim_mean

from kdmarl_sat.report.statistics import Interval

RESAMPLES = 2000
_AT_ONCE = 500  # of the resamples
CONFIDENCE = 0.95

FloatArray = NDArray[np.float64]
UNKNOWN = Interval(np.nan, np.nan, np.nan)


def middle_half(values: FloatArray) -> FloatArray:
    """Interquartile mean along the last axis; of fewer than four values the mean."""
    return np.asarray(trim_mean(values, 0.25, axis=-1), dtype=np.float64)


class Scores:
    """Of one method's runs: per seed one value per episode.

    ``place`` is where they were played: within one place methods share what is drawn.
    """

    def __init__(self, runs: Mapping[int, Sequence[float] | FloatArray], place: str = "") -> None:
        self.runs = {seed: np.asarray(runs[seed], dtype=np.float64) for seed in sorted(runs)}
        self._place = zlib.crc32(place.encode())
        self._drawn: dict[tuple[int, ...], FloatArray] = {}

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(self.runs)

    def means(self, seeds: Sequence[int]) -> FloatArray:
        return np.array([self.runs[seed].mean() for seed in seeds])

    def drawn(self, seeds: tuple[int, ...]) -> FloatArray:
        """Means of drawn seeds over drawn episodes, [RESAMPLES, seeds]; the number of seeds or episodes and the place
        alone decide which are drawn."""
        if seeds not in self._drawn:
            choice = np.random.default_rng([0, self._place]).integers(len(seeds), size=(RESAMPLES, len(seeds)))
            means = np.stack([self._over_episodes(self.runs[seed]) for seed in seeds], axis=-1)
            self._drawn[seeds] = np.take_along_axis(means, choice, axis=-1)
        return self._drawn[seeds]

    def _over_episodes(self, values: FloatArray) -> FloatArray:
        """Means of drawn episodes, [RESAMPLES]."""
        rng, means = np.random.default_rng([1, self._place, len(values)]), np.empty(RESAMPLES)
        for at in range(0, RESAMPLES, _AT_ONCE):  # the draws of all resamples take much memory
            draws = rng.integers(len(values), size=(min(_AT_ONCE, RESAMPLES - at), len(values)), dtype=np.int32)
            means[at : at + _AT_ONCE] = values[draws].mean(-1)
        return means


def mean_score(scores: Scores) -> Interval:
    """Mean over seeds of the mean over episodes."""
    return _over_seeds(scores, lambda means: means.mean(-1))


def interquartile_mean(scores: Scores) -> Interval:
    """Interquartile mean over seeds of the mean over episodes."""
    return _over_seeds(scores, middle_half)


def compare(ours: Scores, reference: Scores, statistic: Callable[[FloatArray, FloatArray], FloatArray]) -> Interval:
    """A statistic of two mean scores over the seeds that both have; unknown where they share none."""
    common = common_seeds(ours, reference)
    if not common:
        return UNKNOWN
    estimate = statistic(ours.means(common).mean(-1), reference.means(common).mean(-1))
    return interval(float(estimate), statistic(ours.drawn(common).mean(-1), reference.drawn(common).mean(-1)))


def common_seeds(ours: Scores, reference: Scores) -> tuple[int, ...]:
    return tuple(seed for seed in ours.seeds if seed in reference.runs)


def difference(ours: FloatArray, reference: FloatArray) -> FloatArray:
    return ours - reference


def share(ours: FloatArray, reference: FloatArray) -> FloatArray:
    """ours / reference; where the reference is negative 1 less the loss relative to its size; NaN where it is 0."""
    return 1 - _divide(reference - ours, np.abs(reference))


def normalised(random: float) -> Callable[[FloatArray, FloatArray], FloatArray]:
    """(R - R_random) / (R_reference - R_random); NaN where the reference earns what random earns."""
    return lambda ours, reference: _divide(ours - random, reference - random)


def interval(estimate: float, distribution: FloatArray) -> Interval:
    """Percentile bounds; unknown where the statistic is not defined in some resample."""
    if not np.isfinite(estimate) or not np.isfinite(distribution).all():
        return Interval(estimate, np.nan, np.nan)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(distribution, [tail, 1 - tail])
    return Interval(estimate, float(low), float(high))


def _over_seeds(scores: Scores, statistic: Callable[[FloatArray], FloatArray]) -> Interval:
    seeds = scores.seeds
    if not seeds:
        return UNKNOWN
    return interval(float(statistic(scores.means(seeds))), statistic(scores.drawn(seeds)))


def _divide(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    top, bottom = np.broadcast_arrays(np.asarray(numerator, dtype=np.float64), denominator)
    result: FloatArray = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom != 0)
    return result
