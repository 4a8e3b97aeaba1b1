"""Checks of configuration values; what is refused is refused in one sentence."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any


class ConfigError(ValueError):
    """A configuration value that cannot be used; the message is one sentence for the user."""


LARGEST = 1e15  # of what has no other limit: squares and products of such numbers are still finite
MOST = 100  # characters of what a sentence quotes

# Of a field that most missions leave as it is: then records and digests do not name it (``schema.to_dict``), so that
# those from before it was known stay the same.
SELDOM = {"seldom": True}


def shown(value: Any) -> str:
    """A value as a sentence quotes it: long ones are cut in their middle, and nothing breaks the line."""
    return cut(repr(value).replace("\n", " "))


def cut(text: str, most: int = MOST) -> str:
    """A text of at most so many characters: its beginning and its end."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-(most - most // 2 - 1) :]}"


# What is quoted in a text and longer than MOST, and words that are longer than any path.
_LONG = re.compile(rf"(?<!\w)'[^']{{{MOST},}}'(?!\w)|(?<!\w)\"[^\"]{{{MOST},}}\"(?!\w)|\S{{{4 * MOST},}}")
_SENTENCE = 20 * MOST


def sentence(text: str) -> str:
    """An error's text for the user: on one line, with whatever is too long to be read cut."""
    words = _LONG.sub(lambda found: cut(found[0]), " ".join(text.split()))
    return cut(words, _SENTENCE)


def check(name: str, value: Any, ok: bool, allowed: str) -> None:
    if not ok:
        raise ConfigError(f"{name}={shown(value)} is not allowed: it must be {allowed}")


NAME = "letters, digits, _ . and -, from a letter or digit on, at most 64"
_NAME = re.compile(r"[^\W_][\w.-]{0,63}")


def is_name(value: Any) -> bool:
    """Whether a value may be a name: part of a file's name wherever it is written, and of no other folder's."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def check_name(name: str, value: Any) -> None:
    check(name, value, is_name(value), NAME)


def check_folders(output: Any) -> None:
    """Of a run's ``output``: an empty path would be the root, or wherever the command is called."""
    for name in ("dir", "cache_dir", "records_dir"):
        value = getattr(output, name)
        check(f"output.{name}", value, value is None or bool(value.strip()), "the path of a folder")


def listed(name: str, values: Sequence[float], number: int, ok: Callable[..., bool], allowed: str) -> None:
    """Check that a list has ``number`` finite values and that ``ok`` accepts them."""
    fits = len(values) == number and all(map(math.isfinite, values)) and ok(*values)
    check(name, list(values), fits, allowed)


def positive(owner: str, **values: float) -> None:
    for name, value in values.items():
        name = f"{owner}.{name}".lstrip(".")
        check(name, value, math.isfinite(value) and value > 0, "a number above 0")
        check(name, value, value <= LARGEST, f"at most {LARGEST:g}")


def within(owner: str, low: float, high: float, **values: float) -> None:
    for name, value in values.items():
        check(f"{owner}.{name}".lstrip("."), value, low <= value <= high, f"between {low:g} and {high:g}")


LONGEST_NAME = 48


def named(where: str, name: str) -> None:
    """Check a name that a user gives; it is used in tables, file names and messages."""
    fits = 0 < len(name) <= LONGEST_NAME and name.isprintable() and name.strip() == name
    told = name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}..."
    allowed = f"a name of 1 to {LONGEST_NAME} printable characters without / and \\"
    check(where, told, fits and not any(mark in name for mark in "/\\"), allowed)


def given_once(load: str | None, resume: str | None) -> None:
    """A teacher is loaded or its training goes on, not both."""
    allowed = "null where teacher.load names a teacher that is finished"
    check("teacher.resume", resume, load is None or resume is None, allowed)
