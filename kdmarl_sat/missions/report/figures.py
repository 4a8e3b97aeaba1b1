"""Figures that compare policies, satellites and budgets: each takes just what it draws and returns a Figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from matplotlib.transforms import blended_transform_factory

from kdmarl_sat.missions.report.summary import mean_of_measured
from kdmarl_sat.missions.results import BudgetRow, Curve
from kdmarl_sat.report.formats import count, factor, number, percent, significant, spread
from kdmarl_sat.report.statistics import Interval
from kdmarl_sat.report.style import (
    GRID,
    INK,
    MUTED,
    SURFACE,
    WIDTH_IN,
    family_colour,
    on_colour,
    plain,
    satellite_colour,
    styled,
)

LineStyle = str | tuple[float, tuple[float, ...]]
_LINE_STYLES: tuple[LineStyle, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))


@dataclass(frozen=True, slots=True)
class Score:
    """One row of the comparison: a policy's name and label, its episodes and their mean."""

    name: str
    label: str
    episodes: tuple[float, ...]
    interval: Interval


@dataclass(frozen=True, slots=True)
class Cost:
    """What one decision of a policy costs, per satellite, all above 0; empty where it does not apply."""

    name: str
    label: str
    parameters: tuple[int, ...]
    macs: tuple[int, ...]
    latency_us: tuple[float, ...]


@styled
def learning_curves(curves: Sequence[Curve]) -> Figure:
    """One panel per pair of axis labels, one line per curve, labelled at its end."""
    panels = list(dict.fromkeys((curve.x_label, curve.y_label) for curve in curves))
    figure = Figure(figsize=(WIDTH_IN, 0.5 + 2.9 * len(panels)), layout="constrained")
    for row, (x_label, y_label) in enumerate(panels):
        axes = figure.add_subplot(len(panels), 1, row + 1)
        shown = [curve for curve in curves if (curve.x_label, curve.y_label) == (x_label, y_label) and curve.x]
        seen: list[str] = []
        styles = []
        for curve in shown:
            colour = family_colour(curve.label)
            styles.append((colour, _LINE_STYLES[seen.count(colour) % len(_LINE_STYLES)]))
            seen.append(colour)
            axes.plot(curve.x, curve.y, color=colour, linestyle=styles[-1][1], linewidth=1.6)
            axes.plot(curve.x[-1], curve.y[-1], "o", color=colour, markersize=5, markeredgecolor=SURFACE)
        axes.set_xlim(left=0)
        axes.set_xlabel(plain(x_label, 60))
        axes.set_ylabel(plain(y_label, 40))
        axes.grid(axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        low, high = axes.get_ylim()
        heights = push_apart(np.array([curve.y[-1] for curve in shown]), 0.075 * (high - low))
        for curve, (colour, style), height in zip(shown, styles, heights, strict=True):
            _line_name(axes, height, plain(curve.label), colour, style)
    return figure


def _line_name(axes: Axes, height: float, name: str, colour: str, style: LineStyle) -> None:
    """A sample of the line and its name, right of the axes at the height of the line's end."""
    beside = blended_transform_factory(axes.transAxes, axes.transData)
    axes.plot(
        [1.012, 1.045], [height, height], color=colour, linestyle=style, linewidth=1.6, transform=beside,
        clip_on=False, scalex=False, scaley=False,
    )  # fmt: skip
    axes.text(1.055, height, name, color=colour, transform=beside, va="center", fontsize=8.5)


def push_apart(positions: np.ndarray, gap: float) -> np.ndarray:
    """The nearest positions in the same order that are at least ``gap`` from each other (pool adjacent violators)."""
    order = np.argsort(positions, kind="stable")
    offsets = gap * np.arange(len(positions))
    blocks: list[list[float]] = []
    for value in positions[order] - offsets:
        blocks.append([float(value)])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            last = blocks.pop()
            blocks[-1] += last
    pooled = np.concatenate([np.full(len(block), np.mean(block)) for block in blocks]) if blocks else np.empty(0)
    moved = np.empty(len(positions))
    moved[order] = pooled + offsets
    return moved


@styled
def captured_priority(scores: Sequence[Score], available: float) -> Figure:
    """Mean and interval of every policy, in the given order from the top; single episodes as faint dots.

    ``available`` is the mean priority within reach per episode.
    """
    figure = Figure(figsize=(WIDTH_IN, 0.9 + 0.42 * len(scores)), layout="constrained")
    axes = figure.add_subplot()
    _rows(axes, [score.label for score in scores])
    for row, score in enumerate(scores):
        colour = family_colour(score.name)
        jitter = 0.16 * np.sin(2.4 * np.arange(len(score.episodes)))
        axes.scatter(score.episodes, row + jitter, s=9, color=colour, alpha=0.28, linewidths=0)
        mean = score.interval
        if np.isfinite(mean.low):
            axes.plot([mean.low, mean.high], [row, row], color=colour, linewidth=2.2)
        axes.plot(mean.estimate, row, "o", color=colour, markersize=6, markeredgecolor=SURFACE, markeredgewidth=0.8)
        share = percent(mean.estimate / available) if available > 0 else ""
        _beside(axes, row, f"{number(mean.estimate)} {spread(mean)}".rstrip(), share)
    axes.set_xlim(left=0)
    axes.set_xlabel("captured priority per episode (sum over distinct imaged targets)")
    axes.grid(axis="x")
    _beside(axes, -0.62, "mean [interval]", "of available", header=True)
    return figure


@styled
def satellite_shares(labels: Sequence[str], satellites: Sequence[str], shares: Sequence[Sequence[float]]) -> Figure:
    """Who captured it: ``shares[policy][satellite]`` as fractions of each policy's captured priority."""
    figure = Figure(figsize=(WIDTH_IN, 1.1 + 0.36 * len(labels)), layout="constrained")
    axes = figure.add_subplot()
    _rows(axes, labels)
    for row, parts in enumerate(shares):
        left = 0.0
        for index, part in enumerate(parts):
            if not np.isfinite(part):
                continue
            colour = satellite_colour(index)
            axes.barh(row, part, left=left, height=0.66, color=colour, edgecolor=SURFACE, linewidth=1)
            if part >= 0.06:
                axes.text(
                    left + part / 2, row, percent(part), ha="center", va="center", fontsize=8, color=on_colour(colour)
                )
            left += part
    _satellite_key(figure, satellites)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: percent(x)))
    axes.set_xlabel("share of the captured priority")
    axes.spines["left"].set_visible(False)
    return figure


@styled
def agreement(labels: Sequence[str], satellites: Sequence[str], values: Sequence[Sequence[float]]) -> Figure:
    """How often each student does what the teacher would: ``values[policy][satellite]``, one panel per policy."""
    columns = min(len(labels), 3)
    lines = -(-len(labels) // columns)
    figure = Figure(figsize=(WIDTH_IN, lines * (0.85 + 0.3 * len(satellites))), layout="constrained")
    figure.get_layout_engine().set(wspace=0.07)  # type: ignore[union-attr, call-arg]
    for index, (label, by_satellite) in enumerate(zip(labels, values, strict=True)):
        axes = figure.add_subplot(lines, columns, index + 1)
        names = satellites if index % columns == 0 else [""] * len(satellites)
        _rows(axes, names, pad=0.55)
        for row, value in enumerate(by_satellite):
            axes.barh(row, 1, height=0.62, color=GRID, alpha=0.55, linewidth=0)
            if not np.isfinite(value):
                axes.text(0.02, row, "not measured", va="center", fontsize=8.5, color=MUTED)
                continue
            axes.barh(row, value, height=0.62, color=satellite_colour(row), linewidth=0)
            inside = value > 0.25
            axes.text(
                value - 0.02 if inside else value + 0.02,
                row,
                percent(value),
                ha="right" if inside else "left",
                va="center",
                fontsize=8.5,
                color=on_colour(satellite_colour(row)) if inside else INK,
            )
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.5, 1])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: percent(x)))
        axes.get_xticklabels()[0].set_horizontalalignment("left")
        axes.get_xticklabels()[-1].set_horizontalalignment("right")
        axes.spines["left"].set_visible(False)
        axes.set_title(f"{plain(label, 24)}, mean {percent(mean_of_measured(by_satellite))}")
        if index // columns == lines - 1:
            axes.set_xlabel("same action as the teacher", fontsize=8.5)
    return figure


@styled
def cost(costs: Sequence[Cost], teacher: Cost | None) -> Figure:
    """Parameters, MACs and host latency on log scales: bars to the costliest satellite, a dot for every satellite.

    Beside them that satellite's value (FLOP = 2 MAC) and its ratio to the teacher's.
    """
    panels: list[tuple[str, Callable[[Cost], tuple[float, ...]], Callable[[float], str]]] = [
        ("parameters", lambda c: c.parameters, count),
        ("multiply-accumulates (MAC) per decision", lambda c: c.macs, lambda v: f"{count(v)} ({count(2 * v)} FLOP)"),
        ("host latency per decision, µs", lambda c: c.latency_us, significant),
    ]
    rows = [(title, of, text, [c for c in costs if of(c)]) for title, of, text in panels]
    rows = [row for row in rows if row[3]]
    heights = [0.55 + 0.3 * len(present) for _, _, _, present in rows]
    figure = Figure(figsize=(WIDTH_IN, sum(heights) + 0.17 * len(rows)), layout="constrained")
    figure.get_layout_engine().set(hspace=0.06)  # type: ignore[union-attr, call-arg]
    grid = figure.add_gridspec(len(rows), 1, height_ratios=heights)
    for line, (title, of, text, present) in enumerate(rows):
        axes = figure.add_subplot(grid[line])
        _rows(axes, [c.label for c in present], pad=0.6)
        axes.set_xscale("log")
        values = [value for c in present for value in of(c)]
        floor = 10.0 ** np.floor(np.log10(min(values)) - 0.1)
        reference = max(of(teacher), default=0) if teacher else 0
        for row, policy in enumerate(present):
            worst = max(of(policy))
            colour = family_colour(policy.name)
            axes.barh(row, worst - floor, left=floor, height=0.6, color=colour, linewidth=0)
            axes.plot(
                of(policy),
                [row] * len(of(policy)),
                "o",
                linestyle="",
                markersize=4,
                color=SURFACE,
                markeredgecolor=colour,
            )
            _beside(axes, row, text(worst), _times(worst, reference), end_pt=205)
        axes.set_xlim(floor, 1.3 * max(values))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: count(x)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.grid(axis="x")
        axes.set_title(title)
    return figure


def _times(value: float, reference: float) -> str:
    """How a value compares with the teacher's, in words."""
    if not reference:
        return ""
    if abs(value / reference - 1) < 0.005:
        return "as teacher"
    return f"{factor(reference / value)} less" if value < reference else f"{factor(value / reference)} more"


@styled
def budget_margins(rows: Sequence[BudgetRow], satellites: Sequence[str]) -> Figure:
    """Each quantity as a percentage of its limit, one panel per bundle, one dot per satellite; 100 % is the limit."""
    bundles = list(dict.fromkeys(row.bundle for row in rows))
    quantities = list(dict.fromkeys(row.quantity for row in rows))
    figure = Figure(figsize=(WIDTH_IN, 0.5 + len(bundles) * (0.6 + 0.38 * len(quantities))), layout="constrained")
    figure.get_layout_engine().set(hspace=0.06)  # type: ignore[union-attr, call-arg]
    fractions = {id(row): 100 * row.used for row in rows}
    right = max(110.0, 1.08 * max(fractions.values()))
    for line, bundle in enumerate(bundles):
        axes = figure.add_subplot(len(bundles), 1, line + 1)
        _rows(axes, quantities)
        axes.axvline(100, color=INK, linewidth=1.2)
        axes.annotate(
            "limit",
            (100, 1),
            (0, 3),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            fontsize=8.5,
        )
        for place, quantity in enumerate(quantities):
            members = [row for row in rows if row.bundle == bundle and row.quantity == quantity]
            axes.axhline(place, color=GRID, linewidth=5, zorder=0, solid_capstyle="butt")
            for row in members:
                index = satellites.index(row.satellite) if row.satellite in satellites else 0
                offset = 0.24 * (2 * (index + 0.5) / max(len(satellites), 1) - 1)
                over = row.value > row.limit
                axes.plot(
                    fractions[id(row)],
                    place + offset,
                    marker="X" if over else "o",
                    markersize=8 if over else 5.5,
                    color=satellite_colour(index),
                    markeredgecolor=SURFACE,
                    markeredgewidth=0.6,
                )
            if members:
                worst = max(members, key=lambda row: row.used)
                text = f"{significant(worst.value)} of {significant(worst.limit)} {plain(worst.unit, 8)}".rstrip()
                _beside(axes, place, f"over: {text}" if worst.value > worst.limit else text)
        axes.set_xlim(0, right)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}\u202f%"))
        axes.grid(axis="x")
        axes.set_title(plain(bundle))
        _beside(axes, -0.7, "satellite with the least margin", header=True)
    axes.set_xlabel("share of the limit")
    _satellite_key(figure, satellites)
    return figure


def _rows(axes: Axes, labels: Sequence[str], pad: float = 0.7) -> None:
    """Name rows 0, 1, ... from the top; no ticks."""
    axes.set_yticks(range(len(labels)), [plain(label) for label in labels], color=INK)
    axes.set_ylim(len(labels) - 1 + pad, -pad)
    axes.tick_params(axis="y", length=0)


def _beside(axes: Axes, height: float, first: str, second: str = "", end_pt: float = 150, header: bool = False) -> None:
    """Two columns to the right of a row: one that starts at the axes, one that ends ``end_pt`` points from it."""
    at: dict[str, Any] = {
        "xy": (1, height),
        "xycoords": ("axes fraction", "data"),
        "textcoords": "offset points",
        "va": "center",
        "fontsize": 8 if header else 8.5,
    }
    axes.annotate(first, xytext=(9, 0), color=MUTED if header else INK, **at)
    axes.annotate(second, xytext=(end_pt, 0), color=MUTED, ha="right", **at)


def _satellite_key(figure: Figure, satellites: Sequence[str]) -> None:
    handles = [
        Line2D([], [], color=satellite_colour(index), marker="o", markersize=6, linestyle="", label=plain(name, 18))
        for index, name in enumerate(satellites)
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=4, columnspacing=1.6, handletextpad=0.3)
