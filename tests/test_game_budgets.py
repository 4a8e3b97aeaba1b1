"""Budgets of training steps: what they set, that no mean mixes two of them, and what curves gain at their end."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from game_samples import smax_record
from scipy.stats import linregress

from kdmarl_sat.games.jobs import composed
from kdmarl_sat.games.records import read, write
from kdmarl_sat.games.report.convergence import last_gain
from kdmarl_sat.games.report.summary import grouped
from kdmarl_sat.games.report.tables import tables
from scenarios.ranges import ConfigError


def steps(*overrides: str) -> tuple[int, int, int]:
    """MAPPO's, QMIX's, and KD-MARL's from both sources."""
    config = composed(*overrides)
    distill = config["distill"]
    mappo = sum(phase["steps"] for phase in config["mappo"]["phases"])
    return mappo, config["values"]["steps"], distill["teacher_steps"] + distill["student_steps"]


def test_equal_is_the_games_own_number_and_converged_the_teachers() -> None:
    assert steps("scenario=smac_3m", "budget=equal") == (2_000_000,) * 3
    assert steps("scenario=smac_3m") == (6_000_000,) * 3
    assert steps("scenario=mpe_spread", "budget=equal") == (1_000_000,) * 3
    assert steps("scenario=mpe_spread", "budget=converged") == (4_000_000,) * 3
    # What the user says counts, before and behind the budget's own arithmetic.
    assert steps("scenario=smac_3m", "distill.student_steps=5") == (6_000_000, 6_000_000, 200_005)
    assert steps("scenario=smac_3m", "teacher.phases=[{steps: 300000}]") == (300_000,) * 3
    with pytest.raises(ConfigError, match="budget='fast' is not allowed: it must be one of equal, converged"):
        dataclasses.replace(_typed(), budget="fast")


def _typed() -> Any:
    from scenarios.games.environment import GameConfig
    from scenarios.games.schema import GameRunConfig

    return GameRunConfig(scenario=GameConfig(name="mine"))


def test_records_carry_their_budget_and_older_ones_are_of_equal_steps(tmp_path: Any) -> None:
    record = smax_record("kd_lh", [True], budget="converged")
    assert read(write(record, tmp_path)).budget == "converged"
    old = smax_record("kd_lh", [True])
    path = write(old, tmp_path)
    path.write_text(path.read_text().replace('"budget": "equal"', '"unknown": 0', 1))
    assert read(path).budget == "equal"
    assert old.file_name() != record.file_name()
    teachers = [smax_record("teacher", [True], budget=budget).file_name() for budget in ("equal", "converged")]
    assert teachers[0] == teachers[1]


def test_runs_of_two_budgets_are_never_averaged() -> None:
    records = [
        smax_record("teacher", [True, True]),
        smax_record("kd_lh", [True, False], budget="equal"),
        smax_record("kd_lh", [True, True], budget="converged"),
    ]
    results = grouped(records)
    by_budget = {place.budget: results.get(place, "kd_lh") for place in results.places}
    assert list(by_budget) == ["equal", "converged"]
    assert {budget: group.score.estimate for budget, group in by_budget.items() if group} == {
        "equal": 50.0,
        "converged": 100.0,
    }
    assert all(results.get(place, "teacher") is not None for place in results.places)  # one teacher, in both
    first = next(table for table in tables(results) if table.title.startswith("Table I"))
    rows = {row[0]: row for row in first.rows if row[1].startswith("ours, win rate")}
    column = first.head.index("KD-MARL LH")
    assert rows["3m (equal steps)"][column] == "50.0"
    assert rows["3m (as many steps as the teacher)"][column] == "100.0"
    assert [place.budget for place in grouped(records[:1]).places] == ["equal"]


def curve(values: list[float], rates: bool) -> list[dict[str, Any]]:
    return [
        {"steps": 10 * (n + 1), "cpu_s": 1.0, "return": value, "win_rate": value if rates else None}
        for n, value in enumerate(values)
    ]


@pytest.mark.parametrize("rates", [True, False], ids=["wins", "returns"])
def test_the_gain_of_the_last_quarter_is_the_slope_of_the_second_half(rates: bool) -> None:
    """Against scipy's regression, and by hand for two seeds."""
    values, unit = [0.1, 0.2, 0.4, 0.5, 0.61, 0.58, 0.66, 0.63], 100 if rates else 1
    record = smax_record("kd_lh", [True], curve=curve(values, rates=rates))
    line = linregress([50, 60, 70, 80], [unit * value for value in values[4:]])
    found = last_gain([record])
    assert found.estimate == pytest.approx(20 * line.slope)
    assert found.high - found.estimate == pytest.approx(20 * line.stderr * 4.302653)  # t of two degrees of freedom
    straight = smax_record("kd_lh", [True], 1, curve=curve([0.1 * n for n in range(8)], rates=rates))  # 0.2 a quarter
    both = last_gain([record, straight])
    assert both.estimate == pytest.approx((20 * line.slope + 0.2 * unit) / 2)
    assert both.high - both.estimate == pytest.approx(20 * line.stderr / 2 * 2.776445)  # of four
    assert np.isnan(last_gain([smax_record("kd_lh", [True], curve=curve([0.5] * 6, rates=rates))]).estimate)
