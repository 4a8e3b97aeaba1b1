"""What users may write, and what is refused in a sentence before any compute."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.satellites import name_of
from kdmarl_sat.missions import doors, pipeline, transfer
from onboard.budget import BudgetError
from scenarios.compose import composed
from scenarios.compute import OutputConfig
from scenarios.epoch import in_basilisk_format
from scenarios.folders import check_writable
from scenarios.messages import COMPOSITION_ERRORS, explain
from scenarios.ranges import ConfigError

MINE = """
defaults: [imaging_constellation, _self_]
duration_s: 600
epoch_utc: 2026-03-20T14:00:00+02:00
training_duration_s: [100, 200]
ground_stations: {min_elevation_deg: 5, at: {"Kiruna Süd": [68, 21], pole: [90, 0]}}
actions: {downlink_duration_s: 60}
hardware:
  6U-cubesat: {min_elevation_deg: 45, max_wheel_torque_Nm: 1, battery_Wh: 50, panel_area_m2: 1, base_power_W: 10,
               instrument_power_W: 30, initial_charge: [1, 1], panel_normal_B: [0, 1, 0]}
constellation: {per_plane: 1, classes: [{hardware: 6U-cubesat, sensing: full}]}
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A --config-dir whose name must be quoted."""
    folder = tmp_path / "jürgen's own"
    (folder / "scenario").mkdir(parents=True)
    (folder / "scenario" / "mine.yaml").write_text(MINE)
    return folder


def test_whole_numbers_an_iso_epoch_and_a_name_with_a_dash(own: Path) -> None:
    scenario = composed("scenario=mine", config_dir=own).scenario
    assert scenario.ground_stations is not None
    assert scenario.ground_stations.at == {"Kiruna Süd": [68.0, 21.0], "pole": [90.0, 0.0]}
    assert all(type(angle) is float for place in scenario.ground_stations.at.values() for angle in place)
    assert scenario.training_duration_s == [100.0, 200.0]
    assert scenario.epoch_utc == "2026 MAR 20 12:00:00.000 (UTC)"
    env = ConstellationEnv(scenario)
    env.reset([0])
    assert [spec.name for spec in env.specs] == ["sat_0_6U_cubesat"]
    env.close()


@pytest.mark.parametrize("place", ["[90]", "[90,0,0]", "[91,0]", "pole", "[true,0]", "[nan,0]", "{a: 1}", "null"])
def test_a_station_elsewhere_is_refused(place: str) -> None:
    with pytest.raises(ConfigError, match=r"scenario.ground_stations.at.pole=.*latitude_deg, longitude_deg"):
        composed("scenario=tip_and_cue", f"+scenario.ground_stations.at.pole={place}")


def test_epochs() -> None:
    assert in_basilisk_format("2026-03-20T12:00:00Z") == "2026 MAR 20 12:00:00.000 (UTC)"
    assert in_basilisk_format("2026-03-20 12:00:00.25") == "2026 MAR 20 12:00:00.250 (UTC)"
    assert in_basilisk_format("2026-01-01T00:30:00+01:00") == "2025 DEC 31 23:30:00.000 (UTC)"
    for other in ("2026 MAR 20 12:00:00.000 (UTC)", "tomorrow", "2026-13-01"):
        assert in_basilisk_format(other) == other


def test_names_of_satellites_are_identifiers() -> None:
    for hardware in ("6U-cubesat", "a b", "größer", "../x", "x" * 48):
        assert name_of(3, hardware).isidentifier() and name_of(3, hardware).isascii()
    assert name_of(3, "wide") == "sat_3_wide"


@pytest.mark.parametrize("name", ["../../escape", "x" * 300, "a\\\\b", "line\\nbreak"])
@pytest.mark.parametrize("where", ["scenario.name=", "+scenario.sensing.", "+scenario.hardware."])
def test_names_that_cannot_be_used_are_refused(where: str, name: str, own: Path) -> None:
    bus = MINE.partition("hardware:")[2].partition("constellation")[0]
    content = {
        "scenario.name=": f'name: "{name}"\n',
        "+scenario.sensing.": f'sensing: {{"{name}": [battery]}}\n',
        "+scenario.hardware.": bus.replace("6U-cubesat", f'"{name}"'),
    }[where]
    head = "hardware:" if where.endswith("hardware.") else ""
    (own / "scenario" / "odd.yaml").write_text(f"defaults: [imaging_constellation, _self_]\n{head}{content}")
    allowed = "letters, digits, _" if where == "scenario.name=" else "a name of 1 to 48 printable characters"
    with pytest.raises(ConfigError, match=f"must be {allowed}") as caught:
        composed("scenario=odd", config_dir=own)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "limit",
    ["max_parameters=1", "max_bytes=1", "max_ram_bytes=1", "max_macs_per_decision=1", "max_instructions=1",
     "max_latency_ms=0.0001", "max_energy_mj=0.0001", "max_bits_per_decision=1"],
)  # fmt: skip
def test_a_budget_that_nothing_meets_is_refused_before_anything_is_made(tmp_path: Path, limit: str) -> None:
    config = composed("preset=smoke", f"budget.{limit}", f"output.cache_dir='{tmp_path}/cache'")
    with pytest.raises(BudgetError, match="the bundle is over its budget"):
        pipeline.run(config, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("field", ["dir", "cache_dir", "records_dir"])
def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path: Path, field: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=rf"output.{field}=.*/file/below is not allowed: .* \(Not a directory\)"):
        check_writable(OutputConfig(**{"cache_dir": str(tmp_path), field: f"{tmp_path}/file/below"}))
    check_writable(OutputConfig(cache_dir=str(tmp_path / "a" / "b")))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_transfer_knows_a_config_dir(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(transfer, "work", lambda *given: asked.append(given))
    doors.transfer(["scenario=mine", "--config-dir", str(own), "to.scenario.duration_s=700"])
    [(run, missions, _, bundles)] = asked
    assert not bundles
    assert run.scenario.duration_s == 600.0
    assert [scenario.duration_s for scenario in missions.values()] == [700.0]


def test_a_config_dir_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--config-dir=.*/none'? is not allowed: it must be a folder"):
        composed(config_dir=tmp_path / "none")


NUMBERS = (
    "duration_s", "sim_step_s", "death_penalty", "constellation.planes", "constellation.altitude_km",
    "constellation.spacing_deg", "targets.clusters_per_orbit", "targets.priority_exponent", "actions.image_slots",
    "actions.image_timeout_s", "actions.charge_duration_s", "guard.reserve_min_Wh", "faults.satellite_failures",
    "hardware.wide.battery_Wh", "hardware.wide.initial_charge", "hardware.wide.panel_normal_B", "training_duration_s",
)  # fmt: skip


PAIRS = ("initial_charge", "panel_normal_B", "training_duration_s")


@pytest.mark.parametrize("name", NUMBERS)
def test_odd_numbers_get_a_sentence(name: str) -> None:
    for value in (math.nan, math.inf, -math.inf):
        text = f"[{value},{value}]" if name.endswith(PAIRS) else str(value)
        with pytest.raises((ConfigError, *COMPOSITION_ERRORS)) as caught:
            composed(f"scenario.{name}={text}")
        said = explain(caught.value) if not isinstance(caught.value, ConfigError) else str(caught.value)
        assert said.startswith(f"scenario.{name}=") and "must be" in said


def test_numbers_of_the_teacher_and_the_distillation_are_finite() -> None:
    for odd in ("teacher.entropy=[0.1,nan]", "teacher.entropy=[inf,0]", "distill.max_grad_norm=nan"):
        with pytest.raises(ConfigError, match=r"teacher\.entropy|distill\.max_grad_norm"):
            composed(odd)
    with pytest.raises(ConfigError, match=r"battery_Wh=1e\+308 is not allowed: it must be at most 1e\+15"):
        composed("scenario.hardware.wide.battery_Wh=1e308")
