"""Checks of configuration values; what is refused is refused in one sentence."""

from __future__ import annotations

import math
from typing import Any


class ConfigError(ValueError):
    """A configuration value that cannot be used; the message is one sentence for the user."""


def check(name: str, value: Any, ok: bool, allowed: str) -> None:
    if not ok:
        raise ConfigError(f"{name}={value!r} is not allowed: it must be {allowed}")


def positive(owner: str, **values: float) -> None:
    for name, value in values.items():
        check(f"{owner}.{name}", value, math.isfinite(value) and value > 0, "a number above 0")


def within(owner: str, low: float, high: float, **values: float) -> None:
    for name, value in values.items():
        check(f"{owner}.{name}", value, low <= value <= high, f"between {low:g} and {high:g}")
