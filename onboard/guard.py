"""Run-time assurance: a guard, simple enough to be checked by reading, overrides the learned policy beyond limits.

The simplex architecture (Sha, "Using simplicity to control complexity", IEEE Software 18(4), 2001; for spacecraft
tasking see Reed et al., arXiv 2403.05693, and for its timing arXiv 2405.06771): the network decides as long as the
satellite stays where a safe action still saves it; beyond that limit the safe action is taken, whatever the network
says. All quantities are fractions of capacity, told by the satellite bus, never by the network's observation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from onboard import fields
from onboard.spec import BoolArray


@dataclass(frozen=True, slots=True)
class Health:
    """What the bus tells of one satellite, now."""

    battery: float  # charge
    reserve: float  # the lowest charge ahead, to the end of the coming eclipse, if it images once more, then charges
    wheel_speed: float  # of the fastest reaction wheel
    storage: float  # filled


UNKNOWN = Health(math.nan, math.nan, math.nan, math.nan)  # the bus is silent


@dataclass(frozen=True, slots=True)
class Limits:
    """Hard limits. A limit acts until the quantity is back by ``release``, so that the guard does not toggle."""

    reserve_min: float
    wheel_speed_max: float
    storage_max: float
    release: float = 0.0

    def __post_init__(self) -> None:
        for name in ("reserve_min", "wheel_speed_max", "storage_max", "release"):
            value = fields.not_negative(f"guard.{name}", getattr(self, name))
            if value > 1:
                fields.refuse(f"guard.{name}", value, "a fraction between 0 and 1")


# Which action cures which quantity, where the satellite has it; else the declared fallback does.
# Wheels first: who desaturates faces the Sun and charges as well, but charging slows no wheel.
CURES = {"wheel speed": "desat", "reserve": "charge", "storage": "downlink"}


class Guard:
    """The guard of one satellite. It remembers which limits were exceeded."""

    def __init__(self, limits: Limits, actions: Sequence[str], fallback: Sequence[str]) -> None:
        """``actions``: all of the satellite, in order; ``fallback``: its safe ones, in order of preference."""
        self._limits = limits
        self._actions = tuple(actions)
        self._fallback = tuple(fallback)
        self._held: set[str] = set()

    def reset(self) -> None:
        self._held.clear()

    def override(self, health: Health, action: int, mask: BoolArray) -> tuple[int, str] | None:
        """The action to take instead, and why; None where the chosen one may stand.

        The override is legal under the mask, unless no safe action is: then the chosen action stands, since no other
        is known to be any safer.
        """
        self._update(health)
        for quantity, cure in CURES.items():
            if quantity in self._held:
                safe = [name for name in (cure, *self._fallback) if name in self._actions]
                legal = [index for index in map(self._actions.index, safe) if mask[index]]
                if not legal or action == legal[0]:
                    return None
                return legal[0], f"{quantity} {self._value(health, quantity):.3g} beyond its limit"
        return None

    def _update(self, health: Health) -> None:
        limits, release = self._limits, self._limits.release
        excess = {
            "reserve": limits.reserve_min - min(health.reserve, health.battery),
            "wheel speed": health.wheel_speed - limits.wheel_speed_max,
            "storage": health.storage - limits.storage_max,
        }
        if not (math.isfinite(health.battery) and math.isfinite(health.reserve)):
            excess["reserve"] = math.nan
        for quantity, beyond in excess.items():
            if not math.isfinite(beyond) or beyond > 0:  # telemetry that is not a number is no proof of health
                self._held.add(quantity)
            elif beyond <= -release:
                self._held.discard(quantity)

    def _value(self, health: Health, quantity: str) -> float:
        return {"reserve": health.reserve, "wheel speed": health.wheel_speed, "storage": health.storage}[quantity]
