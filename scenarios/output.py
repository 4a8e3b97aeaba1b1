"""Where a run's files go, and which of them it writes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from scenarios.ranges import check_folders


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
