"""Targets from a file: GeoJSON points and areas, CSV, or a task set of AEOS-Bench (docs/own-files.md)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenarios.files import aeos
from scenarios.files.geography import (
    ecef_m,
    features,
    is_geojson,
    known_properties,
    number,
    one_line,
    place,
    position,
    rows,
)
from scenarios.files.polygons import cells
from scenarios.files.reading import FileError, read_text
from scenarios.orbits import EARTH_RADIUS_M
from scenarios.ranges import LONGEST_NAME, cut, shown

FIELD = "scenario.targets.file"
MOST = 20000
COLUMNS = ("name", "latitude", "longitude", "priority", "release", "due", "dwell", "sensor")
PROPERTIES = (COLUMNS[0], *COLUMNS[3:])  # of a GeoJSON feature, whose place is its geometry
OTHER_NAMES_OF_DUE = ("deadline", "due_time")  # other properties than ours are not read; these must not go unnoticed
LONGEST_DWELL_S = 3600.0
LATEST_S = 1e7  # as the longest episode; a date without dashes or a Unix time is a larger number
OWN_KEYS = {key: key for key in COLUMNS}
Moment = float | datetime  # s from the start of the episode, or UTC without tzinfo


@dataclass(frozen=True, slots=True)
class OwnTarget:
    """A point to be imaged, or a cell of an area."""

    name: str  # unique in its file
    latitude_deg: float  # geodetic, WGS84
    longitude_deg: float
    height_m: float
    priority: float  # above 0, at most 1
    release: Moment | None  # None: from the start
    due: Moment | None  # None: to the end
    dwell_s: float  # for which the attitude must be held
    sensor: str | None  # hardware that can take it; None: any
    where: str
    on_sphere: bool = False  # latitude and height are of a spherical Earth, as AEOS-Bench has it

    def r_LP_P(self) -> NDArray[np.float64]:
        """Planet-fixed position [3] in m."""
        if not self.on_sphere:
            return ecef_m(self.latitude_deg, self.longitude_deg, self.height_m)
        latitude, longitude = math.radians(self.latitude_deg), math.radians(self.longitude_deg)
        across = math.cos(latitude)
        up = np.array([across * math.cos(longitude), across * math.sin(longitude), math.sin(latitude)])
        return up * (EARTH_RADIUS_M + self.height_m)

    def span_s(self, epoch: datetime) -> tuple[float, float]:
        """Release and due in s from an epoch (UTC)."""
        return _seconds(self.release, epoch, -math.inf), _seconds(self.due, epoch, math.inf)


def _seconds(moment: Moment | None, epoch: datetime, otherwise: float) -> float:
    if moment is None:
        return otherwise
    return (moment - epoch).total_seconds() if isinstance(moment, datetime) else moment


def read_targets(file: str, cell_km: float) -> tuple[OwnTarget, ...]:
    """The targets of a file, areas cut into cells of at most ``cell_km`` by ``cell_km``.

    Raises:
        FileError: one sentence with file, feature or line, value and what is allowed.
    """
    text, digest = read_text(FIELD, file)
    return _parsed(text, cut(file), cell_km, digest)


@lru_cache(maxsize=8)
def _parsed(text: str, file: str, cell_km: float, digest: str) -> tuple[OwnTarget, ...]:
    def refuse(where: str, what: str) -> FileError:
        return FileError(f"{FIELD}: {file}, {where}: {what}")

    if is_geojson(text):
        found = list(_from_geojson(text, cell_km, refuse))
    else:
        found = list(_from_task_set(text, refuse) if aeos.is_task_set(text) else _from_csv(text, refuse))
    if not 0 < len(found) <= MOST:
        raise refuse("whole file", f"{len(found)} targets, where there must be 1 to {MOST}")
    first: dict[str, str] = {}
    for each in found:
        if each.name in first:
            raise refuse(each.where, f"name={shown(each.name)} is that of {first[each.name]} too: it must be another")
        first[each.name] = each.where
    return tuple(found)


def _from_csv(text: str, refuse: Any) -> Iterator[OwnTarget]:
    for where, row in rows(text, COLUMNS[:3], COLUMNS, refuse):
        latitude, longitude = number(row, "latitude", where, refuse), number(row, "longitude", where, refuse)
        yield _target(row, place(latitude, longitude, 0.0, where, refuse), 1.0, where, refuse)


def _from_task_set(text: str, refuse: Any) -> Iterator[OwnTarget]:
    for where, values, spot in aeos.tasks(text, refuse):
        yield replace(_target(values, spot, 1.0, where, refuse, aeos.KEYS), on_sphere=True)


def _from_geojson(text: str, cell_km: float, refuse: Any) -> Iterator[OwnTarget]:
    for where, geometry, properties in features(text, refuse):
        kind = geometry.get("type")
        for name, value in properties.items():
            if name.strip().lower() in OTHER_NAMES_OF_DUE and value not in (None, ""):
                raise refuse(where, f"{name}={shown(value)} is not allowed: the property must be called due")
        properties = known_properties(properties, PROPERTIES, where, refuse)
        properties["name"] = _name(properties.get("name", where.replace(" ", "_")), where, refuse)
        if kind == "Point":
            yield _target(properties, position(geometry.get("coordinates"), where, refuse), 1.0, where, refuse)
        elif kind in ("Polygon", "MultiPolygon"):
            parts = cells(geometry, cell_km, where, refuse)
            whole_km2 = math.fsum(part.area_km2 for part in parts)
            for index, part in enumerate(parts, 1):
                named = {**properties, "name": f"{properties['name']} {index}"} if len(parts) > 1 else properties
                spot = (part.latitude_deg, part.longitude_deg, 0.0)
                yield _target(named, spot, part.area_km2 / whole_km2, where, refuse)
        else:
            what = f"geometry.type={shown(kind)} is not allowed"
            raise refuse(where, f"{what}: it must be Point, Polygon or MultiPolygon")


def _target(
    values: dict[str, Any],
    spot: tuple[float, float, float],
    share: float,
    where: str,
    refuse: Any,
    keys: Mapping[str, str] = OWN_KEYS,
) -> OwnTarget:
    """``share`` of the priority: 1 of a point, a cell's part of its area. ``keys``: what the file calls our columns."""
    name = _name(values.get("name"), where, refuse)
    priority = number(values, "priority", where, refuse, 1.0)
    if not 0.0 < priority * share <= 1.0:
        what = "" if share == 1.0 else f", {priority * share:g} of it for the cell {name!r},"
        raise refuse(where, f"priority={priority:g}{what} is not allowed: it must be above 0 and at most 1")
    dwell_s = number(values, "dwell", where, refuse, 0.0)
    if not 0.0 <= dwell_s <= LONGEST_DWELL_S:
        raise refuse(where, f"{keys['dwell']}={dwell_s:g} is not allowed: it must be from 0 to {LONGEST_DWELL_S:g} s")
    release, due = (_moment(values.get(key), keys[key], where, refuse) for key in ("release", "due"))
    sensor = values.get("sensor")
    return OwnTarget(
        name, *spot, priority * share, release, due, dwell_s, None if sensor is None else str(sensor), where
    )


def _name(value: Any, where: str, refuse: Any) -> str:
    name = one_line(value)
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        allowed = f"it must be of 1 to {LONGEST_NAME} printable characters"
        raise refuse(where, f"name={shown(value)} is not allowed: {allowed}")
    return name


def _moment(value: Any, key: str, where: str, refuse: Any) -> Moment | None:
    if value is None:
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if math.isfinite(seconds) and not isinstance(value, bool):
        if seconds > LATEST_S:
            allowed = f"a number must be seconds from the start, at most {LATEST_S:g}"
            hint = "; a date or a Unix time must be written as 2026-03-20T12:10:00Z" if key in OWN_KEYS else ""
            raise refuse(where, f"{key}={_told(seconds)} is not allowed: {allowed}{hint}")
        return seconds
    try:
        moment = datetime.fromisoformat(str(value))
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except (ValueError, OverflowError):
        allowed = "it must be seconds from the start, or a date and time of ISO 8601 in UTC"
        raise refuse(where, f"{key}={shown(value)} is not allowed: {allowed}") from None


def _told(moment: Moment | None) -> str:
    """As files write it."""
    if moment is None:
        return ""
    return f"{moment.isoformat()}Z" if isinstance(moment, datetime) else f"{moment:.15g}"


def check_targets(
    file: str, targets: tuple[OwnTarget, ...], epoch: datetime, hardware: list[str], image_timeout_s: float
) -> None:
    """What the targets ask for against a mission.

    Raises:
        FileError: a target that can never be imaged: due before the episode, before its release or before its dwell
            has passed; a sensor that no satellite has, or a dwell that no action lasts.
    """
    for each in targets:
        what = _impossible(each, aeos.KEYS if each.on_sphere else OWN_KEYS, epoch, hardware, image_timeout_s)
        if what is not None:
            raise FileError(f"{FIELD}: {cut(file)}, {each.where}: {what}")


def _impossible(
    target: OwnTarget, keys: Mapping[str, str], epoch: datetime, hardware: list[str], image_timeout_s: float
) -> str | None:
    release_s, due_s = target.span_s(epoch)
    dwell = f"{keys['dwell']}={target.dwell_s:g}"
    due, release = (f"{keys[key]}={_told(getattr(target, key))}" for key in ("due", "release"))
    if due_s <= 0.0:
        start = f"scenario.epoch_utc={_told(epoch)}" if isinstance(target.due, datetime) else "0 s"
        return f"{due} is not allowed: it must be later than the start of the episode, {start}"
    if due_s <= release_s:
        return f"{due} is not allowed: it must be later than {release}"
    if due_s - max(release_s, 0.0) < target.dwell_s - 1e-6:  # 138.397 - 124.397 is a little below 14
        since = release if release_s > 0.0 else "the start of the episode"
        return f"{due} is not allowed: it must be at least {dwell} s later than {since}"
    if target.sensor is not None and target.sensor not in hardware:
        told = f"{aeos.sensor_type(target.sensor)} ({target.sensor})" if target.on_sphere else shown(target.sensor)
        return f"{keys['sensor']}={told} is not allowed: it must be a hardware that flies: {', '.join(hardware)}"
    if target.dwell_s >= image_timeout_s:
        return f"{dwell} is not allowed: it must be below scenario.actions.image_timeout_s={image_timeout_s:g}"
    return None
