"""Which of BSK-RL's models a satellite is made of, and their arguments, from a scenario's YAML."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from bsk_rl.sim import dyn, fsw
from numpy.typing import NDArray

from envs.basilisk.images import IMAGE_BITS
from envs.basilisk.satellites import WATT_HOUR_J, Imager
from scenarios.communication import Communication
from scenarios.constellation import HardwareConfig, SteeringConfig
from scenarios.mission import ScenarioConfig


class LineOfSightImager(Imager):
    """An imager that also tells which other satellites it can see."""

    dyn_type = (dyn.ImagingDynModel, dyn.LOSCommDynModel)
    _dyn_type = None
    _fsw_type = None


class DownlinkImager(Imager):
    """An imager that can reach ground stations."""

    dyn_type = dyn.GroundStationDynModel
    _dyn_type = None
    _fsw_type = None


class LineOfSightDownlinkImager(Imager):
    """Both."""

    dyn_type = (dyn.GroundStationDynModel, dyn.LOSCommDynModel)
    _dyn_type = None
    _fsw_type = None


def imager_type(config: ScenarioConfig, hardware: HardwareConfig) -> type[Imager]:
    if config.communication.mode is Communication.line_of_sight:
        kind = LineOfSightDownlinkImager if config.ground_stations else LineOfSightImager
    else:
        kind = DownlinkImager if config.ground_stations else Imager
    return kind if hardware.steering is None else _steered(kind)


@cache
def _steered(kind: type[Imager]) -> type[Imager]:
    """The same satellite with MRP steering in its flight software."""
    return type(f"Steered{kind.__name__}", (kind,), {"fsw_type": STEERED, "_dyn_type": None, "_fsw_type": None})


STEERED = (fsw.SteeringFSWModel, fsw.ImagingFSWModel)


def satellite_args(hardware: HardwareConfig) -> dict[str, Any]:
    """BSK-RL's ``sat_args`` of a hardware class; ``initial_charge`` is drawn anew in each reset."""
    capacity_J = hardware.battery_Wh * WATT_HOUR_J
    low, high = hardware.initial_charge

    def disturbance() -> NDArray[np.float64]:
        direction = np.random.normal(size=3)
        return np.asarray(hardware.disturbance_torque_Nm * direction / np.linalg.norm(direction))

    drawn = {"disturbance_vector": disturbance} if hardware.disturbance_torque_Nm > 0 else {}
    return {
        "imageTargetMinimumElevation": np.radians(hardware.min_elevation_deg),
        "imageAttErrorRequirement": hardware.image_attitude_error_mrp,
        "imageRateErrorRequirement": hardware.image_rate_error_rad_s,
        "u_max": hardware.max_wheel_torque_Nm,
        "maxWheelSpeed": hardware.max_wheel_speed_rpm,
        "batteryStorageCapacity": capacity_J,
        "storedCharge_Init": lambda: np.random.uniform(low * capacity_J, high * capacity_J),
        "panelArea": hardware.panel_area_m2,
        "panelEfficiency": hardware.panel_efficiency,
        "nHat_B": np.array(hardware.panel_normal_B) / np.linalg.norm(hardware.panel_normal_B),
        "basePowerDraw": -hardware.base_power_W,
        "instrumentPowerDraw": -hardware.instrument_power_W,
        # Half an image more than it may hold: what fits is ours to say, and Basilisk drops what reaches the brim.
        "dataStorageCapacity": (hardware.storage_images + 0.5) * IMAGE_BITS,
        "transmitterPowerDraw": -hardware.transmitter_power_W,
        "transmitterBaudRate": -IMAGE_BITS / hardware.downlink_s_per_image,
        # Bit by bit: Basilisk starts no packet that is not wholly there, and a rounded bit less would stay for ever.
        "transmitterPacketSize": -1.0,
        **drawn,
        **_steering_args(hardware.steering),
    }


def _steering_args(steering: SteeringConfig | None) -> dict[str, float]:
    """None but of satellites that are steered: BSK-RL refuses arguments that a model does not know."""
    if steering is None:
        return {}
    return {
        "K1": steering.attitude_gain_rad_s,
        "K3": steering.cubic_gain_rad_s,
        "omega_max": float(np.radians(steering.max_rate_deg_s)),
        "servo_Ki": steering.angle_gain_Nm,
        "servo_P": steering.rate_gain_Nms,
    }
