"""Worlds: orbits, Earth and targets of episodes, made once in Basilisk and flown many times on the twin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from envs.basilisk.simulation import Constellation
from envs.basilisk.twin.layout import LOCAL, SATELLITE, STATE, TABLES
from envs.basilisk.twin.state import state_of
from envs.basilisk.twin.tables import Tables, tables
from envs.files import read_arrays, write_arrays
from scenarios.mission import ScenarioConfig

Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class World:
    """One episode's geometry, as Basilisk drew it from a seed."""

    fleet: tuple[Tables, ...]  # N
    first: NDArray[np.void]  # [N] of layout.STATE, at the start
    target_P: NDArray[np.float64]  # [M, 3] m
    priority: NDArray[np.float64]  # [M]
    clouded: NDArray[np.bool_]  # [M]
    cloud_chance: NDArray[np.float64]  # [M]

    @property
    def targets(self) -> int:
        return len(self.priority)


def world_of(config: ScenarioConfig, constellation: Constellation) -> World:
    """Call after ``Constellation.reset``."""
    fleet = tuple(tables(config, constellation))
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
    )


def make_worlds(config: ScenarioConfig, seeds: Sequence[int]) -> list[World]:
    """The worlds of episodes, by Basilisk's own reset; a training episode is as long as it may be."""
    constellation = Constellation(config)
    worlds = []
    for seed in seeds:
        constellation.reset(seed)
        worlds.append(world_of(config, constellation))
    return worlds


def save_worlds(path: Path, worlds: Sequence[World]) -> None:
    """Write an npz; the file appears whole or not at all."""
    arrays: Arrays = {"count": np.array([len(worlds), len(worlds[0].fleet)])}
    for index, world in enumerate(worlds):
        for name in ("target_P", "priority", "clouded", "cloud_chance"):
            arrays[f"{index}/{name}"] = getattr(world, name)
        arrays[f"{index}/first"] = world.first.view(np.uint8).reshape(len(world.fleet), STATE.itemsize)
        for row, each in enumerate(world.fleet):
            arrays[f"{index}/{row}/record"] = np.frombuffer(each.record.tobytes(), np.uint8)
            arrays[f"{index}/{row}/target"] = each.target
            arrays.update({f"{index}/{row}/{name}": each.arrays[name] for name in TABLES})
    write_arrays(path, arrays)


def load_worlds(path: Path) -> list[World]:
    arrays = read_arrays(path)
    count, satellites = arrays["count"].tolist()
    return [_loaded(arrays, index, satellites) for index in range(count)]


def _loaded(arrays: Arrays, index: int, satellites: int) -> World:
    fleet = []
    for row in range(satellites):
        record = np.frombuffer(arrays[f"{index}/{row}/record"].tobytes(), SATELLITE)[0:1].copy().reshape(())
        content = {name: arrays[f"{index}/{row}/{name}"] for name in TABLES}
        fleet.append(Tables.bound(record, content, arrays[f"{index}/{row}/target"].astype(np.int64)))
    first = np.frombuffer(arrays[f"{index}/first"].tobytes(), STATE).copy()
    plain = {name: arrays[f"{index}/{name}"] for name in ("target_P", "priority", "clouded", "cloud_chance")}
    return World(tuple(fleet), first, **plain)  # type: ignore[arg-type]


def global_numbers(world: World) -> NDArray[np.int32]:
    """[N, LOCAL] the mission's numbers of each satellite's targets."""
    numbers = np.full((len(world.fleet), LOCAL), -1, np.int32)
    for row, each in enumerate(world.fleet):
        numbers[row, : len(each.target)] = each.target
    return numbers
