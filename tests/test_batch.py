from __future__ import annotations

import dataclasses

import numpy as np
import torch

from tests.toy import ToyEnv, ToyOptimum
from training.missions.batch import Batch, advantages, minibatches, to_batch
from training.missions.networks import Critic
from training.missions.rollout import collect
from training.networks import ValueNorm

ENV = ToyEnv()


def batch() -> Batch:
    return to_batch(collect(ENV, ToyOptimum(ENV), [1, 2]), 0.9)


def constant_critic(value: float) -> Critic:
    critic = Critic(ENV.state_size, 4)
    for parameter in critic.value[-1].parameters():
        torch.nn.init.constant_(parameter, 0.0 if parameter.dim() > 1 else value)
    return critic


def test_advantages_use_denormalised_values_and_the_final_state() -> None:
    norm = ValueNorm()
    norm.update(torch.tensor([2.0, 6.0]))  # mean 4, deviation 2: the critic's 1/2 means 5
    data = batch()
    advantage, returns = advantages(data, constant_critic(0.5), norm, gae_lambda=0.0)
    expected = data.reward + data.discount * 5 - 5  # with lambda 0 the advantage is delta
    torch.testing.assert_close(advantage[data.valid], expected[data.valid])
    torch.testing.assert_close(returns[data.valid], expected[data.valid] + 5)

    # lambda 1 chains up to the value of the final state, 12 s after the start
    _, whole = advantages(data, constant_critic(0.5), norm, gae_lambda=1.0)
    _, without = advantages(dataclasses.replace(data, reward=data.reward * 0), constant_critic(0.5), norm, 1.0)
    np.testing.assert_allclose(without[0], 5 * 0.9**12, rtol=1e-5)
    assert (whole[0] > without[0]).all()


def test_selected_episodes_are_no_deeper_than_their_longest_sequence() -> None:
    data = batch()
    short = data.valid.clone()
    short[3:, 1] = False
    cut = dataclasses.replace(data, valid=short).episodes(torch.tensor([1]))
    assert cut.obs.shape[:2] == (3, 1) and cut.state.shape[:2] == (data.state.shape[0], 1)
    assert torch.equal(cut.action, data.action[:3, [1]])


def test_minibatches_deal_every_episode_once_by_their_key_alone() -> None:
    dealt = [part.tolist() for part in minibatches(10, 3, (1, 2, 3))]
    assert sorted(episode for part in dealt for episode in part) == list(range(10)) and [
        len(part) for part in dealt
    ] == [4, 3, 3]
    assert dealt == [part.tolist() for part in minibatches(10, 3, (1, 2, 3))]
    assert dealt != [part.tolist() for part in minibatches(10, 3, (1, 2, 4))]
    assert len(list(minibatches(2, 5, (0,)))) == 2
