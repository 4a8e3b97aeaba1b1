"""The look that all figures share.

Satellites and policy families keep one colour each throughout, from colour-blind-safe sets (after Okabe and Ito
2008 and Tol 2021) that read on a light and on a dark page. The neutrals are what a dark page replaces.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import matplotlib
from matplotlib.figure import Figure

INK = "#1c2129"
MUTED = "#5d6673"
GRID = "#dde2e9"
BAND = "#e6eaf1"  # eclipse
SURFACE = "#ffffff"
NEUTRALS = {INK: "ink", MUTED: "muted", GRID: "grid", BAND: "band", SURFACE: "surface"}

_SATELLITES = ("#1a80c4", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#882255", "#999933", "#8c6d46")
_FAMILIES = {"heuristic": "#8b94a1", "teacher": INK, "student": "#d55e00", "direct": "#7566d8"}

_LIGHT_TEXT, _DARK_TEXT = "#fefefe", "#14181e"  # on bars: not neutrals, so that they stay on a dark page

WIDTH_IN = 8.0
DPI = 110

_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "figure.dpi": DPI,
    "figure.facecolor": SURFACE,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.7,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.solid_capstyle": "round",
}

P = ParamSpec("P")
Drawn = TypeVar("Drawn", Figure, Figure | None)


def styled(draw: Callable[P, Drawn]) -> Callable[P, Drawn]:
    """Run a drawing function under the common style, leaving matplotlib's own settings as they were."""

    @functools.wraps(draw)
    def under_style(*args: P.args, **kwargs: P.kwargs) -> Drawn:
        with matplotlib.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return under_style


def satellite_colour(index: int) -> str:
    return _SATELLITES[index % len(_SATELLITES)]


def family(name: str) -> str:
    """heuristic, teacher, student (distilled) or direct (no teacher): the first word in a name or label that tells."""
    found = re.search("teacher|kd|student|mappo", name.lower())
    return (
        {"teacher": "teacher", "kd": "student", "student": "student", "mappo": "direct"}[found[0]]
        if found
        else "heuristic"
    )


def family_colour(name: str) -> str:
    return _FAMILIES[family(name)]


def on_colour(colour: str) -> str:
    """The text colour that reads on a filled bar, whatever the page's own colours."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return _LIGHT_TEXT if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else _DARK_TEXT


def plain(text: str, limit: int = 30) -> str:
    """Outside text for a figure: one line, not too long, and no dollar signs that would start a formula."""
    line = " ".join(text.split())
    short = line if len(line) <= limit else f"{line[: limit - 1]}…"
    return short.replace("$", r"\$")
