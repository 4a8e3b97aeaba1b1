from __future__ import annotations

import dataclasses

import numpy as np

from envs.sensing import sense
from tests.toy import ToyEnv, ToyOptimum
from training.missions.networks import shared_team
from training.missions.policies import NetworkPolicy
from training.missions.rollout import Decisions, Rollout, collect, concatenate, decisions

T, E, N = 4, 2, 2


def written() -> Rollout:
    """Two episodes of two agents, with gamma = 1/2 per second in mind.

    Episode 0 lasts 4 steps of 2, 1, 1, 3 s and is cut off; agent 1 dies in its step 2.
    Episode 1 lasts 2 steps of 1, 2 s; both agents die in its step 1.
    """
    active = np.zeros((T, E, N), bool)
    active[[0, 2], 0, 0] = True
    active[[0, 1], 0, 1] = True
    active[0, 1, 0] = True
    active[[0, 1], 1, 1] = True
    alive = np.zeros((T + 1, E, N), bool)
    alive[:, 0, 0] = True
    alive[:3, 0, 1] = True
    alive[:2, 1] = True
    valid = np.zeros((T, E), bool)
    valid[:, 0] = True
    valid[:2, 1] = True
    grid = np.arange(T * E * N, dtype=np.float32).reshape(T, E, N)
    return Rollout(
        obs=np.stack((grid, -grid), axis=-1),
        mask=np.ones((T, E, N, 3), bool),
        active=active,
        alive=alive,
        action=grid.astype(np.int64) % 3,
        advice=2 - grid.astype(np.int64) % 3,
        log_prob=-grid,
        reward=np.array([[1, 3], [2, -5], [4, 0], [8, 0]], np.float32),
        duration_s=np.array([[2, 1], [1, 2], [1, 0], [3, 0]], np.float32),
        terminated=np.array([False, True]),
        truncated=np.array([True, False]),
        state=np.zeros((T + 1, E, N, 1), np.float32),
        valid=valid,
        seeds=np.array([7, 8]),
    )


def sequence(packed: Decisions, name: str, episode: int, agent: int) -> list[float]:
    values = getattr(packed, name)[packed.valid[:, episode, agent], episode, agent]
    return [round(float(value), 9) for value in values]


def test_decisions_by_hand() -> None:
    packed = decisions(written(), 0.5)
    assert packed.valid.shape == (2, E, N)
    # agent 0 of episode 0: from t = 0 over steps of 2 and 1 s, then from t = 3 over 1 and 3 s to the time limit
    assert sequence(packed, "step", 0, 0) == [0, 2]
    assert sequence(packed, "reward", 0, 0) == [0.5**2 * 1 + 0.5**3 * 2, 0.5 * 4 + 0.5**4 * 8]
    assert sequence(packed, "discount", 0, 0) == [0.5**3, 0.5**4]
    assert sequence(packed, "next_step", 0, 0) == [2, 4]  # bootstraps from the true final state
    # agent 1 of episode 0 dies in step 2: its sum ends there, nothing follows
    assert sequence(packed, "step", 0, 1) == [0, 1]
    assert sequence(packed, "reward", 0, 1) == [0.5**2 * 1, 0.5 * 2 + 0.5**2 * 4]
    assert sequence(packed, "discount", 0, 1) == [0.5**2, 0]
    # episode 1 ends with the death of both; the penalty is part of both last sums
    assert sequence(packed, "reward", 1, 0) == [0.5 * 3 + 0.5**3 * -5]
    assert sequence(packed, "discount", 1, 0) == [0]
    assert sequence(packed, "reward", 1, 1) == [0.5 * 3, 0.5**2 * -5]
    assert sequence(packed, "discount", 1, 1) == [0.5, 0]


def test_decisions_carry_what_was_seen_and_done_and_zeros_elsewhere() -> None:
    rollout = written()
    packed = decisions(rollout, 0.5)
    for episode, agent in np.ndindex(E, N):
        steps = np.flatnonzero(rollout.active[:, episode, agent])
        depth = len(steps)
        assert (packed.obs[:depth, episode, agent] == rollout.obs[steps, episode, agent]).all()
        assert (packed.action[:depth, episode, agent] == rollout.action[steps, episode, agent]).all()
        assert (packed.advice[:depth, episode, agent] == 2 - packed.action[:depth, episode, agent]).all()
        assert (packed.log_prob[:depth, episode, agent] == rollout.log_prob[steps, episode, agent]).all()
        assert packed.mask[:depth, episode, agent].all()
        for name in ("obs", "mask", "action", "log_prob", "reward", "discount", "step", "next_step"):
            assert not getattr(packed, name)[depth:, episode, agent].any()


def test_held_is_the_latest_decision_of_a_living_agent() -> None:
    held = decisions(written(), 0.5).held
    assert held[:, 0, 0].tolist() == [0, 0, 1, 1]
    assert held[:, 0, 1].tolist() == [0, 1, 1, -1]  # dead
    assert held[:, 1, 0].tolist() == [0, 0, -1, -1]  # the episode is over
    assert held[:, 1, 1].tolist() == [0, 1, -1, -1]


def test_a_mission_that_ends_with_survivors_is_not_bootstrapped() -> None:
    rollout = dataclasses.replace(written(), terminated=np.array([True, True]), truncated=np.array([False, False]))
    packed = decisions(rollout, 0.5)
    assert sequence(packed, "discount", 0, 0) == [0.5**3, 0]
    assert sequence(packed, "reward", 0, 0) == [0.5, 2.5]


def collect_toy(seeds: list[int]) -> Rollout:
    """All agents mortal and clumsy: episodes of unlike length."""
    env = ToyEnv(mortal=(True, True, True))
    team = shared_team([sense(spec, ["battery", "value"]) for spec in env.specs], 4)
    return collect(env, NetworkPolicy(team, sample=True), seeds)


def test_the_chain_of_decisions_adds_up_to_the_discounted_return() -> None:
    env = ToyEnv()
    rollout = collect(env, ToyOptimum(env), [3, 4])
    packed = decisions(rollout, 0.9)
    ends = np.cumsum(rollout.duration_s, axis=0)
    direct = (0.9**ends * rollout.reward).sum(0)
    for agent in range(env.agents):
        chained = np.zeros(2)
        for d in range(len(packed.valid) - 1, -1, -1):
            chained = packed.reward[d, :, agent] + packed.discount[d, :, agent] * chained
        np.testing.assert_allclose(chained, direct, rtol=1e-5)


def test_a_collected_episode_ends_in_time_and_pads_with_zeros() -> None:
    rollout = collect_toy(list(range(8)))
    assert len(set(rollout.steps.tolist())) > 1  # else this tests nothing
    assert rollout.terminated.any() and (rollout.terminated ^ rollout.truncated).all()
    assert rollout.valid[-1].any()
    np.testing.assert_allclose(rollout.duration_s.sum(0)[rollout.truncated], 12.0)
    for episode, steps in enumerate(rollout.steps):
        assert rollout.active[0, episode].all() and rollout.valid[:steps, episode].all()
        for name in ("obs", "mask", "active", "action", "log_prob", "reward", "duration_s", "valid"):
            assert not getattr(rollout, name)[steps:, episode].any(), name
        assert not rollout.state[steps + 1 :, episode].any()
        assert rollout.alive[steps, episode].any() == rollout.truncated[episode]


def test_concatenated_rollouts_equal_one_rollout() -> None:
    together = collect_toy([0, 1, 2, 3, 4])
    joined = concatenate([collect_toy([0, 1]), collect_toy([2]), collect_toy([3, 4])])
    for name in Rollout.__slots__:
        np.testing.assert_allclose(getattr(joined, name), getattr(together, name), atol=1e-6, err_msg=name)


def test_the_toys_best_plan_earns_its_closed_form_optimum() -> None:
    env = ToyEnv()
    rollout = collect(env, ToyOptimum(env), [0, 1, 2])
    np.testing.assert_allclose(rollout.reward.sum(0), env.optimum())
    assert env.optimum() == 12 + 8 + 6
    assert not rollout.log_prob.any()  # a deterministic policy is certain
