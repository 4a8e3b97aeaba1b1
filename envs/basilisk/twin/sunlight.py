"""How much of the Sun a satellite sees: the Earth's conical shadow, as Basilisk's eclipse module has it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SUN_RADIUS_M = 695000e3
EARTH_RADIUS_M = 6378136.6


def illumination(r_BN_N: NDArray[np.float64], r_SN_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share [T] of the Sun's disc that is seen from positions r_BN_N [T, 3], with the Sun at r_SN_N [T, 3] (m,
    relative to the Earth); Montenbruck & Gill, Satellite Orbits, 3.85-3.94."""
    to_sun = r_SN_N - r_BN_N
    distance, radius = np.linalg.norm(to_sun, axis=-1), np.linalg.norm(r_BN_N, axis=-1)
    sun = np.arcsin(SUN_RADIUS_M / distance)  # apparent radii
    earth = np.arcsin(np.minimum(1.0, EARTH_RADIUS_M / radius))
    apart = np.arccos(np.clip(-np.sum(r_BN_N * to_sun, axis=-1) / (radius * distance), -1.0, 1.0))
    with np.errstate(invalid="ignore", divide="ignore"):
        x = (apart**2 + sun**2 - earth**2) / (2.0 * apart)
        y = np.sqrt(sun**2 - x**2)
        hidden = sun**2 * np.arccos(x / sun) + earth**2 * np.arccos((apart - x) / earth) - apart * y
        partial = 1.0 - hidden / (np.pi * sun**2)
    behind = distance >= np.linalg.norm(r_SN_N, axis=-1)
    light = np.where(apart < earth - sun, 0.0, np.where(apart < sun + earth, partial, 1.0))
    return np.where(behind, light, 1.0)
