"""Windows of satellites and targets from files against skyfield's own: SGP4, WGS84, the true Earth."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq
from skyfield.api import EarthSatellite, load, wgs84
from skyfield.framelib import itrs

from envs.basilisk.elements import earth_turn, flown_states, iau_earth
from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.windows import Windows, access_windows
from scenarios.compose import composed
from scenarios.files.elements import read_elements
from scenarios.files.geography import ecef_m
from tests.test_config import ROOT

EPOCH = datetime(2026, 3, 20, 12)
FILE = ROOT / "examples" / "satellites.3le"
SPAN_S = 5700.0
CHOSEN = (0, 3, 5)  # sun-synchronous, retrograde, eccentric
Crossings = dict[tuple[int, int], list[tuple[float, float]]]  # satellite, target -> opening and closing [s]


@pytest.fixture(scope="module")
def places() -> list[tuple[float, float]]:
    """Three places near each chosen satellite's track, some of them far to its side: latitude and longitude."""
    sets = read_elements(str(FILE))
    found = []
    for row in CHOSEN:
        satellite, scale = _theirs(row), load.timescale(builtin=True)
        for minutes, off_deg in ((15, 1.0), (40, -2.0), (70, 2.5)):
            below = wgs84.subpoint(
                satellite.at(scale.from_datetime((EPOCH + timedelta(minutes=minutes)).replace(tzinfo=UTC)))
            )
            longitude = (below.longitude.degrees + off_deg + 180.0) % 360.0 - 180.0
            found.append((round(below.latitude.degrees, 3), round(longitude, 3)))
    assert len(sets) == 6
    return found


def _theirs(row: int) -> EarthSatellite:
    lines = FILE.read_text().splitlines()
    return EarthSatellite(*lines[3 * row + 1 : 3 * row + 3], lines[3 * row], load.timescale(builtin=True))


def skyfields(places: list[tuple[float, float]], elevation_deg: float) -> Crossings:
    """By skyfield's own search for risings and settings."""
    scale = load.timescale(builtin=True)
    begin = scale.from_datetime(EPOCH.replace(tzinfo=UTC))
    end = scale.from_datetime((EPOCH + timedelta(seconds=SPAN_S)).replace(tzinfo=UTC))
    found: Crossings = {}
    for row in CHOSEN:
        for index, (latitude, longitude) in enumerate(places):
            times, events = _theirs(row).find_events(wgs84.latlon(latitude, longitude), begin, end, elevation_deg)
            seconds = [(each - begin) * 86400.0 for each in times]
            rises = [s for s, event in zip(seconds, events, strict=True) if event == 0]
            sets = [s for s, event in zip(seconds, events, strict=True) if event == 2]
            if len(rises) == len(sets) > 0:
                found[row, index] = list(zip(rises, sets, strict=True))
    return found


def on_spheres(places: list[tuple[float, float]], elevation_deg: float) -> Crossings:
    """By skyfield's positions and a root finder, above the horizon square to a place's radius, as Basilisk's."""
    scale = load.timescale(builtin=True)
    begin = scale.from_datetime(EPOCH.replace(tzinfo=UTC))
    found: Crossings = {}
    for row in CHOSEN:
        satellite = _theirs(row)
        for index, place in enumerate(places):
            ground = wgs84.latlon(*place).itrs_xyz.m

            def above(
                seconds: float, satellite: EarthSatellite = satellite, ground: NDArray[np.float64] = ground
            ) -> float:
                line = satellite.at(begin + seconds / 86400.0).frame_xyz(itrs).m - ground
                sine = line @ ground / np.linalg.norm(line) / np.linalg.norm(ground)
                return float(np.degrees(np.arcsin(sine))) - elevation_deg

            grid = np.arange(0.0, SPAN_S + 1.0, 20.0)
            signs = np.sign([above(each) for each in grid.tolist()])
            edges = [float(brentq(above, grid[k], grid[k + 1], xtol=1e-6)) for k in np.nonzero(np.diff(signs))[0]]
            if edges and signs[0] < 0 and len(edges) % 2 == 0:
                found[row, index] = list(zip(edges[::2], edges[1::2], strict=True))
    return found


def told(windows: Windows) -> dict[int, list[tuple[float, float]]]:
    found: dict[int, list[tuple[float, float]]] = {}
    for target, open_s, close_s in sorted(zip(windows.target, windows.open_s, windows.close_s, strict=True)):
        if open_s > 1.0 and close_s < SPAN_S - 1.0:
            found.setdefault(int(target), []).append((float(open_s), float(close_s)))
    return found


def apart_s(ours: Crossings, theirs: Crossings) -> list[float]:
    assert set(theirs) <= set(ours) and len(theirs) >= 6
    pairs = [pair for key in theirs for pair in zip(ours[key], theirs[key], strict=True)]
    return [abs(a - b) for our, their in pairs for a, b in zip(our, their, strict=True)]


def test_windows_of_sgp4_states_are_skyfields(places: list[tuple[float, float]]) -> None:
    """Above the same horizon. That of WGS84 is tilted by up to 0.19 deg: a second or so at 45 deg."""
    time_s = np.arange(0.0, SPAN_S + 60.0, 30.0)
    et_s = (load.timescale(builtin=True).from_datetime(EPOCH.replace(tzinfo=UTC)).tdb - 2451545.0) * 86400.0
    r_P = ecef_m(*np.array(places).T)
    ours: Crossings = {}
    for row in CHOSEN:
        [r_N], _ = flown_states((read_elements(str(FILE))[row],), EPOCH, time_s)
        track_P = np.array([iau_earth(et_s + t) @ r for t, r in zip(time_s.tolist(), r_N, strict=True)])
        windows = access_windows(CubicSpline(time_s, track_P), r_P, np.radians(45.0), SPAN_S)
        ours |= {(row, target): spans for target, spans in told(windows).items()}
    alike, tilted = apart_s(ours, on_spheres(places, 45.0)), apart_s(ours, skyfields(places, 45.0))
    print(f"SGP4 states: windows differ from skyfield's by at most {max(alike):.4f} s, of WGS84 {max(tilted):.2f} s")
    assert max(alike) < 0.05
    assert max(tilted) < 1.5


def test_basilisks_dynamics_move_windows_by_little_in_an_orbit(
    tmp_path: Path, places: list[tuple[float, float]]
) -> None:
    rows = "\n".join(f"p{n},{latitude},{longitude}" for n, (latitude, longitude) in enumerate(places))
    (tmp_path / "own.csv").write_text(f"name,latitude,longitude\n{rows}\n")
    config = composed(
        *("scenario=walker_cities", f"scenario.constellation.file='{FILE}'", f"scenario.duration_s={SPAN_S:g}"),
        *(f"scenario.targets.file='{tmp_path / 'own.csv'}'",),
        "scenario.constellation.classes=[{hardware:wide,sensing:timing}]",  # images from 45 deg on
    ).scenario
    env = ConstellationEnv(config)
    env.reset([0])
    satellites = env.episode(0).constellation.satellites
    ours = {(row, target): spans for row in CHOSEN for target, spans in told(satellites[row].windows).items()}
    apart = apart_s(ours, on_spheres(places, 45.0))
    print(f"Basilisk's dynamics: windows differ by {np.mean(apart):.2f} s, at most {max(apart):.2f} s")
    assert max(apart) < 0.5


def test_without_the_earths_turn_tracks_would_be_kilometres_off() -> None:
    turned = earth_turn(EPOCH) @ np.array([6378.137, 0.0, 0.0])
    assert 9.0 < np.linalg.norm(turned - [6378.137, 0.0, 0.0]) < 10.0
