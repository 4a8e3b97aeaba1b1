"""The hand-written rules on observations written by hand."""

from __future__ import annotations

import numpy as np
import pytest

from envs.api import AgentSpec, FeatureBlock, Step
from envs.basilisk.heuristics import GreedyPolicy, RandomPolicy

SPEC = AgentSpec(
    "sat",
    "wide",
    (
        FeatureBlock("battery", 2, "", 1.0),
        FeatureBlock("priority", 1, "", 1.0, 3),
        FeatureBlock("claimed", 2, "", 1.0, 3),
    ),
    ("charge",),
    3,
)


def step(battery: float, priority: list[float], claimed: list[float], legal: list[bool]) -> Step:
    obs = np.array([[[battery, 0.0, *priority, *np.ravel([[c, 1.0] for c in claimed])]]], np.float32)
    one = np.ones((1, 1), bool)
    none, no_rows = np.zeros(1, np.float32), np.zeros((1, 1, 4), np.float32)
    mask = np.array([[[True, *legal]]])
    return Step(obs, mask, one, one, none, none, ~one[0], ~one[0], no_rows[..., :1], no_rows)


@pytest.mark.parametrize(
    ("knowing", "battery", "priority", "claimed", "legal", "expected"),
    [
        (False, 0.9, [0.1, 0.8, 0.3], [0, 0, 0], [True, True, True], 2),  # the most valuable
        (False, 0.9, [0.1, 0.8, 0.3], [0, 1, 0], [True, True, True], 2),  # even if another is after it
        (True, 0.9, [0.1, 0.8, 0.3], [0, 1, 0], [True, True, True], 3),  # but not if it knows
        (False, 0.9, [0.1, 0.8, 0.3], [0, 0, 0], [True, False, True], 3),  # never an illegal one
        (False, 0.24, [0.1, 0.8, 0.3], [0, 0, 0], [True, True, True], 0),  # low battery: charge
        (False, 0.9, [0.1, 0.8, 0.3], [0, 0, 0], [False, False, False], 0),  # nothing on offer: charge
        (True, 0.9, [0.1, 0.8, 0.3], [1, 2, 1], [True, True, True], 0),  # all taken: charge
    ],
)
def test_greedy(
    knowing: bool, battery: float, priority: list[float], claimed: list[float], legal: list[bool], expected: int
) -> None:
    policy = GreedyPolicy([SPEC], global_knowledge=knowing)
    assert policy.act(step(battery, priority, claimed, legal)).tolist() == [[expected]]


def test_random_takes_every_legal_action_equally_often_and_no_other() -> None:
    policy = RandomPolicy()
    policy.reset([0])
    now = step(0.5, [0, 0, 0], [0, 0, 0], [True, False, True])
    drawn = [int(policy.act(now)[0, 0]) for _ in range(3000)]
    counts = np.bincount(drawn, minlength=4)
    assert counts[2] == 0
    assert np.abs(counts[[0, 1, 3]] - 1000).max() < 5 * np.sqrt(3000 * (1 / 3) * (2 / 3))


def test_random_depends_on_the_episodes_seed_alone() -> None:
    now = step(0.5, [0, 0, 0], [0, 0, 0], [True, True, True])
    policy = RandomPolicy()
    policy.reset([7])
    first = [int(policy.act(now)[0, 0]) for _ in range(20)]
    policy.reset([7])
    assert [int(policy.act(now)[0, 0]) for _ in range(20)] == first


FULL = AgentSpec(
    "sat",
    "optical",
    (
        FeatureBlock("battery", 2, "", 1.0),
        FeatureBlock("priority", 1, "", 1.0, 2),
        FeatureBlock("claimed", 2, "", 1.0, 2),
        FeatureBlock("storage", 1, "", 1.0),
        FeatureBlock("station", 2, "", 1.0),
        FeatureBlock("wheels", 1, "", 1.0),
        FeatureBlock("instrument", 2, "", 1.0),
        FeatureBlock("cloud", 1, "", 1.0, 2),
    ),
    ("charge", "downlink", "desat"),
    2,
)
IDLE = {"battery": 0.9, "storage": 0.0, "station": 5.0, "ends": 6.0, "wheels": 0.1, "optical": 1.0, "reachable": 1.0}


@pytest.mark.parametrize(
    ("knowing", "changes", "cloud", "expected"),
    [
        (False, {}, [0.0, 0.0], 4),  # the second target, of the higher priority
        (False, {}, [0.1, 0.9], 3),  # 0.5 x 0.9 > 0.8 x 0.1
        (False, {"optical": 0.0}, [0.1, 0.9], 4),  # radar does not mind
        (True, {"optical": 0.0}, [1.0, 0.0], 4),  # 0.5 x 1 < 0.8 x 0.7
        (True, {"optical": 0.0, "reachable": 0.0}, [1.0, 0.0], 4),  # nobody else could
        (False, {"station": 0.0}, [0.0, 0.0], 4),  # in view, but nothing to send
        (False, {"station": 0.0, "storage": 0.1}, [0.0, 0.0], 1),
        (False, {"storage": 0.9}, [0.0, 0.0], 4),  # not in view
        (False, {"storage": 0.9, "station": 0.0, "ends": 0.0}, [0.0, 0.0], 4),  # the sensor is out
        (False, {"station": 0.0, "storage": 0.1, "wheels": 0.8}, [0.0, 0.0], 2),
        (False, {"station": 0.0, "storage": 0.1, "wheels": 0.8, "battery": 0.2}, [0.0, 0.0], 0),
    ],
)
def test_greedy_with_all_there_is(knowing: bool, changes: dict[str, float], cloud: list[float], expected: int) -> None:
    now = {**IDLE, **changes}
    reach = now["reachable"]
    row = [
        now["battery"],
        0.0,
        0.5,
        0.8,
        0.0,
        reach,
        0.0,
        reach,
        now["storage"],
        now["station"],
        now["ends"],
        now["wheels"],
    ]
    obs = np.array([[[*row, now["optical"], now["optical"], *cloud]]], np.float32)
    one, none, rows = np.ones((1, 1), bool), np.zeros(1, np.float32), np.zeros((1, 1, 4), np.float32)
    moment = Step(obs, np.ones((1, 1, 5), bool), one, one, none, none, ~one[0], ~one[0], rows[..., :1], rows)
    assert GreedyPolicy([FULL], global_knowledge=knowing).act(moment).tolist() == [[expected]]
