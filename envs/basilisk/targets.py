"""Ground targets of a mission: clusters strewn near the ground tracks of a constellation, or cities."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import bsk_rl
import numpy as np
from Basilisk.utilities import orbitalMotion
from bsk_rl.scene import Scenario
from bsk_rl.scene.targets import Target
from numpy.typing import NDArray

from envs.basilisk.clouds import draw_sky
from envs.basilisk.elements import KeplerOrbit
from scenarios.mission import CloudsConfig, TargetsConfig
from scenarios.orbits import EARTH_RADIUS_M, EARTH_RATE_RAD_S, period_s


@dataclass(frozen=True, slots=True)
class CircularOrbit:
    """A circular Keplerian orbit in the Earth-centred inertial frame; it only steers where targets are strewn."""

    radius_m: float
    inclination_rad: float
    raan_rad: float
    latitude_argument_rad: float  # at time 0

    @property
    def period_s(self) -> float:
        return period_s(self.radius_m)

    def elements(self) -> orbitalMotion.ClassicElements:
        """Basilisk's classical elements (metres, radians)."""
        elements = orbitalMotion.ClassicElements()
        elements.a = self.radius_m
        elements.e = 0.0
        elements.i = self.inclination_rad
        elements.Omega = self.raan_rad
        elements.omega = 0.0
        elements.f = self.latitude_argument_rad
        return elements

    def track(self, time_s: NDArray[np.float64], earth_angle_rad: float) -> NDArray[np.float64]:
        """Unit vectors [T, 3] of the sub-satellite points, planet-fixed.

        Args:
            time_s: [T] since the start.
            earth_angle_rad: rotation of the Earth at time 0.
        """
        u = self.latitude_argument_rad + 2 * np.pi * time_s / self.period_s
        node = self.raan_rad - earth_angle_rad - EARTH_RATE_RAD_S * time_s
        in_plane = np.sin(u) * np.cos(self.inclination_rad)
        return np.stack(
            [
                np.cos(u) * np.cos(node) - in_plane * np.sin(node),
                np.cos(u) * np.sin(node) + in_plane * np.cos(node),
                np.sin(u) * np.sin(self.inclination_rad),
            ],
            axis=-1,
        )


class GroundTarget(Target):  # type: ignore[misc]  # bsk_rl is untyped
    """A point on the ground under its sky."""

    def __init__(self, name: str, r_LP_P: NDArray[np.float64], priority: float, clouded: bool, chance: float) -> None:
        super().__init__(name=name, r_LP_P=r_LP_P, priority=priority)
        self.clouded = clouded
        self.cloud_chance = chance  # as forecast


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
        priority = np.random.uniform(0.0, 1.0, len(positions)) ** self.config.priority_exponent
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
        near = np.zeros(len(drawn), dtype=np.bool_)
        for orbit in self.tracks:
            horizon_rad = np.arccos(EARTH_RADIUS_M / orbit.radius_m)
            time_s = np.arange(-_TRACK_STEP_S, self.span_s + _TRACK_STEP_S, _TRACK_STEP_S)
            nearest = (positions[drawn] @ orbit.track(time_s, self.earth_angle_rad).T).max(axis=1) / EARTH_RADIUS_M
            near |= nearest > np.cos(horizon_rad + _TRACK_STEP_RAD)
        chosen = drawn[near]
        return [names[index] for index in chosen], positions[chosen]


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
