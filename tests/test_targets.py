"""Cities against BSK-RL's own placement, and against what satellites see."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import bsk_rl
import numpy as np
import pytest
from bsk_rl.utils.orbital import lla2ecef

from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.targets import EARTH_RADIUS_M, _largest_cities
from envs.basilisk.windows import sin_elevation
from scenarios.compose import composed
from scenarios.mission import CitiesConfig, ScenarioConfig
from scenarios.ranges import ConfigError


def mission(**cities: int) -> ScenarioConfig:
    config = composed("scenario=walker_cities", "scenario.duration_s=600").scenario
    return dataclasses.replace(config, targets=dataclasses.replace(config.targets, cities=CitiesConfig(**cities)))


def test_cities_stand_where_bsk_rl_puts_them() -> None:
    path = Path(bsk_rl.__file__).parent / "_dat" / "simplemaps_worldcities" / "worldcities.csv"
    with path.open(encoding="utf-8") as file:
        first = [row for _, row in zip(range(200), csv.DictReader(file), strict=False)]
    names, positions = _largest_cities(200)
    assert names[0] == "Tokyo, JP"
    theirs = np.array([lla2ecef(float(row["lat"]), float(row["lng"]), EARTH_RADIUS_M) for row in first])
    distance_m = np.linalg.norm(positions[:, None] - theirs[None], axis=-1).min(axis=1)
    assert np.sum(distance_m < 1e-3) > 190  # the file's own order is not quite that of the population


def test_cities_left_out_are_below_every_satellites_horizon() -> None:
    everywhere = 3000
    env = ConstellationEnv(mission(number=everywhere, of_largest=everywhere))
    env.reset([3])
    constellation = env.episode(0).constellation
    kept = {tuple(np.round(target.r_LP_P, 3)) for target in constellation.targets}
    _, positions = _largest_cities(everywhere)
    left_out = np.array([place for place in positions if tuple(np.round(place, 3)) not in kept])
    assert 0.2 * everywhere < len(left_out) < everywhere
    for satellite in constellation.satellites:
        track = satellite.position_P(np.arange(0.0, 600.0, 10.0))
        assert (sin_elevation(track[:, None], left_out[None]) < 0).all()


def test_each_episode_draws_its_own() -> None:
    env = ConstellationEnv(mission(number=500, of_largest=20000))

    def drawn(seed: int) -> set[str]:
        env.reset([seed])
        return {target.name for target in env.episode(0).constellation.targets}

    first, again, other = drawn(0), drawn(0), drawn(1)
    assert first == again
    assert first != other
    assert 0 < len(first) <= 500


def test_more_cities_than_there_are_to_choose_from_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"targets.cities.of_largest=10 is not allowed: it must be at least number=11"
    ):
        CitiesConfig(number=11, of_largest=10)
