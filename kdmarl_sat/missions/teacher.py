"""A mission's teacher that is given by name: whether it fits the run, and the settings that come with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scenarios.schema import RunConfig, TeacherConfig
from training.artifact import DONE, Artifact
from training.missions.distill import Teacher
from training.missions.mappo import Learner
from training.missions.simulate import TeamPlan
from training.stored import Finished, Unfinished, check_networks, read_finished, read_unfinished

_NETWORKS = ("team", "critic", "value_norm")
# Network, tensor and axis whose length has a name for the user.
_SIZES = (
    ("team", "networks.0.context.weight", 0, "teacher.hidden (units)"),
    ("team", "networks.0.context.weight", 1, "columns of the satellite's own"),
    ("team", "networks.0.slot.weight", 1, "columns of each opportunity"),
    ("team", "networks.0.fixed.weight", 0, "actions besides imaging"),
    ("critic", "row.0.weight", 1, "columns of the critic's state"),
)
# What may differ when a training goes on: where and how fast it runs, what code makes, and how evaluations decide.
_APART = ("threads", "support_data", "scenario.support_data_dir", "extensions", "demonstrations", "plan.by_kind")


def load_teacher(config: RunConfig, plan: TeamPlan, learner: Learner) -> Artifact:
    """Put the networks in ``teacher.load`` into a fresh learner.

    Returns:
        Its folder, as an artifact whose digest is of the networks and of the settings that are used with them.

    Raises:
        ConfigError: it holds no teacher of this mission, with these feature blocks and sizes.
    """
    assert config.teacher.load is not None
    stored = read_finished(Path(config.teacher.load))
    made = stored.depends_on
    if stored.kind != "teacher":
        stored.refuse(f"a teacher of a mission, and it holds {stored.kind}")
    mission = made.get("scenario", {}).get("name", config.scenario.name)
    if mission != config.scenario.name:
        stored.refuse(f"a teacher of the mission {config.scenario.name}, and it is one of {mission}")
    blocks = made.get("plan", {}).get("visible", plan.visible)[0]
    if list(blocks) != list(plan.visible[0]):
        stored.refuse(f"a teacher that reads {', '.join(plan.visible[0])}, and it reads {', '.join(blocks)}")
    _check_networks(stored, stored.state, learner)
    for name in _NETWORKS:
        getattr(learner, name).load_state_dict(stored.state[name])
    discount_per_s, gae_lambda = _discounting(made, config.teacher)
    digest = stored.digest(discount_per_s=discount_per_s, gae_lambda=gae_lambda, by_kind=plan.by_kind)
    return stored.artifact(digest)


def open_training(config: RunConfig, depends_on: Mapping[str, Any], learner: Learner) -> Unfinished:
    """The training in ``teacher.resume``.

    Raises:
        ConfigError: it is not one of this mission with these settings and sizes.
    """
    assert config.teacher.resume is not None
    stored = read_unfinished(Path(config.teacher.resume))
    stored.check_settings("teacher", depends_on, _APART)
    state = stored.state.get("learner")
    if not isinstance(state, Mapping) or not {*_NETWORKS, "updates"} <= set(state):
        stored.refuse("a training of a teacher (MAPPO)")
    _check_networks(stored, state, learner)
    return stored


def as_teacher(learner: Learner, taught: Artifact, config: TeacherConfig) -> Teacher:
    """What students learn from, with the discounting that the teacher was trained with."""
    made = json.loads((taught.path / DONE).read_text())["depends_on"]
    return Teacher(learner.team, learner.critic, learner.value_norm, *_discounting(made, config))


def _discounting(made: Mapping[str, Any], config: TeacherConfig) -> tuple[float, float]:
    settings = made.get("teacher", {})
    return settings.get("discount_per_s", config.discount_per_s), settings.get("gae_lambda", config.gae_lambda)


def _check_networks(stored: Finished | Unfinished, state: Mapping[str, Any], learner: Learner) -> None:
    check_networks(stored, state, {name: getattr(learner, name).state_dict() for name in _NETWORKS}, _SIZES)
