"""KD-MARL: students of limited sight learn from a frozen teacher (Eqs. 1-11). No critic is trained or kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from envs.sensing import Sensing
from scenarios.schema import DistillConfig, Labels, StudentConfig
from training.distill import Chosen, DistillationHeads, Targets, terms
from training.losses import (
    best_legal,
    cosines,
    normalised,
    weighted_mean,
)
from training.missions.batch import Batch, advantages, minibatches, to_batch
from training.missions.networks import Critic, Team
from training.missions.rollout import Rollout
from training.networks import ValueNorm
from training.optimisation import adam, descend, means, set_rate

Source = Literal["teacher", "student"]  # whose episodes: the expert buffer, or the students' own


@dataclass(frozen=True, slots=True)
class Teacher:
    """A trained team with its critic, frozen: nothing here is changed by distillation."""

    team: Team
    critic: Critic
    value_norm: ValueNorm
    discount_per_s: float
    gae_lambda: float


@dataclass
class Distiller:
    """All that distillation changes; with the config it determines every later update."""

    students: Team
    heads: DistillationHeads
    optimiser: torch.optim.Adam
    seed: int
    updates: int = 0
    epochs: int = 0

    def state_dict(self) -> dict[str, Any]:
        """For ``training.checkpoint.save``."""
        modules = {name: getattr(self, name).state_dict() for name in _STATEFUL}
        return modules | {name: getattr(self, name) for name in _COUNTERS}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _STATEFUL:
            getattr(self, name).load_state_dict(state[name])
        for name in _COUNTERS:
            setattr(self, name, state[name])


_HEADS = 2**32  # keeps the heads' draws apart from the students'
_STATEFUL = ("students", "heads", "optimiser")
_COUNTERS = ("seed", "updates", "epochs")


def new_distiller(students: Team, teacher: Teacher, config: DistillConfig, seed: int) -> Distiller:
    widths = [network.hidden for network in students.members]
    heads = DistillationHeads(
        teacher.team.members[0].hidden, widths, config, torch.Generator().manual_seed(seed + _HEADS)
    )
    parameters = [*students.parameters(), *heads.parameters()]
    return Distiller(students, heads, adam(parameters, config.learning_rate), seed)


def student_widths(sensings: Sequence[Sensing], config: StudentConfig, by_sensing: bool) -> list[int]:
    """Hidden units per agent: LH gives all the same; LH+A (``by_sensing``) fewer to agents that sense little."""
    if not by_sensing:
        return [config.hidden] * len(sensings)
    widest = max(sensing.spec.obs_size for sensing in sensings)
    small = [sensing.spec.obs_size < config.small_below * widest for sensing in sensings]
    return [config.hidden_small if is_small else config.hidden for is_small in small]


def distill_update(
    distiller: Distiller, teacher: Teacher, rollout: Rollout, source: Source, config: DistillConfig
) -> dict[str, float]:
    """Train the students on whole episodes for the source's number of epochs.

    The teacher labels every decision from the full observation, with its own memory of the visited states. The
    behaviour policy of Eq. 4 is whoever played the rollout: its stored log-probabilities. The learning rate falls
    linearly over all planned epochs of both sources.

    Returns:
        The last epoch's mean of every term with a weight, and of the greedy agreement with the teacher.
    """
    weights = _weights(distiller, source, config)
    batch = to_batch(rollout, teacher.discount_per_s)
    target = targets_of(teacher, batch, distiller.heads, config.labels)
    advantage, _ = advantages(batch, teacher.critic, teacher.value_norm, teacher.gae_lambda)
    advantage = normalised(advantage, batch.valid)

    modules = [*distiller.students.networks, distiller.heads]
    records: list[dict[str, Tensor]] = []
    for epoch in range(config.teacher_epochs if source == "teacher" else config.student_epochs):
        set_rate(distiller.optimiser, config.learning_rate * _remaining(distiller.epochs, config))
        records = []
        for index in minibatches(len(rollout.seeds), config.minibatches, (distiller.seed, distiller.updates, epoch)):
            part = batch.episodes(index)
            depth = len(part.obs)
            labels = Targets(
                target.logits[:depth, index],
                target.best[:depth, index],
                target.roles[:depth, index],
                target.cosines[:, index],
            )
            record, loss = _terms(distiller, part, advantage[:depth, index], labels, weights)
            descend(distiller.optimiser, loss, modules, config.max_grad_norm)
            records.append(record)
        distiller.epochs += 1
    distiller.updates += 1
    return means(records)


@torch.no_grad()
def agreement(students: Team, teacher: Team, rollout: Rollout) -> list[float]:
    """Per agent, the share of a rollout's decisions on which the greedy students choose as the greedy teacher does."""
    batch = to_batch(rollout, 1.0)
    ours, theirs = [
        best_legal(team.decisive(_logits(team, batch)[0], batch.mask), batch.mask) for team in (students, teacher)
    ]
    same = (ours == theirs).float()
    return [float(weighted_mean(same[..., i], batch.valid[..., i])) for i in range(students.agents)]


@torch.no_grad()
def targets_of(teacher: Teacher, batch: Batch, heads: DistillationHeads, labels: Labels) -> Targets:
    """The teacher's view of a batch, and whose decision is Eq. 8's."""
    logits, latents = _logits(teacher.team, batch)
    logits = teacher.team.decisive(logits, batch.mask)  # its decision is the most likely action
    z = torch.stack(latents, dim=2)  # [D, E, N, H]
    best = best_legal(logits, batch.mask) if labels is Labels.teacher else batch.advice
    return Targets(logits, best, z @ heads.role_teacher.T, cosines(on_step_grid(z, batch.held)))


def _logits(team: Team, batch: Batch, episodes_at_once: int = 8) -> tuple[Tensor, list[Tensor]]:
    """A team along all decisions, from zero memory; a few episodes at a time to bound memory."""
    episodes = torch.split(torch.arange(batch.obs.shape[1]), episodes_at_once)
    outputs = [team(batch.obs[:, index], batch.mask[:, index]) for index in episodes]
    latents = [torch.cat(parts, dim=1) for parts in zip(*(z for _, z in outputs), strict=True)]
    return torch.cat([logits for logits, _ in outputs], dim=1), latents


def on_step_grid(values: Tensor, held: Tensor) -> Tensor:
    """values [D, E, N, W] of decisions -> [T, E, N, W] as held at each step (agents decide at different times)."""
    index = held.clamp_min(0).unsqueeze(-1).expand(-1, -1, -1, values.shape[-1])
    return values.gather(0, index)


def _terms(
    distiller: Distiller, part: Batch, advantage: Tensor, target: Targets, config: DistillConfig
) -> tuple[dict[str, Tensor], Tensor]:
    logits, latents = distiller.students(part.obs, part.mask)
    common = partial(on_step_grid, held=part.held)
    chosen = Chosen(part.action, part.log_prob, advantage)
    return terms(
        distiller.heads, logits, latents, part.mask, part.valid, chosen, target, config, common, part.held >= 0
    )


def _weights(distiller: Distiller, source: Source, config: DistillConfig) -> DistillConfig:
    """Imitation counts less and less along the students' own episodes (kickstarting, Schmitt et al. 2018): under a
    mask the teacher cannot be imitated fully, and what is left to gain comes from the reward."""
    if config.labels is Labels.planner:
        config = dataclasses.replace(config, kl=0.0)  # what it would do is all that the planner tells
    if source == "teacher":
        return config
    own = distiller.updates - (config.teacher_episodes > 0)
    through = own / max(1, config.student_iterations - 1)
    share = 1 - through * (1 - config.imitation_left)
    return dataclasses.replace(config, kl=config.kl * share, ce=config.ce * share)


def _remaining(epochs: int, config: DistillConfig) -> float:
    """The learning rate's factor, 1 in the first epoch and above 0 in the last planned one."""
    planned = config.teacher_epochs * (config.teacher_episodes > 0)
    planned += config.student_epochs * config.student_iterations
    return max(planned - epochs, 1) / planned
