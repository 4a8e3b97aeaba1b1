from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from envs.sensing import sense
from scenarios.schema import TeacherConfig
from tests.toy import ToyEnv, ToyOptimum
from training.checkpoint import load, save
from training.missions.batch import advantages, to_batch
from training.missions.mappo import Learner, imitate, new_learner, total_updates, update
from training.missions.networks import Critic, Team, individual_team, shared_team
from training.missions.policies import NetworkPolicy
from training.missions.rollout import Rollout, collect, decisions

ENV = ToyEnv()
CONFIG = TeacherConfig(
    hidden=16,
    episodes=256,
    episodes_per_update=16,
    epochs=8,
    minibatches=2,
    learning_rate=1e-2,
    critic_learning_rate=1e-2,
    discount_per_s=0.9,
    imitation_epochs=30,
    imitation_learning_rate=[1e-2, 1e-2],
    target_kl=1.0,  # the toy is learnt in large steps
)
EVERYTHING = [block.name for block in ENV.specs[0].blocks]


def team_of(visible: list[str], shared: bool, seed: int = 0) -> Team:
    sensings = [sense(spec, visible) for spec in ENV.specs]
    generator = torch.Generator().manual_seed(seed)
    return shared_team(sensings, 16, generator) if shared else individual_team(sensings, [8, 12, 16], generator)


def learner_of(team: Team, seed: int = 0) -> Learner:
    return new_learner(team, Critic(ENV.state_size, 32, torch.Generator().manual_seed(seed)), CONFIG, seed)


def train(learner: Learner, until: int) -> dict[str, float]:
    """Each update's episodes follow from its number."""
    statistics = {}
    while learner.updates < until:
        first = learner.updates * CONFIG.episodes_per_update
        policy = NetworkPolicy(learner.team, sample=True)
        rollout = collect(ENV, policy, list(range(first, first + CONFIG.episodes_per_update)))
        statistics = update(learner, rollout, CONFIG)
    return statistics


def flown(team: Team) -> Rollout:
    return collect(ENV, NetworkPolicy(team, sample=False), list(range(9000, 9020)))


@pytest.mark.parametrize(
    ("visible", "shared"), [(EVERYTHING, True), (["battery", "value"], False)], ids=["teacher", "masked students"]
)
def test_mappo_learns_the_toy_to_near_its_optimum(visible: list[str], shared: bool) -> None:
    learner = learner_of(team_of(visible, shared))
    before = flown(learner.team).reward.sum(0).mean()
    statistics = train(learner, total_updates(CONFIG))
    after = flown(learner.team)
    assert before < 0.6 * ENV.optimum()
    assert after.reward.sum(0).mean() > 0.97 * ENV.optimum()
    assert after.alive[-1].all()
    assert statistics["explained_variance"] > 0.7
    assert statistics["entropy_bonus"] == pytest.approx(CONFIG.entropy[1])


@pytest.mark.parametrize(("target_kl", "actor_epochs"), [(1e-9, 2), (1e9, 8)])
def test_the_actor_stops_after_the_epoch_that_went_too_far(target_kl: float, actor_epochs: int) -> None:
    """The first minibatch of the first epoch is still on-policy, so at least a second step is taken before it shows."""
    config = dataclasses.replace(CONFIG, target_kl=target_kl, minibatches=1)
    learner = learner_of(team_of(EVERYTHING, shared=True))
    update(learner, collect(ENV, NetworkPolicy(learner.team, sample=True), list(range(8))), config)
    steps = [int(optimiser.state_dict()["state"][0]["step"]) for optimiser in _optimisers(learner)]
    assert steps == [actor_epochs, 8]


def _optimisers(learner: Learner) -> list[torch.optim.Adam]:
    return [learner.actor_optimiser, learner.critic_optimiser]


def test_an_agent_blind_to_values_cannot_learn_them() -> None:
    learner = learner_of(team_of(["battery", "noise"], shared=False))
    train(learner, 8)
    assert flown(learner.team).reward.sum(0).mean() < 0.75 * ENV.optimum()


def test_killed_and_resumed_training_is_the_same_to_the_byte(tmp_path: Path) -> None:
    through = learner_of(team_of(EVERYTHING, shared=True))
    statistics = train(through, 4)
    save(tmp_path / "through", through.state_dict(), "c")

    killed = learner_of(team_of(EVERYTHING, shared=True))
    train(killed, 2)
    save(tmp_path / "half", killed.state_dict(), "c")
    resumed = learner_of(team_of(EVERYTHING, shared=True, seed=99), seed=99)
    resumed.load_state_dict(load(tmp_path / "half", "c"))
    assert train(resumed, 4) == statistics
    save(tmp_path / "resumed", resumed.state_dict(), "c")
    assert (tmp_path / "resumed").read_bytes() == (tmp_path / "through").read_bytes()


def test_first_minibatch_is_on_policy_and_rates_anneal() -> None:
    config = TeacherConfig(hidden=16, episodes=64, episodes_per_update=16, epochs=1, minibatches=1, learning_rate=0.1)
    learner = learner_of(team_of(EVERYTHING, shared=True))
    rollout = collect(ENV, NetworkPolicy(learner.team, sample=True), list(range(16)))
    statistics = update(learner, rollout, config)
    assert statistics["approximate_kl"] == pytest.approx(0, abs=1e-6)  # ratio 1: stored and recomputed agree
    assert statistics["policy_loss"] == pytest.approx(0, abs=1e-5)  # the mean of normalised advantages
    assert statistics["episode_return"] == pytest.approx(rollout.reward.sum(0).mean())
    rates = [update(learner, rollout, config)["learning_rate"] for _ in range(3)]
    assert [statistics["learning_rate"], *rates] == pytest.approx([0.1, 0.075, 0.05, 0.025])


def test_imitation_clones_the_demonstrator_and_fits_the_critic() -> None:
    learner = learner_of(team_of(EVERYTHING, shared=True))
    rollout = collect(ENV, ToyOptimum(ENV), list(range(16)))
    statistics = imitate(learner, rollout, CONFIG)
    assert statistics["agreement"] > 0.98 and learner.updates == 0
    assert flown(learner.team).reward.sum(0).mean() > 0.95 * ENV.optimum()
    batch = to_batch(rollout, CONFIG.discount_per_s)
    error, returns = advantages(batch, learner.critic, learner.value_norm, 1.0)
    assert error[batch.valid].square().mean() < 0.25 * returns[batch.valid].var()


def test_cloning_slows_down_linearly() -> None:
    learner = learner_of(team_of(EVERYTHING, shared=True))
    config = dataclasses.replace(CONFIG, imitation_epochs=4, imitation_learning_rate=[0.08, 0.04])
    rates: list[float] = []
    optimiser = learner.actor_optimiser
    imitate(
        learner,
        collect(ENV, ToyOptimum(ENV), list(range(4))),
        config,
        lambda _: rates.append(optimiser.param_groups[0]["lr"]),
    )
    assert rates == pytest.approx([0.08, 0.07, 0.06, 0.05])


def test_dead_agents_and_padding_do_not_reach_the_update() -> None:
    env = ToyEnv(mortal=(True, True, True))
    policy = NetworkPolicy(team_of(EVERYTHING, shared=True), sample=True)
    rollout = collect(env, policy, list(range(8)))
    packed = decisions(rollout, 0.9)
    assert (~packed.valid).any() and rollout.terminated.any()
    garbled = {name: getattr(rollout, name).copy() for name in ("obs", "log_prob", "action")}
    idle = ~rollout.active
    garbled["obs"][idle], garbled["log_prob"][idle], garbled["action"][idle] = 1e6, -50.0, 2
    others = {name: getattr(rollout, name) for name in Rollout.__slots__ if name not in garbled}
    trained = []
    for data in (rollout, Rollout(**garbled, **others)):
        learner = learner_of(team_of(EVERYTHING, shared=True))
        update(learner, data, CONFIG)
        trained.append(np.concatenate([p.detach().numpy().ravel() for p in learner.team.parameters()]))
    assert (trained[0] == trained[1]).all()
