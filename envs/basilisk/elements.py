"""Satellites from a file of mean elements: their states in Basilisk's inertial frame, and their orbits.

SGP4 gives states in TEME of date (Vallado et al., "Revisiting Spacetrack Report #3", AIAA 2006-6753). Basilisk's N is
SPICE's J2000, whose axes are those of the ICRF. Skyfield turns one into the other (precession and nutation IAU 2000A,
its built-in timescale); tests/test_elements.py holds it against SOFA's routines and Vallado's published example.

Basilisk turns its Earth by SPICE's IAU_EARTH, which in 2026 is 308 arcseconds from the Earth's true angle: 9.5 km at
the equator. What matters here is what a satellite is above, so states are turned by that difference besides
(``earth_turn``): the Sun and the stars are off by 0.09 deg, and tracks are where they are over the true Earth.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from scenarios.constellation import ConstellationConfig
from scenarios.files.aeos import OsculatingSet
from scenarios.files.elements import ElementSet, teme_states
from scenarios.files.mission import element_sets, orbit_sets
from scenarios.orbits import EARTH_MU_M3_S2, EARTH_RATE_RAD_S, period_s

_KEPLER_STEPS = 50


def teme_to_icrf(epoch: datetime, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matrices [T, 3, 3] that turn vectors of TEME into the ICRF's axes, at times [T] in s after an epoch (UTC)."""
    from skyfield.api import load
    from skyfield.sgp4lib import TEME

    scale = load.timescale(builtin=True)
    begin = scale.from_datetime(epoch.replace(tzinfo=UTC))
    matrices = [TEME.rotation_at(begin + float(each) / 86400.0).T for each in np.atleast_1d(time_s)]
    return np.array(matrices)


def inertial_states(
    sets: tuple[ElementSet, ...], epoch: datetime, time_s: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """SGP4's positions [N, T, 3] in m and velocities [N, T, 3] in m/s in the ICRF."""
    r_m, v_m_s = teme_states(sets, epoch, time_s)
    # The equinox of date moves by 0.14 arcseconds a day: one matrix for the middle serves six hours to a metre.
    whole = np.ptp(time_s) if len(time_s) else 0.0
    if whole < 6 * 3600.0:
        turn = teme_to_icrf(epoch, np.array([np.mean(time_s)]))[0]
        return r_m @ turn.T, v_m_s @ turn.T
    turns = teme_to_icrf(epoch, time_s)
    return np.einsum("tij,ntj->nti", turns, r_m), np.einsum("tij,ntj->nti", turns, v_m_s)


def earth_turn(epoch: datetime) -> NDArray[np.float64]:
    """[3, 3] from the ICRF to Basilisk's N such that what is above a place on Earth is above it in Basilisk."""
    from skyfield.api import load
    from skyfield.framelib import itrs

    moment = load.timescale(builtin=True).from_datetime(epoch.replace(tzinfo=UTC))
    return np.asarray(iau_earth((float(moment.tdb) - 2451545.0) * 86400.0).T @ itrs.rotation_at(moment))


def iau_earth(et_s: float) -> NDArray[np.float64]:
    """[3, 3] from J2000 to IAU_EARTH, by SPICE's pck00010.tpc, at ephemeris time (s of TDB past J2000)."""
    days, centuries = et_s / 86400.0, et_s / 86400.0 / 36525.0
    pole_ra, pole_dec = np.radians(-0.641 * centuries), np.radians(90.0 - 0.557 * centuries)
    prime = np.radians((190.147 + 360.9856235 * days) % 360.0)
    tilt = np.pi / 2.0 - pole_dec
    about_x = np.array([[1, 0, 0], [0, np.cos(tilt), np.sin(tilt)], [0, -np.sin(tilt), np.cos(tilt)]])
    return np.asarray(_about_z(prime) @ about_x @ _about_z(np.pi / 2.0 + pole_ra))


def _about_z(angle_rad: float) -> NDArray[np.float64]:
    cosine, sine = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def flown_states(
    sets: tuple[ElementSet, ...], epoch: datetime, time_s: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """As ``inertial_states``, turned by the epoch's ``earth_turn``: what Basilisk begins with, and is compared with."""
    turn = earth_turn(epoch)
    r_m, v_m_s = inertial_states(sets, epoch, time_s)
    return r_m @ turn.T, v_m_s @ turn.T


@lru_cache(maxsize=8)
def _first_states(sets: tuple[ElementSet, ...], epoch: datetime) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r_m, v_m_s = flown_states(sets, epoch, np.zeros(1))
    return r_m[:, 0], v_m_s[:, 0]


@dataclass(frozen=True, slots=True)
class KeplerOrbit:
    """A Keplerian orbit of any eccentricity below 1 in Basilisk's N; it only steers where targets are strewn."""

    r_BN_N: NDArray[np.float64]  # [3] m at time 0
    v_BN_N: NDArray[np.float64]  # [3] m/s

    @property
    def semi_major_axis_m(self) -> float:
        """Vis-viva."""
        return float(1.0 / (2.0 / np.linalg.norm(self.r_BN_N) - self.v_BN_N @ self.v_BN_N / EARTH_MU_M3_S2))

    @property
    def period_s(self) -> float:
        return period_s(self.semi_major_axis_m)

    @property
    def radius_m(self) -> float:
        """The largest, at apogee: what can be seen from there bounds what can be seen at all."""
        return self.semi_major_axis_m * (1.0 + float(np.linalg.norm(self._eccentricity())))

    def _eccentricity(self) -> NDArray[np.float64]:
        momentum = np.cross(self.r_BN_N, self.v_BN_N)
        vector = np.cross(self.v_BN_N, momentum) / EARTH_MU_M3_S2 - self.r_BN_N / np.linalg.norm(self.r_BN_N)
        return np.asarray(vector, np.float64)

    def position(self, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """[T, 3] m in N, by Kepler's equation."""
        a, vector = self.semi_major_axis_m, self._eccentricity()
        e = float(np.linalg.norm(vector))
        towards = vector / e if e > 1e-9 else self.r_BN_N / np.linalg.norm(self.r_BN_N)
        normal = np.cross(self.r_BN_N, self.v_BN_N)
        across = np.cross(normal / np.linalg.norm(normal), towards)
        x, y = self.r_BN_N @ towards, self.r_BN_N @ across
        first = np.arctan2(
            y / np.sqrt(1.0 - e * e), x + a * e
        )  # eccentric anomaly at time 0: tan E = (y / b) / (x / a + e)
        mean = first - e * np.sin(first) + 2.0 * np.pi * np.asarray(time_s, np.float64) / self.period_s
        anomaly = mean.copy()
        for _ in range(_KEPLER_STEPS):
            step = (anomaly - e * np.sin(anomaly) - mean) / (1.0 - e * np.cos(anomaly))
            anomaly -= step
            if np.abs(step).max(initial=0.0) < 1e-12:
                break
        return np.asarray(
            a * (np.cos(anomaly) - e)[:, None] * towards + a * np.sqrt(1.0 - e * e) * np.sin(anomaly)[:, None] * across
        )

    def track(self, time_s: NDArray[np.float64], earth_angle_rad: float) -> NDArray[np.float64]:
        """Unit vectors [T, 3] of the sub-satellite points, planet-fixed, as ``CircularOrbit.track`` gives them."""
        r_N = self.position(time_s)
        angle = earth_angle_rad + EARTH_RATE_RAD_S * np.asarray(time_s, np.float64)
        cosine, sine = np.cos(angle), np.sin(angle)
        x, y = cosine * r_N[:, 0] + sine * r_N[:, 1], cosine * r_N[:, 1] - sine * r_N[:, 0]
        r_P = np.stack([x, y, r_N[:, 2]], axis=-1)
        return np.asarray(r_P / np.linalg.norm(r_P, axis=-1, keepdims=True))


def orbits(config: ConstellationConfig, epoch: datetime) -> list[KeplerOrbit]:
    """Of a constellation from a file, at an epoch (UTC), in the file's order."""
    osculating = [each.state() for each in orbit_sets(config) if isinstance(each, OsculatingSet)]
    states = osculating or list(zip(*_first_states(element_sets(config), epoch), strict=True))
    return [KeplerOrbit(r_m, v_m_s) for r_m, v_m_s in states]
