"""Messages between students: bits, gradients, links, forgetting, and that a blind agent does what it is told."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from envs.games.api import Frame
from envs.games.sensing import fixed
from scenarios.games.schema import MappoConfig, PhaseConfig
from tests.toy_game import ToyGame
from training.artifact import Place
from training.games import mappo
from training.games.appended import AppendedGame, AppendedSight
from training.games.evaluate import evaluate
from training.games.messages import Links, MessagingTeam, bits, messaging_team, others
from training.games.networks import RecurrentTeam, Sight, StateCritic
from training.games.training import Evaluations, train_mappo


def test_bits_are_signs_with_the_gradient_of_tanh() -> None:
    a = torch.tensor([-2.0, -0.1, 0.0, 0.5], requires_grad=True)
    m = bits(a)
    assert m.tolist() == [-1.0, -1.0, 1.0, 1.0]
    (m * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    assert a.grad is not None
    expected = [k * (1 - math.tanh(v) ** 2) for k, v in zip((1, 2, 3, 4), (-2.0, -0.1, 0.0, 0.5), strict=True)]
    assert a.grad.tolist() == pytest.approx(expected)


def test_others_by_hand() -> None:
    assert others(3).tolist() == [[1, 2], [0, 2], [0, 1]]
    assert others(1).shape == (1, 0)


def frame_of(alive: torch.Tensor) -> Frame:
    environments, agents = alive.shape
    mask = torch.ones(environments, agents, 2, dtype=torch.bool)
    return Frame(torch.zeros(environments, agents, 1), mask, alive, torch.zeros(environments, 1))


def test_the_dead_send_nothing() -> None:
    links = Links(0.0)
    alive = torch.tensor([[True, False, True]])
    # Columns of the others in their order: of agents 1, 2; of 0, 2; of 0, 1.
    assert links.of(frame_of(alive)).tolist() == [[[0.0, 1.0], [1.0, 1.0], [1.0, 0.0]]]
    assert (Links(1.0).of(frame_of(alive)) == 0).all()


def test_each_link_loses_its_share_by_itself() -> None:
    links = Links(0.3)
    links.restart(5)
    first = links.of(frame_of(torch.ones(20_000, 3, dtype=torch.bool)))
    assert first.mean((0,)).flatten().tolist() == pytest.approx([0.7] * 6, abs=0.02)
    both = (first[:, 0, 0] * first[:, 2, 1]).mean()  # of agent 1's message to 0 and to 2
    assert both.item() == pytest.approx(0.49, abs=0.02)
    links.restart(5)
    assert torch.equal(links.of(frame_of(torch.ones(20_000, 3, dtype=torch.bool))), first)


def team_of(agents: int = 3, message_bits: int = 2) -> MessagingTeam:
    team = messaging_team(5, 4, [6, 4, 6][:agents], message_bits, seed=1)
    with torch.no_grad():
        team.head_weight.mul_(100)
        team.sender_bias.copy_(torch.linspace(-1, 1, team.sender_bias.numel()).view_as(team.sender_bias))
    return team


def drawn(steps: int, environments: int, agents: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    own = torch.randn(steps, environments, agents, 5, generator=g)
    arrives = (torch.rand(steps, environments, agents, agents - 1, generator=g) < 0.6).float()
    return own, arrives


def by_hand(team: MessagingTeam, own: torch.Tensor, arrives: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
    """One environment, agent after agent, in float64."""
    w = {name: value.double() for name, value in team.state_dict().items()}
    steps, agents, units = own.shape[0], own.shape[1], team.hidden
    h, out = [torch.zeros(units, dtype=torch.float64) for _ in range(agents)], torch.zeros(steps, agents, 4).double()
    for t in range(steps):
        if starts[t]:
            h = [torch.zeros_like(each) for each in h]
        x = [own[t, i].double() @ w["encoder_weight"][i] + w["encoder_bias"][i, 0] for i in range(agents)]
        m = []
        for i in range(agents):
            a = torch.cat((x[i].relu(), h[i])) @ w["sender_weight"][i] + w["sender_bias"][i, 0]
            m.append(torch.where(a >= 0, 1.0, -1.0).double())
        for i in range(agents):
            read = [m[j] * arrives[t, i, k].double() for k, j in enumerate(j for j in range(agents) if j != i)]
            e = (x[i] + torch.cat(read) @ w["receiver_weight"][i]).relu()
            gates = e @ w["input_weight"][i] + w["input_bias"][i, 0]
            memory = h[i] @ w["hidden_weight"][i] + w["hidden_bias"][i, 0]
            r, u = ((gates + memory)[k * units : (k + 1) * units].sigmoid() for k in (0, 1))
            n = (gates[2 * units :] + r * memory[2 * units :]).tanh()
            h[i] = (1 - u) * n + u * h[i]
            out[t, i] = h[i] @ w["head_weight"][i] + w["head_bias"][i, 0]
    return out


def test_the_batch_computes_what_each_agent_does() -> None:
    team = team_of()
    own, arrives = drawn(6, 4, 3)
    starts = torch.zeros(6, 4, dtype=torch.bool)
    starts[3, 1] = starts[0] = True
    with torch.no_grad():
        out, z = team(torch.cat((own, arrives), dim=-1), team.initial_hidden(4), starts)
    for e in range(4):
        torch.testing.assert_close(out[:, e].double(), by_hand(team, own[:, e], arrives[:, e], starts[:, e]))
    assert (z[:, 1, :, 4:] == 0).all()  # units that the narrower agent does not have


def test_what_was_told_is_forgotten_where_an_episode_starts() -> None:
    team = team_of()
    own, arrives = drawn(4, 2, 3)
    starts = torch.tensor([[True, True], [False, False], [True, False], [False, False]])
    inputs = torch.cat((own, arrives), dim=-1)
    with torch.no_grad():
        out, _ = team(inputs, torch.randn(3, 2, 6), starts)
        fresh, _ = team(inputs[2:], team.initial_hidden(2), None)
    torch.testing.assert_close(out[2:, 0], fresh[:, 0])
    assert (out[2:, 1] - fresh[:, 1]).abs().max() > 1e-3


def test_gradients_and_values_go_over_links_that_carry_and_over_no_others() -> None:
    team = team_of()
    own, arrives = drawn(2, 3, 3)
    for carries in (1.0, 0.0):
        arrives[:] = 1.0
        arrives[:, :, 0, 0] = carries  # from agent 1 to agent 0
        arrives[:, :, 2, 1] = 0.0  # and none by way of agent 2
        team.zero_grad()
        out, _ = team(torch.cat((own, arrives), dim=-1), team.initial_hidden(3), None)
        out[:, :, 0].square().sum().backward()
        grad = team.sender_weight.grad
        assert grad is not None
        assert bool(grad[1].abs().sum() > 0) == bool(carries)
        assert grad[2].abs().sum() > 0
        changed = own.clone()
        changed[:, :, 1] = -changed[:, :, 1]
        with torch.no_grad():
            other, _ = team(torch.cat((changed, arrives), dim=-1), team.initial_hidden(3), None)
        assert bool((other[:, :, 0] - out[:, :, 0]).abs().max() > 1e-4) == bool(carries)


def test_without_any_message_it_is_the_team_without_messages() -> None:
    team = messaging_team(5, 4, [6, 4, 6], 2, seed=1)
    plain = RecurrentTeam(5, 4, [[0], [1], [2]], [6, 4, 6], torch.Generator().manual_seed(1))
    own, arrives = drawn(5, 3, 3)
    with torch.no_grad():
        out, _ = team(torch.cat((own, torch.zeros_like(arrives)), dim=-1), team.initial_hidden(3), None)
        expected, _ = plain(own, plain.initial_hidden(3), None)
    torch.testing.assert_close(out, expected)


def test_fresh_weights_are_as_the_recipe_says() -> None:
    team = messaging_team(5, 4, [32, 32, 32], 8, seed=0)
    eye = torch.eye(8).expand(3, -1, -1)
    torch.testing.assert_close(team.sender_weight.transpose(1, 2) @ team.sender_weight, eye)
    torch.testing.assert_close(
        team.receiver_weight @ team.receiver_weight.transpose(1, 2), 0.09 * torch.eye(16).expand(3, -1, -1)
    )
    assert (team.sender_bias == 0).all()


def test_macs_by_hand() -> None:
    game = ToyGame(1, agents=3)
    masks = fixed(game.specs, [["cue"]] * 3)
    sight, plain = AppendedSight(game.specs, masks, False, True), Sight(game.specs, masks, False, True)
    told = messaging_team(sight.inputs, 4, [32] * 3, 8, seed=0)
    silent = RecurrentTeam(plain.inputs, 4, [[0], [1], [2]], [32] * 3, torch.Generator())
    # Sent: 64 by 8; read: 16 by 32.
    assert [a - b for a, b in zip(told.macs(sight), silent.macs(plain), strict=True)] == [512 + 512] * 3


def test_a_blind_agent_does_what_it_is_told(tmp_path: Path) -> None:
    """One sees the cue and one does not: together they earn the optimum, 4.5; without messages 3.0 at best."""
    config = MappoConfig(
        hidden=16,
        critic_hidden=16,
        environments=32,
        window=8,
        phases=[PhaseConfig(steps=20_000, learning_rate=1e-2, entropy=[0.02, 0.0])],
        discount=0.9,
    )
    plain = ToyGame(32)
    game = AppendedGame(plain, Links(0.1))
    sight = AppendedSight(game.specs, fixed(game.specs, [["cue"], ["clock"]]), identities=False, last_action=True)
    team = messaging_team(sight.inputs, 4, [16, 16], 2, seed=0)
    critic = StateCritic(game.state_size, 16, torch.Generator().manual_seed(0))
    learner = mappo.new_learner(team, sight, critic, 0)
    train_mappo(
        learner, game, config, Place(tmp_path, "key", lambda done, text: None), Evaluations(lambda judged: {}, 10_000)
    )
    heard = evaluate(AppendedGame(ToyGame(256), Links(0.0)), (team, sight), 512, 1)
    assert heard.mean_return > 4.2
    unheard = evaluate(AppendedGame(ToyGame(256), Links(1.0)), (team, sight), 512, 1)
    assert unheard.mean_return < 3.3
