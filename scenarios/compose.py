"""A configuration without the command line: for tests, benchmarks and notebooks."""

from __future__ import annotations

from hydra import compose, initialize_config_module

from scenarios.schema import RunConfig, load, register


def composed(*overrides: str) -> RunConfig:
    """The run that ``python -m kdmarl_sat.run *overrides`` would make.

    Raises:
        ConfigError, or one of ``scenarios.messages.COMPOSITION_ERRORS``.
    """
    register()
    with initialize_config_module("scenarios", version_base="1.3"):
        config = load(compose("config", list(overrides)))
    assert isinstance(config, RunConfig)
    return config
