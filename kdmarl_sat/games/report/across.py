"""Methods over all games of one simulator: probability of improvement, and performance profiles (Agarwal et al. 2021).

Of a run counts its normalised score: random actions 0, the teacher's mean over the same seeds 1. Intervals are of the
same bootstrap as all others here (``statistics``): rliable would bring arch, statsmodels, pandas and seaborn with it,
and neither it nor ``scipy.stats.bootstrap`` draws episodes within seeds, which games with a single seed need.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kdmarl_sat.games.report.statistics import UNKNOWN, FloatArray, common_seeds, interval
from kdmarl_sat.games.report.summary import TEACHER, Group, Place, Results
from kdmarl_sat.report.statistics import Interval

POINTS = np.linspace(-0.2, 1.2, 57)  # normalised scores at which profiles are drawn


def better(ours: FloatArray, theirs: FloatArray) -> FloatArray:
    """Share of all pairs of runs in which ours scores more, ties counting half: [..., n], [..., m] -> [...]."""
    pairs = ours[..., :, None] - theirs[..., None, :]
    return np.asarray((np.sign(pairs) / 2 + 0.5).mean((-1, -2)), dtype=np.float64)


def probability_of_improvement(results: Results, places: Sequence[Place], method: str, other: str) -> Interval:
    """That a run of ``method`` scores more than one of ``other``, mean over the games that both have run on."""
    estimates, drawn = [], []
    for place in shared(results, places, (method, other)):
        ours, theirs = results.get(place, method), results.get(place, other)
        assert ours is not None and theirs is not None
        estimates.append(better(ours.scores.means(ours.seeds), theirs.scores.means(theirs.seeds)))
        drawn.append(better(ours.scores.drawn(ours.seeds), theirs.scores.drawn(theirs.seeds)))
    return interval(float(np.mean(estimates)), np.mean(drawn, axis=0)) if estimates else UNKNOWN


def shared(results: Results, places: Sequence[Place], methods: Sequence[str]) -> list[Place]:
    """The games that all the methods have run on: over others they cannot be compared."""
    return [place for place in places if all(results.get(place, method) is not None for method in methods)]


def profile(results: Results, places: Sequence[Place], method: str) -> list[Interval]:
    """At each of ``POINTS``, the share of runs that score more, mean over games; empty where there are none."""
    scores = [
        found
        for place in places
        if (group := results.get(place, method)) and (found := _normalised(group, results.get(place, TEACHER)))
    ]
    if not scores:
        return []
    return [
        interval(
            float(np.mean([(means > point).mean() for means, _ in scores])),
            np.mean([(drawn > point).mean(-1) for _, drawn in scores], axis=0),
        )
        for point in POINTS
    ]


def _normalised(group: Group, teacher: Group | None) -> tuple[FloatArray, FloatArray] | None:
    """Of each seed that the teacher has too: its score [n], and its scores in all resamples [RESAMPLES, n]."""
    common = common_seeds(group.scores, teacher.scores) if teacher else ()
    if teacher is None or not common:
        return None
    top = float(teacher.scores.means(common).mean())
    if top == teacher.random:
        return None
    scale = top - teacher.random
    return (group.scores.means(common) - teacher.random) / scale, (group.scores.drawn(common) - teacher.random) / scale
