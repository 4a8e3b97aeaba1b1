"""Recurrent MAPPO (Yu et al. 2022) on windows of play: the teacher, and the baselines trained under the mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scenarios.games.schema import MappoConfig
from training.games.networks import RecurrentTeam, Sight, StateCritic
from training.games.networks import descend as descend_team
from training.games.windows import Window, advantages, minibatches
from training.losses import chosen_log_prob, entropy, normalised, ppo_clip, value_huber, weighted_mean
from training.networks import ValueNorm
from training.optimisation import adam, descend, means, set_rate


@dataclass
class Learner:
    """All that training changes; with the config it determines every later update."""

    team: RecurrentTeam
    sight: Sight
    critic: StateCritic
    value_norm: ValueNorm
    actor_optimiser: torch.optim.Adam
    critic_optimiser: torch.optim.Adam
    seed: int
    updates: int = 0

    def state_dict(self) -> dict[str, Any]:
        """For ``training.checkpoint.save``."""
        modules = {name: getattr(self, name).state_dict() for name in _STATEFUL}
        return modules | {"seed": self.seed, "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _STATEFUL:
            getattr(self, name).load_state_dict(state[name])
        self.seed, self.updates = state["seed"], state["updates"]


_STATEFUL = ("team", "critic", "value_norm", "actor_optimiser", "critic_optimiser")


def new_learner(team: RecurrentTeam, sight: Sight, critic: StateCritic, seed: int) -> Learner:
    return Learner(
        team, sight, critic, ValueNorm(), adam(team.parameters(), 1e-3), adam(critic.parameters(), 1e-3), seed
    )


def steps_per_update(config: MappoConfig) -> int:
    return config.environments * config.window


def updates_of(config: MappoConfig) -> list[int]:
    """How many updates each phase has."""
    return [max(1, round(phase.steps / steps_per_update(config))) for phase in config.phases]


def schedule(config: MappoConfig, update: int) -> tuple[float, float]:
    """Learning rate and entropy bonus of an update: both fall linearly along each phase."""
    counts = updates_of(config)
    for phase, count in zip(config.phases, counts, strict=True):
        if update < count:
            through = update / count
            first, last = phase.entropy
            return phase.learning_rate * (1 - through), first + (last - first) * through
        update -= count
    raise ValueError(f"update={update} lies behind the last phase")


def update(learner: Learner, window: Window, config: MappoConfig) -> dict[str, float]:
    """One PPO update on the current policy's own play."""
    rate, bonus = schedule(config, learner.updates)
    set_rate(learner.actor_optimiser, rate)
    set_rate(learner.critic_optimiser, rate)
    advantage, returns = advantages(window, learner.critic, learner.value_norm, config.discount, config.gae_lambda)
    learner.value_norm.update(returns.flatten())
    target = learner.value_norm.normalise(returns)
    advantage = normalised(advantage.unsqueeze(-1).expand_as(window.log_prob), window.alive)
    inputs = learner.sight.prepare(window.obs, window.seen, window.last_action)

    records: list[dict[str, Tensor]] = []
    for epoch in range(config.epochs):
        key = (learner.seed, learner.updates, epoch)
        for index in minibatches(window.reward.shape[1], config.minibatches, key):
            part = window.environments(index)
            logits, _ = learner.team(inputs[:, index], part.hidden, part.starts)
            log_prob = chosen_log_prob(logits, part.mask, part.action)
            policy_loss = ppo_clip(log_prob, part.log_prob, advantage[:, index], part.alive, config.clip)
            spread = entropy(logits, part.mask, part.alive)
            norm = descend_team(
                learner.actor_optimiser, policy_loss - bonus * spread, learner.team, config.max_grad_norm
            )
            value = learner.critic(part.state)
            value_loss = value_huber(value, target[:, index], torch.ones_like(value))
            descend(learner.critic_optimiser, value_loss, [learner.critic], config.max_grad_norm)
            with torch.no_grad():
                change = log_prob - part.log_prob
                records.append(
                    {
                        "policy_loss": policy_loss.detach(),
                        "value_loss": value_loss.detach(),
                        "entropy": spread.detach(),
                        "approximate_kl": weighted_mean(change.exp() - 1 - change, part.alive),
                        "grad_norm": norm,
                    }
                )
    learner.updates += 1
    return means(records) | {"learning_rate": rate, "entropy_bonus": bonus}
