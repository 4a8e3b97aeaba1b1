"""The scaling benchmark: its exponent, its missions, what it refuses; a small one is run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kdmarl_sat.measure import doors
from kdmarl_sat.measure.scale import growth_exponent
from kdmarl_sat.measure.sizes import CLUSTERS_PER_SATELLITE, sized


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.7])
def test_the_exponent_of_a_power_law_is_found(exponent: float) -> None:
    sizes = [4, 8, 16, 32, 66]
    assert growth_exponent(sizes, [3.0 * size**exponent for size in sizes]) == pytest.approx(exponent)


def test_targets_grow_with_the_constellation_and_overrides_count() -> None:
    run = sized(6, 11, ["scenario.duration_s=120"]).scenario
    assert run.constellation.size == 66 and run.constellation.raan_spacing_deg == 60
    assert run.targets.clusters_per_orbit == 66 * CLUSTERS_PER_SATELLITE
    assert run.duration_s == 120


def test_a_small_one_leaves_a_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "scale.json"
    doors.scale(["scenario.duration_s=120", "largest=8", f"record={path}"])
    record = json.loads(path.read_text())
    assert [row["satellites"] for row in record["sizes"]] == [4, 8]
    assert record["rewards equal"] is True
    assert record["met"] is None  # 32 satellites were not flown
    assert "growth exponents: ours" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["largest=4"], "largest=4 is not allowed: it must be at least 8"),
        (["episodes=0"], "episodes=0 is not allowed: it must be at least 1"),
        (["scenario.sim_step_s=9"], "scenario.sim_step_s=9.0 is not allowed: it must be "),
    ],
)
def test_a_wrong_call_is_one_sentence(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        doors.scale([*arguments, f"record={tmp_path / 'new/record.json'}"])
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())
