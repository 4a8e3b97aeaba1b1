"""Constants of the orbits, and how far beyond an episode's end its targets are strewn."""

from __future__ import annotations

import math

EARTH_RADIUS_M = 6378136.6
EARTH_MU_M3_S2 = 3.986004415e14
EARTH_RATE_RAD_S = 7.2921158553e-5
BEYOND_S = 600.0  # targets and windows go on for so long after the time limit


def period_s(radius_m: float) -> float:
    """Of a circular orbit."""
    return 2 * math.pi * math.sqrt(radius_m**3 / EARTH_MU_M3_S2)
