"""Which of Hydra's roots a command line is for: a constellation's or a game's; both have ``scenario=NAME``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

CONSTELLATION = "pkg://scenarios"
GAME = "pkg://scenarios.games"
_GAMES = Path(__file__).parent / "games" / "scenario"


def packaged() -> list[str]:
    """Names of all scenarios that come with the project, of both roots."""
    folders = (_GAMES, Path(__file__).parent / "scenario")
    return sorted(path.stem for folder in folders for path in folder.glob("*.yaml"))


def root_of(arguments: Sequence[str]) -> str:
    """The root whose scenario the arguments name; a constellation's if they name none that is known.

    A scenario of the user's own (``--config-dir``) is a game's if it has an ``environment`` or builds on one that has.
    """
    name, folder = "", None
    for index, argument in enumerate(arguments):
        key, _, value = argument.partition("=")
        if key == "scenario":
            name = value.strip("'\"[]").split(",")[0]
        elif key in ("--config-dir", "-cd"):
            folder = Path(value or (arguments[index + 1] if index + 1 < len(arguments) else "."))
    return GAME if name and _is_game(name, folder, seen=()) else CONSTELLATION


def _is_game(name: str, folder: Path | None, seen: tuple[str, ...]) -> bool:
    if name in seen:
        return False
    own = None if folder is None else folder / "scenario" / f"{name}.yaml"
    if own is None or not own.is_file():
        return (_GAMES / f"{name}.yaml").is_file()
    try:
        content: Any = yaml.safe_load(own.read_text())
    except (OSError, yaml.YAMLError):
        return False  # Hydra says what is wrong with it
    if not isinstance(content, dict):
        return False
    if "environment" in content:
        return True
    bases = content.get("defaults")
    names = [base for base in bases if isinstance(base, str)] if isinstance(bases, list) else []
    return any(_is_game(base, folder, (*seen, name)) for base in names if base != "_self_")
