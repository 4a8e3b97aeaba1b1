"""The training loops: fly episodes, update, save; after a crash they go on from the last saved update, exactly."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from envs.api import AgentSpec
from envs.basilisk.planner import PlannerSettings
from envs.workers import WorkerPool
from scenarios.schema import DistillConfig, QuantiseConfig, TeacherConfig
from training import checkpoint
from training.artifact import CHECKPOINT
from training.distill import Distiller, Teacher, distill_update, new_distiller
from training.mappo import Learner, imitate, new_learner, total_updates, update
from training.networks import Critic, Team
from training.quantise import fine_tune
from training.rollout import Rollout, concatenate
from training.simulate import Flown, Ground, Job, TeamPlan, episode_seeds, flyer, gather, training_jobs

Progress = Callable[[float, str], None]  # (share done, what to say)
Pool = WorkerPool[Job, Flown]
Curve = list[dict[str, float]]


class TrainingError(ValueError):
    """Training that went astray; the message is one sentence."""


_FINAL = "final.safetensors"


def fresh_learner(
    plan: TeamPlan, specs: tuple[AgentSpec, ...], state_size: int, config: TeacherConfig, seed: int
) -> Learner:
    generator = torch.Generator().manual_seed(seed)
    team = plan.build(specs, generator)
    return new_learner(team, Critic(state_size, config.hidden, generator), config, seed)


def train_mappo(
    learner: Learner,
    plan: TeamPlan,
    stream: str,
    ground: Ground,
    config: TeacherConfig,
    shown: Rollout | None,
    adviser: PlannerSettings | None,
    pool: Pool,
    folder: Path,
    key: str,
    progress: Progress,
) -> Curve:
    """Clone what is shown, then train the learner by MAPPO for ``config.episodes`` episodes.

    Args:
        learner: freshly made; a checkpoint in ``folder`` replaces its state.
        plan: of the learner's team.
        stream: of episode seeds, see ``episode_seeds``.
        ground: where episodes are flown.
        shown: episodes to clone first; None: none.
        adviser: labels the clone's own flights, ``config.aggregation_rounds`` times; None: nobody does.
        folder: of the checkpoint and the final state.
        key: digest that the checkpoint must carry.
        progress: told after each update.

    Returns:
        One record per update; ``episodes`` counts those flown so far, those shown included.
    """
    curve: Curve = []
    save = folder / CHECKPOINT
    aggregated = 0
    if save.exists():
        state = checkpoint.load(save, key)
        learner.load_state_dict(state["learner"])
        curve, aggregated = state["curve"], state["aggregated"] + 1
    rounds = 0 if shown is None else 1 + (config.aggregation_rounds if adviser else 0)
    for index in range(aggregated, rounds):
        flown = _aggregate(learner, plan, ground, config, adviser, pool, folder, index, progress) if index else None
        known = [each for each in (shown, *(_flown(folder, k) for k in range(1, index)), flown) if each is not None]
        what = f"cloning, round {index + 1} of {rounds}"

        def told(done: int, what: str = what) -> None:
            progress(0.0, f"{what}, epoch {done} of {config.imitation_epochs}")

        finite(imitate(learner, concatenate(known), config, told), "imitation")
        checkpoint.save(save, {"learner": learner.state_dict(), "curve": curve, "aggregated": index}, key)
    before = (len(shown.seeds) if shown is not None else 0) + config.aggregation_episodes * max(0, rounds - 1)
    updates, per_update = total_updates(config), config.episodes_per_update
    while learner.updates < updates:
        seeds = episode_seeds(stream, learner.seed, learner.updates * per_update, per_update)
        pilot = flyer(plan, learner.team, sample=True)
        rollout = gather(pool, training_jobs(ground, pilot, seeds))
        record = finite(update(learner, rollout, config), stream)
        curve.append({"episodes": before + learner.updates * per_update, **record})
        checkpoint.save(save, {"learner": learner.state_dict(), "curve": curve, "aggregated": rounds}, key)
        progress(learner.updates / updates, f"return {record['episode_return']:.1f} per episode")
    final = {name: getattr(learner, name).state_dict() for name in ("team", "critic", "value_norm")}
    checkpoint.save(folder / _FINAL, final, key)
    for index in range(1, rounds):
        _place(folder, index).unlink(missing_ok=True)
    return curve


def _aggregate(
    learner: Learner,
    plan: TeamPlan,
    ground: Ground,
    config: TeacherConfig,
    adviser: PlannerSettings | None,
    pool: Pool,
    folder: Path,
    index: int,
    progress: Progress,
) -> Rollout:
    """Episodes that the learner flies, with what the adviser would have done in them as their actions."""
    progress(0.0, f"flying for round {index + 1}, labelled by the planner")
    count = config.aggregation_episodes
    seeds = episode_seeds("aggregation", learner.seed, (index - 1) * count, count)
    flown = gather(pool, training_jobs(ground, flyer(plan, learner.team, True, adviser), seeds))
    flown = dataclasses.replace(flown, action=flown.advice)
    flown.save(_place(folder, index))
    return flown


def _place(folder: Path, index: int) -> Path:
    return folder / f"aggregated-{index}.npz"


def _flown(folder: Path, index: int) -> Rollout | None:
    return Rollout.load(_place(folder, index)) if _place(folder, index).exists() else None


def load_final(learner: Learner, folder: Path, key: str) -> None:
    """Put the trained networks of ``train_mappo`` into a fresh learner."""
    state = checkpoint.load(folder / _FINAL, key)
    for name, value in state.items():
        getattr(learner, name).load_state_dict(value)


def train_students(
    distiller: Distiller,
    plan: TeamPlan,
    teacher: Teacher,
    expert: Rollout | None,
    ground: Ground,
    config: DistillConfig,
    adviser: PlannerSettings | None,
    pool: Pool,
    folder: Path,
    key: str,
    progress: Progress,
) -> Curve:
    """Distil: first from the teacher's buffer, then from the students' own episodes labelled by the teacher.

    Args:
        distiller: freshly made; a checkpoint in ``folder`` replaces its state.
        plan: of the students' team.
        expert: the teacher's buffer (None: that source is off).
        adviser: the planner whose actions are labels, where ``config.labels`` wants it; it advised the expert too.

    Returns:
        One record per source batch.
    """
    curve: Curve = []
    save = folder / CHECKPOINT
    if save.exists():
        state = checkpoint.load(save, key)
        distiller.load_state_dict(state["distiller"])
        curve = state["curve"]
    sources: list[int | None] = [None] * (expert is not None) + list(range(config.student_iterations))
    for position in range(distiller.updates, len(sources)):
        iteration = sources[position]
        if iteration is None:
            assert expert is not None
            progress(position / len(sources), "from the teacher's buffer")
            rollout, source = expert, "teacher"
        else:
            seeds = episode_seeds(
                "student", distiller.seed, iteration * config.student_episodes, config.student_episodes
            )
            pilot = flyer(plan, distiller.students, sample=True, adviser=adviser)
            rollout = gather(pool, training_jobs(ground, pilot, seeds))
            source = "student"
        record = distill_update(distiller, teacher, rollout, "teacher" if source == "teacher" else "student", config)
        record = finite(record, "distillation")
        record["episode_return"] = float(rollout.reward.sum(0).mean())
        flown = (config.teacher_episodes if expert is not None else 0) + config.student_episodes * (
            0 if iteration is None else iteration + 1
        )
        curve.append({"episodes": flown, "own": float(source == "student"), **record})
        checkpoint.save(save, {"distiller": distiller.state_dict(), "curve": curve}, key)
        progress((position + 1) / len(sources), f"agreement {record['agreement']:.0%}")
    save_team(distiller.students, folder, key)
    return curve


def quantise_students(
    students: Team,
    plan: TeamPlan,
    ground: Ground,
    config: QuantiseConfig,
    pool: Pool,
    seed: int,
    progress: Progress,
) -> Team:
    """The students in int8 (``training.quantise``), fine-tuned on training episodes that they fly in float32."""
    seeds = episode_seeds("quantise", seed, 0, config.episodes)
    progress(0.0, "flying in float32")
    rollout = gather(pool, training_jobs(ground, flyer(plan, students, sample=False), seeds))
    return fine_tune(students, rollout, config, seed, progress)


def finite(record: dict[str, float], stage: str) -> dict[str, float]:
    """The record of an update.

    Raises:
        TrainingError: a statistic is NaN or infinite, so the networks are no longer usable.
    """
    wrong = sorted(name for name, value in record.items() if not math.isfinite(value))
    if wrong:
        raise TrainingError(f"training ({stage}) diverged: {', '.join(wrong)} not finite; lower its learning rate")
    return record


def save_team(team: Team, folder: Path, key: str) -> None:
    """For ``final_weights``."""
    checkpoint.save(folder / _FINAL, {"team": team.state_dict()}, key)


def final_weights(folder: Path, key: str) -> dict[str, Any]:
    """The state dict of the trained team."""
    weights: dict[str, Any] = checkpoint.load(folder / _FINAL, key)["team"]
    return weights


def fresh_distiller(
    plan: TeamPlan, specs: tuple[AgentSpec, ...], teacher: Teacher, config: DistillConfig, seed: int
) -> Distiller:
    students = plan.build(specs, torch.Generator().manual_seed(seed))
    return new_distiller(students, teacher, config, seed)
