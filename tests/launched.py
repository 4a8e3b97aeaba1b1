"""A command whose jobs are too small for words, to be launched."""

from __future__ import annotations

import time
from pathlib import Path

from kdmarl_sat.command import command
from scenarios.ranges import ConfigError
from scenarios.schema import RunConfig


def node(seconds: float) -> str:
    """The node on which it is done, in so many seconds."""
    import ray

    time.sleep(seconds)
    return str(ray.get_runtime_context().get_node_id())


def work(config: RunConfig, folder: Path) -> None:
    """In the place of a run: seed 3 finds a mistake of the user's, seed 4 a bug."""
    if config.seed == 3:
        raise ConfigError("seed=3 is not allowed: it must be another")
    if config.seed == 4:
        raise ZeroDivisionError("a bug")
    print(f"seed {config.seed} at work")
    (folder / "node").write_text(node(1.0))


if __name__ == "__main__":
    command("launched", "config", RunConfig, work)
