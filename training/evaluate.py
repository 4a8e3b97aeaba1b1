"""Fly a policy on held-out seeds and say what it earned."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from envs.episode_result import EpisodeResult
from envs.files import write_json
from envs.trace import Trace
from envs.workers import WorkerPool
from onboard.flightlog import FlightLog, Kind
from scenarios.mission import ScenarioConfig
from scenarios.schema import ComputeConfig, EvaluationConfig
from training.distill import agreement
from training.networks import Team
from training.rollout import concatenate
from training.simulate import Flown, Flyer, Job, episode_seeds, jobs

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

    def save(self, folder: Path) -> None:
        """evaluation.json and, where there is one, trace.npz."""
        if self.trace is not None:
            self.trace.save(folder / "trace.npz")
        content = {
            "episodes": [asdict(episode) for episode in self.episodes],
            "agreement": self.agreement,
            "latency_us": self.latency_us,
            "events": self.events,
            "overrides": self.overrides,
        }
        write_json(folder / "evaluation.json", content)

    @classmethod
    def load(cls, folder: Path) -> Evaluation:
        content = json.loads((folder / "evaluation.json").read_text())
        trace = folder / "trace.npz"
        return cls(
            episodes=tuple(EpisodeResult.from_dict(episode) for episode in content["episodes"]),
            agreement=tuple(content["agreement"]),
            latency_us=tuple(content["latency_us"]),
            events=content["events"],
            overrides=tuple(content["overrides"]),
            trace=Trace.load(trace) if trace.exists() else None,
        )


def evaluate(
    flyer: Flyer,
    scenario: ScenarioConfig,
    config: EvaluationConfig,
    compute: ComputeConfig,
    pool: WorkerPool[Job, Flown],
    folder: Path,
    progress: Callable[[float, str], None],
    compared: tuple[Team, Team] | None = None,
) -> Evaluation:
    """Fly all held-out episodes.

    Args:
        folder: gets ``flight_log.jsonl`` of the first episode, where a bundle is flown.
        compared: students and teacher whose greedy choices are compared on the decisions that were flown.
    """
    seeds = episode_seeds("held_out", 0, 0, config.episodes)
    work = jobs(scenario, flyer, seeds, compute, training=False, traced=int(config.trace))
    flown: list[Flown] = []
    for part in pool.map(work):
        flown.append(part)
        captured = [result.captured for f in flown for result in f.results]
        progress(len(captured) / len(seeds), f"captured {np.mean(captured):.1f}")
    logs = [log for part in flown for log in part.logs]
    if logs:
        logs[0].write(folder / "flight_log.jsonl")
    satellites = len(flown[0].latencies_us)
    traces = [trace for part in flown for trace in part.traces]
    rollout = concatenate([part.rollout for part in flown])
    return Evaluation(
        episodes=tuple(result for part in flown for result in part.results),
        agreement=tuple(agreement(*compared, rollout)) if compared else (),
        latency_us=tuple(
            float(np.median([us for part in flown for us in part.latencies_us[n]] or [np.nan]))
            for n in range(satellites)
        ),
        events=_count(logs) if logs else None,
        overrides=tuple(count for part in flown for count in part.overrides),
        trace=traces[0] if traces else None,
    )


def _count(logs: Sequence[FlightLog]) -> dict[str, int]:
    counts = [log.counts() for log in logs]
    return {kind.value: sum(count[kind] for count in counts) for kind in Kind}


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
