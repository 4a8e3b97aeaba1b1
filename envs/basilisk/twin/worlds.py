"""Worlds: orbits, Earth and targets of episodes, made once in Basilisk and flown many times on the twin."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.basilisk.simulation import Constellation
from envs.basilisk.twin.layout import LOCAL
from envs.basilisk.twin.state import state_of
from envs.basilisk.twin.tables import Tables, check_fits, tables
from scenarios.mission import ScenarioConfig


@dataclass(frozen=True, slots=True)
class World:
    """One episode's geometry, as Basilisk drew it from a seed."""

    fleet: tuple[Tables, ...]  # N
    first: NDArray[np.void]  # [N] of layout.STATE, at the start
    target_P: NDArray[np.float64]  # [M, 3] m
    priority: NDArray[np.float64]  # [M]
    clouded: NDArray[np.bool_]  # [M]
    cloud_chance: NDArray[np.float64]  # [M]
    due_s: NDArray[np.float64]  # [M] infinite: never

    @property
    def targets(self) -> int:
        return len(self.priority)


def world_of(config: ScenarioConfig, constellation: Constellation) -> World:
    """Call after ``Constellation.reset``."""
    fleet = tuple(tables(config, constellation))
    check_fits(config, fleet)
    targets = constellation.targets
    first = [
        state_of(satellite, each, None, ()) for satellite, each in zip(constellation.satellites, fleet, strict=True)
    ]
    return World(
        fleet,
        np.stack(first),
        np.array([target.r_LP_P for target in targets], np.float64).reshape(-1, 3),
        np.array([target.priority for target in targets], np.float64),
        np.array([target.clouded for target in targets], np.bool_),
        np.array([target.cloud_chance for target in targets], np.float64),
        np.array([target.due_s for target in targets], np.float64),
    )


def make_worlds(config: ScenarioConfig, seeds: Sequence[int]) -> list[World]:
    """The worlds of episodes, by Basilisk's own reset, each as long as a training episode may be."""
    longest_s = max([config.duration_s, *(config.training_duration_s or [])])
    config = dataclasses.replace(config, duration_s=longest_s)
    constellation = Constellation(config)
    worlds = []
    for seed in seeds:
        constellation.reset(seed)
        worlds.append(world_of(config, constellation))
    return worlds


def global_numbers(world: World) -> NDArray[np.int32]:
    """[N, LOCAL] the mission's numbers of each satellite's targets."""
    numbers = np.full((len(world.fleet), LOCAL), -1, np.int32)
    for row, each in enumerate(world.fleet):
        numbers[row, : len(each.target)] = each.target
    return numbers
