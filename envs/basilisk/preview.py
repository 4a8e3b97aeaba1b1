"""What a mission's files hold, and one episode of it under a rule: a look before anything is trained.

``kdmarl-sat preview --config-dir examples scenario=own_files`` shows it.
"""

from __future__ import annotations

import time

import numpy as np

from envs.basilisk.divergence import divergence_km
from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.heuristics import GreedyPolicy
from envs.basilisk.satellites import Imager
from envs.basilisk.simulation import Constellation
from envs.basilisk.support_data import parse_epoch
from envs.basilisk.windows import Windows
from scenarios.files.mission import element_sets
from scenarios.mission import ScenarioConfig


def preview(config: ScenarioConfig, seed: int = 0) -> None:
    """Print what there is, then fly "greedy + battery" for one episode.

    Raises:
        ConfigError: the mission cannot be flown.
    """
    begin = time.monotonic()
    env = ConstellationEnv(config)
    step = env.reset([seed])
    constellation = env.episode(0).constellation
    _tell(config, constellation)
    policy = GreedyPolicy(env.specs)
    while not (step.terminated | step.truncated).all():
        step = env.step(policy.act(step))
    result = env.results()[0]
    print(
        f"greedy + battery, without the guard, seed={seed}: {sum(result.images)} images in {result.duration_s:g} s, "
        f"priority {result.captured:.2f} of {result.available:.2f} within reach ({time.monotonic() - begin:.0f} s)"
    )
    env.close()


def _tell(config: ScenarioConfig, constellation: Constellation) -> None:
    satellites, file, end_s = constellation.satellites, config.constellation.file, float(constellation.time_limit)
    print(f"{len(satellites)} satellites{'' if file is None else f' from {file}'}, epoch {config.epoch_utc}")
    if file is not None:
        epoch, by_sgp4 = parse_epoch(config.epoch_utc), element_sets(config.constellation)
        ages = [f"{each.age_days(epoch):.2f}" for each in by_sgp4] or ["-"] * len(satellites)
        apart = [f"{km:.2f}" for km in divergence_km(constellation)] or ["-"] * len(satellites)
        print("  name                 catalogue  hardware  age, d  windows  from SGP4, km")
        for satellite, age, km in zip(satellites, ages, apart, strict=True):
            who = f"{satellite.name:<20} {satellite.catalogue_number or '-':>9}  {satellite.hardware_name:<8}"
            print(f"  {who}  {age:>6}  {len(_within(satellite, end_s).target):7}  {km:>13}")
    reached = np.unique(np.concatenate([_within(satellite, end_s).target for satellite in satellites]))
    where = "" if config.targets.file is None else f" from {config.targets.file}"
    print(f"{len(constellation.targets)} targets{where}, {len(reached)} in reach")
    if config.ground_stations is not None:
        where = "" if config.ground_stations.file is None else f" from {config.ground_stations.file}"
        passes = sum(int((satellite.passes_s[:, 0] < end_s).sum()) for satellite in satellites)
        print(f"{len(config.ground_stations.at)} stations{where}, {passes} passes")


def _within(satellite: Imager, end_s: float) -> Windows:
    """Its access windows that open before the end of the episode."""
    return satellite.windows.some(satellite.windows.open_s < end_s)
