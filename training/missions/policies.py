"""Trained networks as a ``Policy``."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from envs.api import FloatArray, IntArray, Step
from training.missions.networks import Team

_STREAM = 0x706F6C69  # keeps a policy's draws apart from those an environment makes of the same seed


class NetworkPolicy:
    """A team's networks deciding for E environments; satisfies ``envs.api.Policy``.

    An agent's recurrent state advances only when it is asked. Sampling uses one generator per episode, made of the
    episode's seed alone, so that an episode depends on its seed and the weights.
    """

    log_prob: FloatArray  # [E, N] of the latest choice; 0 where the agent was not asked, or with ``sample=False``

    def __init__(self, team: Team, sample: bool) -> None:
        self.team = team
        self.sample = sample
        self.reset([])

    def reset(self, seeds: list[int]) -> None:
        self._generators = [np.random.default_rng([_STREAM, seed]) for seed in seeds]
        self._hidden: list[Tensor] = self.team.initial_hidden(len(seeds))
        self.log_prob = np.zeros((len(seeds), self.team.agents), np.float32)

    @torch.no_grad()
    def act(self, step: Step) -> IntArray:
        obs = torch.from_numpy(np.ascontiguousarray(step.obs, np.float32))
        mask = torch.from_numpy(np.ascontiguousarray(step.action_mask))
        logits, self._hidden = self.team.decide(obs, mask, torch.from_numpy(step.active), self._hidden)
        if not self.sample:
            decisive = self.team.decisive(logits, mask).masked_fill(~mask, -torch.inf)
            return decisive.argmax(-1).numpy()
        return self._draw(np.where(step.action_mask, logits.numpy().astype(np.float64), -np.inf), step)

    def _draw(self, scores: np.ndarray, step: Step) -> IntArray:
        """Inverse-CDF sampling in float64; scores [E, N, A], -inf: illegal."""
        uniform = np.stack([generator.random(self.team.agents) for generator in self._generators])
        top = np.where(step.action_mask.any(-1), scores.max(-1), 0.0)[..., None]
        weights = np.exp(scores - top)
        cumulative = np.cumsum(weights, axis=-1)
        total = cumulative[..., -1:]
        action = np.asarray(np.argmax(cumulative > uniform[..., None] * total, axis=-1), np.int64)
        with np.errstate(divide="ignore"):
            log_prob = np.log(np.take_along_axis(weights, action[..., None], -1) / np.where(total > 0, total, 1.0))
        self.log_prob = np.where(step.active, log_prob[..., 0], 0.0).astype(np.float32)
        return action
