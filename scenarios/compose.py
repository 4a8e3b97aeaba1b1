"""A configuration without the command line: for tests, benchmarks and notebooks."""

from __future__ import annotations

from pathlib import Path

from hydra import compose, initialize_config_module

from scenarios.ranges import ConfigError
from scenarios.schema import RunConfig, load, register


def composed(*overrides: str, config_dir: Path | None = None) -> RunConfig:
    """The run that ``python -m kdmarl_sat.run *overrides`` would make, with ``--config-dir`` where one is given.

    Raises:
        ConfigError, or one of ``scenarios.messages.COMPOSITION_ERRORS``.
    """
    register()
    search = []
    if config_dir is not None:
        if not config_dir.is_dir():
            raise ConfigError(f"--config-dir={config_dir} is not allowed: it must be a folder")
        folder = str(config_dir.absolute()).replace("\\", "\\\\").replace("'", "\\'")
        search = [f"hydra.searchpath=['file://{folder}']"]
    with initialize_config_module("scenarios", version_base="1.3"):
        config = load(compose("config", [*search, *overrides]))
    assert isinstance(config, RunConfig)
    return config
