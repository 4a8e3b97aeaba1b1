"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def write_whole(path: Path, content: bytes) -> Path:
    """Write under a temporary name of one's own, flush to the disk, rename; on a failure nothing is left behind.

    Raises:
        OSError: the file cannot be written (a full disk).
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the rename too
        finally:
            os.close(folder)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return path


def write_json(path: Path, content: Any) -> Path:
    """Plain JSON; a number that is not finite is refused (ValueError)."""
    return write_whole(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """What a file of JSON holds, in any of its encodings.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no JSON, no text, or nested too deeply.
    """
    try:
        return json.loads(path.read_bytes())
    except RecursionError as error:  # of a list in a list in a list ...
        raise ValueError("it is nested too deeply") from error


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], compressed: bool = False) -> Path:
    """An npz without pickle."""
    content = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(content, allow_pickle=False, **arrays)
    return write_whole(path, content.getvalue())


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
