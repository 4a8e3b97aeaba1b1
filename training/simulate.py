"""Episodes of a mission flown in worker processes: the one place where policies meet the simulation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from envs.api import AgentSpec, Policy
from envs.basilisk.environment import ConstellationEnv
from envs.episode_result import EpisodeResult
from envs.heuristics import GreedyPolicy, RandomPolicy
from envs.ray_workers import RayWorkers
from envs.sensing import Sensing, sense
from envs.trace import Trace
from envs.workers import Processes, WorkerPool
from onboard.flightlog import FlightLog, Kind
from scenarios.mission import ScenarioConfig
from scenarios.schema import ComputeConfig, WorkersOn
from training.flight import FlightPlan, GuardedPolicy, OnboardPolicy, limits_of
from training.networks import Team
from training.policies import NetworkPolicy
from training.rollout import Rollout, collect, concatenate


class Heuristic(Enum):
    random = "random"
    greedy_battery = "greedy_battery"
    global_knowledge = "global_knowledge"


@dataclass(frozen=True)
class TeamPlan:
    """How to build a team: which blocks each satellite's network reads, who shares a network, and how wide it is."""

    visible: tuple[tuple[str, ...], ...]  # per satellite
    groups: tuple[tuple[int, ...], ...]
    hidden: tuple[int, ...]  # per group

    def sensings(self, specs: Sequence[AgentSpec]) -> list[Sensing]:
        return [sense(spec, blocks) for spec, blocks in zip(specs, self.visible, strict=True)]

    def build(self, specs: Sequence[AgentSpec], generator: torch.Generator | None = None) -> Team:
        return Team(self.sensings(specs), self.groups, self.hidden, generator)


@dataclass(frozen=True)
class Flyer:
    """Who flies: a heuristic, a team of networks with its weights, or a bundle under the onboard executor."""

    heuristic: Heuristic | None = None
    plan: TeamPlan | None = None
    weights: dict[str, NDArray[np.float32]] | None = None
    sample: bool = False  # draw from the policy; else its most likely action
    flight: FlightPlan | None = None

    def policy(self, specs: tuple[AgentSpec, ...], scenario: ScenarioConfig) -> Policy:
        if self.heuristic is Heuristic.random:
            return RandomPolicy()
        if self.heuristic is not None:
            return GreedyPolicy(specs, global_knowledge=self.heuristic is Heuristic.global_knowledge)
        assert self.plan is not None
        if self.flight is not None:
            limits = limits_of(scenario, specs)
            return OnboardPolicy(self.flight, specs, self.plan.visible, limits, scenario.duration_s)
        assert self.weights is not None
        team = self.plan.build(specs)
        team.load_state_dict({name: torch.from_numpy(value) for name, value in self.weights.items()})
        return NetworkPolicy(team, self.sample)


def flyer(plan: TeamPlan, team: Team, sample: bool) -> Flyer:
    weights = {name: value.detach().numpy().copy() for name, value in team.state_dict().items()}
    return Flyer(plan=plan, weights=weights, sample=sample)


@dataclass(frozen=True)
class Job:
    """Some episodes for one worker, flown in lockstep; their results depend on nothing else."""

    scenario: ScenarioConfig
    flyer: Flyer
    seeds: tuple[int, ...]
    training: bool
    traced: int = 0  # keep traces and films of the first so many episodes

    def __repr__(self) -> str:  # what a give-up message shows
        return f"the episodes with seeds {list(self.seeds)} of {self.scenario.name}"


@dataclass(frozen=True)
class Flown:
    rollout: Rollout
    results: tuple[EpisodeResult, ...]
    traces: tuple[Trace, ...]
    films: tuple[bytes, ...] = ()  # of the same episodes, for Vizard
    logs: tuple[FlightLog, ...] = ()  # one per episode, of a flown bundle
    latencies_us: tuple[tuple[float, ...], ...] = ()  # per satellite, of a flown bundle
    injected: tuple[dict[str, int], ...] = ()  # faults by name, one count per episode, of a flown bundle
    overrides: tuple[int, ...] = ()  # by the guards, one count per episode


def fly(job: Job) -> Flown:
    """Runs in a worker."""
    torch.set_num_threads(1)  # the workers share the cores
    env = ConstellationEnv(job.scenario, training=job.training, traced=job.traced)
    policy = job.flyer.policy(env.specs, job.scenario)
    limits = None if job.training or isinstance(policy, OnboardPolicy) else limits_of(job.scenario, env.specs)
    guarded = GuardedPolicy(policy, env.specs, limits) if limits else None
    rollout = collect(env, guarded or policy, job.seeds)
    traces, films = tuple(env.traces()), tuple(env.films())
    results = tuple(env.results())
    env.close()
    if isinstance(policy, OnboardPolicy):
        policy.close()
        overrides = tuple(log.counts()[Kind.OVERRIDE] for log in policy.logs)
        injected = tuple(dict(counted) for counted in policy.injected)
        return Flown(rollout, results, traces, films, policy.logs, policy.latencies_us, injected, overrides)
    return Flown(rollout, results, traces, films, overrides=tuple(guarded.overrides) if guarded else ())


def worker_pool(compute: ComputeConfig) -> WorkerPool[Job, Flown]:
    """Where ``compute.workers_on`` says; results do not depend on it."""

    def on_ray(function: Callable[[Any], Any]) -> RayWorkers:
        return RayWorkers(function, compute.ray_address, compute.workers, compute.job_timeout_s)

    on = on_ray if compute.workers_on is WorkersOn.ray else Processes
    return WorkerPool(fly, compute.workers, compute.job_timeout_s, compute.max_restarts, on)


def jobs(
    scenario: ScenarioConfig,
    flyer: Flyer,
    seeds: Sequence[int],
    compute: ComputeConfig,
    training: bool,
    traced: int = 0,
) -> list[Job]:
    """Episodes dealt into jobs of ``episodes_per_job``, whatever the number of workers."""
    size = compute.episodes_per_job
    return [
        Job(scenario, flyer, tuple(seeds[i : i + size]), training, max(0, min(size, traced - i)))
        for i in range(0, len(seeds), size)
    ]


def gather(pool: WorkerPool[Job, Flown], work: Sequence[Job]) -> Rollout:
    """All episodes of the jobs as one rollout, in order."""
    return concatenate([flown.rollout for flown in pool.map(work)])


_STREAMS = ("teacher", "imitation", "expert", "student", "masked", "validation", "held_out", "quantise")


def episode_seeds(stream: str, run_seed: int, start: int, count: int) -> list[int]:
    """Seeds of episodes ``start`` ... of one purpose; streams never share one in practice.

    The held-out stream does not depend on the run's seed: every run and policy is judged on the same episodes. The
    validation stream is for choosing settings; nothing is chosen on held-out episodes.
    """
    entropy = [_STREAMS.index(stream), 0 if stream in ("validation", "held_out") else run_seed]
    return [
        int(np.random.SeedSequence([*entropy, index]).generate_state(1)[0]) for index in range(start, start + count)
    ]
