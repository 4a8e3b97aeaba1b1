"""Figures from records: FLOPs (the paper's Fig. 3), what actions agents take (its Fig. 4), learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from kdmarl_sat.games.report.cells import place_name
from kdmarl_sat.games.report.statistics import CONFIDENCE, FloatArray, Scores, mean_score
from kdmarl_sat.games.report.summary import TEACHER, Group, Place, Results, label, sees_everything
from kdmarl_sat.report.formats import count, factor, significant
from kdmarl_sat.report.style import (
    GRID,
    INK,
    MUTED,
    SURFACE,
    WIDTH_IN,
    family_colour,
    plain,
    satellite_colour,
    styled,
)

LineStyle = str | tuple[float, tuple[float, ...]]
_STYLES: dict[str, LineStyle] = {
    **{"buffer": (0, (1.5, 1.5)), "small": (0, (5, 2)), "wide": (0, (5, 2)), "lh_m": (0, (4, 1, 1, 1))},
    **{"tseng": (0, (5, 2)), "ptde": (0, (1.5, 1.5))},
}
_SIGHTS = (("fo", "full sight"), ("lh", "under the mask (LH)"), ("lh_a", "under the mask (LH+A)"))
PAPER_UNITS = 256  # of the paper's teacher
PAIR = ("kd_lh_a", "mappo_lh_a")
_HEAT = LinearSegmentedColormap.from_list("heat", [SURFACE, "#fbd7b5", "#f08a3c", "#b3350b", "#4a0d05"])


def method_colour(method: str) -> str:
    """Families of methods keep one colour each; the teacher is ink."""
    family = method.partition("_")[0]
    if family in (TEACHER, "mappo", "kd"):
        return family_colour("teacher" if method == TEACHER else method)
    return {"qmix": satellite_colour(0), "vdn": satellite_colour(2)}.get(family, family_colour("other"))


def paper_teacher_macs(teacher: Group) -> float:
    """MACs per decision, mean over agents, of the same teacher with ``PAPER_UNITS`` units.

    Of C h + 6 h^2 + h A (C input columns, A actions) the record has the sum, and the settings h.
    """
    units = teacher.records[0].config["mappo"]["hidden"]
    return float((teacher.macs_per_decision - 6 * units**2) / units * PAPER_UNITS + 6 * PAPER_UNITS**2)


@styled
def flops(results: Results, simulator: tuple[str, str]) -> Figure:
    """FLOP (2 MAC) per decision, mean over agents: a panel per game, a bar per method, its ratio to the teacher.

    The first bar is what the teacher would cost with the paper's number of units: counted, not trained.
    """
    here = [place for place in results.places if (place.backend, place.evaluated_on) == simulator]
    # In others variants alone have run; what a decision costs is the same in every budget.
    places = list({replace(p, budget=""): p for p in reversed(here) if results.methods(p)}.values())[::-1]
    groups = {place: [g for m in results.methods(place) if (g := results.get(place, m))] for place in places}
    wider = {place: paper_teacher_macs(teacher) for place in places if (teacher := results.get(place, TEACHER))}
    heights = [0.75 + 0.24 * (len(groups[place]) + (place in wider)) for place in places]
    figure = Figure(figsize=(WIDTH_IN, sum(heights) + 0.6), layout="constrained")
    figure.get_layout_engine().set(hspace=0.05)  # type: ignore[union-attr, call-arg]
    grid = figure.add_gridspec(len(places), 1, height_ratios=heights)
    values = [2 * group.macs_per_decision for each in groups.values() for group in each]
    values += [2 * macs for macs in wider.values()]
    floor = 10.0 ** np.floor(np.log10(max(min(values), 1)) - 0.1)
    for line, place in enumerate(places):
        axes = figure.add_subplot(grid[line])
        teacher = results.get(place, TEACHER)
        axes.set_xscale("log")
        bars = [(label(g.method), g.macs_per_decision, method_colour(g.method)) for g in groups[place]]
        if place in wider:
            bars.insert(0, (f"Teacher, {PAPER_UNITS} units", wider[place], family_colour("other")))
        axes.set_yticks(range(len(bars)), [plain(name) for name, _, _ in bars], color=INK)
        axes.set_ylim(len(bars) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        for row, (_, macs, colour) in enumerate(bars):
            value = 2 * macs
            axes.barh(row, value - floor, left=floor, height=0.66, color=colour, linewidth=0)
            text = f"{count(value)} FLOP"
            if teacher and teacher.macs_per_decision / macs > 1.005:
                text += f", {factor(teacher.macs_per_decision / macs)} fewer"
                text += f" ({factor(wider[place] / macs)} than {PAPER_UNITS} units)"
            axes.annotate(
                text, (value, row), (5, 0), textcoords="offset points", va="center", fontsize=8, color=INK
            )  # fmt: skip
        axes.set_xlim(floor, max(values) * (max(values) / floor) ** 0.36)  # room for the text right of the bars
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: count(x)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.grid(axis="x")
        axes.set_title(plain(place_name(results, place), 40))
    axes.set_xlabel(f"FLOP (2 MAC) per decision, mean over agents, on {plain(places[0].simulator, 60)}")
    return figure


@styled
def actions(results: Results, place: Place, methods: Sequence[str] = PAIR) -> Figure:
    """How often each agent takes each action: a panel per method, every agent's row adds up to 1."""
    groups = [group for method in methods if (group := results.get(place, method))]
    shares = [_shares(group) for group in groups]
    names = groups[0].records[0].actions
    agents = len(shares[0])
    rows = len(groups)
    long = len(names) * max(map(len, names), default=1) > 60  # too long to stand side by side
    figure = Figure(figsize=(WIDTH_IN, rows * (0.62 + 0.24 * agents) + (0.85 if long else 0.55)), layout="constrained")
    panels = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    top = max(float(each.max()) for each in shares)
    for axes, group, share in zip(panels, groups, shares, strict=True):
        image = axes.imshow(share, aspect="auto", cmap=_HEAT, vmin=0, vmax=top, interpolation="nearest")
        axes.set_yticks(range(agents), [str(agent) for agent in range(agents)])
        axes.set_ylabel("agent")
        axes.set_xticks(range(len(names)), [plain(name, 14) for name in names])
        axes.tick_params(axis="both", length=0)
        if long:
            axes.tick_params(axis="x", rotation=55)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(agents + 1) - 0.5, minor=True)
        axes.grid(which="minor", color=GRID, linewidth=0.5)
        axes.tick_params(which="minor", length=0)
        axes.set_axisbelow(False)
        seeds = len(group.seeds)
        axes.set_title(f"{plain(label(group.method))}, {seeds} seed{'s' * (seeds > 1)}")
    if long:
        for text in panels[-1].get_xticklabels():
            text.set_horizontalalignment("right")
            text.set_rotation_mode("anchor")
    bar = figure.colorbar(image, ax=list(panels), fraction=0.035, pad=0.015)
    bar.set_label("share of the agent's actions")
    bar.outline.set_visible(False)  # type: ignore[operator]
    panels[-1].set_xlabel(f"action ({plain(place_name(results, place), 30)} on {plain(place.simulator, 50)})")
    return figure


@styled
def curves(results: Results, place: Place) -> Figure:
    """Evaluations along the way against environment steps: a panel per kind of sight, mean and, of several seeds, band.

    The teacher's last mean and what random actions score are lines across all panels.
    """
    groups = [g for m in results.methods(place) if (g := results.get(place, m)) and any(r.curve for r in g.records)]
    panels = [(title, [g for g in groups if _sight(g.method) == sight]) for sight, title in _SIGHTS]
    panels = [(title, members) for title, members in panels if members]
    figure = Figure(figsize=(WIDTH_IN, 4.8), layout="constrained")
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    teacher = next((_band(group)[1][-1] for group in groups if group.method == TEACHER), None)
    for axes, (title, members) in zip(all_axes, panels, strict=True):
        if teacher is not None:
            axes.axhline(teacher, color=INK, linewidth=0.8, alpha=0.6)
        axes.axhline(groups[0].random, color=MUTED, linewidth=0.9, linestyle=(0, (1, 3)))
        for group in members:
            _curve(axes, group)
        axes.set_title(title)
        axes.grid(axis="y")
        axes.set_xlim(left=0)  # each to its own end: the teacher trains for longer
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _steps(x)))
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.22), handlelength=2.4, borderaxespad=0)
    all_axes[0].set_ylabel("win rate, %" if groups[0].has_victory else "return, mean over agents")
    all_axes[len(panels) // 2].set_xlabel("environment steps of the method's own training")
    names = f"{plain(place_name(results, place), 40)} on {plain(place.simulator, 60)}"
    numbers = sorted({len(group.seeds) for group in groups})
    seeds = " to ".join(map(str, dict.fromkeys((numbers[0], numbers[-1])))) + " seed" + "s" * (numbers[-1] > 1)
    text = f"{names}: mean and {CONFIDENCE:.0%} band over {seeds}; lines: teacher's last, random actions (dotted)"
    figure.suptitle(text, fontsize=8.5, x=0.01, ha="left", color=MUTED)
    return figure


def _sight(method: str) -> str:
    if sees_everything(method):
        return "fo"
    return "lh_a" if method.endswith("_a") else "lh"


def _curve(axes: Axes, group: Group) -> None:
    colour, seeds = method_colour(group.method), len(group.seeds)
    style = next((style for word, style in _STYLES.items() if word in group.method), "-")
    steps, mean, low, high = _band(group)
    axes.plot(steps, mean, color=colour, linestyle=style, linewidth=1.6, label=plain(label(group.method)))
    axes.plot(steps[-1], mean[-1], "o", color=colour, markersize=4.5, markeredgecolor=SURFACE)
    if seeds > 1:
        axes.fill_between(steps, low, high, color=colour, alpha=0.13, linewidth=0)


def _steps(value: float) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:g}\u202f{unit}"
    return significant(value)


def _shares(group: Group) -> FloatArray:
    """Agent x action, over all seeds."""
    counts = np.sum([record.action_counts for record in group.records], axis=0).astype(np.float64)
    shares: FloatArray = counts / np.maximum(counts.sum(-1, keepdims=True), 1)
    return shares


def _band(group: Group) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Steps, mean, low, high: where seeds were evaluated at unlike steps, between evaluations on straight lines."""
    runs = {}
    for record in group.records:
        if record.curve:
            steps = np.array([point["steps"] for point in record.curve], dtype=np.float64)
            runs[record.seed] = steps, np.array([_height(point["return"], point["win_rate"]) for point in record.curve])
    start, end = max(steps[0] for steps, _ in runs.values()), min(steps[-1] for steps, _ in runs.values())
    grid = np.unique(np.concatenate([steps for steps, _ in runs.values()]))
    grid = grid[(grid >= start) & (grid <= end)] if start <= end else grid
    heights = {seed: np.interp(grid, steps, values) for seed, (steps, values) in runs.items()}
    bands = [
        mean_score(Scores({seed: values[[index]] for seed, values in heights.items()})) for index in range(len(grid))
    ]
    mean, low, high = (np.array([getattr(band, end) for band in bands]) for end in ("estimate", "low", "high"))
    return grid, mean, low, high


def _height(mean_return: float, win_rate: float | None) -> float:
    return mean_return if win_rate is None else 100 * win_rate
