"""Checks of a command line's overrides that Hydra does not refuse, or refuses without a clear sentence."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Sequence
from pathlib import Path
from types import UnionType
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString

from scenarios.ranges import ConfigError, cut, shown

GROUPS = ("scenario", "preset", "workers", "launcher", "board", "tuning")
_WITHOUT = ("board", "tuning")  # groups that a run can do without


def overrides_in(arguments: Sequence[str]) -> list[str]:
    """The arguments that are overrides, without Hydra's flags and their values."""
    known, rest = get_args_parser().parse_known_args(list(arguments))  # the rest: those on another side of a flag
    return [*known.overrides, *(argument for argument in rest if not argument.startswith("-"))]


def config_folder(arguments: Sequence[str]) -> Path | None:
    """Of ``--config-dir``."""
    given = get_args_parser().parse_known_args(list(arguments))[0].config_dir
    return None if given is None else Path(given)


def chosen(arguments: Sequence[str], group: str) -> list[Any]:
    """The options of a group that the arguments name, all those of a sweep; none where they cannot be read."""
    values: list[Any] = []
    for argument in overrides_in(arguments):
        if argument.lstrip("+").partition("=")[0].partition("@")[0] == group:
            try:
                [override] = OverridesParser.create().parse_overrides([argument])
            except Exception:  # Hydra says what is wrong with it
                continue
            values += _options(override)
    return values


def check_overrides(overrides: Sequence[str], root: type) -> None:
    """Refuse a group's option that is no name, and deletions of what every run needs; Hydra does not.

    Raises:
        ConfigError: there is such an override.
        OverrideParseException: one cannot be read.
    """
    for text, override in zip(overrides, OverridesParser.create().parse_overrides(list(overrides)), strict=True):
        key = override.key_or_group
        if not key:
            raise ConfigError(f"{shown(text)} is not understood: it must be KEY=VALUE")
        if override.is_delete():
            _check_deletion(text, key, root)
        elif key not in GROUPS:
            _check_text(text, override, root)
        else:
            for option in _options(override):
                _check_option(text, key, option)


def _check_text(text: str, override: Override, root: type) -> None:
    """Refuse what is typed as text and read as something else: 1_0 is 10, 1e3 is 1000.0.

    Raises:
        ConfigError: it is.
    """
    key, _, typed = text.partition("=")
    if override.is_sweep_override() or not is_text(held(_owner(override.key_or_group, root), key.rpartition(".")[2])):
        return
    value = override.value()
    if isinstance(value, bool | int | float) and str(value) != typed.strip():
        quoted = f"in quotes: \"{key}='{typed}'\""
        raise ConfigError(f"{cut(text)} is not allowed: it is read as {cut(str(value))}, and must be text, {quoted}")


def held(owner: Any, key: Any) -> Any:
    """What a dataclass, dict[...] or list[...] says of what it holds under a key; None: nothing."""
    for each in typing.get_args(owner) if isinstance(owner, UnionType) else (owner,):
        if isinstance(each, type) and dataclasses.is_dataclass(each):
            return typing.get_type_hints(each).get(key)
        if typing.get_origin(each) in (dict, list):
            return typing.get_args(each)[-1]
    return None


def is_text(hint: Any) -> bool:
    return hint is str or (isinstance(hint, UnionType) and str in typing.get_args(hint))


def _options(override: Override) -> list[Any]:
    """An override's value, or those of a sweep; a choice by pattern is Hydra's to make."""
    if override.is_sweep_override() and not override.is_choice_sweep():
        return []
    values = override.sweep_iterator() if override.is_choice_sweep() else [override.value()]
    return [value.text if isinstance(value, QuotedString) else value for value in values]


def _check_option(text: str, group: str, option: Any) -> None:
    beyond = isinstance(option, str) and (option.startswith("/") or ".." in option.split("/"))  # of the group's folder
    if isinstance(option, str) and option and "${" not in option and not beyond:
        return
    without = f"; leave it out for none, or write ~{group}" if option is None and group in _WITHOUT else ""
    how_many = "; how many there are is compute.workers" if group == "workers" else ""
    raise ConfigError(f"{shown(text)[1:-1]} is not allowed: it must be a name, see --help{how_many}{without}")


def _check_deletion(text: str, key: str, root: type) -> None:
    if key in GROUPS:
        if key not in _WITHOUT:
            raise ConfigError(f"{text} is not allowed: every run has one; {key}=NAME names another, see --help")
        return
    owner = _owner(key, root)
    name = key.rpartition(".")[2]
    if typing.get_origin(owner) is list:
        raise ConfigError(f"{text} is not allowed: a list has no keys; {key.rpartition('.')[0]}=[...] gives it anew")
    if not isinstance(owner, type) or not dataclasses.is_dataclass(owner):
        return
    if name in {field.name for field in dataclasses.fields(owner)}:
        null = " or null" if type(None) in typing.get_args(typing.get_type_hints(owner)[name]) else ""
        raise ConfigError(f"{text} is not allowed: every run has it; {key}=VALUE{null} changes it, or what it holds")


def _owner(key: str, root: type) -> Any:
    """What the schema says of that which holds the key: a dataclass, dict[...] or list[...]; None: nothing."""
    owner: Any = root
    for part in key.split(".")[:-1]:
        if isinstance(owner, type) and dataclasses.is_dataclass(owner):
            hint = typing.get_type_hints(owner).get(part)
        else:
            hint = next(iter(typing.get_args(owner)[-1:]), None)  # of list[element] or dict[str, value]
        members = typing.get_args(hint) if isinstance(hint, UnionType) else (hint,)
        owner = next((each for each in members if each is not type(None)), None)
    return owner
