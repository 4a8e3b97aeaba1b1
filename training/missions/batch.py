"""A rollout's decisions as tensors, with the advantages that a critic gives them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.losses import gae
from training.missions.networks import Critic
from training.missions.rollout import Rollout, decisions
from training.networks import ValueNorm


@dataclass(frozen=True, slots=True)
class Batch:
    """D decisions of each of N agents in E episodes, beside the T steps in which they were made."""

    obs: Tensor  # [D, E, N, O]
    mask: Tensor  # [D, E, N, A] bool
    action: Tensor  # [D, E, N] int64
    advice: Tensor  # [D, E, N] int64, what an adviser would have done
    log_prob: Tensor  # [D, E, N] of the behaviour policy
    valid: Tensor  # [D, E, N] bool
    step: Tensor  # [D, E, N] int64, into T
    reward: Tensor  # [D, E, N] discounted to the next decision
    discount: Tensor  # [D, E, N]
    next_step: Tensor  # [D, E, N] int64, into T+1
    held: Tensor  # [T, E, N] int64 into D; -1: none
    state: Tensor  # [T+1, E, N, S]

    def episodes(self, index: Tensor) -> Batch:
        """Some of the episodes, no deeper than their longest decision sequence."""
        depth = int(self.valid[:, index].any(2).any(1).sum())
        by_step = ("held", "state")
        return Batch(
            **{
                name: getattr(self, name)[:, index] if name in by_step else getattr(self, name)[:depth, index]
                for name in self.__slots__
            }
        )


def to_batch(rollout: Rollout, discount_per_s: float) -> Batch:
    packed = decisions(rollout, discount_per_s)
    arrays = {name: getattr(packed, name) for name in packed.__slots__} | {"state": rollout.state}
    return Batch(**{name: torch.from_numpy(array) for name, array in arrays.items()})


@torch.no_grad()
def advantages(batch: Batch, critic: Critic, value_norm: ValueNorm, gae_lambda: float) -> tuple[Tensor, Tensor]:
    """Eqs. 1-2 and the returns A + V, in units of reward (values are de-normalised); [D, E, N] each."""
    values = value_norm.denormalise(critic(batch.state))  # [T+1, E, N]
    value, next_value = values.gather(0, batch.step), values.gather(0, batch.next_step)
    advantage = gae(batch.reward, batch.discount, value, next_value, batch.valid, gae_lambda)
    return advantage, advantage + value


def minibatches(episodes: int, parts: int, key: tuple[int, ...]) -> Iterator[Tensor]:
    """Episode numbers shuffled by ``key`` alone and dealt into at most ``parts`` parts."""
    order = np.random.default_rng(key).permutation(episodes)
    for part in np.array_split(order, min(parts, episodes)):
        yield torch.from_numpy(part)
