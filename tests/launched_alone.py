"""A command that only notes its seed in its folder."""

from __future__ import annotations

from pathlib import Path

from kdmarl_sat.command import command
from scenarios.schema import RunConfig


def work(config: RunConfig, folder: Path) -> None:
    (folder / "seed").write_text(str(config.seed))


if __name__ == "__main__":
    command("launched_alone", "config", RunConfig, work)
