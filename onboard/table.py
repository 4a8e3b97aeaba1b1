"""Weight tables: the file of a network's weights, which the C engine loads as it is. FORMAT.md has the layout."""

from __future__ import annotations

import math
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onboard import fields
from onboard.network import Activation, Architecture, Design, Dtype, Network, tensor_types
from onboard.spec import AgentSpec

MAGIC = b"KDWT"
VERSION = 1
HEADER = 48  # bytes
CHECKED_FROM = 16

_ARCHITECTURES = {Architecture.OPPORTUNITY: 1, Architecture.RECURRENT: 2}
_DTYPES = {Dtype.FLOAT32: 1, Dtype.INT8: 2}
_ACTIVATIONS = {Activation.RELU: 1, Activation.TANH: 2}


def dump(network: Network, spec: AgentSpec) -> bytes:
    """Raises ValueError: the tensors are not those of the spec."""
    network.check(spec)
    tensors = [_bytes(network.tensors[name]) for name in tensor_types(spec, network.design)]
    body = _describe(network.design, spec) + b"".join(tensors)
    start = MAGIC + _words(VERSION, CHECKED_FROM + len(body))
    return start + _words(zlib.crc32(body)) + body


def load(data: bytes, spec: AgentSpec, design: Design) -> Network:
    """The network of a table, its tensors read-only.

    Raises ValueError: not a table, of another version or length, damaged, or not of this spec and design.
    """
    if len(data) < HEADER or data[:4] != MAGIC:
        raise ValueError("it is not a weight table: it does not start with 'KDWT' and a header")
    version, length, crc = (int.from_bytes(data[at : at + 4], "little") for at in (4, 8, 12))
    if version != VERSION:
        raise ValueError(f"its table version {version} cannot be read here; readable: {VERSION}")
    if length != len(data):
        raise ValueError(f"it has {len(data)} bytes and its header says {length}")
    if crc != zlib.crc32(data[CHECKED_FROM:]):
        raise ValueError("it is damaged: its CRC-32 is not the one in its header")
    described = _describe(design, spec)
    if data[CHECKED_FROM : CHECKED_FROM + len(described)] != described:
        raise ValueError("its header describes another network than the manifest does")
    tensors, at = {}, CHECKED_FROM + len(described)
    for name, (shape, dtype) in tensor_types(spec, design).items():
        size = math.prod(shape) * dtype.itemsize
        stored = data[at : at + size]
        if len(stored) < size:
            raise ValueError(f"it ends within {name}")
        tensor = np.frombuffer(stored, dtype.newbyteorder("<")).astype(dtype).reshape(shape)
        tensor.setflags(write=False)
        tensors[name] = tensor
        padding = data[at + size : at + size + -size % 4]
        if padding.strip(b"\0"):
            raise ValueError(f"the padding after {name} is not zero")
        at += size + len(padding)
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes at its end belong to no tensor")
    network = Network(design, tensors)
    network.check(spec)
    return network


def _describe(design: Design, spec: AgentSpec) -> bytes:
    """The header after its CRC: dimensions, then size and slots of each feature block."""
    for block in spec.blocks:
        fields.integer(f"block {block.name!r} size", block.size, 1, 2**16 - 1)
    words = _words(
        _ARCHITECTURES[design.architecture],
        _DTYPES[design.dtype],
        _ACTIVATIONS[design.activation],
        design.hidden,
        spec.slots,
        len(spec.fixed_actions),
        len(spec.blocks),
        design.message_bits,
    )
    pairs = [block.size.to_bytes(2, "little") + block.slots.to_bytes(2, "little") for block in spec.blocks]
    return words + b"".join(pairs)


def _words(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "little") for value in values)


def _bytes(tensor: NDArray[Any]) -> bytes:
    """Little-endian, in C order, padded with zeros to whole words."""
    data = np.ascontiguousarray(tensor, tensor.dtype.newbyteorder("<")).tobytes()
    return data + bytes(-len(data) % 4)
