"""Figures of one remembered episode: where it flew, what it imaged, how it spent its energy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MultipleLocator
from numpy.typing import NDArray

from envs.basilisk.trace import ACTIVITIES, Trace
from kdmarl_sat.missions.report.geometry import along_and_across_km, west_edge_deg, wrap_deg, wrap_track
from kdmarl_sat.report.formats import count, number
from kdmarl_sat.report.style import (
    BAND,
    GRID,
    INK,
    MUTED,
    SURFACE,
    WIDTH_IN,
    plain,
    satellite_colour,
    styled,
)

DEAD = -1
CHARGING, IMAGING, DOWNLINKING, DESATURATING = range(len(ACTIVITIES))
_HATCHES = {DOWNLINKING: "//////", DESATURATING: "......"}
_EDGE_DEG = 4.0  # free margin around the map
_STRIP_KM = 5200.0  # of track per row of the unrolled track
_MOST_STRIPS = 10
_MOST_TIMELINES = 16
_MOST_COLUMNS = 7  # of a legend: more are wider than the figure


@styled
def ground_track(trace: Trace, satellites: Sequence[str]) -> Figure:
    """Map of the episode: a track per satellite (eclipse underlaid), imaged and missed targets, area by priority."""
    west = west_edge_deg(trace.longitude_deg)
    x_targets = wrap_deg(trace.target_longitude_deg, west)
    reached = trace.target_accessible | (trace.target_imaged_by >= 0)
    x_all = np.concatenate([wrap_deg(trace.longitude_deg, west).ravel(), x_targets[reached]])
    y_all = np.concatenate([trace.latitude_deg.ravel(), trace.target_latitude_deg[reached]])
    left, right = x_all.min() - _EDGE_DEG, x_all.max() + _EDGE_DEG
    bottom, top = max(-90.0, y_all.min() - _EDGE_DEG), min(90.0, y_all.max() + _EDGE_DEG)
    stretch = float(np.clip(1 / np.cos(np.radians((bottom + top) / 2)), 1, 2))
    height = float(np.clip((WIDTH_IN - 0.7) * stretch * (top - bottom) / (right - left), 2.4, 6.5))

    figure = Figure(figsize=(WIDTH_IN, height + 0.95), layout="constrained")
    axes = figure.add_subplot()
    for index in range(trace.longitude_deg.shape[1]):
        longitude, latitude = trace.longitude_deg[:, index], trace.latitude_deg[:, index]
        dark = np.where(trace.sunlit[:, index], np.nan, latitude)
        axes.plot(*wrap_track(longitude, dark, west), color=BAND, linewidth=17, solid_capstyle="butt", zorder=0.5)
    for index in range(trace.longitude_deg.shape[1]):
        longitude, latitude = trace.longitude_deg[:, index], trace.latitude_deg[:, index]
        axes.plot(*wrap_track(longitude, latitude, west), color=satellite_colour(index), linewidth=0.9, zorder=1)
        axes.plot(
            wrap_deg(longitude[-1:], west), latitude[-1:], "D", color=satellite_colour(index), markersize=5,
            markeredgecolor=SURFACE, markeredgewidth=0.8, zorder=4,
        )  # fmt: skip
    _targets(axes, trace, x_targets, trace.target_latitude_deg, smallest=3, largest=42)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_aspect(stretch)
    step = next(s for s in (5, 10, 15, 30, 60) if (right - left) / s <= 12 or s == 60)
    axes.xaxis.set_major_locator(MultipleLocator(step))
    axes.yaxis.set_major_locator(MultipleLocator(min(step, 15)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: meridian(x)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: parallel(y)))
    axes.grid()
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    _key(figure, trace, satellites, position_at_end=True)
    return figure


@styled
def unrolled_track(trace: Trace, satellites: Sequence[str]) -> Figure:
    """The targets along the first satellite's track, cut into rows, at the same scale along and across."""
    along, across, path, offset = along_and_across_km(trace)
    reached = trace.target_accessible | (trace.target_imaged_by >= 0)
    start, stop = path.min(), path.max()
    if reached.any():
        start, stop = min(start, along[reached].min()), max(stop, along[reached].max())
    start, stop = start - 60, stop + 60
    rows = int(np.clip(np.ceil((stop - start) / _STRIP_KM), 1, _MOST_STRIPS))
    length = (stop - start) / rows
    half = float(np.clip(1.12 * np.abs(across[reached]).max(initial=0), 150, 1500))
    panel = (WIDTH_IN - 0.75) * 2 * half / length
    figure = Figure(figsize=(WIDTH_IN, rows * (panel + 0.28) + 0.95), layout="constrained")
    for row in range(rows):
        axes = figure.add_subplot(rows, 1, row + 1)
        low = start + row * length
        for index in range(path.shape[1]):
            dark = ~trace.sunlit[:, index]
            for begin, end in runs(dark):
                axes.fill_between(
                    path[[begin, min(end, len(path) - 1)], index], -half, half, color=BAND, linewidth=0, zorder=0.5
                )
        for index in range(path.shape[1]):
            axes.plot(path[:, index], offset[:, index], color=satellite_colour(index), linewidth=0.7, zorder=1)
        here = (along > low - 0.02 * length) & (along < low + 1.02 * length)
        _targets(axes, trace, np.where(here, along, np.nan), across, smallest=6, largest=95)
        axes.set_xlim(low, low + length)
        axes.set_ylim(-half, half)
        axes.yaxis.set_major_locator(MultipleLocator(100 if half < 280 else 250 if half < 700 else 500))
        axes.xaxis.set_major_locator(MultipleLocator(500 if length < 8000 else 1000))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: count(x)))
        axes.tick_params(labelsize=8)
        axes.grid(axis="x")
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
    figure.supxlabel("distance along the track of the first satellite, km", fontsize=9, color=MUTED)
    figure.supylabel("across the track, km", fontsize=9, color=MUTED)
    _key(figure, trace, satellites, position_at_end=False)
    return figure


@styled
def timeline(trace: Trace, satellites: Sequence[str]) -> Figure:
    """Per satellite: battery (line), eclipse (shaded), first images (dots, area by priority), actions (strip)."""
    shown = min(len(satellites), _MOST_TIMELINES)
    minutes = trace.time_s / 60
    figure = Figure(figsize=(WIDTH_IN, 0.85 + 1.12 * shown), layout="constrained")
    first: Axes | None = None
    for index in range(shown):
        axes = figure.add_subplot(shown, 1, index + 1, sharex=first)
        first = first or axes
        colour = satellite_colour(index)
        for begin, end in runs(~trace.sunlit[:, index]):
            axes.axvspan(minutes[begin], minutes[min(end, len(minutes) - 1)], color=BAND, linewidth=0, zorder=0)
        _action_strip(axes, minutes, trace.action[:, index], colour)
        alive = trace.action[:, index] != DEAD
        lived = np.where(alive | np.roll(alive, 1), 100 * trace.battery[:, index], np.nan)
        axes.plot(minutes, lived, color=colour, linewidth=1.6)
        own = trace.target_imaged_by == index
        when = trace.target_imaged_s[own] / 60
        axes.scatter(
            when,
            np.interp(when, minutes, 100 * trace.battery[:, index]),
            s=5 + 42 * trace.target_priority[own],
            color=colour,
            edgecolors=SURFACE,
            linewidths=0.6,
            zorder=3,
        )
        if not alive.all():
            lost = minutes[np.argmin(alive)]
            axes.annotate(f" lost at {lost:.0f} min", (lost, 4), fontsize=8.5, color=INK, fontweight="bold")
        axes.set_ylim(-34, 104)
        axes.set_yticks([0, 50, 100], ["0\u202f%", "50\u202f%", "100\u202f%"])
        axes.set_xlim(minutes[0], max(minutes[-1], minutes[0] + 1e-6))
        axes.tick_params(labelbottom=index == shown - 1, labelsize=8)
        axes.grid(axis="y")
        axes.spines["left"].set_visible(False)
        earned = number(trace.target_priority[own].sum())
        axes.set_title(
            f"{plain(satellites[index])}   {int(own.sum())} targets, priority {earned}",
            color=colour,
            fontsize=9,
            pad=2,
        )
    axes.set_xlabel("minutes since the start of the episode")
    figure.supylabel("battery", fontsize=9, color=MUTED)
    handles = [
        Line2D([], [], color=MUTED, linewidth=1.6, label="battery"),
        Line2D([], [], color=MUTED, marker="o", linestyle="", markersize=5.5, label="first image, area: priority"),
        Patch(facecolor=MUTED, label="imaging"),
        Patch(facecolor=SURFACE, edgecolor=MUTED, linewidth=0.7, label="charging"),
    ]
    for activity, hatch in _HATCHES.items():
        if (trace.action[:, :shown] == activity).any():
            label = ACTIVITIES[activity]
            handles.append(Patch(facecolor=SURFACE, edgecolor=MUTED, linewidth=0.7, hatch=hatch, label=label))
    if (trace.action == DEAD).any():
        handles.append(Patch(facecolor=INK, label="dead"))
    handles.append(Patch(facecolor=BAND, label="eclipse"))
    columns = len(handles) if len(handles) <= _MOST_COLUMNS else (len(handles) + 1) // 2
    figure.legend(handles=handles, loc="outside upper left", ncols=columns, columnspacing=1.4, handlelength=1.5)
    return figure


def _action_strip(axes: Axes, minutes: NDArray[np.float64], action: NDArray[np.int64], colour: str) -> None:
    """Imaging in the satellite's colour, charging hollow, others hatched, dead in ink; one block per run of a kind."""
    base, height = -30.0, 18.0
    for value in np.unique(action).tolist():
        bars = [
            (minutes[begin], minutes[min(end, len(minutes) - 1)] - minutes[begin])
            for begin, end in runs(action == value)
        ]
        face = {IMAGING: colour, DEAD: INK}.get(value, SURFACE)
        axes.broken_barh(
            bars, (base, height), facecolor=face, edgecolor=colour, linewidth=0.6, hatch=_HATCHES.get(value), zorder=2
        )


def runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """[begin, end) of each unbroken stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(begin), int(end)) for begin, end in edges.reshape(-1, 2)]


def _targets(
    axes: Axes, trace: Trace, x: NDArray[np.float64], y: NDArray[np.float64], smallest: float, largest: float
) -> None:
    """Out of reach: faint points; missed: hollow; imaged: in the colour of the satellite that was first."""
    area = smallest + largest * trace.target_priority
    drawn = np.isfinite(x)
    imaged = drawn & (trace.target_imaged_by >= 0)
    missed = drawn & trace.target_accessible & (trace.target_imaged_by < 0)
    beyond = drawn & ~trace.target_accessible & (trace.target_imaged_by < 0)
    axes.scatter(x[beyond], y[beyond], s=2, color=GRID, linewidths=0, zorder=1.5)
    axes.scatter(x[missed], y[missed], s=area[missed], facecolors="none", edgecolors=MUTED, linewidths=0.7, zorder=2)
    for index in np.unique(trace.target_imaged_by[imaged]):
        own = drawn & (trace.target_imaged_by == index)
        axes.scatter(
            x[own],
            y[own],
            s=area[own],
            color=satellite_colour(int(index)),
            edgecolors=SURFACE,
            linewidths=0.5,
            zorder=3,
        )


def _key(figure: Figure, trace: Trace, satellites: Sequence[str], position_at_end: bool) -> None:
    """What the marks mean, with the number of targets behind each."""
    imaged = trace.target_imaged_by >= 0
    handles: list[Artist] = [
        Line2D(
            [], [], color=satellite_colour(index), marker="o", markersize=6, linewidth=1,
            label=f"{plain(name, 16)}: {int((trace.target_imaged_by == index).sum())} imaged",
        )
        for index, name in enumerate(satellites)
    ]  # fmt: skip
    missed = int((trace.target_accessible & ~imaged).sum())
    handles.append(
        Line2D([], [], color="none", marker="o", markersize=6, markeredgecolor=MUTED, label=f"missed: {missed}")
    )
    if position_at_end:
        handles.append(Line2D([], [], color=MUTED, marker="D", markersize=5, linestyle="", label="at the end"))
    if not trace.sunlit.all():
        handles.append(Patch(facecolor=BAND, label="eclipse"))
    figure.legend(handles=handles, loc="outside upper left", ncols=4, columnspacing=1.6, handlelength=1.6)


def meridian(longitude_deg: float) -> str:
    """60° W, 0°, 180°, from any turn."""
    east = (longitude_deg + 180) % 360 - 180
    if east in (0, -180):
        return f"{abs(east):.0f}°"
    return f"{abs(east):.0f}° {'E' if east > 0 else 'W'}"


def parallel(latitude_deg: float) -> str:
    return f"{abs(latitude_deg):.0f}°" + (" N" if latitude_deg > 0 else " S" if latitude_deg < 0 else "")
