"""What every stage of a mission needs to know."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envs.api import AgentSpec
from envs.basilisk import extensions
from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.planner import PlannerSettings
from envs.basilisk.support_data import data_digest
from envs.basilisk.twin.mirrored import planner_fault, twin_fault
from kdmarl_sat.console import Console
from kdmarl_sat.stages import Workshop
from scenarios.schema import RunConfig, Simulation, to_dict
from training.missions.loops import Pool, Sampler
from training.missions.simulate import Ground, TeamPlan, episode_seeds


@dataclass(frozen=True)
class Mission:
    """What every stage needs to know of a run."""

    config: RunConfig
    specs: tuple[AgentSpec, ...]
    state_size: int
    workshop: Workshop
    pool: Pool
    origin: dict[str, Any]  # commit, versions ... as they were when the run began
    support_data: str  # digest of Basilisk's support data
    twin_fault: str | None  # why the mission is not trained on a twin; None: it is
    planner_fault: str | None  # why nobody plans it; None: somebody does

    @property
    def console(self) -> Console:
        return self.workshop.console

    @property
    def ground(self) -> Ground:
        """Where training episodes are flown."""
        config = self.config
        if self.twin_fault is not None or config.training.simulation is Simulation.basilisk:
            return Ground(config.scenario, (), config.compute.episodes_per_job)
        worlds = episode_seeds("worlds", config.seed, 0, config.training.worlds)
        return Ground(config.scenario, tuple(worlds), config.training.episodes_per_job)

    @property
    def trained(self) -> dict[str, Any]:
        """What decides a training episode's course: all but the guard, under which only flights are."""
        scenario = {name: value for name, value in self.simulated["scenario"].items() if name != "guard"}
        ground = {"worlds": list(self.ground.worlds), "episodes_per_job": self.ground.episodes_per_job}
        return {**self.simulated, "scenario": scenario, "ground": ground}

    @property
    def simulated(self) -> dict[str, Any]:
        """What decides a flight's course: part of every digest. The number of workers is not."""
        compute = self.config.compute
        return {
            "scenario": to_dict(self.config.scenario),
            "support_data": self.support_data,
            **({"extensions": used} if (used := extensions.digests(self.config.scenario)) else {}),
            "episodes_per_job": compute.episodes_per_job,
            **({"reproducible": True} if compute.reproducible else {}),
            "threads": compute.threads,
        }

    def plan(self, visible: list[list[str]], hidden: list[int], shared: bool = False) -> TeamPlan:
        agents = range(len(self.specs))
        groups = (tuple(agents),) if shared else tuple((agent,) for agent in agents)
        return TeamPlan(tuple(tuple(blocks) for blocks in visible), groups, tuple(hidden))

    def sampler(self, plan: TeamPlan, adviser: PlannerSettings | None = None) -> Sampler:
        """Who collects the training episodes of a team."""
        return Sampler(plan, self.ground, self.pool, adviser)


def mission_of(
    config: RunConfig, pool: Pool, console: Console, origin: dict[str, Any], events: Path | None = None
) -> Mission:
    """
    Raises:
        ConfigError: something that the mission names does not exist.
    """
    env = ConstellationEnv(config.scenario)
    if config.scenario.features:
        env.reset([0])  # so that a mistake in one is told before any compute
    digest = data_digest(config.scenario.support_data_dir)
    workshop = Workshop(Path(config.output.cache_dir), console, events, lambda: time.process_time() + pool.cpu_s)
    faults = twin_fault(config.scenario), planner_fault(config.scenario)
    return Mission(config, env.specs, env.state_size, workshop, pool, origin, digest, *faults)
