"""Access windows of many ground targets at once.

BSK-RL finds the same windows target by target with scalar root finders in Python; with hundreds of targets that
is most of a reset. Here all targets share one grid of satellite positions and one vectorised bisection, so the result
agrees with BSK-RL's to the root finders' tolerance (tests/test_windows.py) at a fraction of the cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

_GRID_S = 10.0  # coarse search; peaks between grid points are refined, so shorter windows are found too
_COARSE = 6  # grid points between those at which targets are told to be far from the track
_BISECTIONS = 34  # 10 s / 2**34 < 1 ns
_MIN_WINDOW_S = 0.1  # shorter ones are dropped, as BSK-RL does


@dataclass(frozen=True, slots=True)
class Windows:
    """Access windows of one satellite, sorted by closing time."""

    target: NDArray[np.int64]  # [W] index of the target
    open_s: NDArray[np.float64]  # [W] since the start of the episode
    close_s: NDArray[np.float64]  # [W]
    from_s: NDArray[np.float64] | None = None  # [W] before which it is not on offer; None: always, if it opens soon
    dwell_s: NDArray[np.float64] | None = None  # [W] for which the attitude must be held; None: nowhere

    def some(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> Windows:
        """Those that a mask or indices choose, in that order."""
        more = (None if each is None else each[which] for each in (self.from_s, self.dwell_s))
        return Windows(self.target[which], self.open_s[which], self.close_s[which], *more)

    def in_time(self, now_s: float, first: int) -> NDArray[np.bool_]:
        """Which windows from index ``first`` on it is neither too early nor too late for."""
        found = np.ones(len(self.target) - first, dtype=np.bool_)
        if self.from_s is not None:
            found &= self.from_s[first:] <= now_s
        if (
            self.dwell_s is not None
        ):  # what is begun now is held from the next tick on, and taken by the close's at last
            found &= now_s + self.dwell_s[first:] <= self.close_s[first:]
        return found


def sin_elevation(r_sat_P: NDArray[np.float64], r_target_P: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sine of the satellite's elevation above the local horizontal of a spherical Earth.

    Args:
        r_sat_P: [..., 3] satellite positions, planet-fixed, any unit.
        r_target_P: [..., 3] target positions, planet-fixed, same unit.
    """
    line = r_sat_P - r_target_P
    up = np.sum(r_target_P * line, axis=-1)
    norms = np.sum(line * line, axis=-1) * np.sum(r_target_P * r_target_P, axis=-1)
    return np.asarray(up / np.sqrt(norms), dtype=np.float64)


def access_windows(
    position_P: CubicSpline, r_target_P: NDArray[np.float64], min_elevation_rad: float, end_s: float
) -> Windows:
    """Windows in [0, end_s] in which each target sees the satellite above the minimum elevation.

    Args:
        position_P: planet-fixed satellite position [m] over time [s].
        r_target_P: [M, 3] planet-fixed target positions [m].
        min_elevation_rad: lowest usable elevation.
        end_s: end of the search; a window open at either end is cut there.
    """
    threshold = np.sin(min_elevation_rad)
    grid = np.linspace(0.0, end_s, int(np.ceil(end_s / _GRID_S)) + 1)
    satellite = position_P(grid)

    # Only targets that come near the satellite at all are worth an elevation: the slant range at the minimum
    # elevation bounds the distance.
    radius = float(np.linalg.norm(r_target_P, axis=-1).min()) if len(r_target_P) else 0.0
    highest = float(np.linalg.norm(satellite, axis=-1).max())
    slant = np.sqrt(highest**2 - (radius * np.cos(min_elevation_rad)) ** 2) - radius * threshold
    reach = slant + np.linalg.norm(satellite[1] - satellite[0])
    near = _ever_near(satellite, r_target_P, float(reach))
    r_target_P = r_target_P[near]
    squared = np.sum(satellite**2, -1)[:, None] + np.sum(r_target_P**2, -1)[None, :] - 2.0 * satellite @ r_target_P.T
    rows, columns = np.nonzero(squared <= reach**2)
    excess = np.full((len(grid), len(r_target_P)), -2.0)
    excess[rows, columns] = sin_elevation(satellite[rows], r_target_P[columns]) - threshold

    brackets = _peak_brackets(position_P, r_target_P, threshold, grid, excess)
    rise_rows, rise_columns = np.nonzero((excess[:-1] <= 0) & (excess[1:] > 0))
    fall_rows, fall_columns = np.nonzero((excess[:-1] > 0) & (excess[1:] <= 0))
    first = np.nonzero(excess[0] > 0)[0]  # open at the start
    last = np.nonzero(excess[-1] > 0)[0]  # still open at the end

    rises = _bisect(position_P, r_target_P[rise_columns], threshold, grid[rise_rows], grid[rise_rows + 1])
    falls = _bisect(position_P, r_target_P[fall_columns], threshold, grid[fall_rows + 1], grid[fall_rows])
    short_target, short_left, short_peak, short_right = brackets
    short_open = _bisect(position_P, r_target_P[short_target], threshold, short_left, short_peak)
    short_close = _bisect(position_P, r_target_P[short_target], threshold, short_right, short_peak)

    open_target = np.concatenate([first, rise_columns, short_target])
    open_s = np.concatenate([np.zeros(len(first)), rises, short_open])
    close_target = np.concatenate([fall_columns, last, short_target])
    close_s = np.concatenate([falls, np.full(len(last), end_s), short_close])
    # Each target's openings and closings alternate, so sorting both by (target, time) pairs them.
    by_open = np.lexsort((open_s, open_target))
    by_close = np.lexsort((close_s, close_target))
    target, open_s, close_s = open_target[by_open], open_s[by_open], close_s[by_close]
    keep = close_s - open_s > _MIN_WINDOW_S
    target, open_s, close_s = target[keep], open_s[keep], close_s[keep]
    order = np.argsort(close_s, kind="stable")
    return Windows(near[target[order]].astype(np.int64), open_s[order], close_s[order])


@dataclass(frozen=True, slots=True)
class Asks:
    """What a target asks of a satellite's image."""

    release_s: float  # from when it counts
    due_s: float  # until when
    dwell_s: float  # for which the attitude must be held
    ours: bool  # the satellite's hardware can take it


FREE = Asks(-np.inf, np.inf, 0.0, True)


def asked_for(windows: Windows, asks: Sequence[Asks], step_s: float) -> Windows:
    """Windows between each target's release and due times, where they are long enough, of those the satellite can take.

    An image must not be taken too early, and Basilisk takes it as soon as it can: a window that is cut at its beginning
    is on offer from then on only. An action ends at the first tick at or after its window, so a window that is cut at
    its end closes a tick before.

    Args:
        windows: of all targets.
        asks: [M] of each target.
        step_s: the simulation's.
    """
    table = np.array([(each.release_s, each.due_s - step_s, each.dwell_s, each.ours) for each in asks])
    release_s, latest_s, dwell_s, ours = table[windows.target].T
    open_s, close_s = np.maximum(windows.open_s, release_s), np.minimum(windows.close_s, latest_s)
    from_s = np.where(release_s > windows.open_s, release_s, -np.inf)
    long = (close_s > open_s) & (close_s - open_s > dwell_s - step_s)
    found = Windows(windows.target, open_s, close_s, from_s, dwell_s).some((ours > 0) & long)
    return found.some(np.argsort(found.close_s, kind="stable"))


def merged(open_s: NDArray[np.float64], close_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """The times in which any of some windows is open, as [P, 2] start and end."""
    order = np.argsort(open_s, kind="stable")
    open_s, latest_s = open_s[order], np.maximum.accumulate(close_s[order])
    begins = np.concatenate([[True], open_s[1:] > latest_s[:-1]])[: len(open_s)]
    ends = np.concatenate([begins[1:], [True]])[: len(open_s)]
    return np.stack([open_s[begins], latest_s[ends]], axis=-1)


def _ever_near(satellite: NDArray[np.float64], r_target_P: NDArray[np.float64], reach: float) -> NDArray[np.int64]:
    """Targets that may come within ``reach`` of a satellite, looked at on a coarser grid: most of a large mission's are
    far from any one satellite's track, and what follows is of the size of grid times targets."""
    coarse = np.concatenate([satellite[::_COARSE], satellite[-1:]])
    wider = reach + _COARSE * float(np.linalg.norm(np.diff(satellite, axis=0), axis=-1).max(initial=0.0))
    squared = np.sum(coarse**2, -1)[:, None] + np.sum(r_target_P**2, -1)[None, :] - 2.0 * coarse @ r_target_P.T
    return np.nonzero((squared <= wider**2).any(axis=0))[0]


def _peak_brackets(
    position_P: CubicSpline,
    r_target_P: NDArray[np.float64],
    threshold: float,
    grid: NDArray[np.float64],
    excess: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Peaks above the threshold between grid points that are all below it: (target, left, peak, right)."""
    middle = excess[1:-1]
    rows, columns = np.nonzero((middle <= 0) & (middle > -0.2) & (middle >= excess[:-2]) & (middle >= excess[2:]))
    left, right = grid[rows], grid[rows + 2]
    peak = _golden_peak(position_P, r_target_P[columns], left, right)
    above = sin_elevation(position_P(peak), r_target_P[columns]) > threshold
    return columns[above], left[above], peak[above], right[above]


def _golden_peak(
    position_P: CubicSpline,
    r_target_P: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Time of the highest elevation in each bracket, by golden-section search."""
    shrink = (np.sqrt(5.0) - 1.0) / 2.0
    for _ in range(30):
        a = high - shrink * (high - low)
        b = low + shrink * (high - low)
        left_higher = sin_elevation(position_P(a), r_target_P) > sin_elevation(position_P(b), r_target_P)
        high = np.where(left_higher, b, high)
        low = np.where(left_higher, low, a)
    return np.asarray((low + high) / 2)


def _bisect(
    position_P: CubicSpline,
    r_target_P: NDArray[np.float64],
    threshold: float,
    below: NDArray[np.float64],
    above: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Crossing times, given times with the elevation below and above the threshold."""
    for _ in range(_BISECTIONS):
        middle = (below + above) / 2
        inside = sin_elevation(position_P(middle), r_target_P) > threshold
        above = np.where(inside, middle, above)
        below = np.where(inside, below, middle)
    return np.asarray((below + above) / 2)
