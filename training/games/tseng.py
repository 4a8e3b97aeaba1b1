"""Tseng et al. 2022: students learn a teacher's features and their relations from its play alone (docs/peers.md).

Shapes: T steps, E environments, N agents, A actions, W units of the teacher.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from envs.games.api import Game
from scenarios.games.peers import TsengConfig
from scenarios.games.schema import GameDistillConfig
from training.artifact import Place
from training.games.distill import Teacher
from training.games.networks import RecurrentTeam, Sight, descend
from training.games.stretches import Plan, learn_in_stretches
from training.games.training import Curve, Evaluations
from training.games.windows import Labels, Player, Window, minibatches
from training.losses import cosines, distillation_kl, structural_relation, weighted_mean
from training.networks import linear
from training.optimisation import adam, means, set_rate


def feature_distance(features_t: Tensor, features_s: Tensor, weight: Tensor) -> Tensor:
    """mean over agents and steps of |P_i z_i^S - z_i^T|^2 / W.  features [T, E, N, W], weight [T, E, N]."""
    return weighted_mean((features_s - features_t.detach()).square().mean(-1), weight)


def tseng_loss(
    weights: TsengConfig, labels: Labels, logits: Tensor, features: Tensor, mask: Tensor, alive: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """L = w_a KL(pi_T || pi_S) + w_f feature distance + w_r sum over pairs of (cos_T - cos_S)^2, averaged over pairs.

    logits [T, E, N, A] and features [T, E, N, W] (projected) are the students', mask [T, E, N, A] bool, alive
    [T, E, N] bool. Returns the sum and the terms, unweighted.
    """
    terms = {
        "action": distillation_kl(labels.logits, logits, mask, alive),
        "feature": feature_distance(labels.latents, features, alive),
        "relation": structural_relation(cosines(labels.latents), cosines(features), alive),
    }
    loss = weights.action * terms["action"] + weights.feature * terms["feature"] + weights.relation * terms["relation"]
    return loss, terms


@dataclass
class TsengLearner:
    """All that training changes; with the configs it determines every later update."""

    students: RecurrentTeam
    sight: Sight
    projections: nn.ModuleList  # P_i: each student's features to the teacher's width; training only
    optimiser: torch.optim.Adam
    seed: int
    updates: int = 0  # windows learnt from

    def state_dict(self) -> dict[str, Any]:
        """For ``training.checkpoint.save``."""
        modules = {name: getattr(self, name).state_dict() for name in _STATEFUL}
        return modules | {"seed": self.seed, "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _STATEFUL:
            getattr(self, name).load_state_dict(state[name])
        self.seed, self.updates = state["seed"], state["updates"]


_STATEFUL = ("students", "projections", "optimiser")
_PROJECTIONS = 2**32  # keeps their draws apart from the students'


def new_learner(students: RecurrentTeam, sight: Sight, teacher: Teacher, seed: int) -> TsengLearner:
    generator = torch.Generator().manual_seed(seed + _PROJECTIONS)
    widths = [students.width(agent) for agent in range(students.agents)]
    projections = nn.ModuleList(linear(width, teacher.team.hidden, 1.0, generator, bias=False) for width in widths)
    optimiser = adam([*students.parameters(), *projections.parameters()], 1e-3)
    return TsengLearner(students, sight, projections, optimiser, seed)


def windows_of(config: GameDistillConfig) -> int:
    """Windows of the teacher's play: as many environment steps as both of KD-MARL's sources have together."""
    steps = config.teacher_steps + config.student_steps
    return max(1, round(steps / (config.environments * config.window)))


def learn(
    learner: TsengLearner, window: Window, hidden: Tensor, weights: TsengConfig, config: GameDistillConfig
) -> tuple[dict[str, float], Tensor]:
    """Some epochs over a window of the teacher's play.

    hidden [N, E, H]: the students' memory before the window. Returns the last epoch's statistics and the memory behind
    the window.
    """
    assert window.labels is not None
    students = learner.students
    inputs = learner.sight.prepare(window.obs, window.seen, window.last_action)
    set_rate(learner.optimiser, config.learning_rate * (1 - learner.updates / windows_of(config)))
    records: list[dict[str, Tensor]] = []
    for epoch in range(config.student_epochs):
        records = []
        key = (learner.seed, learner.updates, epoch)
        for index in minibatches(window.reward.shape[1], config.minibatches, key):
            part = window.environments(index)
            assert part.labels is not None
            logits, latents = students(inputs[:, index], hidden[:, index], part.starts)
            own = [latents[:, agent, :, : students.width(agent)] for agent in range(students.agents)]
            features = torch.stack([to(z) for to, z in zip(learner.projections, own, strict=True)], dim=2)
            loss, terms = tseng_loss(weights, part.labels, logits, features, part.mask, part.alive)
            descend(learner.optimiser, loss, students, config.max_grad_norm, learner.projections)
            records.append({name: term.detach() for name, term in terms.items()} | {"loss": loss.detach()})
    with torch.no_grad():
        _, latents = students(inputs, hidden, window.starts)
    learner.updates += 1
    return means(records), latents[-1]


def train_tseng(
    learner: TsengLearner,
    teacher: Teacher,
    game: Game,
    weights: TsengConfig,
    config: GameDistillConfig,
    plan: Plan,
    place: Place,
    evaluations: Evaluations,
) -> Curve:
    """Students learn from ``plan.windows`` windows of the teacher's play, each seen ``config.student_epochs`` times.

    Offline: nothing that the students do changes what they see. ``game`` has ``config.environments`` environments. See
    ``learn_in_stretches``.
    """
    watching = (teacher.team, teacher.sight)
    player = Player(game, teacher.team, teacher.sight, 0, watching, learner.sight)
    hidden = learner.students.initial_hidden(game.environments)

    def restart(seed: int) -> None:
        nonlocal hidden
        player.restart(seed)
        hidden = learner.students.initial_hidden(game.environments)

    def step() -> dict[str, float]:
        nonlocal hidden
        window, _ = player.play(config.window)
        record, hidden = learn(learner, window, hidden, weights, config)
        return record

    return learn_in_stretches(learner, learner.students, plan, restart, step, place, evaluations)
