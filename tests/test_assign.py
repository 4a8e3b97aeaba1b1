"""A bundle's networks on satellites that it was not made for: who takes which, and who is refused."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from envs.basilisk.features import agent_specs
from envs.sensing import sense
from onboard.bundle import BundleError, SatelliteBundle, read_bundle
from onboard.spec import AgentSpec
from scenarios.compose import composed
from scenarios.mission import ScenarioConfig
from scenarios.onboard_sim import Rule
from tests.large_mission import make
from tests.test_onboard_sim import BUNDLE, command
from training.missions.assign import assigned, networks_for
from training.missions.flight import onboard_spec
from training.missions.simulate import Heuristic

READ = read_bundle(BUNDLE)


def specs_of(scenario: ScenarioConfig) -> list[AgentSpec]:
    sensed = zip(agent_specs(scenario), scenario.visible, strict=True)
    return [onboard_spec(sense(spec, blocks)) for spec, blocks in sensed]


def taken(satellites: Sequence[SatelliteBundle], specs: Sequence[AgentSpec]) -> list[str]:
    return [each.spec.name for each in networks_for(satellites, specs, "b")]


def renamed(index: int, name: str, hardware: str = "") -> SatelliteBundle:
    one = READ.satellites[index]
    return dataclasses.replace(one, spec=dataclasses.replace(one.spec, name=name, hardware=hardware or "wide"))


def test_a_mission_takes_its_own_bundle_as_it_is() -> None:
    specs = specs_of(composed("scenario=imaging_constellation").scenario)
    flown = assigned(READ, specs, "b")
    assert [each.spec for each in flown.satellites] == [each.spec for each in READ.satellites] == specs
    assert all(one.network is other.network for one, other in zip(flown.satellites, READ.satellites, strict=True))


def test_further_satellites_of_a_class_take_its_networks_in_turn() -> None:
    specs = specs_of(composed("scenario=imaging_constellation", "scenario.constellation.per_plane=10").scenario)
    names = ["sat_0_slow", "sat_1_narrow", "sat_2_wide", "sat_3_wide"]
    assert taken(READ.satellites, specs) == [names[n % 4] for n in range(10)]
    two = [renamed(0, "first"), renamed(0, "second")]
    assert taken(two, [specs[0]] * 5) == ["first", "second", "first", "second", "first"]
    flown = assigned(READ, specs, "b")
    assert [each.spec.name for each in flown.satellites] == [spec.name for spec in specs]


def test_of_networks_that_fit_those_of_the_same_hardware_are_taken() -> None:
    spec = specs_of(composed("scenario=imaging_constellation").scenario)[0]
    satellites = [renamed(0, "a", "wide"), renamed(0, "b", "slow"), renamed(0, "c", "narrow"), renamed(0, "d", "slow")]
    asked = [dataclasses.replace(spec, hardware=hardware) for hardware in ("slow", "wide", "slow", "slow", "narrow")]
    assert taken(satellites, asked) == ["b", "a", "d", "b", "c"]
    unknown = dataclasses.replace(spec, hardware="another")  # nobody has it: all that fit, in turn
    assert taken(satellites, [unknown] * 5) == ["a", "b", "c", "d", "a"]


def test_what_observations_cost_is_the_satellites_own() -> None:
    """The block foretold costs twice as much in a simulation of half the step."""
    specs = specs_of(composed("scenario=imaging_constellation", "scenario.sim_step_s=0.5").scenario)
    flown = assigned(READ, specs, "b")
    for one, other in zip(flown.satellites, READ.satellites, strict=True):
        assert one.spec.sensing_macs == 2 * other.spec.sensing_macs


def test_all_that_find_none_are_named_in_one_sentence() -> None:
    specs = specs_of(composed("scenario=walker_cities").scenario)
    with pytest.raises(BundleError) as refused:
        networks_for(READ.satellites, specs, "b")
    said = str(refused.value)
    assert "\n" not in said and all(spec.name in said for spec in specs)
    assert (
        "sat_2_narrow, sat_6_narrow (the nearest, sat_1_narrow, reads intent, window, which they do not sense)" in said
    )


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["scenario.actions.image_slots=8"], "has block 'urgent' has slots 12 where 8 is expected"),
        (["scenario.actions.desaturation_duration_s=60"], "acts by charge, and they by charge, desat"),
        (["scenario.sensing.full=[battery,urgent]"], "which they do not sense"),
    ],
)
def test_the_reason_is_told(overrides: list[str], why: str) -> None:
    specs = specs_of(composed("scenario=imaging_constellation", *overrides).scenario)
    with pytest.raises(BundleError, match=re.escape(why)):
        networks_for(READ.satellites, specs, "b")


def test_rules_are_the_heuristics() -> None:
    assert [rule.value for rule in Rule] == [which.value for which in Heuristic]


# --- the command ------------------------------------------------------------------------------------------------------

FILES = {"schedule.csv", "schedule.json", "targets.geojson", "flight.czml", "flight.npz", "flight.bin"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Missions of 24 satellites from files."""
    folder = tmp_path_factory.mktemp("large")
    make(folder / "students", "imaging_constellation", stations=False)
    make(folder / "rules", "walker_cities", stations=True)
    return folder


def test_students_trained_elsewhere_fly_24_satellites_of_a_file(folder: Path, tmp_path: Path) -> None:
    given = [f"bundle={BUNDLE}", "scenario=large", "scenario.duration_s=300", "compute.workers=1"]
    done = command(tmp_path, "--config-dir", str(folder / "students"), *given)
    assert done.returncode == 0, done.stderr
    assert "sat_0_slow flies BIRD_00, BIRD_04, BIRD_08, " in " ".join(done.stdout.split())
    (out,) = (tmp_path / "outputs").iterdir()
    assert {path.name for path in out.iterdir()} > FILES
    record = json.loads((out / "onboard_sim.json").read_text())
    assert record["networks"]["BIRD_23"] == "sat_3_wide" and len(record["networks"]) == 24
    rows = list(csv.DictReader((out / "schedule.csv").read_text().splitlines()))
    assert {row["satellite"]: row["catalogue_number"] for row in rows} == {
        f"BIRD_{n:02}": str(280001 + n) for n in range(24)
    }
    assert len(rows) == len(json.loads((out / "schedule.json").read_text())["tasks"])
    assert record["flights"]["nominal"]["events"]["decision"] == len(rows)


def test_a_rule_flies_them_with_stations(folder: Path, tmp_path: Path) -> None:
    given = ["policy=greedy_battery", "scenario=large", "scenario.duration_s=300", "output.schedules=all", "episodes=2"]
    done = command(tmp_path, "--config-dir", str(folder / "rules"), *given, "compute.workers=1")
    assert done.returncode == 0, done.stderr
    (out,) = (tmp_path / "outputs").iterdir()
    assert {path.name for path in out.iterdir()} == FILES | {"schedule-1.csv", "schedule-1.json", "flight.json"}
    features = json.loads((out / "targets.geojson").read_text())["features"]
    assert len(features) == 500 and features[0]["properties"]["name"] == "Reykjavik"
    record = json.loads((out / "flight.json").read_text())
    for episode, name in enumerate(("schedule.json", "schedule-1.json")):
        tasks = json.loads((out / name).read_text())["tasks"]
        assert len(tasks) == sum(record["episodes"][episode]["decisions"])
        captured = sum(row["priority"] for row in tasks if row["outcome"] == "captured")
        assert captured == pytest.approx(record["episodes"][episode]["captured"])


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([], "bundle and policy: neither is given: it must be one of them, bundle=FOLDER or policy=NAME"),
        (["policy=random", "bundle=b"], "bundle and policy: both are given"),
        (["policy=random", "faults.flip=0.1"], "faults.flip=0.1 is not allowed: it must be 0 with policy"),
        (["policy=planner", "scenario.reward.rule=mine:rule"], "policy=planner is not allowed: scenario=imaging_"),
        (["policy=greedy"], "policy='greedy' is not allowed: it must be one of random, greedy_battery, "),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, overrides: list[str], said: str) -> None:
    done = command(tmp_path, *overrides)
    assert done.returncode != 0 and said in done.stderr and done.stderr.count("\n") == 1
    assert list(tmp_path.rglob("*")) in ([], [tmp_path / "outputs"])
