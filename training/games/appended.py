"""Games whose observations carry further columns behind those of the agents' specs, and who reads them.

The global state for a teacher's first stage, or which messages arrive, are then part of every window of play, and what
was acted on is what is learnt from.

Shapes: E environments, N agents, O observation columns of the specs, X appended columns, S state columns.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

import torch
from torch import Tensor

from envs.games.api import Frame, Game, Transition
from training.games.networks import Sight


class Columns(Protocol):
    """What is appended."""

    def restart(self, seed: int) -> None:
        """All environments start anew; what follows is a function of the seed and the frames."""

    def of(self, frame: Frame) -> Tensor:
        """[E, N, X] float32."""


class StateColumns:
    """The global state, for every agent that lives."""

    def restart(self, seed: int) -> None:
        pass

    def of(self, frame: Frame) -> Tensor:
        """[E, N, S]; 0 for the dead."""
        return frame.state.unsqueeze(1) * frame.alive.unsqueeze(-1)


class AppendedGame:
    """Satisfies ``envs.games.api.Game``; the specs stay those of the game behind it."""

    def __init__(self, game: Game, columns: Columns) -> None:
        self._game, self._columns = game, columns
        self.name, self.backend, self.specs = game.name, game.backend, game.specs
        self.environments, self.state_size, self.horizon = game.environments, game.state_size, game.horizon
        self.has_victory = game.has_victory

    def reset(self, seed: int) -> Frame:
        self._columns.restart(seed)
        return self._with_columns(self._game.reset(seed))

    def step(self, action: Tensor) -> Transition:
        step = self._game.step(action)
        frame = self._with_columns(step.frame)
        over = step.terminated | step.truncated
        if bool(over.any()):  # elsewhere the last frame is the next one
            final = self._with_columns(step.last).obs
            last = dataclasses.replace(step.last, obs=torch.where(over.view(-1, 1, 1), final, frame.obs))
        else:
            last = dataclasses.replace(step.last, obs=frame.obs)
        return dataclasses.replace(step, frame=frame, last=last)

    def close(self) -> None:
        self._game.close()

    def _with_columns(self, frame: Frame) -> Frame:
        return dataclasses.replace(frame, obs=torch.cat((frame.obs, self._columns.of(frame)), dim=-1))


class CutSight(Sight):
    """Reads the specs' columns and nothing that is appended to them."""

    def prepare(self, obs: Tensor, seen: Tensor, last_action: Tensor) -> Tensor:
        """obs [..., N, O + X] -> [..., N, I], as of the same game without appended columns."""
        return super().prepare(obs[..., : self.obs_size], seen, last_action)


class AppendedSight(Sight):
    """Reads the specs' columns as its mask allows, and hands on what is appended: a team says what that is."""

    def prepare(self, obs: Tensor, seen: Tensor, last_action: Tensor) -> Tensor:
        """obs [..., N, O + X] -> [..., N, I + X]; ``inputs`` is I."""
        own = super().prepare(obs[..., : self.obs_size], seen, last_action)
        return torch.cat((own, obs[..., self.obs_size :]), dim=-1)
