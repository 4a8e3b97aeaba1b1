"""Quantisation-aware fine-tuning: students learn to decide in int8 as they do in float32 (Jacob et al. 2018).

Forwards, every linear map is computed from weights and inputs rounded as the onboard engine rounds them; backwards,
gradients pass as if nothing had been rounded (the straight-through estimator, Bengio et al. 2013). The float32 student
is its own teacher, on decisions of its own flights.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onboard import quantise, reference
from scenarios.schema import QuantiseConfig
from training.losses import distillation_kl
from training.missions.batch import minibatches, to_batch
from training.missions.networks import OpportunityActor, Team
from training.missions.rollout import Rollout
from training.optimisation import adam, descend, set_rate

Progress = Callable[[float, str], None]  # (share done, what to say)


class Int8Linear(nn.Module):
    """A linear map as the onboard engine computes it in int8; its parameters stay float32."""

    def __init__(self, weight: nn.Parameter, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias

    def forward(self, x: Tensor) -> Tensor:
        """x [..., I] -> [..., outputs]."""
        return F.linear(rounded_inputs(x), rounded_weight(self.weight), self.bias)


class Int8GRU(nn.Module):
    """torch's GRU of one layer, its two linear maps in int8; parameters named as torch names them."""

    weight_ih_l0: Tensor
    bias_ih_l0: Tensor
    weight_hh_l0: Tensor
    bias_hh_l0: Tensor

    def __init__(self, gru: nn.GRU) -> None:
        super().__init__()
        for name, parameter in list(gru.named_parameters()):
            self.register_parameter(name, parameter)

    def forward(self, x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """x [T, B, H], hidden [1, B, H] -> states [T, B, H], the last of them [1, B, H]."""
        w_i, w_h = rounded_weight(self.weight_ih_l0), rounded_weight(self.weight_hh_l0)
        from_input = F.linear(rounded_inputs(x), w_i, self.bias_ih_l0)
        h, states = hidden[0], []
        for i_r, i_z, i_n in zip(*from_input.chunk(3, dim=-1), strict=True):
            h_r, h_z, h_n = F.linear(rounded_inputs(h), w_h, self.bias_hh_l0).chunk(3, dim=-1)
            r, z = torch.sigmoid(i_r + h_r), torch.sigmoid(i_z + h_z)
            n = torch.tanh(i_n + r * h_n)
            h = (1 - z) * n + z * h
            states.append(h)
        return torch.stack(states), h.unsqueeze(0)


def rounded_weight(weight: Tensor) -> Tensor:
    """A matrix [outputs, inputs] in the steps of ``onboard.quantise``; its gradient is the unrounded one's."""
    steps, scale = quantise.rounded(weight.detach().numpy())
    return _straight_through(weight, torch.from_numpy(steps * scale[:, None]))


def rounded_inputs(x: Tensor) -> Tensor:
    """Vectors [..., I], each in the steps of ``onboard.reference``; their gradient is the unrounded ones'."""
    steps, step = reference.quantised(x.detach().numpy())
    return _straight_through(x, torch.from_numpy((steps * step).astype("float32")))


def _straight_through(value: Tensor, rounded: Tensor) -> Tensor:
    return value + (rounded - value).detach()


def in_int8(students: Team) -> Team:
    """A copy that computes as its int8 networks will on board; its state dict is that of the float32 team."""
    team = copy.deepcopy(students)
    for network in team.networks:
        assert isinstance(network, OpportunityActor)
        for name in ("context", "slot", "query", "key", "fixed"):
            layer = getattr(network, name)
            setattr(network, name, Int8Linear(layer.weight, layer.bias))
        network.gru = Int8GRU(network.gru)  # type: ignore[assignment]  # it is called alike
    return team


def computes_in_int8(actor: OpportunityActor) -> bool:
    """Whether it is of a team that ``in_int8`` made."""
    return isinstance(actor.gru, Int8GRU)


def fine_tune(students: Team, rollout: Rollout, config: QuantiseConfig, seed: int, progress: Progress) -> Team:
    """The students in int8, fine-tuned to decide as in float32:  L = KL(pi || pi_int8) over the legal actions.

    A cross-entropy with the float32 choices beside it would sharpen the policies, and move choices that are close.

    Args:
        students: trained, float32; left as they are.
        rollout: episodes that they flew.
        progress: told after each epoch.

    Returns:
        A team as ``in_int8`` makes it.
    """
    batch, team = to_batch(rollout, 1.0), in_int8(students)
    with torch.no_grad():
        target, _ = students(batch.obs, batch.mask)  # [D, E, N, A]
    optimiser = adam(team.parameters(), config.learning_rate)
    for epoch in range(config.epochs):
        losses = []
        set_rate(optimiser, config.learning_rate * (1 - epoch / config.epochs))
        for index in minibatches(len(rollout.seeds), config.minibatches, (seed, epoch)):
            part = batch.episodes(index)
            logits, _ = team(part.obs, part.mask)
            loss = distillation_kl(target[: len(part.obs), index], logits, part.mask, part.valid)
            descend(optimiser, loss, team.networks, config.max_grad_norm)
            losses.append(float(loss.detach()))
        progress((epoch + 1) / config.epochs, f"KL {sum(losses) / len(losses):.1e}")
    return team
