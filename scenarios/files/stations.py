"""Ground stations from a file: GeoJSON points with a name and perhaps a provider, as brahe's data, or CSV."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from scenarios.files.geography import features, is_geojson, known_properties, number, one_line, place, position, rows
from scenarios.files.reading import FileError, read_text
from scenarios.ranges import LONGEST_NAME, cut, shown

FIELD = "scenario.ground_stations.file"
MOST = 1000
COLUMNS = ("name", "latitude", "longitude", "height", "provider")


@dataclass(frozen=True, slots=True)
class Station:
    name: str  # unique in its file
    latitude_deg: float  # geodetic, WGS84
    longitude_deg: float
    height_m: float
    where: str


def read_stations(file: str) -> tuple[Station, ...]:
    """
    Raises:
        FileError: one sentence with file, feature or line, value and what is allowed.
    """
    text, digest = read_text(FIELD, file)
    return _parsed(text, cut(file), digest)


@lru_cache(maxsize=8)
def _parsed(text: str, file: str, digest: str) -> tuple[Station, ...]:
    def refuse(where: str, what: str) -> FileError:
        return FileError(f"{FIELD}: {file}, {where}: {what}")

    found: list[tuple[str, dict[str, Any], tuple[float, float, float]]] = []
    if is_geojson(text):
        for where, geometry, properties in features(text, refuse):
            if geometry.get("type") != "Point":
                raise refuse(where, f"geometry.type={shown(geometry.get('type'))} is not allowed: it must be Point")
            properties = known_properties(properties, ("name", "provider"), where, refuse)
            found.append((where, properties, position(geometry.get("coordinates"), where, refuse)))
    else:
        for where, row in rows(text, COLUMNS[:3], COLUMNS, refuse):
            latitude, longitude = number(row, "latitude", where, refuse), number(row, "longitude", where, refuse)
            height = number(row, "height", where, refuse, 0.0)
            found.append((where, row, place(latitude, longitude, height, where, refuse)))
    if not 0 < len(found) <= MOST:
        raise refuse("whole file", f"{len(found)} stations, where there must be 1 to {MOST}")
    told = [_name(properties, where, refuse) for where, properties, _ in found]
    stations: dict[str, Station] = {}
    for (where, properties, spot_deg), name in zip(found, told, strict=True):
        if told.count(name) > 1 and properties.get("provider"):  # two networks may stand in one town
            name = f"{name} ({properties['provider']})"
        if name in stations:
            raise refuse(where, f"name={shown(name)} is that of {stations[name].where} too: it must be another")
        stations[name] = Station(name, *spot_deg, where)
    return tuple(stations.values())


def _name(properties: dict[str, Any], where: str, refuse: Any) -> str:
    name = one_line(properties.get("name")).replace("/", "-").replace("\\", "-")
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        value = shown(properties.get("name"))
        raise refuse(where, f"name={value} is not allowed: it must be of 1 to {LONGEST_NAME} printable characters")
    return name
