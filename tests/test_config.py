"""Composing configurations, and what a user reads when one is wrong."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kdmarl_sat.command import verdict
from onboard.bundle import BundleError
from scenarios.communication import CommunicationConfig
from scenarios.compose import composed
from scenarios.constellation import HardwareConfig
from scenarios.ranges import ConfigError
from scenarios.schema import RunConfig

ROOT = Path(__file__).parents[1]
SCENARIOS = sorted(file.stem for file in (ROOT / "scenarios/scenario").glob("*.yaml"))
PRESETS = sorted(file.stem for file in (ROOT / "scenarios/preset").glob("*.yaml"))


def command(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kdmarl_sat.run", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_scenario_with_every_preset(scenario: str, preset: str) -> None:
    config = composed(f"scenario={scenario}", f"preset={preset}")
    assert config.preset == preset
    assert config.scenario.name == scenario
    assert isinstance(config.scenario.communication, CommunicationConfig)
    assert all(isinstance(hardware, HardwareConfig) for hardware in config.scenario.hardware.values())


def test_presets_override_the_mission_and_the_command_line_overrides_both() -> None:
    assert composed("preset=default").scenario.duration_s == 2850.0
    assert composed("preset=smoke").scenario.duration_s == 600.0
    assert composed("preset=full").scenario.training_duration_s == [2850.0, 5700.0]
    assert composed("preset=smoke", "scenario.duration_s=90", "seed=7").scenario.duration_s == 90.0


def test_defaults_of_the_schema_are_the_default_preset() -> None:
    config = composed()
    schema = RunConfig(scenario=config.scenario)
    assert config == schema


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["scenario=mars"], "scenario='mars' is not known: it must be one of bskrl_aeos, imaging_constell"),
        (["scenario=smac_25m"], "scenario='smac_25m' is not known (did you mean smac_8m?): it must be one of bskrl_"),
        (
            ["workers=8"],
            "workers=8 is not allowed: it must be a name, see --help; how many there are is compute.workers",
        ),
        (["preset=huge"], "preset='huge' is not known: it must be one of default, full, smoke"),
        (["teacher.hiden=3"], "teacher.hiden is not a known key (did you mean hidden?): teacher has hidden, "),
        (["+teacher.hiden=3"], "teacher.hiden is not a known key (did you mean hidden?): teacher has hidden, "),
        (["sede=3"], "sede is not a known key (did you mean seed?): the configuration has seed, preset, scenario,"),
        (["teacher.hidden=big"], "teacher.hidden='big' is not allowed: it must be a whole number"),
        (["scenario.communication.mode=radio"], "mode='radio' is not allowed: it must be one of none, free, line_of"),
        (
            ["scenario.communication=none"],
            "kdmarl-sat: scenario.communication='none' is not allowed: it must be a group of keys (mode, intent_bits, "
            "intent_loss); write scenario.communication.mode=none, or in YAML communication: {mode: none}\n",
        ),
        (["scenario.communication.intent_bits=1.5"], "intent_bits=1.5 is not allowed: it must be a whole number\n"),
        (["scenario.communication.intent_loss=nan"], "communication.intent_loss=nan is not allowed: it must be"),
        (["scenario.training_duration_s=[a,9]"], "training_duration_s.0='a' is not allowed: it must be a number\n"),
        (["scenario.duration_s=1e12"], "scenario.duration_s=1000000000000.0 is not allowed: it must be between 0 and"),
        (["scenario.training_duration_s=9"], "=9 is not allowed: it must be a list (a number each) or null"),
        (["teacher.clip=5"], "teacher.clip=5.0 is not allowed: it must be between 0.01 and 1"),
        (["scenario.sensing.full=[smell]"], "full='smell' is not allowed: it must be among the blocks battery, "),
        (
            ["scenario.constellation.planes=0"],
            "kdmarl-sat: scenario.constellation.planes=0 is not allowed: it must be between 1 and 1000",
        ),
        (["scenario.constellation.altitude_km=-5"], "altitude_km=-5.0 is not allowed: it must be between 250 and 2000"),
        (["scenario.constellation.altitude_km=120"], "altitude_km=120.0 is not allowed: it must be between 250 and"),
        (
            ["scenario.constellation.per_plane=3"],
            "constellation.classes=4 is not allowed: it must be at most 3, one per",
        ),
        (
            ["scenario.constellation.planes=2", "scenario.constellation.raan_spacing_deg=0"],
            "raan_spacing_deg=0.0 is not allowed: it must be such that satellites 0 and 4 are not in the same place",
        ),
        (["scenario.constellation.classes=[{hardware: wide}]"], "classes.0.sensing is not set: it must be text"),
        (
            ["scenario.constellation.classes=[{hardware: huge, sensing: full}]"],
            "classes.0.hardware='huge' is not allowed: it must be one of narrow, slow, wide",
        ),
        (["seed=${nothing}"], "seed is not understood: Interpolation key 'nothing' not found"),
        (["seed 3"], "'seed 3' is not understood: it must be KEY=VALUE"),
        (["-m", "seed=0,-1"], "seed=-1 is not allowed: it must be between 0 and 2147483647"),
        (
            [
                *("-m", "compute.workers=1,1000", "training.worlds=1"),
                *("scenario.constellation.planes=20", "scenario.constellation.per_plane=20"),
            ],
            "compute.workers=1000 is not allowed: each takes about 6.9 GiB with 400 satellites",
        ),
        (["-m", "scenario=imaging_constellation,mars"], "scenario='mars' is not known: it must be one of"),
    ],
)
def test_a_bad_configuration_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    done = command(tmp_path, *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("kdmarl-sat: ")
    assert done.stderr.count("\n") == 1
    assert sentence in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_whole_error_on_request(tmp_path: Path) -> None:
    done = command(tmp_path, "seed=-1", HYDRA_FULL_ERROR="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "scenarios.ranges.ConfigError: seed=-1 is not allowed" in done.stderr


def mission(folder: Path, *lines: str) -> list[str]:
    file = folder / "my_mission" / "scenario" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("\n".join(lines) + "\n")
    return ["--config-dir", "my_mission", "scenario=mine"]


def test_a_mission_of_ones_own_in_three_lines(tmp_path: Path) -> None:
    arguments = mission(
        tmp_path,
        "defaults: [imaging_constellation, _self_]",
        "name: mine",
        "constellation: {planes: 2, per_plane: 2, altitude_km: 700}",
    )
    done = command(tmp_path, *arguments, "--cfg", "job")
    assert done.returncode == 0, done.stderr
    scenario = yaml.safe_load(done.stdout)["scenario"]
    assert scenario["name"] == "mine"
    assert scenario["constellation"]["per_plane"] == 2
    assert scenario["constellation"]["altitude_km"] == 700.0
    ours = composed().scenario
    assert scenario["constellation"]["inclination_deg"] == ours.constellation.inclination_deg
    assert list(scenario["hardware"]) == list(ours.hardware)


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["defaults: [imaging_constellation, _self_]", "duration_s: -1"], "scenario.duration_s=-1.0 is not allowed"),
        (["defaults: [imaging_constellation, _self_]", "duration: 1"], "duration is not a known key (did you mean d"),
        (["defaults: [imaging, _self_]"], "scenario='imaging' is not known, named in 'scenario/mine'"),
        (["name: [mine"], "scenario/mine.yaml"),
        (["name: mine"], "scenario.constellation.classes is not set"),
    ],
)
def test_a_mission_of_ones_own_is_checked(tmp_path: Path, lines: list[str], sentence: str) -> None:
    done = command(tmp_path, *mission(tmp_path, *lines))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert sentence in done.stderr


def test_exit_codes() -> None:
    assert verdict(ConfigError("seed=-1 is not allowed")) == (2, "seed=-1 is not allowed")
    full_disk = OSError(errno.ENOSPC, "No space left on device", "outputs/metrics.json")
    assert verdict(full_disk) == (1, "No space left on device: outputs/metrics.json")
    assert verdict(BundleError("the bundle is\ndamaged")) == (1, "the bundle is damaged")
    assert verdict(ValueError("a bug")) is None


def test_the_sweep_flag_may_stand_anywhere(tmp_path: Path) -> None:
    """A sweep whose second run is refused gets as far as checking it, wherever -m stands."""
    for arguments in (["-m", "preset=smoke", "seed=0,-1"], ["preset=smoke", "-m", "seed=0,-1"]):
        result = command(tmp_path, *arguments)
        assert result.returncode == 2
        assert "seed=-1 is not allowed" in result.stderr
