"""A flight on the globe as a still picture, for pages that run no script."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.path import Path
from numpy.typing import NDArray

from envs.basilisk.trace import Trace
from kdmarl_sat.missions.report.geometry import EARTH_RADIUS_KM
from kdmarl_sat.report.style import INK, MUTED, satellite_colour, styled

_SEA, _LAND, _COAST = "#d9e6f2", "#f3f1e7", "#aab4ad"
_PIXELS = 1000  # of the land, each way


@styled
def globe(trace: Trace, satellites: Sequence[str], title: str) -> Figure:
    """Orbits as they turn with the Earth, targets by priority, each in the colour of the satellite that imaged it.

    Seen from far above the middle of the first satellite's track (orthographic projection).

    Args:
        trace: of N satellites.
        satellites: their N names.
    """
    middle = len(trace.time_s) // 2
    view = _view(trace.latitude_deg[middle, 0], trace.longitude_deg[middle, 0])
    figure = Figure(figsize=(8.0, 5.2), layout="constrained")
    axes = figure.add_subplot()
    axes.set_aspect("equal")
    axes.axis("off")
    axes.set_title(title, loc="left")
    axes.add_patch(Circle((0, 0), 1.0, facecolor=_SEA, edgecolor=_COAST, linewidth=0.8, zorder=0))
    axes.imshow(_land(view), extent=(-1, 1, -1, 1), interpolation="bilinear", zorder=1)
    _targets(axes, trace, view)
    for n, name in enumerate(satellites):
        place = _cartesian(trace.latitude_deg[:, n], trace.longitude_deg[:, n]) * (
            trace.radius_km[:, n, None] / EARTH_RADIUS_KM
        )
        seen = place @ view.T
        front = (seen[:, 2] > 0) | (np.hypot(seen[:, 0], seen[:, 1]) > 1)  # the Earth hides the rest
        pieces = np.stack([seen[:-1, :2], seen[1:, :2]], axis=1)[front[:-1] & front[1:]]
        colour = satellite_colour(n)
        axes.add_collection(LineCollection(pieces.tolist(), colors=colour, linewidths=1.8, label=name, zorder=4))
        if front[middle]:
            axes.plot(*seen[middle, :2], "o", markersize=7, color=colour, markeredgecolor="white", zorder=5)
    axes.plot([], [], ".", color=MUTED, label="not imaged")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, labelcolor=INK)
    axes.set_xlim(-1.12, 1.12)
    axes.set_ylim(-1.12, 1.12)
    return figure


def _targets(axes: Axes, trace: Trace, view: NDArray[np.float64]) -> None:
    seen = _cartesian(trace.target_latitude_deg, trace.target_longitude_deg) @ view.T
    size = 4.0 + 22.0 * trace.target_priority
    for by in range(-1, trace.latitude_deg.shape[1]):
        chosen = (trace.target_imaged_by == by) & (seen[:, 2] > 0)
        colour = MUTED if by < 0 else satellite_colour(by)
        x, y, alpha = seen[chosen, 0], seen[chosen, 1], 0.35 if by < 0 else 1.0
        axes.scatter(x, y, s=size[chosen], color=colour, alpha=alpha, linewidths=0, zorder=3)


def _view(latitude_deg: float, longitude_deg: float) -> NDArray[np.float64]:
    """Rotation [3, 3] from Earth-fixed coordinates to right, up and towards the viewer above a place."""
    towards = _cartesian(np.array(latitude_deg), np.array(longitude_deg))
    right = np.cross([0.0, 0.0, 1.0], towards)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(towards, right), towards])


def _cartesian(latitude_deg: NDArray[np.float64], longitude_deg: NDArray[np.float64]) -> NDArray[np.float64]:
    latitude, longitude = np.radians(latitude_deg), np.radians(longitude_deg)
    x, y = np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude)
    return np.asarray(np.stack([x, y, np.sin(latitude)], axis=-1))


def _land(view: NDArray[np.float64]) -> NDArray[np.float64]:
    """RGBA [P, P, 4] of the visible half: opaque where there is land."""
    edge = np.linspace(-1, 1, _PIXELS)
    x, y = np.meshgrid(edge, -edge)
    inside = x**2 + y**2 < 0.998
    seen = np.stack([x[inside], y[inside], np.sqrt(1 - x[inside] ** 2 - y[inside] ** 2)], axis=-1) @ view
    latitude = np.degrees(np.arcsin(seen[:, 2]))
    longitude = np.degrees(np.arctan2(seen[:, 1], seen[:, 0]))
    land = np.zeros(len(seen), bool)
    for ring in json.loads(files(__package__).joinpath("land.json").read_text())["rings"]:
        outline = Path(_closed(np.reshape(ring, (-1, 2))))
        for turn in (-360.0, 0.0, 360.0):
            land ^= outline.contains_points(np.column_stack([longitude + turn, latitude]))
    picture = np.zeros((_PIXELS, _PIXELS, 4))
    picture[..., :3] = to_rgb(_LAND)
    picture[inside, 3] = land
    return picture


def _closed(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """A ring [P, 2] of longitudes and latitudes on a flat map; one around the south pole is closed along its edge."""
    closed = np.vstack([ring, ring[:1]])
    closed[:, 0] = np.unwrap(closed[:, 0], period=360)
    if abs(closed[-1, 0] - closed[0, 0]) > 180:
        closed = np.vstack([closed, [closed[-1, 0], -90.0], [closed[0, 0], -90.0]])
    return closed
