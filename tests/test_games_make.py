"""Games from their configurations, the packaged ones and one of a user's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_module
from smac_double import install

from envs.games.api import GameError
from envs.games.make import always_visible, make_evaluation_game, make_game, visible_blocks
from envs.games.sensing import fixed
from envs.sensing import SensingError
from scenarios.games.environment import EnvironmentConfig, GameConfig, RandomMaskConfig, Suite
from scenarios.games.schema import register
from scenarios.ranges import ConfigError
from scenarios.schema import load

ROOT = Path(__file__).parents[1]
PACKAGED = sorted(path.stem for path in (ROOT / "scenarios" / "games" / "scenario").glob("*.yaml"))

# The example of docs/own_game.md.
RELAY = '''
import numpy as np
from gymnasium.spaces import Box, Discrete
from pettingzoo import ParallelEnv


class Relay(ParallelEnv):
    """Scouts see a number, the carrier does not; all are paid for guessing it."""

    metadata = {"name": "relay"}

    def __init__(self, scouts=2, max_cycles=10):
        self.possible_agents = [f"scout_{i}" for i in range(scouts)] + ["carrier"]
        self.max_cycles = max_cycles

    def observation_space(self, agent):
        return Box(0, 1, (1,) if agent == "carrier" else (4,), np.float32)

    def action_space(self, agent):
        return Discrete(3)

    def reset(self, seed=None, options=None):
        self.random = np.random.default_rng(seed)
        self.agents, self.time = list(self.possible_agents), 0
        return self._look(), {agent: {} for agent in self.agents}

    def step(self, actions):
        hits = {agent: float(actions[agent] == self.number) for agent in self.agents}
        self.time += 1
        over = self.time == self.max_cycles
        self.agents = [] if over else self.agents
        infos = {agent: {} for agent in hits}
        return self._look(), hits, dict.fromkeys(hits, False), dict.fromkeys(hits, over), infos

    def _look(self):
        self.number = self.random.integers(3)
        clock = self.time / self.max_cycles
        seen = np.eye(3, dtype=np.float32)[self.number]
        return {a: np.array([clock] if a == "carrier" else [clock, *seen], np.float32) for a in self.possible_agents}
'''

RELAY_SCENARIO = """
name: relay
environment:
  suite: pettingzoo
  parallel_env:
    _target_: my_games.Relay
    scouts: 2
    max_cycles: 5
  blocks:
    carrier:
      - {name: clock, size: 1}
    "*":
      - {name: clock, size: 1}
      - {name: number, size: 3}

sensing:
  sees: [number]
  waits: [clock]
agents: [sees, waits, waits]
"""


def composed(name: str, *overrides: str, folder: Path | None = None) -> GameConfig:
    register()
    search = [] if folder is None else [f"hydra.searchpath=[file://{folder}]"]
    with initialize_config_module("scenarios.games", version_base="1.3"):
        config = load(compose("config", [f"scenario={name}", *overrides, *search])).scenario
    assert isinstance(config, GameConfig)
    return config


@pytest.fixture
def relay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for --config-dir, and Relay importable as my_games."""
    (tmp_path / "scenario").mkdir()
    (tmp_path / "scenario" / "relay.yaml").write_text(RELAY_SCENARIO)
    (tmp_path / "my_games.py").write_text(RELAY)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_games", raising=False)
    return tmp_path


def test_ones_own_environment_is_played_as_its_yaml_says(relay: Path) -> None:
    config = composed("relay", folder=relay)
    game = make_game(config, 4)
    assert (game.name, game.backend, game.horizon, game.environments) == ("relay", "pettingzoo", 5, 4)
    mask = fixed(game.specs, visible_blocks(config, game), always_visible(config, game))
    assert mask.int().tolist() == [[0, 1, 1, 1], [1, 0, 0, 0], [1, 0, 0, 0]]
    frame = game.reset(0)
    for step in range(1, 6):
        number = frame.obs[:, :1, 1:].argmax(-1)
        after = game.step(number.expand(-1, 3))
        assert after.reward.tolist() == [1.0] * 4
        assert after.truncated.tolist() == [step == 5] * 4
        frame = after.frame
    assert type(make_evaluation_game(config, 1)) is type(game)


def test_the_documentation_shows_the_example_that_is_tested() -> None:
    text = (ROOT / "docs" / "own_game.md").read_text()
    assert RELAY.strip() in text
    assert RELAY_SCENARIO.strip() in text


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("_target_=my_gams.Relay", "_target_='my_gams.Relay' cannot be made with its settings: .*my_gams"),
        (
            "_target_=my_games.Rely",
            "_target_='my_games.Rely' cannot be made with its settings: .*'Rely' is importable",
        ),
        ("scouts=many", "_target_='my_games.Relay' cannot be made with its settings: .*'str'"),
        ("_target_=my_games.Box", "_target_='my_games.Box' cannot be made with its settings"),
    ],
)
def test_an_environment_that_cannot_be_made_is_named(relay: Path, override: str, sentence: str) -> None:
    config = composed("relay", f"scenario.environment.parallel_env.{override}", folder=relay)
    with pytest.raises(GameError, match=r"scenario\.environment\.parallel_env\." + sentence) as error:
        make_game(config, 1)
    assert "\n" not in str(error.value)


def test_something_else_than_a_parallel_env_is_refused(relay: Path) -> None:
    config = composed("relay", folder=relay)
    config.environment.parallel_env = {"_target_": "builtins.dict"}
    with pytest.raises(GameError, match=r"'builtins.dict' makes a dict: it must make a PettingZoo ParallelEnv"):
        make_game(config, 1)


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_games_are_made_and_their_groups_fit(name: str) -> None:
    config = composed(name, *(["scenario.environment.backend=smax"] if name.startswith("smac") else []))
    game = make_game(config, 2)
    assert game.backend == ("smax" if name.startswith("smac") else "mpe")
    blocks = visible_blocks(config, game)
    assert len(blocks) == len(game.specs)
    assert fixed(game.specs, blocks, always_visible(config, game)).any(1).all()


def test_table_twos_groups_by_column() -> None:
    """V 0:2, P 2:4, L 4:10, A(P) 10:14, and 14:18 that no group has."""
    config = composed("mpe_spread_groups")
    game = make_game(config, 1)
    seen = [torch.nonzero(row).flatten().tolist() for row in fixed(game.specs, visible_blocks(config, game))]
    assert seen == [list(range(4, 14)), [0, 1, 2, 3], [0, 1, 2, 3]]


def test_mpe_is_reported_on_the_canonical_package() -> None:
    config = composed("mpe_spread")
    assert make_evaluation_game(config, 2).backend == "mpe2"


def test_the_backend_is_starcraft_where_it_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path / "StarCraftII")
    assert make_game(composed("smac_3m"), 2).backend == "smac"
    assert make_evaluation_game(composed("smac_3m"), 2).backend == "smac"
    assert make_game(composed("smac_3m", "scenario.environment.backend=smax"), 2).backend == "smax"


def test_without_starcraft_auto_falls_back_and_smac_says_why(tmp_path: Path) -> None:
    assert make_game(composed("smac_3m"), 2).backend == "smax"
    for backend in ("auto", "smac"):  # who names StarCraft II's folder does not want another simulator
        settings = (f"scenario.environment.sc2_path={tmp_path}", f"scenario.environment.backend={backend}")
        with pytest.raises(GameError, match=r"smac' \(StarCraft Multi-Agent Challenge\) is not installed"):
            make_game(composed("smac_3m", *settings), 2)


def test_a_wrong_path_is_named_whatever_the_backend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path / "StarCraftII")
    for backend in ("auto", "smac"):
        settings = (f"scenario.environment.sc2_path={tmp_path}/mars", f"scenario.environment.backend={backend}")
        with pytest.raises(GameError, match=r"sc2_path='.*/mars' is not allowed: it must be StarCraft II's folder"):
            make_game(composed("smac_3m", *settings), 2)


def test_smac_shows_its_move_block_to_everyone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path / "StarCraftII")
    config = composed("smac_3m")
    game = make_game(config, 1)
    mask = fixed(game.specs, visible_blocks(config, game), always_visible(config, game))
    assert mask[:, :4].all()
    assert mask.sum(1).tolist() == [4 + 15, 4 + 10, 4 + 10 + 1]


def test_leak_free_hides_who_is_near_from_groups_without_enemy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path / "StarCraftII")
    hidden = make_game(composed("smac_3m", "scenario.environment.leak_free=true"), 1)
    attacks = hidden.reset(0).action_mask[0, :, 6:]
    assert attacks.all(1).tolist() == [False, True, True]  # enemy, ally, ally_own
    assert not make_game(composed("smac_3m"), 1).reset(0).action_mask[0, :, 6:].any()
    # SMAX is told of the same agents; how it hides enemies is tested where it is
    overrides = ("scenario.environment.leak_free=true", "scenario.environment.backend=smax", "scenario.agents=[ally]")
    with pytest.raises(GameError, match="hidden_enemies has 1 entries"):
        make_game(composed("smac_3m", *overrides), 1)


def test_leak_free_needs_enemies_and_groups() -> None:
    config = composed("mpe_spread", "scenario.environment.leak_free=true")
    with pytest.raises(GameError, match="leak_free=True is not allowed with suite mpe"):
        make_game(config, 1)
    config = composed("smac_3m", "scenario.environment.leak_free=true")
    config.random_mask = RandomMaskConfig()
    with pytest.raises(GameError, match=r"leak_free=True is not allowed with scenario.random_mask"):
        make_game(config, 1)


@pytest.mark.parametrize(
    "entry", [{"name": "clock"}, {"name": "clock", "siz": 1}, {"name": "clock", "size": "one"}, "clock"]
)
def test_a_block_is_a_name_and_a_size(entry: object) -> None:
    with pytest.raises(ConfigError, match=r"^scenario\.environment\.blocks\.7\.0(\.size|)=.* is not allowed: it must"):
        EnvironmentConfig(Suite.pettingzoo, parallel_env={"_target_": "x"}, blocks={7: [entry]})


def test_groups_must_fit_the_game(relay: Path) -> None:
    config = composed("relay", "scenario.agents=[sees, waits]", folder=relay)
    game = make_game(config, 1)
    with pytest.raises(GameError, match=r"scenario.agents has 2 entries, but 'relay' has 3 agents"):
        visible_blocks(config, game)
    config = composed("relay", "scenario.agents=[sees, sees, sees]", folder=relay)
    with pytest.raises(SensingError, match="'sees' of agent 'carrier' names block 'number'; known blocks: clock"):
        visible_blocks(config, game)


def test_with_random_masks_groups_are_not_asked_for() -> None:
    config = composed("mpe_speaker_listener")
    game = make_evaluation_game(config, 1)
    assert visible_blocks(config, game) == [["goal"], ["velocity", "landmarks", "message"]]
    assert always_visible(config, game) == ("goal",)


def test_a_game_of_pettingzoo_loads_neither_jax_nor_other_suites(relay: Path) -> None:
    program = (
        "import sys; from envs.games.make import make_game; from scenarios.games.environment import *\n"
        "environment = EnvironmentConfig(suite=Suite.pettingzoo, parallel_env={'_target_': 'my_games.Relay'})\n"
        "make_game(GameConfig(name='relay', environment=environment), 1)\n"
        "assert not {'jax', 'jaxmarl', 'mpe2', 'smac'} & set(sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(relay)!r})\n{program}"], check=True, cwd=ROOT
    )


def test_seeds_fix_a_made_game(relay: Path) -> None:
    game = make_game(composed("relay", folder=relay), 3)
    first = game.reset(7).obs
    assert torch.equal(game.reset(7).obs, first)
    assert not torch.equal(game.reset(8).obs, first)
