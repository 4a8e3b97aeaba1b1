"""QMIX (Rashid et al. 2018) and VDN (Sunehag et al. 2018): a team's value is made of its agents' own.

A dead agent's value counts as 0 in both mixers: it decides nothing, its observation is blank, and what its death costs
the team is in the rewards and in the values of those who live on. QMIX still reads from the state who is dead.

Shapes: T steps, T+1 frames, R rows of packed episodes (``training.games.replay``), N agents, A actions, S state
columns, M mixing units.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scenarios.games.schema import ValueDecompositionConfig
from training.games.networks import RecurrentTeam, Sight, descend
from training.games.replay import Episodes
from training.losses import weighted_mean
from training.networks import RELU_GAIN, linear
from training.optimisation import adam

MixerName = Literal["qmix", "vdn"]

HYPERNET_GAIN = 0.5  # the fresh mixer is of the order of a sum, so that returns are learnt by agents and mixer alike


class VdnMixer(nn.Module):
    """Q_tot = sum_i Q_i (Sunehag et al. 2018, section 3)."""

    def forward(self, values: Tensor, alive: Tensor, state: Tensor) -> Tensor:
        """values [..., N], alive [..., N] bool, state [..., S] (not read) -> Q_tot [...]."""
        return (values * alive).sum(-1)


class QmixMixer(nn.Module):
    """Q_tot = |w_2(s)| . ELU(|W_1(s)| q + b_1(s)) + V(s) (Rashid et al. 2018, section 4 and figure 2).

    Weights are at least 0, so that Q_tot rises with every Q_i (their Eq. 5) and each agent's greedy action is the
    team's.
    """

    def __init__(self, agents: int, state_size: int, units: int, hypernet: int, generator: torch.Generator) -> None:
        super().__init__()
        self.agents = agents

        def network(outputs: int, between: nn.Module) -> nn.Sequential:
            return nn.Sequential(
                linear(state_size, hypernet, RELU_GAIN, generator),
                between,
                linear(hypernet, outputs, HYPERNET_GAIN, generator),
            )

        # Bounded: with ReLU, Q_tot grows with the cube of the state, and agents that stray far out make it diverge.
        self.w_1 = network(agents * units, nn.Tanh())
        self.b_1 = linear(state_size, units, HYPERNET_GAIN, generator)
        self.w_2 = network(units, nn.Tanh())
        self.value = network(1, nn.ReLU())

    def forward(self, values: Tensor, alive: Tensor, state: Tensor) -> Tensor:
        """values [..., N], alive [..., N] bool, state [..., S] -> Q_tot [...]."""
        w_1 = self.w_1(state).abs().unflatten(-1, (self.agents, -1))  # [..., N, M]
        mixed = F.elu(((values * alive).unsqueeze(-1) * w_1).sum(-2) + self.b_1(state))
        q_tot: Tensor = (self.w_2(state).abs() * mixed).sum(-1) + self.value(state).squeeze(-1)
        return q_tot


def greedy(q: Tensor, mask: Tensor) -> Tensor:
    """argmax_a Q(a) over the legal actions.  q [..., A], mask [..., A] bool -> [...] int64."""
    return q.masked_fill(~mask, torch.finfo(q.dtype).min).argmax(-1)


def of_action(q: Tensor, action: Tensor) -> Tensor:
    """q [..., A], action [...] int64 -> Q(a), [...]."""
    return q.gather(-1, action.unsqueeze(-1)).squeeze(-1)


def td_lambda_targets(
    reward: Tensor, terminated: Tensor, valid: Tensor, next_value: Tensor, discount: float, td_lambda: float
) -> Tensor:
    """lambda-returns of whole episodes (Sutton & Barto 2018, Eq. 12.18), [T, R] each.

    G_t = r_t + gamma ((1 - lambda) V_{t+1} + lambda G_{t+1});  at the last step  r_t + gamma V_{t+1},  which is r_t
    where the episode terminated. ``next_value`` is V_{t+1}; behind a truncated episode it is that of its true final
    frame.
    """
    continues = torch.cat((valid[1:], torch.zeros_like(valid[:1])))
    gamma = discount * (~terminated).to(reward.dtype)
    later = td_lambda * continues.to(reward.dtype)
    one_step = reward + gamma * (1 - later) * next_value
    decay = gamma * later
    target = torch.empty_like(reward)
    following = torch.zeros_like(reward[0])
    for t in range(len(reward) - 1, -1, -1):
        following = torch.addcmul(one_step[t], decay[t], following)
        target[t] = following
    return target


@dataclass
class ValueLearner:
    """All that training changes but for the replay; with it and the config it determines every later update."""

    team: RecurrentTeam
    mixer: VdnMixer | QmixMixer
    target_team: RecurrentTeam
    target_mixer: VdnMixer | QmixMixer
    optimiser: torch.optim.Adam
    updates: int = 0

    def state_dict(self) -> dict[str, Any]:
        """For ``training.checkpoint.save``."""
        return {name: getattr(self, name).state_dict() for name in _STATEFUL} | {"updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _STATEFUL:
            getattr(self, name).load_state_dict(state[name])
        self.updates = state["updates"]


_STATEFUL = ("team", "mixer", "target_team", "target_mixer", "optimiser")


def new_learner(
    mixer: MixerName, team: RecurrentTeam, state_size: int, config: ValueDecompositionConfig, generator: torch.Generator
) -> ValueLearner:
    mix = (
        QmixMixer(team.agents, state_size, config.mixer, config.hypernet, generator) if mixer == "qmix" else VdnMixer()
    )
    parameters = [*team.parameters(), *mix.parameters()]
    optimiser = adam(parameters, config.learning_rate)
    return ValueLearner(team, mix, copy.deepcopy(team), copy.deepcopy(mix), optimiser)


def update(learner: ValueLearner, sight: Sight, batch: Episodes, config: ValueDecompositionConfig) -> dict[str, Tensor]:
    """One gradient step on  mean (y_t - Q_tot(s_t, a_t))^2  over the steps of the batch (Rashid et al. 2018, Eq. 6).

    y is the lambda-return of double Q-learning (van Hasselt et al. 2016): V = Q_tot' of the actions that are best by
    the learning networks, valued by the target networks.
    """
    inputs = sight.prepare(batch.obs, batch.seen, batch.last_action)
    start = learner.team.initial_hidden(batch.obs.shape[1])
    q, _ = learner.team(inputs, start, batch.starts)
    with torch.no_grad():
        q_target, _ = learner.target_team(inputs, start, batch.starts)
        best = of_action(q_target[1:], greedy(q[1:], batch.action_mask[1:]))
        next_value = learner.target_mixer(best, batch.alive[1:], batch.state[1:])
        y = td_lambda_targets(
            batch.reward, batch.terminated, batch.valid, next_value, config.discount, config.td_lambda
        )
    chosen = of_action(q[:-1], batch.action)
    q_tot = learner.mixer(chosen, batch.alive[:-1], batch.state[:-1])
    loss = weighted_mean((y - q_tot).square(), batch.valid)

    learnt = learner.mixer if isinstance(learner.mixer, QmixMixer) else None
    norm = descend(learner.optimiser, loss, learner.team, config.max_grad_norm, learnt)
    learner.updates += 1
    if learner.updates % config.target_updates == 0:
        learner.target_team.load_state_dict(learner.team.state_dict())
        learner.target_mixer.load_state_dict(learner.mixer.state_dict())
    return {"td_loss": loss.detach(), "q_tot": weighted_mean(q_tot.detach(), batch.valid), "grad_norm": norm}
