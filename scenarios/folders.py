"""A folder of its own for every run, also for runs that start in the same second."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import tempfile
from pathlib import Path

from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from scenarios.compute import OutputConfig
from scenarios.ranges import ConfigError, cut


def check_writable(output: OutputConfig, *others: Path) -> None:
    """Refuse, before any compute, folders that cannot be written to later. Makes none of them.

    Raises:
        ConfigError: one cannot.
    """
    named = {f"output.{name}": getattr(output, name) for name in ("dir", "cache_dir", "records_dir")}
    places = [(f"{name}={folder}", Path(folder)) for name, folder in named.items() if folder is not None]
    for told, folder in [*places, *((str(folder), folder) for folder in others)]:
        check_folder(told, folder)


def check_folder(told: str, folder: Path) -> None:
    """Refuse, before any compute, a folder that cannot be written to later. Makes none.

    Args:
        told: the folder as the user has named it, such as --out=FOLDER.
        folder: which.

    Raises:
        ConfigError: it cannot.
    """
    try:
        # A link that leads nowhere is there, too, and in the way.
        there = next(place for place in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(place))
        tempfile.TemporaryFile(dir=there).close()
    except (OSError, ValueError) as error:
        raise ConfigError(_not_writable(cut(told), "folder", error)) from error


def check_file(name: str, path: Path) -> None:
    """Refuse, before any compute, a file that cannot be written later, also where there is none yet. Makes none.

    Raises:
        ConfigError: it cannot.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        there = next(place for place in path.absolute().parents if os.path.lexists(place))
        longest = os.pathconf(there, "PC_NAME_MAX") - len("..12345678.tmp")  # what write_whole names it at first
        if len(os.fsencode(path.name)) > longest:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        tempfile.TemporaryFile(dir=there).close()
    except (OSError, ValueError) as error:
        raise ConfigError(_not_writable(cut(f"{name}={path}"), "file", error)) from error


def _not_writable(told: str, kind: str, error: Exception) -> str:
    reason = getattr(error, "strerror", None) or error
    return f"{told} is not allowed: it must be a {kind} that can be written to ({reason})"


_made: list[Path] = []  # by this process


def leave_no_empty_ones() -> None:
    """Remove the folders that were made here and hold nothing: of a run that was refused."""
    for folder in reversed(_made):
        with contextlib.suppress(OSError):
            folder.rmdir()


def own_folder(wanted: Path) -> Path:
    """Make the folder, or where it is taken, that with ``-2``, ``-3`` ... behind its name.

    Raises:
        OSError: it cannot be made.
    """
    if not wanted.parent.is_dir():
        wanted.parent.mkdir(parents=True, exist_ok=True)
        _made.append(wanted.parent)
    for number in itertools.count(1):
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        _made.append(folder)
        return folder
    raise AssertionError("unreachable")


def claim(config: DictConfig, mode: str) -> None:
    """Make the folder of a composed configuration's ``hydra.run`` or ``hydra.sweep`` (``mode``), and write its name
    there; a folder that the user has typed stays as it is.

    Raises:
        OSError: it cannot be made.
    """
    key, given = f"hydra.{mode}.dir", config.hydra.overrides.hydra
    if any(str(override).lstrip("+").startswith(f"{key}=") for override in given):
        return
    wanted = Path(str(OmegaConf.select(config, key)))
    behind = own_folder(wanted).name.removeprefix(wanted.name)
    if not behind:
        return
    group = OmegaConf.to_container(config.hydra[mode], resolve=False)
    assert isinstance(group, dict)
    name = f"{group['dir']}{behind}"
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra[mode].dir = name
        if mode == "sweep":  # each job of a sweep is composed anew, of what was typed
            quoted = name.replace("\\", "\\\\").replace("'", "\\'")
            given.append(f"{key}='{quoted}'")
