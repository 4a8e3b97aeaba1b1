"""Stored teachers of missions: they load by name, and what does not fit is refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch

from envs.basilisk.environment import ConstellationEnv
from kdmarl_sat.missions.teacher import as_teacher, load_teacher
from scenarios.compose import composed
from scenarios.ranges import ConfigError
from scenarios.schema import RunConfig
from training import checkpoint
from training.missions.loops import fresh_learner
from training.missions.mappo import Learner
from training.missions.simulate import TeamPlan

DISCOUNT_PER_S = {
    "bskrl_aeos": 0.999,
    "imaging_constellation": 0.999,
    "optical_sar": 0.999,
    "tip_and_cue": 0.9997,
    "walker_cities": 0.999,
}
CHECKPOINTS = Path(__file__).parents[1] / "results" / "checkpoints"


def stored(mission: str) -> Path:
    [folder] = CHECKPOINTS.glob(f"{mission}-teacher-*")
    return folder


def fresh(config: RunConfig) -> tuple[TeamPlan, Learner]:
    env = ConstellationEnv(config.scenario)
    agents = tuple(range(len(env.specs)))
    plan = TeamPlan((tuple(config.scenario.taught),) * len(agents), (agents,), (config.teacher.hidden,))
    return plan, fresh_learner(plan, env.specs, env.state_size, config.teacher, config.seed)


@pytest.mark.parametrize("mission", DISCOUNT_PER_S)
def test_the_stored_teachers_load(mission: str) -> None:
    folder = stored(mission)
    config = composed(f"scenario={mission}", f"teacher.load={folder}", "seed=3")
    plan, learner = fresh(config)
    artifact = load_teacher(config, plan, learner)
    done = json.loads((folder / "done.json").read_text())
    kept = checkpoint.load(folder / "final.safetensors", done["digest"])["team"]
    assert all(torch.equal(value, kept[name]) for name, value in learner.team.state_dict().items())
    teacher = as_teacher(learner, artifact, config.teacher)
    assert teacher.discount_per_s == done["depends_on"]["teacher"]["discount_per_s"] == DISCOUNT_PER_S[mission]
    assert artifact.digest != done["digest"]  # of the networks, whatever code made them


def test_the_same_networks_deciding_otherwise_are_another_teacher() -> None:
    folder = stored("optical_sar")
    config = composed("scenario=optical_sar", f"teacher.load={folder}")
    plan, learner = fresh(config)
    by_kind = dataclasses.replace(plan, by_kind=True)
    assert load_teacher(config, plan, learner).digest != load_teacher(config, by_kind, learner).digest


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    folder = stored("imaging_constellation")
    for overrides, said in (
        (("scenario=optical_sar",), "a teacher of the mission optical_sar, and it is one of imaging_constellation"),
        (("teacher.hidden=64",), r"teacher.hidden \(units\) 128 there, 64 here"),
        (("scenario.teacher_sensing=[battery,gyro]",), "a teacher that reads battery, gyro, and it reads battery, "),
    ):
        config = composed(f"teacher.load={folder}", *overrides)
        with pytest.raises(ConfigError, match=said):
            load_teacher(config, *fresh(config))
    damaged = Path(shutil.copytree(folder, tmp_path / "damaged"))
    content = bytearray((damaged / "final.safetensors").read_bytes())
    content[-5] ^= 1
    (damaged / "final.safetensors").write_bytes(content)
    config = composed(f"teacher.load={damaged}")
    with pytest.raises(ConfigError, match="damaged"):
        load_teacher(config, *fresh(config))
