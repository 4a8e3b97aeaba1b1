"""Workers and sweeps on a Ray cluster of two nodes, each with processes of its own on this machine."""

from __future__ import annotations

import dataclasses
import importlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.ray_workers import RayWorkers, load
from envs.workers import WorkerError, WorkerPool
from scenarios.compose import composed
from scenarios.compute import WorkersOn
from scenarios.ranges import ConfigError
from tests import jobs, launched, ray_jobs
from training.missions.simulate import Flyer, Heuristic, gather, worker_pool
from training.missions.simulate import jobs as episodes

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one CPU; nothing of it is in the user's folders or left afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tempfile.mkdtemp(prefix="kdray", dir="/tmp")  # short: sockets lie in it
        patch.setenv("RAY_TMPDIR", folder)
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(16))
        patch.setenv("PYTHONPATH", str(ROOT))
        load("the test")
        from ray.cluster_utils import Cluster

        started = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        started.add_node(num_cpus=1)
        yield started
        started.shutdown()
        assert not processes(folder)
        shutil.rmtree(folder)


def processes(mark: str) -> list[str]:
    """Command lines on this machine that contain the mark."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(file.read_text(errors="replace").replace("\0", " "))
        except OSError:
            continue  # it has ended
    return [line for line in lines if mark in line]


def pool(cluster: Any, function: Callable[[Any], Any], workers: int = 2, **settings: Any) -> WorkerPool[Any, Any]:
    on = partial(RayWorkers, address=cluster.address, workers=workers)
    return WorkerPool(function, workers, on=on, **settings)


def test_results_come_in_order_from_both_nodes(cluster: Any) -> None:
    with pool(cluster, jobs.square) as workers:
        assert list(workers.map(range(7))) == [0, 1, 4, 9, 16, 25, 36]
        assert list(workers.map([5])) == [25]
    with pool(cluster, launched.node) as workers:
        assert len(set(workers.map([1.0] * 4))) == 2


def test_a_crashed_or_hanging_workers_job_is_done_again(cluster: Any, tmp_path: Path) -> None:
    with pool(cluster, jobs.crash_once) as workers:
        assert list(workers.map([(str(tmp_path), n) for n in range(5)])) == [0, 1, 4, 9, 16]
        assert workers.restarts == 2
    (tmp_path / "1").unlink()
    with pool(cluster, jobs.hang_once, job_timeout_s=4.0) as workers:
        assert list(workers.map([(str(tmp_path), n) for n in range(3)])) == [0, 1, 4]
        assert workers.restarts == 1


def test_errors_are_those_of_local_workers(cluster: Any) -> None:
    given_up = r"job 0 was given up after 2 attempts: its worker died \(The actor is dead because its worker process"
    with pool(cluster, jobs.always_crash, 1, max_restarts=1) as workers, pytest.raises(WorkerError, match=given_up):
        list(workers.map([3]))
    with pool(cluster, jobs.refuse_in_our_words) as workers, pytest.raises(WorkerError) as caught:
        list(workers.map([7]))
    assert str(caught.value) == "job=7 is not allowed: it must be even"


def test_workers_beyond_the_clusters_cpus_hold_up_none(cluster: Any) -> None:
    with pool(cluster, jobs.square, 5) as workers:
        first = workers.map(range(20))
        assert next(first) == 0
        first.close()  # abandoned: nothing of it meets the next jobs
        assert list(workers.map([7, 8])) == [49, 64]


def test_rollouts_are_those_of_local_workers(cluster: Any) -> None:
    work = [(np.array([n]), (n, n + 10)) for n in range(3)]
    with WorkerPool(ray_jobs.fly_toy, 1) as local, pool(cluster, ray_jobs.fly_toy) as ray:
        for ours, theirs in zip(local.map(work), ray.map(work), strict=True):
            same(ours, theirs)


def same(one: Any, other: Any) -> None:
    """Rollouts, bit for bit."""
    for name in type(one).__slots__:
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name
        assert getattr(other, name).flags.writeable, name


@pytest.mark.slow
def test_episodes_are_those_of_local_workers(cluster: Any) -> None:
    config = composed("preset=smoke", "scenario.duration_s=60", "compute.episodes_per_job=1", "compute.workers=2")
    compute, scenario = config.compute, config.scenario
    on_ray = dataclasses.replace(compute, workers_on=WorkersOn.ray, ray_address=cluster.address)
    rollouts = []
    for where in (compute, on_ray):
        with worker_pool(where) as workers:
            work = episodes(scenario, Flyer(heuristic=Heuristic.random), [3, 4], where, training=True)
            rollouts.append(gather(workers, work))
    same(*rollouts)


@pytest.mark.slow
def test_a_node_lost_on_the_way_costs_its_job_only(cluster: Any, tmp_path: Path) -> None:
    node = cluster.add_node(num_cpus=1)
    mark = tmp_path / "mark"

    def lose() -> None:
        while not mark.exists():
            time.sleep(0.1)
        cluster.remove_node(node, allow_graceful=False)

    loser = threading.Thread(target=lose, daemon=True)
    loser.start()
    with pool(cluster, ray_jobs.hang_on, 3) as workers:
        done: list[str] = []
        while not mark.exists() or len(done) < 6:  # until the third worker has had one too
            done += workers.map([(node.node_id, str(mark))] * 6)
        loser.join(60)
        assert workers.restarts == 1
    assert node.node_id not in done


def test_a_worker_that_cannot_start_is_said(cluster: Any) -> None:
    with (
        pool(cluster, NotThere()) as workers,
        pytest.raises(
            WorkerError, match=r"no worker could be started on the Ray cluster: .*No module named 'not_on_this_node'"
        ),
    ):
        list(workers.map([1]))


class NotThere:
    """A function whose code a node lacks."""

    def __reduce__(self) -> tuple[Any, ...]:
        return importlib.import_module, ("not_on_this_node",)

    def __call__(self, job: int) -> int:
        return job


@pytest.mark.parametrize("address", ["127.0.0.1:1", "here", "127.0.0.1:99999"])
def test_an_address_where_nobody_listens_is_refused_at_once(address: str) -> None:
    with pytest.raises(ConfigError, match=f"ray_address='{address}' is not allowed: it must be the HOST:PORT of a run"):
        RayWorkers(jobs.square, address, 1)


def launch(folder: Path, *arguments: str, module: str = "tests.launched") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, "-m", "launcher=ray", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_sweeps_jobs_run_on_both_nodes_and_one_that_fails_leaves_the_others_alone(
    cluster: Any, tmp_path: Path
) -> None:
    done = launch(tmp_path, f"hydra.launcher.address={cluster.address}", "hydra.launcher.cpus_per_job=1", "seed=0,1,3")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-2:] == [
        "the job launcher=ray seed=3 failed: seed=3 is not allowed: it must be another",
        "launched: seed=3 is not allowed: it must be another",
    ]
    assert "seed 0 at work" in done.stdout and "seed 1 at work" in done.stdout
    nodes = {file.parent.name: file.read_text() for file in tmp_path.glob("outputs/*/*/node")}
    assert sorted(nodes) == ["0-seed=0", "1-seed=1"]
    assert len(set(nodes.values())) == 2


@pytest.mark.slow
def test_a_bug_comes_with_its_traceback(cluster: Any, tmp_path: Path) -> None:
    done = launch(tmp_path, f"hydra.launcher.address={cluster.address}", "hydra.launcher.cpus_per_job=1", "seed=4")
    assert done.returncode == 1
    assert "ZeroDivisionError: a bug" in done.stderr and "in work" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["hydra.launcher.cpus_per_job=0"], "hydra.launcher.cpus_per_job=0 is not allowed: it must be between 1 and"),
        (["hydra.launcher.address=auto", "hydra.launcher.num_cpus=2"], "num_cpus=2 is not allowed: it must be null w"),
        (["hydra.launcher.adress=auto"], "hydra.launcher.adress is not a known key (did you mean address?)"),
        (["hydra.launcher.address=127.0.0.1:1"], "hydra.launcher.address='127.0.0.1:1' is not allowed: it must be th"),
    ],
)
def test_a_wrong_setting_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    done = launch(tmp_path, *arguments, "seed=0,1")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert sentence in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_ray_its_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text("raise ModuleNotFoundError(\"No module named 'ray'\")\n")
    done = launch(tmp_path, "seed=0,1")
    assert done.returncode == 2
    assert done.stderr.startswith("launched: launcher=ray needs Ray (No module named 'ray')")
    assert done.stderr.endswith('pip install "kdmarl_sat[ray]"\n')


@pytest.mark.slow
@pytest.mark.parametrize("workers_on", ["processes", "ray"])
def test_a_sweep_of_whole_runs_on_a_cluster_of_its_own(cluster: Any, tmp_path: Path, workers_on: str) -> None:
    tiny = (
        "preset=smoke",
        "scenario.duration_s=120",
        "teacher.hidden=8",
        "teacher.episodes=2",
        "teacher.episodes_per_update=2",
        "teacher.imitation_episodes=0",
        "distill.student_iterations=0",
        "distill.teacher_episodes=2",
        "evaluation.episodes=1",
        "evaluation.trace=false",
        "compute.threads=1",
        "compute.workers=1",
        "hydra.launcher.num_cpus=4",
        "seed=0,1",
    )
    done = launch(tmp_path, *tiny, f"workers={workers_on}", module="kdmarl_sat.run")
    assert done.returncode == 0, done.stderr
    reports = sorted(file.parent.name for file in tmp_path.glob("outputs/*/*/run_record.json"))
    assert reports == ["0-seed=0", "1-seed=1"]
