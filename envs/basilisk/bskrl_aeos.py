"""BSK-RL's own benchmark of agile imaging, built of plain BSK-RL: what the mission bskrl_aeos is checked against.

Numbers from benchmarks/aeos.py of AVSLab/bsk_rl at 4af0447e9d33de6d164668ac523c479b31772172. Nothing here imports more
than BSK-RL, so that it works where RLlib is installed and Hydra is not (scripts/bskrl_aeos_rllib.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from Basilisk.utilities import orbitalMotion
from bsk_rl import ConstellationTasking, act, comm, data, obs, sats, scene
from bsk_rl.scene.targets import Target
from bsk_rl.sim import fsw
from bsk_rl.utils.orbital import random_circular_orbit, walker_delta_args

if TYPE_CHECKING:
    from envs.basilisk.simulation import Constellation

SLOTS = 32
ORBIT_S = 5700.0  # as they count orbits
ORBIT = {"altitude": 800, "inc": 45}  # km, deg
DRAWN = ("oe", "sigma_init", "omega_init", "wheelSpeeds")  # anew in every episode
ARGS: dict[str, Any] = {
    "imageAttErrorRequirement": 0.01,
    "imageRateErrorRequirement": 0.01,
    "imageTargetMinimumElevation": np.arctan(800 / 500),
    "batteryStorageCapacity": 8000 * 3600.0,
    "storedCharge_Init": 8000 * 3600.0,
    "dataStorageCapacity": 20000 * 8e6,
    "u_max": 0.4,
    "K1": 0.25,
    "K3": 3.0,
    "omega_max": np.radians(5),
    "servo_Ki": 5.0,
    "servo_P": 30.0,
    "oe": lambda: random_circular_orbit(alt=ORBIT["altitude"], i=ORBIT["inc"]),
}


class AeosSatellite(sats.ImagingSatellite):  # type: ignore[misc]  # bsk_rl is untyped
    """Acts on one of 32 targets, and observes them and itself."""

    action_spec: ClassVar[list[Any]] = [act.Image(n_ahead_image=SLOTS)]
    observation_spec: ClassVar[list[Any]] = [
        obs.SatProperties(
            {"prop": "omega_BH_H", "norm": 0.03},
            {"prop": "c_hat_H"},
            {"prop": "r_BN_P", "norm": orbitalMotion.REQ_EARTH * 1e3},
            {"prop": "v_BN_P", "norm": 7616.5},
        ),
        obs.OpportunityProperties(
            {"prop": "priority"},
            {"prop": "r_LB_H", "norm": 800e3},
            {"prop": "target_angle", "norm": np.pi / 2},
            {"prop": "target_angle_rate", "norm": 0.03},
            {"prop": "opportunity_open", "norm": 300.0},
            {"prop": "opportunity_close", "norm": 300.0},
            type="target",
            n_ahead_observe=SLOTS,
        ),
        obs.Time(),
    ]
    fsw_type = (fsw.SteeringFSWModel, fsw.ImagingFSWModel)


class PlacedTargets(scene.UniformTargets):  # type: ignore[misc]
    """Their scenario, with given targets."""

    def __init__(self, places: Sequence[Target]) -> None:
        super().__init__((100, 10000))
        self._places = places

    def regenerate_targets(self) -> None:
        self.targets = [Target(each.name, each.r_LP_P, each.priority) for each in self._places]


def aeos_settings(names: Sequence[str], limit_s: float, satellite: type = AeosSatellite) -> dict[str, Any]:
    """What their environment is made with: episodes drawn anew, of one satellite or of more round one orbit."""
    walker = {"sat_arg_randomizer": walker_delta_args(n_planes=1, **ORBIT)} if len(names) > 1 else {}
    return {
        "satellites": [satellite(name, ARGS) for name in names],
        "scenario": scene.UniformTargets((100, 10000)),
        "rewarder": data.UniqueImageReward(),
        "communicator": comm.FreeCommunication(min_period=60),
        "sim_rate": 0.5,
        "max_step_duration": 300.0,
        "time_limit": limit_s,
        "failure_penalty": 0.0,
        "terminate_on_time_limit": True,
        "log_level": "ERROR",
        **walker,
    }


def aeos_episode(ours: Constellation, satellite: type = AeosSatellite) -> ConstellationTasking:
    """Their environment with the epoch, orbits, attitudes, wheel speeds and targets of the episode that ours is in."""
    known = {each.name: {name: each.sat_args[name] for name in DRAWN} for each in ours.satellites}
    settings = aeos_settings(list(known), ours.time_limit, satellite)
    settings["scenario"] = PlacedTargets(ours.targets)
    settings["sat_arg_randomizer"] = lambda satellites: {each: known[each.name] for each in satellites}
    return ConstellationTasking(**settings, world_args={"utc_init": ours.config.epoch_utc})
