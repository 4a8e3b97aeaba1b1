"""The other methods of the paper's Table III as stages of a run: CTDS, Tseng et al. and PTDE (docs/peers.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from envs.games.make import make_game
from kdmarl_sat.games.context import Benchmark, Trained
from kdmarl_sat.games.methods import BY_NAME, sight_of, team_of
from kdmarl_sat.games.stage import PLAY, STUDENTS, VALUES, fresh, measure_on
from scenarios.schema import to_dict
from training import checkpoint
from training.artifact import Artifact, make
from training.games import ctds as ctds_
from training.games import mappo, stretches
from training.games import ptde as ptde_
from training.games import tseng as tseng_
from training.games.appended import AppendedGame, AppendedSight, StateColumns
from training.games.distill import Teacher
from training.games.networks import StateCritic
from training.games.training import train_mappo
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

    def work(folder: Path, key: str) -> dict[str, Any]:
        with benchmark.console.stage("train ctds") as progress:
            curve = ctds_.train_ctds(
                learner,
                game,
                config.values,
                config.seed,
                folder,
                key,
                progress,
                measure_on(game, sight),
                config.evaluation.every_steps,
            )
        checkpoint.save(folder / FINAL, {"team": students.state_dict()}, key)
        return {"curve": curve}

    settings = {"values": to_dict(config.values), "ctds": to_dict(config.ctds), "student": to_dict(config.student)}
    artifact = _make(benchmark, "ctds", settings, work)
    students.load_state_dict(checkpoint.load(artifact.path / FINAL, artifact.digest)["team"])
    return Trained(students, sight, artifact)


def tseng(benchmark: Benchmark, teacher: Teacher, taught_by: dict[str, Any]) -> Trained:
    """Students of the run's teacher, from its play alone; ``taught_by``: which teacher."""
    config, method, distill = benchmark.config, BY_NAME["tseng"], benchmark.config.distill
    game = make_game(config.scenario, distill.environments)
    sight, students = fresh(benchmark, method)
    learner = tseng_.new_learner(students, sight, teacher, config.seed)

    def work(folder: Path, key: str) -> dict[str, Any]:
        plan = _plan(benchmark, "tseng", tseng_.windows_of(distill), folder, key)
        with benchmark.console.stage("train tseng") as progress:
            measure = measure_on(game, sight)
            curve = tseng_.train_tseng(learner, teacher, game, config.tseng, distill, plan, progress, measure)
        checkpoint.save(folder / FINAL, {"team": students.state_dict()}, key)
        return {"curve": curve}

    settings = {**taught_by, "distill": to_dict(distill), "tseng": to_dict(config.tseng)}
    artifact = _make(benchmark, "tseng", {**settings, "student": to_dict(config.student)}, work)
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

    def work(folder: Path, key: str) -> dict[str, Any]:
        game = make_game(config.scenario, distill.environments)
        windows = max(1, round(left / (distill.environments * distill.window)))
        plan = _plan(benchmark, "ptde", windows, folder, key)
        with benchmark.console.stage("train ptde, second stage") as progress:
            informed = sight_of(method, config, game.specs, benchmark.visible, AppendedSight)
            with_state = AppendedGame(game, StateColumns())
            measure = measure_on(game, sight)
            curve = ptde_.train_predictor(learner, taught, informed, with_state, distill, plan, progress, measure)
        checkpoint.save(folder / FINAL, {"team": students.state_dict()}, key)
        added = {"steps": began["steps"], "cpu_s": began["cpu_s"]}
        return {"curve": [{**p, **{k: p[k] + v for k, v in added.items()}} for p in curve]}

    settings = {"first_stage": first.digest, "distill": to_dict(distill), "ptde": to_dict(config.ptde)}
    artifact = _make(benchmark, "ptde", {**settings, "student": to_dict(config.student)}, work)
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

    def work(folder: Path, key: str) -> dict[str, Any]:
        with benchmark.console.stage("train ptde, first stage") as progress:
            with_state = AppendedGame(game, StateColumns())
            measure = measure_on(with_state, sight)
            every_steps = config.evaluation.every_steps
            curve = train_mappo(learner, with_state, settings, folder, key, progress, measure, every_steps)
        checkpoint.save(folder / FINAL, {"team": team.state_dict()}, key)
        return {"curve": curve}

    depends_on = {"mappo": to_dict(settings), "ptde": to_dict(config.ptde), "student": to_dict(config.student)}
    artifact = _make(benchmark, "ptde_first", depends_on, work)
    team.load_state_dict(checkpoint.load(artifact.path / FINAL, artifact.digest)["team"])
    return team, artifact


def _plan(benchmark: Benchmark, name: str, windows: int, folder: Path, key: str) -> stretches.Plan:
    distill = benchmark.config.distill
    per_window = distill.environments * distill.window
    return stretches.Plan(name, windows, per_window, benchmark.config.evaluation.every_steps, folder, key)


def _make(benchmark: Benchmark, name: str, settings: dict[str, Any], work: Any) -> Artifact:
    depends_on = {**benchmark.common, **settings, "method": name}
    kind = f"{benchmark.config.scenario.name}-{name}"
    return make(benchmark.cache, kind, depends_on, SOURCES[name.removesuffix("_first")], work, benchmark.console.say)
