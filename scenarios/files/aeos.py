"""AEOS-Bench's files: task sets and constellations as JSON (Wang et al., arXiv 2510.26297; buaa-colalab/AEOSBench).

Their Earth is a sphere that turns as SPICE says, and their orbits are osculating elements at the mission's epoch, about
axes of J2000. Sensors have types: 1 is visible light, 2 is near infrared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenarios.files.geography import number, place
from scenarios.files.reading import Refuse, parsed_json
from scenarios.orbits import EARTH_MU_M3_S2, EARTH_RADIUS_M
from scenarios.ranges import shown

SENSORS = {1: "visible", 2: "near_infrared"}  # what a mission must call the hardware that carries them
# What a task set calls the columns of our own target files; sentences name the file's keys.
KEYS = {"name": "id", "release": "release_time", "due": "due_time", "dwell": "duration", "sensor": "sensor_type"}
LEAST_PERIGEE_KM, MOST_APOGEE_KM = 250.0, 2000.0


@dataclass(frozen=True, slots=True)
class OsculatingSet:
    """One satellite's osculating elements at the mission's epoch, whatever that is (J2000)."""

    name: str
    semi_major_axis_m: float
    eccentricity: float
    inclination_deg: float
    raan_deg: float
    perigee_deg: float  # argument
    true_anomaly_deg: float
    where: str  # in the file
    catalogue_number: None = None  # these satellites do not exist

    @property
    def altitude_km(self) -> float:
        """Semi-major axis above the Earth's radius."""
        return round((self.semi_major_axis_m - EARTH_RADIUS_M) / 1e3, 3)

    def state(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Position [3] in m and velocity [3] in m/s in J2000 (Vallado, Fundamentals of Astrodynamics, algorithm 10)."""
        anomaly = math.radians(self.true_anomaly_deg)
        parameter = self.semi_major_axis_m * (1.0 - self.eccentricity**2)
        radius = parameter / (1.0 + self.eccentricity * math.cos(anomaly))
        r_plane = radius * np.array([math.cos(anomaly), math.sin(anomaly), 0.0])
        speed = math.sqrt(EARTH_MU_M3_S2 / parameter)
        v_plane = speed * np.array([-math.sin(anomaly), self.eccentricity + math.cos(anomaly), 0.0])
        turn = _about_z(self.raan_deg) @ _about_x(self.inclination_deg) @ _about_z(self.perigee_deg)
        return turn @ r_plane, turn @ v_plane


def _about_z(angle_deg: float) -> NDArray[np.float64]:
    cosine, sine = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def _about_x(angle_deg: float) -> NDArray[np.float64]:
    cosine, sine = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    return np.array([[1.0, 0.0, 0.0], [0.0, cosine, -sine], [0.0, sine, cosine]])


def is_task_set(text: str) -> bool:
    return text.lstrip()[:1] == "["


def sensor_type(name: str) -> int:
    return next(kind for kind, other in SENSORS.items() if other == name)


def tasks(text: str, refuse: Refuse) -> Iterator[tuple[str, dict[str, Any], tuple[float, float, float]]]:
    """Of each task: where it stands, what it asks for as the columns of our own target files, and its place.

    Raises:
        the error that ``refuse(where, what)`` makes.
    """
    first: dict[int, str] = {}
    for index, each in enumerate(parsed_json(text, refuse), 1):
        where = f"task {index}"
        values = _object(each, where, refuse)
        identity = _identity(values, where, refuse)
        if identity in first:
            raise refuse(where, f"id={identity} is that of {first[identity]} too: it must be another task's")
        first[identity] = where
        latitude, longitude = _coordinate(values.get("coordinate"), where, refuse)
        kind = values.get("sensor_type")
        if type(kind) is not int or kind not in SENSORS:
            allowed = "it must be 1 (visible) or 2 (near infrared)"
            raise refuse(where, f"sensor_type={shown(kind)} is not allowed: {allowed}")
        times = {key: number(values, KEYS[key], where, refuse) for key in ("release", "due", "dwell")}
        asked = {"name": f"task {identity}", **times, "sensor": SENSORS[kind]}
        yield where, asked, place(latitude, longitude, 0.0, where, refuse)


def is_constellation(text: str) -> bool:
    return text.lstrip()[:1] == "{" and '"satellites"' in text and '"orbits"' in text


def satellites(text: str, refuse: Refuse) -> list[OsculatingSet]:
    """The satellites of a constellation, in the file's order. Their hardware is not read.

    Raises:
        the error that ``refuse(where, what)`` makes.
    """
    content = _object(parsed_json(text, refuse), "whole file", refuse)
    orbits = {}
    for index, each in enumerate(_list(content, "orbits", refuse), 1):
        where = f"orbit {index}"
        orbits[_identity(_object(each, where, refuse), where, refuse)] = each
    found: dict[int, OsculatingSet] = {}
    for index, each in enumerate(_list(content, "satellites", refuse), 1):
        where = f"satellite {index}"
        values = _object(each, where, refuse)
        identity, orbit = _identity(values, where, refuse), values.get("orbit")
        if identity in found:
            before = found[identity].where
            raise refuse(where, f"id={identity} is that of {before} too: it must be another satellite's")
        if isinstance(orbit, bool) or not isinstance(orbit, int) or orbit not in orbits:
            raise refuse(where, f"orbit={shown(orbit)} is not allowed: it must be the id of one of the file's orbits")
        anomaly_deg = number(values, "true_anomaly", where, refuse)
        found[identity] = _osculating(orbits[orbit], f"satellite_{identity}", anomaly_deg, where, refuse)
    return list(found.values())


def _osculating(orbit: dict[str, Any], name: str, true_anomaly_deg: float, where: str, refuse: Refuse) -> OsculatingSet:
    def angle(key: str) -> float:
        return number(orbit, key, where, refuse)

    axis_m, eccentricity = number(orbit, "semi_major_axis", where, refuse), angle("eccentricity")
    if not 0.0 <= eccentricity < 1.0:
        raise refuse(where, f"eccentricity={eccentricity:g} is not allowed: it must be at least 0 and below 1")
    inclination_deg = angle("inclination")
    if not 0.0 <= inclination_deg <= 180.0:
        raise refuse(where, f"inclination={inclination_deg:g} is not allowed: it must be from 0 to 180 degrees")
    low_km, high_km = ((axis_m * (1.0 + sign * eccentricity) - EARTH_RADIUS_M) / 1e3 for sign in (-1.0, 1.0))
    if low_km < LEAST_PERIGEE_KM or high_km > MOST_APOGEE_KM:
        what = f"semi_major_axis={axis_m:g} m with eccentricity={eccentricity:g} is not allowed"
        allowed = f"heights must be from {LEAST_PERIGEE_KM:g} to {MOST_APOGEE_KM:g} km"
        raise refuse(where, f"{what}: {allowed}, and are from {low_km:.0f} to {high_km:.0f} km")
    return OsculatingSet(
        name=name,
        semi_major_axis_m=axis_m,
        eccentricity=eccentricity,
        inclination_deg=inclination_deg,
        raan_deg=angle("right_ascension_of_the_ascending_node"),
        perigee_deg=angle("argument_of_perigee"),
        true_anomaly_deg=true_anomaly_deg,
        where=where,
    )


def _object(given: Any, where: str, refuse: Refuse) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise refuse(where, f"{shown(given)} is not allowed: it must be an object")
    return given


def _list(content: dict[str, Any], key: str, refuse: Refuse) -> list[Any]:
    found = content.get(key)
    if not isinstance(found, list) or not found:
        raise refuse("whole file", f"{key}={shown(found)} is not allowed: it must be a list of at least one object")
    return found


def _identity(values: dict[str, Any], where: str, refuse: Refuse) -> int:
    found = values.get("id")
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found < 10**9:
        raise refuse(where, f"id={shown(found)} is not allowed: it must be a whole number of at most nine digits")
    return found


def _coordinate(given: Any, where: str, refuse: Refuse) -> tuple[float, float]:
    if not (isinstance(given, list) and len(given) == 2 and all(type(each) in (int, float) for each in given)):
        raise refuse(where, f"coordinate={shown(given)} is not allowed: it must be [latitude, longitude]")
    return float(given[0]), float(given[1])
