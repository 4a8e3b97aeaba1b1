"""Tables and figures of runs on benchmark games, from their records alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from envs.files import write_whole
from kdmarl_sat.games.records import GameRecord
from kdmarl_sat.games.report import across_figures, figures, formats, message_figure
from kdmarl_sat.games.report.summary import grouped
from kdmarl_sat.games.report.tables import tables
from kdmarl_sat.report.formats import number, percent
from kdmarl_sat.report.index import Entry
from kdmarl_sat.report.render import png

__all__ = ["entry", "write_figures", "write_tables"]


def write_tables(
    records: Sequence[GameRecord],
    folder: Path,
    by_hand: Mapping[str, Sequence[float]] = MappingProxyType({}),
    measured_peers: Mapping[str, Any] | None = None,
) -> list[Path]:
    """tables.md, tables.csv, tables.tex and tables.html.

    ``by_hand``: returns of hand-written policies, by map; ``measured_peers``: what ``measure peers`` kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    results = grouped(records)
    made = tables(results, by_hand, measured_peers)
    texts = {
        "tables.md": formats.markdown(made),
        "tables.csv": formats.comma_separated(results),
        "tables.tex": formats.latex(made),
        "tables.html": formats.page(made),
    }
    return [write_whole(folder / name, text.encode()) for name, text in texts.items()]


def write_figures(
    records: Sequence[GameRecord], folder: Path, maps: Sequence[str] | None = None, pair: Sequence[str] = figures.PAIR
) -> list[Path]:
    """flops-*.png per simulator; improvement-*.png and profiles-*.png per simulator and budget, over all its games;
    curves-*.png, actions-*.png and messages-*.png per game and budget, of ``maps`` alone if given.

    Actions are drawn of the methods in ``pair``, where at least one has run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    results = grouped(records)
    # Where variants alone have run, as of one job of an ablation, there are no methods to compare.
    compared = [place for place in results.places if results.methods(place)]
    simulators = dict.fromkeys((place.backend, place.evaluated_on) for place in compared)
    drawn = {f"flops-{'-'.join(dict.fromkeys(each))}": figures.flops(results, each) for each in simulators}
    for backend, evaluated_on, budget in dict.fromkeys((p.backend, p.evaluated_on, p.budget) for p in compared):
        here = [p for p in compared if (p.backend, p.evaluated_on, p.budget) == (backend, evaluated_on, budget)]
        name = "-".join(dict.fromkeys([backend, evaluated_on, *([budget] if budget != "equal" else [])]))
        for kind, draw in (("improvement", across_figures.improvement), ("profiles", across_figures.profiles)):
            figure = draw(results, [p for p in here if not p.otherwise])
            if figure is not None:
                drawn[f"{kind}-{name}"] = figure
    for place in compared:
        if maps is not None and place.map not in maps:
            continue
        groups = [group for method in results.methods(place) if (group := results.get(place, method))]
        if any(record.curve for group in groups for record in group.records):
            drawn[f"curves-{place.slug}"] = figures.curves(results, place)
        if any(method in results.methods(place) for method in pair):
            drawn[f"actions-{place.slug}"] = figures.actions(results, place, pair)
        told = message_figure.messages(results, place)
        if told is not None:
            drawn[f"messages-{place.slug}"] = told
    return [write_whole(folder / f"{name}.png", png(figure)) for name, figure in drawn.items()]


def entry(records: Sequence[GameRecord], figures: Sequence[Path]) -> Entry:
    """The run in the index of all runs: what each method came to; ``figures``: what ``write_figures`` has made."""
    shown = {}
    for record in records:
        wins = record.final["wins"]
        mean = sum(record.final["returns"]) / len(record.final["returns"])
        shown[record.method] = f"return {number(mean)}" if wins is None else f"{percent(sum(wins) / len(wins))} won"
    first = records[0]
    curves = next((path.name for path in figures if path.name.startswith("curves-")), None)
    title = f"{first.scenario} on {first.evaluated_on}, {max(record.budget for record in records)} budget"
    return Entry(title, first.seed, str(first.run.get("date", "")), "tables.html", curves, shown)
