"""Methods over all games: against scipy's U statistic and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from game_samples import mpe_record, smax_record
from scipy.stats import mannwhitneyu

from kdmarl_sat.games.report.across import POINTS, better, probability_of_improvement, profile, shared
from kdmarl_sat.games.report.summary import grouped


def test_share_of_pairs_is_mann_whitneys_u() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = rng.integers(0, 6, 7).astype(float), rng.integers(0, 6, 5).astype(float)  # with ties
    assert better(ours, theirs) == pytest.approx(mannwhitneyu(ours, theirs).statistic / 35)


def test_probability_and_profile_by_hand() -> None:
    won = {  # share of four games won, by seed
        "teacher": (4, 4),
        "kd_lh": (2, 4),
        "mappo_lh": (2, 1),
    }
    results = grouped(
        [smax_record(m, [n < k for n in range(4)], seed) for m, each in won.items() for seed, k in enumerate(each)]
    )
    found = probability_of_improvement(results, results.places, "kd_lh", "mappo_lh")
    assert found.estimate == pytest.approx((0.5 + 1 + 1 + 1) / 4)
    assert found.low <= found.estimate <= found.high
    line = {
        round(float(point), 3): value.estimate
        for point, value in zip(POINTS, profile(results, results.places, "kd_lh"), strict=True)
    }
    # Random actions win 25 %: runs with 50 % and 100 % are normalised 1/3 and 1.
    assert (line[0.3], line[0.35], line[0.975], line[1.0]) == (1.0, 0.5, 0.5, 0.0)


def test_methods_are_compared_on_games_that_all_have_run_on() -> None:
    """MAPPO has run on one game of two: there it counts, and the other game counts for nobody."""
    records = [smax_record(m, [True, False]) for m in ("teacher", "kd_lh", "mappo_lh")]
    results = grouped([*records, *(mpe_record(m, [-1.0, -2.0]) for m in ("teacher", "kd_lh"))])
    assert len(results.places) == 2
    assert [p.map for p in shared(results, results.places, ("kd_lh", "mappo_lh"))] == ["3m"]
    assert len(shared(results, results.places, ("kd_lh", "teacher"))) == 2
    assert probability_of_improvement(results, results.places, "kd_lh", "mappo_lh").estimate == 0.5
