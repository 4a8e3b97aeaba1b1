"""Ground tracks on paper: longitudes that wrap, and distances along and across a track."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.basilisk.trace import Trace

EARTH_RADIUS_KM = 6371.0

FloatArray = NDArray[np.float64]


def west_edge_deg(longitude_deg: FloatArray) -> float:
    """The meridian to cut the map at: the middle of the widest gap between the given longitudes (any turn)."""
    around = np.unique(np.mod(longitude_deg, 360))
    gaps = np.diff(np.append(around, around[0] + 360))
    widest = int(np.argmax(gaps))
    return float(np.mod(around[widest] + gaps[widest] / 2, 360))


def wrap_deg(longitude_deg: FloatArray, west_deg: float) -> FloatArray:
    """Longitudes within [west, west + 360)."""
    wrapped: FloatArray = west_deg + np.mod(longitude_deg - west_deg, 360)
    return wrapped


def wrap_track(longitude_deg: FloatArray, latitude_deg: FloatArray, west_deg: float) -> tuple[FloatArray, FloatArray]:
    """A track as a line on the map [west, west + 360): where it crosses the edge it ends there and enters opposite.

    The crossing's latitude is interpolated; a NaN parts the pieces.
    """
    x, y = wrap_deg(longitude_deg, west_deg), np.asarray(latitude_deg, dtype=np.float64)
    for k in np.flatnonzero(np.abs(np.diff(x)) > 180)[::-1]:
        eastward = x[k] > x[k + 1]
        leave, enter = (west_deg + 360, west_deg) if eastward else (west_deg, west_deg + 360)
        whole = x[k + 1] - x[k] + (360 if eastward else -360)
        crossing = y[k] + (leave - x[k]) / whole * (y[k + 1] - y[k])
        x = np.insert(x, k + 1, [leave, np.nan, enter])
        y = np.insert(y, k + 1, [crossing, np.nan, crossing])
    return x, y


def along_and_across_km(trace: Trace) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Distances on the sphere along and across (left positive) the first satellite's ground track.

    Returns targets along [M], targets across [M], all satellites along [T, N] and across [T, N]. Points before its
    start or after its end are measured from the great circle that prolongs it.
    """
    track = _unit(trace.latitude_deg[:, 0], trace.longitude_deg[:, 0])  # [T, 3]
    steps = np.linalg.norm(np.diff(track, axis=0), axis=-1)
    distance = EARTH_RADIUS_KM * np.concatenate([[0.0], np.cumsum(2 * np.arcsin(np.clip(steps / 2, 0, 1)))])
    forward = np.gradient(track, axis=0) if len(track) > 1 else np.cross([0.0, 0.0, 1.0], track)
    left = _normalised(np.cross(track, forward))
    forward = np.cross(left, track)

    def project(points: FloatArray) -> tuple[FloatArray, FloatArray]:
        nearest = np.argmax(points @ track.T, axis=-1)
        ahead = np.arctan2((points * forward[nearest]).sum(-1), (points * track[nearest]).sum(-1))
        aside = np.arcsin(np.clip((points * left[nearest]).sum(-1), -1, 1))
        return distance[nearest] + EARTH_RADIUS_KM * ahead, EARTH_RADIUS_KM * aside

    targets = project(_unit(trace.target_latitude_deg, trace.target_longitude_deg))
    satellites = [
        project(_unit(trace.latitude_deg[:, i], trace.longitude_deg[:, i])) for i in range(trace.latitude_deg.shape[1])
    ]
    along, across = (np.stack(parts, axis=1) for parts in zip(*satellites, strict=True))
    return targets[0], targets[1], along, across


def _unit(latitude_deg: FloatArray, longitude_deg: FloatArray) -> Any:
    latitude, longitude = np.radians(latitude_deg), np.radians(longitude_deg)
    return np.stack(
        [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], axis=-1
    )


def _normalised(vectors: FloatArray) -> Any:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
