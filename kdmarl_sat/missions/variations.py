"""Which missions a run's policies are flown in: the overrides ``to.KEY=VALUE`` and ``to.KEY=A,B,...``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from scenarios.compose import composed
from scenarios.mission import ScenarioConfig
from scenarios.ranges import ConfigError
from scenarios.schema import RunConfig

TO = "to."  # before the overrides of a mission that a run's policies are flown in


def variations(asked: Sequence[str]) -> list[list[str]]:
    """The overrides of each mission to fly: keys with one value hold in all, of the others one is varied at a time.

    Raises:
        ConfigError: nothing is asked for, or something that is no KEY=VALUE or KEY=A,B,...
    """
    if not asked:
        raise ConfigError(f"no mission to fly is named: at least one {TO}KEY=VALUE or {TO}KEY=A,B,... must be given")
    held, varied = list[str](), list[tuple[str, list[str]]]()
    for override in asked:
        key, _, value = override.partition("=")
        if not key or not value:
            raise ConfigError(f"{TO}{override} is not allowed: it must be {TO}KEY=VALUE or {TO}KEY=A,B,...")
        values = apart(value)
        if len(values) > 1:
            varied.append((key, values))
        else:
            held.append(override)
    return [[*held, f"{key}={value}"] for key, values in varied for value in values] or [held]


def apart(value: str) -> list[str]:
    """Values between commas, but for those within brackets, braces or quotes."""
    values, depth, quote = [""], 0, ""
    for sign in value:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        elif sign in "[{(":
            depth += 1
        elif sign in ")}]":
            depth -= 1
        elif sign == "," and depth == 0:
            values.append("")
            continue
        values[-1] += sign
    return values


def mission(
    run: RunConfig, overrides: Sequence[str], extra: Sequence[str], config_dir: Path | None = None
) -> ScenarioConfig:
    """The run's mission with further overrides.

    Raises:
        ConfigError: they change more than the scenario, or the run's policies cannot fly it.
    """
    target = composed(*overrides, *extra, config_dir=config_dir)
    if dataclasses.replace(target, scenario=run.scenario) != run:
        raise ConfigError(f"{_typed(extra)} is not allowed: it must change the scenario alone")
    ours, theirs = run.scenario.constellation, target.scenario.constellation
    if theirs.size < ours.size or theirs.classes != ours.classes:
        raise ConfigError(
            f"{_typed(extra)} is not allowed: it must have the same classes of satellites, and at least "
            f"{ours.size} satellites"
        )
    return target.scenario


def _typed(overrides: Sequence[str]) -> str:
    return " ".join(f"{TO}{override}" for override in overrides)
