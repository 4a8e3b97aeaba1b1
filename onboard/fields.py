"""Strict reading of foreign JSON: an error is a ValueError, one sentence with field, value and what is allowed."""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, NoReturn, TypeVar

_Name = TypeVar("_Name", bound=StrEnum)

# What may name a satellite or a file of a bundle: it cannot leave the folder and is safe on every file system.
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def refuse(where: str, value: object, allowed: str) -> NoReturn:
    raise ValueError(f"{where}={reprlib.repr(value)} is not allowed: it must be {allowed}")


def parse_json(data: bytes) -> Any:
    """UTF-8 JSON without duplicate keys, NaN or infinities."""
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_distinct, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not valid JSON ({error})") from error


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key is given twice")
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def mapping(where: str, value: object, keys: Iterable[str]) -> dict[str, Any]:
    """An object with exactly these keys."""
    wanted = set(keys)
    if not isinstance(value, dict) or set(value) != wanted:
        refuse(where, sorted(map(str, value)) if isinstance(value, dict) else value, f"an object with {sorted(wanted)}")
    return value


def sequence(where: str, value: object, longest: int) -> Sequence[Any]:
    if not isinstance(value, list | tuple) or not len(value) <= longest:
        refuse(where, value, f"a list of at most {longest} items")
    return value


def text(where: str, value: object, pattern: re.Pattern[str] | None = None) -> str:
    """A printable string of at most 128 characters that, if a pattern is given, matches it whole."""
    if not isinstance(value, str) or not value.isprintable() or len(value) > 128:
        refuse(where, value, "a printable text of at most 128 characters")
    if pattern is not None and not pattern.fullmatch(value):
        refuse(where, value, "letters, digits, '.', '_' and '-', and start with a letter or digit")
    return value


def integer(where: str, value: object, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        refuse(where, value, f"a whole number between {low} and {high}")
    return value


def choice(where: str, value: object, allowed: type[_Name]) -> _Name:
    """A member of an enumeration of names."""
    names = [member.value for member in allowed]
    if not isinstance(value, str) or value not in names:
        refuse(where, value, f"one of {', '.join(names)}")
    return allowed(value)


def positive(where: str, value: object) -> float:
    """A finite number above 0."""
    number = _number(value)
    if number is None or number <= 0:
        refuse(where, value, "a finite number above 0")
    return number


def not_negative(where: str, value: object) -> float:
    """A finite number, 0 or above."""
    number = _number(value)
    if number is None or number < 0:
        refuse(where, value, "a finite number, 0 or above")
    return number


def _number(value: object) -> float | None:
    """Neither a bool, nor NaN, nor beyond what a float holds."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= 1e300:
        return None
    return float(value)
