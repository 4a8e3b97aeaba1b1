"""Places in files: GeoJSON (RFC 7946) and CSV tables, latitudes and longitudes on WGS84."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenarios.files.reading import Refuse, parsed_json
from scenarios.ranges import shown

_SEMI_MAJOR_M, _FLATTENING = 6378137.0, 1.0 / 298.257223563  # WGS84
LEAST_HEIGHT_M, MOST_HEIGHT_M = -500.0, 9000.0


Angles = float | NDArray[np.float64]


def ecef_m(latitude_deg: Angles, longitude_deg: Angles, height_m: Angles = 0.0) -> NDArray[np.float64]:
    """Earth-fixed positions [..., 3] in m of geodetic WGS84 coordinates (NIMA TR8350.2, 4-14)."""
    latitude, longitude = np.radians(latitude_deg), np.radians(longitude_deg)
    square = _FLATTENING * (2.0 - _FLATTENING)  # eccentricity squared
    across = _SEMI_MAJOR_M / np.sqrt(1.0 - square * np.sin(latitude) ** 2)  # radius of curvature in the prime vertical
    level = (across + height_m) * np.cos(latitude)
    z = (across * (1.0 - square) + height_m) * np.sin(latitude)
    return np.stack(np.broadcast_arrays(level * np.cos(longitude), level * np.sin(longitude), z), axis=-1)


def is_geojson(text: str) -> bool:
    return text.lstrip()[:1] == "{"


def features(text: str, refuse: Refuse) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Of each feature of a FeatureCollection: where it stands, its geometry and its properties.

    Raises:
        the error that ``refuse(where, what)`` makes.
    """
    content = parsed_json(text, refuse)
    if not isinstance(content, dict) or content.get("type") != "FeatureCollection":
        kind = shown(content.get("type") if isinstance(content, dict) else content)
        raise refuse("whole file", f"type={kind} is not allowed: it must be FeatureCollection")
    found = content.get("features")
    if not isinstance(found, list) or not found:
        raise refuse("whole file", f"features={shown(found)} is not allowed: it must be a list of at least one feature")
    for number, feature in enumerate(found, 1):
        where = f"feature {number}"
        geometry = feature.get("geometry") if isinstance(feature, dict) else None
        if not isinstance(geometry, dict):
            raise refuse(where, f"geometry={shown(geometry)} is not allowed: it must be an object with a type")
        properties = feature.get("properties")
        yield where, geometry, properties if isinstance(properties, dict) else {}


def known_properties(given: dict[str, Any], known: Sequence[str], where: str, refuse: Refuse) -> dict[str, Any]:
    """A feature's properties that have a known name, in capitals or not, and a value; all others are left out.

    Raises:
        the error that ``refuse(where, what)`` makes: a name is there twice.
    """
    found: dict[str, Any] = {}
    for name, value in given.items():
        key = name.strip().lower()
        if key not in known or value in (None, ""):
            continue
        if key in found:
            raise refuse(where, f"{name}={shown(value)} is not allowed: there must be one property {key}")
        found[key] = value
    return found


def one_line(value: Any) -> str:
    """A name as files give it, on one line: text or a number; empty if it is anything else."""
    return " ".join(str(value).split()) if type(value) in (str, int, float) else ""


def position(given: Any, where: str, refuse: Refuse) -> tuple[float, float, float]:
    """Latitude and longitude in deg and height in m of a GeoJSON position, which begins with the longitude."""
    numbers = isinstance(given, list) and 2 <= len(given) <= 3 and all(type(each) in (int, float) for each in given)
    if not numbers:
        allowed = "it must be [longitude, latitude] or [longitude, latitude, height]"
        raise refuse(where, f"coordinates={shown(given)} is not allowed: {allowed}")
    longitude, latitude, height = (float(each) for each in (*given, 0.0)[:3])
    return place(latitude, longitude, height, where, refuse, "; GeoJSON has the longitude first")


def place(
    latitude: float, longitude: float, height_m: float, where: str, refuse: Refuse, order: str = ""
) -> tuple[float, float, float]:
    """The same three, checked."""
    if not abs(latitude) <= 90.0:
        swapped = abs(latitude) <= 180.0 and abs(longitude) <= 90.0
        hint = f": are latitude and longitude={longitude:g} exchanged{order}?" if swapped else ""
        raise refuse(where, f"latitude={latitude:g} is not allowed: it must be from -90 to 90{hint}")
    if not abs(longitude) <= 180.0:
        raise refuse(where, f"longitude={longitude:g} is not allowed: it must be from -180 to 180")
    if not LEAST_HEIGHT_M <= height_m <= MOST_HEIGHT_M:
        allowed = f"it must be from {LEAST_HEIGHT_M:g} to {MOST_HEIGHT_M:g} m"
        raise refuse(where, f"height={height_m:g} is not allowed: {allowed}")
    return latitude, longitude, height_m


def rows(
    text: str, needed: Sequence[str], known: Sequence[str], refuse: Refuse
) -> Iterator[tuple[str, dict[str, str]]]:
    """Of each row of a CSV table: where it stands, and its values by column; empty ones are left out.

    Raises:
        the error that ``refuse(where, what)`` makes.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = [str(column).strip().lower() for column in reader.fieldnames or ()]
        if len(columns) == 1 and any(mark in columns[0] for mark in ";\t|"):
            raise refuse(
                "line 1", f"the header {shown(columns[0])} is not allowed: columns must be separated by commas"
            )
        lacking = [column for column in needed if column not in columns]
        other = [column for column in columns if column not in known]
        if lacking or other or len(set(columns)) < len(columns):
            allowed = f"it must have {', '.join(needed)}, and may have {', '.join(set_aside(known, needed))}"
            raise refuse("line 1", f"the header {shown(','.join(columns))} is not allowed: {allowed}")
        reader.fieldnames = columns
        for row in reader:
            where = f"line {reader.line_num}"
            if None in row or None in row.values():
                raise refuse(where, f"a row of another length is not allowed: it must have {len(columns)} values")
            yield where, {column: value.strip() for column, value in row.items() if value.strip()}
    except csv.Error as error:
        raise refuse(f"line {reader.line_num}", f"the row cannot be read as CSV ({error})") from None


def set_aside(known: Sequence[str], needed: Sequence[str]) -> list[str]:
    return [column for column in known if column not in needed]


def number(values: dict[str, Any], key: str, where: str, refuse: Refuse, default: float | None = None) -> float:
    """A finite number, of text or JSON."""
    value = values.get(key, default)
    try:
        found = math.nan if isinstance(value, bool) or value is None else float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise refuse(where, f"{key}={shown(value)} is not allowed: it must be a number")
    return found
