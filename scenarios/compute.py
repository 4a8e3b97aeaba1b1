"""Where a run is computed, and where its results go."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from scenarios.ranges import check, check_folders, positive, within


class WorkersOn(Enum):
    processes = "processes"  # of this machine
    ray = "ray"  # on a Ray cluster (docs/distributed.md)


@dataclass
class ComputeConfig:
    workers: int = 2  # simulation processes
    workers_on: WorkersOn = WorkersOn.processes
    ray_address: str | None = None  # HOST:PORT of a cluster; auto: this machine's; null: one of its own, here
    threads: int = 2  # torch threads of the learner
    episodes_per_job: int = 4  # episodes that one worker runs in lockstep; fixes results, whatever `workers` is
    job_timeout_s: float = 1800.0  # a worker silent for longer is replaced; a planner may take minutes for its episodes
    max_restarts: int = 3  # of one job, before the run gives up
    reproducible: bool = False  # the same bytes on any x86-64 processor; slower (docs/distributed.md)

    def __post_init__(self) -> None:
        within("compute", 1, 1024, workers=self.workers, threads=self.threads, episodes_per_job=self.episodes_per_job)
        positive("compute", job_timeout_s=self.job_timeout_s)
        within("compute", 0, 100, max_restarts=self.max_restarts)
        here = self.workers_on is WorkersOn.processes
        check("compute.reproducible", self.reproducible, here or not self.reproducible, "false with workers_on=ray")


class Schedules(Enum):
    first = "first"  # the first episode of each policy
    all = "all"  # each episode


@dataclass
class OutputConfig:
    dir: str = "outputs"
    cache_dir: str = "outputs/cache"
    records_dir: str | None = None  # where the run record is also kept, e.g. results/runs
    schedules: Schedules = Schedules.first  # which episodes of missions are written as schedules, beside the report
    tensorboard: bool = False  # write every training's statistics for TensorBoard, beside the report

    def __post_init__(self) -> None:
        check_folders(self)
