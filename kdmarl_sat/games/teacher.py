"""A game's teacher that is loaded by name: checks that it fits the run, and gives the settings that come with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envs.api import AgentSpec
from envs.games.api import Game
from scenarios.games.schema import CurriculumConfig, GameRunConfig
from scenarios.schema import to_dict
from training.artifact import Artifact
from training.games.mappo import Learner
from training.stored import Finished, Unfinished, check_networks, differences, read_finished, read_unfinished

_NETWORKS = ("team", "critic", "value_norm")
# Network, tensor and axis whose length has a name for the user.
_SIZES = (
    ("team", "head_weight", 1, "mappo.hidden (units)"),
    ("critic", "value.0.weight", 0, "mappo.critic_hidden (units)"),
    ("team", "encoder_weight", 1, "input columns"),
    ("team", "head_weight", 2, "actions"),
    ("critic", "value.0.weight", 1, "columns of the critic's state"),
)
# What of a game's settings does not change what the teacher plays: it sees everything, wherever the game runs.
_PLACE = ("name", "environment.backend", "environment.sc2_path")
_SIGHT = ("sensing", "agents", "random_mask")
# Settings in which a training may go on otherwise than it began: where and how fast it runs.
_APART = ("packages", "threads", "scenario.environment.sc2_path", "scenario.environment.backend")


@dataclass(frozen=True, slots=True)
class LoadedTeacher:
    """Where a teacher came from, and the settings that are used with it."""

    path: str  # as the user named it
    seed: int  # that it was trained with
    digest: str  # of its networks and of the next two
    discount: float
    gae_lambda: float
    artifact: Artifact
    mappo: Mapping[str, Any]  # all that it was trained with
    curriculum: Mapping[str, Any] | None

    def source(self) -> dict[str, Any]:
        """For the run record."""
        return {"path": self.path, "seed": self.seed, "digest": self.digest}

    def config(self, config: GameRunConfig) -> dict[str, Any]:
        """The run's settings as plain JSON, with the teacher's in place of those that this run did not use."""
        said = to_dict(config)
        said["teacher"]["phases"] = self.mappo.get("phases", said["teacher"]["phases"])
        said["teacher"]["curriculum"] = dict(self.curriculum or to_dict(CurriculumConfig()))
        said["mappo"] |= {key: value for key, value in self.mappo.items() if key in said["mappo"] and key != "phases"}
        return said


def load_teacher(config: GameRunConfig, game: Game, learner: Learner) -> LoadedTeacher:
    """Put the networks in ``teacher.load`` into a fresh learner.

    Raises:
        ConfigError: it holds no teacher of this game, with these feature blocks, actions and sizes.
    """
    assert config.teacher.load is not None
    stored = read_finished(Path(config.teacher.load))
    made = stored.depends_on
    if made.get("method") != "teacher":
        stored.refuse(f"a teacher of a game, and it holds {stored.kind}")
    seed = int(made.get("seed", config.seed))
    if "teacher" in config.methods and seed != config.seed:
        stored.refuse(
            f"of this run's seed where methods name the teacher too, and its seed is {seed}: add "
            f"seed={seed}, or leave teacher out of methods"
        )
    scenario = to_dict(config.scenario)
    told = config.scenario.environment.leak_free  # legal actions then tell what an agent senses
    unlike = differences(scenario, made.get("scenario", {}), (*_PLACE, *(() if told else _SIGHT)))
    if made.get("backend", game.backend) != game.backend:
        unlike.append(f"it was trained on {made['backend']}, and this is {game.backend}")
    if unlike:
        stored.refuse(f"a teacher of this game: {'; '.join(unlike)}")
    agents = stored.info.get("agents")
    if agents is not None and agents != agents_of(game.specs):
        stored.refuse("a teacher of agents with the feature blocks and actions of this game's, and its agents' differ")
    mappo = made.get("mappo", {})
    if mappo.get("last_action", config.mappo.last_action) != config.mappo.last_action:
        stored.refuse(f"a teacher with mappo.last_action={config.mappo.last_action}, and it has the other")
    _check_networks(stored, stored.state, learner)
    for name in _NETWORKS:
        getattr(learner, name).load_state_dict(stored.state[name])
    discount = mappo.get("discount", config.mappo.discount)
    gae_lambda = mappo.get("gae_lambda", config.mappo.gae_lambda)
    digest = stored.digest(discount=discount, gae_lambda=gae_lambda)
    artifact, curriculum = stored.artifact(digest), made.get("curriculum")
    return LoadedTeacher(config.teacher.load, seed, digest, discount, gae_lambda, artifact, mappo, curriculum)


def open_training(config: GameRunConfig, kind: str, depends_on: Mapping[str, Any], learner: Learner) -> Unfinished:
    """The training in ``teacher.resume``.

    Raises:
        ConfigError: it is not one of this game with these settings and sizes.
    """
    assert config.teacher.resume is not None
    stored = read_unfinished(Path(config.teacher.resume))
    stored.check_settings(kind, depends_on, _APART)
    state = stored.state.get("learner")
    if not isinstance(state, Mapping) or not {*_NETWORKS, "updates", "actor_optimiser"} <= set(state):
        stored.refuse("a training of a teacher (MAPPO)")
    _check_networks(stored, state, learner)
    return stored


def agents_of(specs: Sequence[AgentSpec]) -> list[dict[str, Any]]:
    """What each agent sees and can do, as plain JSON."""
    return [
        {
            "name": spec.name,
            "blocks": [[block.name, block.columns] for block in spec.blocks],
            "actions": [*spec.actions],
        }
        for spec in specs
    ]


def _check_networks(stored: Finished | Unfinished, state: Mapping[str, Any], learner: Learner) -> None:
    check_networks(stored, state, {name: getattr(learner, name).state_dict() for name in _NETWORKS}, _SIZES)
