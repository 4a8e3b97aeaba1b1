"""The training loops of MAPPO and KD-MARL on games; after a crash they go on from the last checkpoint, exactly.

A checkpoint is taken with every evaluation. There all environments start anew, from a seed that the number of updates
gives, whether the run is interrupted or not: so no game has to be saved, and both runs give the same numbers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.games.api import Game
from scenarios.games.schema import GameDistillConfig, MappoConfig
from training import checkpoint
from training.artifact import CHECKPOINT, Place
from training.games import mappo
from training.games.distill import (
    Distiller,
    Teacher,
    learn_from_own,
    learn_from_teacher,
    own_windows,
    teacher_windows,
)
from training.games.mappo import Learner
from training.games.networks import RecurrentTeam
from training.games.windows import Episodes, Player

Curve = list[dict[str, float]]


@dataclass(frozen=True, slots=True)
class Evaluations:
    """The points of a learning curve: what is measured of the team, and how often."""

    measure: Callable[[RecurrentTeam], dict[str, float]]
    every_steps: int  # environment steps between them; the end is one too


class DivergedError(ValueError):
    """Training that diverged; the message is one sentence."""


def train_mappo(
    learner: Learner,
    game: Game,
    config: MappoConfig,
    place: Place,
    evaluations: Evaluations,
    weaken: Callable[[float], None] | None = None,
) -> Curve:
    """Train the learner along all phases.

    Args:
        learner: freshly made; a checkpoint in the place replaces its state.
        game: of ``config.environments`` environments.
        weaken: a curriculum; told the share of the training that is behind, it sets the battles from the next reset on.

    Returns:
        Points with ``steps`` and ``cpu_s`` (of training alone, all threads), the update's statistics, and the
        evaluation's.
    """
    curve, spent = _resume(place, learner.load_state_dict)
    total, per_update = sum(mappo.updates_of(config)), mappo.steps_per_update(config)
    stretch = max(1, round(evaluations.every_steps / per_update))
    player = Player(game, learner.team, learner.sight, _seed("mappo", learner.seed, 0))
    while learner.updates < total:
        if weaken is not None:
            weaken(learner.updates / total)
        player.restart(_seed("mappo", learner.seed, learner.updates))
        clock, record, seen = time.process_time() - spent, {}, []
        for _ in range(min(stretch, total - learner.updates)):
            window, episodes = player.play(config.window)
            seen.append(episodes)
            record = _finite(mappo.update(learner, window, config), "MAPPO")
            place.progress(learner.updates / total, _said(seen, game))
        spent = time.process_time() - clock
        if weaken is not None:
            weaken(1.0)
        measured = evaluations.measure(learner.team)
        curve.append({"steps": learner.updates * per_update, "cpu_s": spent, **record, **measured})
        _save(place, learner.state_dict(), curve)
    return curve


def train_students(
    distiller: Distiller,
    teacher: Teacher,
    game: Game,
    config: GameDistillConfig,
    place: Place,
    evaluations: Evaluations,
) -> Curve:
    """Distil: first from the teacher's buffer (the paper's form), then from the students' own play that it labels.

    Arguments and result as of ``train_mappo``; steps of both sources count.
    """
    curve, spent = _resume(place, distiller.load_state_dict)
    first, total, per_window = teacher_windows(config), own_windows(config), config.environments * config.window
    watching = (teacher.team, teacher.sight)
    if first and not curve:
        place.progress(0.0, "the teacher plays")
        clock = time.process_time() - spent
        seed = _seed("expert", distiller.seed, 0)
        expert = Player(game, teacher.team, teacher.sight, seed, watching, distiller.sight)
        windows = [expert.play(config.window)[0] for _ in range(first)]
        record = _finite(learn_from_teacher(distiller, teacher, windows, config), "distillation")
        del windows
        spent = time.process_time() - clock
        curve.append(
            {
                "steps": first * per_window,
                "cpu_s": spent,
                "own": 0.0,
                **record,
                **evaluations.measure(distiller.students),
            }
        )
        _save(place, distiller.state_dict(), curve)
    stretch = max(1, round(evaluations.every_steps / per_window))
    if total:
        player = Player(game, distiller.students, distiller.sight, _seed("students", distiller.seed, 0), watching)
    while distiller.updates < total:
        player.restart(_seed("students", distiller.seed, distiller.updates))
        clock, record, seen = time.process_time() - spent, {}, []
        for _ in range(min(stretch, total - distiller.updates)):
            window, episodes = player.play(config.window)
            seen.append(episodes)
            record = _finite(learn_from_own(distiller, teacher, window, config), "distillation")
            place.progress((first + distiller.updates) / (first + total), f"agreement {record['agreement']:.0%}")
        spent = time.process_time() - clock
        steps = (first + distiller.updates) * per_window
        curve.append({"steps": steps, "cpu_s": spent, "own": 1.0, **record, **evaluations.measure(distiller.students)})
        _save(place, distiller.state_dict(), curve)
    return curve


def _resume(place: Place, load: Callable[[dict[str, Any]], None]) -> tuple[Curve, float]:
    """The curve so far and the CPU time spent on it."""
    save = place.folder / CHECKPOINT
    if not save.exists():
        return [], 0.0
    state = checkpoint.load(save, place.key)
    load(state["learner"])
    curve: Curve = state["curve"]
    return curve, curve[-1]["cpu_s"]


def _save(place: Place, learner: dict[str, Any], curve: Curve) -> None:
    checkpoint.save(place.folder / CHECKPOINT, {"learner": learner, "curve": curve}, place.key)
    place.scalars(int(curve[-1]["steps"]), curve[-1])


def _seed(stream: str, seed: int, update: int) -> int:
    """Of the play that begins with an update; streams do not overlap."""
    words = [int.from_bytes(stream[:4].encode(), "big"), seed, update]
    return int(np.random.SeedSequence(words).generate_state(1)[0] >> 1)


def _said(parts: list[Episodes], game: Game) -> str:
    returns = [float(value) for part in parts for value in part.returns]
    if not returns:
        return "no episode has ended yet"
    text = f"return {np.mean(returns):.2f}"
    if game.has_victory:
        text += f", {np.mean([bool(won) for part in parts for won in part.won]):.0%} won"
    return text


def _finite(record: dict[str, float], stage: str) -> dict[str, float]:
    wrong = sorted(name for name, value in record.items() if not math.isfinite(value))
    if wrong:
        raise DivergedError(f"training ({stage}) diverged: {', '.join(wrong)} not finite; lower its learning rate")
    return record
