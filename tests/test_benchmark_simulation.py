"""The simulation benchmark: what it compares, what it refuses, what it records."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from kdmarl_sat.measure import doors
from kdmarl_sat.measure.simulation import largest_difference, resident_mib


def test_rewards_are_compared_where_our_steps_end() -> None:
    theirs = [(10.0, 0.5), (20.0, 0.0), (30.004, 0.25)]  # they stop more often
    assert largest_difference([(10.0, 0.5), (30.0, 0.75)], theirs) == 0.0
    assert largest_difference([(10.0, 0.5), (30.0, 0.7)], theirs) == pytest.approx(0.05)
    assert largest_difference([(10.0, 0.5), (25.0, 0.5)], theirs) == math.inf
    assert largest_difference([(10.0, 0.5)], []) == math.inf


def test_memory_that_was_given_back_is_not_counted() -> None:
    before = resident_mib()
    block = np.ones(2**25)  # 256 MiB
    assert resident_mib() - before == pytest.approx(256, abs=32)
    del block
    assert resident_mib() - before == pytest.approx(0, abs=32)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["scenario.sim_step_s=9"], "scenario.sim_step_s=9.0 is not allowed: it must be "),
        (["scenario.nonsense=1"], "scenario.nonsense is not a known key"),
        (
            ["scenario.communication.mode=line_of_sight"],
            "scenario.communication.mode='line_of_sight' is not compared with plain ",
        ),
        (["episodes=0"], "episodes=0 is not allowed: it must be at least 1"),
    ],
)
def test_a_wrong_call_is_one_sentence(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        doors.simulation([*arguments, f"record={tmp_path / 'new/record.json'}"])
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_the_record_is_plain_json_and_memory_comes_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    doors.simulation(["scenario.duration_s=120", "episodes=1", "resets=2", f"record={tmp_path / 'new/record.json'}"])
    record = json.loads((tmp_path / "new/record.json").read_text())
    assert list(record) == ["run", "memory", "speed"]
    assert record["speed"]["rewards equal"] is True
    assert record["speed"]["decisions"] >= 4
    assert 50 < record["memory"]["resident MiB after a fifth"] <= record["memory"]["resident MiB at the end"] + 32
    assert '"rewards equal": true' in capsys.readouterr().out
