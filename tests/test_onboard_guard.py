"""The guard: each limit by hand, and a policy that always images, on real Basilisk, with the guard and without."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from envs.api import AgentSpec, IntArray, Step
from envs.basilisk.environment import ConstellationEnv
from onboard.guard import Guard, Health, Limits
from scenarios.compose import composed
from scenarios.mission import ScenarioConfig
from scenarios.ranges import ConfigError
from training.missions.flight import GuardedPolicy, limits_of

LIMITS = Limits(reserve_min=0.2, wheel_speed_max=0.9, storage_max=0.95, release=0.05)
WELL = Health(battery=0.8, reserve=0.6, wheel_speed=0.3, storage=0.1)
ACTIONS = ("charge", "desat", "downlink", "image_0", "image_1")
ALL = np.ones(5, np.bool_)


def guard(actions: tuple[str, ...] = ACTIONS) -> Guard:
    return Guard(LIMITS, actions, ("charge",))


def test_a_healthy_satellite_does_as_its_policy_says() -> None:
    assert [guard().override(WELL, action, ALL) for action in range(5)] == [None] * 5


@pytest.mark.requirement("EX-10")
@pytest.mark.parametrize(
    ("change", "cure"),
    [({"reserve": 0.19}, "charge"), ({"wheel_speed": 0.91}, "desat"), ({"storage": 0.96}, "downlink")],
)
def test_each_limit_has_its_cure(change: dict[str, float], cure: str) -> None:
    health = dataclasses.replace(WELL, **change)
    action, why = guard().override(health, 3, ALL) or (None, "")
    assert action == ACTIONS.index(cure)
    assert next(iter(change)).replace("_", " ") in why
    assert guard().override(health, ACTIONS.index(cure), ALL) is None  # it does what is needed already
    assert guard(("charge", "image_0", "image_1")).override(health, 1, ALL[:3]) == (0, why)  # else the fallback


def test_a_safe_action_that_cures_something_else_does_not_stand() -> None:
    one = Guard(LIMITS, ACTIONS, ("charge", "desat", "downlink"))
    low = dataclasses.replace(WELL, reserve=0.05)
    assert [(one.override(low, action, ALL) or (None,))[0] for action in range(4)] == [None, 0, 0, 0]


def test_the_wheels_come_first_then_the_battery() -> None:
    worst = Health(0.1, 0.05, 1.0, 1.0)
    assert guard().override(worst, 4, ALL)[0] == 1  # type: ignore[index]  # it faces the Sun, and charges as well
    assert guard().override(dataclasses.replace(worst, wheel_speed=0.1), 4, ALL)[0] == 0  # type: ignore[index]
    assert guard(("charge", "image_0", "image_1")).override(worst, 1, ALL[:3])[0] == 0  # type: ignore[index]


@pytest.mark.requirement("EX-10")
def test_a_limit_holds_until_it_is_released() -> None:
    one = guard()
    reserves = (0.21, 0.19, 0.21, 0.249, 0.251, 0.21, 0.19)
    held = [one.override(dataclasses.replace(WELL, reserve=reserve), 3, ALL) is not None for reserve in reserves]
    assert held == [False, True, True, True, False, False, True]
    one.reset()
    assert one.override(dataclasses.replace(WELL, reserve=0.21), 3, ALL) is None


@pytest.mark.requirement("EX-10")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_telemetry_that_is_not_a_number_is_no_proof_of_health(value: float) -> None:
    assert guard().override(dataclasses.replace(WELL, reserve=value), 3, ALL) is not None
    assert guard().override(dataclasses.replace(WELL, storage=value), 3, ALL) is not None
    assert guard().override(dataclasses.replace(WELL, battery=value), 3, ALL) is not None


@pytest.mark.requirement("EX-10")
def test_an_illegal_action_is_never_the_override() -> None:
    low = dataclasses.replace(WELL, wheel_speed=1.0)
    mask = np.array([True, False, True, True, True])
    assert guard().override(low, 3, mask)[0] == 0  # type: ignore[index]  # desat is not legal: the fallback
    assert guard().override(low, 3, np.array([False, False, True, True, True])) is None


@pytest.mark.parametrize("name", ["reserve_min", "wheel_speed_max", "storage_max", "release"])
def test_limits_out_of_range(name: str) -> None:
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=f"guard.{name}="):
            dataclasses.replace(LIMITS, **{name: wrong})


def test_limits_come_from_the_scenario() -> None:
    scenario = composed("scenario.guard.reserve_min_Wh=7").scenario
    specs = ConstellationEnv(scenario).specs
    limits = limits_of(scenario, specs)
    assert limits is not None
    assert [limits[spec.name].reserve_min for spec in specs] == pytest.approx([7 / 35, 7 / 45, 7 / 50, 7 / 50])
    assert limits_of(composed("scenario.guard.enabled=false").scenario, specs) is None
    with pytest.raises(ConfigError, match=r"scenario.guard.reserve_min_Wh=40.0 is not allowed: it must be at most 35"):
        composed("scenario.guard.reserve_min_Wh=40")


class AlwaysImages:
    """Takes the target that asks for the longest slew, and charges only where nothing else is legal."""

    def __init__(self, spec: AgentSpec) -> None:
        self._angle = spec.slice("angle")

    def reset(self, seeds: list[int]) -> None: ...

    def act(self, step: Step) -> IntArray:
        angle = np.where(step.action_mask[..., 1:], step.obs[..., self._angle], -1.0)
        return np.where(step.action_mask[..., 1:].any(-1), 1 + angle.argmax(-1), 0)


def fly_always_imaging(scenario: ScenarioConfig, seeds: range) -> tuple[int, int]:
    """Satellites lost, and overrides."""
    env, lost, overrides = ConstellationEnv(scenario), 0, 0
    limits = limits_of(scenario, env.specs)
    for seed in seeds:
        policy = AlwaysImages(env.specs[0])
        flown = GuardedPolicy(policy, env.specs, limits) if limits else policy
        flown.reset([seed])
        step = env.reset([seed])
        while not (step.terminated | step.truncated).all():
            step = env.step(flown.act(step))
        lost += env.results()[0].deaths
        overrides += flown.overrides[0] if isinstance(flown, GuardedPolicy) else 0
    return lost, overrides


def orbit(*overrides: str) -> ScenarioConfig:
    return composed("scenario.duration_s=5700", *overrides).scenario


@pytest.mark.requirement("EX-10")
def test_no_satellite_dies_of_a_policy_that_always_images() -> None:
    lost, overrides = fly_always_imaging(orbit(), range(1000, 1005))
    assert lost == 0 and overrides > 100
    assert fly_always_imaging(orbit(), range(120, 121))[0] == 0  # wheels that run fast: turns to the Sun are slow
    assert fly_always_imaging(orbit("scenario.guard.enabled=false"), range(1000, 1003))[0] > 3  # without it, they do


@pytest.mark.requirement("EX-10")
@pytest.mark.slow
def test_no_satellite_dies_in_a_hundred_orbits() -> None:
    assert fly_always_imaging(orbit(), range(2000, 2100))[0] == 0
