"""One short table of all that was measured, for the README: methods by games."""

from __future__ import annotations

from kdmarl_sat.games.report.cells import Table, place_name, sample, unit, with_interval
from kdmarl_sat.games.report.formats import markdown_table
from kdmarl_sat.games.report.summary import TEACHER, Place, Results, in_order, label
from kdmarl_sat.report.formats import MISSING, count, number

BEGIN, END = "<!-- benchmark: kdmarl-sat benchmark table readme=README.md -->", "<!-- end of benchmark -->"


def overview(results: Results) -> str:
    """Markdown: each method's score with its interval, seeds, random play and cost."""
    places = results.places
    methods = in_order(method for place in places for method in results.methods(place))
    rows = [("seeds × episodes", *(_samples(results, place) for place in places))]
    rows += [(label(method), *(_score(results, place, method) for place in places)) for method in methods]
    rows.append(("random actions", *(_random(results, place) for place in places)))
    rows.append(("MACs per decision, teacher / KD-MARL LH", *(_macs(results, place) for place in places)))
    head = ("method", *(f"{place_name(results, place)}, {_unit(results, place)}" for place in places))
    return markdown_table(Table("", head, tuple(rows)))


def _score(results: Results, place: Place, method: str) -> str:
    group = results.get(place, method)
    return MISSING if group is None else with_interval(group.score, 1)


def _unit(results: Results, place: Place) -> str:
    return next(unit(group) for method in results.methods(place) if (group := results.get(place, method)))


def _samples(results: Results, place: Place) -> str:
    each = [sample(group) for method in results.methods(place) if (group := results.get(place, method))]
    return ", ".join(dict.fromkeys(each))


def _random(results: Results, place: Place) -> str:
    groups = [group for method in results.methods(place) if (group := results.get(place, method))]
    return number(groups[0].random, 1)


def _macs(results: Results, place: Place) -> str:
    teacher, student = results.get(place, TEACHER), results.get(place, "kd_lh")
    if teacher is None or student is None:
        return MISSING
    ratio = teacher.macs_per_decision / student.macs_per_decision
    return f"{count(teacher.macs_per_decision)} / {count(student.macs_per_decision)} ({number(ratio, 1)} times fewer)"
