"""Recurrent MAPPO (Yu et al. 2022) on each agent's own sequence of decisions, whole episodes at a time.

It teaches the shared teacher, and the baseline of per-agent networks trained directly under the mask: another Team.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scenarios.schema import TeacherConfig
from training.losses import (
    chosen_log_prob,
    entropy,
    masked_log_softmax,
    normalised,
    ppo_clip,
    value_huber,
    weighted_mean,
)
from training.missions.batch import Batch, advantages, minibatches, to_batch
from training.missions.networks import Critic, Team
from training.missions.rollout import Rollout
from training.networks import ValueNorm
from training.optimisation import adam, descend, means, set_rate


@dataclass
class Learner:
    """All that training changes; with the config it determines every later update."""

    team: Team
    critic: Critic
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


def new_learner(team: Team, critic: Critic, config: TeacherConfig, seed: int) -> Learner:
    return Learner(
        team=team,
        critic=critic,
        value_norm=ValueNorm(),
        actor_optimiser=adam(team.parameters(), config.learning_rate),
        critic_optimiser=adam(critic.parameters(), config.critic_learning_rate),
        seed=seed,
    )


def total_updates(config: TeacherConfig) -> int:
    return max(1, math.ceil(config.episodes / config.episodes_per_update))


def update(learner: Learner, rollout: Rollout, config: TeacherConfig) -> dict[str, float]:
    """One PPO update on the current policy's own episodes; learning rates and entropy bonus fall linearly.

    The actor stops early, after the epoch in which its divergence passes ``target_kl``: a policy cloned from a
    heuristic is nearly deterministic, and a few steps too many can unlearn charging.
    """
    done = min(learner.updates / total_updates(config), 1.0)
    set_rate(learner.actor_optimiser, config.learning_rate * (1 - done))
    set_rate(learner.critic_optimiser, config.critic_learning_rate * (1 - done))
    through = min(learner.updates / max(1, total_updates(config) - 1), 1.0)
    bonus = config.entropy[0] + through * (config.entropy[1] - config.entropy[0])

    batch = to_batch(rollout, config.discount_per_s)
    advantage, returns = advantages(batch, learner.critic, learner.value_norm, config.gae_lambda)
    spread = returns[batch.valid].var(unbiased=False).clamp_min(1e-12)
    explained = 1 - advantage[batch.valid].var(unbiased=False) / spread
    learner.value_norm.update(returns[batch.valid])
    target = learner.value_norm.normalise(returns)
    advantage = normalised(advantage, batch.valid)

    actor_records: list[dict[str, Tensor]] = []
    critic_records: list[dict[str, Tensor]] = []
    near = True  # the policy is still near the one that flew the episodes
    for epoch in range(config.epochs):
        divergence: list[Tensor] = []
        for index in minibatches(batch.obs.shape[1], config.minibatches, (learner.seed, learner.updates, epoch)):
            part = batch.episodes(index)
            depth = len(part.obs)
            if near:
                actor_records.append(_actor_step(learner, part, advantage[:depth, index], bonus, config))
                divergence.append(actor_records[-1]["approximate_kl"])
            critic_records.append({"value_loss": _critic_step(learner, part, target[:depth, index], config)})
        near = near and float(torch.stack(divergence).mean()) <= config.target_kl
    learner.updates += 1
    return {
        **means(actor_records),
        **means(critic_records),
        "explained_variance": float(explained),
        "learning_rate": config.learning_rate * (1 - done),
        "entropy_bonus": bonus,
        **_episode_statistics(rollout),
    }


def imitate(
    learner: Learner, rollout: Rollout, config: TeacherConfig, epoch_done: Callable[[int], None] = lambda _: None
) -> dict[str, float]:
    """Warm start: clone the rollout's actions by cross-entropy, and fit the critic to its discounted returns.

    Returns are cut off by a time limit, so they are completed with the critic's own value of the final state, anew in
    each of the ``imitation_epochs``; ``epoch_done`` is told how many there have been.
    """
    first, last = config.imitation_learning_rate
    set_rate(learner.critic_optimiser, config.critic_learning_rate)
    batch = to_batch(rollout, config.discount_per_s)
    records: list[dict[str, Tensor]] = []
    for epoch in range(config.imitation_epochs):
        set_rate(learner.actor_optimiser, last + (first - last) * (1 - epoch / config.imitation_epochs))
        _, returns = advantages(batch, learner.critic, learner.value_norm, gae_lambda=1.0)
        learner.value_norm.update(returns[batch.valid])
        target = learner.value_norm.normalise(returns)
        records = []
        for index in minibatches(batch.obs.shape[1], config.minibatches, (learner.seed, _IMITATION, epoch)):
            part = batch.episodes(index)
            logits, _ = learner.team(part.obs, part.mask)
            loss = -weighted_mean(chosen_log_prob(logits, part.mask, part.action), part.valid)
            descend(learner.actor_optimiser, loss, learner.team.networks, config.max_grad_norm)
            greedy = masked_log_softmax(logits.detach(), part.mask).argmax(-1)
            agreement = weighted_mean((greedy == part.action).float(), part.valid)
            value_loss = _critic_step(learner, part, target[: len(part.obs), index], config)
            records.append({"cross_entropy": loss.detach(), "agreement": agreement, "value_loss": value_loss})
        epoch_done(epoch + 1)
    return means(records) | _episode_statistics(rollout)


_IMITATION = 2**32 - 1  # in place of the update counter


def _actor_step(
    learner: Learner, part: Batch, advantage: Tensor, bonus: float, config: TeacherConfig
) -> dict[str, Tensor]:
    logits, _ = learner.team(part.obs, part.mask)
    log_prob = chosen_log_prob(logits, part.mask, part.action)
    policy_loss = ppo_clip(log_prob, part.log_prob, advantage, part.valid, config.clip)
    spread = entropy(logits, part.mask, part.valid)
    norm = descend(learner.actor_optimiser, policy_loss - bonus * spread, learner.team.networks, config.max_grad_norm)
    with torch.no_grad():
        change = log_prob - part.log_prob
        return {
            "policy_loss": policy_loss.detach(),
            "entropy": spread.detach(),
            "approximate_kl": weighted_mean(change.exp() - 1 - change, part.valid),
            "clip_fraction": weighted_mean(((change.exp() - 1).abs() > config.clip).float(), part.valid),
            "grad_norm": norm,
        }


def _critic_step(learner: Learner, part: Batch, target: Tensor, config: TeacherConfig) -> Tensor:
    values = learner.critic(part.state).gather(0, part.step)
    loss = value_huber(values, target, part.valid)
    descend(learner.critic_optimiser, loss, [learner.critic], config.max_grad_norm)
    return loss.detach()


def _episode_statistics(rollout: Rollout) -> dict[str, float]:
    episodes, last = range(len(rollout.seeds)), rollout.steps
    return {
        "episode_return": float(rollout.reward.sum(0).mean()),
        "episode_deaths": float((~rollout.alive[last, episodes]).sum(-1).mean()),
        "episode_decisions": float(rollout.active.sum((0, 2)).mean()),
    }
