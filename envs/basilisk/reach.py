"""Whether any target of a mission's file can come into reach at all: told before anything is flown.

A look at ground tracks with a margin; ``Constellation.reset`` looks at the windows themselves.
"""

from __future__ import annotations

import math

import numpy as np

from envs.basilisk.elements import KeplerOrbit, orbits
from envs.basilisk.orbits import CircularOrbit, drawn_orbits, earth_angle_rad
from envs.basilisk.support_data import parse_epoch
from scenarios.files.geography import ecef_m
from scenarios.files.mission import own_targets
from scenarios.mission import ScenarioConfig
from scenarios.orbits import EARTH_RADIUS_M
from scenarios.ranges import ConfigError, cut

_STEP_S = 30.0
_MARGIN_RAD = 0.04  # a satellite's way in a step, and the track's own error


def check_reach(config: ScenarioConfig) -> None:
    """
    Raises:
        ConfigError: no satellite can image any target of the file within an episode.
    """
    targets = own_targets(config.targets)
    if targets is None:
        return
    constellation, epoch = config.constellation, parse_epoch(config.epoch_utc)
    tracks: list[CircularOrbit | KeplerOrbit]
    if constellation.file is not None:
        tracks = [*orbits(constellation, epoch)]
    elif constellation.random_start:
        return  # wherever it may begin, another episode begins elsewhere
    else:
        tracks = [*drawn_orbits(constellation)]
    angle_rad = earth_angle_rad(config.epoch_utc)
    up = np.array([(each.latitude_deg, each.longitude_deg, each.height_m) for each in targets])
    places = ecef_m(*up.T)
    places /= np.linalg.norm(places, axis=-1, keepdims=True)
    spans_s = np.array([each.span_s(epoch) for each in targets])  # [M, 2]
    time_s = np.arange(0.0, config.duration_s + _STEP_S, _STEP_S)
    asked = (time_s >= spans_s[:, :1] - _STEP_S) & (time_s <= spans_s[:, 1:] + _STEP_S)  # [M, T]
    for track, member in zip(tracks, constellation.members, strict=True):
        ours = np.array([each.sensor in (None, member.hardware) for each in targets])
        limit_rad = math.radians(config.hardware[member.hardware].min_elevation_deg)
        # The angle at the Earth's centre between a satellite and who sees it at that elevation.
        far_rad = math.acos(math.cos(limit_rad) * EARTH_RADIUS_M / track.radius_m) - limit_rad + _MARGIN_RAD
        if ((places @ track.track(time_s, angle_rad).T > math.cos(far_rad)) & asked & ours[:, None]).any():
            return
    raise nothing_in_reach(config)


def nothing_in_reach(config: ScenarioConfig) -> ConfigError:
    file, number = cut(str(config.targets.file)), len(own_targets(config.targets) or ())
    return ConfigError(
        f"scenario.targets.file={file!r} is not allowed: one of its {number} targets at least must be in reach of a "
        f"satellite between release and due within scenario.duration_s={config.duration_s:g} of scenario.epoch_utc"
    )
