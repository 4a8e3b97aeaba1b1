"""Files of the user's own (``--config-dir``), looked at before Hydra reads them: what it would fail on, or not use."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf._utils import get_yaml_loader

from scenarios.games.environment import GameConfig
from scenarios.mission import ScenarioConfig
from scenarios.overrides import GROUPS, chosen, config_folder, held, is_text
from scenarios.ranges import ConfigError, check, cut

DEFAULTS = {"scenarios": ["imaging_constellation"], "games": ["smac_3m"]}  # of the roots' config.yaml

_SCENARIOS: dict[str, type] = {"scenarios": ScenarioConfig, "games": GameConfig}
_QUOTE = "names must be written in quotes there"


def check_files(arguments: Sequence[str], root: Path) -> None:
    """The files that a command line would read of its ``--config-dir``, and those that they build on.

    Args:
        arguments: the command line.
        root: folder of the packaged groups, which Hydra prefers.

    Raises:
        ConfigError: one is no UTF-8 text, holds itself, or has the name of a packaged one; or there is no such tuning,
            which Hydra takes for none.
        OSError: one cannot be read.
    """
    folder = config_folder(arguments)
    if folder is not None:
        check("--config-dir", str(folder), folder.is_dir(), "a folder")
    named = {group: [name for name in chosen(arguments, group) if isinstance(name, str)] for group in GROUPS}
    for name in named["tuning"]:
        places = [place / "tuning" for place in (root, folder) if place is not None]
        known = sorted(path.stem for place in places for path in place.glob("*.yaml"))
        check("tuning", name, name in known, f"one of {', '.join(known)}")
    named["preset"] = named["preset"] or ["default"]
    named["scenario"] = named["scenario"] or DEFAULTS[root.name]
    named["tuning"] = named["tuning"] or named["scenario"]  # as the root's defaults say
    for group, names in named.items():
        for name in names:
            if folder is not None:
                _check_file(folder, f"{group}/{name}", root, ())


def _check_file(folder: Path, name: str, root: Path, above: tuple[str, ...]) -> None:
    path = folder / f"{name}.yaml"
    if name in above:
        circle = " -> ".join([*above[above.index(name) :], name])
        raise ConfigError(f"the defaults of {cut(str(path))} lead back to it ({cut(circle)}): they must end somewhere")
    if path.is_dir():
        raise ConfigError(f"{path} is a folder: it must be a file in YAML")
    if not path.is_file():
        return  # packaged, or Hydra says that there is none
    if (root / f"{name}.yaml").is_file():
        raise ConfigError(f"{path} is not used, for {name} is packaged: it must have another name")
    content = _read(path)
    if content is not None and not isinstance(content, dict):
        raise ConfigError(f"{path} holds a {type(content).__name__}: it must hold a group of keys, KEY: VALUE each")
    if name.startswith("scenario/"):
        _check_texts(path, _SCENARIOS[root.name])
    for base in _bases(content or {}, name.partition("/")[0]):
        _check_file(folder, base, root, (*above, name))


def _check_texts(path: Path, schema: type) -> None:
    """Refuse what is written as a name and read as something else: `yes` is true, 0x10 is 16.

    Raises:
        ConfigError: there is such a name.
    """
    text = path.read_bytes().decode("utf-8-sig")
    try:
        read, written = yaml.load(text, get_yaml_loader()), yaml.load(text, yaml.BaseLoader)
    except (yaml.YAMLError, ValueError, TypeError):  # Hydra says so
        return
    _compare(path, read, written, schema, "scenario")


def _compare(path: Path, read: Any, written: Any, hint: Any, where: str) -> None:
    if isinstance(read, dict) and isinstance(written, dict) and len(read) == len(written):
        for (key, value), (name, text) in zip(read.items(), written.items(), strict=True):
            agent = type(key) is int and str(key) == name and where == "scenario.environment.blocks"
            if not isinstance(key, str) and not agent:
                raise ConfigError(f"{where} has the name {cut(name)} in {path}, which YAML reads as no text: {_QUOTE}")
            _compare(path, value, text, held(hint, key), f"{where}.{key}")
    elif isinstance(read, list) and isinstance(written, list):
        for index, (value, text) in enumerate(zip(read, written, strict=True)):
            _compare(path, value, text, held(hint, index), f"{where}.{index}")
    elif is_text(hint) and read is not None and not isinstance(read, str) and str(read) != written:
        raise ConfigError(f"{where}={cut(str(written))} is not allowed: YAML reads it as {cut(str(read))}: {_QUOTE}")


def _read(path: Path) -> Any:
    """What a file holds; None where it is no YAML, which Hydra has a sentence for."""
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start}): save it as UTF-8") from error
    if raw.startswith(codecs.BOM_UTF8) and text[1:].lstrip().startswith("#"):  # Hydra would not see "# @package"
        raise ConfigError(f"{path} begins with a byte order mark: save it as UTF-8 without one")
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):  # ValueError: a date that there is not
        return {}
    except RecursionError as error:
        raise ConfigError(f"{path} is nested too deeply to be read") from error
    if _holds_itself(content, ()):
        raise ConfigError(f"{path} has an anchor (&) that holds itself: it must end somewhere")
    return content


def _holds_itself(node: Any, above: tuple[int, ...]) -> bool:
    if not isinstance(node, dict | list):
        return False
    if id(node) in above:
        return True
    return any(_holds_itself(each, (*above, id(node))) for each in (node.values() if isinstance(node, dict) else node))


def _bases(content: dict[Any, Any], group: str) -> Iterator[str]:
    """Of a defaults list, GROUP/NAME each."""
    defaults = content.get("defaults")
    for each in defaults if isinstance(defaults, list) else ():
        if isinstance(each, str) and each != "_self_":
            yield each.lstrip("/") if each.startswith("/") else f"{group}/{each}"
        elif isinstance(each, dict):
            for key, names in each.items():
                key = str(key).removeprefix("optional ").removeprefix("override ").partition("@")[0]
                for name in names if isinstance(names, list) else [names]:
                    if isinstance(name, str):
                        yield f"{key.lstrip('/') if key.startswith('/') else f'{group}/{key}'}/{name}"
