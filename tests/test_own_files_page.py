"""docs/own-files.md: its commands run, its settings are the example's, its table is what tests measure."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from scenarios.compose import composed
from tests.test_config import ROOT

PAGE = (ROOT / "docs" / "own-files.md").read_text()
TYPED = re.findall(r"^    (?:python )?((?:-m|kdmarl-sat) .*)$", PAGE, re.MULTILINE)
COMMANDS = [each.replace("kdmarl-sat", "-m kdmarl_sat") for each in TYPED]
EXAMPLE = ROOT / "examples" / "scenario" / "own_files.yaml"


def run(command: str, *more: str) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, *shlex.split(command), *more]
    return subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=1800)


@pytest.mark.parametrize("command", [each for each in COMMANDS if "preview" in each])
def test_previews_fly(command: str) -> None:
    done = run(command, "scenario.duration_s=1200")
    assert done.returncode == 0 and done.stderr == ""
    assert re.search(
        r"^6 satellites from examples/satellites\.\w+, epoch 2026 MAR 20 12:00:00.000 \(UTC\)$", done.stdout, re.M
    )
    assert re.search(r"^8 stations from examples/stations.geojson, [1-9]\d* passes$", done.stdout, re.M)
    [(images, captured)] = re.findall(
        r"^greedy \+ battery, without the guard, seed=0: (\d+) images in 1200 s, priority ([\d.]+) of",
        done.stdout,
        re.M,
    )
    assert int(images) > 0 and float(captured) > 0


@pytest.mark.slow
def test_the_whole_method_runs(tmp_path: Path) -> None:
    [command] = [each for each in COMMANDS if "kdmarl_sat.run" in each]
    done = run(command, f"output.dir={tmp_path / 'run'}", f"output.cache_dir={tmp_path / 'cache'}")
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.rglob("metrics.json"))


@pytest.mark.parametrize("command", [each for each in COMMANDS if "kdmarl_sat fly" in each])
def test_schedules_are_made_without_training(command: str, tmp_path: Path) -> None:
    done = run(command, "scenario.duration_s=600", "compute.workers=1", f"output.dir={tmp_path}")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    [folder] = tmp_path.iterdir()
    for name in re.findall(r"^\| (`[^|]*) \|", PAGE[PAGE.index("## The schedule") :], re.M)[:4]:
        assert all((folder / each).is_file() for each in re.findall(r"`([\w.]+)`", name))
    rows = (folder / "schedule.csv").read_text().splitlines()
    outcomes = {row.rpartition(",")[2] for row in rows[1:]}
    columns = rows[0].split(",")
    told = PAGE[PAGE.index("A row of the schedule") : PAGE.index("The report shows")]
    assert all(f"`{column}`" in told for column in columns) and all(f"`{outcome}`" in told for outcome in outcomes)
    assert {row.split(",")[2] for row in rows[1:]} >= {"KITE_1", "PENDULUM"}


def test_a_mistake_is_one_sentence() -> None:
    preview = next(each for each in COMMANDS if "preview" in each)
    done = run(preview, "scenario.targets.file=nowhere.csv")
    assert done.returncode == 2 and done.stdout == ""
    allowed = "it must be a file that can be read (No such file or directory)"
    assert done.stderr == f"kdmarl-sat preview: scenario.targets.file='nowhere.csv' is not allowed: {allowed}\n"


def test_the_pages_settings_are_the_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    example = yaml.safe_load(EXAMPLE.read_text())
    for block in re.findall(r"((?:^    (?!python|kdmarl-sat).*\n)+)", PAGE, re.MULTILINE):
        for group, settings in yaml.safe_load("\n".join(line[4:] for line in block.splitlines())).items():
            assert example[group] == settings
    monkeypatch.chdir(ROOT)
    scenario = composed("scenario=own_files", config_dir=ROOT / "examples").scenario
    assert scenario.constellation.size == 6 and len(scenario.ground_stations.at) == 8  # type: ignore[union-attr]
    assert [member.hardware for member in scenario.constellation.members] == ["narrow"] * 2 + ["wide"] * 3 + ["slow"]
