"""A benchmark game through the whole program, on a PettingZoo environment that needs no JAX."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from hydra import compose, initialize_config_module
from pettingzoo import ParallelEnv

from kdmarl_sat.games.methods import BY_NAME
from kdmarl_sat.games.pipeline import run
from kdmarl_sat.games.records import GameRecord, read_all
from scenarios.games import schema
from scenarios.games.schema import METHODS, GameRunConfig
from scenarios.schema import load

ROOT = Path(__file__).parents[1]


class Guess(ParallelEnv):  # type: ignore[misc]
    """Two agents are shown a number, 0 or 1, among noise, and are paid for naming it; five steps."""

    metadata = {"name": "guess"}  # noqa: RUF012
    max_cycles = 5

    def __init__(self) -> None:
        self.possible_agents = ["left", "right"]

    def observation_space(self, agent: str) -> Box:
        return Box(-1, 1, (4,), np.float32)

    def action_space(self, agent: str) -> Discrete:
        return Discrete(2)

    def reset(self, seed: int | None = None, options: object = None):  # type: ignore[no-untyped-def]
        self.random = np.random.default_rng(seed)
        self.agents, self.time = list(self.possible_agents), 0
        return self._look(), {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, int]):  # type: ignore[no-untyped-def]
        hits = {agent: float(actions[agent] == self.number) for agent in self.agents}
        self.time += 1
        over = self.time == self.max_cycles
        self.agents = [] if over else self.agents
        return self._look(), hits, dict.fromkeys(hits, False), dict.fromkeys(hits, over), {a: {} for a in hits}

    def _look(self) -> dict[str, np.ndarray]:
        self.number = int(self.random.integers(2))
        shown = np.eye(2, dtype=np.float32)[self.number]
        noise = self.random.uniform(-1, 1, (2, 2)).astype(np.float32)
        return {a: np.concatenate((shown, noise[k])) for k, a in enumerate(self.possible_agents)}


GUESS = """
name: guess
environment:
  suite: pettingzoo
  parallel_env: {_target_: tests.test_game_pipeline.Guess}
  blocks:
    "*": [{name: number, size: 2}, {name: noise, size: 2}]
sensing:
  all: [number, noise]
  blind: [noise]
agents: [all, blind]
"""


@pytest.fixture
def mission(tmp_path: Path) -> Path:
    folder = tmp_path / "mission"
    (folder / "scenario").mkdir(parents=True)
    (folder / "scenario" / "guess.yaml").write_text(GUESS)
    return folder


def composed(mission: Path, folder: Path, *overrides: str) -> GameRunConfig:
    schema.register()
    with initialize_config_module("scenarios.games", version_base="1.3"):
        places = [f"output.cache_dir={folder}/cache", f"output.records_dir={folder}/records"]
        search = f"hydra.searchpath=[file://{mission}]"
        config = load(compose("config", [search, "scenario=guess", "preset=smoke", *places, *overrides]))
    assert isinstance(config, GameRunConfig)
    return config


def results(record: GameRecord) -> dict[str, object]:
    """What must not depend on when and how often a run was made."""
    curve = [{key: value for key, value in point.items() if key != "cpu_s"} for point in record.curve]
    return {"curve": curve, "final": record.final, "macs": record.macs, "actions": record.action_counts}


def test_every_method_leaves_a_record_and_a_second_run_trains_nothing(mission: Path, tmp_path: Path) -> None:
    config = composed(mission, tmp_path, f"methods=[{','.join(METHODS)}]")
    first = run(config, tmp_path / "out")
    assert [record.method for record in first] == list(METHODS) == list(BY_NAME)
    stored = {record.method: record for record in read_all(tmp_path / "records")}
    for record in first:
        assert results(stored[record.method]) == results(record)
        assert record.final["episodes"] == 16
        assert record.final["lengths"] == [5] * 16
        assert record.evaluated_on == record.backend == "pettingzoo"
        # A random guess is right in half the cases.
        assert record.random_return == pytest.approx(2.5, abs=0.8)
        assert (record.agreement is None) == (record.method == "teacher")
        assert sum(map(sum, record.action_counts)) == 16 * 5 * 2
        assert record.macs["per_episode"] == sum(record.macs["per_decision"]) * 5
    macs = {record.method: record.macs["per_decision"] for record in first}
    # 16 hidden; columns: 4 observed + 2 last action (+ 2 identities where a network is shared).
    assert macs["mappo_fo"] == [8 * 16 + 6 * 256 + 2 * 16] * 2
    # LH: 32 hidden each; the blind one has 2 columns fewer. LH+A: it is small as well.
    assert macs["kd_lh"] == [6 * 32 + 6 * 1024 + 64, 4 * 32 + 6 * 1024 + 64]
    assert macs["kd_lh_a"] == [6 * 32 + 6 * 1024 + 64, 4 * 16 + 6 * 256 + 32]
    for name in ("tables.md", "tables.csv", "tables.tex", "tables.html"):
        assert "guess" in (tmp_path / "out" / name).read_text()
    again = run(config, tmp_path / "again")
    assert all(record.run["reused"] for record in again)
    assert [results(record) for record in again] == [results(record) for record in first]
    fresh = run(composed(mission, tmp_path / "fresh", "methods=[kd_lh_a]"), tmp_path / "third")
    assert results(fresh[0]) == results(stored["kd_lh_a"])


def test_with_as_many_steps_mappo_fo_is_the_teacher(mission: Path, tmp_path: Path) -> None:
    """It is trained once; trained by itself it gives the same."""
    phases = "mappo.phases=${teacher.phases}"
    both = {r.method: r for r in run(composed(mission, tmp_path, "methods=[teacher,mappo_fo]", phases), tmp_path / "a")}
    assert both["mappo_fo"].final == both["teacher"].final
    assert not list((tmp_path / "cache").glob("*mappo_fo*"))
    [alone] = run(composed(mission, tmp_path, "methods=[mappo_fo]", phases), tmp_path / "b")
    assert alone.final["returns"] == both["teacher"].final["returns"]
    assert list((tmp_path / "cache").glob("*mappo_fo*"))


def test_killed_and_started_again_it_gives_the_same_record(mission: Path, tmp_path: Path) -> None:
    expected = run(composed(mission, tmp_path / "whole", "methods=[kd_lh]"), tmp_path / "out")[0]
    arguments = [
        *(sys.executable, "-m", "kdmarl_sat.run", "--config-dir", str(mission), "scenario=guess", "preset=smoke"),
        *("methods=[kd_lh]", f"output.cache_dir={tmp_path}/c", f"output.records_dir={tmp_path}/r"),
        f"output.dir={tmp_path}/o",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    killed = subprocess.Popen(
        arguments, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not list((tmp_path / "c").rglob("checkpoint.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (record,) = read_all(tmp_path / "r")
    assert json.loads(json.dumps(results(record))) == json.loads(json.dumps(results(expected)))
