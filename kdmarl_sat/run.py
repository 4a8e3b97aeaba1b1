"""The command: ``python -m kdmarl_sat.run scenario=NAME preset=NAME seed=N KEY=VALUE ...`` (``--help`` for all)."""

from __future__ import annotations

from pathlib import Path

from kdmarl_sat.command import command
from scenarios.schema import RunConfig


def run(config: RunConfig, folder: Path) -> None:
    """One run, in the folder that Hydra has made for it."""
    from kdmarl_sat import pipeline  # here, so that --help and a refused configuration do not wait for it

    pipeline.run(config, folder)


def main() -> None:
    command("kdmarl-sat", "config", run)


if __name__ == "__main__":
    main()
