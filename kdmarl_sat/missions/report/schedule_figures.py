"""A schedule as a Gantt chart: a row per satellite, a bar per task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from envs.basilisk.tasks import CAPTURED, CLOUDED, DUPLICATE, GUARD, LATE, LOST, NOT_RECEIVED, OUTCOMES, Tasks
from envs.basilisk.trace import ACTIVITIES
from kdmarl_sat.report.style import GRID, INK, MUTED, SURFACE, WIDTH_IN, plain, satellite_colour, styled

_IMAGING, _DOWNLINKING, _DESATURATING = (ACTIVITIES.index(name) for name in ("imaging", "downlinking", "desaturating"))
_HATCHES = {_DOWNLINKING: "//////", _DESATURATING: "......"}
_MOST_ROWS = 48
_WRONG = {GUARD: "^", NOT_RECEIVED: "x", LATE: ">", LOST: "X", DUPLICATE: "D", CLOUDED: "s"}  # marks at the end


@styled
def gantt(tasks: Tasks, satellites: Sequence[str]) -> Figure:
    """Per satellite: images that were captured (filled), images that were not (hollow), other tasks (pale or hatched),
    and a mark where a task was a duplicate, clouded, or not what the policy chose."""
    shown = min(len(satellites), _MOST_ROWS)
    figure = Figure(figsize=(WIDTH_IN, 1.1 + 0.26 * shown), layout="constrained")
    axes = figure.add_subplot()
    start, length = tasks.start_s / 60, (tasks.end_s - tasks.start_s) / 60
    for row in range(shown):
        colour, own = satellite_colour(row), tasks.satellite == row
        images = own & (tasks.action == _IMAGING)
        for which, face, edge, hatch in (
            (own & (tasks.action == 0), GRID, SURFACE, None),
            *((own & (tasks.action == action), SURFACE, MUTED, hatch) for action, hatch in _HATCHES.items()),
            (images & (tasks.outcome != CAPTURED), SURFACE, colour, None),
            (images & (tasks.outcome == CAPTURED), colour, SURFACE, None),
        ):
            bars = list(zip(start[which].tolist(), length[which].tolist(), strict=True))
            axes.broken_barh(bars, (row - 0.36, 0.72), facecolor=face, edgecolor=edge, linewidth=0.5, hatch=hatch)
    for outcome, mark in _WRONG.items():
        which = (tasks.outcome == outcome) & (tasks.satellite < shown)
        axes.plot(
            (start + length)[which], tasks.satellite[which], mark, color=INK, markersize=3, linestyle="", zorder=3
        )
    axes.set_yticks(range(shown), [plain(name, 18) for name in satellites[:shown]])
    axes.set_ylim(shown - 0.4, -0.6)
    axes.set_xlim(0, max(1e-6, float(np.max(tasks.end_s, initial=0.0)) / 60))
    axes.set_xlabel("minutes since the start of the episode")
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    handles: list[Patch | Line2D] = [
        Patch(facecolor=MUTED, label="image captured"),
        Patch(facecolor=SURFACE, edgecolor=MUTED, linewidth=0.7, label="image, not captured"),
        Patch(facecolor=GRID, label="charge"),
    ]
    for action, hatch in _HATCHES.items():
        if (tasks.action == action).any():
            label = {_DOWNLINKING: "downlink", _DESATURATING: "desaturate"}[action]
            handles.append(Patch(facecolor=SURFACE, edgecolor=MUTED, linewidth=0.7, hatch=hatch, label=label))
    handles += [
        Line2D([], [], color=INK, marker=mark, markersize=3.5, linestyle="", label=OUTCOMES[outcome].replace("_", " "))
        for outcome, mark in _WRONG.items()
        if (tasks.outcome == outcome).any()
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=min(len(handles), 6), columnspacing=1.4)
    return figure
