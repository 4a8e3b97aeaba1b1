"""What a run is meant to show, against numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pytest

from envs.episode_result import EpisodeResult
from kdmarl_sat.claims import MAIN, claims
from kdmarl_sat.results import PolicyResult

CAPTURED = {
    "random": (8.0, 12.0),
    "greedy_battery": (19.0, 21.0),
    "global_knowledge": (24.0, 26.0),
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
                    seed, value, 40.0, (value,), (3,), 0, lost if name == "teacher_fo" else 0, (9,), (1,), 60.0
                )
                for seed, (value, lost) in enumerate(zip(values, deaths, strict=True))
            ),
            macs_per_decision=MACS.get(name, ()),
        )
        for name, values in captured.items()
    ]


@pytest.mark.parametrize("preset", ["default", "full", "smoke"])
def test_another_mission_by_hand(preset: str) -> None:
    """The best heuristic has a mean of 25."""
    text, value, wanted, met = claims(flown(CAPTURED), "walker_cities", preset)[0]
    assert (text, value, wanted, met) == ("teacher / best heuristic", pytest.approx(30 / 25), 1.0, True)
    assert [wanted for *_, wanted, _ in claims(flown(CAPTURED), "walker_cities", preset)[1:5]] == [0.95] * 4


def test_default_preset_by_hand() -> None:
    """Means: random 10, greedy 20, teacher 30, students 29 and 27."""
    found = claims(flown(CAPTURED), MAIN, "default")
    assert [text for text, *_ in found] == [
        "teacher / greedy + battery",
        "KD-MARL LH, normalised retention",
        "KD-MARL LH / teacher, plain",
        "KD-MARL LH+A, normalised retention",
        "KD-MARL LH+A / teacher, plain",
        "teacher's MACs / KD-MARL LH's, per decision",
        "teacher's MACs / KD-MARL LH+A's, per decision",
    ]
    measured = (30 / 20, 19 / 20, 29 / 30, 17 / 20, 27 / 30, 3000 / 100, 3000 / 110)
    assert [value for _, value, *_ in found] == pytest.approx(measured)
    assert [wanted for *_, wanted, _ in found] == [1.15, 0.9, 0.9, 0.9, 0.9, 28.6, 28.6]
    assert [met for *_, met in found] == [True, True, True, False, True, True, False]


def test_full_preset_by_hand() -> None:
    """Global knowledge 25: a stricter rival, stricter students, and a teacher that loses nobody."""
    found = claims(flown(CAPTURED, deaths=(0, 2)), MAIN, "full")
    assert [text for text, *_ in found][::7] == [
        "teacher / global-knowledge heuristic",
        "share of the teacher's episodes without a lost satellite",
    ]
    measured = (30 / 25, 19 / 20, 29 / 30, 17 / 20, 27 / 30, 3000 / 100, 3000 / 110, 0.5)
    assert [value for _, value, *_ in found] == pytest.approx(measured)
    assert [wanted for *_, wanted, _ in found] == [1.1, 0.95, 0.95, 0.95, 0.95, 28.6, 28.6, 1.0]
    assert [met for *_, met in found] == [True, True, True, False, False, True, False, False]
    assert claims(flown(CAPTURED), MAIN, "full")[-1][1:] == (1.0, 1.0, True)


@pytest.mark.parametrize(("preset", "rival"), [("default", "greedy_battery"), ("full", "global_knowledge")])
def test_a_baseline_that_captures_nothing_leaves_no_ratio(preset: str, rival: str) -> None:
    text, value, _, met = claims(flown({**CAPTURED, rival: (0.0, 0.0)}), MAIN, preset)[0]
    assert text.startswith("teacher / ") and math.isnan(value) and met is False


@pytest.mark.parametrize("preset", ["default", "full"])
def test_nobody_captures_anything(preset: str) -> None:
    found = claims(flown(dict.fromkeys(CAPTURED, (0.0, 0.0))), MAIN, preset)
    assert all(math.isnan(value) and met is False for _, value, _, met in found[:5])
    assert found[5][1] == 30.0  # costs are known all the same
