"""A stage of a run: named, kept under the digest of all that it depends on, made once, resumed after a crash."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envs.files import read_json, write_json
from kdmarl_sat.console import Console
from kdmarl_sat.scalars import scalars_to
from training.artifact import Artifact, Place, make

CPU = "cpu.json"  # beside what a stage made: [[episodes or steps so far, CPU-seconds so far], ...], and of the whole


@dataclass(frozen=True)
class Stage:
    """What is made, and of what."""

    name: str  # of the artifact
    title: str  # that the console shows while it is made
    depends_on: Mapping[str, Any]  # settings, and digests of what other stages have made, as plain JSON
    sources: tuple[str, ...]  # the code that decides the result, see ``training.artifact.code_digest``
    work: Callable[[Place], dict[str, Any]]  # makes the files in its place, and returns what to write down


@dataclass(frozen=True)
class Workshop:
    """Where stages are made: the cache of their artifacts, and the console that shows their progress."""

    cache: Path
    console: Console
    events: Path | None = None  # folder of TensorBoard's event files; None: none are written
    clock: Callable[[], float] = time.process_time  # CPU-seconds of all processes that do the work
    cpu_s: dict[str, Any] = field(default_factory=dict)  # by name, of all stages so far: what ``CPU`` holds

    def make(self, stage: Stage) -> Artifact:
        """The stage's artifact, made now or found in the cache.

        Raises:
            ArtifactError: its folder cannot be written.
        """

        def work(folder: Path, key: str) -> dict[str, Any]:
            with self.console.stage(stage.title) as progress, scalars_to(self.events, stage.name) as scalars:
                meter = _Meter(folder / CPU, self.clock)

                def told(step: int, statistics: Mapping[str, float]) -> None:
                    meter.point(step)
                    scalars(step, statistics)

                info = stage.work(Place(folder, key, progress, told))
                meter.done()
                return info

        artifact = make(self.cache, stage.name, stage.depends_on, stage.sources, work, self.console.say)
        if (artifact.path / CPU).is_file():  # not in a folder of an earlier version
            self.cpu_s[stage.name] = read_json(artifact.path / CPU)
        return artifact


class _Meter:
    """Keeps a stage's CPU-seconds in a file; not those of work that a crash undid, or behind ``teacher.resume``."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._path, self._clock = path, clock
        self._points: list[list[float]] = read_json(path)["points"] if path.is_file() else []
        self._start = clock() - (self._points[-1][1] if self._points else 0.0)

    def point(self, step: int) -> None:
        """``step`` episodes or environment steps are done."""
        self._points = [point for point in self._points if point[0] < step]
        self._points.append([step, round(self._clock() - self._start, 2)])
        write_json(self._path, {"points": self._points})

    def done(self) -> None:
        write_json(self._path, {"points": self._points, "whole": round(self._clock() - self._start, 2)})
