"""Epoch and ground stations of a mission, as BSK-RL's world model takes them."""

from __future__ import annotations

import math

import numpy as np

from scenarios.files.geography import ecef_m
from scenarios.files.mission import station_places
from scenarios.mission import ScenarioConfig
from scenarios.orbits import EARTH_RADIUS_M


def world_args(config: ScenarioConfig) -> dict[str, object]:
    """BSK-RL's ``world_args``."""
    ground = config.ground_stations
    if ground is None:
        return {"utc_init": config.epoch_utc}
    stations: list[dict[str, object]]
    places = station_places(ground)
    if places is None:
        stations = [{"name": name, "lat": where[0], "long": where[1]} for name, where in ground.at.items()]
    else:
        stations = [_station(name, *where) for name, where in places.items()]
    return {
        "utc_init": config.epoch_utc,
        "groundStationsData": stations,
        "gsMinimumElevation": np.radians(ground.min_elevation_deg),
    }


def _station(name: str, latitude_deg: float, longitude_deg: float, height_m: float) -> dict[str, object]:
    """A place on WGS84 as BSK-RL takes it, above a sphere."""
    x, y, z = ecef_m(latitude_deg, longitude_deg, height_m).tolist()
    latitude_deg = math.degrees(math.atan2(z, math.hypot(x, y)))
    elevation_m = math.hypot(x, y, z) - EARTH_RADIUS_M
    where = {"lat": latitude_deg, "long": longitude_deg, "elev": elevation_m}
    return {"name": name, **where, "groundLocationPlanetRadius": EARTH_RADIUS_M}
