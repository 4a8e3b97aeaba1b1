"""Where the jobs of a sweep run (``launcher=local``, ``launcher=ray``): a group that every root shares."""

from __future__ import annotations

from dataclasses import dataclass

from hydra.core.config_store import ConfigStore

from scenarios.ranges import check, within


@dataclass
class RayLauncherConfig:
    """``hydra.launcher`` with ``launcher=ray``: every job of a sweep is a task of a Ray cluster."""

    _target_: str = "hydra_plugins.kdmarl_ray_launcher.RayLauncher"
    address: str | None = None  # HOST:PORT of a cluster; auto: this machine's; null: one of its own, here
    num_cpus: int | None = None  # of the one of its own; null: those of this machine
    cpus_per_job: int = 2  # that a job takes of its node: compute.workers simulate in turn with the learner

    def __post_init__(self) -> None:
        within("hydra.launcher", 1, 1024, cpus_per_job=self.cpus_per_job)
        if self.num_cpus is not None:
            within("hydra.launcher", self.cpus_per_job, 1e5, num_cpus=self.num_cpus)
            check("hydra.launcher.num_cpus", self.num_cpus, self.address is None, "null with an address")


def register() -> None:
    """Make the group known to Hydra."""
    store = ConfigStore.instance()
    store.store(group="hydra/launcher", name="kdmarl_ray", node=RayLauncherConfig)
    store.store(group="launcher", name="local", node={}, package="_global_")
    ray = {"defaults": [{"override /hydra/launcher": "kdmarl_ray"}]}
    store.store(group="launcher", name="ray", node=ray, package="_global_")
