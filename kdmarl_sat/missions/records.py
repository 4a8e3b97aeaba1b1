"""Stored run records of missions, put together: what may be averaged, and intervals over seeds and episodes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.files import read_json

RESAMPLES = 5000
APART_FROM = ("seed", "output", "compute")  # settings of runs that are still averaged
ADDING = ("evaluation.controls", "teacher.resume")  # settings that add policies or say where one comes from
LOADED = "teacher.load"  # each seed may have a folder of its own; a loaded teacher is unlike one of the run's
LATER = {"teacher.decide_by_kind": False}  # settings that older records lack, and what those runs had
READABLE = 1

Record = dict[str, Any]
FloatArray = NDArray[np.float64]


class RecordError(ValueError):
    """A run record that cannot be read; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A value and what it is in each resample; NaN or infinite where a ratio's denominator is 0."""

    value: float
    resampled: FloatArray  # [RESAMPLES]


def read_records(folder: Path) -> list[Record]:
    """All run records of a folder.

    Raises:
        RecordError: one that is damaged or of another version.
    """
    records = []
    for path in sorted(folder.glob("*.json")):
        try:
            record = read_json(path)
        except ValueError as error:  # no JSON, or no text
            raise RecordError(f"run record {path} is damaged: {error}") from error
        version = record.get("version") if isinstance(record, dict) else None
        if version != READABLE or record.get("format") != "kdmarl_sat.metrics":
            raise RecordError(f"run record {path} has version {version!r}; this program reads version {READABLE}")
        _check_whole(path, record)
        records.append(record)
    return records


def _check_whole(path: Path, record: Record) -> None:
    """Of what tables read, all that is not read by ``get``.

    Raises:
        RecordError: some of it is not there.
    """
    where = ""
    try:
        for where in ("run.scenario", "run.preset", "run.seed", "run.commit", "config.scenario.duration_s", "policies"):
            found: Any = record
            for key in where.split("."):
                found = found[key]
        for index, each in enumerate(record["policies"]):
            for key in ("name", "label", "macs_per_decision", "agreement", "episodes"):
                where = f"policies.{index}.{key}"
                each[key]
            for number, episode in enumerate(each["episodes"]):
                for key in ("captured", "duplicates", "deaths"):
                    where = f"policies.{index}.episodes.{number}.{key}"
                    float(episode[key])
        for index, claim in enumerate(record["claims"]):
            for key in ("text", "measured", "wanted", "met"):
                where = f"claims.{index}.{key}"
                claim[key]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise RecordError(f"run record {path} is damaged: {where} is not there, or not what it should be") from error


def policy(record: Record, name: str) -> Any:
    return next((policy for policy in record["policies"] if policy["name"] == name), None)


@dataclass(frozen=True)
class Group:
    """Runs of one mission, preset and configuration: a training seed each."""

    records: tuple[Record, ...]
    differences: str = ""  # of its settings from those of the first group of its mission and preset

    @property
    def mission(self) -> str:
        return str(self.records[0]["run"]["scenario"])

    @property
    def preset(self) -> str:
        return str(self.records[0]["run"]["preset"])

    @property
    def seeds(self) -> int:
        return len(self.records)

    @cached_property
    def names(self) -> list[str]:
        """Of the policies that all runs flew."""
        first = self.records[0]["policies"]
        return [each["name"] for each in first if all(policy(record, each["name"]) for record in self.records)]

    @cached_property
    def flown(self) -> tuple[int, int]:
        """Least and greatest number of episodes; the least counts."""
        numbers = [len(policy(record, name)["episodes"]) for record in self.records for name in self.names]
        return min(numbers), max(numbers)

    @property
    def commits(self) -> list[str]:
        return sorted({record["run"]["commit"][:10] + record["run"]["commit"][40:] for record in self.records})

    def of(self, name: str) -> list[Any]:
        """A policy in each run."""
        return [policy(record, name) for record in self.records]

    def captured(self, name: str) -> Measured:
        """Captured priority per episode.

        Percentile bootstrap over training seeds and held-out episodes together, the same draws for all policies.
        """
        return self._captured[name]

    def ratio(self, name: str, base: str) -> Measured:
        ours, theirs = self.captured(name), self.captured(base)
        return _divided(ours.value, ours.resampled, theirs.value, theirs.resampled)

    def kept(self, name: str) -> Measured:
        """Normalised retention: random flying 0, the teacher 1."""
        ours, floor, teacher = (self.captured(each) for each in (name, "random", "teacher_fo"))
        return _divided(
            ours.value - floor.value,
            ours.resampled - floor.resampled,
            teacher.value - floor.value,
            teacher.resampled - floor.resampled,
        )

    def macs(self, name: str) -> tuple[int, int] | None:
        """Multiplications of a decision: of the costliest satellite, and of all together; None for rules."""
        each = policy(self.records[0], name)["macs_per_decision"]
        return (max(each), sum(each)) if each else None

    def claims(self) -> Iterator[tuple[str, list[Any]]]:
        """Each claim's text, and what it is in each run."""
        for index, claim in enumerate(self.records[0]["claims"]):
            yield claim["text"], [record["claims"][index] for record in self.records]

    @cached_property
    def _captured(self) -> dict[str, Measured]:
        episodes, rng = self.flown[0], np.random.default_rng(0)
        rows = rng.integers(self.seeds, size=(RESAMPLES, self.seeds, 1))
        columns = rng.integers(episodes, size=(RESAMPLES, 1, episodes))
        values = {
            n: np.array([[e["captured"] for e in p["episodes"][:episodes]] for p in self.of(n)]) for n in self.names
        }
        return {n: Measured(float(v.mean()), v[rows, columns].mean(axis=(1, 2))) for n, v in values.items()}


def _divided(part: float, parts: FloatArray, whole: float, wholes: FloatArray) -> Measured:
    with np.errstate(divide="ignore", invalid="ignore"):  # a baseline may have captured nothing
        return Measured(float(np.float64(part) / np.float64(whole)), parts / wholes)


def grouped(records: Sequence[Record]) -> list[Group]:
    """By mission and preset; runs of unlike settings stand apart."""
    kinds: dict[tuple[str, str], dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        settings = json.dumps(_settings(record), sort_keys=True)
        kinds[record["run"]["scenario"], record["run"]["preset"]][settings].append(record)
    groups = []
    for _, unlike in sorted(kinds.items()):
        first = next(iter(unlike.values()))[0]
        for alike in unlike.values():
            groups.append(Group(tuple(alike), "" if alike[0] is first else _differences(alike[0], first)))
    return groups


def _settings(record: Record) -> dict[str, Any]:
    """Settings by their dotted keys, less those that averaged runs may have each their own of."""

    def flat(node: Mapping[str, Any], where: str) -> Iterator[tuple[str, Any]]:
        for key, value in node.items():
            if isinstance(value, Mapping) and value:
                yield from flat(value, f"{where}{key}.")
            else:
                yield f"{where}{key}", value

    every = LATER | dict(flat({key: value for key, value in record["config"].items() if key not in APART_FROM}, ""))
    if every.pop(LOADED, None) is not None:
        every[LOADED] = "a folder"
    return {key: value for key, value in every.items() if key not in ADDING}


def _differences(record: Record, first: Record) -> str:
    ours, theirs = _settings(record), _settings(first)

    def shown(settings: Mapping[str, Any], key: str) -> str:
        return json.dumps(settings[key]) if key in settings else "not set"

    keys = [key for key in sorted({*ours, *theirs}) if shown(ours, key) != shown(theirs, key)]
    return ", ".join(f"`{key}` {shown(ours, key)} (there {shown(theirs, key)})" for key in keys)
