"""Who senses which blocks: the one place where a sensing mask is applied."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from envs.api import AgentSpec, IntArray


class SensingError(ValueError):
    """A sensing group that does not fit the agent; the message is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class Sensing:
    """What an agent senses of its full observation; columns it cannot sense are dropped.

    ``obs[..., columns]`` is the observation laid out as ``spec`` says. The other two index the *full*
    observation as a network reads it: C context columns, and F columns for each of K slots.
    """

    spec: AgentSpec  # reduced to the sensed blocks, in their original order
    columns: IntArray  # [O_sensed]
    context_columns: IntArray  # [C]
    slot_columns: IntArray  # [K, F]


def sense(spec: AgentSpec, visible: Sequence[str], group: str = "") -> Sensing:
    """Reduce ``spec`` to the blocks named in ``visible`` (any order); ``group`` is only for the message.

    Raises:
        SensingError: no block is named, or one that the agent does not have.
    """
    known = [block.name for block in spec.blocks]
    where = f"sensing group {group!r} of agent {spec.name!r}" if group else f"sensing of agent {spec.name!r}"
    for name in visible:
        if name not in known:
            raise SensingError(f"{where} names block {name!r}; known blocks: {', '.join(known)}")
    if not visible:
        raise SensingError(f"{where} names no block; it must name at least one of: {', '.join(known)}")

    blocks = tuple(block for block in spec.blocks if block.name in visible)
    columns, context, slots = [_none(0)], [_none(0)], [_none(spec.slots, 0)]
    for block in blocks:
        span = spec.slice(block.name)
        own = np.arange(span.start, span.stop, dtype=np.int64)
        columns.append(own)
        if block.slots:
            slots.append(own.reshape(block.slots, block.size))
        else:
            context.append(own)
    return Sensing(
        spec=dataclasses.replace(spec, blocks=blocks),
        columns=np.concatenate(columns),
        context_columns=np.concatenate(context),
        slot_columns=np.concatenate(slots, axis=1),
    )


def _none(*shape: int) -> IntArray:
    return np.zeros(shape, np.int64)
