"""Golden vectors: one recorded flight of a network, which a machine must reproduce before it may fly it."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onboard import fields, reference
from onboard.network import Network
from onboard.spec import AgentSpec, BoolArray, FloatArray, IntArray

DTYPES = {"obs": "<f4", "mask": "|b1", "logits": "<f4", "action": "<i8"}
MESSAGE = {"message": "<u4"}  # where the network sends messages


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """T consecutive decisions; the hidden state is zero before the first and carried from each to the next.

    Where the network sends messages, ``obs`` holds what was heard after ``message`` was sent.

    ``exact``: the logits are the reference's to the bit; else those of another implementation, within a tolerance.
    """

    obs: FloatArray  # [T, O]
    mask: BoolArray  # [T, A]
    logits: FloatArray  # [T, A]
    action: IntArray  # [T] the legal action of the largest logit
    exact: bool = True
    message: NDArray[np.uint32] | None = None  # [T] sent before each decision, the lowest bit first


def record(network: Network, spec: AgentSpec, obs: FloatArray, mask: BoolArray) -> Golden:
    """The reference's answers to consecutive observations [T, O] under masks [T, A], none of them empty."""
    prepared, hidden = reference.prepared(network), np.zeros(network.design.hidden, np.float32)
    logits, messages = np.zeros(mask.shape, np.float32), np.zeros(len(obs), np.uint32)
    sends = network.design.message_bits > 0
    for t in range(len(obs)):
        if sends:
            messages[t] = reference.send(prepared, spec, obs[t], hidden)
        logits[t], hidden = reference.step(prepared, spec, obs[t], mask[t], hidden)
    action = np.array([reference.choose(*pair) for pair in zip(logits, mask, strict=True)], np.int64)
    return Golden(obs, mask, logits, action, message=messages if sends else None)


def dump(golden: Golden) -> bytes:
    """As an uncompressed npz: the same vectors give the same bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, dtype in _members(golden.message is not None).items():
            member = io.BytesIO()
            np.lib.format.write_array(
                member, np.ascontiguousarray(getattr(golden, name), dtype), version=(1, 0), allow_pickle=False
            )
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    return stream.getvalue()


def _members(sends: bool) -> dict[str, str]:
    return {**DTYPES, **(MESSAGE if sends else {})}


def load(data: bytes, spec: AgentSpec, exact: bool, sends: bool = False) -> Golden:
    """The vectors of an npz, messages too where the network ``sends`` them.

    Nothing is unpickled, and nothing is allocated beyond the file's own bytes.

    Raises ValueError: not an npz of exactly these arrays, or vectors that cannot be this satellite's.
    """
    arrays: dict[str, NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = _members(sends)
            fields.mapping("members", dict.fromkeys(archive.namelist()), [f"{name}.npy" for name in members])
            for name, dtype in members.items():
                info = archive.getinfo(f"{name}.npy")
                if info.compress_type != zipfile.ZIP_STORED:  # so that no file unpacks to more than its own size
                    raise ValueError(f"{name}.npy must be stored, not compressed")
                arrays[name] = _array(name, archive.read(info), dtype)
    except ValueError:
        raise
    except Exception as error:  # zipfile, zlib and numpy's header parser raise a dozen types on hostile bytes
        raise ValueError(f"it is not a readable npz ({type(error).__name__}: {error})") from error
    _check(arrays, spec)
    return Golden(**arrays, exact=exact)


def _array(name: str, data: bytes, dtype: str) -> NDArray[Any]:
    stream = io.BytesIO(data)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError(f"{name}.npy must be of npy version 1.0")
    shape, fortran, stored = np.lib.format.read_array_header_1_0(stream)
    if stored != np.dtype(dtype) or fortran:
        raise ValueError(f"{name}.npy must hold {dtype} in C order, not {stored}")
    body = data[stream.tell() :]
    if dtype == "|b1" and max(body, default=0) > 1:
        raise ValueError(f"{name}.npy holds bytes that are neither 0 nor 1")
    array = np.frombuffer(body, stored).reshape(shape).astype(stored.newbyteorder("="))
    array.setflags(write=False)
    return array


def _check(arrays: dict[str, NDArray[Any]], spec: AgentSpec) -> None:
    steps, actions = len(arrays["action"]) if arrays["action"].ndim else 0, len(spec.actions)
    shapes = {"obs": (steps, spec.obs_size), "mask": (steps, actions), "logits": (steps, actions), "action": (steps,)}
    shapes |= {"message": (steps,)} if "message" in arrays else {}
    for name, shape in shapes.items():
        if arrays[name].shape != shape or steps < 1:
            fields.refuse(f"golden {name} shape", arrays[name].shape, f"{shape} with at least one decision")
    for name in ("obs", "logits"):
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"golden {name} is not finite everywhere")
    action, mask = arrays["action"], arrays["mask"]
    if action.min() < 0 or action.max() >= actions or not mask[np.arange(steps), action].all():
        raise ValueError("a golden action is not legal under its golden mask")
