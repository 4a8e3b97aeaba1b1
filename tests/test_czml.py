"""CZML of a real flight: read back with nothing of ours, and held against the simulation."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from czml3 import Packet
from scipy.interpolate import BarycentricInterpolator

from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.heuristics import GreedyPolicy
from envs.basilisk.trace import ACTIVITIES, Trace
from kdmarl_sat.missions.report.czml import czml, spaced
from scenarios.compose import composed

SCENARIO = dataclasses.replace(composed("scenario=imaging_constellation").scenario, duration_s=600.0)


@pytest.fixture(scope="module")
def flown() -> tuple[ConstellationEnv, Trace, list[dict[str, Any]]]:
    env = ConstellationEnv(SCENARIO, traced=1)
    policy = GreedyPolicy(env.specs)
    step = env.reset([3])
    while not (step.terminated | step.truncated).all():
        step = env.step(policy.act(step))
    [trace] = env.traces()
    names = [spec.name for spec in env.specs]
    text = czml(trace, names, SCENARIO.epoch_utc, "a flight")
    return env, trace, json.loads(text)


def of_kind(packets: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [packet for packet in packets if packet["id"].startswith(kind)]


def test_the_document_comes_first_and_ids_are_unique(flown: Any) -> None:
    _, trace, packets = flown
    assert packets[0]["id"] == "document" and packets[0]["version"] == "1.0"
    assert packets[0]["clock"]["interval"] == "2026-03-20T12:00:00.000Z/2026-03-20T12:10:00.000Z"
    assert len({packet["id"] for packet in packets}) == len(packets)
    assert len(of_kind(packets, "satellite-")) == 4
    assert len(of_kind(packets, "target-")) == len(trace.target_priority)


def test_satellites_are_where_basilisk_had_them(flown: Any) -> None:
    env, _, packets = flown
    for packet, satellite in zip(of_kind(packets, "satellite-"), env.episode(0).constellation.satellites, strict=True):
        assert packet["position"]["referenceFrame"] == "FIXED"
        samples = np.array(packet["position"]["cartesian"]).reshape(-1, 4)
        assert (np.diff(samples[:, 0]) > 0).all() and samples[-1, 0] == 600.0
        away_m = np.linalg.norm(samples[:, 1:] - satellite.position_P(samples[:, 0]), axis=-1)
        assert away_m.max() < 5.0  # of the trajectory that was computed ahead


def test_between_decisions_a_satellite_is_where_it_flew() -> None:
    """It decides every quarter of an hour only. Interpolated as Cesium does, at instants that are no samples."""
    scenario = composed(
        "scenario=imaging_constellation",
        "scenario.duration_s=5700",
        "scenario.constellation.per_plane=1",
        "scenario.constellation.inclination_deg=97.8",
        "scenario.constellation.classes=[{hardware: wide, sensing: full}]",
        "scenario.actions.charge_duration_s=900",
    ).scenario
    env = ConstellationEnv(scenario, traced=1)
    step, decisions = env.reset([0]), 0
    while not step.truncated.all():
        step, decisions = env.step(np.zeros((1, 1), np.int64)), decisions + 1
    [trace] = env.traces()
    assert decisions == 7
    assert np.diff(trace.time_s).max() <= 60.0
    assert np.abs(trace.latitude_deg).max() == pytest.approx(82.2, abs=0.2)  # 180 - 97.8
    [packet] = of_kind(json.loads(czml(trace, ["one"], scenario.epoch_utc, "a flight")), "satellite-")
    samples = np.array(packet["position"]["cartesian"]).reshape(-1, 4)
    flown = env.episode(0).constellation.satellites[0].position_P
    asked_s = np.arange(1.0, 5700.0, 17.0)
    for time_s in asked_s:
        near = np.clip(np.searchsorted(samples[:, 0], time_s) - 3, 0, len(samples) - 6)
        nodes = samples[near : near + 6]
        found = np.array(BarycentricInterpolator(nodes[:, 0], nodes[:, 1:])(time_s))
        assert np.linalg.norm(found - flown(time_s)) < 20.0


def test_positions_stand_apart_and_keep_both_ends() -> None:
    assert spaced(np.array([0.0, 1.0, 15.0, 16.0, 40.0, 41.0]), 15.0).tolist() == [0, 2, 5]
    assert spaced(np.array([0.0, 3.0]), 15.0).tolist() == [0, 1]
    assert spaced(np.array([0.0]), 15.0).tolist() == [0]


def test_an_image_is_a_line_until_it_is_taken_and_then_a_colour(flown: Any) -> None:
    _, trace, packets = flown
    by_id = {packet["id"]: packet for packet in packets}
    lines = of_kind(packets, "image-")
    assert len(lines) == int(np.sum(trace.target_imaged_by >= 0)) > 5
    for line in lines:
        m = int(line["id"].removeprefix("image-"))
        satellite, target = line["polyline"]["positions"]["references"]
        assert satellite == f"satellite-{trace.target_imaged_by[m]}#position" and target == f"target-{m}#position"
        start, end = (datetime.fromisoformat(part) for part in line["availability"].split("/"))
        begin = datetime.fromisoformat("2026-03-20T12:00:00+00:00")
        assert (end - begin).total_seconds() == pytest.approx(trace.target_imaged_s[m], abs=1e-3)
        assert 0 < (end - start).total_seconds() <= 15.0
        before, after = by_id[f"target-{m}"]["point"]["color"]
        assert before["interval"].split("/")[1] == after["interval"].split("/")[0] == line["availability"].split("/")[1]
        assert after["rgba"] == by_id[satellite.partition("#")[0]]["point"]["color"]["rgba"]


def test_an_image_on_board_is_paler_until_it_is_delivered(flown: Any) -> None:
    env, trace, _ = flown
    m = int(np.nanargmin(trace.target_imaged_s))
    late = np.full_like(trace.target_imaged_s, np.nan)
    late[m] = 500.0
    downlinked = dataclasses.replace(trace, target_sent_s=late)
    packets = json.loads(czml(downlinked, [spec.name for spec in env.specs], SCENARIO.epoch_utc, "a flight"))
    by_id = {packet["id"]: packet for packet in packets}
    _, on_board, delivered = by_id[f"target-{m}"]["point"]["color"]
    assert on_board["interval"].split("/")[1] == delivered["interval"].split("/")[0] == "2026-03-20T12:08:20.000Z"
    assert on_board["rgba"][:3] == delivered["rgba"][:3] and on_board["rgba"][3] < delivered["rgba"][3] == 255
    other = next(n for n in np.flatnonzero(trace.target_imaged_by >= 0) if n != m)
    assert by_id[f"target-{other}"]["point"]["color"][-1]["rgba"][3] < 255  # never delivered


def test_what_a_satellite_does_covers_the_flight(flown: Any) -> None:
    _, trace, packets = flown
    for n, packet in enumerate(of_kind(packets, "satellite-")):
        spans = packet["properties"]["action"]
        assert spans[0]["interval"].startswith("2026-03-20T12:00:00.000Z/")
        assert spans[-1]["interval"].endswith("/2026-03-20T12:10:00.000Z")
        for one, following in pairwise(spans):
            assert one["interval"].split("/")[1] == following["interval"].split("/")[0]
            assert one["string"] != following["string"]
        assert {span["string"] for span in spans} <= {"charging", "imaging"}
        battery = np.array(packet["properties"]["battery"]["number"]).reshape(-1, 2)
        assert battery[-1, 1] == pytest.approx(trace.battery[-1, n], abs=1e-4)


def test_every_activity_has_its_name(flown: Any) -> None:
    _, trace, _ = flown
    action = np.zeros_like(trace.action)
    action[:, 0] = np.minimum(np.arange(len(trace.time_s)), 4)  # a sample of each, and the rest
    action[action == 4] = -1
    names = [f"satellite {n}" for n in range(action.shape[1])]
    packets = json.loads(czml(dataclasses.replace(trace, action=action), names, SCENARIO.epoch_utc, "a flight"))
    [first, second, *_] = of_kind(packets, "satellite-")
    assert [span["string"] for span in first["properties"]["action"]] == [*ACTIVITIES, "lost"]
    assert [span["string"] for span in second["properties"]["action"]] == ["charging"]


def test_every_packet_is_czml(flown: Any) -> None:
    """czml3's models of the format, which allow no other fields, read each packet and write the same."""
    for packet in flown[2]:
        assert json.loads(Packet.model_validate(packet).model_dump_json(exclude_none=True)) == packet
