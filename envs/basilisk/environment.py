"""Several constellation episodes in one process as a ``VectorEnv``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from envs.api import AgentSpec, BoolArray, IntArray, Step
from envs.basilisk.episode import Episode, Moment
from envs.basilisk.episode_result import EpisodeResult
from envs.basilisk.features import agent_specs, shuffled, state_size
from envs.basilisk.tasks import Tasks
from envs.basilisk.trace import Trace
from scenarios.mission import ScenarioConfig


class ConstellationEnv:
    """E episodes of one mission stepped together; episodes are functions of their seeds alone."""

    def __init__(self, config: ScenarioConfig, training: bool = False, traced: int = 0) -> None:
        """
        Args:
            config: the mission.
            training: draw each episode's length from ``training_duration_s`` where the mission has one.
            traced: keep of the first so many episodes what maps, timelines and Vizard need (``traces``, ``films``).
        """
        self.config = config
        self._training = training
        self._traced = traced
        self._episodes: list[Episode] = []
        self._moments: list[Moment] = []
        self._silent = np.zeros(config.constellation.size, dtype=np.bool_)
        self.episode(0)  # so that what cannot be built is told now
        self.specs: tuple[AgentSpec, ...] = agent_specs(config)
        self.state_size = state_size(config)

    def episode(self, index: int) -> Episode:
        """The simulation behind row ``index``, made when it is first needed."""
        while len(self._episodes) <= index:
            self._episodes.append(
                Episode(self.config, shuffled(self.config), self._training, len(self._episodes) < self._traced)
            )
        return self._episodes[index]

    def silence(self, silent: BoolArray) -> None:
        """Which satellites [N] broadcast no intents, from the next reset on: their bundles grant them no bits."""
        self._silent = silent.copy()

    def reset(self, seeds: Sequence[int]) -> Step:
        self._running = [self.episode(index) for index in range(len(seeds))]
        for episode in self._running:
            episode.silent = self._silent
        self._moments = [episode.reset(seed) for episode, seed in zip(self._running, seeds, strict=True)]
        return _stack(self._moments)

    def step(self, actions: IntArray) -> Step:
        """actions [E, N]; episodes that have ended stay as they are, with no reward and no duration."""
        for index, (episode, moment) in enumerate(zip(self._running, self._moments, strict=True)):
            if moment.terminated or moment.truncated:
                self._moments[index] = _standstill(moment)
            else:
                self._moments[index] = episode.step(actions[index])
        return _stack(self._moments)

    def overruled(self, chosen: IntArray) -> None:
        """Of the actions that come next: what the policy chose [E, N] where a guard took another; elsewhere -1. It
        changes no episode; it is for the record of tasks."""
        for episode, each in zip(self._running, chosen, strict=True):
            episode.overruled(each)

    def tasks(self) -> list[Tasks]:
        """Of each episode, what its satellites were told to do, and what came of it."""
        return [episode.tasks() for episode in self._running]

    def results(self) -> list[EpisodeResult]:
        return [episode.result() for episode in self._running]

    def traces(self) -> list[Trace]:
        return [episode.trace() for episode in self._running[: self._traced]]

    def films(self) -> list[bytes]:
        return [episode.film() for episode in self._running[: self._traced]]

    def close(self) -> None:
        """Free the simulations."""
        self._episodes.clear()
        self._running = []


def _standstill(moment: Moment) -> Moment:
    if moment.duration_s == 0.0:
        return moment
    return Moment(
        moment.obs,
        moment.action_mask,
        np.zeros_like(moment.active),
        moment.alive,
        0.0,
        0.0,
        moment.terminated,
        moment.truncated,
        moment.state,
        moment.health,
    )


def _stack(moments: Sequence[Moment]) -> Step:
    return Step(
        obs=np.stack([m.obs for m in moments]),
        action_mask=np.stack([m.action_mask for m in moments]),
        active=np.stack([m.active for m in moments]),
        alive=np.stack([m.alive for m in moments]),
        reward=np.array([m.reward for m in moments], dtype=np.float32),
        duration_s=np.array([m.duration_s for m in moments], dtype=np.float32),
        terminated=np.array([m.terminated for m in moments]),
        truncated=np.array([m.truncated for m in moments]),
        state=np.stack([m.state for m in moments]),
        health=np.stack([m.health for m in moments]),
    )
