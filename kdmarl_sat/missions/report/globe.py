"""The traced flights as data for the globe in report.html (globe.js).

Positions are Earth-fixed: geocentric latitude and longitude in degrees, as in a Trace. Times are seconds since the
start of the episode. All numbers are rounded to what a screen can show.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import resources
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from envs.basilisk.trace import ACTIVITIES, Trace
from kdmarl_sat.missions.report.czml import EARTH_RADIUS_KM, start_of
from kdmarl_sat.missions.report.exhibits import epoch_and_altitude, traces_to_show
from kdmarl_sat.missions.results import RunResult
from kdmarl_sat.report.style import satellite_colour

_MOST_STATES = 6000  # of satellites, in one flight: about 200 kB

FloatArray = NDArray[np.float64]


class Track(TypedDict):
    """One satellite at the T samples of its flight."""

    latitude: list[float]
    longitude: list[float]
    battery: list[float]  # fraction
    storage: list[float]  # fraction filled
    sunlit: list[int]  # 0 or 1
    action: list[int]  # from this sample on: index into ``activities``, -1 lost
    pursued: list[int]  # from this sample on: target, -1 none


class Targets(TypedDict):
    """The M targets of a flight."""

    latitude: list[float]
    longitude: list[float]
    priority: list[float]
    imaged_by: list[int]  # satellite, -1 nobody
    imaged_s: list[float | None]
    delivered_by: list[int]  # to the ground, or where nothing is downlinked the same as imaged
    delivered_s: list[float | None]
    reachable: list[int]  # 0: out of every satellite's reach


class Station(TypedDict):
    """On the ground, to downlink to."""

    name: str
    latitude: float
    longitude: float


class Flight(TypedDict):
    label: str
    time: list[float]  # [T], increasing
    tracks: list[Track]
    targets: Targets


class Document(TypedDict):
    """All that globe.js is told."""

    epoch: str  # ISO 8601, UTC
    sun: tuple[float, float]  # latitude and longitude of the point below the Sun at the epoch
    radius: float  # of the orbits, in Earth radii
    activities: Sequence[str]
    satellites: list[dict[str, str]]  # name, colour
    stations: list[Station]
    land: list[list[float]]  # see land.json
    flights: list[Flight]


def document(result: RunResult) -> Document | None:
    """The flights that the report shows; None where none was traced, or the run does not say when and how high."""
    where = epoch_and_altitude(result.config)
    shown = traces_to_show(result.policies)
    if where is None or not shown:
        return None
    epoch = start_of(where[0])
    latitude, longitude = subsolar_point_deg(epoch)
    return {
        "epoch": epoch.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "sun": (round(latitude, 2), round(longitude, 2)),
        "radius": round(1 + where[1] / EARTH_RADIUS_KM, 4),
        "activities": ACTIVITIES,
        "satellites": [{"name": name, "colour": satellite_colour(n)} for n, name in enumerate(result.satellites)],
        "stations": _stations(result.config),
        "land": json.loads(_text("land.json"))["rings"],
        "flights": [flight(policy.label, trace) for policy, trace in shown],
    }


def _stations(config: Mapping[str, Any]) -> list[Station]:
    places = (config["scenario"].get("ground_stations") or {}).get("at", {})
    return [
        {"name": name, "latitude": float(latitude), "longitude": float(longitude)}
        for name, (latitude, longitude) in places.items()
    ]


def flight(label: str, trace: Trace, most_states: int = _MOST_STATES) -> Flight:
    """One flight. With more than ``most_states`` samples times satellites, evenly thinned to about as many."""
    satellites = trace.latitude_deg.shape[1]
    distinct = np.flatnonzero(np.append(np.diff(trace.time_s) > 0, True))  # of samples at one time, the last
    wanted = max(2, most_states // satellites)
    places = np.linspace(0, len(distinct) - 1, min(wanted, len(distinct)))
    kept = distinct[np.round(places).astype(np.int64)]
    return {
        "label": label,
        "time": _rounded(trace.time_s[kept], 1),
        "tracks": [_track(trace, kept, n) for n in range(satellites)],
        "targets": {
            "latitude": _rounded(trace.target_latitude_deg, 2),
            "longitude": _rounded(trace.target_longitude_deg, 2),
            "priority": _rounded(trace.target_priority, 4),
            "imaged_by": trace.target_imaged_by.tolist(),
            "imaged_s": _when(trace.target_imaged_s),
            "delivered_by": trace.target_delivered_by.tolist(),
            "delivered_s": _when(trace.target_delivered_s),
            "reachable": (trace.target_accessible | (trace.target_imaged_by >= 0)).astype(int).tolist(),
        },
    }


def _when(time_s: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(s) else round(float(s), 1) for s in time_s]


def _track(trace: Trace, kept: NDArray[np.int64], satellite: int) -> Track:
    return {
        "latitude": _rounded(trace.latitude_deg[kept, satellite], 2),
        "longitude": _rounded(trace.longitude_deg[kept, satellite], 2),
        "battery": _rounded(trace.battery[kept, satellite], 3),
        "storage": _rounded(trace.storage[kept, satellite], 3),
        "sunlit": trace.sunlit[kept, satellite].astype(int).tolist(),
        "action": trace.action[kept, satellite].tolist(),
        "pursued": trace.pursued[kept, satellite].tolist(),
    }


def _rounded(values: FloatArray, digits: int) -> list[float]:
    numbers: list[float] = np.round(values, digits).tolist()
    return numbers


def embedded(content: Any) -> str:
    """JSON to stand in a <script> element: no "<" is left, so nothing in it can end the element or open another."""
    return json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")


def script() -> str:
    """The code that draws a document."""
    return _text("globe.js")


def subsolar_point_deg(time: datetime) -> tuple[float, float]:
    """Latitude and longitude of the point below the Sun, to about 0.02 deg between 1950 and 2050.

    The Astronomical Almanac's low-precision formulas for the Sun's right ascension and declination and for sidereal
    time (https://aa.usno.navy.mil/faq/sun_approx, https://aa.usno.navy.mil/faq/GAST).
    """
    days = (time - datetime(2000, 1, 1, 12, tzinfo=UTC)).total_seconds() / 86400
    mean_longitude_deg = 280.459 + 0.98564736 * days
    anomaly = np.radians(357.529 + 0.98560028 * days)
    ecliptic = np.radians(mean_longitude_deg + 1.915 * np.sin(anomaly) + 0.020 * np.sin(2 * anomaly))
    obliquity = np.radians(23.439 - 3.6e-7 * days)
    ascension_deg = np.degrees(np.arctan2(np.cos(obliquity) * np.sin(ecliptic), np.cos(ecliptic)))
    sidereal_deg = 280.46062 + 360.98564737 * days
    latitude_deg = np.degrees(np.arcsin(np.sin(obliquity) * np.sin(ecliptic)))
    return float(latitude_deg), float((ascension_deg - sidereal_deg + 180) % 360 - 180)


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
