"""The loss of KD-MARL (Eqs. 3-11) on decisions of N students, whatever they are trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from training.losses import (
    Weights,
    chosen_log_prob,
    cosines,
    distillation_kl,
    entropy,
    hard_label_ce,
    kd_marl,
    masked_log_softmax,
    ppo_clip,
    role_alignment,
    structural_relation,
    weighted_mean,
)
from training.networks import linear


class Settings(Weights, Protocol):
    """What of a run's distillation settings the losses need."""

    clip: float
    relation_width: int
    roles: int
    role_temperature: float


class DistillationHeads(nn.Module):
    """Training-only maps: of unlike students' latents to a common width (Eq. 9) and to roles (Eq. 11).

    W_T is orthogonal and frozen: trained together with W_S, both would become 0.
    """

    role_teacher: Tensor

    def __init__(
        self, teacher_width: int, student_widths: Sequence[int], config: Settings, generator: torch.Generator
    ) -> None:
        super().__init__()
        relation = [linear(width, config.relation_width, 1.0, generator, bias=False) for width in student_widths]
        role = [linear(width, config.roles, 1.0, generator, bias=False) for width in student_widths]
        self.relation, self.role = nn.ModuleList(relation), nn.ModuleList(role)
        frozen = nn.init.orthogonal_(torch.empty(config.roles, teacher_width), 1.0, generator)
        self.register_buffer("role_teacher", frozen)


@dataclass(frozen=True, slots=True)
class Targets:
    """What the students are to learn of a batch: the frozen teacher's view of it, and whose action is Eq. 8's."""

    logits: Tensor  # [D, E, N, A]
    best: Tensor  # [D, E, N] the hard label: the teacher's best action, or the planner's
    roles: Tensor  # [D, E, N, R] W_T z
    cosines: Tensor  # [T, E, N, N] of the latents held at each step


@dataclass(frozen=True, slots=True)
class Chosen:
    """What was done in a batch, and what came of it."""

    action: Tensor  # [D, E, N] int64
    log_prob: Tensor  # [D, E, N] of the behaviour policy (Eq. 4)
    advantage: Tensor  # [D, E, N] normalised


def terms(
    heads: DistillationHeads,
    logits: Tensor,
    latents: Sequence[Tensor],
    mask: Tensor,
    weight: Tensor,
    chosen: Chosen,
    target: Targets,
    config: Settings,
    on_grid: Callable[[Tensor], Tensor],
    together: Tensor,
) -> tuple[dict[str, Tensor], Tensor]:
    """The method's statistics and loss (Eqs. 3-11) on D decisions of N students.

    Args:
        logits: [D, E, N, A].
        latents: N x [D, E, H_i].
        mask: [D, E, N, A] legal actions; ``weight``: [D, E, N], 0 where nobody decided.
        on_grid: values of decisions [D, E, N, W] -> of steps [T, E, N, W], on which agents are compared (Eq. 9).
        together: [T, E, N], 0 for agents that are not to be compared there.
    """

    def ppo() -> Tensor:
        log_prob = chosen_log_prob(logits, mask, chosen.action)
        return ppo_clip(log_prob, chosen.log_prob, chosen.advantage, weight, config.clip)

    def relation() -> Tensor:
        common = torch.stack([to(z) for to, z in zip(heads.relation, latents, strict=True)], dim=2)
        return structural_relation(target.cosines, cosines(on_grid(common)), together)

    def role() -> Tensor:
        roles = torch.stack([to(z) for to, z in zip(heads.role, latents, strict=True)], dim=2)
        return role_alignment(target.roles, roles, weight, config.role_temperature)

    loss, values = kd_marl(
        config,
        {
            "ppo": ppo,
            "kl": lambda: distillation_kl(target.logits, logits, mask, weight),
            "ce": lambda: hard_label_ce(target.best, logits, mask, weight),
            "relation": relation,
            "role": role,
            "entropy": lambda: entropy(logits, mask, weight),
        },
    )
    with torch.no_grad():
        same = masked_log_softmax(logits, mask).argmax(-1) == masked_log_softmax(target.logits, mask).argmax(-1)
        record = {name: value.detach() for name, value in values.items()}
        record |= {"loss": loss.detach(), "agreement": weighted_mean(same.float(), weight)}
    return record, loss
