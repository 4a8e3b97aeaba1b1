"""The method's losses as equations (numbers as in the paper, arXiv 2604.06691): tensors in, a scalar out.

Shapes: D decisions, E episodes, N agents, A actions, T steps, R roles. ``weight`` is 1 where an entry counts, else 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from training.exact import square_root


def masked_log_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """log pi over the legal actions; illegal ones get the dtype's lowest finite number (-inf * 0 would be NaN)."""
    return F.log_softmax(logits.masked_fill(~mask, torch.finfo(logits.dtype).min), dim=-1)


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """sum(w x) / sum(w); 0 where nothing counts."""
    weight = weight.to(values.dtype)
    return (values * weight).sum() / weight.sum().clamp_min(torch.finfo(values.dtype).tiny)


def chosen_log_prob(logits: Tensor, mask: Tensor, action: Tensor) -> Tensor:
    """log pi(a | o).  logits [..., A], action [...] int64."""
    return masked_log_softmax(logits, mask).gather(-1, action.unsqueeze(-1)).squeeze(-1)


def gae(
    reward: Tensor, discount: Tensor, value: Tensor, next_value: Tensor, valid: Tensor, gae_lambda: float
) -> Tensor:
    """Eqs. 1-2 along each agent's decisions, [D, ...] each, front-packed (``valid`` marks the real ones).

    delta_d = R_d + gamma_d V(s_{d+1}) - V(s_d);   A_d = delta_d + gamma_d lambda A_{d+1}
    gamma_d is the discount to the next decision, 0 after death or termination; ``next_value`` at the last decision
    of a truncated episode is the value of its true final state.
    """
    delta = torch.where(valid, reward + discount * next_value - value, 0.0)
    decay = torch.where(valid, discount * gae_lambda, 0.0)
    advantage = torch.zeros_like(delta)
    following = torch.zeros_like(delta[0])
    for d in range(len(delta) - 1, -1, -1):
        following = delta[d] + decay[d] * following
        advantage[d] = following
    return advantage


def normalised(advantage: Tensor, valid: Tensor) -> Tensor:
    """Zero mean and unit deviation over the batch's decisions; 0 elsewhere."""
    mean = weighted_mean(advantage, valid)
    deviation = square_root(weighted_mean((advantage - mean).square(), valid))
    return torch.where(valid, (advantage - mean) / (deviation + 1e-8), 0.0)


def ppo_clip(log_prob: Tensor, behaviour_log_prob: Tensor, advantage: Tensor, weight: Tensor, clip: float) -> Tensor:
    """Eqs. 3-4:  -E[min(rho A, clip(rho, 1 - eps, 1 + eps) A)],  rho = pi(a | o) / pi_b(a | o)."""
    ratio = (log_prob - behaviour_log_prob).exp()
    surrogate = torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)
    return -weighted_mean(surrogate, weight)


def entropy(logits: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """H(pi) = -sum_a pi log pi over the legal actions, averaged over decisions."""
    log_p = masked_log_softmax(logits, mask)
    return weighted_mean(-(log_p.exp() * log_p).sum(-1), weight)


def value_huber(value: Tensor, target: Tensor, weight: Tensor, delta: float = 10.0) -> Tensor:
    """Huber loss of normalised values against normalised returns (Yu et al. 2022)."""
    return weighted_mean(F.huber_loss(value, target, reduction="none", delta=delta), weight)


def distillation_kl(logits_t: Tensor, logits_s: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """Eq. 7:  KL(pi_T || pi_S), averaged over decisions; both sides masked alike.  logits [D, E, N, A]."""
    log_p_t = masked_log_softmax(logits_t, mask).detach()
    log_p_s = masked_log_softmax(logits_s, mask)
    return weighted_mean((log_p_t.exp() * (log_p_t - log_p_s)).sum(-1), weight)


def by_kind(logits: Tensor, mask: Tensor, fixed: int) -> Tensor:
    """Logits of the policy that draws a kind of action and then takes the most likely action of that kind.

    The first ``fixed`` actions are a kind each; all others, the images, are one kind:

        pi'(a) = pi(a)                  of a fixed action,
        pi'(a*) = sum over images pi(a)  of the most likely image a*, and 0 of all other images.

    Its most likely action is of the most likely kind. The most likely action of pi itself may be of another kind,
    because pi divides the probability to image among many targets.

    logits [..., A], mask [..., A] bool: legal actions -> [..., A]; illegal actions are not masked.
    """
    lowest = torch.finfo(logits.dtype).min
    images = logits.masked_fill(~mask, lowest)[..., fixed:]
    best = F.one_hot(images.argmax(-1), images.shape[-1]).bool()
    together = images.logsumexp(-1, keepdim=True).expand_as(images)
    return torch.cat((logits[..., :fixed], together.masked_fill(~best, lowest)), dim=-1)


def best_legal(logits_t: Tensor, mask: Tensor) -> Tensor:
    """a* of Eq. 8:  argmax pi_T over the legal actions.  logits [D, E, N, A] -> [D, E, N]."""
    return masked_log_softmax(logits_t, mask).argmax(-1)


def hard_label_ce(label: Tensor, logits_s: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """Eq. 8:  -log pi_S(a*), averaged over decisions.  label a* [D, E, N], legal wherever the weight is not 0."""
    return weighted_mean(-chosen_log_prob(logits_s, mask, label), weight)


def cosines(z: Tensor) -> Tensor:
    """cos(z_i, z_j) of all pairs of agents.  z [..., N, W] -> [..., N, N]."""
    unit = F.normalize(z, dim=-1)
    return unit @ unit.transpose(-1, -2)


def structural_relation(cosines_t: Tensor, cosines_s: Tensor, weight: Tensor) -> Tensor:
    """Eq. 9:  mean over pairs i < j of (cos(z_i^T, z_j^T) - cos(z_i^S, z_j^S))^2.

    cosines [T, E, N, N] of the latents that the agents hold at each step; weight [T, E, N] is 0 for agents without.
    """
    weight = weight.to(cosines_s.dtype)
    pairs = torch.triu(weight.unsqueeze(-1) * weight.unsqueeze(-2), diagonal=1)
    return weighted_mean((cosines_t.detach() - cosines_s).square(), pairs)


def role_alignment(roles_t: Tensor, roles_s: Tensor, weight: Tensor, temperature: float) -> Tensor:
    """Eqs. 10-11:  sum_i KL(p_i^T || p_i^S),  p = softmax(W z / tau);  each agent's KL is averaged over its decisions.

    ``roles`` are W z, [D, E, N, R]. W_T is frozen: were it trained by this loss, W_T = W_S = 0 would be optimal.
    """
    log_p_t = F.log_softmax(roles_t.detach() / temperature, dim=-1)
    log_p_s = F.log_softmax(roles_s / temperature, dim=-1)
    kl = (log_p_t.exp() * (log_p_t - log_p_s)).sum(-1)
    per_agent = [weighted_mean(kl[..., i], weight[..., i]) for i in range(kl.shape[-1])]
    return torch.stack(per_agent).sum()


class Weights(Protocol):
    """Of the terms of Eqs. 5-6; a run's distillation settings have them."""

    ppo: float
    kl: float  # lambda_1
    ce: float  # lambda_2
    relation: float  # lambda_3
    role: float  # lambda_4
    entropy: float  # c_H


def kd_marl(weights: Weights, terms: dict[str, Callable[[], Tensor]]) -> tuple[Tensor, dict[str, Tensor]]:
    """Eqs. 5-6:  L = w_ppo L_PPO + l1 L_KL + l2 L_CE + l3 L_SR + l4 L_CR - c_H H(pi_S).

    ``terms`` holds "ppo", "kl", "ce", "relation", "role" and "entropy"; one with weight 0 is not evaluated.
    Returns the sum and the evaluated terms, unweighted.
    """
    signed = {
        "ppo": weights.ppo,
        "kl": weights.kl,
        "ce": weights.ce,
        "relation": weights.relation,
        "role": weights.role,
        "entropy": -weights.entropy,
    }
    values = {name: terms[name]() for name, weight in signed.items() if weight != 0}
    total = torch.zeros(())
    for name, value in values.items():
        total = total + signed[name] * value
    return total, values
