"""The time until a satellite must be checked again, so that it crosses no limit unnoticed within an action."""

from __future__ import annotations

from envs.basilisk.satellites import Imager

_FALL_M_S = 11.2e3  # the escape velocity at the ground: no satellite sinks faster
_HUB_RAD_S2 = 1.0  # more than thrusters, or the other wheels, accelerate a wheel by way of the hub


def slack_s(satellite: Imager) -> float:
    """Seconds from now in which the satellite can cross none of its limits, whatever it does.

    The bounds are generous: instrument, transmitter and wheels draw all they can from the battery, and the wheels
    gain speed twice as fast as their motors allow.
    """
    bus, dynamics = satellite.bus(), satellite.dynamics
    height_m = satellite.radius_m - dynamics.min_orbital_radius
    wheels = dynamics.rwFactory.rwList.values()
    gains_rad_s2 = max(2.0 * wheel.u_max / wheel.Js for wheel in wheels) + _HUB_RAD_S2
    spare_rad_s = satellite.wheels_fail_rad_s - bus.wheels_rad_s[0]
    return float(min(height_m / _FALL_M_S, spare_rad_s / gains_rad_s2, bus.battery_J / _most_W(satellite)))


def _most_W(satellite: Imager) -> float:
    """The most that all consumers can draw at once while no wheel is beyond its limit."""
    hardware, dynamics = satellite.hardware, satellite.dynamics
    wheels_W = sum(
        power.basePowerNeed + wheel.u_max * satellite.wheels_fail_rad_s / power.elecToMechEfficiency
        for power, wheel in zip(dynamics.rwPowerList, dynamics.rwFactory.rwList.values(), strict=True)
    )
    thrusters_W = abs(dynamics.thrusterPowerSink.nodePowerOut)
    consumers_W = hardware.base_power_W + hardware.instrument_power_W + hardware.transmitter_power_W
    return float(consumers_W + wheels_W + thrusters_W)
