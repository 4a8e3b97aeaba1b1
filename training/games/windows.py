"""Stretches of play as tensors: many environments, a fixed number of steps, episodes starting anew on the way.

Shapes: T steps, E environments, N agents, O observation columns, A actions, H hidden units, S state columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from envs.games.api import Frame, Game
from training.games.networks import RecurrentTeam, Sight, StateCritic
from training.losses import gae, masked_log_softmax
from training.networks import ValueNorm


@dataclass(frozen=True, slots=True)
class Labels:
    """What a frozen teacher says about a window, from full observations and its own memory of what was seen."""

    logits: Tensor  # [T, E, N, A]
    latents: Tensor  # [T, E, N, H]


@dataclass(frozen=True, slots=True)
class Window:
    """T steps of E environments."""

    obs: Tensor  # [T, E, N, O] full observations
    seen: Tensor  # [T, E, N, O] bool: what the agents of the team that learns from it sense of them
    mask: Tensor  # [T, E, N, A] bool, legal actions
    alive: Tensor  # [T, E, N] bool: the agent decided
    last_action: Tensor  # [T, E, N] int64, -1 at an episode's start
    starts: Tensor  # [T, E] bool: an episode begins with this step
    hidden: Tensor  # [N, E, H] the team's memory before the window
    action: Tensor  # [T, E, N] int64
    log_prob: Tensor  # [T, E, N] under the policy that played; 0 for the dead
    reward: Tensor  # [T, E]
    terminated: Tensor  # [T, E] bool
    truncated: Tensor  # [T, E] bool
    state: Tensor  # [T, E, S]
    next_state: Tensor  # [T, E, S], the true final one where an episode ended
    labels: Labels | None

    def environments(self, index: Tensor) -> Window:
        """Some of the environments."""
        labels = None if self.labels is None else Labels(self.labels.logits[:, index], self.labels.latents[:, index])
        tensors = {name: getattr(self, name)[:, index] for name in self.__slots__ if name != "labels"}
        return Window(**tensors, labels=labels)


@dataclass(frozen=True, slots=True)
class Episodes:
    """Those that ended within a window."""

    returns: Tensor  # [K]
    won: Tensor  # [K] bool


class Player:
    """A team at play in a game's environments; it carries on from window to window.

    A labelling teacher watches the same play with its own sight and memory.
    """

    def __init__(
        self,
        game: Game,
        team: RecurrentTeam,
        sight: Sight,
        seed: int,
        teacher: tuple[RecurrentTeam, Sight] | None = None,
        students: Sight | None = None,
    ) -> None:
        """``students``: whose masks a window keeps as ``seen``, where they are not those of the team at play."""
        self.game, self.team, self.sight, self.teacher = game, team, sight, teacher
        self._recorded = sight if students is None else students
        self.restart(seed)

    def restart(self, seed: int) -> None:
        """New episodes everywhere; what follows is a function of the seed and the networks alone."""
        environments = self.game.environments
        self._generator = torch.Generator().manual_seed(seed)
        self._frame: Frame = self.game.reset(seed)
        self._starts = torch.ones(environments, dtype=torch.bool)
        self._seen = self._recorded.draw(environments, self._generator)
        self._last_action = torch.full((environments, self.team.agents), -1)
        self._hidden = self.team.initial_hidden(environments)
        if self.teacher is not None:
            self._teacher_hidden = self.teacher[0].initial_hidden(environments)
        self._return = torch.zeros(environments)

    @torch.no_grad()
    def play(self, steps: int) -> tuple[Window, Episodes]:
        """Sample actions for a number of steps."""
        before = self._hidden
        columns: dict[str, list[Tensor]] = {}
        ended: list[tuple[Tensor, Tensor]] = []
        for _ in range(steps):
            frame = self._frame
            row = {
                "obs": frame.obs,
                "seen": self._seen,
                "mask": frame.action_mask,
                "alive": frame.alive,
                "last_action": self._last_action,
                "starts": self._starts,
                "state": frame.state,
            }
            starts = self._starts.unsqueeze(0)
            own = self._recorded is self.sight
            sensed = self._seen if own else self.sight.draw(len(frame.obs), self._generator)
            inputs = self.sight.prepare(frame.obs, sensed, self._last_action)
            logits, latents = self.team(inputs.unsqueeze(0), self._hidden, starts)
            self._hidden = latents[-1]
            log_p = masked_log_softmax(logits[0], frame.action_mask)
            action = _sample(log_p, self._generator)
            chosen = log_p.gather(-1, action.unsqueeze(-1)).squeeze(-1)
            row |= {"action": action, "log_prob": torch.where(frame.alive, chosen, 0.0)}
            if self.teacher is not None:
                network, sight = self.teacher
                full = sight.prepare(frame.obs, sight.draw(len(action), self._generator), self._last_action)
                said, thought = network(full.unsqueeze(0), self._teacher_hidden, starts)
                self._teacher_hidden = thought[-1]
                row |= {"teacher_logits": said[0], "teacher_latents": thought[0].transpose(0, 1)}
            step = self.game.step(action)
            row |= {
                "reward": step.reward,
                "terminated": step.terminated,
                "truncated": step.truncated,
                "next_state": step.last.state,
            }
            for name, value in row.items():
                columns.setdefault(name, []).append(value)

            over = step.terminated | step.truncated
            self._return = self._return + step.reward
            ended.append((self._return[over], step.won[over]))
            self._return = torch.where(over, 0.0, self._return)
            self._frame, self._starts = step.frame, over
            self._last_action = torch.where(over.unsqueeze(1), -1, action)
            if self._recorded.random and bool(over.any()):
                self._seen = self._seen.clone()
                self._seen[over] = self._recorded.draw(int(over.sum()), self._generator)

        stacked = {name: torch.stack(values) for name, values in columns.items()}
        labels = None
        if self.teacher is not None:
            labels = Labels(stacked.pop("teacher_logits"), stacked.pop("teacher_latents"))
        window = Window(**stacked, hidden=before, labels=labels)
        returns, won = (torch.cat(parts) for parts in zip(*ended, strict=True))
        return window, Episodes(returns, won)


def _sample(log_p: Tensor, generator: torch.Generator) -> Tensor:
    """Actions [...] of log-probabilities [..., A], by the Gumbel maximum."""
    noise = torch.empty_like(log_p).exponential_(generator=generator)
    return (log_p - noise.log()).argmax(-1)


@torch.no_grad()
def advantages(
    window: Window, critic: StateCritic, value_norm: ValueNorm, discount: float, gae_lambda: float
) -> tuple[Tensor, Tensor]:
    """Eqs. 1-2, the same for all agents of the team, and the returns A + V in units of reward; [T, E] each.

    A truncated episode bootstraps from its true final state: gamma V is part of its last reward, behind which nothing
    follows. The death of an agent ends nothing.
    """
    value = value_norm.denormalise(critic(window.state))
    next_value = value_norm.denormalise(critic(window.next_state))
    reward = window.reward + torch.where(window.truncated, discount * next_value, 0.0)
    goes_on = discount * (~(window.terminated | window.truncated)).to(reward.dtype)
    valid = torch.ones_like(window.starts)
    advantage = gae(reward, goes_on, value, next_value, valid, gae_lambda)
    return advantage, advantage + value


def minibatches(environments: int, parts: int, key: tuple[int, ...]) -> Iterator[Tensor]:
    """Environment numbers shuffled by ``key`` alone and dealt into at most ``parts`` parts."""
    order = np.random.default_rng(key).permutation(environments)
    for part in np.array_split(order, min(parts, environments)):
        yield torch.from_numpy(part)
