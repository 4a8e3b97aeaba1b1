"""Times that are compared with a limit, in whole nanoseconds."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from envs.basilisk.clock import NEVER_NS, limit_ns, nanoseconds
from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.faults import Spells
from envs.basilisk.simulation import Constellation
from envs.basilisk.twin.environment import TwinEnv
from envs.basilisk.twin.worlds import make_worlds
from scenarios.compose import composed
from scenarios.mission import ScenarioConfig

MISSION = composed("scenario=imaging_constellation", "scenario.training_duration_s=null").scenario
STEPS_NS = st.integers(50_000_000, 2_000_000_000) | st.integers(50, 2000).map(lambda ms: ms * 1_000_000)
WHOLE_MS = st.integers(1, 10_000_000).map(lambda ms: ms * 1_000_000)


def mission(step_s: float, duration_s: float) -> ScenarioConfig:
    found = composed("scenario=imaging_constellation", f"scenario.actions.charge_duration_s={duration_s}").scenario
    return dataclasses.replace(found, sim_step_s=step_s, duration_s=duration_s, training_duration_s=None)


def test_nanoseconds() -> None:
    assert nanoseconds(0.1 + 0.2) == 300_000_000
    assert nanoseconds(600.0630000000001) == 600_063_000_000
    assert nanoseconds(math.inf) == nanoseconds(1e300) == NEVER_NS


@example(step_ns=139_000_000, duration_ns=600_000_000_000)
@example(step_ns=50_000_000, duration_ns=1)
@example(step_ns=2_000_000_000, duration_ns=10_000_000_000_000_000)
@given(step_ns=STEPS_NS, duration_ns=st.integers(1, 10_000_000_000_000_000) | WHOLE_MS)
@settings(max_examples=2000, deadline=None, derandomize=True)
def test_an_episode_ends_at_the_first_tick_at_or_after_its_duration(step_ns: int, duration_ns: int) -> None:
    """Steps and durations as they are typed, in decimals to the nanosecond, against exact fractions."""
    step_s, duration_s = float(Fraction(step_ns, 10**9)), float(Fraction(duration_ns, 10**9))
    found = limit_ns(duration_s, step_s)
    if duration_ns < 2**52:  # seconds in a float64 still tell nanoseconds apart
        assert found == math.ceil(Fraction(duration_ns, step_ns)) * step_ns
    assert found % step_ns == 0 and 0 <= found - nanoseconds(duration_s) < step_ns


@example(step_ms=140, duration_ms=20_000, parts=1)
@example(step_ms=100, duration_ms=1100, parts=1)
@given(step_ms=st.integers(50, 2000), duration_ms=st.integers(1, 20_000), parts=st.integers(1, 12))
@settings(max_examples=12, deadline=None, derandomize=True)
def test_an_episode_of_any_step_ends(step_ms: int, duration_ms: int, parts: int) -> None:
    """After as many ticks as fractions say, in Basilisk and on the twin, however decisions divide it."""
    config = dataclasses.replace(
        MISSION,
        sim_step_s=step_ms / 1000,
        duration_s=duration_ms / 1000,
        actions=dataclasses.replace(MISSION.actions, charge_duration_s=duration_ms / parts / 1000),
    )
    exact_s = float(math.ceil(Fraction(duration_ms, step_ms)) * Fraction(step_ms, 1000))
    for env in (ConstellationEnv(config), TwinEnv(config, make_worlds(config, [3]), training=False)):
        step = env.reset([3])
        for _ in range(parts):
            if step.truncated.all():
                break
            step = env.step(np.zeros((1, 4), np.int64))
        assert step.truncated.all()
        assert env.results()[0].duration_s == pytest.approx(exact_s, abs=1e-9)
        env.close()


def test_a_satellite_fails_at_the_nanosecond_that_its_failure_is_rounded_to() -> None:
    """Half a nanosecond later, but no tick later: else the failure would be waited for at every step."""
    found = Constellation(mission(1.0, 60.0))
    found.reset(0)
    for satellite in found.satellites:
        satellite.charge(60.0)
    fails_s = np.array([10.0000000004, math.inf, math.inf, math.inf])
    found.advance(fails_s, Spells(np.empty(0), np.empty(0)))
    assert found.time_s == pytest.approx(10.0)
    assert [satellite.is_alive() for satellite in found.satellites] == [False, True, True, True]
