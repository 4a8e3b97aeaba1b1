"""Targets from files: areas by closed forms, times and dwell by the clock, the twin against Basilisk."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from datetime import datetime
from pathlib import Path
from typing import Any

import erfa
import numpy as np
import pytest

from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.episode import Episode
from envs.basilisk.heuristics import GreedyPolicy, RandomPolicy
from envs.basilisk.satellites import Imager
from envs.basilisk.twin.environment import TwinEnv
from envs.basilisk.twin.mirrored import planner_fault, twin_fault
from envs.basilisk.twin.parity import Parity, compare
from envs.basilisk.twin.worlds import make_worlds, world_of
from envs.basilisk.windows import FREE, Asks, Windows, asked_for
from scenarios.communication import most_targets
from scenarios.compose import composed
from scenarios.files.polygons import cells
from scenarios.files.reading import FileError
from scenarios.files.targets import OwnTarget, read_targets
from scenarios.ground import TargetsConfig, UniformConfig
from scenarios.mission import ScenarioConfig
from scenarios.ranges import ConfigError
from scenarios.schema import to_dict
from tests.test_config import ROOT

EXAMPLES = ROOT / "examples"
SATELLITES = f"scenario.constellation.file='{EXAMPLES / 'satellites.csv'}'"
KM = 6378.1366 * math.pi / 180.0  # of a degree of latitude


def mission(file: str | Path, *overrides: str) -> ScenarioConfig:
    return composed("scenario=walker_cities", SATELLITES, f"scenario.targets.file='{file}'", *overrides).scenario


def refuse(where: str, what: str) -> FileError:
    return FileError(f"{where}: {what}")


def polygon(*rings: list[list[float]]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]] for ring in rings]}


def grid(path: Path, duration_s: float = 1200.0, degrees: float = 3.0, **asked: bool) -> Path:
    """Places all over the inhabited Earth; every second one asks for something, drawn at random."""
    rng = np.random.default_rng(0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "latitude", "longitude", "priority", "release", "due", "dwell", "sensor"])
        for latitude in np.arange(-66.0, 67.0, degrees).tolist():
            for longitude in np.arange(-180.0, 180.0, degrees).tolist():
                a, b, dwell = *np.sort(rng.uniform(0.0, duration_s, 2)), rng.integers(1, 20)
                b = max(b, a + dwell)  # a target that can never be imaged is refused
                release = f"{a:.3f}" if asked.get("release") and rng.random() < 0.5 else ""
                due = f"{b:.3f}" if asked.get("due") and rng.random() < 0.5 else ""
                held = str(dwell) if asked.get("dwell") and rng.random() < 0.5 else ""
                sensor = "wide" if asked.get("sensor") and rng.random() < 0.5 else ""
                name, priority = f"{latitude:g} {longitude:g}", f"{rng.uniform(0.05, 1.0):.3f}"
                writer.writerow([name, latitude, longitude, priority, release, due, held, sensor])
    return path


def test_a_polygons_cells_have_its_area_and_its_middle() -> None:
    """A box in latitude and longitude: R^2 dlon (sin north - sin south)."""
    found = cells(polygon([[10.0, 40.0], [14.0, 40.0], [14.0, 43.0], [10.0, 43.0]]), 20.0, "here", refuse)
    north, south = math.sin(math.radians(43)), math.sin(math.radians(40))
    wanted = 6378.1366**2 * math.radians(4.0) * (north - south)
    assert sum(cell.area_km2 for cell in found) == pytest.approx(wanted, rel=1e-5)
    assert all(cell.area_km2 <= 400.0 for cell in found) and len(found) < 1.15 * wanted / 400.0
    middle = sum(cell.longitude_deg * cell.area_km2 for cell in found) / sum(cell.area_km2 for cell in found)
    assert middle == pytest.approx(12.0)


def test_holes_slants_and_several_parts() -> None:
    triangle = polygon([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]])
    area = sum(cell.area_km2 for cell in cells(triangle, 20.0, "here", refuse))
    assert area == pytest.approx(4.5 * KM**2, rel=0.01)  # near the equator a degree of longitude is one of latitude
    ring = [[0.0, 0.0], [3.0, 0.0], [3.0, 3.0], [0.0, 3.0]]
    hole = [[1.0, 1.0], [2.0, 1.0], [2.0, 2.0], [1.0, 2.0]]
    found = cells(polygon(ring, hole), 20.0, "here", refuse)
    assert sum(cell.area_km2 for cell in found) == pytest.approx(8.0 * KM**2, rel=0.01)
    assert not [c for c in found if 1.2 < c.latitude_deg < 1.8 and 1.2 < c.longitude_deg < 1.8]
    both = {"type": "MultiPolygon", "coordinates": [triangle["coordinates"], polygon(ring)["coordinates"]]}
    assert sum(c.area_km2 for c in cells(both, 20.0, "here", refuse)) == pytest.approx(13.5 * KM**2, rel=0.01)


def test_a_polygon_that_is_there_twice_counts_once() -> None:
    ring = [[0.0, 0.0], [3.0, 0.0], [3.0, 2.0], [0.0, 3.0]]
    hole = [[1.0, 1.0], [2.0, 1.0], [2.0, 1.5]]
    once = polygon(ring, hole)
    again = polygon([*ring[2:], *ring[:2]], hole[::-1])  # it begins elsewhere, and its hole goes the other way
    other = polygon(ring)  # without the hole it is another area
    cells_of = {"once": [once], "twice": [once, once, again], "two": [once, other], "other": [other]}
    found = {
        name: cells({"type": "MultiPolygon", "coordinates": [each["coordinates"] for each in parts]}, 20.0, "x", refuse)
        for name, parts in cells_of.items()
    }
    assert found["twice"] == found["once"]
    assert found["two"] == found["once"] + found["other"]


def test_an_area_below_a_cell_is_one_target_in_its_middle() -> None:
    [only] = cells(polygon([[10.0, 40.0], [10.1, 40.0], [10.1, 40.1], [10.0, 40.1]]), 20.0, "here", refuse)
    assert (only.latitude_deg, only.longitude_deg) == (pytest.approx(40.05), pytest.approx(10.05))


def test_the_example_areas_share_their_priority() -> None:
    targets = read_targets(str(EXAMPLES / "targets.geojson"), 25.0)
    for name, priority in (("Iceland", 20.0), ("Tasmania", 15.0), ("Lake Victoria", 10.0), ("Fiji", 4.0)):
        own = [each for each in targets if each.name.startswith(f"{name} ")]
        assert math.fsum(each.priority for each in own) == pytest.approx(priority)
        assert len({each.name for each in own}) == len(own) > 20
    assert next(each for each in targets if each.name == "Paris").priority == 0.1
    assert {each.dwell_s for each in targets if each.name.startswith("Fiji ")} == {5.0}


def test_a_row_says_what_it_asks_for(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(
        "Name,latitude,longitude,priority,release,due,dwell,sensor\n"
        "A,10,20,0.5,2026-03-20T12:10:00Z,2026-03-20T15:00:00+02:00,12,wide\nB,-10,-20,,,3600,,\n"
    )
    first, second = read_targets(str(tmp_path / "own.csv"), 20.0)
    epoch = datetime(2026, 3, 20, 12)
    assert (first.priority, first.dwell_s, first.sensor, first.span_s(epoch)) == (0.5, 12.0, "wide", (600.0, 3600.0))
    assert (second.priority, second.dwell_s, second.sensor) == (1.0, 0.0, None)
    assert second.span_s(epoch) == (-math.inf, 3600.0)


def test_targets_stand_on_the_ellipsoid_with_the_files_priorities(tmp_path: Path) -> None:
    config = mission(EXAMPLES / "targets.csv")
    own = read_targets(str(EXAMPLES / "targets.csv"), 20.0)
    env = ConstellationEnv(config)
    for seed in (0, 1):
        env.reset([seed])
        targets = env.episode(0).constellation.targets
        assert [target.name for target in targets] == [each.name for each in own]
        assert [target.priority for target in targets] == [each.priority for each in own]
    wanted = [erfa.gd2gc(1, np.radians(o.longitude_deg), np.radians(o.latitude_deg), 0.0) for o in own]
    assert np.abs(np.array([target.r_LP_P for target in targets]) - wanted).max() < 1e-6
    assert most_targets(config) == len(own)


def test_windows_between_release_and_due_by_hand() -> None:
    windows = Windows(np.array([0, 1, 2, 3, 4]), np.array([0.0, 10, 20, 30, 40]), np.array([100.0, 110, 120, 130, 140]))
    asks = [FREE, Asks(50.0, 80.0, 0.0, True), Asks(130.0, math.inf, 0.0, True), Asks(-math.inf, math.inf, 101.5, True),
            Asks(-math.inf, math.inf, 0.0, False)]  # fmt: skip
    found = asked_for(windows, asks, step_s=1.0)
    assert found.target.tolist() == [1, 0]  # by closing time; too late, too short and another sensor's are left out
    assert found.open_s.tolist() == [50.0, 0.0] and found.close_s.tolist() == [79.0, 100.0]
    assert found.in_time(49.0, 0).tolist() == [False, True] and found.in_time(50.0, 0).all()
    held = asked_for(windows, [Asks(-math.inf, math.inf, 30.0, True)] * 5, step_s=1.0)
    assert held.in_time(70.0, 0).all() and held.in_time(70.5, 0).tolist() == [False, True, True, True, True]


def flown(config: ScenarioConfig, seed: int = 0) -> list[tuple[Imager, Any, float]]:
    """Who took which image, and when its action ended, of a flight by "greedy + battery"."""
    env = ConstellationEnv(config, traced=1)
    step = env.reset([seed])
    policy = GreedyPolicy(env.specs)
    while not (step.terminated | step.truncated).all():
        step = env.step(policy.act(step))
    episode = env.episode(0)
    targets, satellites = episode.constellation.targets, episode.constellation.satellites
    return [(satellites[row], targets[index], time_s) for index, (row, time_s) in episode._imaged_at.items()]


def test_images_count_between_release_and_due_and_for_their_sensor_only(tmp_path: Path) -> None:
    file = grid(tmp_path / "own.csv", 2000.0, release=True, due=True, sensor=True)
    images = flown(mission(file, "scenario.duration_s=2000"))
    assert len(images) > 40
    for satellite, target, stored_s in images:
        fired_s = stored_s - 1.0  # an image reaches the storage a tick after it is taken
        assert target.release_s <= fired_s <= target.due_s
        assert target.sensor in (None, satellite.hardware_name)
    assert sum(target.release_s > 0 for _, target, _ in images) > 10
    assert sum(target.due_s < math.inf for _, target, _ in images) > 10
    assert sum(target.sensor is not None for _, target, _ in images) > 5


@pytest.mark.parametrize("dwell_s", [0, 4])
def test_basilisk_holds_the_attitude_for_the_dwell(tmp_path: Path, dwell_s: int) -> None:
    """The instrument fires at the first tick at which attitude, rate and access have been right for so long, by the
    messages that it reads."""
    rows = grid(tmp_path / "own.csv").read_text().splitlines()
    (tmp_path / "own.csv").write_text("\n".join([rows[0], *(f"{row[:-1]}{dwell_s}," for row in rows[1:])]))
    env = ConstellationEnv(mission(tmp_path / "own.csv", "scenario.duration_s=600"))
    env.reset([3])
    constellation = env.episode(0).constellation
    satellite, second_ns = constellation.satellites[4], 10**9
    windows = satellite.windows
    longest = int(np.argmax(np.minimum(windows.close_s, 590.0) - windows.open_s))
    satellite.image(constellation.targets[int(windows.target[longest])], 600.0, 600.0)
    right_since, fired_at = None, None
    for tick in range(1, 600):
        constellation.simulator.TotalSim.StepUntilStop(tick * second_ns, -1)
        error = satellite.fsw.attGuidMsg.read()
        right = (
            np.linalg.norm(error.sigma_BR) <= 0.01
            and np.linalg.norm(error.omega_BR_B) <= 0.01
            and satellite.dynamics.imagingTarget.accessOutMsgs[-1].read().hasAccess
        )
        right_since = (right_since or tick) if right else None
        if satellite.fsw.insControl.imaged:
            fired_at = tick
            break
        assert right_since is None or tick - right_since < dwell_s
    assert fired_at is not None and right_since is not None
    assert fired_at - right_since == dwell_s


def test_the_twin_flies_dwell_release_and_due_as_basilisk_does(tmp_path: Path) -> None:
    """As tests/test_twin.py has it of the packaged missions."""
    file = grid(tmp_path / "own.csv", 1200.0, release=True, due=True, dwell=True, sensor=True)
    config = mission(file, "scenario.duration_s=1200", "scenario.communication.mode=free")
    assert twin_fault(config) is None and planner_fault(config) is None
    found = Parity()
    compare(config, RandomPolicy(), 5, found)
    assert found.images > 20 and found.same_outcome == found.images
    assert found.worst_tick <= 1 and found.exact >= 0.98
    episode = Episode(config, np.zeros(6, dtype=np.bool_), training=False)
    moment = episode.reset(6)
    env = TwinEnv(config, [world_of(config, episode.constellation)], training=False)
    step, policy = env.replay([0]), RandomPolicy()
    policy.reset([6])
    assert "due" in [block.name for block in env.specs[0].blocks]
    while True:
        np.testing.assert_array_equal(moment.action_mask, step.action_mask[0])
        np.testing.assert_allclose(moment.obs, step.obs[0], atol=0.02)
        assert moment.reward == pytest.approx(float(step.reward[0]), abs=1e-6)
        if moment.terminated or moment.truncated:
            break
        actions = policy.act(step)
        moment, step = episode.step(actions[0]), env.step(actions)
    assert env.results()[0].images == episode.result().images and sum(episode.result().images) > 10
    assert env.results()[0].captured == pytest.approx(episode.result().captured)


def test_twin_episodes_keep_the_files_priorities(tmp_path: Path) -> None:
    config = mission(EXAMPLES / "targets.csv", "scenario.duration_s=2850")
    env = TwinEnv(config, make_worlds(config, [0]))
    env.reset([1, 2])
    wanted = [each.priority for each in read_targets(str(EXAMPLES / "targets.csv"), 20.0)]
    assert all(env.flight(index).priority.tolist() == wanted for index in (0, 1))


def test_due_tells_the_seconds_left(tmp_path: Path) -> None:
    file = grid(tmp_path / "own.csv", 1200.0, due=True)
    env = ConstellationEnv(mission(file, "scenario.duration_s=1200"))
    step = env.reset([0])
    names = [block.name for block in env.specs[0].blocks]
    at = sum(block.columns for block in env.specs[0].blocks[: names.index("due")])
    features, targets = env.episode(0).features, env.episode(0).constellation.targets
    for row in range(6):
        due_s = [min(targets[index].due_s, 6000.0) for index in features.offered[row].tolist()]
        assert step.obs[0, row, at : at + len(due_s)] == pytest.approx(np.array(due_s) / 600.0, rel=1e-6)
    assert "due" not in composed("scenario=walker_cities").scenario.blocks


def test_uniform_targets_are_spread_evenly_over_the_earth() -> None:
    """In the sine of latitude and in longitude, as BSK-RL's: those that no satellite comes near are left out."""
    config = composed("scenario=walker_cities", SATELLITES).scenario
    config = dataclasses.replace(config, targets=TargetsConfig(uniform=UniformConfig([100, 10000])))
    assert config.targets.cities is None and most_targets(config) == 10000
    env = ConstellationEnv(config)
    env.reset([0])
    scenario = env.episode(0).constellation.scenario
    numbers = []
    for seed in range(30):
        np.random.seed(seed)
        near, scenario.near = scenario.near, lambda places: np.ones(len(places), dtype=np.bool_)
        names, places = scenario.placed()
        scenario.near = near
        numbers.append(len(names))
    assert min(numbers) < 2500 and max(numbers) > 7500 and all(100 <= number < 10000 for number in numbers)
    assert np.linalg.norm(places, axis=-1) == pytest.approx(6378136.6)
    up = places / 6378136.6
    assert np.abs(up.mean(axis=0)).max() < 4.0 / math.sqrt(len(up))  # four standard deviations of more than 1 / sqrt 3
    assert np.mean(np.abs(up[:, 2]) < 0.5) == pytest.approx(0.5, abs=0.04)


def test_other_missions_are_told_as_before() -> None:
    plain = to_dict(composed("scenario=walker_cities").scenario)["targets"]
    assert not {"uniform", "file", "file_sha256", "cell_km"} & set(plain)
    told = to_dict(mission(EXAMPLES / "targets.csv"))["targets"]
    assert told["file_sha256"] and told["cities"] is None


def feature(geometry: dict[str, Any], **properties: Any) -> str:
    each = {"type": "Feature", "geometry": geometry, "properties": {"name": "A", **properties}}
    return json.dumps({"type": "FeatureCollection", "features": [each]})


POINT = {"type": "Point", "coordinates": [20.0, 60.0]}
HEAD = "name,latitude,longitude,priority,release,due,dwell,sensor\n"


@pytest.mark.parametrize(
    "text, sentence",
    [
        (HEAD, r"whole file: 0 targets, where there must be 1 to 20000"),
        (HEAD + "A,95,10,,,,,\n", r"line 2: latitude=95 is not .* 90: are latitude and longitude=10 exchanged\?$"),
        (HEAD + "A,1,1,0,,,,\n", r"line 2: priority=0 is not allowed: it must be above 0 and at most 1"),
        (HEAD + "A,1,1,2,,,,\n", r"line 2: priority=2 is not allowed: it must be above 0"),
        (HEAD + "A,1,1,,100,50,,\n", r"line 2: due=50 is not allowed: it must be later than release=100$"),
        (HEAD + "A,1,1,,2026-03-20T13:00:00Z,50,,\n", r"due=50 is not .* later than release=2026-03-20T13:00:00Z$"),
        (HEAD + "A,1,1,,,20260320,,\n", r"line 2: due=20260320 is not allowed: a number must be seconds from the start"
                                         r", at most 1e\+07; a date or a Unix time must be written as 2026-"),
        (HEAD + "A,1,1,,,1774010000,,\n", r"line 2: due=1774010000 is not allowed: a number must be seconds from the"),
        (HEAD + "A,1,1,,1774010000,,,\n", r"line 2: release=1774010000 is not allowed: a number must be seconds from"),
        (feature(POINT, due=1774010000), r"feature 1: due=1774010000 is not allowed: a number must be seconds"),
        (HEAD + "A,1,1,,,-100,,\n", r"line 2: due=-100 is not allowed: it must be later than the start of .*, 0 s$"),
        (HEAD + "A,1,1,,-200,-100,,\n", r"line 2: due=-100 is not allowed: it must be later than the start of the epi"),
        (HEAD + "A,1,1,,,0,,\n", r"line 2: due=0 is not allowed: it must be later than the start of the episode, 0 s$"),
        (HEAD + "A,1,1,,,2026-03-20T12:00:00Z,,\n", r"due=2026-03-20T12:00:00Z is .* later than the start of the "
                                                     r"episode, scenario.epoch_utc=2026-03-20T12:00:00Z$"),
        (HEAD + "A,1,1,,100,110,60,\n", r"due=110 is not .*: it must be at least dwell=60 s later than release=100$"),
        (HEAD + "A,1,1,,,50,60,\n", r"due=50 is not .* at least dwell=60 s later than the start of the episode$"),
        (HEAD + "A,1,1,,-90,50,60,\n", r"due=50 is not .* at least dwell=60 s later than the start of the episode$"),
        (HEAD + "A,1,1,,,soon,,\n", r"line 2: due='soon' is not allowed: it must be seconds from the start, or a date"),
        (HEAD + "A,1,1,,,,-1,\n", r"line 2: dwell=-1 is not allowed: it must be from 0 to 3600 s"),
        (HEAD + "A,1,1,,,,120,\n", r"line 2: dwell=120 is not .* must be below scenario.actions.image_timeout_s=120"),
        (HEAD + "A,1,1,,,,,radar\n", r"line 2: sensor='radar' is not allowed: it must be a hardware that flies: narr"),
        (HEAD + "A,1,1,,,,,\nA,2,2,,,,,\n", r"line 3: name='A' is that of line 2 too: it must be another"),
        ("name,latitude,longitude,value\n", r"line 1: the header .* may have priority, release, due, dwell, sensor"),
        (feature(POINT, deadline="2026-03-20T13:00:00Z"),
         r"feature 1: deadline='2026-03-20T13:00:00Z' is not allowed: the property must be called due$"),
        (feature(POINT, Due_Time=100), r"feature 1: Due_Time=100 is not allowed: the property must be called due$"),
        (feature(POINT, Priority=2), r"feature 1: priority=2 is not allowed: it must be above 0 and at most 1"),
        (feature(POINT, priority=0.5, Priority=0.1), r"Priority=0.1 is not .* must be one property priority"),
        (feature(POINT, name=["x"]), r"feature 1: name=\['x'\] is not allowed: it must be of 1 to 48 printable char"),
        (feature(POINT, name=True), r"feature 1: name=True is not allowed: it must be of 1 to 48 printable characters"),
        (feature(polygon([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]), name={"a": 1}), r"name=\{'a': 1\} is not allowed: it"),
        (feature({"type": "LineString"}), r"type='LineString' is not allowed: it must be Point, Polygon or Multi"),
        (feature(POINT, priority="high"), r"feature 1: priority='high' is not allowed: it must be a number"),
        (feature(polygon([[179.0, 0.0], [-179.0, 0.0], [-179.0, 2.0], [179.0, 2.0]])),
         r"an edge over more than 180 degrees of longitude \(after \[179.0, 0.0\]\) is not allowed: a polygon across "
         r"the date line must be cut there into a MultiPolygon \(RFC 7946, 3.1.9\), and any other such edge must have"),
        (feature(polygon([[0.0, 80.0], [90.0, 80.0], [0.0, 90.0]])), r"a polygon that reaches a pole is not allowed"),
        (feature({"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1]]]}),
         r"ring .* is not allowed: it must be a list of at least four positions, the last one as the first"),
        (feature(polygon([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])), r"a polygon without an area is not allowed"),
        (feature(polygon([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]), priority=500),
         r"priority=500, .* of it for the cell 'A 1', is not allowed: it must be above 0 and at most 1"),
        (feature(polygon([[-170.0, -60.0], [-10.0, -60.0], [0.0, 60.0], [-170.0, 60.0]])),
         r"a polygon of \d+ cells is not allowed: .*cell_km=20 can be larger"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_used(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "own").write_text(text)
    with pytest.raises(FileError, match=sentence) as caught:
        mission(tmp_path / "own")
    assert "\n" not in str(caught.value)


def test_properties_are_known_in_capitals_too_and_others_are_ignored(tmp_path: Path) -> None:
    asked = {"Priority": 0.1, "RELEASE": 60, "Due": "2026-03-20T13:00:00Z", "Dwell": 5, "Sensor": "wide"}
    others = {"population": 5, "marker-color": "#fff", "deadline": None, "Latitude": 3, "DUE ": None}
    (tmp_path / "own.geojson").write_text(feature(POINT, **asked, **others))
    [target] = read_targets(str(tmp_path / "own.geojson"), 20.0)
    assert (target.priority, target.dwell_s, target.sensor, target.latitude_deg) == (0.1, 5.0, "wide", 60.0)
    assert target.span_s(datetime(2026, 3, 20, 12)) == (60.0, 3600.0)
    named = {"type": "Feature", "geometry": POINT, "properties": {"NAME": 7}}
    (tmp_path / "other.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [named]}))
    assert [each.name for each in read_targets(str(tmp_path / "other.geojson"), 20.0)] == ["7"]


def test_due_times_that_can_be_met_are_allowed(tmp_path: Path) -> None:
    """After the episode's end (2850 s), just after its start, and where the dwell just fits."""
    rows = (
        "A,1,1,,,1e7,,",
        "B,1,1,,,2026-03-21T12:00:00Z,,",
        "C,1,1,,,0.5,,",
        "D,1,1,,100,160,60,",
        "E,1,1,,-90,60,60,",
    )
    (tmp_path / "own.csv").write_text(HEAD + "\n".join(rows))
    assert mission(tmp_path / "own.csv").duration_s == 2850.0


def test_no_target_in_reach_is_told_before_anything_is_flown(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(HEAD + "pole,-89.9,0,,,,,\n")
    with pytest.raises(ConfigError, match=r"one of its 1 targets at least must be in reach of a satellite between rel"):
        ConstellationEnv(mission(tmp_path / "own.csv"))
    (tmp_path / "late.csv").write_text(HEAD + "\n".join(f"{n},0,{n},,9000,,," for n in range(-180, 180, 5)))
    with pytest.raises(ConfigError, match=r"must be in reach .* within scenario.duration_s=2850 of scenario.epoch_utc"):
        ConstellationEnv(mission(tmp_path / "late.csv"))


def test_file_and_uniform_exclude_each_other() -> None:
    with pytest.raises(
        ConfigError, match=r"targets.uniform=.* is not allowed: it must be null where there is scenario."
    ):
        TargetsConfig(uniform=UniformConfig(), file=str(EXAMPLES / "targets.csv"))
    with pytest.raises(
        ConfigError, match=r"uniform.number=\[5, 2\] is not allowed: it must be \[low, high\], whole num"
    ):
        UniformConfig([5, 2])


def test_own_targets_are_plain_values() -> None:
    """They are keys of caches."""
    assert all(isinstance(each, OwnTarget) and hash(each) for each in read_targets(str(EXAMPLES / "targets.csv"), 20.0))
