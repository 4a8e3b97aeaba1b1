"""Films for Vizard, read back by the wire format of its protocol (vizMessage.proto of AVSLab/basilisk)."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator

import numpy as np
import pytest

from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.heuristics import GreedyPolicy
from scenarios.compose import composed
from training.missions.rollout import collect

Fields = dict[int, list[bytes | int | float]]
TIME, SPACECRAFT, LOCATIONS = 1, 3, 9  # fields of VizMessage


def varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def fields(content: bytes) -> Fields:
    """A protobuf message: field number -> its values."""
    at, found = 0, dict[int, list[bytes | int | float]]()
    while at < len(content):
        key, at = varint(content, at)
        value: bytes | int | float
        if key & 7 == 0:
            value, at = varint(content, at)
        elif key & 7 == 1:
            [value], at = struct.unpack_from("<d", content, at), at + 8
        else:
            assert key & 7 == 2
            size, at = varint(content, at)
            value, at = content[at : at + size], at + size
        found.setdefault(key >> 3, []).append(value)
    return found


def frames(film: bytes) -> Iterator[Fields]:
    at = 0
    while at < len(film):
        size, at = varint(film, at)
        assert at + size <= len(film)
        yield fields(film[at : at + size])
        at += size


def time_s(frame: Fields) -> float:
    return fields(frame[TIME][0])[2][0] / 1e9


@pytest.fixture(scope="module", params=["imaging_constellation", "tip_and_cue"])
def flown(request: pytest.FixtureRequest) -> tuple[ConstellationEnv, list[Fields]]:
    env = ConstellationEnv(composed(f"scenario={request.param}", "scenario.duration_s=400").scenario, traced=1)
    collect(env, GreedyPolicy(env.specs), [3, 4])
    [film] = env.films()
    return env, list(frames(film))


def test_every_satellite_moves_through_every_frame(flown: tuple[ConstellationEnv, list[Fields]]) -> None:
    env, film = flown
    names = [spec.name for spec in env.specs]
    times = np.array([time_s(frame) for frame in film])
    assert (np.diff(times) > 0).all()
    assert {*np.arange(10.0, 401.0, 10.0)} <= {*np.round(times, 6)}
    positions = []
    for frame in film:
        satellites = [fields(each) for each in frame[SPACECRAFT]]
        assert [each[1][0].decode() for each in satellites] == names
        positions.append([struct.unpack("<3d", each[2][0]) for each in satellites])
    speed = np.linalg.norm(np.diff(positions, axis=0), axis=-1) / np.diff(times)[:, None]
    # Of a circular orbit: sqrt(mu / r); a frame at a capture stands for the tick before its time.
    apart = np.diff(times) > 5.0
    assert speed[apart] == pytest.approx(np.sqrt(3.986004415e14 / (6378136.6 + 500e3)), rel=0.01)
    final = [s.dynamics.r_BN_N for s in env.episode(0).constellation.satellites]
    assert np.array(positions[-1]) == pytest.approx(np.array(final), abs=1e-3)


def test_targets_are_drawn_and_coloured_anew_once_imaged(flown: tuple[ConstellationEnv, list[Fields]]) -> None:
    env, film = flown
    constellation = env.episode(0).constellation
    drawn = [[fields(mark)[1][0].decode() for mark in frame.get(LOCATIONS, [])] for frame in film]
    stations = getattr(constellation.simulator.world, "groundStations", [])
    assert len(drawn[0]) == len({*drawn[0]}) == len(constellation.targets) + len(stations)
    again = {name for names in drawn[1:] for name in names}
    imaged = {id(target) for target in constellation.rewarder.data.imaged}
    expected = {f"{i} {target.name}" for i, target in enumerate(constellation.targets) if id(target) in imaged}
    assert again == expected
    assert len(expected) > 3


def test_filming_changes_nothing_that_is_flown() -> None:
    config = dataclasses.replace(composed("scenario=tip_and_cue").scenario, duration_s=400.0)
    flights = []
    for traced in (0, 1):
        env = ConstellationEnv(config, traced=traced)
        rollout = collect(env, GreedyPolicy(env.specs), [5, 6])
        assert len(env.films()) == len(env.traces()) == traced
        flights.append((rollout, env.results()))
    (one, results), (other, same) = flights
    assert results == same
    for name in one.__slots__:
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
