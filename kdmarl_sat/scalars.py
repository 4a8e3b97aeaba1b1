"""A training's statistics for TensorBoard, where a run asks for them (``output.tensorboard=true``)."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path

from scenarios.ranges import ConfigError
from training.artifact import Scalars, untold

FOLDER = "tensorboard"


def events_folder(wanted: bool, folder: Path) -> Path | None:
    """Where a run's event files go; None where it wants none.

    Raises:
        ConfigError: TensorBoard is not installed.
    """
    if not wanted:
        return None
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError(
            "output.tensorboard=true needs the package tensorboard, which is not installed: "
            '`pip install -c constraints.txt -e ".[tensorboard]"` installs it'
        )
    return folder / FOLDER


@contextlib.contextmanager
def scalars_to(events: Path | None, stage: str) -> Iterator[Scalars]:
    """Writes the statistics of one stage into a folder of its own."""
    if events is None:
        yield untold
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(events / stage)) as writer:

        def tell(step: int, statistics: Mapping[str, float]) -> None:
            for name, value in statistics.items():
                if isinstance(value, int | float):  # games without victory have no win rate
                    writer.add_scalar(name, value, step)

        yield tell
