"""Checks of configuration values; what is refused is refused in one sentence."""

from __future__ import annotations

import math
from typing import Any


class ConfigError(ValueError):
    """A configuration value that cannot be used; the message is one sentence for the user."""


MOST = 1e15  # of what has no other limit: squares and products of such numbers are still finite


def check(name: str, value: Any, ok: bool, allowed: str) -> None:
    if not ok:
        raise ConfigError(f"{name}={value!r} is not allowed: it must be {allowed}")


def positive(owner: str, **values: float) -> None:
    for name, value in values.items():
        check(f"{owner}.{name}", value, math.isfinite(value) and value > 0, "a number above 0")
        check(f"{owner}.{name}", value, value <= MOST, f"at most {MOST:g}")


def within(owner: str, low: float, high: float, **values: float) -> None:
    for name, value in values.items():
        check(f"{owner}.{name}", value, low <= value <= high, f"between {low:g} and {high:g}")


LONGEST_NAME = 48


def named(where: str, name: str) -> None:
    """What a user calls a thing ends up in tables, in file names and in messages."""
    fits = 0 < len(name) <= LONGEST_NAME and name.isprintable() and name.strip() == name
    told = name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}..."
    allowed = f"a name of 1 to {LONGEST_NAME} printable characters without / and \\"
    check(where, told, fits and not any(mark in name for mark in "/\\"), allowed)
