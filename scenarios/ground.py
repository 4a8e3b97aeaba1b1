"""What is on the ground of a mission: targets and stations (parts of scenarios/scenario/*.yaml)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from scenarios.files.reading import digest_of
from scenarios.files.stations import read_stations
from scenarios.ranges import SELDOM, check, named, within


@dataclass
class CitiesConfig:
    """Cities of the world, drawn anew for every episode (the simplemaps database that BSK-RL carries)."""

    number: int = 5000
    of_largest: int = 20000  # by population

    def __post_init__(self) -> None:
        within("scenario.targets.cities", 1, 44000, number=self.number, of_largest=self.of_largest)
        allowed = f"at least number={self.number}"
        check("scenario.targets.cities.of_largest", self.of_largest, self.of_largest >= self.number, allowed)


@dataclass
class TargetsConfig:
    """What is to be imaged: clusters of point targets strewn near the constellation's ground track, or cities."""

    cities: CitiesConfig | None = None  # null: clusters
    clusters_per_orbit: int = 60  # of all satellites together: a larger constellation wants more
    per_cluster: int = 8
    cluster_radius_km: float = 100.0  # one standard deviation within a cluster
    cross_track_km: float = 150.0  # one standard deviation of the cluster centres
    priority_exponent: float = 2.0  # priority = u**exponent, u uniform in (0, 1)
    urgent_above: float = 0.5  # priority from which the ground flags a target as urgent

    def __post_init__(self) -> None:
        within("scenario.targets", 1, 10000, clusters_per_orbit=self.clusters_per_orbit)
        within("scenario.targets", 1, 1000, per_cluster=self.per_cluster)
        within(
            "scenario.targets", 0, 2000, cluster_radius_km=self.cluster_radius_km, cross_track_km=self.cross_track_km
        )
        within("scenario.targets", 0, 10, priority_exponent=self.priority_exponent)
        within("scenario.targets", 0, 1, urgent_above=self.urgent_above)

    def clusters(self, orbits: float) -> int:
        """Of all satellites together, along tracks of so many orbits."""
        return max(1, round(self.clusters_per_orbit * orbits))


@dataclass
class GroundStationsConfig:
    """Where images can be sent to: places by name, or the stations of a ``file``, which then ``at`` is made to tell."""

    min_elevation_deg: float = 10.0  # from which a satellite is in view
    # name -> [latitude_deg, longitude_deg]; Any, for in lists within a dict OmegaConf refuses whole numbers
    at: dict[str, Any] = field(default_factory=dict)
    file: str | None = field(default=None, metadata=SELDOM)  # GeoJSON or CSV (docs/own-files.md)
    file_sha256: str | None = field(default=None, metadata=SELDOM)  # of that file; filled in for records

    def __post_init__(self) -> None:
        within("scenario.ground_stations", 0, 89, min_elevation_deg=self.min_elevation_deg)
        self.file_sha256 = digest_of("scenario.ground_stations", self.file, self.file_sha256)
        if self.file is not None:
            self.at = {each.name: [each.latitude_deg, each.longitude_deg] for each in read_stations(self.file)}
        check("scenario.ground_stations.at", {}, bool(self.at), "at least one station")
        for name, place in self.at.items():
            named("scenario.ground_stations.at", name)
            numbers = isinstance(place, list) and all(type(angle) in (int, float) for angle in place)
            there = numbers and len(place) == 2 and abs(place[0]) <= 90 and abs(place[1]) <= 180
            allowed = "[latitude_deg, longitude_deg] within 90 and 180"
            check(f"scenario.ground_stations.at.{name}", place, there, allowed)
        self.at = {name: [float(angle) for angle in place] for name, place in self.at.items()}
