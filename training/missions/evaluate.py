"""Fly a policy on held-out seeds and say what it earned."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from envs.basilisk.episode_result import EpisodeResult
from envs.basilisk.tasks import Tasks
from envs.basilisk.trace import Trace
from envs.files import write_json, write_whole
from envs.workers import WorkerPool
from onboard.flightlog import Kind
from scenarios.schema import RunConfig
from training.artifact import Place
from training.missions.distill import agreement
from training.missions.networks import Team
from training.missions.simulate import HELD_OUT, Flown, Flyer, Job, episode_seeds, jobs

__all__ = ["EpisodeResult", "Evaluation", "evaluate", "host_latency_us"]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a policy came to on the held-out episodes; the same seeds in the same order for every policy."""

    episodes: tuple[EpisodeResult, ...]
    agreement: tuple[float, ...] = ()  # per satellite, share of decisions as the greedy teacher would have made them
    latency_us: tuple[float, ...] = ()  # per satellite, median wall clock of the onboard executor's runner
    events: dict[str, int] | None = None  # flight log events by kind, of a flown bundle
    overrides: tuple[int, ...] = ()  # by the guards, one count per episode; empty where nobody was guarded
    trace: Trace | None = None  # of the first episode
    film: bytes | None = None  # of the first episode, for Vizard
    tasks: tuple[Tasks, ...] = ()  # of the first episode, or of each one

    def save(self, folder: Path) -> None:
        """evaluation.json; tasks, a trace and a film are files of their own, which are there already."""
        content = {
            "episodes": [asdict(episode) for episode in self.episodes],
            "agreement": self.agreement,
            "latency_us": self.latency_us,
            "events": self.events,
            "overrides": self.overrides,
        }
        write_json(folder / "evaluation.json", content)

    @classmethod
    def load(cls, folder: Path, every: bool = False) -> Evaluation:
        """``every``: the tasks of all episodes, not of the first alone."""
        content = json.loads((folder / "evaluation.json").read_text())
        trace, film = folder / "trace.npz", folder / "flight.bin"
        return cls(
            episodes=tuple(EpisodeResult.from_dict(episode) for episode in content["episodes"]),
            agreement=tuple(content["agreement"]),
            latency_us=tuple(content["latency_us"]),
            events=content["events"],
            overrides=tuple(content["overrides"]),
            trace=Trace.load(trace) if trace.exists() else None,
            film=film.read_bytes() if film.exists() else None,
            tasks=tuple(Tasks.load(path) for path in sorted(folder.glob("tasks-*.npz"))[: None if every else 1]),
        )


@dataclass(frozen=True, slots=True)
class _Part:
    """The accounts of one job's episodes, on disk as soon as it is done: a flight of many hours goes on from there."""

    results: tuple[EpisodeResult, ...]
    overrides: tuple[int, ...]
    latencies_us: tuple[tuple[float, ...], ...]
    events: dict[str, int] | None
    agreement: tuple[float, ...]
    decisions: tuple[int, ...]  # per satellite: what agreement is a share of

    def save(self, path: Path) -> None:
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: Path) -> _Part:
        content = json.loads(path.read_text())
        return cls(
            results=tuple(EpisodeResult.from_dict(result) for result in content.pop("results")),
            latencies_us=tuple(tuple(each) for each in content.pop("latencies_us")),
            events=content.pop("events"),
            **{name: tuple(values) for name, values in content.items()},
        )


def evaluate(
    flyer: Flyer,
    config: RunConfig,
    pool: WorkerPool[Job, Flown],
    place: Place,
    compared: tuple[Team, Team] | None = None,
) -> None:
    """Fly all held-out episodes of the run's mission; leaves an ``Evaluation`` in the place.

    Args:
        place: also gets ``flight_log.jsonl`` of the first episode, where a bundle is flown; after a kill the same call
            goes on with what it finds there.
        compared: students and teacher whose greedy choices are compared on the decisions that were flown.
    """
    folder = place.folder
    if (folder / "evaluation.json").exists():  # killed between the flight and the end of its stage
        return
    seeds = episode_seeds(HELD_OUT, 0, 0, config.evaluation.episodes)
    traced = int(config.evaluation.trace)
    work = jobs(config.scenario, flyer, seeds, config.compute, training=False, traced=traced)
    saved = [folder / f"part-{index:05}.json" for index in range(len(work))]
    parts = [_Part.load(part) if part.exists() else None for part in saved]
    todo = [index for index, part in enumerate(parts) if part is None]
    for index, flown in zip(todo, pool.map([work[index] for index in todo]), strict=True):
        if flown.traces:
            flown.traces[0].save(folder / "trace.npz")
            write_whole(folder / "flight.bin", flown.films[0])
        for episode, tasks in enumerate(flown.tasks, index * config.compute.episodes_per_job):
            tasks.save(folder / f"tasks-{episode:07}.npz")
        if index == 0 and flown.logs:
            flown.logs[0].write(folder / "flight_log.jsonl")
        part = parts[index] = _part(flown, compared)
        part.save(saved[index])
        captured = [result.captured for done in parts if done is not None for result in done.results]
        place.progress(len(captured) / len(seeds), f"captured {np.mean(captured):.1f}")
    _together([part for part in parts if part is not None]).save(folder)
    for path in saved:
        path.unlink()


def _part(flown: Flown, compared: tuple[Team, Team] | None) -> _Part:
    counts = [log.counts() for log in flown.logs]
    asked = flown.rollout.active & flown.rollout.valid[..., None] & flown.rollout.alive[:-1]
    return _Part(
        results=flown.results,
        overrides=flown.overrides,
        latencies_us=flown.latencies_us,
        events={kind.value: sum(count[kind] for count in counts) for kind in Kind} if counts else None,
        agreement=tuple(agreement(*compared, flown.rollout)) if compared else (),
        decisions=tuple(asked.sum(axis=(0, 1)).tolist()),
    )


def _together(parts: Sequence[_Part]) -> Evaluation:
    decisions = np.array([part.decisions for part in parts])
    shares = np.array([part.agreement for part in parts])
    latencies_us = [[us for part in parts for us in part.latencies_us[n]] for n in range(len(parts[0].latencies_us))]
    events = [part.events for part in parts if part.events is not None]
    return Evaluation(
        episodes=tuple(result for part in parts for result in part.results),
        agreement=_weighted(shares, decisions) if shares.size else (),
        latency_us=tuple(float(np.median(each or [np.nan])) for each in latencies_us),
        events={name: sum(event[name] for event in events) for name in events[0]} if events else None,
        overrides=tuple(count for part in parts for count in part.overrides),
    )


def _weighted(shares: NDArray[np.float64], counts: NDArray[np.int64]) -> tuple[float, ...]:
    """Of all together, from those [P, N] of each part."""
    return tuple(((shares * counts).sum(axis=0) / np.maximum(1, counts.sum(axis=0))).tolist())


@torch.no_grad()
def host_latency_us(team: Team, repeats: int = 200) -> tuple[float, ...]:
    """Median wall clock of one decision of each agent's network in torch on one thread of this machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    latencies = []
    for network in team.members:
        context = torch.zeros(1, 1, network.context_size)
        slots = torch.zeros(1, 1, network.slots, network.slot_size)
        mask = torch.ones(1, 1, network.fixed_actions + network.slots, dtype=torch.bool)
        hidden = torch.zeros(1, network.hidden)
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            _, z = network(context, slots, mask, hidden)
            hidden = z[0]
            times.append(time.perf_counter() - start)
        latencies.append(1e6 * float(np.median(times)))
    torch.set_num_threads(threads)
    return tuple(latencies)
