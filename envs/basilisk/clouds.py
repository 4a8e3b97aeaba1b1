"""Clouds over ground targets, and what a forecast tells of them.

A stationary Gaussian random field g over the Earth's surface with covariance exp(-d^2 / (2 L^2)) of the distance d,
by random Fourier features (Rahimi & Recht 2007): clouds are where g exceeds a threshold. The forecast is g with an
error of its own, of the same covariance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from scenarios.mission import CloudsConfig

_WAVES = 512


@dataclass(frozen=True, slots=True)
class Sky:
    """Over M places."""

    clouded: NDArray[np.bool_]  # [M]
    chance: NDArray[np.float64]  # [M] probability of clouds, given the forecast


def draw_sky(config: CloudsConfig, r_P: NDArray[np.float64], generator: np.random.Generator) -> Sky:
    """The sky over places [M, 3] in m, planet-fixed.

    With a forecast f = g + e n, where g and n are standard normal: g | f has mean f / (1 + e^2) and variance
    e^2 / (1 + e^2), which gives the chance of clouds.
    """
    truth = _field(config.scale_km, r_P, generator)
    forecast = truth + config.forecast_error * _field(config.scale_km, r_P, generator)
    threshold = float(ndtri(1.0 - config.cover))
    clouded = truth > threshold
    if config.forecast_error == 0:
        return Sky(clouded, clouded.astype(np.float64))
    variance = config.forecast_error**2 / (1.0 + config.forecast_error**2)
    mean = forecast / (1.0 + config.forecast_error**2)
    return Sky(clouded, np.asarray(ndtr((mean - threshold) / np.sqrt(variance))))


def _field(scale_km: float, r_P: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.float64]:
    """[M] samples of the field."""
    waves = generator.normal(0.0, 1.0 / (scale_km * 1e3), (3, _WAVES))
    phases = generator.uniform(0.0, 2.0 * np.pi, _WAVES)
    return np.asarray(np.sqrt(2.0 / _WAVES) * np.cos(r_P @ waves + phases).sum(axis=-1))
