"""Means, intervals and comparisons over held-out episodes.

All policies fly the same seeds, so comparisons between them resample episodes, not policies (paired bootstrap).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import DegenerateDataWarning, bootstrap, trim_mean

RESAMPLES = 9999

FloatArray = NDArray[np.float64]
Statistic = Callable[..., Any]  # (sample, ..., axis) -> statistic along that axis


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its confidence interval; bounds are NaN where one episode leaves them unknown."""

    estimate: float
    low: float
    high: float


def mean_interval(values: Sequence[float], confidence: float = 0.95, seed: int = 0) -> Interval:
    """Mean with its BCa bootstrap interval (Efron 1987)."""
    return bootstrap_interval([values], np.mean, confidence, seed)


def interquartile_mean(values: Sequence[float], confidence: float = 0.95, seed: int = 0) -> Interval:
    """Mean of the middle half (Agarwal et al. 2021) with its BCa bootstrap interval."""
    return bootstrap_interval([values], _middle_half, confidence, seed)


def retention(
    policy: Sequence[float],
    random: Sequence[float],
    teacher: Sequence[float],
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Normalised retention (R - R_random) / (R_teacher - R_random) of mean returns, episodes paired by seed.

    NaN where the teacher earns no more than random.
    """
    return bootstrap_interval([policy, random, teacher], _retention, confidence, seed)


def mean_ratio(
    policy: Sequence[float], reference: Sequence[float], confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Ratio of the mean returns, episodes paired by seed; NaN where the reference earns nothing or less."""
    return bootstrap_interval([policy, reference], _ratio, confidence, seed)


def paired_difference(
    policy: Sequence[float], reference: Sequence[float], confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Mean of policy - reference over the common seeds."""
    return bootstrap_interval([policy, reference], _difference, confidence, seed)


def bootstrap_interval(
    samples: Sequence[ArrayLike],
    statistic: Statistic,
    confidence: float = 0.95,
    seed: int = 0,
    method: str = "BCa",
) -> Interval:
    """A statistic of one or more samples paired by episode, and its bootstrap interval (``method``: BCa, percentile).

    Where BCa is not defined (a resampled statistic that never differs, or always lies on one side of the estimate)
    the percentile interval stands in for it.

    Raises:
        ValueError: the samples differ in length.
    """
    data = [np.asarray(sample, dtype=np.float64) for sample in samples]
    sizes = {sample.size for sample in data}
    if len(sizes) != 1:
        raise ValueError(f"paired samples have {sorted(s.size for s in data)} episodes: they must be equally many")
    if sizes == {0}:
        return Interval(np.nan, np.nan, np.nan)
    estimate = float(statistic(*data, axis=-1))
    if sizes == {1}:
        return Interval(estimate, np.nan, np.nan)
    options: dict[str, Any] = {"confidence_level": confidence, "paired": True, "vectorized": True, "axis": -1}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", DegenerateDataWarning)  # such samples are dealt with below
        resampled = bootstrap(
            data, statistic, method="percentile", n_resamples=RESAMPLES, rng=np.random.default_rng(seed), **options
        )
        distribution = resampled.bootstrap_distribution
        finite = distribution[np.isfinite(distribution)]
        if finite.size < distribution.size or np.allclose(finite, finite[0], rtol=1e-12, atol=0):
            tail = (1 - confidence) / 2
            low, high = np.quantile(finite, [tail, 1 - tail]) if finite.size else (np.nan, np.nan)
            return Interval(estimate, float(low), float(high))
        bounds = resampled.confidence_interval
        if method == "BCa":
            corrected = bootstrap(
                data, statistic, method="BCa", n_resamples=0, bootstrap_result=resampled, **options
            ).confidence_interval
            if np.isfinite(corrected.low) and np.isfinite(corrected.high):
                bounds = corrected
    return Interval(estimate, float(bounds.low), float(bounds.high))


def _middle_half(values: FloatArray, axis: int) -> Any:
    return trim_mean(values, 0.25, axis=axis)


def _retention(policy: FloatArray, random: FloatArray, teacher: FloatArray, axis: int) -> Any:
    floor = random.mean(axis)
    return _divide(policy.mean(axis) - floor, teacher.mean(axis) - floor)


def _ratio(policy: FloatArray, reference: FloatArray, axis: int) -> Any:
    return _divide(policy.mean(axis), reference.mean(axis))


def _difference(policy: FloatArray, reference: FloatArray, axis: int) -> Any:
    return (policy - reference).mean(axis)


def _divide(numerator: Any, denominator: Any) -> Any:
    """numerator / denominator, NaN where the denominator is not above 0."""
    numerator, denominator = np.asarray(numerator), np.asarray(denominator)
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > 0)
