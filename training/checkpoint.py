"""Training states on disk: one safetensors file whose header holds the structure as JSON. No pickle anywhere.

A checkpoint appears whole or not at all, carries the digest of the configuration that made it, and a checksum.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from envs.files import write_whole

FORMAT_VERSION = 1
_HEADER = "checkpoint"  # one metadata entry: safetensors would write several in random order


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message is one sentence for the user."""


def digest(value: Mapping[str, Any]) -> str:
    """SHA-256 of a JSON-like configuration; the order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def save(path: Path, state: Mapping[str, Any], config_digest: str) -> None:
    """Write nested dicts, lists and tuples of tensors, arrays and JSON scalars (any hashable scalar as key).

    Raises:
        CheckpointError: the file could not be written (a full disk); nothing is left behind.
    """
    tensors: dict[str, Tensor] = {}
    structure = _encode(dict(state), tensors, "")
    header = {
        "format": FORMAT_VERSION,
        "config": config_digest,
        "checksum": _checksum(tensors),
        "structure": structure,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, to_bytes(tensors, metadata={_HEADER: json.dumps(header)}))
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} could not be written: {error.strerror or error}") from error


def load(path: Path, config_digest: str) -> dict[str, Any]:
    """The state as saved (arrays come back as tensors).

    Raises:
        CheckpointError: missing, damaged, of another format version, or made with another configuration.
    """
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path} does not exist")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(_HEADER, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise CheckpointError(f"checkpoint {path} is damaged: {error}") from error
    if header.get("format") != FORMAT_VERSION:
        raise CheckpointError(
            f"checkpoint {path} has format {header.get('format')!r}; this program reads format {FORMAT_VERSION}"
        )
    if header["config"] != config_digest:
        raise CheckpointError(
            f"checkpoint {path} was made with configuration {header['config'][:12]}, not {config_digest[:12]}: "
            "delete it or go back to that configuration"
        )
    if header["checksum"] != _checksum(tensors):
        raise CheckpointError(f"checkpoint {path} is damaged: its checksum does not match its tensors")
    state: dict[str, Any] = _decode(header["structure"], tensors)
    return state


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    total = hashlib.sha256()
    for name in sorted(tensors):
        total.update(name.encode())
        total.update(tensors[name].numpy().tobytes())
    return total.hexdigest()


def _encode(value: Any, tensors: dict[str, Tensor], where: str) -> dict[str, Any]:
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    if isinstance(value, Tensor):
        tensors[where] = value.detach().clone().contiguous()
        return {"tensor": where}
    if isinstance(value, Mapping):
        return {"dict": [[key, _encode(item, tensors, f"{where}/{key}")] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_encode(item, tensors, f"{where}/{i}") for i, item in enumerate(value)]}
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    raise TypeError(f"a checkpoint cannot hold {type(value).__name__} at {where}")


def _decode(node: dict[str, Any], tensors: Mapping[str, Tensor]) -> Any:
    [(kind, content)] = node.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _decode(item, tensors) for key, item in content}
    if kind == "value":
        return content
    items = [_decode(item, tensors) for item in content]
    return items if kind == "list" else tuple(items)
