"""Whether the twin supports a mission, and whether the planner can plan it."""

from __future__ import annotations

import numpy as np

from envs.basilisk.simulation import Constellation
from envs.basilisk.twin.episode_layout import BLOCKS
from envs.basilisk.twin.layout import LOCAL
from envs.basilisk.twin.library import fault
from scenarios.communication import most_targets
from scenarios.mission import ScenarioConfig
from scenarios.ranges import ConfigError


def check_mirrored(config: ScenarioConfig) -> None:
    """
    Raises:
        ConfigError: the mission has something that the twin lacks.
    """
    lacking = [name for name in config.blocks if name not in BLOCKS]
    if lacking:
        raise ConfigError(f"scenario={config.name} has no twin: it lacks the feature block {lacking[0]!r}")
    if config.reward.rule is not None:
        raise ConfigError(f"scenario={config.name} has no twin: it lacks scenario.reward.rule={config.reward.rule}")
    faults = config.faults
    spoilt = ("satellite_failures", "crosslink_outage", "sensor_dropout", "missing_decisions", "late_decisions")
    for name in spoilt:
        if faults.training and getattr(faults, name) > 0:
            raise ConfigError(
                f"scenario={config.name} has no twin: it lacks scenario.faults.{name}={getattr(faults, name):g}"
            )


def twin_fault(config: ScenarioConfig) -> str | None:
    """Why a mission cannot be trained on the twin here, in one sentence; None where it can."""
    try:
        check_mirrored(config)
    except ConfigError as error:
        return str(error)
    return fault() or crowd_fault(config)


def planner_fault(config: ScenarioConfig) -> str | None:
    """Why the planner cannot plan a mission here; None if it can. Faults in flight only make the planner plan anew."""
    if config.reward.rule is not None:
        return f"scenario={config.name} is not planned: the planner knows no scenario.reward.rule={config.reward.rule}"
    return fault() or crowd_fault(config)


def crowd_fault(config: ScenarioConfig) -> str | None:
    """Whether a satellite may reach more targets than the twin's state holds. One episode is looked at, and only where
    there are so many targets at all; other episodes may have a third more."""
    if most_targets(config) <= LOCAL:
        return None
    constellation = Constellation(config)
    constellation.reset(0)
    most = max(len(np.unique(satellite.windows.target)) for satellite in constellation.satellites)
    if most <= 0.75 * LOCAL:
        return None
    return f"scenario={config.name} has no twin: a satellite can reach {most} targets, and the twin holds {LOCAL}"
