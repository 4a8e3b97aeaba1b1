"""Which root a command line is for, and what a user reads when a game's configuration is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_module

from scenarios.games import schema
from scenarios.games.schema import GameRunConfig
from scenarios.ranges import ConfigError
from scenarios.roots import CONSTELLATION, GAME, root_of
from scenarios.schema import load
from tests.test_config import command

SCENARIOS = sorted(file.stem for file in (Path(schema.__file__).parent / "scenario").glob("*.yaml"))
PRESETS = sorted(file.stem for file in (Path(schema.__file__).parent / "preset").glob("*.yaml"))


def composed(*overrides: str) -> GameRunConfig:
    schema.register()
    with initialize_config_module("scenarios.games", version_base="1.3"):
        config = load(compose("config", list(overrides)))
    assert isinstance(config, GameRunConfig)
    return config


@pytest.mark.parametrize(
    ("arguments", "root"),
    [
        ([], CONSTELLATION),
        (["scenario=imaging_constellation"], CONSTELLATION),
        (["scenario=smac_3m", "seed=1"], GAME),
        (["-m", "scenario=mpe_spread,smac_3m"], GAME),
        (["scenario=mars"], CONSTELLATION),
    ],
)
def test_a_scenario_is_found_in_its_root(arguments: list[str], root: str) -> None:
    assert root_of(arguments) == root


def test_a_game_of_ones_own(tmp_path: Path) -> None:
    folder = tmp_path / "scenario"
    folder.mkdir()
    (folder / "mine.yaml").write_text("name: mine\nenvironment: {suite: mpe, map: simple_spread}\n")
    (folder / "derived.yaml").write_text("defaults: [mine, _self_]\nname: derived\n")
    (folder / "harder.yaml").write_text("defaults: [smac_3m, _self_]\nname: harder\n")
    (folder / "orbit.yaml").write_text("defaults: [imaging_constellation, _self_]\nduration_s: 60\n")
    (folder / "loop.yaml").write_text("defaults: [loop]\n")
    (folder / "broken.yaml").write_text("a: [b\n")
    found = {
        name: root_of([f"--config-dir={tmp_path}", f"scenario={name}"])
        for name in ("mine", "derived", "harder", "orbit", "loop", "broken")
    }
    assert found == {
        "mine": GAME,
        "derived": GAME,
        "harder": GAME,
        "orbit": CONSTELLATION,
        "loop": CONSTELLATION,
        "broken": CONSTELLATION,
    }
    assert root_of(["scenario=mine", "--config-dir", str(tmp_path)]) == GAME


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_game_with_every_preset(scenario: str, preset: str) -> None:
    config = composed(f"scenario={scenario}", f"preset={preset}")
    assert (config.scenario.name, config.preset) == (scenario, preset)


def test_groups_of_the_papers_table() -> None:
    """Table I of the paper: which agent senses enemies (E), allies (A), itself (O)."""
    letters = {"enemy": "E", "ally": "A", "own": "O"}
    expected = {
        "smac_3m": ["E", "A", "AO"],
        "smac_8m": ["E", "E", "E", "A", "A", "EO", "AO", "AE"],
        "smac_5m_vs_6m": ["E", "E", "EOA", "A", "AO"],
        "smac_3s5z": ["E", "EA", "E", "A", "A", "AO", "AO", "EO"],
    }
    for scenario, groups in expected.items():
        game = composed(f"scenario={scenario}").scenario
        sensed = [{letters[block] for block in game.sensing[group]} for group in game.agents]
        assert sensed == [set(group) for group in groups]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["scenario=smac_3m", "methods=[mapo_fo]"], "methods='mapo_fo' is not allowed: it must be one of teacher, "),
        (["scenario=smac_3m", "methods=[]"], "methods=[] is not allowed: it must be at least one method"),
        (["scenario=smac_3m", "mappo.hiden=3"], "mappo.hiden is not a known key (did you mean hidden?): mappo has "),
        (["scenario=smac_3m", "scenario.agents=[enemy,foe]"], "scenario.agents.1='foe' is not allowed: it must be"),
        (["scenario=mpe_spread", "scenario.random_mask.visible=[0,2]"], "visible=[0.0, 2.0] is not allowed: it must"),
        (["scenario=mpe_spread", "scenario.environment.map="], "environment.map='' is not allowed: it must be the"),
        (["scenario=smac_3m", "scenario.environment.backend=sc3"], "backend='sc3' is not allowed: it must be one of"),
        (["scenario=smac_3m", "scenario.environment.map=4m"], "no map '4m'"),
        (["scenario=smac_3m", "scenario.sensing.ally=[smell]"], "ally='smell' is not allowed: it must be among"),
        (["scenario=smac_3m", "scenario.agents=[enemy]"], "agents"),
        (["scenario=smac_3m", "distill.teacher_steps=0", "distill.student_steps=0"], "at least one data source"),
    ],
)
def test_a_bad_game_is_one_sentence_and_leaves_nothing(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    done = command(tmp_path, *arguments, JAX_PLATFORMS="cpu")
    assert done.returncode != 0
    assert done.stderr.startswith("kdmarl-sat: ")
    assert done.stderr.count("\n") == 1
    assert sentence in done.stderr
    assert not list(tmp_path.rglob("*.json"))


def test_the_schema_refuses_what_makes_no_sense() -> None:
    with pytest.raises(ConfigError, match="phases"):
        composed("mappo.phases=[]")
