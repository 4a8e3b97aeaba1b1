"""What a run is meant to show, against numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pytest

from envs.basilisk.episode_result import EpisodeResult
from kdmarl_sat.missions.claims import MAIN, claims
from kdmarl_sat.missions.results import PolicyResult

CAPTURED = {
    "random": (8.0, 12.0),
    "greedy_battery": (19.0, 21.0),
    "global_knowledge": (24.0, 26.0),
    "forecast": (27.0, 29.0),
    "planner": (38.0, 42.0),
    "teacher_fo": (28.0, 32.0),
    "kd_lh": (28.0, 30.0),
    "kd_lh_a": (26.0, 28.0),
}
MACS = {"teacher_fo": (3000, 2860), "kd_lh": (100, 50), "kd_lh_a": (110, 20)}


def flown(captured: Mapping[str, Sequence[float]], deaths: Sequence[int] = (0, 0)) -> list[PolicyResult]:
    """Policies that captured so much in each episode; the teacher lost so many satellites."""
    return [
        PolicyResult(
            name,
            name,
            tuple(
                EpisodeResult(
                    seed, value, 50.0, (value,), (3,), 0, lost if name == "teacher_fo" else 0, (9,), (1,), 60.0
                )
                for seed, (value, lost) in enumerate(zip(values, deaths, strict=True))
            ),
            macs_per_decision=MACS.get(name, ()),
        )
        for name, values in captured.items()
    ]


def told(preset: str, mission: str = MAIN, captured: Mapping[str, Sequence[float]] = CAPTURED) -> dict[str, tuple]:
    return {text: rest for text, *rest in claims(flown(captured), mission, preset)}


def test_default_preset_by_hand() -> None:
    """Means: random 10, greedy 20, global knowledge 25, forecast 28, planner 40, teacher 30, students 29 and 27."""
    found = told("default")
    expected = {
        "planner / global-knowledge rule": (40 / 25, 2.0, False),
        "teacher / greedy + battery": (30 / 20, 1.5, True),
        "teacher / forecast rule": (30 / 28, 1.0, True),
        "teacher / planner": (30 / 40, 0.7, True),
        "KD-MARL LH / greedy + battery": (29 / 20, 1.35, True),
        "KD-MARL LH, normalised retention": (19 / 20, 0.9, True),
        "KD-MARL LH / teacher, plain": (29 / 30, 0.9, True),
        "KD-MARL LH+A / greedy + battery": (27 / 20, 1.35, True),
        "KD-MARL LH+A, normalised retention": (17 / 20, 0.9, False),
        "KD-MARL LH+A / teacher, plain": (27 / 30, 0.9, True),
        "teacher's MACs / KD-MARL LH's, per decision": (3000 / 100, 28.6, True),
        "teacher's MACs / KD-MARL LH+A's, per decision": (3000 / 110, 28.6, False),
    }
    assert list(found) == list(expected)
    for text, (value, wanted, met) in expected.items():
        assert found[text] == [pytest.approx(value), wanted, met], text


@pytest.mark.parametrize("preset", ["default", "smoke"])
def test_another_mission_by_hand(preset: str) -> None:
    found = told(preset, "walker_cities")
    assert found["planner / global-knowledge rule"] == [pytest.approx(1.6), 1.2, True]
    assert found["teacher / greedy + battery"] == [pytest.approx(1.5), 1.2, True]
    assert "teacher / planner" not in found
    assert "KD-MARL LH / greedy + battery" not in found
    assert found["KD-MARL LH / teacher, plain"][1] == 0.9


def test_full_preset_by_hand() -> None:
    """A teacher nearer to the planner, stricter students, and nobody lost."""
    found = {text: rest for text, *rest in claims(flown(CAPTURED, deaths=(0, 2)), "walker_cities", "full")}
    assert found["teacher / planner"] == [pytest.approx(0.75), 0.9, False]
    assert found["KD-MARL LH, normalised retention"] == [pytest.approx(0.95), 0.95, True]
    assert found["share of the teacher's episodes without a lost satellite"] == [0.5, 1.0, False]


def test_without_a_twin_there_is_no_planner() -> None:
    captured = {name: values for name, values in CAPTURED.items() if name not in ("planner", "forecast")}
    found = told("default", captured=captured)
    assert not any("planner" in text or "forecast" in text for text in found)
    assert next(iter(found)) == "teacher / greedy + battery"


def test_a_baseline_that_captures_nothing_leaves_no_ratio() -> None:
    value, _, met = told("default", captured={**CAPTURED, "greedy_battery": (0.0, 0.0)})["teacher / greedy + battery"]
    assert math.isnan(value) and met is False


@pytest.mark.parametrize("preset", ["default", "full"])
def test_nobody_captures_anything(preset: str) -> None:
    found = told(preset, captured=dict.fromkeys(CAPTURED, (0.0, 0.0)))
    costs = [text for text in found if "MACs" in text]
    assert found[costs[0]][0] == 30.0  # costs are known all the same
    ratios = [rest for text, rest in found.items() if text not in costs and "lost" not in text]
    assert all(math.isnan(value) and met is False for value, _, met in ratios)
