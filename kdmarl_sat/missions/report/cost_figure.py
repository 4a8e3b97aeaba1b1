"""Captured priority against the CPU-seconds of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kdmarl_sat.missions.report.figures import Score, push_apart
from kdmarl_sat.report.style import MUTED, SURFACE, WIDTH_IN, family_colour, plain, styled

Priced = Sequence[tuple[Score, float | None]]  # CPU-seconds; None: the policy learns nothing


@styled
def captured_against_cost(missions: Mapping[str, Priced]) -> Figure:
    """One panel per mission: a point with its interval for each trained policy, a dotted line for each rule."""
    figure = Figure(figsize=(WIDTH_IN, 0.4 + 2.6 * len(missions)), layout="constrained")
    for index, (mission, priced) in enumerate(missions.items()):
        axes = figure.add_subplot(len(missions), 1, index + 1)
        for score, cpu_s in priced:
            colour, mean = family_colour(score.name), score.interval
            if cpu_s is None:
                axes.axhline(mean.estimate, color=colour, linewidth=1, linestyle=":")
                continue
            if np.isfinite(mean.low):
                axes.plot([cpu_s, cpu_s], [mean.low, mean.high], color=colour, linewidth=1.8)
            axes.plot(cpu_s, mean.estimate, "o", color=colour, markersize=6, markeredgecolor=SURFACE)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.set_title(plain(mission), loc="left", fontsize=9, color=MUTED)
        axes.set_ylabel("captured priority")
        axes.grid(axis="y")
        _names(axes, priced)
    axes.set_xlabel("CPU-seconds of training, with those of all that a policy builds on")
    return figure


def _names(axes: Axes, priced: Priced) -> None:
    """Beside the axes, at the heights of the policies, as far apart as text needs."""
    heights = np.array([score.interval.estimate for score, _ in priced])
    low, high = axes.get_ylim()
    for (score, _), height in zip(priced, push_apart(heights, 0.075 * (high - low)), strict=True):
        axes.annotate(
            plain(score.label), (1.01, height), xycoords=("axes fraction", "data"), va="center", fontsize=8,
            color=family_colour(score.name), annotation_clip=False,
        )  # fmt: skip
