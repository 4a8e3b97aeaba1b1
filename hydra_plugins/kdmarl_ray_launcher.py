"""Hydra plugin: the jobs of a sweep as tasks of a Ray cluster.

Not hydra-ray-launcher: its release 1.2.2 needs boto3 and with it python-dateutil below 3, cloudpickle below 3, and
Ray's dashboard. Hydra takes launchers from the namespace ``hydra_plugins`` only, and imports all of it with every
command: what is slow is imported late.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, filter_overrides, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from scenarios.check import Stopped
from scenarios.launcher import RayLauncherConfig, register
from scenarios.ranges import ConfigError

register()


class RayLauncher(Launcher):
    """Every job runs to its end, whatever becomes of the others; then the first error is raised."""

    def __init__(self, **_: Any) -> None:
        pass  # the settings are checked in setup, from where errors come out as they are

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from envs.ray_workers import load, reach

        self._context, self._task, self._config = hydra_context, task_function, config
        try:
            settings = OmegaConf.to_object(config.hydra.launcher)
            assert isinstance(settings, RayLauncherConfig)
            load("launcher=ray")
            reach("hydra.launcher.address", settings.address)
        except ConfigError as error:
            raise Stopped from error
        self._settings = settings

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from envs.ray_workers import connect, load
        from envs.workers import WorkerError

        settings, ray = self._settings, load("launcher=ray")
        setup_globals()
        cpus = settings.num_cpus or max(os.cpu_count() or 1, settings.cpus_per_job)
        try:
            leave = connect("hydra.launcher.address", settings.address, cpus, show=True)
        except (ConfigError, WorkerError) as error:
            raise Stopped from error
        try:
            task = ray.remote(num_cpus=settings.cpus_per_job)(_run)
            names, asked = [], []
            for number, overrides in enumerate(job_overrides, start=initial_job_idx):
                config = self._context.config_loader.load_sweep_config(self._config, list(overrides))
                with open_dict(config):
                    config.hydra.job.id = config.hydra.job.num = number
                names.append(" ".join(filter_overrides(overrides)))
                arguments = (self._context, config, self._task, Singleton.get_state(), os.getcwd())
                asked.append(task.options(name=f"job {number}").remote(*arguments))
            return self._gathered(ray, names, asked)
        finally:
            if leave:
                ray.shutdown()

    def _gathered(self, ray: Any, names: list[str], asked: list[Any]) -> list[JobReturn]:
        from envs.workers import WorkerError

        returns: list[JobReturn] = []
        failed: BaseException | None = None
        for name, reference in zip(names, asked, strict=True):
            error: BaseException
            try:
                answer = ray.get(reference)
            except ray.exceptions.RayTaskError as raised:  # with the traceback of the job
                error = raised
            except ray.exceptions.RayError as lost:
                error = WorkerError(f"the job {name} was lost with its worker: {str(lost).strip().partition('. ')[0]}")
            else:
                if isinstance(answer, JobReturn):
                    returns.append(answer)
                    continue
                code, sentence = answer
                error = ConfigError(sentence) if code == 2 else WorkerError(sentence)
                if len(names) > 1:
                    print(f"the job {name} failed: {sentence}", file=sys.stderr)
            failed = failed or error
        if failed is not None:
            raise Stopped from failed
        return returns


def _run(
    context: HydraContext, config: DictConfig, task: TaskFunction, state: Any, folder: str
) -> JobReturn | tuple[int, str]:
    """One job, in a worker of the cluster; exit code and sentence of an error meant for the user."""
    from kdmarl_sat.command import verdict

    try:
        os.chdir(folder)
    except OSError:
        return 1, f"the folder {folder} is not on the node {socket.gethostname()}: the cluster must share it"
    setup_globals()
    Singleton.set_state(state)
    try:
        done = run_job(
            hydra_context=context,
            task_function=task,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
    except Stopped as stopped:
        known = verdict(stopped.__cause__)
        assert known is not None
        return known
    _ = done.return_value  # raises what the job has raised, here, with its traceback
    return done
