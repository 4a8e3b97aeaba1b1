"""What one satellite sees and can do, as its bundle says it; checked when it is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onboard import fields

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

LARGEST = 4096  # of any dimension: a hostile manifest cannot make us allocate much


@dataclass(frozen=True, slots=True)
class Block:
    """Named observation columns: ``size`` of them for the satellite itself (``slots == 0``) or for each slot.

    ``scale`` is what the physical value, in ``unit``, was divided by to give the column. ``macs`` is the most
    multiply-accumulates, in double precision, with which the satellite computes the columns for one decision; 0 where a
    sensor gives them.
    """

    name: str
    size: int
    unit: str
    scale: float
    slots: int = 0
    macs: int = 0

    def __post_init__(self) -> None:
        where = f"block {self.name!r}"
        fields.text("block.name", self.name)
        fields.integer(f"{where} size", self.size, 1, LARGEST)
        fields.text(f"{where} unit", self.unit)
        fields.positive(f"{where} scale", self.scale)
        fields.integer(f"{where} slots", self.slots, 0, LARGEST)
        fields.integer(f"{where} macs", self.macs, 0, 2**53)

    @property
    def columns(self) -> int:
        return self.size * max(1, self.slots)

    @classmethod
    def from_dict(cls, value: object, computed: bool = True) -> Block:
        """From JSON; not ``computed``: as bundles before version 4 had it, without ``macs``.

        Raises ValueError: a key is missing or unknown, or a value is out of range.
        """
        keys = [field.name for field in dataclasses.fields(cls) if computed or field.name != "macs"]
        entry = fields.mapping("block", value, keys)
        return cls(**{**entry, "scale": fields.positive("block.scale", entry["scale"])})


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """The observation is ``blocks`` in order, a slot block laid out slot-major; the actions are the fixed ones, then
    one per slot ("image_0", ...)."""

    name: str
    hardware: str
    blocks: tuple[Block, ...]
    fixed_actions: tuple[str, ...]
    slots: int

    def __post_init__(self) -> None:
        fields.text("satellite name", self.name, fields.FILE_NAME)
        where = f"satellite {self.name!r}"
        fields.text(f"{where} hardware", self.hardware)
        fields.integer(f"{where} slots", self.slots, 0, LARGEST)
        for action in self.fixed_actions:
            fields.text(f"{where} action", action)
        if not self.fixed_actions or len(set(self.actions)) < len(self.actions):
            fields.refuse(f"{where} fixed_actions", self.fixed_actions, "at least one name, all distinct")
        names = [block.name for block in self.blocks]
        if not names or len(set(names)) < len(names):
            fields.refuse(f"{where} blocks", names, "at least one name, all distinct")
        for block in self.blocks:
            if block.slots not in (0, self.slots):
                fields.refuse(f"{where} block {block.name!r} slots", block.slots, f"0 or {self.slots}")

    @property
    def obs_size(self) -> int:
        return sum(block.columns for block in self.blocks)

    @property
    def context_size(self) -> int:
        """Columns about the satellite itself."""
        return sum(block.size for block in self.blocks if block.slots == 0)

    @property
    def slot_size(self) -> int:
        """Columns about each slot."""
        return sum(block.size for block in self.blocks if block.slots > 0)

    @property
    def sensing_macs(self) -> int:
        """The most multiply-accumulates with which its blocks are computed for one decision."""
        return sum(block.macs for block in self.blocks)

    @property
    def actions(self) -> tuple[str, ...]:
        return self.fixed_actions + tuple(f"image_{slot}" for slot in range(self.slots))

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any], computed: bool = True) -> AgentSpec:
        """From JSON, or from ``dataclasses.asdict`` of any dataclass with the same fields; ``computed`` as in Block.

        Raises ValueError: a key is missing or unknown, or a value is out of range.
        """
        entry = fields.mapping("spec", value, [field.name for field in dataclasses.fields(cls)])
        return cls(
            name=entry["name"],
            hardware=entry["hardware"],
            blocks=tuple(
                Block.from_dict(block, computed) for block in fields.sequence("spec.blocks", entry["blocks"], 256)
            ),
            fixed_actions=tuple(fields.sequence("spec.fixed_actions", entry["fixed_actions"], 256)),
            slots=entry["slots"],
        )

    def difference(self, expected: AgentSpec) -> str | None:
        """The first way in which this spec is not the expected one."""
        for ours, theirs in zip(self.blocks, expected.blocks, strict=False):
            for field in dataclasses.fields(Block):
                here, there = getattr(ours, field.name), getattr(theirs, field.name)
                if here != there:
                    return f"block {ours.name!r} has {field.name} {here!r} where {there!r} is expected"
        for what, here, there in (
            ("blocks", [block.name for block in self.blocks], [block.name for block in expected.blocks]),
            ("hardware", self.hardware, expected.hardware),
            ("fixed actions", list(self.fixed_actions), list(expected.fixed_actions)),
            ("slots", self.slots, expected.slots),
            ("name", self.name, expected.name),
        ):
            if here != there:
                return f"{what} {here!r} where {there!r} is expected"
        return None
