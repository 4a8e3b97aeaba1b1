"""What a student's network is made of: its tensors, and what one decision of it costs.

O observation columns, of which C describe the satellite and F each of K slots; M fixed actions, A = M + K actions; H
hidden units. FORMAT.md has the equations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onboard import fields
from onboard.spec import LARGEST, AgentSpec


def _padded(outputs: int) -> int:
    return -(-outputs // 8) * 8


class Architecture(StrEnum):
    OPPORTUNITY = "opportunity"  # every slot is scored by shared weights (training/networks.py)
    RECURRENT = "recurrent"  # linear, activation, GRU, linear: the paper's student


class Activation(StrEnum):
    RELU = "relu"
    TANH = "tanh"


class Dtype(StrEnum):
    FLOAT32 = "float32"
    INT8 = "int8"  # weights, with a float32 scale for each output; biases and the slot score stay float32


MOST_MESSAGE_BITS = 32  # they are handed on in one word


@dataclass(frozen=True, slots=True)
class Design:
    hidden: int
    architecture: Architecture = Architecture.OPPORTUNITY
    activation: Activation = Activation.RELU  # of the recurrent network's first layer
    dtype: Dtype = Dtype.FLOAT32
    # Sent before each decision; 0: nothing. What others send is the last block of the observation.
    message_bits: int = 0

    def __post_init__(self) -> None:
        fields.integer("network.hidden", self.hidden, 1, LARGEST)
        # The engine computes a message in the working memory of the gates.
        most = min(MOST_MESSAGE_BITS, 3 * _padded(self.hidden))
        fields.integer("network.message_bits", self.message_bits, 0, most)
        if self.message_bits and self._kind != (Architecture.RECURRENT, Activation.RELU, Dtype.FLOAT32):
            kind = " ".join(self._kind)
            fields.refuse("network.message_bits", self.message_bits, f"0 where the network is {kind}")
        if self.architecture is Architecture.OPPORTUNITY and self.activation is not Activation.RELU:
            fields.refuse(
                "network.activation", self.activation.value, "relu: the opportunity network is defined with it"
            )

    @property
    def _kind(self) -> tuple[Architecture, Activation, Dtype]:
        return self.architecture, self.activation, self.dtype

    def to_dict(self) -> dict[str, Any]:
        return {
            "architecture": self.architecture.value,
            "hidden": self.hidden,
            "activation": self.activation.value,
            "dtype": self.dtype.value,
            "message_bits": self.message_bits,
        }

    @classmethod
    def from_dict(cls, value: object, messages: bool = True) -> Design:
        """From JSON; not ``messages``: as bundles before version 5 had it, without ``message_bits``.

        Raises ValueError: a key is missing or unknown, or a value is not one that is allowed.
        """
        told = ("message_bits",) if messages else ()
        entry = fields.mapping("network", value, ("architecture", "hidden", "activation", "dtype", *told))
        return cls(
            hidden=entry["hidden"],
            architecture=fields.choice("network.architecture", entry["architecture"], Architecture),
            activation=fields.choice("network.activation", entry["activation"], Activation),
            dtype=fields.choice("network.dtype", entry["dtype"], Dtype),
            message_bits=entry.get("message_bits", 0),
        )


# torch's names of a GRU's tensors, which bundles of version 1 kept.
TORCH_NAMES = {
    "gru.weight_ih_l0": "gru_input.weight",
    "gru.weight_hh_l0": "gru_hidden.weight",
    "gru.bias_ih_l0": "gru_input.bias",
    "gru.bias_hh_l0": "gru_hidden.bias",
}


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear map of a network; its tensors are ``name.weight`` [outputs, inputs], and so on."""

    name: str
    outputs: int
    inputs: int
    bias: bool = True
    uses: int = 1  # times that one decision applies it,
    sends: int = 0  # and the message before it, where there is one


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A satellite's weights, as they fly."""

    design: Design
    tensors: Mapping[str, NDArray[Any]]  # named, shaped and typed as tensor_types says

    def check(self, spec: AgentSpec) -> None:
        """Raises ValueError: a tensor is missing, unknown, of another shape or type, or not finite; or a network with
        messages has no block of its own beside what it hears.
        """
        if self.design.message_bits and len(spec.blocks) < 2:
            fields.refuse(
                "network.message_bits",
                self.design.message_bits,
                "0 where the observation has no block but the last one",
            )
        if self.design.message_bits and spec.blocks[-1].columns % self.design.message_bits:
            heard = f"a divisor of the last block's {spec.blocks[-1].columns} columns, which are what is heard"
            fields.refuse("network.message_bits", self.design.message_bits, heard)
        if self.design.message_bits and spec.blocks[-1].slots:
            fields.refuse(
                "network.message_bits", self.design.message_bits, "0 where the last block, what is heard, has slots"
            )
        expected = tensor_types(spec, self.design)
        if set(self.tensors) != set(expected):
            wrong = sorted(set(self.tensors) ^ set(expected))
            fields.refuse("tensors", wrong, f"exactly {', '.join(expected)}")
        for name, (shape, dtype) in expected.items():
            tensor = self.tensors[name]
            if tensor.shape != shape or tensor.dtype != dtype:
                fields.refuse(name, f"{tensor.dtype} {tensor.shape}", f"{dtype} {shape}")
            if not np.isfinite(tensor).all():
                raise ValueError(f"{name} is not finite everywhere")


def linears(spec: AgentSpec, design: Design) -> tuple[Linear, ...]:
    """The linear maps of a network, in the order of its table; the opportunity network has the slot score besides."""
    units, slots, fixed = design.hidden, spec.slots, len(spec.fixed_actions)
    recurrence = (Linear("gru_input", 3 * units, units), Linear("gru_hidden", 3 * units, units))
    if design.architecture is Architecture.RECURRENT:
        head, bits = Linear("head", len(spec.actions), units), design.message_bits
        if not bits:
            return (Linear("encoder", units, spec.obs_size), *recurrence, head)
        # A message is computed before anything is heard, so the encoder runs once for it and once for the decision.
        encoder = Linear("encoder", units, spec.obs_size, sends=1)
        return (encoder, *recurrence, head, Linear("sender", bits, 2 * units, uses=0, sends=1))
    return (
        Linear("context", units, spec.context_size),
        Linear("slot", units, spec.slot_size, bias=False, uses=slots),
        *recurrence,
        Linear("query", units, units),
        Linear("key", units, units, bias=False, uses=slots + 1),
        Linear("fixed", fixed, units),
    )


def tensor_types(spec: AgentSpec, design: Design) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Names, shapes and types of a network's tensors, in the order of its table."""
    float32, weight = np.dtype(np.float32), np.dtype(np.float32 if design.dtype is Dtype.FLOAT32 else np.int8)
    types: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
    for linear in linears(spec, design):
        if design.dtype is Dtype.INT8:
            types[f"{linear.name}.scale"] = ((linear.outputs,), float32)
        types[f"{linear.name}.weight"] = ((linear.outputs, linear.inputs), weight)
        if linear.bias:
            types[f"{linear.name}.bias"] = ((linear.outputs,), float32)
    if design.architecture is Architecture.OPPORTUNITY:
        types["score.weight"] = ((design.hidden,), float32)
        types["score.bias"] = ((1,), float32)
    return types


def count_parameters(spec: AgentSpec, design: Design) -> int:
    """Weights and biases; the scales of int8 weights are not counted."""
    types = tensor_types(spec, design)
    return sum(math.prod(shape) for name, (shape, _) in types.items() if not name.endswith(".scale"))


def count_bytes(spec: AgentSpec, design: Design) -> int:
    """Bytes of the weights as they are uplinked, scales included."""
    return sum(math.prod(shape) * dtype.itemsize for shape, dtype in tensor_types(spec, design).values())


def count_macs(spec: AgentSpec, design: Design) -> int:
    """Multiply-accumulates of one decision and the message before it: the matrix products; no biases, relu or gate
    non-linearities."""
    score = spec.slots * design.hidden if design.architecture is Architecture.OPPORTUNITY else 0
    return score + sum(each.outputs * each.inputs * (each.uses + each.sends) for each in linears(spec, design))


def count_storage_words(spec: AgentSpec, design: Design) -> int:
    """32-bit words of the weights in the C engine's memory: outputs padded to blocks of 8."""
    item = 4 if design.dtype is Dtype.FLOAT32 else 1
    words = 0
    for linear in linears(spec, design):
        rows = _padded(linear.outputs)
        words += rows * linear.inputs * item // 4 + rows * (1 if design.dtype is Dtype.FLOAT32 else 2)
    return words + (_padded(design.hidden) + 1 if design.architecture is Architecture.OPPORTUNITY else 0)


def count_ram_bytes(spec: AgentSpec, design: Design) -> int:
    """What the C engine holds in memory on a 32-bit processor, built with maxima that just fit: weights, working
    memory, a model and another to check tables with, and one hidden state."""
    words, units = count_storage_words(spec, design), _padded(design.hidden)
    quantised = -(-max(spec.obs_size, design.hidden) // 2)
    working = 2 * spec.obs_size + quantised + (3 + 6 + spec.slots + 1) * units + _padded(len(spec.actions))
    models = 2 * (60 + len(spec.blocks))  # fields of kd_model, and a word for each block
    return 4 * (words + working + models + design.hidden)
