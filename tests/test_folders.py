"""Every run has a folder of its own, and every file that is being written a name of its own."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf, read_write

from envs.files import write_whole
from scenarios.folders import claim, own_folder
from scenarios.schema import register


def hydra_config(*overrides: str) -> DictConfig:
    register()
    with initialize_config_module("scenarios", version_base="1.3"):
        config = compose("config", list(overrides), return_hydra_config=True)
    OmegaConf.set_readonly(config.hydra, True)  # as Hydra does
    return config


def test_a_taken_name_gets_a_number(tmp_path: Path) -> None:
    assert [own_folder(tmp_path / "a" / "x").name for _ in range(3)] == ["x", "x-2", "x-3"]
    (tmp_path / "file").touch()
    assert own_folder(tmp_path / "file").name == "file-2"


def test_many_at_once_share_no_folder(tmp_path: Path) -> None:
    together = threading.Barrier(16)

    def make(_: int) -> Path:
        together.wait()
        return own_folder(tmp_path / "now")

    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(make, range(16)))
    assert len(set(made)) == 16
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["now", *(f"now-{n}" for n in range(2, 17))])


@pytest.mark.parametrize("mode", ["run", "sweep"])
def test_runs_of_the_same_second(tmp_path: Path, mode: str) -> None:
    """The second one's configuration names another folder, and so does that of each of a sweep's jobs."""
    found = []
    for _ in range(2):
        config = hydra_config("seed=7")
        with read_write(config.hydra):
            config.hydra[mode].dir = f"{tmp_path}/2026-01-01_00-00-00"  # as the clock says
        claim(config, mode)
        found.append(str(config.hydra[mode].dir))
    assert found == [f"{tmp_path}/2026-01-01_00-00-00", f"{tmp_path}/2026-01-01_00-00-00-2"]
    assert all(Path(folder).is_dir() for folder in found)
    typed = [override for override in config.hydra.overrides.hydra if override.startswith("hydra.sweep.dir")]
    assert typed == ([f"hydra.sweep.dir='{found[1]}'"] if mode == "sweep" else [])


def test_commands_started_together_keep_their_own_results(tmp_path: Path) -> None:
    running = [
        subprocess.Popen([sys.executable, "-m", "tests.launched_alone", f"seed={seed}", f"output.dir='{tmp_path}'"])
        for seed in (5, 6, 7)
    ]
    assert [each.wait(120) for each in running] == [0, 0, 0]
    kept = sorted((folder / "seed").read_text() for folder in tmp_path.iterdir())
    assert kept == ["5", "6", "7"]


def test_a_file_that_two_write_at_once_is_the_whole_file_of_one(tmp_path: Path) -> None:
    contents = [bytes([n]) * 100_000 for n in range(8)]
    for _ in range(5):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda content: write_whole(tmp_path / "x.png", content), contents))
        assert (tmp_path / "x.png").read_bytes() in contents
        assert [path.name for path in tmp_path.iterdir()] == ["x.png"]
