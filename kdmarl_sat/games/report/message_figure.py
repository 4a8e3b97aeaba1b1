"""What messages between students are worth: the score against their bits, and against the share that is lost."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kdmarl_sat.games.report.cells import place_name, unit
from kdmarl_sat.games.report.figures import method_colour
from kdmarl_sat.games.report.statistics import CONFIDENCE
from kdmarl_sat.games.report.summary import TEACHER, Group, Place, Results
from kdmarl_sat.report.style import INK, MUTED, WIDTH_IN, plain, styled

SILENT, TALKING = "kd_lh", "kd_lh_m"
_BITS = 8  # that kd_lh_m sends unless student.message_bits says otherwise
_VARIANT = re.compile(r"((bits|lost)_\d+)?")  # all others change more than the messages


@styled
def messages(results: Results, place: Place) -> Figure | None:
    """None where fewer than two numbers of bits have run."""
    silent, teacher = results.get(place, SILENT), results.get(place, TEACHER)
    talking = [
        group
        for (where, method, variant), group in results.main.items()
        if where == place and method == TALKING and _VARIANT.fullmatch(variant)
    ]
    of_bits = _in_order((_bits(each), each) for each in talking if _loss(each) == 0)
    if silent is not None:
        of_bits.insert(0, (0, silent))
    of_loss = _in_order((100 * _loss(each), each) for each in talking if _bits(each) == _BITS)
    if len(of_bits) < 2:
        return None
    panels = [("bits per message", of_bits)]
    if len(of_loss) > 1:
        panels.append((f"messages of {_BITS} bits lost, %", of_loss))
    figure = Figure(figsize=(WIDTH_IN, 3.0), layout="constrained")
    all_axes = figure.subplots(1, 2, sharey=True)
    for axes, (title, points) in zip(all_axes, panels, strict=False):
        _panel(axes, title, points)
        if teacher is not None:
            axes.axhline(teacher.score.estimate, color=INK, linewidth=0.8, alpha=0.6)
        if silent is not None:
            axes.axhline(silent.score.estimate, color=MUTED, linewidth=0.9, linestyle=(0, (1, 3)))
    for axes in all_axes[len(panels) :]:
        axes.set_axis_off()
    all_axes[0].set_ylabel(unit(of_bits[0][1]))
    text = (
        f"{place_name(results, place)}: {CONFIDENCE:.0%} intervals; lines: teacher, students without messages (dotted)"
    )
    figure.suptitle(plain(text, 110), fontsize=8.5, x=0.01, ha="left", color=MUTED)
    return figure


def _panel(axes: Axes, title: str, points: Sequence[tuple[float, Group]]) -> None:
    colour = method_colour(TALKING)
    for at, (_, group) in enumerate(points):
        axes.plot([at, at], [group.score.low, group.score.high], color=colour, linewidth=4, alpha=0.3)
    axes.plot([group.score.estimate for _, group in points], "o-", color=colour, linewidth=1.2, markersize=5)
    axes.set_xticks(range(len(points)), [f"{x:g}" for x, _ in points])
    axes.set_xlim(-0.4, len(points) - 0.6)
    axes.set_xlabel(title)
    axes.grid(axis="y")


def _in_order(points: Iterable[tuple[float, Group]]) -> list[tuple[float, Group]]:
    return sorted(points, key=lambda point: point[0])


def _bits(group: Group) -> int:
    return int(group.records[0].config["student"].get("message_bits") or _BITS)


def _loss(group: Group) -> float:
    return float(group.records[0].config["evaluation"].get("message_loss", 0.0))
