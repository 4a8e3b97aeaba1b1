"""Jobs for workers of a Ray cluster, which import them by name."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from envs.sensing import sense
from tests.launched import node
from tests.toy import ToyEnv
from training.missions.networks import shared_team
from training.missions.policies import NetworkPolicy
from training.missions.rollout import Rollout, collect


def hang_on(job: tuple[str, str]) -> str:
    """Leaves a mark and hangs if it is done on that node."""
    lost, mark = job
    here = node(0.0)
    if here == lost:
        Path(mark).touch()
        time.sleep(600)
    return here


def fly_toy(job: tuple[NDArray[np.int64], tuple[int, ...]]) -> Rollout:
    """As training.missions.simulate.fly does; the generator's seed is an array, to see that it may be written to."""
    start, seeds = job
    start += 1
    env = ToyEnv(mortal=(True, True, True))
    sensings = [sense(spec, ["battery", "value"]) for spec in env.specs]
    team = shared_team(sensings, 4, torch.Generator().manual_seed(int(start[0])))
    return collect(env, NetworkPolicy(team, sample=True), list(seeds))
