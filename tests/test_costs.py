"""CPU-seconds of stages: measured, kept over a crash, and added up for what builds on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kdmarl_sat.console import Console
from kdmarl_sat.missions.costs import by_cpu, training_cpu_s
from kdmarl_sat.missions.report.cost_figure import captured_against_cost
from kdmarl_sat.missions.report.figures import Score
from kdmarl_sat.report.statistics import Interval
from kdmarl_sat.stages import CPU, Stage, Workshop
from training.artifact import Place


class Clock:
    """Of CPU-seconds that the test spends."""

    spent = 100.0  # before the stage

    def __call__(self) -> float:
        return self.spent


def test_a_stage_that_crashed_counts_what_it_went_on_from(tmp_path: Path) -> None:
    clock = Clock()

    def crashes(place: Place) -> dict[str, Any]:
        clock.spent += 3.0
        place.scalars(10, {})
        clock.spent += 4.0
        place.scalars(20, {})
        clock.spent += 50.0  # undone by the crash
        raise RuntimeError

    def goes_on(place: Place) -> dict[str, Any]:
        clock.spent += 5.0
        place.scalars(30, {})
        clock.spent += 0.5
        return {}

    with Console() as console:
        workshop = Workshop(tmp_path, console, clock=clock)
        with pytest.raises(RuntimeError):
            workshop.make(Stage("teacher", "train", {"a": 1}, (), crashes))
        assert workshop.cpu_s == {}
        made = workshop.make(Stage("teacher", "train", {"a": 1}, (), goes_on))
        expected = {"points": [[10, 3.0], [20, 7.0], [30, 12.0]], "whole": 12.5}
        assert json.loads((made.path / CPU).read_text()) == expected
        assert workshop.cpu_s == {"teacher": expected}
        again = Workshop(tmp_path, console)
        again.make(Stage("teacher", "train", {"a": 1}, (), goes_on))
        assert again.cpu_s == {"teacher": expected}  # a stage that is found tells what it cost when it was made


def _record(imitation_episodes: int = 8) -> dict[str, Any]:
    cpu_s = {
        "demonstrations": {"points": [], "whole": 40.0},
        "teacher": {"points": [[64, 10.0], [128, 20.0]], "whole": 21.0},
        "expert": {"points": [], "whole": 2.0},
        "kd_lh": {"points": [[8, 1.0], [16, 3.0]], "whole": 4.0},
        "flight-kd_lh": {"points": [], "whole": 9.0},
    }
    curve = {"x_label": "training episodes", "y_label": "return"}
    return {
        "run": {"cpu_s": cpu_s},
        "config": {"teacher": {"imitation_episodes": imitation_episodes}},
        "policies": [
            {"name": "teacher_fo", "label": "teacher, FO"},
            {"name": "kd_lh", "label": "KD-MARL LH"},
            {"name": "mappo_lh_a", "label": "MAPPO LH+A"},
        ],
        "curves": [
            {"label": "teacher, FO", "x": [64, 128], "y": [1.0, 2.0], **curve},
            {"label": "KD-MARL LH", "x": [8, 16], "y": [0.5, 1.5], **curve},
            {"label": "MAPPO LH+A", "x": [64], "y": [0.1], **curve},
        ],
    }


def test_a_policy_costs_what_it_builds_on_too() -> None:
    record = _record()
    assert training_cpu_s(record, "teacher_fo") == 61.0
    assert training_cpu_s(record, "kd_lh") == 67.0
    assert training_cpu_s(record, "planner") is None  # learns nothing
    assert training_cpu_s(record, "mappo_lh_a") is None  # not told
    del record["run"]["cpu_s"]["demonstrations"]
    assert training_cpu_s(record, "teacher_fo") is None
    assert training_cpu_s({**record, "config": {"teacher": {"imitation_episodes": 0}}}, "teacher_fo") == 21.0
    assert training_cpu_s({**record, "run": {}}, "kd_lh") is None  # of an earlier version


def test_curves_over_cpu_seconds_begin_where_their_teacher_ends() -> None:
    curves = {curve.label: curve for curve in by_cpu(_record())}
    assert list(curves) == ["teacher, FO", "KD-MARL LH"]
    assert curves["teacher, FO"].x == (50.0, 60.0) and curves["teacher, FO"].y == (1.0, 2.0)
    assert curves["KD-MARL LH"].x == (64.0, 66.0) and curves["KD-MARL LH"].y == (0.5, 1.5)


def test_the_figure_has_a_point_where_a_policy_learns_and_a_line_where_it_does_not() -> None:
    def score(name: str, value: float) -> Score:
        return Score(name, name, (value,), Interval(value, value - 1, value + 1))

    priced = [(score("greedy_battery", 30.0), None), (score("teacher_fo", 56.0), 800.0), (score("kd_lh", 54.0), 890.0)]
    [axes] = captured_against_cost({"toy": priced}).axes
    points = [np.asarray(line.get_xydata())[0].tolist() for line in axes.lines if line.get_marker() == "o"]
    assert points == [[800.0, 56.0], [890.0, 54.0]]
    [rule] = [line for line in axes.lines if line.get_linestyle() == ":"]
    assert np.asarray(rule.get_ydata()).tolist() == [30.0, 30.0]
    assert [text.get_text() for text in axes.texts] == ["greedy_battery", "teacher_fo", "kd_lh"]
    heights = [text.get_position()[1] for text in axes.texts]
    assert heights[1] - heights[2] > 2.0  # kept apart
