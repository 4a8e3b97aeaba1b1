"""The other methods of the paper's Table III as stages of a run: CTDS, Tseng et al. and PTDE (docs/peers.md)."""

from __future__ import annotations

from typing import Any

import torch

from envs.games.make import make_game
from kdmarl_sat.games.context import Benchmark, Trained
from kdmarl_sat.games.methods import BY_NAME, sight_of, team_of
from kdmarl_sat.games.stage import PLAY, STUDENTS, VALUES, evaluations, fresh
from scenarios.schema import to_dict
from training import checkpoint
from training.artifact import Artifact, Place
from training.games import ctds as ctds_
from training.games import mappo, stretches
from training.games import ptde as ptde_
from training.games import tseng as tseng_
from training.games.appended import AppendedGame, AppendedSight, StateColumns
from training.games.distill import Teacher
from training.games.networks import StateCritic
from training.games.training import Curve, train_mappo
from training.games.value_decomposition import MixerName
from training.games.value_training import new_value_learner
from training.stored import FINAL

# The code that results depend on, for the cache.
SOURCES = {
    "ctds": (*VALUES, "training/games/ctds.py"),
    "tseng": (*STUDENTS, "training/games/stretches.py", "training/games/tseng.py"),
    "ptde": (*PLAY, "training/games/stretches.py", "training/games/ptde.py"),
}


def ctds(benchmark: Benchmark) -> Trained:
    """Teacher and students together, for the steps of ``values``; the students are kept."""
    config, method = benchmark.config, BY_NAME["ctds"]
    game = make_game(config.scenario, config.values.environments)
    sight, students = fresh(benchmark, method)
    teacher_sight = ctds_.TeacherSight(game.specs, sight, config.values.last_action)
    team = team_of(BY_NAME["qmix_fo"], config, game.specs, teacher_sight, config.seed)
    mixer: MixerName = "qmix" if config.ctds.mixer == "qmix" else "vdn"
    teacher = new_value_learner(mixer, team, game.state_size, config.values, config.seed)
    learner = ctds_.new_learner(teacher, teacher_sight, students, sight, config.values)

    def work(place: Place) -> dict[str, Any]:
        points = evaluations(benchmark, game, sight)
        curve = ctds_.train_ctds(learner, game, config.values, config.seed, place, points)
        return _saved(students, place, curve)

    settings = {"values": to_dict(config.values), "ctds": to_dict(config.ctds), "student": to_dict(config.student)}
    artifact = benchmark.make("ctds", settings, SOURCES["ctds"], work)
    students.load_state_dict(checkpoint.load(artifact.path / FINAL, artifact.digest)["team"])
    return Trained(students, sight, artifact)


def tseng(benchmark: Benchmark, teacher: Teacher, taught_by: dict[str, Any]) -> Trained:
    """Students of the run's teacher, from its play alone; ``taught_by``: which teacher."""
    config, method, distill = benchmark.config, BY_NAME["tseng"], benchmark.config.distill
    game = make_game(config.scenario, distill.environments)
    sight, students = fresh(benchmark, method)
    learner = tseng_.new_learner(students, sight, teacher, config.seed)

    def work(place: Place) -> dict[str, Any]:
        plan = stretches.Plan("tseng", tseng_.windows_of(distill), distill.environments * distill.window)
        points = evaluations(benchmark, game, sight)
        curve = tseng_.train_tseng(learner, teacher, game, config.tseng, distill, plan, place, points)
        return _saved(students, place, curve)

    settings = {**taught_by, "distill": to_dict(distill), "tseng": to_dict(config.tseng)}
    artifact = benchmark.make("tseng", {**settings, "student": to_dict(config.student)}, SOURCES["tseng"], work)
    students.load_state_dict(checkpoint.load(artifact.path / FINAL, artifact.digest)["team"])
    return Trained(students, sight, artifact)


def ptde(benchmark: Benchmark) -> Trained:
    """The first stage is an artifact of its own; the students' curve counts its steps and CPU time too."""
    config, method = benchmark.config, BY_NAME["ptde"]
    first_stage, left = ptde_.stages(config.mappo, config.ptde)
    taught, first = _ptde_first(benchmark, first_stage)
    began = first.info()["curve"][-1]
    sight = sight_of(method, config, benchmark.game.specs, benchmark.visible)
    widths = [config.student.hidden] * taught.agents
    students = ptde_.DistilledTeam(taught, widths, config.seed)
    learner = ptde_.new_learner(students, config.seed)
    distill = config.distill

    def work(place: Place) -> dict[str, Any]:
        game = make_game(config.scenario, distill.environments)
        per_window = distill.environments * distill.window
        plan = stretches.Plan("ptde", max(1, round(left / per_window)), per_window)
        informed = sight_of(method, config, game.specs, benchmark.visible, AppendedSight)
        with_state, points = AppendedGame(game, StateColumns()), evaluations(benchmark, game, sight)
        curve = ptde_.train_predictor(learner, taught, informed, with_state, distill, plan, place, points)
        added = {"steps": began["steps"], "cpu_s": began["cpu_s"]}
        return _saved(students, place, [{**p, **{k: p[k] + v for k, v in added.items()}} for p in curve])

    settings = {"first_stage": first.digest, "distill": to_dict(distill), "ptde": to_dict(config.ptde)}
    artifact = benchmark.make("ptde", {**settings, "student": to_dict(config.student)}, SOURCES["ptde"], work)
    students.load_state_dict(checkpoint.load(artifact.path / FINAL, artifact.digest)["team"])
    return Trained(students, sight, artifact)


def _ptde_first(benchmark: Benchmark, settings: Any) -> tuple[ptde_.PersonalisedTeam, Artifact]:
    config, method, game = benchmark.config, BY_NAME["ptde"], benchmark.game
    sight = sight_of(method, config, game.specs, benchmark.visible, AppendedSight)
    widths = [config.student.hidden] * len(game.specs)
    team = ptde_.PersonalisedTeam(sight.inputs, game.state_size, sight.actions, widths, config.ptde, config.seed)
    critic_seed = torch.Generator().manual_seed(config.seed + 2**32)
    critic = StateCritic(game.state_size, config.mappo.critic_hidden, critic_seed)
    learner = mappo.new_learner(team, sight, critic, config.seed)

    def work(place: Place) -> dict[str, Any]:
        with_state = AppendedGame(game, StateColumns())
        points = evaluations(benchmark, with_state, sight)
        return _saved(team, place, train_mappo(learner, with_state, settings, place, points))

    depends_on = {"mappo": to_dict(settings), "ptde": to_dict(config.ptde), "student": to_dict(config.student)}
    artifact = benchmark.make("ptde_first", depends_on, SOURCES["ptde"], work)
    team.load_state_dict(checkpoint.load(artifact.path / FINAL, artifact.digest)["team"])
    return team, artifact


def _saved(team: torch.nn.Module, place: Place, curve: Curve) -> dict[str, Any]:
    checkpoint.save(place.folder / FINAL, {"team": team.state_dict()}, place.key)
    return {"curve": curve}
