"""Trainings that are given by name: a finished one to load, an unfinished one to go on with.

They are checked by what they hold and by the settings that made them, never by the code: they may come from another
machine, or from another version of this program.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile
from typing import Any, NoReturn

from safetensors import SafetensorError, safe_open
from torch import Tensor

from scenarios.ranges import ConfigError
from training import checkpoint
from training.artifact import BEGUN, CHECKPOINT, DONE, Artifact
from training.checkpoint import CheckpointError

FINAL = "final.safetensors"
LOAD, RESUME = "teacher.load", "teacher.resume"  # the settings that name a folder


@dataclass(frozen=True, slots=True)
class Finished:
    """A trained teacher: its networks, and what was written down with them."""

    folder: Path
    kind: str
    depends_on: dict[str, Any]  # the settings that made it
    info: dict[str, Any]
    state: dict[str, Any]  # team, critic, value_norm

    def digest(self, **settings: float) -> str:
        """SHA-256 of the networks, and of the settings that they are used with; where they lie plays no part."""
        return checkpoint.digest({"networks": _digest_of(self.state), **settings})

    def artifact(self, digest: str) -> Artifact:
        """The folder as a stage that needed no work."""
        return Artifact(self.kind, self.folder, digest, reused=True)

    def refuse(self, must: str) -> NoReturn:
        refuse(LOAD, self.folder, must)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A training that was stopped: its last checkpoint, and the settings it had."""

    folder: Path
    kind: str | None  # None: written before settings were kept beside a checkpoint
    depends_on: dict[str, Any] | None
    state: dict[str, Any]

    def refuse(self, must: str) -> NoReturn:
        refuse(RESUME, self.folder, must)

    def check_settings(self, kind: str, depends_on: Mapping[str, Any], apart: Sequence[str]) -> None:
        """Whether it is a training of this kind with these settings.

        Args:
            apart: settings, by dotted keys, that may differ. One that the other version did not have yet may too.

        Raises:
            ConfigError: it is not.
        """
        if self.kind is not None and self.kind != kind:
            self.refuse(f"an unfinished training of {kind}, and it holds one of {self.kind}")
        unlike = differences(depends_on, self.depends_on or {}, apart)
        if unlike:
            self.refuse(f"a training with the settings of this run, and it has others: {'; '.join(unlike)}")

    def go_on(self, folder: Path, key: str) -> None:
        """Make it the training in ``folder`` (of digest ``key``), unless that has a checkpoint of its own."""
        if (folder / CHECKPOINT).exists():
            return
        for path in self.folder.glob("aggregated-*.npz"):  # episodes that a mission's cloning still needs
            copyfile(path, folder / path.name)
        checkpoint.save(folder / CHECKPOINT, self.state, key)


def read_finished(folder: Path) -> Finished:
    """A folder with done.json and final.safetensors.

    Raises:
        ConfigError: one is missing, damaged, of another format version, or not of the other.
    """
    if not (folder / DONE).is_file() and (folder / CHECKPOINT).is_file():
        refuse(LOAD, folder, f"a finished teacher, and this training has not ended: {RESUME}={folder} goes on with it")
    for name in (DONE, FINAL):
        if not (folder / name).is_file():
            refuse(LOAD, folder, f"the folder of a finished teacher, and it holds no {name}")
    done = _settings(LOAD, folder, DONE)
    if header_digest(LOAD, folder, FINAL) != done["digest"]:
        refuse(LOAD, folder, f"the folder of one teacher, and its {DONE} and {FINAL} are of two")
    state = _state(LOAD, folder, FINAL, done["digest"])
    if not {"team", "critic", "value_norm"} <= set(state):
        refuse(LOAD, folder, f"a teacher with its critic, and it holds {done['kind']}")
    return Finished(folder, str(done["kind"]), done["depends_on"], done.get("info", {}), state)


def read_unfinished(folder: Path) -> Unfinished:
    """A folder with checkpoint.safetensors, and begun.json unless it is older than that file.

    Raises:
        ConfigError: as of ``read_finished``.
    """
    if (folder / DONE).is_file():
        refuse(RESUME, folder, f"an unfinished training, and this one has ended: {LOAD}={folder} takes its networks")
    if not (folder / CHECKPOINT).is_file():
        refuse(RESUME, folder, f"the folder of an unfinished training, and it holds no {CHECKPOINT}")
    about = _settings(RESUME, folder, BEGUN) if (folder / BEGUN).is_file() else {}
    state = _state(RESUME, folder, CHECKPOINT, header_digest(RESUME, folder, CHECKPOINT))
    return Unfinished(folder, about.get("kind"), about.get("depends_on"), state)


def check_sizes(stored: Finished | Unfinished, sizes: Sequence[tuple[str, int, int]]) -> None:
    """Of the networks: name, what is stored, what this run has.

    Raises:
        ConfigError: they differ.
    """
    unlike = [f"{name} {there} there, {here} here" for name, there, here in sizes if there != here]
    if unlike:
        stored.refuse(f"of networks with this run's sizes: {', '.join(unlike)}")


def check_networks(
    stored: Finished | Unfinished,
    state: Mapping[str, Any],
    fresh: Mapping[str, Mapping[str, Any]],
    named: Sequence[tuple[str, str, int, str]],
) -> None:
    """Whether stored networks fit those of a run.

    Args:
        stored: where they are from.
        state: network -> its state dict, as stored.
        fresh: likewise, of the run's networks.
        named: network, tensor and axis whose length a user knows by a name, and that name: these are compared first.

    Raises:
        ConfigError: they do not.
    """
    lengths = []
    for network, name, axis, said in named:
        there, here = state[network].get(name), fresh[network][name]
        if there is not None and there.ndim == here.ndim:
            lengths.append((said, there.shape[axis], here.shape[axis]))
    check_sizes(stored, lengths)
    for network, values in fresh.items():
        check_shapes(stored, state[network], values)


def check_shapes(stored: Finished | Unfinished, state: Mapping[str, Any], fresh: Mapping[str, Any]) -> None:
    """Whether a stored state fits networks, after ``check_sizes`` has said what a user can name.

    Raises:
        ConfigError: it does not.
    """
    for name, value in fresh.items():
        if isinstance(value, Tensor):
            there = state.get(name)
            if not isinstance(there, Tensor) or there.shape != value.shape:
                shape = list(there.shape) if isinstance(there, Tensor) else "missing"
                stored.refuse(f"of networks built as this run's are: {name} is {shape} there, {list(value.shape)} here")


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any], apart: Sequence[str]) -> list[str]:
    """Settings that both have and that differ, but for those ``apart`` (dotted keys, or groups of them)."""
    here, there = dict(_flat(json.loads(json.dumps(ours)), "")), dict(_flat(theirs, ""))
    return [
        f"{key} is {json.dumps(there[key])} there, {json.dumps(here[key])} here"
        for key in here
        if key in there
        and here[key] != there[key]
        and not any(key == each or key.startswith(f"{each}.") for each in apart)
    ]


def refuse(setting: str, folder: Path, must: str) -> NoReturn:
    raise ConfigError(f"{setting}={str(folder)!r} is not allowed: it must be {must}")


def header_digest(setting: str, folder: Path, name: str) -> str:
    """The digest of settings and code that a checkpoint was written under."""
    try:
        with safe_open(folder / name, framework="pt") as file:
            header = json.loads((file.metadata() or {})["checkpoint"])
        return str(header["config"])
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        refuse(setting, folder, f"whole, and its {name} is damaged ({' '.join(str(error).split())})")


def _state(setting: str, folder: Path, name: str, key: str) -> dict[str, Any]:
    try:
        return checkpoint.load(folder / name, key)
    except CheckpointError as error:
        refuse(setting, folder, f"whole and readable, and {error}")


def _settings(setting: str, folder: Path, name: str) -> dict[str, Any]:
    try:
        about = json.loads((folder / name).read_bytes())
        if not (isinstance(about["kind"], str) and isinstance(about["depends_on"], dict)):
            raise ValueError("kind or depends_on is of another type")
        return {"digest": "", **about}
    except (OSError, ValueError, KeyError, TypeError) as error:
        refuse(setting, folder, f"whole, and its {name} is damaged ({error})")


def _digest_of(state: Any) -> Any:
    """A state as JSON, in which its tensors are their digests."""
    if isinstance(state, Tensor):
        values = state.contiguous().numpy()
        return [str(values.dtype), list(values.shape), hashlib.sha256(values.tobytes()).hexdigest()]
    if isinstance(state, Mapping):
        return {str(key): _digest_of(value) for key, value in state.items()}
    return [_digest_of(value) for value in state] if isinstance(state, list | tuple) else state


def _flat(node: Mapping[str, Any], where: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{where}{key}.")
        else:
            yield f"{where}{key}", value
