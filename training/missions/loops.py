"""The training loops: fly episodes, update, save; after a crash they go on from the last saved update, exactly."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from envs.api import AgentSpec
from envs.basilisk.planner import PlannerSettings
from envs.workers import WorkerPool
from scenarios.schema import DistillConfig, QuantiseConfig, TeacherConfig
from training import checkpoint
from training.artifact import CHECKPOINT, Place, Progress
from training.missions.distill import Distiller, Source, Teacher, distill_update, new_distiller
from training.missions.mappo import Learner, imitate, new_learner, total_updates, update
from training.missions.networks import Critic, Team
from training.missions.quantise import fine_tune
from training.missions.rollout import Rollout, concatenate
from training.missions.simulate import Flown, Ground, Job, TeamPlan, episode_seeds, flyer, gather, training_jobs

Pool = WorkerPool[Job, Flown]
Curve = list[dict[str, float]]


class TrainingError(ValueError):
    """Training that diverged; the message is one sentence."""


_FINAL = "final.safetensors"


def fresh_learner(
    plan: TeamPlan, specs: tuple[AgentSpec, ...], state_size: int, config: TeacherConfig, seed: int
) -> Learner:
    generator = torch.Generator().manual_seed(seed)
    team = plan.build(specs, generator)
    return new_learner(team, Critic(state_size, config.hidden, generator), config, seed)


@dataclass(frozen=True)
class Sampler:
    """How a team's training episodes are collected."""

    plan: TeamPlan
    ground: Ground  # where they are flown
    pool: Pool
    adviser: PlannerSettings | None = None  # the planner whose actions are labels; None: nobody labels

    def sample(self, team: Team, seeds: Sequence[int], labelled: bool = False) -> Rollout:
        """Episodes whose actions are drawn from the team's policy, ``labelled`` by the adviser."""
        pilot = flyer(self.plan, team, sample=True, adviser=self.adviser if labelled else None)
        return gather(self.pool, training_jobs(self.ground, pilot, seeds))

    def greedy(self, team: Team, seeds: Sequence[int]) -> Rollout:
        """Episodes in which the team takes its decisions (``Team.decisive``)."""
        return gather(self.pool, training_jobs(self.ground, flyer(self.plan, team, sample=False), seeds))


def train_mappo(
    learner: Learner, sampler: Sampler, stream: str, shown: Rollout | None, config: TeacherConfig, place: Place
) -> Curve:
    """Clone what is shown, then train the learner by MAPPO for ``config.episodes`` episodes.

    Args:
        learner: freshly made; a checkpoint in the place replaces its state.
        sampler: of the learner's team; its adviser labels the clone's own episodes, ``config.aggregation_rounds``
            times.
        stream: of episode seeds, see ``episode_seeds``.
        shown: episodes to clone first; None: none.
        place: of the checkpoint and the final state.

    Returns:
        One record per update; ``episodes`` counts those flown so far, those shown included.
    """
    curve: Curve = []
    save = place.folder / CHECKPOINT
    aggregated = 0
    if save.exists():
        state = checkpoint.load(save, place.key)
        learner.load_state_dict(state["learner"])
        curve, aggregated = state["curve"], state["aggregated"] + 1
    rounds = 0 if shown is None else 1 + (config.aggregation_rounds if sampler.adviser else 0)
    for index in range(aggregated, rounds):
        flown = _aggregate(learner, sampler, config, index, place) if index else None
        known = [each for each in (shown, *(_flown(place, k) for k in range(1, index)), flown) if each is not None]
        what = f"cloning, round {index + 1} of {rounds}"

        def told(done: int, what: str = what) -> None:
            place.progress(0.0, f"{what}, epoch {done} of {config.imitation_epochs}")

        finite(imitate(learner, concatenate(known), config, told), "imitation")
        checkpoint.save(save, {"learner": learner.state_dict(), "curve": curve, "aggregated": index}, place.key)
    before = (len(shown.seeds) if shown is not None else 0) + config.aggregation_episodes * max(0, rounds - 1)
    updates, per_update = total_updates(config), config.episodes_per_update
    while learner.updates < updates:
        seeds = episode_seeds(stream, learner.seed, learner.updates * per_update, per_update)
        record = finite(update(learner, sampler.sample(learner.team, seeds), config), stream)
        curve.append({"episodes": before + learner.updates * per_update, **record})
        checkpoint.save(save, {"learner": learner.state_dict(), "curve": curve, "aggregated": rounds}, place.key)
        place.scalars(before + learner.updates * per_update, record)
        place.progress(learner.updates / updates, f"return {record['episode_return']:.1f} per episode")
    final = {name: getattr(learner, name).state_dict() for name in ("team", "critic", "value_norm")}
    checkpoint.save(place.folder / _FINAL, final, place.key)
    for index in range(1, rounds):
        _aggregated(place, index).unlink(missing_ok=True)
    return curve


def _aggregate(learner: Learner, sampler: Sampler, config: TeacherConfig, index: int, place: Place) -> Rollout:
    """Episodes that the learner flies, with what the adviser would have done in them as their actions."""
    place.progress(0.0, f"flying for round {index + 1}, labelled by the planner")
    count = config.aggregation_episodes
    seeds = episode_seeds("aggregation", learner.seed, (index - 1) * count, count)
    flown = sampler.sample(learner.team, seeds, labelled=True)
    flown = dataclasses.replace(flown, action=flown.advice)
    flown.save(_aggregated(place, index))
    return flown


def _aggregated(place: Place, index: int) -> Path:
    return place.folder / f"aggregated-{index}.npz"


def _flown(place: Place, index: int) -> Rollout | None:
    return Rollout.load(_aggregated(place, index)) if _aggregated(place, index).exists() else None


def load_final(learner: Learner, folder: Path, key: str) -> None:
    """Put the trained networks of ``train_mappo`` into a fresh learner."""
    state = checkpoint.load(folder / _FINAL, key)
    for name, value in state.items():
        getattr(learner, name).load_state_dict(value)


def train_students(
    distiller: Distiller,
    teacher: Teacher,
    expert: Rollout | None,
    sampler: Sampler,
    config: DistillConfig,
    place: Place,
) -> Curve:
    """Distil: first from the teacher's buffer, then from the students' own episodes labelled by the teacher.

    Args:
        distiller: freshly made; a checkpoint in the place replaces its state.
        expert: the teacher's buffer (None: that source is off).
        sampler: of the students' team; its adviser's actions are labels, where ``config.labels`` wants it, and are in
            the expert too.

    Returns:
        One record per source batch.
    """
    curve: Curve = []
    save = place.folder / CHECKPOINT
    if save.exists():
        state = checkpoint.load(save, place.key)
        distiller.load_state_dict(state["distiller"])
        curve = state["curve"]
    sources: list[int | None] = [None] * (expert is not None) + list(range(config.student_iterations))
    for position in range(distiller.updates, len(sources)):
        iteration = sources[position]
        source: Source = "student"
        if iteration is None:
            assert expert is not None
            place.progress(position / len(sources), "from the teacher's buffer")
            rollout, source = expert, "teacher"
        else:
            seeds = episode_seeds(
                "student", distiller.seed, iteration * config.student_episodes, config.student_episodes
            )
            rollout = sampler.sample(distiller.students, seeds, labelled=True)
        record = finite(distill_update(distiller, teacher, rollout, source, config), "distillation")
        record["episode_return"] = float(rollout.reward.sum(0).mean())
        flown = (config.teacher_episodes if expert is not None else 0) + config.student_episodes * (
            0 if iteration is None else iteration + 1
        )
        curve.append({"episodes": flown, "own": float(source == "student"), **record})
        checkpoint.save(save, {"distiller": distiller.state_dict(), "curve": curve}, place.key)
        place.scalars(flown, record)
        place.progress((position + 1) / len(sources), f"agreement {record['agreement']:.0%}")
    save_team(distiller.students, place)
    return curve


def quantise_students(students: Team, sampler: Sampler, config: QuantiseConfig, seed: int, progress: Progress) -> Team:
    """The students in int8 (``quantise.py``), fine-tuned on training episodes that they fly in float32."""
    progress(0.0, "flying in float32")
    rollout = sampler.greedy(students, episode_seeds("quantise", seed, 0, config.episodes))
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


def save_team(team: Team, place: Place) -> None:
    """For ``final_weights``."""
    checkpoint.save(place.folder / _FINAL, {"team": team.state_dict()}, place.key)


def final_weights(folder: Path, key: str) -> dict[str, Any]:
    """The state dict of the trained team."""
    weights: dict[str, Any] = checkpoint.load(folder / _FINAL, key)["team"]
    return weights


def fresh_distiller(
    plan: TeamPlan, specs: tuple[AgentSpec, ...], teacher: Teacher, config: DistillConfig, seed: int
) -> Distiller:
    students = plan.build(specs, torch.Generator().manual_seed(seed))
    return new_distiller(students, teacher, config, seed)
