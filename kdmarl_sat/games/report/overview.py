"""One short table of all that was measured, for the README: games by methods."""

from __future__ import annotations

from kdmarl_sat.games.report.cells import Table, place_name, sample, unit, with_interval
from kdmarl_sat.games.report.formats import markdown_table
from kdmarl_sat.games.report.summary import TEACHER, Place, Results, in_order, label
from kdmarl_sat.report.formats import MISSING, number

BEGIN, END = "<!-- benchmark: kdmarl-sat benchmark table readme=README.md -->", "<!-- end of benchmark -->"
_FIRST = (TEACHER, "mappo_lh", "mappo_lh_a", "qmix_lh", "vdn_lh", "kd_lh", "kd_lh_a")  # what the README shows


def overview(results: Results) -> str:
    """Markdown: each method's score with its interval, seeds, random play and cost."""
    shown = set(_FIRST) - {TEACHER}
    places = [place for place in results.places if shown & set(results.methods(place))]
    methods = in_order(method for place in places for method in results.methods(place) if method in _FIRST)
    rows = [
        (
            place_name(results, place),
            _unit(results, place),
            _samples(results, place),
            *(_score(results, place, method) for method in methods),
            _macs(results, place),
        )
        for place in places
    ]
    head = ("game", "score", "seeds × episodes", *map(label, methods), "KD-MARL LH: times fewer MACs")
    return markdown_table(Table("", head, tuple(rows)))


def _score(results: Results, place: Place, method: str) -> str:
    group = results.get(place, method)
    return MISSING if group is None else with_interval(group.score, 1)


def _unit(results: Results, place: Place) -> str:
    return next(unit(group) for method in results.methods(place) if (group := results.get(place, method)))


def _samples(results: Results, place: Place) -> str:
    each = [sample(group) for method in _FIRST if (group := results.get(place, method))]
    return ", ".join(dict.fromkeys(each))


def _macs(results: Results, place: Place) -> str:
    teacher, student = results.get(place, TEACHER), results.get(place, "kd_lh")
    if teacher is None or student is None:
        return MISSING
    return number(teacher.macs_per_decision / student.macs_per_decision, 1)
