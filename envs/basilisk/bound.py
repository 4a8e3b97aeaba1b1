"""An upper bound on the priority that a constellation can capture in one episode, whatever it decides.

**Relaxation.** A flight is reduced to the captures that earned. For each target that earned, keep one of its captures:
the satellite and the tick at which its shutter fired. This loses no priority, since a target earns at most once. Of the
kept captures the bound uses only the following facts. A flight that breaks no law of the simulation obeys all of them:

1. A satellite captures a target only at a tick that is listed for it (``Prospect.target``, ``Prospect.tick``).
2. Two captures of one satellite are at least ``Prospect.least_ticks`` apart.
3. Two captures of one satellite into directions that differ by an angle are at least as far apart as
   ``Prospect.turns`` says, where the caller gives such a table. The table must hold for any two captures of one
   satellite, consecutive or not.
4. Each ``Quota`` limits the captures of one satellite in an interval.
5. Each target counts once.

Everything else is dropped: attitude, wheels, control law, energy spent, what satellites know of each other.

**Proof.** Let w_j be the priority of target j. Let p_j >= 0 be any price for target j, and q_k >= 0 any price for
quota k, which allows n_k captures. Take any flight. Its kept captures have the worth

    sum w_j  =  sum (w_j - p_j - charges)  +  sum p_j  +  sum charges,

where each sum runs over the kept captures, and a capture is charged q_k for each quota k in whose interval it lies. By
fact 5 the second sum is at most the sum of p_j over all targets. By fact 4 the third is at most the sum of q_k n_k. The
kept captures of one satellite are a sequence that obeys facts 1 to 3, so the first sum is at most the sum over
satellites of the best such sequence. A dynamic programme over (target, tick) finds a sequence at least as good: it
lets a satellite capture the same target again, and it compares a capture with the best earlier capture of each target
up to the latest tick that facts 2 and 3 allow. Hence for any prices

    captured  <=  sum over satellites of (best sequence at prizes w_j - p_j - charges)  +  sum p_j  +  sum q_k n_k.

The subgradient method looks for prices that make the right side small. Each iteration gives a valid bound, so the
smallest one is returned, at any time. The prices p = w, q = 0 give the sum of what can be reached, so the bound never
exceeds that.

**What is proven.** ``prospects`` derives facts 1, 2 and 4 from the simulation's rules, so a bound with ``turns=None``
is proven for the simulation as ``prospects`` describes it. A bound with a table of turns is proven only if the table
is. No table is proven for BSK-RL's controller. It reports no rate error in the first tick after a retask, so a
satellite can capture a target while it sweeps past at a high rate, and a torque limit says little about the time until
then.

**What it is worth.** ``kdmarl-sat measure twin`` records it: in the shipped missions the proven bound is hardly
lower than the priority within reach. The rest is lost by what this relaxation drops (wheel momentum, rates, battery) or
by the planner, which is no optimum. This bound cannot tell which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.basilisk.twin.layout import CAPTURES
from envs.basilisk.twin.library import library

_PATIENCE = 15  # iterations without a better bound, after which the step shrinks
_SHRINK = 0.7
_LEAST_STEP = 1e-4  # below, iterating is pointless
_MEMORY = 0.7  # of the averaged slopes: neighbouring iterations choose different sequences of equal worth
_GUESS = 0.95  # where the optimum is thought to be, relative to the best bound so far
_LEAST_GAP = 0.002  # relative; the step's length does not vanish before
_GAIN = 1e-6  # a better bound is better by so much


@dataclass(frozen=True, slots=True)
class Quota:
    """At most ``most`` captures of one satellite at ticks ``first`` to ``last``, both included."""

    first: int
    last: int
    most: int


@dataclass(frozen=True, slots=True)
class Turns:
    """The shortest time between two captures of one satellite, as a step function of the angle between them."""

    angle_rad: NDArray[np.float64]  # [K] rising from 0
    ticks: NDArray[np.int32]  # [K] for directions that differ by at least so much; does not fall


@dataclass(frozen=True, slots=True)
class Prospect:
    """Where and when one satellite can capture: N pairs of target and tick, sorted by tick."""

    target: NDArray[np.int64]  # [N] index among the mission's targets
    tick: NDArray[np.int32]  # [N] at which the shutter fires, since the start of the episode
    direction: NDArray[np.float64]  # [N, 3] unit vector from the satellite to the target, inertial
    least_ticks: int = 2
    quotas: tuple[Quota, ...] = ()
    turns: Turns | None = None


@dataclass(frozen=True, slots=True)
class Bound:
    """The result. ``value`` is an upper bound on the captured priority, and never above ``reachable``."""

    value: float
    reachable: float  # priority of all targets that some satellite has a prospect of
    iterations: int


@dataclass
class _Path:
    """One satellite's dynamic programme, its tables in C's memory layout."""

    prospect: Prospect
    ticks: int  # of the episode

    def __post_init__(self) -> None:
        prospect = self.prospect
        self.names, local = np.unique(prospect.target, return_inverse=True)  # [L] mission indices of its targets
        turns = prospect.turns or Turns(np.zeros(1), np.array([prospect.least_ticks], np.int32))
        self._arrays: dict[str, NDArray[np.generic]] = {
            "target": np.ascontiguousarray(local, np.int32),
            "tick": np.ascontiguousarray(prospect.tick, np.int32),
            "direction": np.ascontiguousarray(prospect.direction, np.float64),
            "turn_cosine": np.cos(turns.angle_rad),
            "turn_ticks": np.ascontiguousarray(turns.ticks, np.int32),
        }
        record = self._record = np.zeros((), CAPTURES)
        record["count"], record["targets"], record["ticks"] = len(prospect.tick), len(self.names), self.ticks
        record["turns"], record["least"] = len(turns.ticks), prospect.least_ticks
        record["horizon"] = max(prospect.least_ticks, int(turns.ticks.max()))
        for name, array in self._arrays.items():
            record[name] = array.ctypes.data
        self.most = np.array([quota.most for quota in prospect.quotas], np.float64)
        spans = [(quota.first, quota.last) for quota in prospect.quotas]
        now = np.arange(self.ticks)
        self._within = np.array([(now >= first) & (now <= last) for first, last in spans], np.float64)  # [Q, ticks]
        self._visits, self._passed = np.zeros(len(self.names), np.int32), np.zeros(self.ticks, np.int32)
        self._edges()

    def _edges(self) -> None:
        """For each capture, until when each other target can have been captured before it."""
        count, capacity, used = len(self.prospect.tick), len(self.prospect.tick) + 1, -1
        self._start = np.zeros(count + 1, np.int64)
        while used == -1:  # too few: there is at most one for each capture and target
            capacity *= 4
            self._target, self._latest = np.zeros(capacity, np.int32), np.zeros(capacity, np.int32)
            used = library().tw_bound_edges(
                self._record.ctypes.data,
                self._start.ctypes.data,
                self._target.ctypes.data,
                self._latest.ctypes.data,
                capacity,
            )
        if used < 0:
            raise MemoryError(f"no memory for the edges between {count} captures")

    def best(
        self, prize: NDArray[np.float64], quota_price: NDArray[np.float64]
    ) -> tuple[float, NDArray[np.int32], NDArray[np.float64]]:
        """At prizes [M] of the mission's targets and prices [Q] of its quotas: the worth of the best sequence, how
        often it has each of ``names`` [L], and how many captures it has within each quota [Q]."""
        limited = len(quota_price) > 0
        toll = np.ascontiguousarray(quota_price @ self._within) if limited else np.zeros(self.ticks)
        own = np.ascontiguousarray(prize[self.names])
        worth = library().tw_bound_path(
            self._record.ctypes.data,
            self._start.ctypes.data,
            self._target.ctypes.data,
            self._latest.ctypes.data,
            own.ctypes.data,
            toll.ctypes.data,
            self._visits.ctypes.data,
            self._passed.ctypes.data,
        )
        if worth < 0:
            raise MemoryError(f"no memory for the sequences of {len(self.prospect.tick)} captures")
        used = self._within @ self._passed if limited else np.zeros(0)
        return worth, self._visits, used


def upper_bound(
    priority: NDArray[np.float64], prospects: Sequence[Prospect], ticks: int, iterations: int = 500
) -> Bound:
    """Bound the priority that satellites with these prospects can capture together.

    Args:
        priority: [M] of the mission's targets, none negative.
        prospects: one for each satellite.
        ticks: of the episode; every prospect's ticks are in 0 ... ticks - 1.
        iterations: of the subgradient method; more make the bound tighter, none makes it invalid.
    """
    paths = [_Path(prospect, ticks) for prospect in prospects if len(prospect.tick)]
    reached = np.zeros(len(priority), np.bool_)
    for path in paths:
        reached[path.names] = True
    worth = np.where(reached, priority, 0.0)
    reachable = best = float(worth.sum())
    tolls = sum(len(path.most) for path in paths)
    dearest = float(worth.max(initial=0.0))
    most = np.concatenate([worth, np.full(tolls, dearest)])  # a price above what a capture is worth is of no use
    now = np.concatenate([worth / 2, np.zeros(tolls)])
    found, average, step, since = np.inf, np.zeros(0), 1.0, 0
    for done in range(iterations):
        value, slope = _evaluated(worth, now, paths)
        average = slope if done == 0 else _MEMORY * average + (1.0 - _MEMORY) * slope
        since += 1
        if value < found - _GAIN:
            found, since = value, 0
        if since > _PATIENCE:
            step, since = step * _SHRINK, 0
        best = min(best, value)
        free = np.where(((now <= 0) & (average > 0)) | ((now >= most) & (average < 0)), 0.0, average)
        square = float(free @ free)
        if square == 0.0 or step < _LEAST_STEP:
            return Bound(best, reachable, done + 1)
        # Polyak's step length towards a guessed optimum.
        length = step * max(value - _GUESS * best, _LEAST_GAP * value) / square
        now = np.clip(now - length * free, 0.0, most)
    return Bound(best, reachable, iterations)


def _evaluated(
    worth: NDArray[np.float64], prices: NDArray[np.float64], paths: Sequence[_Path]
) -> tuple[float, NDArray[np.float64]]:
    """The bound at the prices of the targets [M] and of all satellites' quotas, in turn; and its slope along them."""
    price, tolls = prices[: len(worth)], prices[len(worth) :]
    value, slack, unused = float(price.sum()), np.where(worth > 0, 1.0, 0.0), []
    for path in paths:
        toll, tolls = tolls[: len(path.most)], tolls[len(path.most) :]
        earned, visits, used = path.best(worth - price, toll)
        value += earned + float(toll @ path.most)
        slack[path.names] -= visits
        unused.append(path.most - used)
    return value, np.concatenate([slack, *unused])
