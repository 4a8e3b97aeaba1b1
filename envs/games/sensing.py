"""Who senses which columns of its observation: the one place where a game's observations are masked.

Shapes: E environments, N agents, O observation columns of the widest agent. A mask is True where the column is sensed
and False where it is not, and behind an agent's own columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from envs.api import AgentSpec
from envs.games.api import GameError
from envs.sensing import sense


def everything(specs: Sequence[AgentSpec]) -> Tensor:
    """[N, O] bool: every agent senses all columns of its own."""
    own = torch.tensor([spec.obs_size for spec in specs])
    return torch.arange(int(own.max())) < own[:, None]


def fixed(specs: Sequence[AgentSpec], visible: Sequence[Sequence[str]], always: Sequence[str] = ()) -> Tensor:
    """[N, O] bool: agent i senses the blocks ``visible[i]``, and those of ``always`` that it has.

    Raises:
        GameError: ``visible`` has not one entry per agent.
        SensingError: an entry names no block, or one that its agent does not have.
    """
    if len(visible) != len(specs):
        raise GameError(f"sensing is given for {len(visible)} agents; it must be given for each of the {len(specs)}")
    mask = torch.zeros_like(everything(specs))
    for row, spec, names in zip(mask, specs, visible, strict=True):
        row[torch.from_numpy(sense(spec, names).columns)] = True
    return mask | _of_blocks(specs, always)


class RandomMasks:
    """Each agent senses a uniformly random part of its columns, of a size that is uniformly random too.

    With n columns that may be hidden, the size is one of the integers from ``low * n`` to ``high * n`` (both rounded,
    at least 1). Blocks in ``always`` are never hidden and do not count.
    """

    def __init__(
        self, specs: Sequence[AgentSpec], visible_share: tuple[float, float], always: Sequence[str] = ()
    ) -> None:
        low, high = visible_share
        if not 0 < low <= high <= 1:
            raise GameError(f"the visible share [{low}, {high}] is not allowed: it must be 0 < low <= high <= 1")
        known = list(dict.fromkeys(block.name for spec in specs for block in spec.blocks))
        for name in always:
            if name not in known:
                raise GameError(f"the blocks that are always visible name {name!r}; the agents have {', '.join(known)}")
        self._always = _of_blocks(specs, always)
        self._may_hide = everything(specs) & ~self._always
        counts = [int(count) for count in self._may_hide.sum(1)]
        self._least = torch.tensor([max(1, round(low * count)) for count in counts])
        self._most = torch.tensor([max(1, round(high * count)) for count in counts])

    def draw(self, environments: int, generator: torch.Generator) -> Tensor:
        """[E, N, O] bool: a mask for every agent of every environment."""
        sizes = self._most - self._least + 1
        share = torch.rand(environments, len(sizes), dtype=torch.float64, generator=generator)
        visible = self._least + (share * sizes).long()
        # The first columns of a random order are a uniformly random subset; those that stay visible are put last.
        order = torch.rand(environments, *self._may_hide.shape, dtype=torch.float64, generator=generator)
        rank = order.masked_fill(~self._may_hide, 2.0).argsort(-1).argsort(-1)
        return (rank < visible[..., None]) & self._may_hide | self._always


def _of_blocks(specs: Sequence[AgentSpec], names: Sequence[str]) -> Tensor:
    """[N, O] bool: the columns of the named blocks, in the agents that have them."""
    mask = torch.zeros_like(everything(specs))
    for row, spec in zip(mask, specs, strict=True):
        for block in spec.blocks:
            if block.name in names:
                row[spec.slice(block.name)] = True
    return mask
