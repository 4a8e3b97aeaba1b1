"""The command: ``python -m kdmarl_sat.run scenario=NAME preset=NAME seed=N KEY=VALUE ...`` (``--help`` for all)."""

from __future__ import annotations

import sys
from pathlib import Path

from kdmarl_sat.command import command, sentences
from kdmarl_sat.reproducible import ensure
from scenarios.games.schema import GameRunConfig
from scenarios.roots import GAME, root_of
from scenarios.schema import RunConfig


def run(config: RunConfig | GameRunConfig, folder: Path) -> None:
    """One run, in the folder that Hydra has made for it."""
    ensure(config.compute.reproducible, folder)
    # Imported here, so that --help and a refused configuration do not wait for it.
    if isinstance(config, GameRunConfig):
        from kdmarl_sat.games import pipeline as games

        games.run(config, folder)
    else:
        from kdmarl_sat.missions import pipeline as missions

        missions.run(config, folder)


def main() -> None:
    with sentences("kdmarl-sat"):
        root = root_of(sys.argv[1:])
    schema = GameRunConfig if root == GAME else RunConfig
    command("kdmarl-sat", "config", schema, run, root, resumable=True, games=True)


if __name__ == "__main__":
    main()
