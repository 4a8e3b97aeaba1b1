"""The method on a benchmark game read aloud: teacher, baselines, students, evaluation, run records, report.

Each method is trained once and kept under the digest of all that it depends on, as in ``kdmarl_sat.pipeline``.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from envs.games.api import Game
from envs.games.make import always_visible, make_evaluation_game, make_game, visible_blocks
from envs.games.sensing import RandomMasks, fixed
from kdmarl_sat import game_records
from kdmarl_sat.console import Console
from kdmarl_sat.game_records import GameRecord
from kdmarl_sat.game_report import write_figures, write_tables
from kdmarl_sat.methods import BY_NAME, TEACHER, Method, sight_of, team_of
from kdmarl_sat.provenance import code_versions
from scenarios.games.schema import GameRunConfig, MappoConfig
from scenarios.schema import to_dict
from training import checkpoint
from training.artifact import Artifact, code_digest, make
from training.games import mappo
from training.games.distill import Teacher, new_distiller
from training.games.evaluate import evaluate, time_per_step_ms
from training.games.networks import RecurrentTeam, Sight, StateCritic
from training.games.training import train_mappo, train_students
from training.games.value_training import train_values
from training.networks import ValueNorm

# The code that results depend on, for the cache.
_SHARED = (
    *("envs/games", "envs/api.py", "envs/sensing.py", "kdmarl_sat/methods.py", "training/checkpoint.py"),
    *("training/games/networks.py", "training/games/gru.py", "training/games/evaluate.py", "training/networks.py"),
    *("training/losses.py", "training/optimisation.py"),
)
_PLAY = (*_SHARED, "training/games/windows.py", "training/games/training.py", "training/games/mappo.py")
_MAPPO = _PLAY
_STUDENTS = (*_PLAY, "training/games/distill.py", "training/distill.py")
_VALUES = (
    *_SHARED,
    *("training/games/value_decomposition.py", "training/games/value_training.py", "training/games/replay.py"),
)
_PACKAGES = ("jax", "jaxmarl", "mpe2", "pettingzoo")
_FINAL = "final.safetensors"
_CURVE_EPISODES = 128  # of each evaluation along the way
_FINAL_SEED = 2  # of the final evaluation: 0 are the curves, and settings were tried on 1
_AT_ONCE = 128  # environments of the final evaluation at once


@dataclass(frozen=True)
class Benchmark:
    """What every stage needs to know of a run."""

    config: GameRunConfig
    game: Game  # what students and MAPPO train on
    judged_on: Game  # the canonical implementation, for the final evaluation
    visible: Tensor | RandomMasks
    cache: Path
    console: Console
    origin: dict[str, Any]

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
        }


@dataclass(frozen=True)
class Trained:
    """A method's networks, and how they came about."""

    team: RecurrentTeam
    sight: Sight
    artifact: Artifact


def run(config: GameRunConfig, folder: Path) -> list[GameRecord]:
    """Run the methods that the config names and write records and report into ``folder``.

    Raises:
        ValueError: (subclasses of ours) anything that the user can mend, in one sentence.
    """
    torch.set_num_threads(config.compute.threads)
    origin = code_versions()
    for sources in (_SHARED, _MAPPO, _STUDENTS, _VALUES):  # noted now: code may be edited while a long run goes on
        code_digest(sources)
    cache = Path(config.output.cache_dir)
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
        benchmark = Benchmark(config, game, judged_on, visible, cache, console, origin)
        try:
            records = _methods(benchmark, folder)
        finally:
            judged_on.close()
        for made in (*write_tables(records, folder), *write_figures(records, folder)):
            console.say(f"report: {made}")
    return records


def _methods(benchmark: Benchmark, folder: Path) -> list[GameRecord]:
    config = benchmark.config
    records, teacher = [], None
    needs_teacher = any(BY_NAME[name].algorithm in ("kd", "kd_buffer") for name in config.methods)
    watching: tuple[RecurrentTeam, Sight] | None = None
    if needs_teacher or TEACHER in config.methods:
        taught, teacher = _mappo(benchmark, TEACHER)
        watching = (taught.team, taught.sight)
    for name in config.methods:
        started = time.monotonic()
        trained = _train(benchmark, name, teacher)
        record = _record(benchmark, name, trained, watching if name != TEACHER else None, started)
        game_records.write(record, folder / "records")
        if config.output.records_dir is not None:
            game_records.write(record, Path(config.output.records_dir))
        records.append(record)
    return records


def _train(benchmark: Benchmark, name: str, teacher: Teacher | None) -> Trained:
    algorithm = BY_NAME[name].algorithm
    if algorithm == "mappo":
        return _mappo(benchmark, name)[0]
    if algorithm in ("qmix", "vdn"):
        return _values(benchmark, name)
    assert teacher is not None
    return _distil(benchmark, name, teacher)


def _mappo(benchmark: Benchmark, name: str) -> tuple[Trained, Teacher]:
    config, game, method = benchmark.config, benchmark.game, BY_NAME[name]
    sight, team = _fresh(benchmark, method)
    critic_seed = torch.Generator().manual_seed(config.seed + 2**32)
    critic = StateCritic(game.state_size, config.mappo.critic_hidden, critic_seed)
    learner = mappo.new_learner(team, sight, critic, config.seed)
    settings = _mappo_settings(config, name)

    def work(folder: Path, key: str) -> dict[str, Any]:
        with benchmark.console.stage(f"train {name}") as progress:
            curve = train_mappo(
                learner, game, settings, folder, key, progress, _measure(game, sight), config.evaluation.every_steps
            )
        final = {
            "team": team.state_dict(),
            "critic": critic.state_dict(),
            "value_norm": learner.value_norm.state_dict(),
        }
        checkpoint.save(folder / _FINAL, final, key)
        return {"curve": curve}

    depends_on = {**benchmark.common, "mappo": to_dict(settings), "method": name, **_student_part(config, method)}
    artifact = make(benchmark.cache, f"{config.scenario.name}-{name}", depends_on, _MAPPO, work, benchmark.console.say)
    state = checkpoint.load(artifact.path / _FINAL, artifact.digest)
    team.load_state_dict(state["team"])
    critic.load_state_dict(state["critic"])
    value_norm = ValueNorm()
    value_norm.load_state_dict(state["value_norm"])
    teacher = Teacher(team, sight, critic, value_norm, settings.discount, settings.gae_lambda)
    return Trained(team, sight, artifact), teacher


def _mappo_settings(config: GameRunConfig, name: str) -> MappoConfig:
    return dataclasses.replace(config.mappo, phases=config.teacher.phases) if name == TEACHER else config.mappo


def _distil(benchmark: Benchmark, name: str, teacher: Teacher) -> Trained:
    config, method = benchmark.config, BY_NAME[name]
    distill = config.distill
    if method.algorithm == "kd_buffer":  # the paper's form: the teacher's steps are all there are
        distill = dataclasses.replace(
            distill, teacher_steps=distill.teacher_steps or distill.student_steps, student_steps=0
        )
    game = benchmark.game
    if distill.environments != game.environments:
        game = make_game(config.scenario, distill.environments)
    sight, students = _fresh(benchmark, method)
    distiller = new_distiller(students, sight, teacher, distill, config.seed)

    def work(folder: Path, key: str) -> dict[str, Any]:
        with benchmark.console.stage(f"train {name}") as progress:
            curve = train_students(
                distiller,
                teacher,
                game,
                distill,
                folder,
                key,
                progress,
                _measure(game, sight),
                config.evaluation.every_steps,
            )
        checkpoint.save(folder / _FINAL, {"team": students.state_dict()}, key)
        return {"curve": curve}

    depends_on = {
        **benchmark.common,
        "mappo": to_dict(_mappo_settings(config, TEACHER)),
        "distill": to_dict(distill),
        "method": name,
        "student": to_dict(config.student),
    }
    artifact = make(
        benchmark.cache, f"{config.scenario.name}-{name}", depends_on, _STUDENTS, work, benchmark.console.say
    )
    students.load_state_dict(checkpoint.load(artifact.path / _FINAL, artifact.digest)["team"])
    return Trained(students, sight, artifact)


def _values(benchmark: Benchmark, name: str) -> Trained:
    config, method = benchmark.config, BY_NAME[name]
    game = make_game(config.scenario, config.values.environments)
    sight, team = _fresh(benchmark, method)

    def work(folder: Path, key: str) -> dict[str, Any]:
        with benchmark.console.stage(f"train {name}") as progress:
            curve = train_values(
                "qmix" if method.algorithm == "qmix" else "vdn",
                game,
                team,
                sight,
                config.values,
                config.seed,
                folder,
                key,
                progress,
                _measure(game, sight),
                config.evaluation.every_steps,
            )
        checkpoint.save(folder / _FINAL, {"team": team.state_dict()}, key)
        return {"curve": curve}

    depends_on = {**benchmark.common, "values": to_dict(config.values), "method": name, **_student_part(config, method)}
    artifact = make(benchmark.cache, f"{config.scenario.name}-{name}", depends_on, _VALUES, work, benchmark.console.say)
    team.load_state_dict(checkpoint.load(artifact.path / _FINAL, artifact.digest)["team"])
    return Trained(team, sight, artifact)


def _fresh(benchmark: Benchmark, method: Method) -> tuple[Sight, RecurrentTeam]:
    specs = benchmark.game.specs
    sight = sight_of(method, benchmark.config, specs, benchmark.visible)
    return sight, team_of(method, benchmark.config, specs, sight, benchmark.config.seed)


def _student_part(config: GameRunConfig, method: Method) -> dict[str, Any]:
    """Student settings, where the method's networks are of student size."""
    return {"student": to_dict(config.student)} if method.individual else {}


def _measure(game: Game, sight: Sight) -> Callable[[RecurrentTeam], dict[str, float]]:
    """A point of a learning curve: greedy episodes on seeds that are the same each time."""

    def measure(team: RecurrentTeam) -> dict[str, float]:
        measured = evaluate(game, (team, sight), min(_CURVE_EPISODES, game.environments), seed=0)
        return {"return": measured.mean_return, "win_rate": measured.win_rate}

    return measure


def _record(
    benchmark: Benchmark, name: str, trained: Trained, teacher: tuple[RecurrentTeam, Sight] | None, started: float
) -> GameRecord:
    """The final evaluation, on the canonical implementation of the game."""
    config, artifact, game = benchmark.config, trained.artifact, benchmark.judged_on
    with benchmark.console.stage(f"evaluate {name}") as progress:
        final = evaluate(game, (trained.team, trained.sight), config.evaluation.episodes, _FINAL_SEED, teacher)
        chance = evaluate(game, None, config.evaluation.episodes, _FINAL_SEED)
        won = f", {final.win_rate:.1%} won" if game.has_victory else ""
        progress(1.0, f"return {final.mean_return:.2f}{won}")
    curve = artifact.info()["curve"]
    macs = trained.team.macs(trained.sight)
    per_episode = sum(a * b for a, b in zip(macs, final.decisions, strict=True)) / len(final.returns)
    victory = game.has_victory
    record = GameRecord(
        run={
            **benchmark.origin,
            "versions": {**benchmark.origin["versions"], **benchmark.common["packages"]},
            "wall_s": round(time.monotonic() - started, 1),
            "cpu_s": round(curve[-1]["cpu_s"], 1),
            "reused": artifact.reused,
        },
        config=to_dict(config),
        scenario=config.scenario.name,
        backend=benchmark.game.backend,
        evaluated_on=game.backend,
        map=config.scenario.environment.map or config.scenario.name,
        method=name,
        seed=config.seed,
        variant=config.variant,
        environment_steps=int(curve[-1]["steps"]),
        curve=[
            {
                "steps": int(point["steps"]),
                "cpu_s": round(point["cpu_s"], 2),
                "return": point["return"],
                "win_rate": point["win_rate"] if victory else None,
            }
            for point in curve
        ],
        final={
            "episodes": len(final.returns),
            "returns": [round(value, 4) for value in final.returns],
            "wins": final.won if victory else None,
            "lengths": final.lengths,
        },
        random_return=chance.mean_return,
        random_win_rate=chance.win_rate if victory else None,
        macs={"per_decision": macs, "per_episode": per_episode},
        time_per_step_ms=time_per_step_ms(game, trained.team, trained.sight),
        agreement=final.agreement,
        action_counts=final.action_counts.tolist(),
        actions=list(max(game.specs, key=lambda spec: len(spec.actions)).actions),
    )
    return record
