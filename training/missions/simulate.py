"""Episodes of a mission flown in worker processes: the one place where policies meet the simulation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from envs.api import AgentSpec, FloatArray, IntArray, Policy, Step
from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.episode_result import EpisodeResult
from envs.basilisk.heuristics import GreedyPolicy, RandomPolicy
from envs.basilisk.planner import ForecastPolicy, PlannerPolicy, PlannerSettings
from envs.basilisk.tasks import Tasks
from envs.basilisk.trace import Trace
from envs.basilisk.twin.environment import TwinEnv
from envs.basilisk.twin.plan import Effort
from envs.basilisk.twin.worlds import World, make_worlds
from envs.ray_workers import RayWorkers
from envs.sensing import Sensing, sense
from envs.workers import Processes, WorkerPool
from onboard.flightlog import FlightLog, Kind
from scenarios.compute import ComputeConfig, WorkersOn
from scenarios.mission import ScenarioConfig
from scenarios.schema import PlannerConfig
from training import kernels
from training.checkpoint import digest
from training.missions.flight import FlightPlan, GuardedPolicy, OnboardPolicy, ShadowPolicy, limits_of
from training.missions.networks import Team
from training.missions.policies import NetworkPolicy
from training.missions.rollout import Rollout, collect, concatenate


class Heuristic(Enum):
    random = "random"
    greedy_battery = "greedy_battery"
    global_knowledge = "global_knowledge"
    forecast = "forecast"
    planner = "planner"


ON_TWIN = (Heuristic.forecast, Heuristic.planner)  # need the twin of the mission


@dataclass(frozen=True)
class TeamPlan:
    """How to build a team: which blocks each satellite's network reads, who shares a network, and how wide it is."""

    visible: tuple[tuple[str, ...], ...]  # per satellite
    groups: tuple[tuple[int, ...], ...]
    hidden: tuple[int, ...]  # per group
    by_kind: bool = False  # decides, when it does not draw, first what kind of action to take

    def sensings(self, specs: Sequence[AgentSpec]) -> list[Sensing]:
        return [sense(spec, blocks) for spec, blocks in zip(specs, self.visible, strict=True)]

    def build(self, specs: Sequence[AgentSpec], generator: torch.Generator | None = None) -> Team:
        return Team(self.sensings(specs), self.groups, self.hidden, generator, self.by_kind)


def settings_of(config: PlannerConfig, width: int | None = None, horizon_s: float | None = None) -> PlannerSettings:
    effort = Effort(width or config.width, config.bucket_s, horizon_s=horizon_s)
    return PlannerSettings(effort, config.iterations if horizon_s is None else 0, config.budget_s)


@dataclass(frozen=True)
class Flyer:
    """Who flies: a heuristic, a team of networks with its weights, or a bundle under the onboard executor."""

    heuristic: Heuristic | None = None
    planner: PlannerSettings | None = None  # of the planner, where that is who flies
    plan: TeamPlan | None = None
    weights: dict[str, NDArray[np.float32]] | None = None
    sample: bool = False  # draw from the policy; else its decision (``Team.decisive``)
    flight: FlightPlan | None = None
    shadow: FlightPlan | None = None  # of a bundle that decides and logs beside whoever flies
    adviser: PlannerSettings | None = None  # what it would do is kept beside the rollout's actions

    def policy(self, env: ConstellationEnv | TwinEnv) -> Policy:
        if self.heuristic is Heuristic.random:
            return RandomPolicy()
        if self.heuristic is Heuristic.forecast:
            return ForecastPolicy(env)
        if self.heuristic is Heuristic.planner:
            assert self.planner is not None
            return PlannerPolicy(env, self.planner)
        if self.heuristic is not None:
            return GreedyPolicy(env.specs, global_knowledge=self.heuristic is Heuristic.global_knowledge)
        assert self.plan is not None
        if self.flight is not None:
            limits = limits_of(env.config, env.specs)
            bits, duration_s = env.config.communication.bits_per_decision, env.config.duration_s
            return OnboardPolicy(self.flight, env.specs, self.plan.visible, limits, duration_s, bits)
        assert self.weights is not None
        team = self.plan.build(env.specs)
        team.load_state_dict({name: torch.from_numpy(value) for name, value in self.weights.items()})
        return NetworkPolicy(team, self.sample)


class Advised:
    """A policy that flies, and beside it one that says what it would do."""

    def __init__(self, pilot: Policy, adviser: Policy) -> None:
        self._pilot, self._adviser = pilot, adviser

    def reset(self, seeds: list[int]) -> None:
        self._pilot.reset(seeds)
        self._adviser.reset(seeds)

    def act(self, step: Step) -> IntArray:
        self.advice = self._adviser.act(step)  # [E, N]
        return self._pilot.act(step)

    @property
    def log_prob(self) -> FloatArray:
        """[E, N] of the pilot's latest choice; 0 if that is deterministic."""
        return np.asarray(getattr(self._pilot, "log_prob", np.zeros(self.advice.shape)), np.float32)


def flyer(plan: TeamPlan, team: Team, sample: bool, adviser: PlannerSettings | None = None) -> Flyer:
    weights = {name: value.detach().numpy().copy() for name, value in team.state_dict().items()}
    return Flyer(plan=plan, weights=weights, sample=sample, adviser=adviser)


@dataclass(frozen=True)
class Ground:
    """Where a mission's training episodes are flown."""

    scenario: ScenarioConfig
    worlds: tuple[int, ...] = ()  # seeds of the twin's worlds; none: Basilisk
    episodes_per_job: int = 4


@dataclass(frozen=True)
class Job:
    """Some episodes for one worker, flown in lockstep; their results depend on nothing else."""

    scenario: ScenarioConfig
    flyer: Flyer
    seeds: tuple[int, ...]
    training: bool
    traced: int = 0  # keep traces and films of the first so many episodes
    worlds: tuple[int, ...] = ()  # seeds of the twin's worlds, on which it is flown; none: in Basilisk

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
    tasks: tuple[Tasks, ...] = ()  # one per episode, of flights in Basilisk that train nobody
    recordings: tuple[str, ...] = ()  # one per episode, of a flown bundle where it is recorded


def fly(job: Job) -> Flown:
    """Runs in a worker."""
    torch.set_num_threads(1)  # the workers share the cores
    return _on_twin(job) if job.worlds else _in_basilisk(job)


def _in_basilisk(job: Job) -> Flown:
    env = ConstellationEnv(job.scenario, training=job.training, traced=job.traced)
    policy = job.flyer.policy(env)
    if isinstance(policy, OnboardPolicy):
        env.silence(policy.silent)
    limits = None if job.training or isinstance(policy, OnboardPolicy) else limits_of(job.scenario, env.specs)
    guarded = GuardedPolicy(policy, env.specs, limits) if limits else None
    pilot = guarded or policy
    if isinstance(pilot, GuardedPolicy | OnboardPolicy):
        pilot.note = env.overruled
    shadow = _shadow(job, env)
    rollout = collect(env, pilot if shadow is None else ShadowPolicy(pilot, shadow), job.seeds)
    traces, films = tuple(env.traces()), tuple(env.films())
    results, tasks = tuple(env.results()), () if job.training else tuple(env.tasks())
    env.close()
    if isinstance(policy, OnboardPolicy):
        policy.close()
        overrides = tuple(log.counts()[Kind.OVERRIDE] for log in policy.logs)
        injected = tuple(dict(counted) for counted in policy.injected)
        told = (policy.logs, policy.latencies_us, injected, overrides, tasks, policy.recordings)
        return Flown(rollout, results, traces, films, *told)
    logs: tuple[FlightLog, ...] = ()
    if shadow is not None:
        shadow.close()
        logs = shadow.logs
    overrides = tuple(guarded.overrides) if guarded else ()
    return Flown(rollout, results, traces, films, logs, overrides=overrides, tasks=tasks)


def _shadow(job: Job, env: ConstellationEnv) -> OnboardPolicy | None:
    """The bundle that decides beside whoever flies."""
    if job.flyer.shadow is None:
        return None
    limits = limits_of(job.scenario, env.specs)
    bits, duration_s = env.config.communication.bits_per_decision, env.config.duration_s
    return OnboardPolicy(job.flyer.shadow, env.specs, job.scenario.visible, limits, duration_s, bits)


def _on_twin(job: Job) -> Flown:
    """Training episodes: no guard, no traces."""
    env = TwinEnv(job.scenario, _worlds(_Worlds(job.scenario, job.worlds)), job.training)
    policy = job.flyer.policy(env)
    if job.flyer.adviser is not None:
        policy = Advised(policy, PlannerPolicy(env, job.flyer.adviser))
    return Flown(collect(env, policy, job.seeds), tuple(env.results()), ())


class _Worlds:
    """Some worlds of a mission, as a key."""

    def __init__(self, scenario: ScenarioConfig, seeds: tuple[int, ...]) -> None:
        self.scenario, self.seeds = scenario, seeds
        self._key = digest({"scenario": repr(scenario), "seeds": list(seeds)})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Worlds) and other._key == self._key

    def __hash__(self) -> int:
        return hash(self._key)


@lru_cache(maxsize=2)
def _worlds(which: _Worlds) -> list[World]:
    """Made once in each worker."""
    return make_worlds(which.scenario, which.seeds)


def worker_pool(compute: ComputeConfig) -> WorkerPool[Job, Flown]:
    """Where ``compute.workers_on`` says; results do not depend on it.

    Raises:
        ConfigError: ``compute.reproducible`` where it cannot take effect.
    """
    kernels.check(compute.reproducible)

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
    """Episodes in Basilisk, dealt into jobs of ``episodes_per_job``, whatever the number of workers."""
    size = compute.episodes_per_job
    return [
        Job(scenario, flyer, tuple(seeds[i : i + size]), training, max(0, min(size, traced - i)))
        for i in range(0, len(seeds), size)
    ]


def training_jobs(ground: Ground, flyer: Flyer, seeds: Sequence[int]) -> list[Job]:
    """Training episodes where the ground says, dealt into jobs, whatever the number of workers."""
    size = ground.episodes_per_job
    return [
        Job(ground.scenario, flyer, tuple(seeds[i : i + size]), training=True, worlds=ground.worlds)
        for i in range(0, len(seeds), size)
    ]


def gather(pool: WorkerPool[Job, Flown], work: Sequence[Job]) -> Rollout:
    """All episodes of the jobs as one rollout, in order."""
    return concatenate([flown.rollout for flown in pool.map(work)])


_STREAMS = (
    *("teacher", "imitation", "expert", "student", "masked", "validation", "held_out", "quantise"),
    *("worlds", "aggregation", "held_out_2026_11"),
)
HELD_OUT = "held_out_2026_11"  # the stream before it had been looked at while the planner was made


def episode_seeds(stream: str, run_seed: int, start: int, count: int) -> list[int]:
    """Seeds of episodes ``start`` ... of one purpose; streams never share one in practice.

    The held-out stream does not depend on the run's seed: every run and policy is judged on the same episodes. The
    validation stream is for choosing settings; nothing is chosen on held-out episodes.
    """
    fixed = stream in ("validation", "held_out", HELD_OUT)
    entropy = [_STREAMS.index(stream), 0 if fixed else run_seed]
    return [
        int(np.random.SeedSequence([*entropy, index]).generate_state(1)[0]) for index in range(start, start + count)
    ]
