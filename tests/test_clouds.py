"""The cloud field against normal theory."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from envs.basilisk.clouds import draw_sky
from scenarios.mission import CloudsConfig
from scenarios.ranges import ConfigError

EARTH_RADIUS_M = 6378136.6


def spread_out(count: int, seed: int) -> np.ndarray:
    """Places all over the Earth."""
    direction = np.random.default_rng(seed).normal(size=(count, 3))
    return EARTH_RADIUS_M * direction / np.linalg.norm(direction, axis=-1, keepdims=True)


def skies(config: CloudsConfig, r_P: np.ndarray, count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    drawn = [draw_sky(config, r_P, np.random.default_rng(seed)) for seed in range(count)]
    return np.stack([sky.clouded for sky in drawn]), np.stack([sky.chance for sky in drawn])


@pytest.mark.parametrize("cover", [0.2, 0.7])
def test_cover(cover: float) -> None:
    clouded, _ = skies(CloudsConfig(cover=cover, scale_km=300.0), spread_out(100, 0))
    assert clouded.mean() == pytest.approx(cover, abs=0.02)


def test_places_share_a_sky_as_far_as_the_covariance_says() -> None:
    """P(both clouded) of two places d apart is the orthant probability of normals with correlation
    exp(-d^2 / (2 L^2))."""
    config = CloudsConfig(cover=0.5, scale_km=300.0)
    for distance_km, seed in ((100.0, 1), (300.0, 2), (900.0, 3)):
        first = spread_out(200, seed)
        aside = np.cross(first, spread_out(200, seed + 10))
        second = first + 1e3 * distance_km * aside / np.linalg.norm(aside, axis=-1, keepdims=True)
        clouded, _ = skies(config, np.concatenate([first, second]))
        both = (clouded[:, :200] & clouded[:, 200:]).mean()
        correlation = np.exp(-(distance_km**2) / (2 * config.scale_km**2))
        expected = multivariate_normal(cov=[[1, correlation], [correlation, 1]]).cdf([0.0, 0.0])
        assert both == pytest.approx(expected, abs=0.015), distance_km


def test_the_forecast_is_calibrated() -> None:
    clouded, chance = skies(CloudsConfig(cover=0.4, scale_km=300.0, forecast_error=0.8), spread_out(200, 4))
    for low in np.arange(0.0, 1.0, 0.2):
        told = (chance >= low) & (chance < low + 0.2)
        assert told.sum() > 1000
        assert clouded[told].mean() == pytest.approx(chance[told].mean(), abs=0.02)
    assert chance[clouded].mean() > chance[~clouded].mean() + 0.2  # and it tells something


def test_a_forecast_without_error_is_right() -> None:
    clouded, chance = skies(CloudsConfig(forecast_error=0.0), spread_out(50, 5), 5)
    assert np.array_equal(clouded, chance == 1.0)
    assert np.array_equal(~clouded, chance == 0.0)


def test_the_same_seed_gives_the_same_sky_and_another_another() -> None:
    places = spread_out(50, 6)
    first, again, other = (draw_sky(CloudsConfig(), places, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first.chance, again.chance)
    assert not np.array_equal(first.clouded, other.clouded)


def test_impossible_skies_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"clouds.cover=1.5 is not allowed: it must be between 0.01 and 0.99"):
        CloudsConfig(cover=1.5)
