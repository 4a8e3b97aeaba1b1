"""Comparison of trained teachers with published numbers and with hand-written policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kdmarl_sat.games.report.cells import INTERVALS, Table, place_name, with_interval
from kdmarl_sat.games.report.statistics import Scores, mean_score
from kdmarl_sat.games.report.summary import TEACHER, Group, Results, label
from kdmarl_sat.report.formats import number
from kdmarl_sat.report.statistics import Interval

# Method and map -> what stands beside, and its score; docs/method.md turns the published sums, -134 and -127, into our
# scale.
_KNOWN = {
    (TEACHER, "3m"): ("wins wanted of a teacher", 95.0),
    (TEACHER, "simple_spread"): ("MAPPO in EPyMARL's paper (Papoudakis et al. 2021), converted", (-134 / 3 + 25) / 2),
    ("qmix_fo", "simple_spread"): ("QMIX in EPyMARL's paper (Papoudakis et al. 2021), converted", (-127 / 3 + 25) / 2),
}
_QMIX = "QMIX makes a quarter as many updates per episode here as in EPyMARL, which trains it for 2 M steps."
_WITHIN = 0.1  # of a hand-written policy's return: as good


def teachers(results: Results, by_hand: Mapping[str, Sequence[float]]) -> list[Table]:
    """Teachers, and QMIX with full sight where there is a published level.

    ``by_hand``: returns of the hand-written policies' episodes, by map.
    """
    rows = []
    for place in results.places:
        for method in dict.fromkeys((TEACHER, *(method for method, _ in _KNOWN))):
            group = results.get(place, method)
            if group is None:
                continue
            game = (place_name(results, place), label(method))
            if (method, place.map) in _KNOWN:
                text, value = _KNOWN[method, place.map]
                rows.append((*game, *_beside(group, text, Interval(value, value, value), value)))
            if method == TEACHER and place.map in by_hand:
                reached = mean_score(Scores({0: by_hand[place.map]}, place.slug))
                least = reached.estimate - _WITHIN * abs(reached.estimate)
                rows.append((*game, *_beside(group, "hand-written policy that sees everything", reached, least)))
    head = ("game", "ours", "its score", "compared with", "its score", "required at least")
    notes = (_QMIX,) if any(row[1] == label("qmix_fo") for row in rows) else ()
    return [Table("Are the teachers good?", head, tuple(rows), notes, (INTERVALS,))] if rows else []


def _beside(group: Group, text: str, reached: Interval, least: float) -> tuple[str, ...]:
    met = "met" if group.score.estimate >= least else "not met"
    return with_interval(group.score, 2), text, with_interval(reached, 2), f"{number(least, 2)}: {met}"
