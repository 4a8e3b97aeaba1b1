"""Flights: a bundle under the onboard executor, and any other policy, each under its satellites' guards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from envs.api import AgentSpec, IntArray, Policy, Step
from envs.sensing import Sensing, sense
from onboard.authentic import Trust
from onboard.bundle import BundleError, SatelliteBundle, read_bundle
from onboard.executor import Executor
from onboard.flightlog import FlightLog
from onboard.guard import Guard, Health, Limits
from onboard.recording import Recorder
from onboard.runners import Runner, choose
from onboard.spec import AgentSpec as OnboardSpec
from scenarios.mission import ScenarioConfig
from scenarios.onboard_sim import FaultConfig
from training.missions.assign import flown_by, networks_for
from training.missions.faults import DelayedRunner, FaultInjector


@dataclass(frozen=True)
class FlightPlan:
    """A bundle, and how it is flown."""

    bundle: Path
    runner: str = choose.BEST  # a kind of onboard.runners.choose
    target: str = ""  # what the emulated runner emulates
    deadline_ms: float | None = None  # None: the bundle's
    faults: FaultConfig | None = None
    fault_seed: int = 0
    trust: Trust | None = None  # paths of key and ledger; None: bundles need no signature
    recorded: bool = False  # keep every question and answer, for onboard.replay
    assigned: bool = False  # the bundle was made for other satellites: each takes a network that fits (assign.py)


def onboard_spec(sensing: Sensing) -> OnboardSpec:
    """The reduced spec as the onboard executor knows it; feed it ``obs[..., sensing.columns]``."""
    return OnboardSpec.from_dict(asdict(sensing.spec))


def limits_of(scenario: ScenarioConfig, specs: Sequence[AgentSpec]) -> dict[str, Limits] | None:
    """What each satellite's guard holds it to; None where the scenario has no guard."""
    guard = scenario.guard
    if not guard.enabled:
        return None
    limits = {}
    for spec in specs:
        battery_Wh = scenario.hardware[spec.hardware].battery_Wh
        limits[spec.name] = Limits(
            guard.reserve_min_Wh / battery_Wh, guard.wheel_speed_max, guard.storage_max, guard.release
        )
    return limits


class OnboardPolicy:
    """Every satellite of every episode decides by the executor, from its own sensors' columns alone."""

    def __init__(
        self,
        plan: FlightPlan,
        specs: Sequence[AgentSpec],
        visible: Sequence[Sequence[str]],
        limits: dict[str, Limits] | None,
        duration_s: float,
        intent_bits: int = 0,
    ) -> None:
        """
        Args:
            plan: bundle, runner and faults.
            specs: full specs of the mission's satellites.
            visible: blocks that each satellite senses.
            limits: of the satellites' guards, by name.
            duration_s: of an episode, within which lasting faults begin.
            intent_bits: that the mission's satellites broadcast with each decision.

        Raises:
            onboard.bundle.BundleError: damaged, of another version, made for other satellites, or for shorter intents.
            onboard.budget.BudgetError: a satellite's network is over its budget.
            onboard.golden_check.GoldenError: this machine does not reproduce the golden vectors.
            onboard.runners.BuildError: the runner cannot be built or started here.
        """
        self._plan = plan
        self._sensings = [sense(spec, blocks) for spec, blocks in zip(specs, visible, strict=True)]
        self._specs = [onboard_spec(sensing) for sensing in self._sensings]
        self._networks: dict[str, str] | None = None  # by satellite, whose network it flies
        if plan.assigned:
            read, shown = read_bundle(plan.bundle, trust=plan.trust), str(plan.bundle)
            taken = networks_for(read.satellites, self._specs, shown)
            self._bundle = flown_by(read, taken, self._specs)
            self._networks = {spec.name: each.spec.name for spec, each in zip(self._specs, taken, strict=True)}
        else:
            self._bundle = read_bundle(plan.bundle, expect=self._specs, trust=plan.trust)
        granted = {each.spec.name: each.bits_per_decision for each in self._bundle.satellites}
        bits = np.array([granted[spec.name] for spec in specs])
        short = np.flatnonzero((bits > 0) & (bits < intent_bits))
        if len(short):
            raise BundleError(
                f"bundle {plan.bundle}: satellite {specs[short[0]].name!r} was made to send {bits[short[0]]} bits with "
                f"each decision, and scenario.communication.intent_bits={intent_bits} are more"
            )
        self.silent = bits < intent_bits  # [N] who sends no intents: made without them
        self.note: Callable[[IntArray], None] | None = None  # told [E, N] what guards took away at each act; else -1
        self._limits, self._duration_s = limits, duration_s
        self._executors: list[Executor] = []
        self._recorders: list[Recorder | None] = []
        self._injectors: list[FaultInjector] = []

    def reset(self, seeds: Sequence[int]) -> None:
        self.close()
        self._executors = []
        self._recorders = [Recorder() if self._plan.recorded else None for _ in seeds]
        for recorder in self._recorders:
            self._executors.append(
                Executor(
                    self._bundle,
                    self._plan.deadline_ms,
                    make_runner=self._runner,
                    limits=self._limits,
                    trust=self._plan.trust,
                    recorder=recorder,
                )
            )
        self._time_s = np.zeros(len(seeds))
        if self._plan.faults is not None:
            self._injectors = [
                FaultInjector(self._plan.faults, self._specs, self._duration_s, [self._plan.fault_seed, seed])
                for seed in seeds
            ]

    def _runner(self, satellite: SatelliteBundle, deadline_ms: float) -> Runner:
        runner = choose.make(self._plan.runner, satellite, deadline_ms, self._plan.target)
        in_process = self._plan.faults is not None and not choose.stoppable(runner)
        return DelayedRunner(runner) if in_process else runner

    def act(self, step: Step) -> IntArray:
        self._time_s += step.duration_s
        actions, chosen = np.zeros(step.active.shape, dtype=np.int64), np.full(step.active.shape, -1)
        for e, n in zip(*np.nonzero(step.active), strict=True):
            sensing, executor, time_s = self._sensings[n], self._executors[e], float(self._time_s[e])
            name, obs, mask = sensing.spec.name, step.obs[e, n, sensing.columns], step.action_mask[e, n]
            if self._injectors:
                if self._injectors[e].lost(name, time_s):
                    continue  # action 0: it charges
                obs = self._injectors[e].sensed(name, obs, time_s)
                self._injectors[e].disturb(name, executor)
            health = Health(*map(float, step.health[e, n]))
            actions[e, n] = executor.decide(name, obs, mask, time_s, health if self._limits else None)
            overruled = executor.overruled(name)
            chosen[e, n] = -1 if overruled is None else overruled
        if self.note is not None:
            self.note(chosen)
        return actions

    def watch(self, step: Step, flown: IntArray) -> None:
        """Decide and log, while another policy takes the actions ``flown`` [E, N]."""
        self._time_s += step.duration_s
        for e, n in zip(*np.nonzero(step.active), strict=True):
            sensing, executor, time_s = self._sensings[n], self._executors[e], float(self._time_s[e])
            obs, mask = step.obs[e, n, sensing.columns], step.action_mask[e, n]
            health = Health(*map(float, step.health[e, n])) if self._limits else None
            executor.shadow(sensing.spec.name, obs, mask, time_s, int(flown[e, n]), health)

    def close(self) -> None:
        """Stop the runners; logs and latencies stay."""
        for executor in self._executors:
            executor.close()

    @property
    def logs(self) -> tuple[FlightLog, ...]:
        """One per episode."""
        return tuple(executor.log for executor in self._executors)

    @property
    def recordings(self) -> tuple[str, ...]:
        """The content of a recording of each episode; none where nothing is recorded."""
        return tuple(each.text(self._limits, self._networks) for each in self._recorders if each is not None)

    @property
    def injected(self) -> tuple[Counter[str], ...]:
        """Faults by name, one count per episode; none where no faults were asked for."""
        return tuple(injector.injected for injector in self._injectors)

    @property
    def latencies_us(self) -> tuple[tuple[float, ...], ...]:
        """Wall clock of each satellite's decisions, all episodes together."""
        return tuple(
            tuple(1e3 * ms for executor in self._executors for ms in executor.latencies_ms(sensing.spec.name))
            for sensing in self._sensings
        )


class GuardedPolicy:
    """Any policy under the same guards as a flown bundle. ``overrides`` counts them, one per episode."""

    def __init__(self, policy: Policy, specs: Sequence[AgentSpec], limits: dict[str, Limits]) -> None:
        self._policy, self._specs, self._limits = policy, specs, limits
        self.note: Callable[[IntArray], None] | None = None  # told [E, N] what guards took away at each act; else -1
        self.overrides: list[int] = []

    def reset(self, seeds: list[int]) -> None:
        self._policy.reset(seeds)
        self.overrides = [0] * len(seeds)
        self._guards = [
            [Guard(self._limits[spec.name], spec.actions, spec.fixed_actions) for spec in self._specs] for _ in seeds
        ]

    def act(self, step: Step) -> IntArray:
        actions = self._policy.act(step).copy()
        chosen = np.full(actions.shape, -1)
        for e, n in zip(*np.nonzero(step.active), strict=True):
            health = Health(*map(float, step.health[e, n]))
            override = self._guards[e][n].override(health, int(actions[e, n]), step.action_mask[e, n])
            if override is not None:
                chosen[e, n] = actions[e, n]
                actions[e, n], self.overrides[e] = override[0], self.overrides[e] + 1
        if self.note is not None:
            self.note(chosen)
        return actions


class ShadowPolicy:
    """A policy that flies, and beside it a bundle that decides and logs as if it flew."""

    def __init__(self, pilot: Policy, shadow: OnboardPolicy) -> None:
        self._pilot, self._shadow = pilot, shadow

    def reset(self, seeds: list[int]) -> None:
        self._pilot.reset(seeds)
        self._shadow.reset(seeds)

    def act(self, step: Step) -> IntArray:
        actions = self._pilot.act(step)
        self._shadow.watch(step, actions)
        return actions

    @property
    def logs(self) -> tuple[FlightLog, ...]:
        """The shadow's, one per episode."""
        return self._shadow.logs
