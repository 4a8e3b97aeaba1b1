"""More workers than memory allows are refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from scenarios.compose import composed
from scenarios.memory import available_bytes, check_workers, worlds_bytes
from scenarios.ranges import ConfigError

GIB = 2**30


def checked(available: int | None, *overrides: str) -> None:
    config = composed(*overrides)
    check_workers(config.compute, config.scenario.constellation.size, available)


def test_as_many_as_fit_and_no_more() -> None:
    big = ("scenario.constellation.planes=6", "scenario.constellation.per_plane=11", "compute.episodes_per_job=1")
    # 500 MiB and 66 times 4 MiB are 764 MiB: 13 of them are 9.7 GiB, 14 are 10.4.
    checked(10 * GIB, *big, "compute.workers=13")
    said = r"compute.workers=14 is not allowed: .* 66 satellites .* 10.0 GiB are left: it must be at most 13"
    with pytest.raises(ConfigError, match=said):
        checked(10 * GIB, *big, "compute.workers=14")
    with pytest.raises(ConfigError, match=said):  # a cluster of its own is here too
        checked(10 * GIB, *big, "compute.workers=14", "workers=ray")
    checked(GIB, *big, "compute.workers=1000", "compute.workers_on=ray", "compute.ray_address=10.0.0.1:6379")
    checked(None, "compute.workers=1000")
    with pytest.raises(ConfigError, match="it must be with fewer satellites or episodes_per_job, for not even one fi"):
        checked(GIB // 2, *big, "compute.workers=1")


def test_the_twins_worlds_count() -> None:
    """48 worlds of 66 satellites for 5,700 ticks of 140 bytes are 2.4 GiB beside the 764 MiB."""
    big = ("scenario.constellation.planes=6", "scenario.constellation.per_plane=11", "compute.episodes_per_job=1")
    config = composed(*big, "scenario.duration_s=2850", "scenario.training_duration_s=[600,5700]", "compute.workers=3")
    worlds = worlds_bytes(config)
    assert worlds == 48 * 66 * 5700 * 140
    check_workers(config.compute, 66, 10 * GIB, worlds)
    with pytest.raises(ConfigError, match=r"compute.workers=3 is not allowed: each takes about 3.1 GiB .* at most 2"):
        check_workers(config.compute, 66, 9 * GIB, worlds)
    with pytest.raises(ConfigError, match=r"fewer satellites, training.worlds or episodes_per_job"):
        check_workers(config.compute, 66, 3 * GIB, worlds)
    assert worlds_bytes(composed(*big, "training.simulation=basilisk")) == 0


def test_the_tighter_of_machine_and_container_counts(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    4096 kB\n")
    assert available_bytes(tmp_path, tmp_path / "none") == 4096 * 1024
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("400\n")
    assert available_bytes(tmp_path, tmp_path) == 600
    (tmp_path / "memory.max").write_text("max\n")
    assert available_bytes(tmp_path, tmp_path) == 4096 * 1024
    assert available_bytes(tmp_path / "none", tmp_path / "none") is None


def test_this_machine_has_some() -> None:
    left = available_bytes()
    assert left is None or left > 2**20
