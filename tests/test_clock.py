"""Times that are compared with a limit, in whole nanoseconds."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest

from envs.basilisk.clock import NEVER_NS, limit_ns, nanoseconds
from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.faults import Spells
from envs.basilisk.simulation import Constellation
from envs.basilisk.twin.environment import TwinEnv
from envs.basilisk.twin.worlds import make_worlds
from scenarios.compose import composed
from scenarios.mission import ScenarioConfig


def mission(step_s: float, duration_s: float) -> ScenarioConfig:
    found = composed("scenario=imaging_constellation", f"scenario.actions.charge_duration_s={duration_s}").scenario
    return dataclasses.replace(found, sim_step_s=step_s, duration_s=duration_s, training_duration_s=None)


def test_nanoseconds() -> None:
    assert nanoseconds(0.1 + 0.2) == 300_000_000
    assert nanoseconds(600.0630000000001) == 600_063_000_000
    assert nanoseconds(math.inf) == nanoseconds(1e300) == NEVER_NS


def test_an_episode_ends_at_the_first_tick_at_or_after_its_duration() -> None:
    """All steps of whole milliseconds with durations of whole milliseconds, against exact fractions."""
    rng = np.random.default_rng(0)
    for step_ms in range(50, 2001):
        for duration_ms in (600_000, 1100, *rng.integers(1, 10_000_000, 5).tolist()):
            found = limit_ns(duration_ms / 1000, step_ms / 1000)
            assert found == math.ceil(Fraction(duration_ms, step_ms)) * step_ms * 1_000_000


@pytest.mark.parametrize(("step_s", "duration_s"), [(0.14, 20.0), (0.1, 1.1)])
def test_episodes_of_odd_steps_end(step_s: float, duration_s: float) -> None:
    """In as many ticks as fractions say, in Basilisk and on the twin."""
    config = mission(step_s, duration_s)
    exact_s = float(math.ceil(Fraction(str(duration_s)) / Fraction(str(step_s))) * Fraction(str(step_s)))
    twin = TwinEnv(config, make_worlds(config, [3]), training=False)
    for env in (ConstellationEnv(config), twin):
        step = env.reset([3])
        for _ in range(20):
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
