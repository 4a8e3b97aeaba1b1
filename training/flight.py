"""A bundle flown in the loop with the simulation: the onboard executor as a ``Policy``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from envs.api import AgentSpec, IntArray, Step
from envs.sensing import Sensing, sense
from onboard.bundle import read_bundle
from onboard.executor import Executor
from onboard.flightlog import FlightLog
from onboard.spec import AgentSpec as OnboardSpec


def onboard_spec(sensing: Sensing) -> OnboardSpec:
    """The reduced spec as the onboard executor knows it; feed it ``obs[..., sensing.columns]``."""
    return OnboardSpec.from_dict(asdict(sensing.spec))


class OnboardPolicy:
    """Every satellite of every episode decides by the executor, from its own sensors' columns alone."""

    def __init__(self, bundle: Path, specs: Sequence[AgentSpec], visible: Sequence[Sequence[str]]) -> None:
        """
        Args:
            bundle: folder.
            specs: full specs of the mission's satellites.
            visible: blocks that each satellite senses.

        Raises:
            onboard.bundle.BundleError: damaged, of another version, or made for other satellites.
            onboard.budget.BudgetError: a satellite's network is over its budget.
            onboard.executor.GoldenError: this machine does not reproduce the golden vectors.
        """
        self._sensings = [sense(spec, blocks) for spec, blocks in zip(specs, visible, strict=True)]
        self._bundle = read_bundle(bundle, expect=[onboard_spec(sensing) for sensing in self._sensings])
        self._executors: list[Executor] = []

    def reset(self, seeds: Sequence[int]) -> None:
        self._executors = [Executor(self._bundle) for _ in seeds]
        self._time_s = np.zeros(len(seeds))

    def act(self, step: Step) -> IntArray:
        self._time_s += step.duration_s
        actions = np.zeros(step.active.shape, dtype=np.int64)
        for e, n in zip(*np.nonzero(step.active), strict=True):
            sensing = self._sensings[n]
            obs = step.obs[e, n, sensing.columns]
            mask = step.action_mask[e, n]
            actions[e, n] = self._executors[e].decide(sensing.spec.name, obs, mask, float(self._time_s[e]))
        return actions

    @property
    def logs(self) -> tuple[FlightLog, ...]:
        """One per episode."""
        return tuple(executor.log for executor in self._executors)

    @property
    def latencies_us(self) -> tuple[tuple[float, ...], ...]:
        """Wall clock of each satellite's decisions, all episodes together."""
        return tuple(
            tuple(1e3 * ms for executor in self._executors for ms in executor.latencies_ms(sensing.spec.name))
            for sensing in self._sensings
        )
