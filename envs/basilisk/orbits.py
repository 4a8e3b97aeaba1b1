"""Circular orbits in planes, and how the Earth stands below them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from Basilisk.utilities import orbitalMotion
from numpy.typing import NDArray

from envs.basilisk.support_data import parse_epoch
from scenarios.constellation import ConstellationConfig
from scenarios.orbits import EARTH_RADIUS_M, EARTH_RATE_RAD_S, period_s


@dataclass(frozen=True, slots=True)
class CircularOrbit:
    """A circular Keplerian orbit in the Earth-centred inertial frame; it only steers where targets are strewn."""

    radius_m: float
    inclination_rad: float
    raan_rad: float
    latitude_argument_rad: float  # at time 0

    @property
    def period_s(self) -> float:
        return period_s(self.radius_m)

    def elements(self) -> orbitalMotion.ClassicElements:
        """Basilisk's classical elements (metres, radians)."""
        elements = orbitalMotion.ClassicElements()
        elements.a = self.radius_m
        elements.e = 0.0
        elements.i = self.inclination_rad
        elements.Omega = self.raan_rad
        elements.omega = 0.0
        elements.f = self.latitude_argument_rad
        return elements

    def track(self, time_s: NDArray[np.float64], earth_angle_rad: float) -> NDArray[np.float64]:
        """Unit vectors [T, 3] of the sub-satellite points, planet-fixed.

        Args:
            time_s: [T] since the start.
            earth_angle_rad: rotation of the Earth at time 0.
        """
        u = self.latitude_argument_rad + 2 * np.pi * time_s / self.period_s
        node = self.raan_rad - earth_angle_rad - EARTH_RATE_RAD_S * time_s
        in_plane = np.sin(u) * np.cos(self.inclination_rad)
        return np.stack(
            [
                np.cos(u) * np.cos(node) - in_plane * np.sin(node),
                np.cos(u) * np.sin(node) + in_plane * np.cos(node),
                np.sin(u) * np.sin(self.inclination_rad),
            ],
            axis=-1,
        )


def drawn_orbits(constellation: ConstellationConfig) -> list[CircularOrbit]:
    """Each satellite's orbit in planes, from numpy's global generator where starts are random."""
    start_deg, node_deg = np.random.uniform(0.0, 360.0, 2) if constellation.random_start else (0.0, 0.0)
    radius_m = EARTH_RADIUS_M + constellation.altitude_km * 1e3
    found = []
    for index in range(constellation.size):
        raan_deg, u_deg = constellation.place_deg(index, constellation.raan_deg + node_deg, start_deg)
        angles = (constellation.inclination_deg, raan_deg, u_deg)
        found.append(CircularOrbit(radius_m, *(float(np.radians(angle)) for angle in angles)))
    return found


def earth_angle_rad(epoch_utc: str) -> float:
    """Greenwich mean sidereal angle, to about 0.01 deg: it only steers where targets are strewn."""
    days = (parse_epoch(epoch_utc) - datetime(2000, 1, 1, 12)).total_seconds() / 86400.0
    return float(np.radians((280.46061837 + 360.98564736629 * days) % 360.0))
