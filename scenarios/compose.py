"""A configuration without the command line: for tests, benchmarks and notebooks."""

from __future__ import annotations

from pathlib import Path

from hydra import compose, initialize_config_module

from scenarios import schema as run_schema
from scenarios.games import schema as games
from scenarios.games.schema import GameRunConfig
from scenarios.messages import COMPOSITION_ERRORS, not_composed
from scenarios.overrides import check_overrides
from scenarios.own_files import check_files
from scenarios.ranges import ConfigError
from scenarios.roots import CONSTELLATION, FOLDERS, GAME
from scenarios.schema import RunConfig, load


def composed(*overrides: str, config_dir: Path | None = None) -> RunConfig:
    """The run that ``python -m kdmarl_sat.run *overrides`` would make, with ``--config-dir`` where one is given.

    Raises:
        ConfigError, or one of ``scenarios.messages.COMPOSITION_ERRORS``.
    """
    config = _composed("scenarios", CONSTELLATION, RunConfig, overrides, config_dir)
    assert isinstance(config, RunConfig)
    return config


def composed_game(*overrides: str, config_dir: Path | None = None) -> GameRunConfig:
    """The same for a run on a game."""
    config = _composed("scenarios.games", GAME, GameRunConfig, overrides, config_dir)
    assert isinstance(config, GameRunConfig)
    return config


def _composed(module: str, root: str, schema: type, overrides: tuple[str, ...], config_dir: Path | None) -> object:
    for each in (run_schema, games):
        each.register()
    own = [] if config_dir is None else [f"--config-dir={config_dir}"]
    check_overrides(overrides, schema)
    check_files([*own, *overrides], FOLDERS[root])
    search = []
    if config_dir is not None:
        folder = str(config_dir.absolute()).replace("\\", "\\\\").replace("'", "\\'")
        search = [f"hydra.searchpath=['file://{folder}']"]
    with initialize_config_module(module, version_base="1.3"):
        try:
            return load(compose("config", [*search, *overrides]))
        except (ConfigError, *COMPOSITION_ERRORS):
            raise
        except Exception as error:
            raise not_composed(error) from error
