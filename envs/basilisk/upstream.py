"""The same mission built of plain BSK-RL objects: what our simulation is checked and timed against."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from bsk_rl import ConstellationTasking, act, comm, data, obs, sats
from bsk_rl.gym import NO_ACTION

from envs.basilisk.episode import Episode
from envs.basilisk.models import STEERED, satellite_args
from envs.basilisk.satellites import names_of
from envs.basilisk.simulation import draw_orbits, draw_time_limit_s, ground_targets, numpy_seeded
from envs.basilisk.support_data import bootstrap
from scenarios.communication import Communication
from scenarios.mission import BLOCKS, FORECAST_BLOCKS, INTENT_BLOCKS, ScenarioConfig
from scenarios.ranges import ConfigError

_COMMUNICATORS = {Communication.none: comm.NoCommunication, Communication.free: comm.FreeCommunication}
Decision = tuple[int, int]  # satellite, target (-1: charge), in order of time


def plain_environment(config: ScenarioConfig, retasked_only: bool = False) -> ConstellationTasking:
    """BSK-RL's own environment with BSK-RL's own satellites, observations (of the same content as ours), actions,
    reward and communication; only the targets' placement is ours.

    Args:
        config: the mission.
        retasked_only: upstream's option to observe only satellites that are to decide.

    Raises:
        ConfigError: as ``check_comparable``.
    """
    check_comparable(config)
    bootstrap(config.support_data_dir)
    slots = config.actions.image_slots

    class PlainImager(sats.ImagingSatellite):  # type: ignore[misc]  # bsk_rl is untyped
        observation_spec: ClassVar[list[Any]] = [
            obs.SatProperties({"prop": "battery_charge_fraction"}, {"prop": "omega_BP_P"}),
            obs.Eclipse(),
            obs.OpportunityProperties(
                {"prop": "priority"},
                {"prop": "opportunity_open"},
                {"prop": "opportunity_close"},
                {"prop": "target_angle"},
                {"prop": "target_angle_rate"},
                n_ahead_observe=slots,
            ),
        ]
        action_spec: ClassVar[list[Any]] = [
            act.Charge(duration=config.actions.charge_duration_s),
            act.Image(n_ahead_image=slots, max_duration=config.actions.image_timeout_s),
        ]

    class SteeredPlainImager(PlainImager):
        fsw_type = STEERED

    members = [config.hardware[member.hardware] for member in config.constellation.members]
    scenario = ground_targets(config)
    logging.getLogger("bsk_rl").setLevel(logging.ERROR)
    environment: ConstellationTasking = ConstellationTasking(
        satellites=[
            (PlainImager if hardware.steering is None else SteeredPlainImager)(name, satellite_args(hardware))
            for name, hardware in zip(names_of(config), members, strict=True)
        ],
        scenario=scenario,
        rewarder=data.UniqueImageReward(),
        world_args={"utc_init": config.epoch_utc},
        communicator=_COMMUNICATORS[config.communication.mode](),
        sat_arg_randomizer=lambda satellites: draw_orbits(
            config, environment.scenario, environment.time_limit, satellites
        ),
        sim_rate=config.sim_step_s,
        time_limit=lambda: draw_time_limit_s(config, training=False),
        failure_penalty=0.0,
        generate_obs_retasking_only=retasked_only,
        log_level="ERROR",
    )
    return environment


def check_comparable(config: ScenarioConfig) -> None:
    """
    Raises:
        ConfigError: a mission with communication by line of sight, or with what BSK-RL itself has no like of.
    """
    if config.communication.mode is Communication.line_of_sight:
        raise ConfigError(
            "scenario.communication.mode='line_of_sight' is not compared with plain BSK-RL: it must be free or none"
        )
    theirs = tuple(name for name in config.blocks if name not in (*FORECAST_BLOCKS, *INTENT_BLOCKS))  # only sensed
    if config.targets.file is not None:
        raise ConfigError("scenario.targets.file is not compared with plain BSK-RL: it must be null")
    if theirs != BLOCKS or config.reward.rule is not None:
        raise ConfigError(
            f"scenario={config.name} is not compared with plain BSK-RL, which has no such blocks, actions or rewards"
        )


def replay(environment: ConstellationTasking, seed: int, decisions: Sequence[Decision]) -> list[tuple[float, float]]:
    """Fly recorded decisions in plain BSK-RL; returns (end time [s], team reward) of every step.

    A satellite whose image is still on its way to the storage when its action times out is left alone for that one
    tick, as our simulation does (see ``Constellation._run_until_decision``).
    """
    queues: dict[str, list[int]] = {satellite.name: [] for satellite in environment.satellites}
    for satellite, target in decisions:
        queues[environment.satellites[satellite].name].append(target)
    with numpy_seeded(seed):
        environment.reset(seed=seed)
    targets = environment.scenario.targets
    asked = set(environment.agents)
    steps = []
    while environment.agents:
        actions: dict[str, Any] = {}
        for agent in environment.agents:
            if agent in asked and queues[agent] and not _image_in_flight(environment.get_satellite(agent)):
                target = queues[agent].pop(0)
                actions[agent] = np.int64(0) if target < 0 else targets[target]
            else:
                actions[agent] = NO_ACTION
        _, rewards, _, _, infos = environment.step(actions)
        asked = {agent for agent in environment.agents if infos[agent]["requires_retasking"]}
        steps.append((float(environment.simulator.sim_time), float(sum(rewards.values()))))
    return steps


def _image_in_flight(satellite: sats.ImagingSatellite) -> bool:
    event = satellite.simulator.eventMap.get(satellite._image_event_name)
    return event is not None and event.eventActive and bool(satellite.fsw.insControl.imaged)


def chosen_target(episode: Episode, row: int, action: int) -> int:
    """The index of the target that an action of ours means, -1 for charging: a ``Decision`` to replay."""
    return -1 if action == 0 else int(episode.features.offered[row][action - 1])
