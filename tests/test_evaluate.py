"""A flight that is killed goes on from the jobs that were done, and comes to the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from envs.basilisk.environment import ConstellationEnv
from scenarios.compose import composed
from training.artifact import Place
from training.missions.distill import agreement
from training.missions.evaluate import Evaluation, evaluate
from training.missions.rollout import concatenate
from training.missions.simulate import Flown, Flyer, Heuristic, Job, TeamPlan, fly, flyer


class KilledError(Exception):
    """Stands for SIGKILL."""


class Here:
    """A pool in this process that dies after so many jobs."""

    def __init__(self, jobs: float = np.inf) -> None:
        self.left = jobs
        self.flown: list[tuple[Job, Flown]] = []

    def map(self, work: Sequence[Job]) -> Iterator[Flown]:
        for job in work:
            if self.left == 0:
                raise KilledError
            self.left -= 1
            self.flown.append((job, fly(job)))
            yield self.flown[-1][1]


def flight(folder: Path, pool: Here, who: Flyer, compared: object = None) -> Callable[[], Evaluation]:
    config = composed("scenario.duration_s=120", "evaluation.episodes=5", "compute.episodes_per_job=2")
    folder.mkdir(exist_ok=True)

    def run() -> Evaluation:
        place = Place(folder, "key", lambda share, text: None)
        evaluate(who, config, pool, place, compared)  # type: ignore[arg-type]
        return Evaluation.load(folder)

    return run


def test_resumed(tmp_path: Path) -> None:
    who = Flyer(heuristic=Heuristic.random)
    whole = flight(tmp_path / "whole", Here(), who)()
    with pytest.raises(KilledError):
        flight(tmp_path / "killed", Here(2), who)()
    rest = Here()
    resumed = flight(tmp_path / "killed", rest, who)()
    assert [len(job.seeds) for job, _ in rest.flown] == [1]  # two of three jobs were done
    assert resumed.episodes == whole.episodes
    assert len(whole.episodes) == 5
    assert resumed.overrides == whole.overrides
    assert resumed.film == whole.film
    assert resumed.trace is not None
    assert whole.trace is not None
    assert np.array_equal(resumed.trace.battery, whole.trace.battery)
    again = Here()
    assert flight(tmp_path / "killed", again, who)().episodes == whole.episodes
    assert not again.flown  # killed after the flight, before the end of its stage
    assert not list((tmp_path / "killed").glob("part-*"))


def test_agreement_of_the_parts_is_that_of_the_whole(tmp_path: Path) -> None:
    config = composed("scenario.duration_s=120")
    specs = ConstellationEnv(dataclasses.replace(config.scenario)).specs
    groups = tuple((agent,) for agent in range(len(specs)))
    plan = TeamPlan(tuple(tuple(block.name for block in spec.blocks) for spec in specs), groups, (8,) * len(specs))
    ours, theirs = (plan.build(specs, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    pool = Here()
    found = flight(tmp_path, pool, flyer(plan, ours, sample=False), (ours, theirs))().agreement
    expected = agreement(ours, theirs, concatenate([flown.rollout for _, flown in pool.flown]))
    assert found == pytest.approx(expected, abs=1e-6)
    assert 0.0 < np.mean(found) < 1.0
