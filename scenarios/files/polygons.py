"""Areas cut into cells that one image can take.

A polygon's rings are straight lines in longitude and latitude (RFC 7946, 3.1.1). Its bounding box is cut into rows of
equal height, each row into cells of equal width, all at most ``cell_km`` wide and high. In each cell 8 × 8 points tell
what share of it the polygon covers; the cell's target is in the middle of those points.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenarios.files.geography import position
from scenarios.orbits import EARTH_RADIUS_M
from scenarios.ranges import shown

Refuse = Callable[[str, str], Exception]
KM_PER_DEG = EARTH_RADIUS_M / 1e3 * math.pi / 180.0
_POINTS = 8  # along each side of a cell
_POLE_DEG = 89.0
MOST_BOXES = 200000  # cells of the bounding box


@dataclass(frozen=True, slots=True)
class Cell:
    latitude_deg: float
    longitude_deg: float
    area_km2: float  # of the polygon, within the cell


def cells(geometry: dict[str, Any], cell_km: float, where: str, refuse: Refuse) -> list[Cell]:
    """Of a Polygon or MultiPolygon. A polygon that is there twice counts once.

    Raises:
        the error that ``refuse(where, what)`` makes.
    """
    given = geometry.get("coordinates")
    polygons = [given] if geometry.get("type") == "Polygon" else given
    if not isinstance(polygons, list) or not polygons:
        raise refuse(where, f"coordinates={shown(given)} is not allowed: it must be a list of rings, or of polygons")
    found: list[Cell] = []
    before: set[frozenset[frozenset[tuple[float, float]]]] = set()
    for polygon in polygons:
        if not isinstance(polygon, list) or not polygon:
            raise refuse(where, f"coordinates={shown(polygon)} is not allowed: a polygon must be a list of rings")
        rings = [_ring(ring, where, refuse) for ring in polygon]
        edges = _edges(rings)
        if edges not in before:
            found += _cut(rings, cell_km, where, refuse)
        before.add(edges)
    return found


def _edges(rings: list[NDArray[np.float64]]) -> frozenset[frozenset[tuple[float, float]]]:
    """The same for a polygon wherever its rings begin and whichever way they go."""
    corners = [[(x, y) for x, y in ring.tolist()] for ring in rings]
    return frozenset(frozenset(pair) for ring in corners for pair in pairwise(ring))


def _ring(given: Any, where: str, refuse: Refuse) -> NDArray[np.float64]:
    """[K + 1, 2] longitude and latitude in deg, the last one as the first."""
    if not isinstance(given, list) or len(given) < 4 or given[0] != given[-1]:
        allowed = "it must be a list of at least four positions, the last one as the first"
        raise refuse(where, f"ring {shown(given)} is not allowed: {allowed}")
    places = [position(each, where, refuse) for each in given]
    ring = np.array([[longitude, latitude] for latitude, longitude, _ in places])
    steps = np.abs(np.diff(ring[:, 0]))
    if (steps > 180.0).any():
        here = given[int(np.argmax(steps > 180.0))]
        allowed = "a polygon across the date line must be cut there into a MultiPolygon (RFC 7946, 3.1.9)"
        what = f"an edge over more than 180 degrees of longitude (after {shown(here)}) is not allowed"
        raise refuse(where, f"{what}: {allowed}, and any other such edge must have a position in between")
    if (np.abs(ring[:, 1]) > _POLE_DEG).any():
        allowed = f"its latitudes must be from -{_POLE_DEG:g} to {_POLE_DEG:g}"
        raise refuse(where, f"a polygon that reaches a pole is not allowed: {allowed}")
    return ring


def _cut(rings: list[NDArray[np.float64]], cell_km: float, where: str, refuse: Refuse) -> list[Cell]:
    x, y = rings[0].T
    if abs(float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]))) < 1e-9:  # twice the area, in square degrees
        raise refuse(where, "a polygon without an area is not allowed: its ring must enclose something")
    west, south = rings[0].min(axis=0)
    east, north = rings[0].max(axis=0)
    rows = max(1, math.ceil((north - south) * KM_PER_DEG / cell_km - 1e-9))
    height = (north - south) / rows
    latitudes = south + height * (np.arange(rows) + 0.5)
    columns = np.maximum(1, np.ceil((east - west) * KM_PER_DEG * np.cos(np.radians(latitudes)) / cell_km - 1e-9))
    if columns.sum() > MOST_BOXES:
        allowed = f"its bounding box must have at most {MOST_BOXES}: scenario.targets.cell_km={cell_km:g} can be larger"
        raise refuse(where, f"a polygon of {int(columns.sum())} cells is not allowed: {allowed}")
    edges = np.concatenate([np.hstack([ring[:-1], ring[1:]]) for ring in rings])
    offsets = (np.arange(_POINTS) + 0.5) / _POINTS
    found: list[Cell] = []
    for latitude, count in zip(latitudes.tolist(), columns.astype(int).tolist(), strict=True):
        width = (east - west) / count
        lon = west + width * (np.arange(count)[:, None, None] + offsets[None, None, :])
        lat = latitude + height * (offsets[None, :, None] - 0.5)
        lon, lat = (np.broadcast_to(each, (count, _POINTS, _POINTS)).reshape(count, -1) for each in (lon, lat))
        inside = _inside(lon, lat, edges)
        area_km2 = width * height * KM_PER_DEG**2 * math.cos(math.radians(latitude))
        for column in np.nonzero(inside.any(axis=1))[0].tolist():
            within = inside[column]
            middle = float(lat[column][within].mean()), float(lon[column][within].mean())
            found.append(Cell(*middle, float(within.mean()) * area_km2))
    if not found:
        raise refuse(where, "a polygon that is all hole, or a sliver, is not allowed: it must enclose something")
    return found


def _inside(lon: NDArray[np.float64], lat: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether points are inside by the even-odd rule, so that further rings are holes."""
    odd = np.zeros(lon.shape, dtype=np.bool_)
    low, high = lat.min(), lat.max()
    near = (np.minimum(edges[:, 1], edges[:, 3]) <= high) & (np.maximum(edges[:, 1], edges[:, 3]) >= low)
    for x0, y0, x1, y1 in edges[near].tolist():
        if y0 == y1:
            continue
        crosses = (y0 > lat) != (y1 > lat)
        odd ^= crosses & (lon < x0 + (lat - y0) * ((x1 - x0) / (y1 - y0)))
    return odd
