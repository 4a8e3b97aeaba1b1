"""Ground targets of a mission: clusters strewn near the ground tracks of a constellation, or cities."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path

import bsk_rl
import numpy as np
from bsk_rl.scene import Scenario
from bsk_rl.scene.targets import Target
from numpy.typing import NDArray

from envs.basilisk.clouds import draw_sky
from envs.basilisk.elements import KeplerOrbit
from envs.basilisk.orbits import CircularOrbit
from scenarios.files.mission import own_targets
from scenarios.files.targets import OwnTarget
from scenarios.mission import CloudsConfig, TargetsConfig
from scenarios.orbits import EARTH_RADIUS_M


class GroundTarget(Target):  # type: ignore[misc]  # bsk_rl is untyped
    """A point on the ground under its sky."""

    release_s = -math.inf  # from when an image counts
    due_s = math.inf  # until when
    dwell_s = 0.0  # for which the attitude must be held
    sensor: str | None = None  # the hardware that can take it; None: any
    latitude_deg: float | None = None  # geodetic, of one from a file
    longitude_deg: float | None = None

    def __init__(self, name: str, r_LP_P: NDArray[np.float64], priority: float, clouded: bool, chance: float) -> None:
        super().__init__(name=name, r_LP_P=r_LP_P, priority=priority)
        self.clouded = clouded
        self.cloud_chance = chance  # as forecast

    def of_file(self, own: OwnTarget, epoch: datetime) -> None:
        """Take over what a file asks for."""
        self.release_s, self.due_s = own.span_s(epoch)
        self.dwell_s, self.sensor = own.dwell_s, own.sensor
        self.latitude_deg, self.longitude_deg = own.latitude_deg, own.longitude_deg


class GroundTargets(Scenario):  # type: ignore[misc]  # bsk_rl is untyped
    """BSK-RL scenario: point targets with priorities u ** ``priority_exponent``.

    ``tracks``, ``length_s`` and ``span_s`` are set by the environment before each reset; draws come from numpy's global
    generator, which BSK-RL seeds per episode.
    """

    def __init__(self, config: TargetsConfig, clouds: CloudsConfig | None) -> None:
        self.config = config
        self.clouds = clouds
        self.targets: list[GroundTarget] = []
        self.tracks: Sequence[CircularOrbit | KeplerOrbit] = ()
        self.earth_angle_rad = 0.0
        self.length_s = 0.0  # of a string of satellites
        self.span_s = 0.0  # from the start to a little past the end
        self.built: Callable[[], None] = lambda: None  # called when all models are built, before they are initialised

    def reset_during_sim_init(self) -> None:
        self.built()

    def reset_overwrite_previous(self) -> None:
        self.targets = []

    def reset_pre_sim_init(self) -> None:
        names, positions = self.placed()
        priority = self.priorities(len(positions))
        clouded, chance = np.zeros(len(positions), dtype=np.bool_), np.zeros(len(positions))
        if self.clouds is not None:
            sky = draw_sky(self.clouds, positions, np.random.default_rng(np.random.randint(2**31)))
            clouded, chance = sky.clouded, sky.chance
        self.targets = [
            GroundTarget(*each)
            for each in zip(names, positions, priority.tolist(), clouded.tolist(), chance.tolist(), strict=True)
        ]
        for satellite in self.satellites:
            min_elevation = satellite.sat_args_generator["imageTargetMinimumElevation"]
            for target in self.targets:
                satellite.add_location_for_access_checking(target, target.r_LP_P, min_elevation, "target")

    def placed(self) -> tuple[list[str], NDArray[np.float64]]:
        """This episode's targets: names, and planet-fixed positions [M, 3] in m."""
        raise NotImplementedError

    def priorities(self, number: int) -> NDArray[np.float64]:
        """[M] of the targets that have just been placed."""
        return np.asarray(np.random.uniform(0.0, 1.0, number) ** self.config.priority_exponent)

    def near(self, positions: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which places [M, 3] some satellite comes near: who is left out costs no time, and nobody can tell."""
        found = np.zeros(len(positions), dtype=np.bool_)
        for orbit in self.tracks:
            horizon_rad = np.arccos(EARTH_RADIUS_M / orbit.radius_m)
            time_s = np.arange(-_TRACK_STEP_S, self.span_s + _TRACK_STEP_S, _TRACK_STEP_S)
            nearest = (positions @ orbit.track(time_s, self.earth_angle_rad).T).max(axis=1) / EARTH_RADIUS_M
            found |= nearest > np.cos(horizon_rad + _TRACK_STEP_RAD)
        return found


class TrackClusters(GroundTargets):
    """``per_cluster`` targets around each cluster centre, centres spread evenly at random along every satellite's own
    ground track until a little past the end. All tracks are begun ``length_s`` before the start, so that the last
    satellite finds as many targets as the first. ``clusters_per_orbit`` counts the clusters of all tracks together.
    """

    def placed(self) -> tuple[list[str], NDArray[np.float64]]:
        config = self.config
        r_P = []
        for orbit, count in zip(self.tracks, self._counts(), strict=True):
            time_s = np.random.uniform(-self.length_s, self.span_s, count)
            centre = orbit.track(time_s, self.earth_angle_rad)
            ahead = orbit.track(time_s + 1.0, self.earth_angle_rad)
            across = np.cross(centre, ahead)
            across /= np.linalg.norm(across, axis=-1, keepdims=True)
            offset_m = np.random.normal(0.0, config.cross_track_km * 1e3, (count, 1))
            centre_m = _onto_sphere(centre * EARTH_RADIUS_M + across * offset_m)
            scatter_m = np.random.normal(0.0, config.cluster_radius_km * 1e3, (count, config.per_cluster, 3))
            r_P.append(_onto_sphere(centre_m[:, None, :] + scatter_m).reshape(-1, 3))
        positions = np.concatenate(r_P)
        return [f"target_{index}" for index in range(len(positions))], positions

    def _counts(self) -> list[int]:
        """Clusters of each track: the total, dealt as evenly as it goes."""
        orbits = (self.length_s + self.span_s) / self.tracks[0].period_s
        each, more = divmod(self.config.clusters(orbits), len(self.tracks))
        return [each + (index < more) for index in range(len(self.tracks))]


class Cities(GroundTargets):
    """Cities drawn from the largest ones. Those that no satellite comes near are left out: they cost time, and nobody
    could tell."""

    def placed(self) -> tuple[list[str], NDArray[np.float64]]:
        cities = self.config.cities
        assert cities is not None
        names, positions = _largest_cities(cities.of_largest)
        drawn = np.random.choice(len(names), min(cities.number, len(names)), replace=False)
        chosen = drawn[self.near(positions[drawn])]
        return [names[index] for index in chosen], positions[chosen]


class Uniform(GroundTargets):
    """Targets spread evenly at random over the Earth, as BSK-RL's ``UniformTargets`` has them."""

    def placed(self) -> tuple[list[str], NDArray[np.float64]]:
        assert self.config.uniform is not None
        low, high = self.config.uniform.number
        number = np.random.randint(low, high) if high > low else low
        positions = _onto_sphere(np.random.normal(size=(number, 3)))
        kept = np.nonzero(self.near(positions))[0]
        return [f"target_{index}" for index in kept], positions[kept]


class FromFile(GroundTargets):
    """The targets of a file, the same ones in every episode; none is left out, so that all are told of."""

    epoch: datetime  # UTC; set by the environment

    def placed(self) -> tuple[list[str], NDArray[np.float64]]:
        self._own = own_targets(self.config) or ()
        return [each.name for each in self._own], np.array([each.r_LP_P() for each in self._own])

    def priorities(self, number: int) -> NDArray[np.float64]:
        return np.array([each.priority for each in self._own])

    def reset_pre_sim_init(self) -> None:
        super().reset_pre_sim_init()
        for target, own in zip(self.targets, self._own, strict=True):
            target.of_file(own, self.epoch)


_TRACK_STEP_S = 30.0
_TRACK_STEP_RAD = 0.04  # more than any low orbit's way in that time, and than the track's own error


@cache
def _largest_cities(number: int) -> tuple[list[str], NDArray[np.float64]]:
    """Names, and planet-fixed positions [number, 3] in m on a spherical Earth, the most populous first."""
    path = Path(bsk_rl.__file__).parent / "_dat" / "simplemaps_worldcities" / "worldcities.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: -float(row["population"] or 0))[:number]
    latitude, longitude = np.radians([[float(row["lat"]), float(row["lng"])] for row in rows]).T
    up = np.stack(
        [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], axis=-1
    )
    return [f"{row['city']}, {row['iso2']}" for row in rows], up * EARTH_RADIUS_M


def _onto_sphere(r_P: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(r_P * (EARTH_RADIUS_M / np.linalg.norm(r_P, axis=-1, keepdims=True)))
