"""What an image earns: deliveries, and the rules that pay for them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenarios.ranges import ConfigError, shown


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
    value = called("scenario.reward.rule", rule, delivery)
    if not isinstance(value, float | int | np.number) or not math.isfinite(value):
        raise ConfigError(
            f"scenario.reward.rule gave {shown(value)} for {delivery.target}: it must give a finite number"
        )
    return float(value)


def called(name: str, function: Callable[[Any], Any], argument: Any) -> Any:
    """What a function of the user's own returns.

    Raises:
        ConfigError: it raises something; HYDRA_FULL_ERROR=1 shows where.
    """
    try:
        return function(argument)
    except Exception as error:
        raise ConfigError(f"{name} failed: {said(error)}") from error


def said(error: Exception) -> str:
    return str(error) if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: {error}"
