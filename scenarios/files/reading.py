"""The text of a file that a mission names, and the digest that says which text it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from scenarios.ranges import ConfigError, check, cut, shown

Refuse = Callable[[str, str], Exception]  # (where in the file, what is wrong and what is allowed)
LARGEST_BYTES = 64 * 2**20


class FileError(ConfigError):
    """A file that cannot be used; the message is one sentence with the file and the line or feature."""


def path_of(file: str) -> Path:
    return Path(file).expanduser()


def read_text(field: str, file: str) -> tuple[str, str]:
    """A file's text and the SHA-256 of its bytes.

    Args:
        field: what names the file, for the message.
        file: its path; one that is not absolute is of the folder in which the command is called.

    Raises:
        FileError: it cannot be read, is empty, too large or no UTF-8 text.
    """
    path = path_of(file)
    if not file.strip() or path.is_dir():
        raise FileError(f"{field}={shown(file)} is not allowed: it must be the path of a file")
    try:
        about = path.stat()
        return _read(field, str(path.absolute()), cut(str(path)), about.st_size, about.st_mtime_ns)
    except OSError as error:
        raise FileError(
            f"{field}={shown(file)} is not allowed: it must be a file that can be read ({error.strerror})"
        ) from error


@lru_cache(maxsize=16)
def _read(field: str, path: str, told: str, size: int, modified_ns: int) -> tuple[str, str]:
    """``size`` and ``modified_ns`` make a file that has changed a new one."""
    if size > LARGEST_BYTES:
        raise FileError(f"{field}: {told} is of {size} bytes: it must have at most {LARGEST_BYTES}")
    raw = Path(path).read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileError(f"{field}: {told} is not UTF-8 text (byte {error.start}): save it as UTF-8") from error
    if not text.strip():
        raise FileError(f"{field}: {told} is empty: it must hold at least one record")
    return text, hashlib.sha256(raw).hexdigest()


def digest_of(group: str, file: str | None, wanted: str | None) -> str | None:
    """What ``file_sha256`` of a group is to be; None where there is no file.

    Raises:
        FileError: a digest without a file, or of another content; or the file cannot be read.
    """
    if file is None:
        check(f"{group}.file_sha256", wanted, wanted is None, "null where there is no file")
        return None
    return checked_digest(f"{group}.file", file, wanted)


def checked_digest(field: str, file: str, wanted: str | None) -> str:
    """The digest of a file; where a digest is given already, it must be that one.

    Raises:
        FileError: the file has another content, or cannot be read.
    """
    found = read_text(field, file)[1]
    if wanted is not None and wanted != found:
        raise FileError(
            f"{field}_sha256={shown(wanted)} is not allowed: it must be {found}, the SHA-256 of {cut(file)}, or null"
        )
    return found


def parsed_json(text: str, refuse: Refuse) -> Any:
    """
    Raises:
        the error that ``refuse(where, what)`` makes: it is no JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        where = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "whole file"
        raise refuse(where, f"the text is no JSON ({cut(str(error))})") from None
    except RecursionError:
        raise refuse("whole file", "the JSON is nested too deeply to be read") from None
