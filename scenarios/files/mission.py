"""What a mission takes from files, and whether it fits the mission."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from scenarios.epoch import parsed
from scenarios.files import aeos
from scenarios.files.elements import FIELD, ElementSet, check_ages, read_elements, safe_names, teme_states
from scenarios.files.reading import FileError, checked_digest, digest_of, read_text
from scenarios.files.stations import read_stations
from scenarios.files.targets import OwnTarget, check_targets, read_targets
from scenarios.orbits import BEYOND_S
from scenarios.ranges import check, cut, shown, within

if TYPE_CHECKING:  # a mission holds these groups, so mission.py imports this module
    from scenarios.constellation import ConstellationConfig
    from scenarios.ground import GroundStationsConfig, TargetsConfig
    from scenarios.mission import ScenarioConfig

_CLOSEST_M = 1.0  # two satellites that are nearer are one


def read_constellation(config: ConstellationConfig) -> bool:
    """Take a constellation's size, height and digest from its file; False where it has none.

    Raises:
        ConfigError: the file cannot be used, or there is none for what needs one.
    """
    config.file_sha256 = digest_of("scenario.constellation", config.file, config.file_sha256)
    if config.file is None:
        return False
    within("scenario.constellation", 0.0, 36525.0, max_age_days=config.max_age_days)
    sets = _read(config.file)
    config.planes, config.per_plane = 1, len(sets)
    config.altitude_km = sets[0].altitude_km
    return True


def _read(file: str) -> Sequence[ElementSet | aeos.OsculatingSet]:
    text, _ = read_text(FIELD, file)
    return _osculating(text, cut(file)) if aeos.is_constellation(text) else read_elements(file)


@lru_cache(maxsize=8)
def _osculating(text: str, file: str) -> tuple[aeos.OsculatingSet, ...]:
    def refuse(where: str, what: str) -> FileError:
        return FileError(f"{FIELD}: {file}, {where}: {what}")

    return tuple(aeos.satellites(text, refuse))


def orbit_sets(config: ConstellationConfig) -> Sequence[ElementSet | aeos.OsculatingSet]:
    """Of a constellation from a file, as it was when the mission was composed; all of one kind.

    Raises:
        ConfigError: the file has changed since.
    """
    assert config.file is not None
    checked_digest(FIELD, config.file, config.file_sha256)
    return _read(config.file)


def element_sets(config: ConstellationConfig) -> tuple[ElementSet, ...]:
    """Of the same, what SGP4 propagates: empty where the file holds osculating elements."""
    return tuple(each for each in orbit_sets(config) if isinstance(each, ElementSet))


def catalogue_numbers(config: ConstellationConfig) -> list[int | None]:
    """Of each satellite; None where it is not from a file."""
    if config.file is None:
        return [None] * config.size
    return [each.catalogue_number for each in orbit_sets(config)]


def names_from_file(config: ConstellationConfig) -> list[str] | None:
    """Of each satellite, safe and unique; None where there is no file."""
    if config.file is None:
        return None
    return safe_names([(each.name, each.catalogue_number) for each in orbit_sets(config)])


def class_of_each(config: ConstellationConfig) -> list[int]:
    """[N] the index of each satellite's class: the first one whose ``satellites`` name it, or in turn of those that
    name nobody.

    Raises:
        ConfigError: there is none for some satellite.
    """
    if config.file is None:
        return [index % len(config.classes) for index in range(config.size)]
    open_to_all = [index for index, each in enumerate(config.classes) if each.satellites is None]
    sets, names = orbit_sets(config), names_from_file(config) or []
    found, dealt = [], 0
    for each, name in zip(sets, names, strict=True):
        told = {each.name, name, str(each.catalogue_number)}
        index = next((index for index, member in enumerate(config.classes) if _named(member.satellites, told)), None)
        if index is None:
            if not open_to_all:
                raise FileError(
                    f"scenario.constellation.classes names nobody for satellite {shown(each.name)} of "
                    f"{cut(config.file)} ({each.where}): one class must name it in satellites, or leave that out"
                )
            index = open_to_all[dealt % len(open_to_all)]
            dealt += 1
        found.append(index)
    return found


def _named(patterns: list[str] | None, told: set[str]) -> bool:
    return any(fnmatchcase(each, pattern) for pattern in patterns or () for each in told)


def check_classes(config: ConstellationConfig) -> None:
    """
    Raises:
        ConfigError: a class names satellites that there are not, or some satellite has no class.
    """
    for index, member in enumerate(config.classes):
        where = f"scenario.constellation.classes.{index}.satellites"
        if member.satellites is None:
            continue
        check(where, member.satellites, config.file is not None, "null, for scenario.constellation.file is null")
        names = names_from_file(config) or []
        sets = orbit_sets(config)
        for pattern in member.satellites:
            told = [{each.name, name, str(each.catalogue_number)} for each, name in zip(sets, names, strict=True)]
            there = any(_named([pattern], each) for each in told)
            few = ", ".join(each.name for each in sets[:8]) + (" ..." if len(sets) > 8 else "")
            check(where, pattern, there, f"a name, catalogue number or pattern (*, ?) of the file's satellites: {few}")
    class_of_each(config)


def check_files(config: ScenarioConfig) -> None:
    """What the mission's files hold against its epoch and its length.

    Raises:
        ConfigError: elements that are too old, or of a satellite that is not in orbit; satellites in one place; a
            target that asks for what there is not.
    """
    constellation, epoch = config.constellation, parsed(config.epoch_utc)
    if epoch is None:  # it is refused where Basilisk needs it
        return
    if config.targets.file is not None:
        flies = sorted({member.hardware for member in constellation.members})
        timeout_s = config.actions.image_timeout_s
        check_targets(config.targets.file, own_targets(config.targets) or (), epoch, flies, timeout_s)
    if constellation.file is None:
        return
    check_ages(element_sets(constellation), epoch, constellation.max_age_days)
    longest_s = max([config.duration_s, *(config.training_duration_s or [])])
    _check_orbits(tuple(orbit_sets(constellation)), epoch, longest_s + BEYOND_S, cut(constellation.file))


@lru_cache(maxsize=32)
def _check_orbits(sets: tuple[ElementSet | aeos.OsculatingSet, ...], epoch: datetime, span_s: float, file: str) -> None:
    by_sgp4 = [each for each in sets if isinstance(each, ElementSet)]
    r_m = teme_states(by_sgp4, epoch, np.array([0.0, span_s]), file)[0][:, 0]
    if not by_sgp4:
        r_m = np.array([each.state()[0] for each in sets if isinstance(each, aeos.OsculatingSet)])
    for row, each in enumerate(sets):
        near = np.linalg.norm(r_m[:row] - r_m[row], axis=-1) < _CLOSEST_M
        if near.any():
            other = sets[int(np.argmax(near))]
            raise FileError(
                f"{FIELD}: {file}, {each.where}: {each.name} is within {_CLOSEST_M:g} m of {other.name} "
                f"({other.where}): it must be in another place"
            )


def station_places(config: GroundStationsConfig) -> dict[str, tuple[float, float, float]] | None:
    """Geodetic latitude and longitude in deg and height in m by name, of stations from a file; None: there is none."""
    if config.file is None:
        return None
    checked_digest("scenario.ground_stations.file", config.file, config.file_sha256)
    return {each.name: (each.latitude_deg, each.longitude_deg, each.height_m) for each in read_stations(config.file)}


def own_targets(config: TargetsConfig) -> tuple[OwnTarget, ...] | None:
    """The targets of a mission's file; None: it has none.

    Raises:
        ConfigError: the file has changed since the mission was composed.
    """
    if config.file is None:
        return None
    checked_digest("scenario.targets.file", config.file, config.file_sha256)
    return read_targets(config.file, config.cell_km)


def has_due(config: TargetsConfig) -> bool:
    """Whether some target of a file must be imaged by a time."""
    return any(each.due is not None for each in own_targets(config) or ())
