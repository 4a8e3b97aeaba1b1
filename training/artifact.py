"""The output of a stage, stored under the digest of all its inputs: made once, reused, and never incomplete."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from envs.files import write_json
from training.checkpoint import digest

ROOT = Path(__file__).resolve().parent.parent
CHECKPOINT = "checkpoint.safetensors"  # where a stage goes on from; dropped once it is done
DONE = "done.json"
BEGUN = "begun.json"  # which settings a stage that is not done has; dropped once it is
_UNFINISHED = (".*.tmp", ".*.partial")  # temporary names of ``envs.files`` and of ``onboard``
_SOURCES = (".py", ".c", ".h", ".json")  # onboard/ holds the C engine, and the closed form of its instructions
_PACKAGES = ("bsk", "bsk-rl", "torch", "numpy", "scipy")  # whose versions may change results


Progress = Callable[[float, str], None]  # (share done, what to say)
Scalars = Callable[[int, Mapping[str, float]], None]  # (steps or episodes so far, a training's statistics)


def untold(step: int, statistics: Mapping[str, float]) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stage works, and may have worked before a crash."""

    folder: Path
    key: str  # the stage's digest, which its checkpoints carry
    progress: Progress
    scalars: Scalars = untold  # told at each point of a learning curve


class ArtifactError(ValueError):
    """An artifact that cannot be made or used; the message is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A finished stage: a folder of files."""

    kind: str
    path: Path
    digest: str
    reused: bool = False

    def info(self) -> dict[str, Any]:
        """What the stage wrote down when it was done."""
        info: dict[str, Any] = json.loads((self.path / DONE).read_text())["info"]
        return info


@cache
def code_digest(sources: tuple[str, ...]) -> str:
    """SHA-256 over source files named relative to the project ("envs" names all of a folder's code)."""
    total = hashlib.sha256()
    for source in sources:
        place = ROOT / source
        files = [f for f in place.rglob("*.*") if f.suffix in _SOURCES] if place.is_dir() else [place]
        for file in sorted(files):
            total.update(str(file.relative_to(ROOT)).encode())
            total.update(file.read_bytes())
    return total.hexdigest()


def versions(packages: Iterable[str] = _PACKAGES) -> dict[str, str]:
    return {package: version(package) for package in packages}


def make(
    cache_dir: Path,
    kind: str,
    depends_on: Mapping[str, Any],
    sources: tuple[str, ...],
    work: Callable[[Path, str], dict[str, Any]],
    say: Callable[[str], None],
) -> Artifact:
    """The artifact of a stage, made now or found; one that another process is making is waited for.

    Args:
        cache_dir: where artifacts are kept.
        kind: the stage's name.
        depends_on: configuration and the digests of input artifacts, as plain JSON.
        sources: the code it depends on, see ``code_digest``.
        work: ``work(folder, digest)`` makes the files and returns what to write down; after a crash it is called again
            with the same folder, and what it saved there itself is where it goes on from.
        say: told before a wait.

    Raises:
        ArtifactError: the folder cannot be written.
    """
    key = digest({"kind": kind, **depends_on, "code": code_digest(sources), "versions": versions()})
    folder = cache_dir / f"{kind}-{key[:16]}"
    if (folder / DONE).is_file():
        return Artifact(kind, folder, key, reused=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(f"waiting for another process that is making {folder}")
                fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / DONE).is_file():
                _sweep(folder)
                about = {"kind": kind, "digest": key, "depends_on": depends_on}
                write_json(folder / BEGUN, about)
                info = work(folder, key)
                write_json(folder / DONE, {**about, "info": info})
        for temporary in (CHECKPOINT, BEGUN):
            (folder / temporary).unlink(missing_ok=True)
    except OSError as error:
        raise ArtifactError(f"artifact {folder} could not be written: {error.strerror or error}") from error
    return Artifact(kind, folder, key)


def _sweep(folder: Path) -> None:
    """Remove what a process that was killed (SIGKILL) had begun to write; who holds the lock is the only writer."""
    for pattern in _UNFINISHED:
        for left in folder.glob(pattern):
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink()
