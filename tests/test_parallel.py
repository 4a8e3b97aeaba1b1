"""The PettingZoo face of a mission."""

from __future__ import annotations

import warnings

import numpy as np

from envs.basilisk.parallel import ConstellationParallelEnv
from scenarios.compose import composed

with warnings.catch_warnings():  # where pygame is installed, it imports games whose way of being made is deprecated
    warnings.simplefilter("ignore", DeprecationWarning)
    from pettingzoo.test import parallel_api_test


def parallel_env(*overrides: str) -> ConstellationParallelEnv:
    return ConstellationParallelEnv(
        composed("scenario=imaging_constellation", "scenario.duration_s=400", *overrides).scenario
    )


def test_parallel_api() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parallel_api_test(parallel_env(), num_cycles=60)


def test_everybody_leaves_at_the_time_limit_and_rewards_are_the_teams() -> None:
    env = parallel_env()
    observations, infos = env.reset(seed=3)
    assert set(observations) == set(env.possible_agents) == set(infos)
    time_s = 0.0
    while env.agents:
        actions = {agent: int(np.flatnonzero(observations[agent]["action_mask"])[-1]) for agent in env.agents}
        observations, rewards, terminations, truncations, infos = env.step(actions)
        assert len(set(rewards.values())) == 1
        time_s += next(iter(infos.values()))["duration_s"]
    assert all(truncations.values()) and not any(terminations.values())
    assert time_s == 400.0


def test_same_seed_same_episode() -> None:
    first, second = parallel_env(), parallel_env()
    a, _ = first.reset(seed=5)
    b, _ = second.reset(seed=5)
    for agent in first.possible_agents:
        assert a[agent]["observation"].tobytes() == b[agent]["observation"].tobytes()
        assert first.observation_space(agent).contains(a[agent])
