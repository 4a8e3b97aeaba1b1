"""docs/new_scenario.md: its mission is flown as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.heuristics import GreedyPolicy
from scenarios.compose import composed
from scenarios.mission import (
    BLOCKS,
    CLOUD_BLOCKS,
    DESATURATION_BLOCKS,
    DOWNLINK_BLOCKS,
    DUE_BLOCKS,
    FORECAST_BLOCKS,
    INTENT_BLOCKS,
    SCOUT_BLOCKS,
)
from tests.test_config import ROOT

PAGE = (ROOT / "docs" / "new_scenario.md").read_text()


def test_the_documented_mission_flies(tmp_path: Path) -> None:
    [text] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "scenario").mkdir()
    (tmp_path / "scenario" / "coast.yaml").write_text(text)
    scenario = composed(f"hydra.searchpath=['file://{tmp_path}']", "scenario=coast", "scenario.duration_s=120").scenario
    env = ConstellationEnv(scenario)
    assert [spec.hardware for spec in env.specs] == ["optical", "agile"] * 3  # as its comment says
    policy = GreedyPolicy(env.specs)
    step = env.reset([0])
    while not (step.terminated | step.truncated).all():
        step = env.step(policy.act(step))
    assert sum(env.results()[0].decisions) >= 6


def test_every_block_is_documented() -> None:
    table = PAGE[PAGE.index("## Feature blocks") : PAGE.index("`teacher_sensing`")]
    rows = "".join(line.partition("|")[2].partition("|")[0] for line in table.splitlines())
    added = (*DOWNLINK_BLOCKS, *DESATURATION_BLOCKS, *SCOUT_BLOCKS, *CLOUD_BLOCKS, *FORECAST_BLOCKS, *INTENT_BLOCKS)
    every = {*BLOCKS, *added, *DUE_BLOCKS}
    assert {*re.findall(r"`(\w+)`", rows)} == every


def test_its_faults_are_settings() -> None:
    [line] = re.findall(r"^    faults: \{(.*)\}$", PAGE, re.MULTILINE)
    overrides = [f"scenario.faults.{part.replace(': ', '=')}" for part in line.split(", ")]
    faults = composed(*overrides).scenario.faults
    assert (faults.satellite_failures, faults.missing_decisions) == (0.1, 0.05)
