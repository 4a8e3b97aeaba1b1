"""Figures over all games of one simulator and budget."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from kdmarl_sat.games.report.across import POINTS, probability_of_improvement, profile, shared
from kdmarl_sat.games.report.figures import method_colour
from kdmarl_sat.games.report.statistics import CONFIDENCE
from kdmarl_sat.games.report.summary import BUDGET_LABELS, TEACHER, Place, Results, in_order, label
from kdmarl_sat.report.style import INK, MUTED, WIDTH_IN, plain, styled

PAIRS = (
    *(("kd_lh", f"{other}_lh") for other in ("mappo", "qmix", "vdn")),
    *(("kd_lh_a", f"{other}_lh_a") for other in ("mappo", "qmix", "vdn")),
)
_PROFILED = ("mappo_lh", "mappo_lh_a", "qmix_lh_a", "vdn_lh_a", "kd_lh", "kd_lh_a")


@styled
def improvement(results: Results, places: Sequence[Place]) -> Figure | None:
    """How likely a distilled run scores more than one trained directly with the same sight; None where none has run."""
    found = [(pair, probability_of_improvement(results, places, *pair)) for pair in PAIRS]
    rows = [(pair, value) for pair, value in found if value.estimate == value.estimate]
    if not rows:
        return None
    figure = Figure(figsize=(WIDTH_IN, 1.1 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for row, ((ours, _), value) in enumerate(rows):
        axes.plot([value.low, value.high], [row, row], color=method_colour(ours), linewidth=5, alpha=0.35)
        axes.plot(value.estimate, row, "o", color=method_colour(ours), markersize=6)
    axes.axvline(0.5, color=MUTED, linewidth=0.9, linestyle=(0, (1, 3)))
    games = [len(shared(results, places, pair)) for pair, _ in rows]
    names = [f"{label(a)} > {label(b)}, {_counted(n)}" for ((a, b), _), n in zip(rows, games, strict=True)]
    axes.set_yticks(range(len(rows)), names, color=INK)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(-0.02, 1.02)
    axes.grid(axis="x")
    axes.set_xlabel(f"probability of improvement, {CONFIDENCE:.0%} interval")
    axes.set_title(_where(places))
    return figure


@styled
def profiles(results: Results, places: Sequence[Place]) -> Figure | None:
    """Share of runs above each normalised score, a line per method, over the games that all of them have run on.

    None where there is no such game, or no teacher to normalise by.
    """
    methods = in_order(m for place in places for m in results.methods(place) if m in _PROFILED)
    common = shared(results, places, (*methods, TEACHER))
    lines = [(method, line) for method in methods if (line := profile(results, common, method))]
    if not lines:
        return None
    figure = Figure(figsize=(WIDTH_IN, 4.0), layout="constrained")
    axes = figure.subplots()
    for method, line in lines:
        style = (0, (5, 2)) if method.endswith("_a") else "-"
        axes.plot(
            POINTS, [at.estimate for at in line], color=method_colour(method), linestyle=style, label=label(method)
        )
        axes.fill_between(
            POINTS,
            [at.low for at in line],
            [at.high for at in line],
            color=method_colour(method),
            alpha=0.12,
            linewidth=0,
        )
    axes.grid(axis="y")
    axes.set_xlabel("normalised score: random actions 0, the teacher 1")
    axes.set_ylabel("share of runs that score more")
    axes.set_title(f"{_where(places)}, {_counted(len(common))}")
    axes.legend(loc="lower left")
    return figure


def _where(places: Sequence[Place]) -> str:
    return plain(f"{places[0].simulator}, {BUDGET_LABELS[places[0].budget]}", 110)


def _counted(games: int) -> str:
    return f"{games} game" + "s" * (games != 1)
