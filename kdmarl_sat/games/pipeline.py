"""All stages of a run on a game, in order: teacher, baselines, students, evaluation, run records, report.

Each method is trained once and kept under the digest of all that it depends on, as in ``kdmarl_sat.missions.pipeline``.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from envs.games.api import Game
from envs.games.make import always_visible, make_evaluation_game, make_game, visible_blocks
from envs.games.sensing import RandomMasks, fixed
from envs.games.smax import SmaxGame
from kdmarl_sat.console import Console
from kdmarl_sat.games import peers
from kdmarl_sat.games import records as game_records
from kdmarl_sat.games.context import Benchmark, Taught, Trained
from kdmarl_sat.games.evaluation import evaluated
from kdmarl_sat.games.methods import BY_NAME, DISTILS, TEACHER, Method, message_bits
from kdmarl_sat.games.package import package, packaged
from kdmarl_sat.games.records import GameRecord
from kdmarl_sat.games.report import entry, write_figures, write_tables
from kdmarl_sat.games.stage import PLAY, SHARED, STUDENTS, VALUES, evaluations, fresh
from kdmarl_sat.games.teacher import agents_of, load_teacher, open_training
from kdmarl_sat.provenance import code_versions
from kdmarl_sat.report.index import enter
from kdmarl_sat.scalars import events_folder
from kdmarl_sat.stages import Workshop
from scenarios.games.schema import GameRunConfig, MappoConfig
from scenarios.ranges import ConfigError
from scenarios.schema import to_dict
from training import checkpoint, kernels
from training.artifact import Artifact, Place, code_digest
from training.games import mappo
from training.games.appended import AppendedGame
from training.games.distill import Teacher, new_distiller
from training.games.mappo import Learner
from training.games.messages import Links
from training.games.networks import StateCritic
from training.games.training import train_mappo, train_students
from training.games.value_decomposition import MixerName
from training.games.value_training import train_values
from training.stored import FINAL

_NETWORKS = ("team", "critic", "value_norm")
_AT_ONCE = 128  # environments of the final evaluation at once


def run(config: GameRunConfig, folder: Path) -> list[GameRecord]:
    """Run the methods that the config names and write records and report into ``folder``.

    Raises:
        ValueError: (subclasses of ours) anything that the user can mend, in one sentence.
    """
    kernels.check(config.compute.reproducible)
    torch.set_num_threads(config.compute.threads)
    origin = code_versions()
    # Noted now: code may be edited while a long run goes on.
    for sources in (SHARED, PLAY, STUDENTS, VALUES, *peers.SOURCES.values()):
        code_digest(sources)
    cache, events = Path(config.output.cache_dir), events_folder(config.output.tensorboard, folder)
    with Console() as console:
        game = make_game(config.scenario, config.mappo.environments)
        # Made now, so that what it lacks is said before anything is trained.
        judged_on = make_evaluation_game(config.scenario, min(_AT_ONCE, config.evaluation.episodes))
        console.say(
            f"{config.scenario.name} on {game.backend}: {len(game.specs)} agents, methods {', '.join(config.methods)}"
        )
        blocks = visible_blocks(config.scenario, game)
        masks = config.scenario.random_mask
        visible: Tensor | RandomMasks
        always = always_visible(config.scenario, game)
        if masks is None:
            visible = fixed(game.specs, blocks, always)
        else:
            visible = RandomMasks(game.specs, (masks.visible[0], masks.visible[1]), always)
        benchmark = Benchmark(config, game, judged_on, visible, Workshop(cache, console, events), origin)
        try:
            records = _methods(benchmark, folder)
        finally:
            judged_on.close()
        drawn = write_figures(records, folder)
        index = enter(entry(records, drawn), folder, Path(config.output.dir))
        for made in (*write_tables(records, folder), *drawn, *([index] if index else [])):
            console.say(f"report: {made}")
    return records


def _methods(benchmark: Benchmark, folder: Path) -> list[GameRecord]:
    config = benchmark.config
    records = []
    distilled = any(BY_NAME[name].algorithm in DISTILS for name in config.methods)
    named = config.teacher.load is not None or config.teacher.resume is not None
    taught = _teach(benchmark) if distilled or named or TEACHER in config.methods else None
    for name in config.methods:
        started = time.monotonic()
        trained = _train(benchmark, name, taught)
        record = evaluated(benchmark, name, trained, taught, started)
        game_records.write(record, folder / "records")
        if config.output.records_dir is not None:
            game_records.write(record, Path(config.output.records_dir))
        records.append(record)
        if packaged(name):
            package(benchmark, name, trained, folder)
    return records


def _train(benchmark: Benchmark, name: str, taught: Taught | None) -> Trained:
    algorithm = BY_NAME[name].algorithm
    if name == TEACHER:
        assert taught is not None
        return taught.trained
    if algorithm == "mappo":
        if taught is not None and taught.loaded is None and _is_the_teacher(benchmark.config, name):
            return taught.trained
        learner = _learner(benchmark, name)
        return Trained(learner.team, learner.sight, _mappo(benchmark, name, learner))
    if algorithm in ("qmix", "vdn"):
        return _values(benchmark, name)
    if algorithm == "ctds":
        return peers.ctds(benchmark)
    if algorithm == "ptde":
        return peers.ptde(benchmark)
    assert taught is not None
    if algorithm == "tseng":
        return peers.tseng(benchmark, taught.teacher, _taught_by(benchmark.config, taught))
    return _distil(benchmark, name, taught)


def _teach(benchmark: Benchmark) -> Taught:
    """The teacher: loaded, if a folder of one is named, else trained."""
    config, learner, loaded = benchmark.config, _learner(benchmark, TEACHER), None
    discount, gae_lambda = config.mappo.discount, config.mappo.gae_lambda
    if config.teacher.load is not None:
        loaded = load_teacher(config, benchmark.game, learner)
        artifact, discount, gae_lambda = loaded.artifact, loaded.discount, loaded.gae_lambda
        benchmark.console.say(f"the teacher is {loaded.path}, of {loaded.digest[:12]}")
    else:
        artifact = _mappo(benchmark, TEACHER, learner)
    teacher = Teacher(learner.team, learner.sight, learner.critic, learner.value_norm, discount, gae_lambda)
    return Taught(Trained(learner.team, learner.sight, artifact), teacher, loaded)


def _learner(benchmark: Benchmark, name: str) -> Learner:
    """Fresh networks of a method, to be trained by MAPPO."""
    config = benchmark.config
    sight, team = fresh(benchmark, BY_NAME[name])
    critic_seed = torch.Generator().manual_seed(config.seed + 2**32)
    critic = StateCritic(benchmark.game.state_size, config.mappo.critic_hidden, critic_seed)
    return mappo.new_learner(team, sight, critic, config.seed)


def _mappo(benchmark: Benchmark, name: str, learner: Learner) -> Artifact:
    config, game, train = benchmark.config, benchmark.game, _mappo_settings(benchmark.config, name)
    settings = {"mappo": to_dict(train), **_student_part(config, BY_NAME[name])}
    weaken = None
    if name == TEACHER:
        settings, weaken = {**settings, **_curriculum_part(config)}, _curriculum(config, game)
    resumed = None
    if name == TEACHER and config.teacher.resume is not None:
        depends_on = {**benchmark.common, **settings, "method": name}
        resumed = open_training(config, f"{config.scenario.name}-{name}", depends_on, learner)
        if resumed.depends_on is None:
            benchmark.console.say(f"{resumed.folder} does not say its settings: only its networks have been checked")

    def work(place: Place) -> dict[str, Any]:
        if resumed is not None:
            resumed.go_on(place.folder, place.key)
        curve = train_mappo(learner, game, train, place, evaluations(benchmark, game, learner.sight), weaken)
        final = {name: getattr(learner, name).state_dict() for name in _NETWORKS}
        checkpoint.save(place.folder / FINAL, final, place.key)
        return {"curve": curve, "agents": agents_of(game.specs)}

    artifact = benchmark.make(name, settings, PLAY, work)
    state = checkpoint.load(artifact.path / FINAL, artifact.digest)
    for network in _NETWORKS:
        getattr(learner, network).load_state_dict(state[network])
    return artifact


def _is_the_teacher(config: GameRunConfig, name: str) -> bool:
    """Whether a method would repeat the teacher's training to the bit, as MAPPO FO does with as many steps."""
    return name == "mappo_fo" and config.mappo.phases == config.teacher.phases and not _curriculum_part(config)


def _mappo_settings(config: GameRunConfig, name: str) -> MappoConfig:
    return dataclasses.replace(config.mappo, phases=config.teacher.phases) if name == TEACHER else config.mappo


def _taught_by(config: GameRunConfig, taught: Taught) -> dict[str, Any]:
    """Part of the digest of what learns from the teacher."""
    if taught.loaded is not None:
        return {"teacher": taught.loaded.digest}
    return {"mappo": to_dict(_mappo_settings(config, TEACHER)), **_curriculum_part(config)}


def _curriculum_part(config: GameRunConfig) -> dict[str, Any]:
    """Teacher's curriculum, where it has one: part of its digest and of what learns from it."""
    curriculum = config.teacher.curriculum
    return {"curriculum": to_dict(curriculum)} if curriculum.enemy_health < 1 else {}


def _curriculum(config: GameRunConfig, game: Game) -> Callable[[float], None] | None:
    """Sets the battles by the share of the teacher's training that is behind; None: all are alike.

    Raises:
        ConfigError: the game's enemies cannot be weakened.
    """
    curriculum = config.teacher.curriculum
    if curriculum.enemy_health == 1:
        return None
    if not isinstance(game, SmaxGame):
        name = f"teacher.curriculum.enemy_health={curriculum.enemy_health}"
        raise ConfigError(f"{name} is not allowed on {game.backend}, it must be 1: only SMAX's enemies can be weakened")
    return lambda trained: game.weaken(curriculum.lowest(trained))


def _distil(benchmark: Benchmark, name: str, taught: Taught) -> Trained:
    config, method, teacher = benchmark.config, BY_NAME[name], taught.teacher
    distill = config.distill
    if method.algorithm == "kd_buffer":  # the paper's form: the teacher's steps are all there are
        distill = dataclasses.replace(
            distill, teacher_steps=distill.teacher_steps or distill.student_steps, student_steps=0
        )
    game = benchmark.game
    if distill.environments != game.environments:
        game = make_game(config.scenario, distill.environments)
    bits = message_bits(method, config)
    if bits:
        game = AppendedGame(game, Links(config.student.message_loss))
    sight, students = fresh(benchmark, method)
    distiller = new_distiller(students, sight, teacher, distill, config.seed)

    def work(place: Place) -> dict[str, Any]:
        curve = train_students(distiller, teacher, game, distill, place, evaluations(benchmark, game, sight))
        checkpoint.save(place.folder / FINAL, {"team": students.state_dict()}, place.key)
        return {"curve": curve}

    settings = {"distill": to_dict(distill), "student": to_dict(config.student)}
    artifact = benchmark.make(name, {**_taught_by(config, taught), **settings}, STUDENTS, work)
    students.load_state_dict(checkpoint.load(artifact.path / FINAL, artifact.digest)["team"])
    return Trained(students, sight, artifact, Links(config.evaluation.message_loss) if bits else None)


def _values(benchmark: Benchmark, name: str) -> Trained:
    config, method = benchmark.config, BY_NAME[name]
    game = make_game(config.scenario, config.values.environments)
    sight, team = fresh(benchmark, method)

    mixer: MixerName = "qmix" if method.algorithm == "qmix" else "vdn"

    def work(place: Place) -> dict[str, Any]:
        points = evaluations(benchmark, game, sight)
        curve = train_values(mixer, game, team, sight, config.values, config.seed, place, points)
        checkpoint.save(place.folder / FINAL, {"team": team.state_dict()}, place.key)
        return {"curve": curve}

    settings = {"values": to_dict(config.values), **_student_part(config, method)}
    artifact = benchmark.make(name, settings, VALUES, work)
    team.load_state_dict(checkpoint.load(artifact.path / FINAL, artifact.digest)["team"])
    return Trained(team, sight, artifact)


def _student_part(config: GameRunConfig, method: Method) -> dict[str, Any]:
    """Student settings, where the method's networks are of student size."""
    return {"student": to_dict(config.student)} if method.individual else {}
