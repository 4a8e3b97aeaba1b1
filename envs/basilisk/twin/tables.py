"""What the twin must know of one episode: read from a constellation that has been reset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from envs.basilisk.energy import TURN_TO_SUN_S, WHEELS_IDLE_W, SOLAR_FLUX_W_m2
from envs.basilisk.images import IMAGE_BITS, ROUNDING
from envs.basilisk.satellites import ECLIPSE_LOOKAHEAD_S, WATT_HOUR_J, Imager
from envs.basilisk.simulation import Constellation
from envs.basilisk.twin.layout import LOCAL, SATELLITE, TABLES, THRUSTERS
from envs.basilisk.twin.sunlight import illumination
from envs.basilisk.windows import sin_elevation
from scenarios.mission import GuardConfig, RewardAt, ScenarioConfig
from scenarios.ranges import ConfigError

BEYOND_TICKS = 2  # rows behind the episode's last tick


@dataclass(frozen=True, slots=True)
class Tables:
    """One satellite of one episode: the engine's record, the arrays that it points to, and its targets' names."""

    record: NDArray[np.void]  # () of layout.SATELLITE
    arrays: dict[str, NDArray[Any]]
    target: NDArray[np.int64]  # [L] indices of its targets among the mission's

    @property
    def address(self) -> int:
        return int(self.record.ctypes.data)

    @classmethod
    def bound(cls, record: NDArray[np.void], arrays: Mapping[str, NDArray[Any]], target: NDArray[np.int64]) -> Tables:
        """With the record's pointers set to the arrays."""
        ready = {name: np.ascontiguousarray(arrays[name], TABLES[name][0]) for name in TABLES}
        for name, array in ready.items():
            record[name] = array.ctypes.data
        return cls(record, ready, target)


def tables(config: ScenarioConfig, constellation: Constellation) -> list[Tables]:
    """Call after ``Constellation.reset``.

    What needs a set of targets in the twin's state (planning, whole episodes) asks ``check_fits`` besides.
    """
    world = constellation.simulator.world
    sun = world.gravFactory.spiceObject.planetStateOutMsgs[world.sun_index].read()
    sky = np.array(sun.PositionVector), np.array(sun.VelocityVector)
    target_P = np.array([target.r_LP_P for target in constellation.targets]).reshape(-1, 3)
    priority = np.array([target.priority for target in constellation.targets])
    return [_of(config, constellation, each, sky, target_P, priority) for each in constellation.satellites]


def check_fits(config: ScenarioConfig, fleet: Sequence[Tables]) -> None:
    """
    Raises:
        ConfigError: a satellite can reach more targets than the twin's state holds.
    """
    most = max(len(each.target) for each in fleet)
    if most > LOCAL:
        raise ConfigError(
            f"scenario={config.name} has no twin: a satellite can reach {most} targets, and at most {LOCAL} fit"
        )


def _of(
    config: ScenarioConfig,
    constellation: Constellation,
    satellite: Imager,
    sky: tuple[NDArray[np.float64], NDArray[np.float64]],
    target_P: NDArray[np.float64],
    priority: NDArray[np.float64],
) -> Tables:
    windows = satellite.windows
    target = np.unique(windows.target)
    tick_s, tick_ns, limit_ns = float(constellation.sim_rate), constellation.tick_ns, constellation.limit_ns
    ticks = limit_ns // tick_ns + BEYOND_TICKS + 1
    now = np.arange(ticks) * tick_s
    before = np.maximum(0.0, now - tick_s)
    times = np.asarray(satellite.trajectory.times)
    position = CubicSpline(times, np.asarray(satellite.trajectory._r_BN_N_log))
    attitude = CubicSpline(times, np.reshape(satellite.trajectory._J20002Pfix_log, (-1, 9)))
    sun_N, sun_rate_N = sky
    light = illumination(position(before), sun_N + sun_rate_N * now[:, None])
    passes = satellite.passes_s
    arrays: dict[str, NDArray[Any]] = {
        "r_N": position(now),
        "v_N": position(now, 1),
        "PN": attitude(now),
        "light": light,
        "in_pass": _in_pass(satellite, position(before), attitude(before)),
        "target_P": target_P[target],
        "priority": priority[target],
        "dwell": np.array([constellation.targets[index].dwell_s for index in target.tolist()], np.float64),
        "window_target": np.searchsorted(target, windows.target),
        "window_open": windows.open_s,
        "window_close": windows.close_s,
        "window_from": np.full(len(windows.target), -np.inf) if windows.from_s is None else windows.from_s,
        "eclipse_in": _finite(satellite.eclipse_starts_s),
        "eclipse_out": _finite(satellite.eclipse_ends_s),
        "pass_in": passes[:, 0],
        "pass_out": passes[:, 1],
    }
    record = np.zeros((), SATELLITE)
    record["tick_s"], record["tick_ns"], record["limit_ns"] = tick_s, tick_ns, limit_ns
    record["ticks"], record["targets"], record["windows"] = ticks, len(target), len(windows.target)
    record["slots"] = config.actions.image_slots
    record["sun_N"], record["sun_rate_N"] = sun_N, sun_rate_N
    record["longest_window_s"] = float((windows.close_s - windows.open_s).max(initial=0.0))
    record["eclipses_in"], record["eclipses_out"] = len(arrays["eclipse_in"]), len(arrays["eclipse_out"])
    record["passes"] = len(passes)
    _bus(record, satellite)
    _payload(record, config, satellite)
    _guard(record, config.guard, satellite)
    return Tables.bound(record, arrays, target)


def _bus(record: NDArray[np.void], satellite: Imager) -> None:
    """Attitude and power, as the satellite's Basilisk models have them."""
    dynamics, fsw, hardware = satellite.dynamics, satellite.fsw, satellite.hardware
    wheel = next(iter(dynamics.rwFactory.rwList.values()))
    record["inertia"] = np.array(dynamics.I_mat).reshape(3, 3).diagonal()
    record["wheel_inertia"], record["wheel_torque_max"], record["wheel_torque_min"] = wheel.Js, wheel.u_max, wheel.u_min
    record["wheel_speed_max"] = wheel.Omega_max
    record["wheel_speed_fails"] = satellite.wheels_fail_rad_s
    record["radius_fails"] = dynamics.min_orbital_radius
    record["disturbance"] = np.array(dynamics.extForceTorqueObject.extTorquePntB_B).reshape(-1)
    if hardware.steering is None:
        record["gain_attitude"], record["gain_rate"] = fsw.mrpFeedbackControl.K, fsw.mrpFeedbackControl.P
    else:
        law, servo = fsw.mrpSteeringControl, fsw.servo
        record["gain_attitude"], record["gain_cubic"], record["rate_most"] = law.K1, law.K3, law.omega_max
        record["gain_rate"], record["gain_integral"], record["integral_most"] = servo.P, servo.Ki, servo.integralLimit
    used = list(dynamics.thrFactory.thrusterList.values())
    places, directions = [np.array([np.ravel(getattr(each, key)) for each in used]) for key in ("thrLoc_B", "thrDir_B")]
    arms = np.cross(places, directions)  # [n, 3] N m per N
    force = np.array([each.MaxThrust for each in used])
    record["thruster_torque"][:THRUSTERS] = arms * force[:, None]
    record["thruster_share"][:THRUSTERS] = arms @ np.linalg.inv(arms.T @ arms) / force[:, None]
    record["thruster_on_min"] = fsw.thrDump.thrMinFireTime
    record["panel_normal"] = np.array(fsw.sunPoint.pHat_B).reshape(-1)
    record["panel_W"] = SOLAR_FLUX_W_m2 * hardware.panel_area_m2 * hardware.panel_efficiency
    record["base_W"], record["wheels_idle_W"] = hardware.base_power_W, WHEELS_IDLE_W
    record["capacity_J"] = hardware.battery_Wh * WATT_HOUR_J


def _payload(record: NDArray[np.void], config: ScenarioConfig, satellite: Imager) -> None:
    """Instrument, buffer, transmitter, and the actions that use them."""
    hardware, fsw, actions = satellite.hardware, satellite.fsw, config.actions
    record["boresight"] = np.array(fsw.locPoint.pHat_B).reshape(-1)
    record["attitude_tolerance"] = hardware.image_attitude_error_mrp
    record["rate_tolerance"] = hardware.image_rate_error_rad_s
    record["sin_min_elevation"] = np.sin(np.radians(hardware.min_elevation_deg))
    record["instrument_W"], record["transmitter_W"] = hardware.instrument_power_W, hardware.transmitter_power_W
    record["image_bits"], record["capacity_bits"] = IMAGE_BITS, (hardware.storage_images + 0.5) * IMAGE_BITS
    record["full_bits"] = (hardware.storage_images - 1 + ROUNDING) * IMAGE_BITS
    record["storage_bits"] = hardware.storage_images * IMAGE_BITS
    record["downlink_bits_per_s"] = IMAGE_BITS / hardware.downlink_s_per_image
    record["earn_at_downlink"] = config.reward.at is RewardAt.downlink
    record["image_timeout_s"], record["charge_s"] = actions.image_timeout_s, actions.charge_duration_s
    record["downlink_s"], record["desat_s"] = actions.downlink_duration_s or 0.0, actions.desaturation_duration_s or 0.0
    record["can_downlink"] = actions.downlink_duration_s is not None
    record["can_desat"] = actions.desaturation_duration_s is not None
    record["needs_clear_view"] = hardware.needs_clear_view


def _guard(record: NDArray[np.void], guard: GuardConfig, satellite: Imager) -> None:
    hardware = satellite.hardware
    record["guarded"], record["release"] = guard.enabled, guard.release
    record["reserve_min"] = guard.reserve_min_Wh / hardware.battery_Wh
    record["wheels_max"], record["storage_max"] = guard.wheel_speed_max, guard.storage_max
    record["forecast_panel_W"] = SOLAR_FLUX_W_m2 * hardware.panel_area_m2 * hardware.panel_efficiency
    record["forecast_turn_s"], record["lookahead_s"] = TURN_TO_SUN_S, ECLIPSE_LOOKAHEAD_S


def _in_pass(satellite: Imager, r_N: NDArray[np.float64], PN: NDArray[np.float64]) -> NDArray[np.bool_]:
    """At which ticks [T] a ground station has the satellite in view; positions and the Earth of one tick before."""
    stations = [place for place in satellite.locations_for_access_checking if place["type"] == "ground_station"]
    r_P = np.einsum("tij,tj->ti", PN.reshape(-1, 3, 3), r_N)
    seen = np.zeros(len(r_N), dtype=np.bool_)
    for place in stations:
        seen |= sin_elevation(r_P, np.asarray(place["r_LP_P"], np.float64)) > np.sin(place["min_elev"])
    return seen


def _finite(times_s: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    times = np.asarray(times_s, np.float64)
    return times[np.isfinite(times)]
