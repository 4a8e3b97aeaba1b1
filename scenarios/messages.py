"""What Hydra and OmegaConf find wrong with a configuration, as one sentence: field, value, what is allowed."""

from __future__ import annotations

import dataclasses
import difflib
import re
import traceback
import typing
from collections.abc import Iterable, Iterator
from enum import Enum
from types import NoneType, UnionType
from typing import Any

from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    KeyValidationError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)
from yaml import YAMLError

from scenarios.ranges import ConfigError, cut, shown
from scenarios.roots import GAME, packaged

COMPOSITION_ERRORS = (HydraException, OmegaConfBaseException, YAMLError)

_VALUE_FOR_GROUP = re.compile(r"Merge error: \w+ is not a subclass of (\w+)\. value: (.*)")  # in a YAML file
# Hydra's three lines of advice, where a value holds commas; in a shell it quotes with a backslash.
_SEVERAL = re.compile(r"Ambiguous value for argument '(?P<override>.*)'\n.*\n.*: key=(?P<shell>\\?)'", re.ASCII)
_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", NoneType: "null"}


def explain(error: BaseException, games: bool = False) -> str:
    """One sentence for one of ``COMPOSITION_ERRORS``; ``games``: the command takes games as well as missions."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        missing = error.missing_cfg_file
        # Groups within a group are Hydra's own; what else has a "/" was typed as a name.
        group, _, name = missing.rpartition("/") if missing.startswith("hydra/") else missing.partition("/")
        group, name = (group, name) if name else ("", group)
        if not group:
            return (
                f"--config-name={shown(name)} is not known: a scenario of your own is named by scenario=NAME, with "
                "--config-dir FOLDER that holds scenario/NAME.yaml"
            )
        place = _first_line(error).partition(":")[0]  # "In 'scenario/mine'"
        where = f", named {place.lower()}" if "/" in place else ""  # else it is the root
        if group == "scenario" and name in packaged() and name not in (error.options or ()):
            wanted = f"it must be one of {', '.join(error.options or ())}"
            game = name in packaged(GAME)
            kinds = ("game", "missions") if game else ("mission", "games")
            return f"scenario={name} is a {kinds[0]}, and this command is for {kinds[1]}{where}: {wanted}"
        options = {*(error.options or ()), *(packaged() if games and group == "scenario" else ())}
        known = f"one of {', '.join(sorted(options))}" if options else "the name of a file in that group"
        return f"{group}={shown(name)} is not known{_meant(name, options)}{where}: it must be {known}"
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__ or error.__context__
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and cause.full_key:
        if dataclasses.is_dataclass(cause.object_type):
            return unknown_key(key_of(cause), [field.name for field in dataclasses.fields(cause.object_type)])
        present = [str(key) for key in cause.parent_node or ()]
        return f"{unknown_key(key_of(cause), present)}; with a + before it, it is added"
    if isinstance(cause, KeyValidationError):
        return (
            f"{_owner_of(cause) or 'the configuration'} has the name {shown(cause.key)}, which YAML does not read as "
            "text: it must be written in quotes"
        )
    if isinstance(cause, MissingMandatoryValue) and cause.full_key:
        return f"{key_of(cause)} is not set: it must be {_kind(_hint(cause)) or 'given'}"
    if isinstance(cause, ValidationError) and cause.full_key and (kind := _kind(_hint(cause))):
        instead = _instead(key_of(cause), _hint(cause), cause.value)
        return f"{key_of(cause)}={shown(cause.value)} is not allowed: it must be {kind}{instead}"
    if isinstance(cause, ValidationError) and (found := _VALUE_FOR_GROUP.match(_first_line(cause))):
        owner, value = found.groups()
        for key, config in _groups(cause.object_type):
            if config.__name__ == owner:
                return f"{key}={shown(value)} is not allowed: it must be {_kind(config)}{_instead(key, config, value)}"
    if isinstance(cause, ValidationError) and _first_line(cause).startswith("Invalid type assigned: dict is not"):
        return f"{_typed_key(error, cause)} is not there yet: it must be added in a file of your own (--config-dir)"
    if isinstance(cause, OmegaConfBaseException) and _first_line(cause).startswith("Cannot merge DictConfig with"):
        return f"{key_of(cause) or 'the configuration'} is not allowed to be a list: it must be a group of keys"
    if isinstance(cause, OmegaConfBaseException):
        return f"{key_of(cause) or 'the configuration'} is not understood: {_first_line(cause)}"
    if isinstance(error, OverrideParseException):
        return f"{shown(error.override)} is not understood: it must be KEY=VALUE, {_quoted(error.override)}"
    if found := _SEVERAL.match(str(error)):
        each = "; with -m, the command runs once for each value" if found["shell"] else ""
        told = f"{_quoted(found['override'])}, or KEY=[A,B] if it is a list{each}"
        return f"{cut(found['override'])} is not understood: it must be KEY=VALUE, {told}"
    return str(error)


def not_composed(error: BaseException) -> ConfigError:
    """Of an error that Hydra or OmegaConf did not mean for anybody to see."""
    if "Unexpected type for root: NoneType" in str(error) or isinstance(error, AttributeError):
        # Hydra's error does not tell which override it is about: the frame that raised it does.
        held = [frame.f_locals.get("override") for frame, _ in traceback.walk_tb(error.__traceback__)]
        typed = next((cut(str(each.input_line)) for each in held if isinstance(each, Override)), "a key")
        return ConfigError(
            f"{typed} cannot be set on the command line, because its group is null in this mission: it must be set in "
            "a scenario's file (docs/own-files.md)"
        )
    return ConfigError(f"the configuration is not understood: {type(error).__name__}: {_first_line(error)}")


def key_of(error: OmegaConfBaseException) -> str:
    """The key that an error is about, as it is typed: entries of lists by their numbers, a.0.b."""
    return re.sub(r"\[(\d+)\]", r".\1", str(error.full_key or ""))


def _owner_of(error: KeyValidationError) -> str:
    """The group that has a key which is no text."""
    key, name = key_of(error), str(error.key)
    return key.removesuffix(name).rstrip(".") if key.endswith(f".{name}") else key


def _typed_key(error: BaseException, cause: OmegaConfBaseException) -> str:
    """The key as it was typed, where Hydra tells it: OmegaConf knows only its last part when there is no such group."""
    found = re.match(r"Error merging override \+*([^=]+)=", str(error))
    return found[1] if found is not None and found[1].endswith(key_of(cause)) else key_of(cause)


def _quoted(override: str) -> str:
    """How a value that Hydra cannot read as it stands is typed."""
    key, _, value = override.partition("=")
    if not re.fullmatch(r"[+~]*[\w@/-]+(\.[\w-]+)*", key) or not value or set(value) & set("[]{}()'\"$\\"):
        return "with VALUE as in YAML"
    return f"with VALUE in quotes: {cut(chr(34) + key + '=' + repr(value) + chr(34))}"


def unknown_key(full_key: str, known: Iterable[str]) -> str:
    """The sentence for a key that its group does not have."""
    group, _, key = full_key.rpartition(".")
    names = list(known)
    return f"{full_key} is not a known key{_meant(key, names)}: {group or 'the configuration'} has {', '.join(names)}"


def _meant(name: str, known: Iterable[str]) -> str:
    """The known name that is nearest, in brackets; nothing where none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _hint(error: OmegaConfBaseException) -> Any:
    """The declared type of the field that the error is about."""
    if dataclasses.is_dataclass(error.object_type):
        return typing.get_type_hints(error.object_type).get(str(error.key))
    members = typing.get_args(error.ref_type) if _is_union(error.ref_type) else (error.ref_type,)
    arguments = next(filter(None, map(typing.get_args, members)), ())  # of list[element] or dict[str, value]
    return arguments[-1] if arguments else None


def _groups(config: Any, within: str = "") -> Iterator[tuple[str, type]]:
    """The groups of keys below a config dataclass: full key and dataclass."""
    for key, hint in typing.get_type_hints(config).items() if dataclasses.is_dataclass(config) else ():
        for member in typing.get_args(hint) if _is_union(hint) else (hint,):
            if isinstance(member, type) and dataclasses.is_dataclass(member):
                yield f"{within}{key}", member
                yield from _groups(member, f"{within}{key}.")


def _instead(full_key: str, hint: Any, value: Any) -> str:
    """Of a value in place of a group of keys: which of the keys takes it, if one has it among its choices."""
    for field in dataclasses.fields(hint) if dataclasses.is_dataclass(hint) else ():
        choices = typing.get_type_hints(hint)[field.name]
        if isinstance(choices, type) and issubclass(choices, Enum) and value in choices.__members__:
            key = full_key.rpartition(".")[2]
            return f"; write {full_key}.{field.name}={value}, or in YAML {key}: {{{field.name}: {value}}}"
    return ""


def _is_union(hint: Any) -> bool:
    return isinstance(hint, UnionType) or typing.get_origin(hint) is typing.Union


def _kind(hint: Any) -> str:
    if _is_union(hint):
        return " or ".join(_kind(member) for member in typing.get_args(hint))
    if typing.get_origin(hint) is list:
        return f"a list ({_kind(typing.get_args(hint)[0])} each)"
    if isinstance(hint, type) and issubclass(hint, Enum):
        return f"one of {', '.join(member.name for member in hint)}"
    if dataclasses.is_dataclass(hint):
        return f"a group of keys ({', '.join(field.name for field in dataclasses.fields(hint))})"
    if typing.get_origin(hint) is dict:
        return "a group of keys"
    return _KINDS.get(hint, "")


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
