"""KD-MARL on games: the losses of ``training.distill`` on windows of play (Eqs. 1-11)."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scenarios.games.schema import GameDistillConfig, GameStudentConfig
from training.distill import Chosen, DistillationHeads, Targets, terms
from training.games.networks import RecurrentTeam, Sight, StateCritic, descend
from training.games.windows import Window, advantages, minibatches
from training.losses import best_legal, cosines, normalised, value_huber
from training.networks import ValueNorm
from training.optimisation import adam, means, set_rate
from training.optimisation import descend as descend_alone


@dataclass(frozen=True, slots=True)
class Teacher:
    """A trained team with its critic, frozen."""

    team: RecurrentTeam
    sight: Sight
    critic: StateCritic
    value_norm: ValueNorm
    discount: float
    gae_lambda: float


@dataclass
class Distiller:
    """All that distillation changes; with the config it determines every later update."""

    students: RecurrentTeam
    sight: Sight
    heads: DistillationHeads
    optimiser: torch.optim.Adam
    critic: StateCritic  # the teacher's; only ``tune_critic`` ever changes the copy
    value_norm: ValueNorm
    critic_optimiser: torch.optim.Adam
    seed: int
    updates: int = 0  # own windows learnt from
    gradient_steps: int = 0

    def state_dict(self) -> dict[str, Any]:
        """For ``training.checkpoint.save``."""
        modules = {name: getattr(self, name).state_dict() for name in _STATEFUL}
        return modules | {name: getattr(self, name) for name in _COUNTERS}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _STATEFUL:
            getattr(self, name).load_state_dict(state[name])
        for name in _COUNTERS:
            setattr(self, name, state[name])


_STATEFUL = ("students", "heads", "optimiser", "critic", "value_norm", "critic_optimiser")
_COUNTERS = ("seed", "updates", "gradient_steps")
_HEADS = 2**32  # keeps the heads' draws apart from the students'


def new_distiller(
    students: RecurrentTeam, sight: Sight, teacher: Teacher, config: GameDistillConfig, seed: int
) -> Distiller:
    widths = [students.width(agent) for agent in range(students.agents)]
    heads = DistillationHeads(teacher.team.hidden, widths, config, torch.Generator().manual_seed(seed + _HEADS))
    optimiser = adam([*students.parameters(), *heads.parameters()], config.learning_rate)
    critic, value_norm = copy.deepcopy(teacher.critic), copy.deepcopy(teacher.value_norm)
    rate = config.learning_rate
    return Distiller(students, sight, heads, optimiser, critic, value_norm, adam(critic.parameters(), rate), seed)


def student_widths(columns: Sequence[int], config: GameStudentConfig, by_sensing: bool) -> list[int]:
    """Hidden units per agent: LH gives all the same; LH+A (``by_sensing``) fewer to agents that sense little."""
    least = config.small_below * max(columns)
    return [config.hidden_small if by_sensing and count < least else config.hidden for count in columns]


def teacher_windows(config: GameDistillConfig) -> int:
    """How many windows of the teacher's play make the expert buffer."""
    return _windows(config.teacher_steps, config)


def own_windows(config: GameDistillConfig) -> int:
    return _windows(config.student_steps, config)


def _windows(steps: int, config: GameDistillConfig) -> int:
    """The nearest number of whole windows, one at least where there are to be any."""
    return max(1, round(steps / (config.environments * config.window))) if steps else 0


def learn_from_teacher(
    distiller: Distiller, teacher: Teacher, windows: Sequence[Window], config: GameDistillConfig
) -> dict[str, float]:
    """The paper's form: epochs over the expert buffer, consecutive windows in which the teacher acted.

    The students' memory is carried from each window to the next, gradients are not.
    """
    prepared = [_prepare(distiller, teacher, window) for window in windows]
    records: list[dict[str, Tensor]] = []
    for epoch in range(config.teacher_epochs):
        records = []
        key = (distiller.seed, 0, epoch)
        for index in minibatches(windows[0].reward.shape[1], config.minibatches, key):
            hidden = distiller.students.initial_hidden(len(index))
            for window, ready in zip(windows, prepared, strict=True):
                record, hidden = _step(distiller, window, ready, index, hidden, config, config)
                records.append(record)
    return means(records)


def learn_from_own(
    distiller: Distiller, teacher: Teacher, window: Window, config: GameDistillConfig
) -> dict[str, float]:
    """The students' own play, labelled by the teacher. Imitation counts less and less along it (kickstarting, Schmitt
    et al. 2018): under a mask the teacher cannot be imitated fully, and what is left to gain comes from the reward."""
    through = distiller.updates / max(1, own_windows(config) - 1)
    share = 1 - through * (1 - config.imitation_left)
    weights = dataclasses.replace(config, kl=config.kl * share, ce=config.ce * share)
    ready = _prepare(distiller, teacher, window)
    if config.tune_critic:
        distiller.value_norm.update(ready.returns.flatten())
    records: list[dict[str, Tensor]] = []
    for epoch in range(config.student_epochs):
        records = []
        key = (distiller.seed, 1 + distiller.updates, epoch)
        for index in minibatches(window.reward.shape[1], config.minibatches, key):
            records.append(_step(distiller, window, ready, index, window.hidden[:, index], weights, config)[0])
            if config.tune_critic:
                records[-1] |= {"value_loss": _tune_critic(distiller, window, ready, index, config)}
    distiller.updates += 1
    return means(records)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A window as the students learn from it."""

    inputs: Tensor  # [T, E, N, I]
    advantage: Tensor  # [T, E, N]
    returns: Tensor  # [T, E], in units of reward
    targets: Targets


@torch.no_grad()
def _prepare(distiller: Distiller, teacher: Teacher, window: Window) -> _Prepared:
    assert window.labels is not None
    inputs = distiller.sight.prepare(window.obs, window.seen, window.last_action)
    values = (distiller.critic, distiller.value_norm)
    advantage, returns = advantages(window, *values, teacher.discount, teacher.gae_lambda)
    z = window.labels.latents
    best = best_legal(window.labels.logits, window.mask)
    targets = Targets(window.labels.logits, best, z @ distiller.heads.role_teacher.T, cosines(z))
    advantage = normalised(advantage.unsqueeze(-1).expand_as(window.log_prob), window.alive)
    return _Prepared(inputs, advantage, returns, targets)


def _step(
    distiller: Distiller,
    window: Window,
    ready: _Prepared,
    index: Tensor,
    hidden: Tensor,
    weights: GameDistillConfig,
    config: GameDistillConfig,
) -> tuple[dict[str, Tensor], Tensor]:
    """One gradient step on some environments of a window; returns its statistics and the memory behind the window."""
    students = distiller.students
    set_rate(distiller.optimiser, config.learning_rate * (1 - distiller.gradient_steps / _planned(config)))
    logits, latents = students(ready.inputs[:, index], hidden, window.starts[:, index])
    own = [latents[:, agent, :, : students.width(agent)] for agent in range(students.agents)]
    chosen = Chosen(window.action[:, index], window.log_prob[:, index], ready.advantage[:, index])
    target = Targets(*(getattr(ready.targets, name)[:, index] for name in Targets.__slots__))
    alive = window.alive[:, index]
    mask = window.mask[:, index]
    record, loss = terms(distiller.heads, logits, own, mask, alive, chosen, target, weights, lambda z: z, alive)
    descend(distiller.optimiser, loss, students, config.max_grad_norm, distiller.heads)
    distiller.gradient_steps += 1
    return record, latents[-1].detach()


def _tune_critic(
    distiller: Distiller, window: Window, ready: _Prepared, index: Tensor, config: GameDistillConfig
) -> Tensor:
    """One step of the teacher's values towards those of the students' own play, as in MAPPO. Returns the loss."""
    set_rate(distiller.critic_optimiser, distiller.optimiser.param_groups[0]["lr"])
    value = distiller.critic(window.state[:, index])
    loss = value_huber(value, distiller.value_norm.normalise(ready.returns[:, index]), torch.ones_like(value))
    descend_alone(distiller.critic_optimiser, loss, [distiller.critic], config.max_grad_norm)
    return loss.detach()


def _planned(config: GameDistillConfig) -> int:
    """Gradient steps of the whole distillation, and one more: the last one's rate is above 0."""
    passes = teacher_windows(config) * config.teacher_epochs + own_windows(config) * config.student_epochs
    return passes * min(config.minibatches, config.environments) + 1
