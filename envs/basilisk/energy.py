"""Forecasts of a battery, from what a satellite's bus knows of itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from envs.basilisk.snapshot import Snapshot
from scenarios.constellation import HardwareConfig

WHEELS_IDLE_W = 1.2  # three wheels of 0.4 W, BSK-RL's default
SOLAR_FLUX_W_m2 = 1361.0  # at 1 AU
TURN_TO_SUN_S = 420.0  # the longest turn seen: wheels that run fast from the start slow a slew down


class Energy:
    """Of N satellites."""

    def __init__(self, hardware: Sequence[HardwareConfig], image_s: float, downlink_s: float | None) -> None:
        """The longest that an image may take, and a downlink, where there is such a thing."""
        self._capacity_Wh = np.array([h.battery_Wh for h in hardware])
        self._base_power_W = np.array([h.base_power_W for h in hardware])
        self._idle_power_W = self._base_power_W + WHEELS_IDLE_W
        instrument_W = np.array([h.instrument_power_W for h in hardware])
        transmitter_W = np.array([h.transmitter_power_W for h in hardware])
        self._tasks = [(instrument_W, image_s)]  # power [N] beyond idling, and for how long
        if downlink_s is not None:
            self._tasks.append((transmitter_W, downlink_s))
        panels_W = [SOLAR_FLUX_W_m2 * h.panel_area_m2 * h.panel_efficiency for h in hardware]
        self._charge_power_W = np.array(panels_W) - self._idle_power_W

    def after_eclipse(self, now: Snapshot) -> NDArray[np.float64]:
        """Battery fraction [N] that would be left if the satellite idled through the eclipse it is in, or the next."""
        dark_s = now.to_eclipse_end_s - np.where(now.sunlit, now.to_eclipse_start_s, 0.0)
        return np.asarray(now.battery - self._base_power_W * dark_s / 3600.0 / self._capacity_Wh)

    def lowest_ahead(self, now: Snapshot) -> NDArray[np.float64]:
        """[N] the lowest battery fraction ahead if it takes one more image, or downlinks once more, for as long as that
        may last, then turns to the Sun, and charges until the coming eclipse is over: an action is not interrupted."""
        lowest: NDArray[np.float64] = np.minimum.reduce(
            [self._after(now, power_W, task_s) for power_W, task_s in self._tasks]
        )
        return lowest

    def _after(self, now: Snapshot, power_W: NDArray[np.float64], task_s: float) -> NDArray[np.float64]:
        after = now.battery - self._used(self._idle_power_W + power_W, task_s)
        turned = after - self._used(self._idle_power_W, TURN_TO_SUN_S)
        sunlit_s = np.maximum(0.0, now.to_eclipse_start_s - task_s - TURN_TO_SUN_S)
        filled = np.minimum(1.0, turned + self._used(self._charge_power_W, sunlit_s))
        dark_s = now.to_eclipse_end_s - np.where(now.sunlit, now.to_eclipse_start_s, task_s)
        end = np.where(now.sunlit, filled, after) - self._used(self._idle_power_W, np.maximum(0.0, dark_s))
        return np.asarray(np.minimum(turned, end))

    def _used(self, power_W: NDArray[np.float64], time_s: float | NDArray[np.float64]) -> NDArray[np.float64]:
        """Battery fractions [N] that a power takes in a time."""
        return np.asarray(power_W * time_s / 3600.0 / self._capacity_Wh)
