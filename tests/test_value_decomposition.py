from __future__ import annotations

import copy
import dataclasses
import math

import pytest
import torch
from torch import Tensor

from envs.games.sensing import everything
from scenarios.games.schema import ValueDecompositionConfig
from tests.toy_game import ToyGame
from training.games.networks import RecurrentTeam, Sight
from training.games.replay import Episodes
from training.games.value_decomposition import (
    MixerName,
    QmixMixer,
    ValueLearner,
    VdnMixer,
    greedy,
    new_learner,
    of_action,
    td_lambda_targets,
    update,
)

CONFIG = ValueDecompositionConfig(hidden=8, mixer=4, hypernet=8, td_lambda=0.0, discount=0.9, target_updates=3)
GAME = ToyGame(1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sight_of(game: ToyGame) -> Sight:
    return Sight(game.specs, everything(game.specs), identities=True, last_action=True)


def learner_of(mixer: MixerName, config: ValueDecompositionConfig = CONFIG) -> ValueLearner:
    team = RecurrentTeam(sight_of(GAME).inputs, 4, [[0, 1]], [config.hidden], generator(), head_gain=1.0)
    return new_learner(mixer, team, GAME.state_size, config, generator())


def random_batch(steps: int = 5, rows: int = 6, seed: int = 0) -> Episodes:
    """Not of any game: each row has an episode of unlike length and, where there is room, a second one behind it."""
    g, agents, actions = generator(seed), 2, 4
    first = torch.randint(1, steps + 1, (rows,), generator=g)  # steps of each row's first episode
    first[0] = steps
    second = (steps - first - 1).clamp_min(0)
    step, even = torch.arange(steps).unsqueeze(-1), torch.arange(rows) % 2 == 0
    frame = torch.arange(steps + 1).unsqueeze(-1)
    mask = torch.rand(steps + 1, rows, agents, actions, generator=g) < 0.6
    mask[..., 0] = True
    return Episodes(
        obs=torch.randn(steps + 1, rows, agents, 6, generator=g),
        seen=torch.ones(steps + 1, rows, agents, 6, dtype=torch.bool),
        action_mask=mask,
        alive=torch.rand(steps + 1, rows, agents, generator=g) < 0.8,
        state=torch.randn(steps + 1, rows, GAME.state_size, generator=g),
        starts=(frame == 0) | ((frame == first + 1) & (second > 0)),
        action=(torch.rand(mask[:-1].shape, generator=g) + mask[:-1]).argmax(-1),
        reward=torch.randn(steps, rows, generator=g),
        terminated=((step == first - 1) & even) | ((step == steps - 1) & (second > 0) & ~even),
        valid=(step < first) | (step > first),
    )


def episodes_of(batch: Episodes) -> list[tuple[int, slice]]:
    """The row of each episode, and its steps there."""
    found = []
    for first, row in batch.starts.nonzero().tolist():
        behind = (~batch.valid[first:, row]).nonzero()
        found.append((row, slice(first, first + int(behind[0]) if len(behind) else len(batch.valid))))
    return found


def test_vdn_is_the_sum_over_the_living() -> None:
    values = torch.tensor([[1.0, 2.0, -4.0], [0.5, 0.25, 8.0]])
    alive = torch.tensor([[True, True, True], [True, True, False]])
    assert VdnMixer()(values, alive, torch.zeros(2, 5)).tolist() == [-1.0, 0.75]


def test_qmix_by_hand() -> None:
    """Two agents, two mixing units, one state column, one hypernetwork unit."""
    mixer = QmixMixer(2, 1, 2, 1, generator())
    with torch.no_grad():
        for network, outputs in (
            (mixer.w_1, [1.0, -2.0, -0.5, 3.0]),  # agent 0's two units, then agent 1's
            (mixer.w_2, [-2.0, 0.5]),
            (mixer.value, [4.0]),
        ):
            network[0].weight.fill_(1.0)
            network[2].weight.copy_(torch.tensor(outputs).unsqueeze(-1))
        mixer.b_1.weight.copy_(torch.tensor([[0.5], [-10.0]]))
    state, values = torch.tensor([[2.0]]), torch.tensor([[1.0, -3.0]])
    h = math.tanh(2.0)  # of the weights; V reads relu(s) = 2, and b_1 = [1, -20] reads s itself
    # |W_1| = h [[1, 2], [0.5, 3]] and |w_2| = h [2, 0.5]
    first, second = h * (1 * 1 - 3 * 0.5) + 1, h * (1 * 2 - 3 * 3) - 20
    assert first > 0 > second  # either side of ELU's bend
    expected = h * 2 * first + h * 0.5 * (math.exp(second) - 1) + 8
    q_tot = mixer(values, torch.ones(1, 2, dtype=torch.bool), state)
    assert q_tot.tolist() == pytest.approx([expected])
    # Without agent 1.
    expected = h * 2 * (h + 1) + h * 0.5 * (math.exp(2 * h - 20) - 1) + 8
    assert mixer(values, torch.tensor([[True, False]]), state).tolist() == pytest.approx([expected])


def test_qmix_rises_with_every_living_agents_value() -> None:
    mixer = QmixMixer(4, 7, 8, 16, generator(3))
    values = (5 * torch.randn(500, 4, generator=generator(1))).requires_grad_()
    alive = torch.rand(500, 4, generator=generator(2)) < 0.7
    (slope,) = torch.autograd.grad(mixer(values, alive, torch.randn(500, 7, generator=generator(4))).sum(), values)
    assert (slope[alive] >= 0).all()
    assert (slope[alive] > 1e-4).float().mean() > 0.9
    assert (slope[~alive] == 0).all()


def test_the_state_decides_how_qmix_mixes() -> None:
    mixer = QmixMixer(2, 3, 8, 16, generator())
    values, alive = torch.randn(1, 2, generator=generator()), torch.ones(1, 2, dtype=torch.bool)
    one, other = (mixer(values, alive, torch.randn(1, 3, generator=generator(seed))) for seed in (1, 2))
    assert one != other


def test_greedy_takes_legal_actions_only() -> None:
    q = torch.tensor([[3.0, 2.0, 1.0], [-5.0, -7.0, -6.0]])
    mask = torch.tensor([[False, True, True], [False, True, True]])
    assert greedy(q, mask).tolist() == [1, 2]
    assert of_action(q, torch.tensor([1, 2])).tolist() == [2.0, -6.0]


def lambda_return(
    reward: list[float], value: list[float], terminated: bool, discount: float, td_lambda: float
) -> list[float]:
    """By definition, (1 - lambda) sum_n lambda^(n-1) G_{t:t+n} + lambda^(L-t-1) G_{t:L}; ``value`` has L+1 entries."""
    length = len(reward)
    value = [*value[:length], 0.0 if terminated else value[length]]

    def n_step(t: int, n: int) -> float:
        return sum(discount**k * reward[t + k] for k in range(n)) + discount**n * value[t + n]

    return [
        (1 - td_lambda) * sum(td_lambda ** (n - 1) * n_step(t, n) for n in range(1, length - t))
        + td_lambda ** (length - t - 1) * n_step(t, length - t)
        for t in range(length)
    ]


@pytest.mark.parametrize("td_lambda", [0.0, 0.6, 1.0])
def test_td_lambda_targets_are_lambda_returns(td_lambda: float) -> None:
    batch = random_batch(steps=7, rows=9)
    value = torch.randn(8, 9, generator=generator(5), dtype=torch.float64)
    targets = td_lambda_targets(batch.reward.double(), batch.terminated, batch.valid, value[1:], 0.9, td_lambda)
    episodes = episodes_of(batch)
    assert len(episodes) > 9  # some rows hold two
    terminated = [bool(batch.terminated[steps, row].any()) for row, steps in episodes]
    assert len(set(terminated)) == 2
    for (row, steps), died in zip(episodes, terminated, strict=True):
        reward = batch.reward[steps, row].double().tolist()
        expected = lambda_return(reward, value[steps.start : steps.stop + 1, row].tolist(), died, 0.9, td_lambda)
        assert targets[steps, row].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("mixer", ["vdn", "qmix"])
def test_packing_changes_no_gradient(mixer: MixerName) -> None:
    """Episodes one behind another teach what the same episodes teach in rows of their own."""
    packed = random_batch(steps=7, rows=9)
    episodes = episodes_of(packed)
    assert len(episodes) > 9

    def apart(name: str, behind: int) -> Tensor:
        """Row k is episode k, with zeros after its end; ``behind`` is 1 where its final frame counts too."""
        column = getattr(packed, name)
        rows = column.new_zeros(len(column), len(episodes), *column.shape[2:])
        for k, (row, steps) in enumerate(episodes):
            length = steps.stop - steps.start + behind
            rows[:length, k] = column[steps.start : steps.start + length, row]
        return rows

    of_frames = ("obs", "seen", "action_mask", "alive", "state", "starts")
    of_steps = ("action", "reward", "terminated", "valid")
    unpacked = Episodes(**{name: apart(name, 1) for name in of_frames}, **{name: apart(name, 0) for name in of_steps})

    def gradients(batch: Episodes) -> list[Tensor]:
        learner = learner_of(mixer, dataclasses.replace(CONFIG, td_lambda=0.5, max_grad_norm=1e6))
        update(learner, sight_of(GAME), batch, CONFIG)
        return [p.grad.clone() for m in (learner.team, learner.mixer) for p in m.parameters() if p.grad is not None]

    for one, two in zip(gradients(packed), gradients(unpacked), strict=True):
        assert one.abs().max() > 0
        torch.testing.assert_close(one, two)


class Table:
    """In place of a team: Q values that are given."""

    def __init__(self, q: Tensor) -> None:
        self.q = q.requires_grad_()

    def initial_hidden(self, environments: int) -> Tensor:
        return torch.zeros(1)

    def __call__(self, inputs: Tensor, hidden: Tensor, starts: Tensor | None) -> tuple[Tensor, Tensor]:
        return self.q, hidden

    def clip_gradients(self, max_norm: float) -> Tensor:
        return torch.zeros(())


def test_double_q_by_hand() -> None:
    """One agent, one step: the learning values choose the best legal action, the target values say what it is worth."""
    game = ToyGame(1, agents=1)
    batch = Episodes(
        obs=torch.zeros(2, 1, 1, 4),
        seen=torch.ones(2, 1, 1, 4, dtype=torch.bool),
        action_mask=torch.tensor([[True, True, True, True], [True, True, True, False]]).view(2, 1, 1, 4),
        alive=torch.ones(2, 1, 1, dtype=torch.bool),
        state=torch.zeros(2, 1, game.state_size),
        starts=torch.tensor([[True], [False]]),
        action=torch.tensor([[[2]]]),
        reward=torch.tensor([[1.0]]),
        terminated=torch.tensor([[False]]),
        valid=torch.tensor([[True]]),
    )
    online = torch.tensor([[0.0, 0.0, 0.5, 0.0], [1.0, 3.0, 2.0, 9.0]]).view(2, 1, 1, 4)
    target = torch.tensor([[0.0, 0.0, 0.0, 0.0], [7.0, 5.0, 8.0, 9.0]]).view(2, 1, 1, 4)

    def updated(batch: Episodes) -> tuple[float, Tensor]:
        learning = Table(online.clone())
        optimiser = torch.optim.Adam([learning.q])
        learner = ValueLearner(learning, VdnMixer(), Table(target), VdnMixer(), optimiser)
        loss = float(update(learner, sight_of(game), batch, CONFIG)["td_loss"])
        assert learning.q.grad is not None
        return loss, learning.q.grad.flatten()

    error = (1 + 0.9 * 5.0) - 0.5
    loss, gradient = updated(batch)
    assert loss == pytest.approx(error**2)
    assert gradient.tolist() == pytest.approx([0, 0, -2 * error, 0, 0, 0, 0, 0])
    # An agent that dies of it: what follows is worth nothing.
    dead = dataclasses.replace(batch, alive=torch.tensor([True, False]).view(2, 1, 1))
    assert updated(dead)[0] == pytest.approx((1 - 0.5) ** 2)


@pytest.mark.parametrize("mixer", ["vdn", "qmix"])
def test_what_does_not_count_changes_nothing(mixer: MixerName) -> None:
    """Frames behind an episode's end, and the final one if it terminated. That of a truncated episode does count."""
    batch = random_batch()
    frames = torch.cat((batch.valid, torch.zeros_like(batch.valid[:1])))
    frames |= torch.cat((batch.starts[:1], batch.valid))  # those that an episode has
    ended = torch.cat((torch.zeros_like(batch.terminated[:1]), batch.terminated))
    behind = (~frames | ended).unsqueeze(-1)

    def gradients(changed: Episodes) -> list[Tensor]:
        learner = learner_of(mixer, dataclasses.replace(CONFIG, td_lambda=0.5, max_grad_norm=1e6))
        update(learner, sight_of(GAME), changed, CONFIG)
        return [p.grad.clone() for m in (learner.team, learner.mixer) for p in m.parameters() if p.grad is not None]

    plain = gradients(batch)
    other = dataclasses.replace(
        batch,
        obs=torch.where(behind.unsqueeze(-1), 100.0, batch.obs),
        state=torch.where(behind, 100.0, batch.state),
        alive=batch.alive ^ behind,
        reward=torch.where(batch.valid, batch.reward, 100.0),
    )
    for one, two in zip(plain, gradients(other), strict=True):
        torch.testing.assert_close(one, two)
    final = frames & ~torch.cat((batch.valid, torch.zeros_like(batch.valid[:1]))) & ~ended
    assert final.any()
    seen = dataclasses.replace(batch, obs=torch.where(final[..., None, None], 1.0, batch.obs))
    assert any(not torch.equal(one, two) for one, two in zip(plain, gradients(seen), strict=True))


@pytest.mark.parametrize("mixer", ["vdn", "qmix"])
def test_targets_are_copied_every_few_updates_only(mixer: MixerName) -> None:
    learner = learner_of(mixer)
    first = [p.clone() for p in learner.target_team.parameters()]
    for number in range(1, 7):
        update(learner, sight_of(GAME), random_batch(seed=number), CONFIG)
        modules = ((learner.team, learner.target_team), (learner.mixer, learner.target_mixer))
        pairs = [pair for own, target in modules for pair in zip(own.parameters(), target.parameters(), strict=True)]
        assert all(torch.equal(own, target) for own, target in pairs) == (number % 3 == 0)
        fresh = all(torch.equal(p, q) for p, q in zip(first, learner.target_team.parameters(), strict=True))
        assert fresh == (number < 3)


def test_a_loaded_learner_goes_on_the_same() -> None:
    learner, again = learner_of("qmix"), learner_of("qmix")
    for number in range(4):
        update(learner, sight_of(GAME), random_batch(seed=number), CONFIG)
    again.load_state_dict(copy.deepcopy(learner.state_dict()))  # Adam would share its moments
    for number in range(4, 8):
        for one in (learner, again):
            update(one, sight_of(GAME), random_batch(seed=number), CONFIG)
    assert again.updates == 8
    for p, q in zip(learner.team.parameters(), again.team.parameters(), strict=True):
        assert torch.equal(p, q)
