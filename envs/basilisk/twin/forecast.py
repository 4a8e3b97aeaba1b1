"""What a satellite can foretell of its own images: its attitude control, propagated on board."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.basilisk.twin.layout import STEP
from envs.basilisk.twin.library import library
from envs.basilisk.twin.tables import Tables
from scenarios.mission import ScenarioConfig

# Of the attitude control propagated by one tick, counted: as many multiplications, fewer additions; and 46 divisions,
# 3 square roots and 2 trigonometric functions.
TICK_MACS = 362
STEERING_MACS = 66  # more of MRP steering than of MRP feedback, and 9 divisions and 3 trigonometric functions


def tick_macs(config: ScenarioConfig) -> int:
    """Multiplications of one tick, of the costliest flight software in the mission."""
    used = [config.hardware[member.hardware] for member in config.constellation.classes]
    return TICK_MACS + STEERING_MACS * any(hardware.steering is not None for hardware in used)


def outcomes(tables: Tables, state: NDArray[np.void], windows: NDArray[np.int32]) -> NDArray[np.void]:
    """[K] of layout.STEP: what would come of an image in each of some windows, begun now."""
    found = np.zeros(len(windows), STEP)
    library().tw_foretell(tables.address, state.ctypes.data, windows.ctypes.data, len(windows), found.ctypes.data)
    return found


def foretell(tables: Tables, state: NDArray[np.void], windows: NDArray[np.int32]) -> NDArray[np.float64]:
    """The block "foretold" [K, 2]: 1 where the image will be taken, else 0; minutes until the action ends."""
    found = outcomes(tables, state, windows)
    minutes = (found["ended"] - found["begun"]) * (float(tables.record["tick_s"]) / 60.0)
    return np.stack([(found["captured"] >= 0).astype(np.float64), minutes], axis=-1)
