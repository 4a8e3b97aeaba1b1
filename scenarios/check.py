"""Checks every run of a command before the first run starts and before its folder is made."""

from __future__ import annotations

import itertools
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, ListConfig, OmegaConf

from scenarios.folders import check_writable, claim
from scenarios.memory import available_bytes, check_workers, worlds_bytes
from scenarios.schema import RunConfig, load


class Stopped(BaseException):
    """Carries an error (its ``__cause__``) past Hydra, which would print it in its own way or only warn."""


class CheckFirst(Callback):
    """Hydra callback: composes and loads each configuration, so that a bad one is refused before any compute."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        self._check(config, [_given(config.hydra.overrides.task)], "run")

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
        choices: list[list[str]] = [
            [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
            if override.is_discrete_sweep()
            else [str(override.input_line)]
            for override in parser.parse_overrides(_given(config.hydra.overrides.task))
        ]
        self._check(config, [list(overrides) for overrides in itertools.product(*choices)], "sweep")

    def _check(self, config: DictConfig, runs: list[list[str]], mode: str) -> None:
        common = _given(config.hydra.overrides.hydra)
        here = config.hydra.runtime.choices.get("launcher", "local") == "local"  # elsewhere each job looks for itself
        try:
            for overrides in runs:
                run = load(compose(config.hydra.job.config_name, [*common, *overrides]))
                if here:
                    check_writable(run.output)
                if here and isinstance(run, RunConfig):
                    check_workers(run.compute, run.scenario.constellation.size, available_bytes(), worlds_bytes(run))
            claim(config, mode)
        except Exception as error:
            raise Stopped from error


def _given(overrides: ListConfig) -> list[str]:
    """Overrides as they were typed: a ``${...}`` in one is not for this list to resolve."""
    typed = OmegaConf.to_container(overrides, resolve=False)
    assert isinstance(typed, list)
    return [str(override) for override in typed]
