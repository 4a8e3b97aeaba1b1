"""Ground stations from files: where they stand, against SOFA's ellipsoid and BSK-RL's models; what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import erfa
import numpy as np
import pytest

from envs.basilisk.environment import ConstellationEnv
from scenarios.compose import composed
from scenarios.files.geography import ecef_m
from scenarios.files.reading import FileError
from scenarios.files.stations import read_stations
from scenarios.mission import ScenarioConfig
from scenarios.ranges import ConfigError
from scenarios.schema import to_dict
from tests.test_config import ROOT

GEOJSON = ROOT / "examples" / "stations.geojson"


def mission(file: str | Path = GEOJSON) -> ScenarioConfig:
    return composed(
        "scenario=tip_and_cue", f"scenario.ground_stations.file='{file}'", "scenario.duration_s=300"
    ).scenario


def test_wgs84_is_sofas() -> None:
    for latitude, longitude, height in ((78.23, 15.39, 450.0), (-53.1, -70.9, 0.0), (0.0, 180.0, 9000.0), (90, 0, 0)):
        theirs = erfa.gd2gc(1, np.radians(longitude), np.radians(latitude), height)  # 1: WGS84
        assert np.abs(ecef_m(latitude, longitude, height) - theirs).max() < 1e-6  # m


def test_both_forms_tell_the_same_stations() -> None:
    geojson, table = read_stations(str(GEOJSON)), read_stations(str(ROOT / "examples" / "stations.csv"))
    assert [(s.name, s.latitude_deg, s.longitude_deg, s.height_m) for s in geojson] == [
        (s.name, s.latitude_deg, s.longitude_deg, s.height_m) for s in table
    ]
    assert geojson[0].name == "Longyearbyen" and geojson[0].height_m == 450.0 and geojson[2].height_m == 0.0


def test_basilisk_has_them_where_they_are() -> None:
    config = mission()
    assert config.ground_stations is not None
    assert config.ground_stations.at["Kiruna"] == [67.86, 20.96] and len(config.ground_stations.at) == 8
    env = ConstellationEnv(config)
    env.reset([0])
    satellite = env.episode(0).constellation.satellites[0]
    places = [p["r_LP_P"] for p in satellite.locations_for_access_checking if p["type"] == "ground_station"]
    wanted = [erfa.gd2gc(1, np.radians(s.longitude_deg), np.radians(s.latitude_deg), s.height_m)
              for s in read_stations(str(GEOJSON))]  # fmt: skip
    assert np.abs(np.array(places).reshape(-1, 3) - wanted).max() < 0.01  # m
    models = env.episode(0).constellation.simulator.world.groundStations
    assert np.abs(np.array([np.ravel(each.r_LP_P_Init) for each in models]) - wanted).max() < 0.01


def test_two_networks_in_one_town(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("name,latitude,longitude,provider\nTroll,-72,2.5,A\nTroll,-72.1,2.5,B\n")
    assert [each.name for each in read_stations(str(tmp_path / "own.csv"))] == ["Troll (A)", "Troll (B)"]


def test_other_missions_are_told_as_before() -> None:
    assert set(to_dict(composed("scenario=tip_and_cue").scenario)["ground_stations"]) == {"min_elevation_deg", "at"}
    assert set(to_dict(mission())["ground_stations"]) == {"min_elevation_deg", "at", "file", "file_sha256"}


def collection(geometry: Any = None, **properties: Any) -> str:
    geometry = geometry or {"type": "Point", "coordinates": [20.0, 60.0]}
    return json.dumps(
        {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": geometry, "properties": properties}]}
    )


def point(*coordinates: Any) -> str:
    return collection({"type": "Point", "coordinates": list(coordinates)}, name="A")


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("", "is empty: it must hold at least one record"),
        ("{", r"own, line 1: the text is no JSON"),
        ('{"type": "Point"}', r"own, whole file: type='Point' is not allowed: it must be FeatureCollection"),
        ('{"type": "FeatureCollection", "features": []}', r"features=\[\] is not allowed: it must be a list"),
        (point(95.0, 20.0), None),
        (point(20.0, 95.0), r"feature 1: latitude=95 is not allowed: it must be from -90 to 90: are latitude and longi"
                            r"tude=20 exchanged; GeoJSON has the longitude first\?$"),
        (point(120.0, 95.0), r"feature 1: latitude=95 is not allowed: it must be from -90 to 90$"),
        (point(190.0, 20.0), r"feature 1: longitude=190 is not allowed: it must be from -180 to 180"),
        (point(19.0, 20.0, 1e5), r"feature 1: height=100000 is not allowed: it must be from -500 to 9000 m"),
        (point("a", 20.0), r"coordinates=\['a', 20.0\] is not allowed: it must be \[longitude, latitude\] or"),
        (collection({"type": "LineString"}, name="A"), r"geometry.type='LineString' is not allowed: it must be Point"),
        (collection(NAME="A", Provider="North"), None),
        (collection(name=["A"]), r"feature 1: name=\['A'\] is not allowed: it must be of 1 to 48 printable characters"),
        (collection(), r"feature 1: name=None is not allowed: it must be of 1 to 48 printable characters"),
        ("name,latitude\n", r"line 1: the header 'name,latitude' is not allowed: it must have name, latitude, long"),
        ("name;latitude;longitude\nA;1;2\n",
         r"line 1: the header 'name;latitude;longitude' is not allowed: columns must be separated by commas$"),
        ("name\tlatitude\tlongitude\n", r"line 1: the header .* is not allowed: columns must be separated by commas$"),
        ("name,latitude,longitude\nA,1\n", r"line 2: a row of another length is not allowed: it must have 3 values"),
        ("name,latitude,longitude\nA,x,1\n", r"line 2: latitude='x' is not allowed: it must be a number"),
        ("name,latitude,longitude\nA,1,2\nA,1,2\n", r"line 3: name='A' is that of line 2 too: it must be another"),
        ("name,latitude,longitude\n", r"whole file: 0 stations, where there must be 1 to 1000"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_used(tmp_path: Path, text: str, sentence: str | None) -> None:
    (tmp_path / "own").write_text(text)
    if sentence is None:
        assert mission(tmp_path / "own")
        return
    with pytest.raises(FileError, match=sentence) as caught:
        mission(tmp_path / "own")
    assert "\n" not in str(caught.value)


def test_a_digest_needs_a_file() -> None:
    with pytest.raises(
        ConfigError, match=r"ground_stations.file_sha256='ab' is not allowed: it must be null where the"
    ):
        composed("scenario=tip_and_cue", "scenario.ground_stations.file_sha256=ab")
