"""The C engine's structures as numpy records; ``engine/twin.h`` says what each field means."""

from __future__ import annotations

import numpy as np

LOCAL, BUFFER, THRUSTERS, PRICES = 4096, 64, 8, 8
WORDS = LOCAL // 64
NONE, CHARGE, DOWNLINK, DESAT = -1, -2, -3, -4  # what runs; 0 and above: a target

TABLES = {  # pointers: name -> type and columns
    "r_N": (np.float64, 3),
    "v_N": (np.float64, 3),
    "PN": (np.float64, 9),
    "light": (np.float64, 1),
    "in_pass": (np.uint8, 1),
    "target_P": (np.float64, 3),
    "priority": (np.float64, 1),
    "dwell": (np.float64, 1),
    "window_target": (np.int32, 1),
    "window_open": (np.float64, 1),
    "window_close": (np.float64, 1),
    "window_from": (np.float64, 1),
    "eclipse_in": (np.float64, 1),
    "eclipse_out": (np.float64, 1),
    "pass_in": (np.float64, 1),
    "pass_out": (np.float64, 1),
}

SATELLITE = np.dtype(
    [
        ("tick_s", "f8"),
        ("tick_ns", "i8"),
        ("limit_ns", "i8"),
        ("ticks", "i4"),
        ("targets", "i4"),
        ("windows", "i4"),
        ("slots", "i4"),
        ("inertia", "f8", 3),
        ("wheel_inertia", "f8"),
        ("wheel_torque_max", "f8"),
        ("wheel_torque_min", "f8"),
        ("wheel_speed_max", "f8"),
        ("wheel_speed_fails", "f8"),
        ("radius_fails", "f8"),
        ("disturbance", "f8", 3),
        ("gain_attitude", "f8"),
        ("gain_rate", "f8"),
        ("rate_most", "f8"),
        ("gain_cubic", "f8"),
        ("gain_integral", "f8"),
        ("integral_most", "f8"),
        ("thruster_torque", "f8", (THRUSTERS, 3)),
        ("thruster_share", "f8", (THRUSTERS, 3)),
        ("thruster_on_min", "f8"),
        ("boresight", "f8", 3),
        ("attitude_tolerance", "f8"),
        ("rate_tolerance", "f8"),
        ("sin_min_elevation", "f8"),
        ("panel_normal", "f8", 3),
        ("panel_W", "f8"),
        ("base_W", "f8"),
        ("wheels_idle_W", "f8"),
        ("instrument_W", "f8"),
        ("transmitter_W", "f8"),
        ("capacity_J", "f8"),
        ("sun_N", "f8", 3),
        ("sun_rate_N", "f8", 3),
        ("image_bits", "i8"),
        ("capacity_bits", "i8"),
        ("full_bits", "f8"),
        ("downlink_bits_per_s", "f8"),
        ("earn_at_downlink", "i4"),
        ("can_downlink", "i4"),
        ("can_desat", "i4"),
        ("image_timeout_s", "f8"),
        ("charge_s", "f8"),
        ("downlink_s", "f8"),
        ("desat_s", "f8"),
        ("longest_window_s", "f8"),
        ("rate_at_once", "i4"),
        ("needs_clear_view", "i4"),
        ("guarded", "i4"),
        ("reserve_min", "f8"),
        ("wheels_max", "f8"),
        ("storage_max", "f8"),
        ("release", "f8"),
        ("forecast_panel_W", "f8"),
        ("forecast_turn_s", "f8"),
        ("lookahead_s", "f8"),
        ("storage_bits", "f8"),
        ("eclipses_in", "i4"),
        ("eclipses_out", "i4"),
        ("passes", "i4"),
        *((name, "u8") for name in TABLES),
    ],
    align=True,
)

STATE = np.dtype(
    [
        ("sigma", "f8", 3),
        ("omega", "f8", 3),
        ("wheels", "f8", 3),
        ("torque", "f8", 3),
        ("command", "f8", 3),
        ("sigma_before", "f8", 3),
        ("integral", "f8", 3),
        ("thrust_s", "f8", THRUSTERS),
        ("thrust_next_s", "f8", THRUSTERS),
        ("impulse_left_s", "f8", THRUSTERS),
        ("battery_J", "f8"),
        ("bits", "i8"),
        ("tick", "i4"),
        ("running", "i4"),
        ("fresh", "i4"),
        ("thrust_age", "i4"),
        ("dump_counter", "i4"),
        ("dump_phase", "i4"),
        ("shutter", "i4"),
        ("held", "i4"),
        ("images", "i4"),
        ("held_ticks", "i4"),
        ("buffer", "i2", BUFFER),
        ("taken", "u8", WORDS),
    ],
    align=True,
)

EFFORT = np.dtype(
    [("until", "i4"), ("width", "i4"), ("bucket", "i4"), ("prices", "i4"), ("price", "f8", PRICES)], align=True
)

STEP = np.dtype([("action", "i4"), ("begun", "i4"), ("captured", "i4"), ("ended", "i4")], align=True)

CAPTURES = np.dtype(
    [
        *((name, "i4") for name in ("count", "targets", "ticks", "turns", "least", "horizon")),
        *((name, "u8") for name in ("target", "tick", "direction", "turn_cosine", "turn_ticks")),
    ],
    align=True,
)
