"""A configuration without the command line: for tests, benchmarks and notebooks."""

from __future__ import annotations

from hydra import compose, initialize_config_module

from scenarios.messages import COMPOSITION_ERRORS, not_composed
from scenarios.overrides import check_overrides
from scenarios.own_files import check_files
from scenarios.ranges import ConfigError
from scenarios.roots import CONSTELLATION, FOLDERS
from scenarios.schema import RunConfig, load, register


def composed(*overrides: str) -> RunConfig:
    """The run that ``python -m kdmarl_sat.run *overrides`` would make.

    Raises:
        ConfigError, or one of ``scenarios.messages.COMPOSITION_ERRORS``.
    """
    register()
    check_overrides(overrides, RunConfig)
    check_files(overrides, FOLDERS[CONSTELLATION])
    with initialize_config_module("scenarios", version_base="1.3"):
        try:
            config = load(compose("config", list(overrides)))
        except (ConfigError, *COMPOSITION_ERRORS):
            raise
        except Exception as error:
            raise not_composed(error) from error
    assert isinstance(config, RunConfig)
    return config
