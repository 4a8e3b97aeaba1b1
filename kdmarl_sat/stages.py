"""A stage of a run: named, kept under the digest of all that it depends on, made once, resumed after a crash."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdmarl_sat.console import Console
from kdmarl_sat.scalars import scalars_to
from training.artifact import Artifact, Place, make


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

    def make(self, stage: Stage) -> Artifact:
        """The stage's artifact, made now or found in the cache.

        Raises:
            ArtifactError: its folder cannot be written.
        """

        def work(folder: Path, key: str) -> dict[str, Any]:
            with self.console.stage(stage.title) as progress, scalars_to(self.events, stage.name) as scalars:
                return stage.work(Place(folder, key, progress, scalars))

        return make(self.cache, stage.name, stage.depends_on, stage.sources, work, self.console.say)
