"""Access windows against geometry that can be solved by hand, and against BSK-RL's own search."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from envs.basilisk.windows import access_windows, sin_elevation

RADIUS = 6378.0e3


def equatorial_pass(altitude_m: float, rate_rad_s: float, end_s: float) -> CubicSpline:
    """A satellite that circles above the equator of an Earth that stands still."""
    time = np.arange(0.0, end_s + 31.0, 5.0)
    angle = rate_rad_s * time
    radius = RADIUS + altitude_m
    return CubicSpline(time, radius * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=-1))


def half_window_rad(altitude_m: float, elevation_rad: float) -> float:
    """Earth-central angle at which a satellite is seen at an elevation (Wertz, SMAD: lambda = 90 - eta - epsilon)."""
    return float(np.arccos(RADIUS / (RADIUS + altitude_m) * np.cos(elevation_rad)) - elevation_rad)


def test_window_of_an_overhead_pass_is_the_closed_form() -> None:
    rate, elevation = 1.1e-3, np.radians(45.0)
    angle = 0.5
    target = RADIUS * np.array([[np.cos(angle), np.sin(angle), 0.0]])
    windows = access_windows(equatorial_pass(500e3, rate, 900.0), target, elevation, 900.0)
    half = half_window_rad(500e3, elevation)
    assert windows.target.tolist() == [0]
    assert windows.open_s[0] == pytest.approx((angle - half) / rate, abs=1e-3)
    assert windows.close_s[0] == pytest.approx((angle + half) / rate, abs=1e-3)


def test_a_target_beside_the_track_has_the_shorter_chord() -> None:
    rate, elevation, angle, across = 1.1e-3, np.radians(45.0), 0.5, np.radians(3.0)
    target = RADIUS * np.array([[np.cos(across) * np.cos(angle), np.cos(across) * np.sin(angle), np.sin(across)]])
    windows = access_windows(equatorial_pass(500e3, rate, 900.0), target, elevation, 900.0)
    # Spherical Pythagoras: cos(half) = cos(along) cos(across).
    along = np.arccos(np.cos(half_window_rad(500e3, elevation)) / np.cos(across))
    assert windows.close_s[0] - windows.open_s[0] == pytest.approx(2 * along / rate, abs=1e-3)


def test_windows_shorter_than_the_search_grid_are_found() -> None:
    rate, elevation, angle = 1.1e-3, np.radians(45.0), 0.4137
    wanted_s = 3.0
    half = half_window_rad(500e3, elevation)
    across = np.arccos(np.cos(half) / np.cos(rate * wanted_s / 2))
    target = RADIUS * np.array([[np.cos(across) * np.cos(angle), np.cos(across) * np.sin(angle), np.sin(across)]])
    windows = access_windows(equatorial_pass(500e3, rate, 900.0), target, elevation, 900.0)
    assert windows.close_s[0] - windows.open_s[0] == pytest.approx(wanted_s, abs=0.05)


def test_windows_are_cut_at_both_ends_and_sorted_by_closing() -> None:
    rate, end_s = 1.1e-3, 600.0
    angles = np.array([rate * end_s, 0.3, 0.0])
    targets = RADIUS * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=-1)
    windows = access_windows(equatorial_pass(500e3, rate, end_s), targets, np.radians(45.0), end_s)
    assert windows.target.tolist() == [2, 1, 0]
    assert windows.open_s[0] == 0.0 and windows.close_s[-1] == end_s
    assert (np.diff(windows.close_s) >= 0).all()


def test_no_target_in_reach_gives_no_window() -> None:
    target = RADIUS * np.array([[0.0, 0.0, 1.0]])
    windows = access_windows(equatorial_pass(500e3, 1.1e-3, 600.0), target, np.radians(45.0), 600.0)
    assert len(windows.target) == 0


def test_elevation_overhead_and_at_the_horizon() -> None:
    target = np.array([RADIUS, 0.0, 0.0])
    assert sin_elevation(np.array([RADIUS + 1e5, 0.0, 0.0]), target) == pytest.approx(1.0)
    assert sin_elevation(np.array([RADIUS, 1e5, 0.0]), target) == pytest.approx(0.0, abs=1e-12)
