"""What a user adds to a mission by name: feature blocks and reward rules of their own modules (docs/extending.md)."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.basilisk.deliveries import Delivery, RewardRule, called, once, said
from envs.basilisk.snapshot import Snapshot
from scenarios.constellation import HardwareConfig
from scenarios.mission import ScenarioConfig
from scenarios.ranges import ConfigError, shown

__all__ = ["Delivery", "Feature", "RewardRule", "View", "digests", "features", "observed", "once", "reward_rule"]


@dataclass(frozen=True, slots=True)
class View:
    """What a feature may be made of: one satellite at the instant in which it is asked, and the K targets on offer."""

    now: Snapshot
    row: int  # of the satellite in ``now``
    hardware: HardwareConfig
    r_LP_P: NDArray[np.float64]  # [K, 3] m, planet-fixed
    priority: NDArray[np.float64]  # [K]
    open_s: NDArray[np.float64]  # [K] since the start of the episode, as ``now.time_s``
    close_s: NDArray[np.float64]  # [K]


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature block: ``columns(view)`` gives [size] values of the satellite or, ``per_target``, [K, size]."""

    size: int
    unit: str
    scale: float  # what the values are divided by
    columns: Callable[[View], NDArray[np.float64]]
    per_target: bool = False

    def __post_init__(self) -> None:
        if self.size < 1 or not (math.isfinite(self.scale) and self.scale > 0):
            raise ConfigError(f"a Feature of size={self.size}, scale={self.scale} is not allowed: both must be above 0")


def observed(name: str, feature: Feature, view: View) -> NDArray[np.float64]:
    """The columns of a feature.

    Raises:
        ConfigError: they are of another shape, or not finite, or their function raises something itself.
    """
    given = called(f"scenario.features.{name}", feature.columns, view)
    try:
        columns = np.asarray(given, np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"scenario.features.{name} gave {shown(given)}: it must give numbers") from error
    shape = (len(view.priority), feature.size) if feature.per_target else (feature.size,)
    if columns.shape != shape:
        raise ConfigError(f"scenario.features.{name} gave an array {columns.shape}: it must be {shape}")
    if not np.isfinite(columns).all():
        raise ConfigError(f"scenario.features.{name} gave {shown(columns.tolist())}: all values must be finite")
    return columns


def reward_rule(config: ScenarioConfig) -> RewardRule:
    """
    Raises:
        ConfigError: it cannot be imported, or is no function of one argument.
    """
    place = config.reward.rule
    if place is None:
        return once
    rule = _imported("scenario.reward.rule", place)
    if not callable(rule) or not _takes_one(rule):
        raise ConfigError(f"scenario.reward.rule={place} is not allowed: it must be a function of a Delivery")
    return rule  # type: ignore[no-any-return]


def features(config: ScenarioConfig) -> dict[str, Feature]:
    """
    Raises:
        ConfigError: one cannot be imported, or is no Feature.
    """
    found = {}
    for name, place in config.features.items():
        feature = _imported(f"scenario.features.{name}", place)
        if not isinstance(feature, Feature):
            raise ConfigError(f"scenario.features.{name}={place} is not allowed: it must be a Feature")
        if not _takes_one(feature.columns):
            raise ConfigError(f"scenario.features.{name}={place} is not allowed: columns must be a function of a View")
        found[name] = feature
    return found


def _imported(name: str, place: str) -> Any:
    module, _, attribute = place.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # the module is the user's own, and may raise anything
        raise ConfigError(f"{name}={place} cannot be used: {said(error)}") from error


def _takes_one(function: Callable[..., Any]) -> bool:
    """Whether it can be called with one argument, as far as Python can tell."""
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        return False
    except ValueError:  # some built-in functions do not tell
        return True
    return True


def digests(config: ScenarioConfig) -> dict[str, str]:
    """SHA-256 of the modules that a mission names: results depend on them."""
    places = [*config.features.values(), *([config.reward.rule] if config.reward.rule else [])]
    found = {}
    for module in sorted({place.partition(":")[0] for place in places}):
        source = importlib.import_module(module).__file__
        if source is not None:
            found[module] = hashlib.sha256(Path(source).read_bytes()).hexdigest()
    return found
