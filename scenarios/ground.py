"""What is on the ground of a mission: targets and stations (parts of scenarios/scenario/*.yaml)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from scenarios.files.reading import digest_of
from scenarios.files.stations import read_stations
from scenarios.files.targets import read_targets
from scenarios.ranges import SELDOM, check, listed, named, within


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
class UniformConfig:
    """Targets all over the Earth, drawn anew for every episode, as BSK-RL's ``UniformTargets``."""

    number: list[int] = field(
        default_factory=lambda: [100, 10000]
    )  # drawn per episode; the second is left out, as there

    def __post_init__(self) -> None:
        allowed = "[low, high], whole numbers with 1 <= low <= high <= 100000"
        listed("scenario.targets.uniform.number", self.number, 2, lambda low, high: 1 <= low <= high <= 100000, allowed)


@dataclass
class TargetsConfig:
    """What is to be imaged: clusters of point targets strewn near the constellation's ground track, or cities, or
    targets all over the Earth, or those of a ``file``, which goes before all others."""

    cities: CitiesConfig | None = None  # null: clusters
    clusters_per_orbit: int = 60  # of all satellites together: a larger constellation wants more
    per_cluster: int = 8
    cluster_radius_km: float = 100.0  # one standard deviation within a cluster
    cross_track_km: float = 150.0  # one standard deviation of the cluster centres
    priority_exponent: float = 2.0  # priority = u**exponent, u uniform in (0, 1)
    urgent_above: float = 0.5  # priority from which the ground flags a target as urgent
    uniform: UniformConfig | None = field(default=None, metadata=SELDOM)  # goes before cities
    file: str | None = field(default=None, metadata=SELDOM)  # GeoJSON or CSV (docs/own-files.md)
    file_sha256: str | None = field(default=None, metadata=SELDOM)  # of that file; filled in for records
    cell_km: float = field(default=20.0, metadata=SELDOM)  # side of the cells that the file's areas are cut into

    def __post_init__(self) -> None:
        within("scenario.targets", 1, 10000, clusters_per_orbit=self.clusters_per_orbit)
        within("scenario.targets", 1, 1000, per_cluster=self.per_cluster)
        within(
            "scenario.targets", 0, 2000, cluster_radius_km=self.cluster_radius_km, cross_track_km=self.cross_track_km
        )
        within("scenario.targets", 0, 10, priority_exponent=self.priority_exponent)
        within("scenario.targets", 0, 1, urgent_above=self.urgent_above)
        within("scenario.targets", 1, 1000, cell_km=self.cell_km)
        self.file_sha256 = digest_of("scenario.targets", self.file, self.file_sha256)
        none = self.file is None or self.uniform is None
        drawn = None if self.uniform is None else {"number": self.uniform.number}
        check("scenario.targets.uniform", drawn, none, "null where there is scenario.targets.file")
        if self.file is not None or self.uniform is not None:
            self.cities = None
        if self.file is not None:
            read_targets(self.file, self.cell_km)

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
