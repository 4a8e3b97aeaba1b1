"""Budgets of training steps: what they set, that runs of two never meet in one mean, and when a curve is flat."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from game_samples import mpe_record, smax_record

from kdmarl_sat.games.jobs import composed
from kdmarl_sat.games.records import read, write
from kdmarl_sat.games.report.convergence import flat
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


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.1, 0.2, 0.4, 0.5, 0.60, 0.60, 0.61, 0.62], True),  # quarters 0.60 and 0.615
        ([0.1, 0.2, 0.4, 0.5, 0.60, 0.60, 0.62, 0.63], False),  # 0.625
        ([0.1, 0.2, 0.4, 0.5, 0.90, 0.90, 0.70, 0.70], True),  # it falls: there is nothing left to gain
        ([0.5] * 7, None),
    ],
)
def test_a_curve_is_flat_when_its_last_quarter_gains_no_more_than_two_games_in_a_hundred(
    values: list[float], expected: bool | None
) -> None:
    assert flat(smax_record("kd_lh", [True], curve=curve(values, rates=True))) is expected


def test_returns_are_held_against_what_was_gained_over_random_actions() -> None:
    # Random actions earn -60; the last quarter -10: gained 50, of which 2 % are 1.
    rising = [-50, -40, -30, -20, -11.2, -11.2, -10, -10]
    assert flat(mpe_record("kd_lh", [1.0], curve=curve(rising, rates=False))) is False
    assert flat(mpe_record("kd_lh", [1.0], curve=curve([*rising[:4], -10.9, -10.9, -10, -10], rates=False))) is True
