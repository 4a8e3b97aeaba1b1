"""float32 tensors in the safetensors layout: u64 little-endian header length, JSON header, raw little-endian buffer."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import numpy as np

from onboard import fields
from onboard.spec import FloatArray

LONGEST_HEADER = 1_000_000


def dump(tensors: Mapping[str, FloatArray]) -> bytes:
    """The tensors, sorted by name, as one file; the buffer starts at a multiple of 8 bytes."""
    header, chunks, end = {}, [], 0
    for name in sorted(tensors):
        chunk = np.asarray(tensors[name]).astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensors[name].shape), "data_offsets": [end, end + len(chunk)]}
        chunks.append(chunk)
        end += len(chunk)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(chunks)


def load(data: bytes) -> dict[str, FloatArray]:
    """The tensors of a file, read-only.

    Raises ValueError: a header that is not JSON or leaves the file, a tensor that is not float32, whose offsets leave
    the buffer or do not fit its shape, tensors that overlap, or bytes that belong to none.
    """
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(len(data) - 8, LONGEST_HEADER):
        raise ValueError(f"its header of {length} bytes does not fit in the file of {len(data)} bytes")
    start = 8 + length
    header = fields.parse_json(data[8:start])
    if not isinstance(header, dict):
        fields.refuse("header", header, "an object")
    header.pop("__metadata__", None)
    buffer = len(data) - start
    tensors, end = {}, 0
    spans = sorted((*_span(name, value, buffer), name) for name, value in header.items())
    for begin, stop, name in spans:
        if begin != end:
            raise ValueError(f"its tensors overlap or leave a gap before {name!r}")
        end = stop
        tensor = np.frombuffer(data[start + begin : start + stop], dtype="<f4").astype(np.float32)
        tensors[name] = tensor.reshape(header[name]["shape"])
        tensors[name].setflags(write=False)
    if end != buffer:
        raise ValueError(f"{buffer - end} bytes at its end belong to no tensor")
    return tensors


def _span(name: str, value: object, buffer: int) -> tuple[int, int]:
    """Where in the buffer a tensor begins and ends, both inside it and as far apart as its shape asks."""
    entry = fields.mapping(f"tensor {name!r}", value, ("dtype", "shape", "data_offsets"))
    if entry["dtype"] != "F32":
        fields.refuse(f"tensor {name!r} dtype", entry["dtype"], "'F32'")
    shape = fields.sequence(f"tensor {name!r} shape", entry["shape"], 4)
    size = 4 * math.prod(fields.integer(f"tensor {name!r} shape", length, 0, 2**31) for length in shape)
    span = fields.sequence(f"tensor {name!r} data_offsets", entry["data_offsets"], 2)
    offsets = [fields.integer(f"tensor {name!r} data_offsets", offset, 0, buffer) for offset in span]
    if len(offsets) != 2 or offsets[1] - offsets[0] != size:
        fields.refuse(f"tensor {name!r} data_offsets", offsets, f"[begin, end] with {size} bytes between")
    return offsets[0], offsets[1]
