"""A configuration without the command line: for tests, benchmarks and notebooks."""

from __future__ import annotations

from pathlib import Path

from hydra import compose, initialize_config_module

from scenarios.messages import COMPOSITION_ERRORS, not_composed
from scenarios.overrides import check_overrides
from scenarios.own_files import check_files
from scenarios.ranges import ConfigError
from scenarios.roots import CONSTELLATION, FOLDERS
from scenarios.schema import RunConfig, load, register


def composed(*overrides: str, config_dir: Path | None = None) -> RunConfig:
    """The run that ``python -m kdmarl_sat.run *overrides`` would make, with ``--config-dir`` where one is given.

    Raises:
        ConfigError, or one of ``scenarios.messages.COMPOSITION_ERRORS``.
    """
    register()
    own = [] if config_dir is None else [f"--config-dir={config_dir}"]
    check_overrides(overrides, RunConfig)
    check_files([*own, *overrides], FOLDERS[CONSTELLATION])
    search = []
    if config_dir is not None:
        folder = str(config_dir.absolute()).replace("\\", "\\\\").replace("'", "\\'")
        search = [f"hydra.searchpath=['file://{folder}']"]
    with initialize_config_module("scenarios", version_base="1.3"):
        try:
            config = load(compose("config", [*search, *overrides]))
        except (ConfigError, *COMPOSITION_ERRORS):
            raise
        except Exception as error:
            raise not_composed(error) from error
    assert isinstance(config, RunConfig)
    return config
