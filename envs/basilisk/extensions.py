"""What a user adds to a mission by name: feature blocks and reward rules of their own modules (docs/extending.md)."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scenarios.mission import HardwareConfig, ScenarioConfig
from scenarios.ranges import ConfigError, shown

if TYPE_CHECKING:
    from envs.basilisk.snapshot import Snapshot


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


@dataclass(frozen=True, slots=True)
class Delivery:
    """An image that may earn: taken, or downlinked, as the mission's ``reward.at`` says."""

    satellite: str
    target: str
    priority: float
    r_LP_P: NDArray[np.float64]  # [3] m, planet-fixed
    taken_s: float  # since the start of the episode
    delivered_s: float  # end of the simulation step in which it was
    earlier: int  # images of the target that were delivered in earlier steps
    together: int  # images of the target that are delivered in this one


RewardRule = Callable[[Delivery], float]


def once(delivery: Delivery) -> float:
    """The target's priority to whoever delivers it first, split between simultaneous ones; then nothing."""
    return 0.0 if delivery.earlier else delivery.priority / delivery.together


def earned(rule: RewardRule, delivery: Delivery) -> float:
    """What a rule says of a delivery.

    Raises:
        ConfigError: that is no finite number, or it raises something itself.
    """
    value = _called("scenario.reward.rule", rule, delivery)
    if not isinstance(value, float | int | np.number) or not math.isfinite(value):
        raise ConfigError(
            f"scenario.reward.rule gave {shown(value)} for {delivery.target}: it must give a finite number"
        )
    return float(value)


def observed(name: str, feature: Feature, view: View) -> NDArray[np.float64]:
    """The columns of a feature.

    Raises:
        ConfigError: they are of another shape, or not finite, or their function raises something itself.
    """
    given = _called(f"scenario.features.{name}", feature.columns, view)
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
        raise ConfigError(f"{name}={place} cannot be used: {_said(error)}") from error


def _called(name: str, function: Callable[[Any], Any], argument: Any) -> Any:
    """What a function of the user's own returns.

    Raises:
        ConfigError: it raises something; HYDRA_FULL_ERROR=1 shows where.
    """
    try:
        return function(argument)
    except Exception as error:
        raise ConfigError(f"{name} failed: {_said(error)}") from error


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: {error}"


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
