"""Which of Hydra's roots a command line is for: a constellation's or a game's; both have ``scenario=NAME``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from scenarios.overrides import chosen, config_folder
from scenarios.ranges import ConfigError, cut

CONSTELLATION = "pkg://scenarios"
GAME = "pkg://scenarios.games"
FOLDERS = {CONSTELLATION: Path(__file__).parent, GAME: Path(__file__).parent / "games"}
_GAMES = FOLDERS[GAME] / "scenario"


def packaged(*roots: str) -> list[str]:
    """Names of all scenarios that come with the project, of these roots or of both."""
    folders = [FOLDERS[root] for root in roots or FOLDERS]
    return sorted(path.stem for folder in folders for path in (folder / "scenario").glob("*.yaml"))


def root_of(arguments: Sequence[str]) -> str:
    """The root whose scenario the arguments name; a constellation's if they name none that is known.

    A scenario of the user's own (``--config-dir``) is a game's if it has an ``environment`` or builds on one that has.

    Raises:
        ConfigError: a sweep names scenarios of both.
    """
    folder = config_folder(arguments)
    names = [name for name in chosen(arguments, "scenario") if isinstance(name, str) and name]
    games = [name for name in names if _is_game(name, folder, seen=())]
    others = [name for name in names if name not in games and _is_mission(name, folder)]
    if games and others:
        raise ConfigError(
            f"scenario={cut(','.join(names))} is not allowed: {cut(others[0])} is a mission and {cut(games[0])} a "
            "game, and a sweep must be of missions or of games"
        )
    return GAME if games else CONSTELLATION


def _is_mission(name: str, folder: Path | None) -> bool:
    """Of what is no game: a mission, and not a name that nobody knows."""
    places = [FOLDERS[CONSTELLATION], *([] if folder is None else [folder])]
    return any((place / "scenario" / f"{name}.yaml").is_file() for place in places)


def _is_game(name: str, folder: Path | None, seen: tuple[str, ...]) -> bool:
    if name in seen:
        return False
    if (_GAMES / f"{name}.yaml").is_file():
        return True
    own = None if folder is None else folder / "scenario" / f"{name}.yaml"
    if own is None or not own.is_file():
        return False
    try:
        content: Any = yaml.safe_load(own.read_text("utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return False  # Hydra says what is wrong with it
    if not isinstance(content, dict):
        return False
    if "environment" in content:
        return True
    bases = content.get("defaults")
    names = [base for base in bases if isinstance(base, str)] if isinstance(bases, list) else []
    return any(_is_game(base, folder, (*seen, name)) for base in names if base != "_self_")
