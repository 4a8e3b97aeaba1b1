"""A satellite's state as Basilisk has it, for the twin to go on from."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from bsk_rl.scene.targets import Target
from numpy.typing import NDArray

from envs.basilisk.satellites import CHARGE, DESATURATE, DOWNLINK, Imager
from envs.basilisk.twin import layout
from envs.basilisk.twin.library import library
from envs.basilisk.twin.tables import Tables

_RUNNING = {CHARGE: layout.CHARGE, DOWNLINK: layout.DOWNLINK, DESATURATE: layout.DESAT, None: layout.NONE}


def state_of(satellite: Imager, tables: Tables, running: int | None, taken: Iterable[int]) -> NDArray[np.void]:
    """The state [()] of layout.STATE at a decision.

    Args:
        satellite: of a simulation that stands at a tick.
        tables: of the same satellite and episode.
        running: the mission's index of the target that it tracks; None: it tracks none.
        taken: the mission's indices of targets that need no image of its.
    """
    state = np.zeros((), layout.STATE)
    dynamics, fsw = satellite.dynamics, satellite.fsw
    motion = dynamics.scObject.scStateOutMsg.read()
    state["sigma"], state["omega"] = motion.sigma_BN, motion.omega_BN_B
    state["wheels"] = dynamics.rwStateEffector.rwSpeedOutMsg.read().wheelSpeeds[:3]
    state["torque"] = [message.read().u_current for message in dynamics.rwStateEffector.rwOutMsgs]
    state["battery_J"] = dynamics.powerMonitor.batPowerOutMsg.read().storageLevel
    state["bits"] = round(satellite.stored_bits())
    now_ns = satellite.simulator.sim_time_ns
    state["tick"] = round(now_ns / int(tables.record["tick_ns"]))
    if now_ns > 0:  # before, no message has been written
        state["command"] = fsw.rwMotorTorque.rwMotorTorqueOutMsg.read().motorTorque[:3]
    if satellite.hardware.steering is not None:
        state["integral"] = fsw.servo.z
    local = {int(index): place for place, index in enumerate(tables.target)}
    activity = satellite.running
    if isinstance(activity, Target):
        state["running"] = local.get(-1 if running is None else running, layout.NONE)
    else:
        state["running"] = _RUNNING[activity]
    if activity == DESATURATE:  # a burn that was commanded in the last tick
        state["thrust_next_s"] = fsw.thrDump.thrusterOnTimeOutMsg.read().OnTimeRequest[: layout.THRUSTERS]
    state["thrust_age"] = 0 if activity == DESATURATE else 1
    state["held_ticks"] = (
        round(satellite.held_ns() / int(tables.record["tick_ns"])) + 1 if satellite.held_ns() >= 0 else 0
    )
    state["fresh"] = 1
    if state["running"] != layout.NONE:
        library().tw_prime(tables.address, state.ctypes.data)
    for index in taken:
        place = local.get(int(index))
        if place is not None:
            state["taken"][place >> 6] |= np.uint64(1 << (place & 63))
    if tables.record["earn_at_downlink"]:
        _load(state, satellite, tables)
    return state


def _load(state: NDArray[np.void], satellite: Imager, tables: Tables) -> None:
    """The content of its buffer."""
    by_place = {tuple(place): index for index, place in enumerate(tables.arrays["target_P"].tolist())}
    images = satellite.data_store.buffer[: layout.BUFFER]
    state["images"] = len(images)
    for place, image in enumerate(images):
        state["buffer"][place] = by_place[tuple(image.target.r_LP_P.tolist())]
