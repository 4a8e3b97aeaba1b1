"""CTDS (Zhao et al. 2022): students learn from their local observations the values of a teacher that sees everything.

The teacher is QMIX or VDN; it explores, and teacher and students learn from the same batches of its replay
(docs/peers.md).

Shapes: T steps, T+1 frames, R rows of packed episodes, N agents, O observation columns, A actions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from envs.api import AgentSpec
from envs.games.api import Game
from envs.games.sensing import everything
from scenarios.games.schema import ValueDecompositionConfig
from training.artifact import Place
from training.games import value_decomposition
from training.games.networks import RecurrentTeam, Sight, descend
from training.games.replay import Episodes
from training.games.training import Curve, Evaluations
from training.games.value_decomposition import ValueLearner
from training.games.value_training import new_collector, train_on_replay
from training.losses import weighted_mean
from training.optimisation import adam


class TeacherSight(Sight):
    """Full sight, which keeps of each episode what the students sense in it."""

    def __init__(self, specs: Sequence[AgentSpec], students: Sight, last_action: bool) -> None:
        super().__init__(specs, everything(specs), identities=True, last_action=last_action)
        self._students, self._all = students, everything(specs)

    def draw(self, environments: int, generator: torch.Generator) -> Tensor:
        """What the students sense in a new episode, [E, N, O] bool."""
        return self._students.draw(environments, generator)

    def prepare(self, obs: Tensor, seen: Tensor, last_action: Tensor) -> Tensor:
        """As of ``Sight``; ``seen`` is the students' and hides nothing here."""
        return super().prepare(obs, self._all, last_action)


def value_distillation(q_t: Tensor, q_s: Tensor, alive: Tensor, valid: Tensor) -> Tensor:
    """mean over steps of sum_i sum_a (Q_i^T(a) - Q_i^S(a))^2, of the agents that live.

    q_t, q_s [T, R, N, A], alive [T, R, N] bool, valid [T, R] bool.
    """
    per_step = ((q_s - q_t.detach()).square().sum(-1) * alive).sum(-1)
    return weighted_mean(per_step, valid)


@dataclass
class CtdsLearner:
    """All that training changes but for the replay; with it and the config it determines every later update."""

    teacher: ValueLearner
    teacher_sight: TeacherSight
    students: RecurrentTeam
    sight: Sight
    optimiser: torch.optim.Adam  # the students'

    @property
    def updates(self) -> int:
        return self.teacher.updates

    def state_dict(self) -> dict[str, Any]:
        """For ``training.checkpoint.save``."""
        return {name: getattr(self, name).state_dict() for name in _STATEFUL}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _STATEFUL:
            getattr(self, name).load_state_dict(state[name])


_STATEFUL = ("teacher", "students", "optimiser")


def new_learner(
    teacher: ValueLearner,
    teacher_sight: TeacherSight,
    students: RecurrentTeam,
    sight: Sight,
    config: ValueDecompositionConfig,
) -> CtdsLearner:
    return CtdsLearner(teacher, teacher_sight, students, sight, adam(students.parameters(), config.learning_rate))


def update(learner: CtdsLearner, batch: Episodes, config: ValueDecompositionConfig) -> dict[str, Tensor]:
    """One step of the students towards the teacher's values, and one of the teacher by temporal differences."""
    start = learner.teacher.team.initial_hidden(batch.obs.shape[1])
    with torch.no_grad():
        seen_by_teacher = learner.teacher_sight.prepare(batch.obs, batch.seen, batch.last_action)
        q_t, _ = learner.teacher.team(seen_by_teacher, start, batch.starts)
    inputs = learner.sight.prepare(batch.obs, batch.seen, batch.last_action)
    q_s, _ = learner.students(inputs, learner.students.initial_hidden(batch.obs.shape[1]), batch.starts)
    loss = value_distillation(q_t[:-1], q_s[:-1], batch.alive[:-1], batch.valid)
    descend(learner.optimiser, loss, learner.students, config.max_grad_norm)
    record = value_decomposition.update(learner.teacher, learner.teacher_sight, batch, config)
    return record | {"distillation_loss": loss.detach()}


def train_ctds(
    learner: CtdsLearner,
    game: Game,
    config: ValueDecompositionConfig,
    seed: int,
    place: Place,
    evaluations: Evaluations,
) -> Curve:
    """Train teacher and students for ``config.steps`` environment steps of the teacher; the students are evaluated.

    Arguments and result as of ``training.games.value_training.train_values``.
    """
    collector = new_collector(game, learner.teacher.team, learner.teacher_sight, config, seed)
    return train_on_replay(
        learner,
        collector,
        lambda batch: update(learner, batch, config),
        learner.students,
        seed,
        place,
        evaluations,
    )
