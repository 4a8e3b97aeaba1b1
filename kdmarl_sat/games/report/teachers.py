"""Trained teachers beside what shows whether they are good: other people's numbers and hand-written policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kdmarl_sat.games.report.cells import INTERVALS, Table, place_name, with_interval
from kdmarl_sat.games.report.statistics import Scores, mean_score
from kdmarl_sat.games.report.summary import TEACHER, Group, Results
from kdmarl_sat.report.formats import number
from kdmarl_sat.report.statistics import Interval

# Map -> what it is, and the score.
_KNOWN = {
    "3m": ("wins wanted of a teacher", 95.0),
    # docs/method.md turns the published sum, -134, into this scale.
    "simple_spread": ("MAPPO in EPyMARL's paper (Papoudakis et al. 2021), converted", (-134 / 3 + 25) / 2),
}
_WITHIN = 0.1  # of a hand-written policy's return: as good


def teachers(results: Results, by_hand: Mapping[str, Sequence[float]]) -> list[Table]:
    """``by_hand``: returns of the hand-written policies' episodes, by map."""
    rows = []
    for group in filter(None, (results.get(place, TEACHER) for place in results.places)):
        game = place_name(results, group.place)
        if group.place.map in _KNOWN:
            text, value = _KNOWN[group.place.map]
            rows.append((game, *_beside(group, text, Interval(value, value, value), value)))
        if group.place.map in by_hand:
            reached = mean_score(Scores({0: by_hand[group.place.map]}, "by hand"))
            least = reached.estimate - _WITHIN * abs(reached.estimate)
            rows.append((game, *_beside(group, "hand-written policy that sees everything", reached, least)))
    head = ("game", "teacher", "beside it", "its score", "wanted at least")
    return [Table("Are the teachers good?", head, tuple(rows), (), (INTERVALS,))] if rows else []


def _beside(group: Group, text: str, reached: Interval, least: float) -> tuple[str, ...]:
    met = "met" if group.score.estimate >= least else "not met"
    return with_interval(group.score, 2), text, with_interval(reached, 2), f"{number(least, 2)}: {met}"
