from __future__ import annotations

import dataclasses

import numpy as np
import torch

from envs.sensing import sense
from tests.toy import ToyEnv
from training.losses import chosen_log_prob
from training.missions.batch import to_batch
from training.missions.networks import Team, individual_team
from training.missions.policies import NetworkPolicy
from training.missions.rollout import Rollout, collect


def spirited(env: ToyEnv) -> Team:
    """Networks with opinions and memories: large random weights."""
    team = individual_team([sense(spec, ["battery", "value", "noise"]) for spec in env.specs], [6, 5, 4])
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in team.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.6)
    return team


def play(seeds: list[int], sample: bool = True) -> Rollout:
    env = ToyEnv(mortal=(True, False, True))
    return collect(env, NetworkPolicy(spirited(env), sample), seeds)


def test_an_episode_is_the_same_in_whatever_batch_it_is_played() -> None:
    together = play([5, 6, 7, 8])
    for e, seed in enumerate([5, 6, 7, 8]):
        alone = play([seed])
        steps = alone.steps[0]
        assert steps == together.steps[e]
        assert (alone.action[:, 0] == together.action[:steps, e]).all()
        assert (alone.reward[:, 0] == together.reward[:steps, e]).all()
        np.testing.assert_allclose(alone.log_prob[:, 0], together.log_prob[:steps, e], atol=1e-5)


def test_unlike_seeds_draw_unlike_actions_and_a_reset_repeats_them() -> None:
    env = ToyEnv()
    step = env.reset([1, 1])
    policy = NetworkPolicy(spirited(env), sample=True)
    policy.reset([10, 11])
    draws = np.array([policy.act(step) for _ in range(20)])
    assert (draws[:, 0] != draws[:, 1]).any()
    policy.reset([11, 10])
    assert (np.array([policy.act(step) for _ in range(20)]) == draws[:, ::-1]).all()


def test_stored_log_probs_equal_those_of_the_whole_sequence() -> None:
    """So memories advanced at an agent's own decisions only, from zero, and the behaviour policy of Eq. 4 is right."""
    rollout = play([1, 2, 3, 4, 5])
    assert (rollout.active.sum(0).min(), rollout.active.sum(0).max()) != (len(rollout.valid), len(rollout.valid))
    batch = to_batch(rollout, 0.9)
    logits, _ = spirited(ToyEnv())(batch.obs, batch.mask)
    expected = chosen_log_prob(logits, batch.mask, batch.action)[batch.valid].detach()
    np.testing.assert_allclose(batch.log_prob[batch.valid], expected, atol=1e-5)
    assert (batch.log_prob[batch.valid] < 0).all()


def test_draws_follow_the_probabilities_and_are_legal() -> None:
    env = ToyEnv()
    step = env.reset([3] * 4000)
    team = spirited(env)
    policy = NetworkPolicy(team, sample=True)
    policy.reset(list(range(4000)))
    action = policy.act(step)
    assert np.take_along_axis(step.action_mask, action[..., None], -1).all()
    logits = team(torch.from_numpy(step.obs[:1])[None], torch.from_numpy(step.action_mask[:1])[None])[0][0, 0]
    for agent in range(env.agents):
        weights = np.exp(logits[agent].detach().numpy().astype(np.float64)) * step.action_mask[0, agent]
        counts = np.bincount(action[:, agent], minlength=4)
        np.testing.assert_allclose(counts / 4000, weights / weights.sum(), atol=0.04)


def test_greedy_takes_the_first_of_the_best_legal_actions() -> None:
    env = ToyEnv()
    step = env.reset([0, 1])
    team = individual_team([sense(spec, ["battery"]) for spec in env.specs], [4, 4, 4])  # all slots look alike
    for network in team.members:
        torch.nn.init.constant_(network.score.bias, 5.0)  # and better than charging
    policy = NetworkPolicy(team, sample=False)
    policy.reset([0, 1])
    mask = step.action_mask.copy()
    mask[..., 1], mask[..., 2:] = False, True
    assert (policy.act(dataclasses.replace(step, action_mask=mask)) == 2).all()
    assert not policy.log_prob.any()


def test_a_team_that_decides_by_kind_images_where_images_together_are_likelier() -> None:
    env = ToyEnv()
    step = env.reset([0, 1])
    mask = np.ones_like(step.action_mask)
    mask[..., :1] = True
    for by_kind, chosen in ((False, 0), (True, 1)):
        team = Team([sense(spec, ["battery"]) for spec in env.specs], [[0], [1], [2]], [4, 4, 4], by_kind=by_kind)
        for network in team.members:
            assert network.fixed_actions == 1
            torch.nn.init.zeros_(network.score.weight)
            torch.nn.init.zeros_(network.score.bias)
            torch.nn.init.zeros_(network.fixed.weight)
            torch.nn.init.constant_(network.fixed.bias, 0.5)  # charging: e^0.5 against 1 of each of three images
        policy = NetworkPolicy(team, sample=False)
        policy.reset([0, 1])
        assert (policy.act(dataclasses.replace(step, action_mask=mask)) == chosen).all()
