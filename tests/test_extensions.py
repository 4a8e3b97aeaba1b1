"""docs/extending.md as it stands, and what becomes of mistakes."""

from __future__ import annotations

import dataclasses
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from envs.basilisk import deliveries, extensions
from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.extensions import Delivery, once
from envs.basilisk.heuristics import GreedyPolicy
from envs.basilisk.windows import sin_elevation
from scenarios.compose import composed
from scenarios.mission import ScenarioConfig
from scenarios.ranges import ConfigError
from tests.test_config import ROOT

PAGE = (ROOT / "docs" / "extending.md").read_text()


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a user who followed the page."""
    [python] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    [yaml] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "my_parts.py").write_text(python)
    (tmp_path / "my_missions" / "scenario").mkdir(parents=True)
    (tmp_path / "my_missions" / "scenario" / "fresh_cues.yaml").write_text(yaml)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("my_parts", None)


def mission(folder: Path, *overrides: str) -> ScenarioConfig:
    searched = f"hydra.searchpath=['file://{folder / 'my_missions'}']"
    return composed(searched, "scenario=fresh_cues", "scenario.duration_s=2400", *overrides).scenario


def test_the_page_as_it_stands(user: Path) -> None:
    config = mission(user)
    env = ConstellationEnv(config)
    assert "elevation" in {block.name for block in env.specs[0].blocks}
    policy = GreedyPolicy(env.specs)
    step = env.reset([1])
    checked, reward = 0, 0.0
    while not step.truncated.all():
        episode = env.episode(0)
        for n in np.nonzero(step.active[0])[0]:
            offered = episode.features.offered[n]
            told = step.obs[0, n, env.specs[n].slice("elevation")][: len(offered)]
            satellite = episode.constellation.satellites[n]
            targets = np.array([episode.constellation.targets[index].r_LP_P for index in offered]).reshape(-1, 3)
            expected = np.arcsin(sin_elevation(np.array(satellite.dynamics.r_BN_P), targets))
            assert told == pytest.approx(expected, abs=1e-4)
            checked += len(offered)
        step = env.step(policy.act(step))
        reward += float(step.reward[0])
    assert checked > 100
    [result] = env.results()
    assert result.captured == pytest.approx(reward)
    plain = ConstellationEnv(dataclasses.replace(config, reward=dataclasses.replace(config.reward, rule=None)))
    step = plain.reset([1])
    while not step.truncated.all():
        step = plain.step(policy.act(step))
    assert 0 < result.captured < plain.results()[0].captured  # what it waited for on board has lost some of its worth


def test_the_rule_by_hand(user: Path) -> None:
    rule = extensions.reward_rule(mission(user))
    image = Delivery("sat", "target", 0.8, np.zeros(3), taken_s=100.0, delivered_s=1900.0, earlier=0, together=1)
    assert rule(image) == pytest.approx(0.2)  # two quarters of an hour
    assert rule(dataclasses.replace(image, earlier=1)) == pytest.approx(0.04)


def test_without_a_rule_the_first_earns_the_priority() -> None:
    image = Delivery("sat", "target", 0.8, np.zeros(3), 0.0, 0.0, earlier=0, together=2)
    assert once(image) == 0.4
    assert once(dataclasses.replace(image, earlier=1)) == 0.0


def test_an_edited_file_is_another_mission(user: Path) -> None:
    config = mission(user)
    before = extensions.digests(config)
    assert list(before) == ["my_parts"]
    (user / "my_parts.py").write_text((user / "my_parts.py").read_text() + "\n# edited\n")
    assert extensions.digests(config) != before


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("scenario.reward.rule='no_such:thing'", "scenario.reward.rule=no_such:thing cannot be used: No module named"),
        ("scenario.reward.rule='my_parts:thing'", "cannot be used: module 'my_parts' has no attribute 'thing'"),
        ("scenario.reward.rule='my_parts:ELEVATION'", "is not allowed: it must be a function of a Delivery"),
        ("scenario.features.elevation='my_parts:fresh'", "is not allowed: it must be a Feature"),
    ],
)
def test_what_cannot_be_used_is_refused(user: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        ConstellationEnv(mission(user, override))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[:, None]", "", r"scenario.features.elevation gave an array \(\d+,\): it must be \(\d+, 1\)"),
        ("[:, None]", "[:, None] * np.nan", r"scenario.features.elevation gave \[\[nan\].*: all values must be finite"),
        ("scale=1.0", "scale=0.0", r"a Feature of size=1, scale=0.0 is not allowed: both must be above 0"),
    ],
)
def test_a_feature_that_is_none_is_refused(user: Path, old: str, new: str, message: str) -> None:
    source = (user / "my_parts.py").read_text()
    (user / "my_parts.py").write_text(source.replace(old, new))
    with pytest.raises(ConfigError, match=message):
        ConstellationEnv(mission(user)).reset([0])


def test_a_view_may_be_written_to_without_harm(user: Path) -> None:
    """What a feature does to its view moves no deadline."""
    source = (user / "my_parts.py").read_text()
    spoiling = source.replace("    line = ", "    view.close_s[:] = view.open_s[:] = -1.0\n    line = ")
    flown = []
    for text in (source, spoiling):
        (user / "my_parts.py").write_text(text)
        sys.modules.pop("my_parts", None)
        importlib.invalidate_caches()
        env = ConstellationEnv(mission(user, "scenario.duration_s=300"))
        step, policy = env.reset([1]), GreedyPolicy(env.specs)
        while not step.truncated.all():
            step = env.step(policy.act(step))
        flown.append(env.results())
    assert flown[0] == flown[1]


@pytest.mark.parametrize("value", [None, "much", float("nan")])
def test_a_rule_must_give_a_number(value: object) -> None:
    image = Delivery("sat", "Ulm", 0.8, np.zeros(3), 0.0, 0.0, earlier=0, together=1)
    with pytest.raises(ConfigError, match=f"scenario.reward.rule gave {value!r} for Ulm: it must give a finite number"):
        deliveries.earned(lambda delivery: value, image)  # type: ignore[arg-type, return-value]


def test_what_a_users_function_raises_is_one_sentence(user: Path) -> None:
    image = Delivery("sat", "Ulm", 0.8, np.zeros(3), 0.0, 0.0, earlier=0, together=1)
    rule = extensions.reward_rule(mission(user, "scenario.reward.rule='os:system'"))
    with pytest.raises(ConfigError, match=r"^scenario\.reward\.rule failed: TypeError: [^\n]*$"):
        deliveries.earned(rule, image)
    with pytest.raises(ConfigError, match="rule=os:getcwd is not allowed: it must be a function of a Delivery"):
        extensions.reward_rule(mission(user, "scenario.reward.rule='os:getcwd'"))


def test_a_name_that_python_has_not_is_refused_for_what_it_is(user: Path) -> None:
    with pytest.raises(ConfigError, match=r"^scenario.features='a-b' is .*, of letters, digits and _ as in Python$"):
        mission(user, "+scenario.features.a-b='my_parts:ELEVATION'")


def test_a_name_that_is_taken_is_refused(user: Path) -> None:
    with pytest.raises(Exception, match=r"scenario.features='battery' is not allowed: it must be a name other than"):
        mission(user, "+scenario.features.battery='my_parts:ELEVATION'")
