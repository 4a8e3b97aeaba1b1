"""Data that all stages of a run on a game share, and the result of training a method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from torch import Tensor

from envs.games.api import Game
from envs.games.sensing import RandomMasks
from kdmarl_sat.console import Console
from kdmarl_sat.games.teacher import LoadedTeacher
from kdmarl_sat.stages import Stage, Workshop
from scenarios.games.schema import GameRunConfig
from scenarios.schema import to_dict
from training.artifact import Artifact, Place
from training.games.appended import AppendedGame, Columns
from training.games.distill import Teacher
from training.games.networks import RecurrentTeam, Sight

Work = Callable[[Place], dict[str, Any]]
_PACKAGES = ("jax", "jaxmarl", "mpe2", "pettingzoo")


@dataclass(frozen=True)
class Benchmark:
    """What every stage needs to know of a run."""

    config: GameRunConfig
    game: Game  # what students and MAPPO train on
    judged_on: Game  # the canonical implementation, for the final evaluation
    visible: Tensor | RandomMasks
    workshop: Workshop
    origin: dict[str, Any]  # commit, versions ... as they were when the run began

    @property
    def console(self) -> Console:
        return self.workshop.console

    def make(self, name: str, settings: dict[str, Any], sources: tuple[str, ...], work: Work) -> Artifact:
        """The artifact of a method's training; ``settings``: what of the configuration decides it."""
        depends_on = {**self.common, **settings, "method": name}
        stage = Stage(f"{self.config.scenario.name}-{name}", f"train {name}", depends_on, sources, work)
        return self.workshop.make(stage)

    @property
    def common(self) -> dict[str, Any]:
        """Part of every stage's digest."""
        installed = {}
        for package in _PACKAGES:
            try:
                installed[package] = version(package)
            except PackageNotFoundError:
                continue
        return {
            "scenario": to_dict(self.config.scenario),
            "backend": self.game.backend,
            "every_steps": self.config.evaluation.every_steps,
            "seed": self.config.seed,
            "packages": installed,
            "threads": self.config.compute.threads,
            **({"reproducible": True} if self.config.compute.reproducible else {}),
        }


@dataclass(frozen=True)
class Trained:
    """A method's networks, and how they came about."""

    team: RecurrentTeam
    sight: Sight
    artifact: Artifact
    columns: Columns | None = None  # appended to what the team observes in the final evaluation

    def played_on(self, game: Game) -> Game:
        """The game with the appended columns that the team reads."""
        return game if self.columns is None else AppendedGame(game, self.columns)


@dataclass(frozen=True)
class Taught:
    """The teacher of a run: as a method, and as what students learn from."""

    trained: Trained
    teacher: Teacher
    loaded: LoadedTeacher | None  # None: the run has trained it
