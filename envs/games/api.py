"""What a game tells its learners: E environments in lockstep that start anew by themselves.

Unlike a mission (``envs.api.VectorEnv``) every agent that lives decides at every step, steps have no length, and an
ended episode is followed by the next one at once. All tensors are torch's, on the CPU.

Shapes: E environments, N agents, O observation columns of the widest agent, A actions of the one that has most, S state
columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from envs.api import AgentSpec


class GameError(ValueError):
    """A game that cannot be made; the message is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class Frame:
    """E environments at one moment."""

    obs: Tensor  # [E, N, O] float32 full observations, feature blocks as the specs say; 0 behind an agent's own columns
    action_mask: Tensor  # [E, N, A] bool; at least one action is legal, also for the dead
    alive: Tensor  # [E, N] bool: the agent decides
    state: Tensor  # [E, S] float32 scaled to about 1; for critics and mixers only


@dataclass(frozen=True, slots=True)
class Transition:
    """What one step of E environments gave."""

    frame: Frame  # what the next decisions are made on: where an episode ended, the first frame of the next one
    reward: Tensor  # [E] float32, of the team: the mean over its agents where theirs differ
    terminated: Tensor  # [E] bool: the game was over, nothing can be earned behind it
    truncated: Tensor  # [E] bool: cut off by the time limit, not terminated
    last: Frame  # the frame that the step led to, before any new start: the true final one where an episode ended
    won: Tensor  # [E] bool: the episode ended with this step, in victory; always False in games without one


class Game(Protocol):
    """E environments of one game."""

    name: str
    specs: tuple[AgentSpec, ...]  # N learning agents; slots == 0, fixed_actions are their actions
    environments: int
    state_size: int
    horizon: int  # longest episode in steps
    has_victory: bool
    backend: str  # "smax", "smac", "mpe", ...: results of different ones are never mixed

    def reset(self, seed: int) -> Frame:
        """Start all environments anew; what follows is a function of the seed and the actions alone."""

    def step(self, action: Tensor) -> Transition:
        """action [E, N] int64; an agent's must be legal while it lives, the others' are ignored."""

    def close(self) -> None: ...
