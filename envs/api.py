"""The types that flow between a mission's simulation, its policies and its learners.

Shapes: E environments, N agents, O observation columns, A actions, S state columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


HEALTH = ("battery", "reserve", "wheel_speed", "storage")  # onboard/guard.py says what they mean


@dataclass(frozen=True, slots=True)
class FeatureBlock:
    """Named columns of an observation that a sensor gives together or not at all.

    A context block (``slots == 0``) describes the agent itself. A slot block repeats ``size``
    columns for each of ``slots`` opportunities (image targets). ``scale`` is what the physical value, in
    ``unit``, was divided by to give the column.
    """

    name: str
    size: int
    unit: str
    scale: float
    slots: int = 0
    macs: int = 0  # the most multiply-accumulates with which a satellite computes the block in a decision

    @property
    def columns(self) -> int:
        return self.size * max(1, self.slots)


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """What one agent sees and can do; it travels in the bundle.

    The observation is the concatenation of ``blocks`` in order; a slot block is laid out slot-major:
    ``[slot 0: size columns, slot 1: size columns, ...]``. Actions are the fixed ones (charge, ...)
    followed by one per slot ("image_0", "image_1", ...).
    """

    name: str
    hardware: str
    blocks: tuple[FeatureBlock, ...]
    fixed_actions: tuple[str, ...]
    slots: int

    def __post_init__(self) -> None:
        for block in self.blocks:
            if block.slots not in (0, self.slots):
                raise ValueError(
                    f"block {block.name!r} of agent {self.name!r} has {block.slots} slots; allowed: 0 or {self.slots}"
                )

    @property
    def obs_size(self) -> int:
        return sum(block.columns for block in self.blocks)

    @property
    def actions(self) -> tuple[str, ...]:
        return self.fixed_actions + tuple(f"image_{slot}" for slot in range(self.slots))

    def slice(self, block_name: str) -> slice:
        """Columns of a block within the observation."""
        start = 0
        for block in self.blocks:
            if block.name == block_name:
                return slice(start, start + block.columns)
            start += block.columns
        raise KeyError(f"agent {self.name!r} has no block {block_name!r}; it has {[b.name for b in self.blocks]}")


@dataclass(frozen=True, slots=True)
class Step:
    """What E environments tell after a reset or a step; all agents of an environment share its clock."""

    obs: FloatArray  # [E, N, O] scaled feature blocks
    action_mask: BoolArray  # [E, N, A] True where the action may be chosen
    active: BoolArray  # [E, N] True for agents that are asked to decide now
    alive: BoolArray  # [E, N]
    reward: FloatArray  # [E] team reward of the step just taken
    duration_s: FloatArray  # [E] length of the step just taken
    terminated: BoolArray  # [E] no agent is left alive
    truncated: BoolArray  # [E] time limit
    state: FloatArray  # [E, N, S] one row per agent, for critics only: it never flies
    health: FloatArray  # [E, N, 4] as HEALTH names them, fractions of capacity: for the guard, no policy sees it


class VectorEnv(Protocol):
    """E environments with the same agents, stepped together; an ended one stays ended until reset."""

    specs: tuple[AgentSpec, ...]
    state_size: int

    def reset(self, seeds: list[int]) -> Step:
        """Start len(seeds) episodes; each is a function of its seed alone."""

    def step(self, actions: IntArray) -> Step:
        """actions [E, N]; entries of agents that were not asked (``Step.active`` False) are ignored."""

    def close(self) -> None: ...


class Policy(Protocol):
    """Anything that decides: teacher, students, heuristics, the onboard executor.

    One instance serves all N agents of E environments and carries its own recurrent state.
    """

    def reset(self, seeds: list[int]) -> None:
        """Forget the past; a stochastic policy draws from generators made of these seeds alone."""

    def act(self, step: Step) -> IntArray:
        """[E, N] actions; rows of agents not asked are ignored by the environment."""
