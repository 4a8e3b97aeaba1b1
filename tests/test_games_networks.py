"""The batched recurrent networks against torch's own modules, one agent at a time."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from envs.api import AgentSpec, FeatureBlock
from envs.games.sensing import RandomMasks, everything, fixed
from training.games.gru import gated_recurrence
from training.games.networks import RecurrentTeam, Sight, alike


def spec(name: str, sizes: dict[str, int], actions: int) -> AgentSpec:
    blocks = tuple(FeatureBlock(block, size, "1", 1.0) for block, size in sizes.items())
    return AgentSpec(name, "toy", blocks, tuple(f"a{k}" for k in range(actions)), slots=0)


SPECS = (spec("one", {"x": 2, "y": 3}, 4), spec("two", {"x": 2, "y": 3}, 4), spec("three", {"z": 1}, 2))


def test_the_recurrence_has_the_gradient_of_its_own_forward_pass() -> None:
    torch.manual_seed(0)
    steps, networks, rows, units = 5, 2, 3, 4
    shapes = ((steps, networks, rows, 3 * units), (networks, rows, units), (networks, units, 3 * units))
    x, h, w = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
    b = torch.randn(networks, 1, 3 * units, dtype=torch.float64, requires_grad=True)
    keep = torch.tensor([1.0, 0, 1, 1, 0]).double().view(steps, 1, 1, 1).expand(steps, 1, rows, 1)
    assert torch.autograd.gradcheck(lambda *a: gated_recurrence(*a, keep), (x, h, w, b))
    assert torch.autograd.gradcheck(lambda *a: gated_recurrence(*a, None), (x, h, w, b))


def alone(team: RecurrentTeam, agent: int) -> nn.ModuleDict:
    """An agent's network in torch's modules, cut to its own width."""
    k, width, widest = team._network_of[agent], team.width(agent), team.hidden
    gates = [gate * widest + unit for gate in range(3) for unit in range(width)]
    encoder, gru = nn.Linear(team.inputs, width), nn.GRU(width, width)
    head = nn.Linear(width, team.actions)
    with torch.no_grad():
        encoder.weight.copy_(team.encoder_weight[k][:, :width].T)
        encoder.bias.copy_(team.encoder_bias[k, 0, :width])
        gru.weight_ih_l0.copy_(team.input_weight[k][:width, gates].T)
        gru.bias_ih_l0.copy_(team.input_bias[k, 0, gates])
        gru.weight_hh_l0.copy_(team.hidden_weight[k][:width, gates].T)
        gru.bias_hh_l0.copy_(team.hidden_bias[k, 0, gates])
        head.weight.copy_(team.head_weight[k][:width].T)
        head.bias.copy_(team.head_bias[k, 0])
    return nn.ModuleDict({"encoder": encoder, "gru": gru, "head": head})


def trained(team: RecurrentTeam, steps: int = 5) -> RecurrentTeam:
    """After some steps of Adam on nonsense, so that no weight is at its initial value by chance."""
    optimiser = torch.optim.Adam(team.parameters(), 1e-2)
    for seed in range(steps):
        inputs = torch.randn(4, 3, team.agents, team.inputs, generator=torch.Generator().manual_seed(seed))
        outputs, latents = team(inputs, team.initial_hidden(3))
        loss = outputs.sin().sum()
        for agent in range(team.agents):
            loss = loss + latents[:, agent, :, : team.width(agent)].cos().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return team


@pytest.mark.parametrize(
    ("groups", "widths"),
    [([[0, 1, 2]], [6]), ([[0], [1], [2]], [6, 3, 5]), ([[0, 2], [1]], [4, 6]), ([[2], [0], [1]], [3, 4, 5])],
)
def test_each_agent_computes_what_its_network_would_alone(groups: list[list[int]], widths: list[int]) -> None:
    team = trained(RecurrentTeam(7, 4, groups, widths, torch.Generator().manual_seed(1)))
    steps, environments = 6, 2
    inputs = torch.randn(steps, environments, 3, 7, generator=torch.Generator().manual_seed(2))
    starts = torch.zeros(steps, environments, dtype=torch.bool)
    starts[3, 1] = True
    hidden = 0.5 * torch.ones_like(team.initial_hidden(environments))
    for agent in range(3):
        hidden[agent, :, team.width(agent) :] = 0
    outputs, latents = team(inputs, hidden, starts)
    for agent in range(3):
        width, network = team.width(agent), alone(team, agent)
        for e in range(environments):
            h = hidden[agent, e, :width].clone()
            for t in range(steps):
                h = torch.zeros_like(h) if bool(starts[t, e]) else h
                z, _ = network["gru"](torch.relu(network["encoder"](inputs[t, e, agent]))[None], h[None])
                h = z[0]
                torch.testing.assert_close(latents[t, agent, e, :width], h, atol=2e-6, rtol=1e-5)
                torch.testing.assert_close(outputs[t, e, agent], network["head"](h), atol=2e-6, rtol=1e-5)
        assert latents[:, agent, :, width:].abs().max() == 0 if width < team.hidden else True


def test_a_narrow_network_learns_as_it_would_alone() -> None:
    """Beside a wider one its missing units stay at 0, weights and all."""
    team = RecurrentTeam(7, 4, [[0], [1], [2]], [6, 3, 5], torch.Generator().manual_seed(1))
    network = alone(team, 1)
    ours, theirs = torch.optim.Adam(team.parameters(), 1e-2), torch.optim.Adam(network.parameters(), 1e-2)
    for seed in range(20):
        inputs = torch.randn(4, 3, 3, 7, generator=torch.Generator().manual_seed(seed))
        outputs, _ = team(inputs, team.initial_hidden(3))
        z, _ = network["gru"](torch.relu(network["encoder"](inputs[:, :, 1])))
        for optimiser, loss in ((ours, outputs.sin().sum()), (theirs, network["head"](z).sin().sum())):
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    torch.testing.assert_close(alone(team, 1).state_dict(), network.state_dict(), atol=1e-5, rtol=1e-4)
    assert team.encoder_weight[1, :, 3:].abs().max() == 0
    assert team.hidden_weight[1, 3:].abs().max() == 0
    assert team.head_weight[1, 3:].abs().max() == 0


def test_gradients_are_clipped_network_by_network() -> None:
    team = RecurrentTeam(7, 4, [[0], [1, 2]], [4, 4], torch.Generator().manual_seed(1))
    outputs, _ = team(torch.randn(2, 3, 3, 7, generator=torch.Generator().manual_seed(0)), team.initial_hidden(3))
    (1e3 * outputs[:, :, 0].sum() + 1e-3 * outputs[:, :, 1:].sum()).backward()
    before = [p.grad.clone() for p in team.parameters() if p.grad is not None]
    expected = [torch.stack([g[k].square().sum() for g in before]).sum().sqrt() for k in range(2)]
    largest = team.clip_gradients(0.5)
    assert largest == pytest.approx(float(expected[0]), rel=1e-5)
    for gradient, p in zip(before, team.parameters(), strict=True):
        assert p.grad is not None
        torch.testing.assert_close(p.grad[0], gradient[0] * 0.5 / expected[0], rtol=1e-4, atol=1e-8)
        torch.testing.assert_close(p.grad[1], gradient[1])  # it was small enough


def test_what_is_not_sensed_reaches_no_network() -> None:
    masks = fixed(SPECS, [["x"], ["y"], ["z"]])
    sight = Sight(SPECS, masks, identities=False, last_action=True)
    obs = torch.tensor([[[1.0, 2, 3, 4, 5], [1, 2, 3, 4, 5], [9, 0, 0, 0, 0]]])
    read = sight.prepare(obs, sight.draw(1, torch.Generator()), torch.tensor([[-1, 2, 1]]))
    assert read.tolist() == [[[1, 2, 0, 0, 0, 0, 0, 0, 0], [0, 0, 3, 4, 5, 0, 0, 1, 0], [9, 0, 0, 0, 0, 0, 1, 0, 0]]]
    assert sight.inputs == read.shape[-1]
    assert [sight.columns(agent) for agent in range(3)] == [2 + 4, 3 + 4, 1 + 2]


def test_random_masks_are_told_to_the_network_and_identities_too() -> None:
    masks = RandomMasks(SPECS[:2], (0.4, 0.4))
    sight = Sight(SPECS[:2], masks, identities=True, last_action=False)
    seen = sight.draw(3, torch.Generator().manual_seed(0))
    assert seen.sum(-1).tolist() == [[2, 2]] * 3
    read = sight.prepare(torch.full((3, 2, 5), 7.0), seen, torch.full((3, 2), -1))
    assert torch.equal(read[..., :5], 7.0 * seen)
    assert torch.equal(read[..., 5:10], seen.float())
    assert torch.equal(read[..., 10:], torch.eye(2).expand(3, -1, -1))
    assert sight.columns(0) == 12


def test_multiply_accumulates_by_hand() -> None:
    sight = Sight(SPECS, everything(SPECS), identities=False, last_action=True)
    team = RecurrentTeam(sight.inputs, 4, [[0], [1], [2]], [6, 3, 5], torch.Generator().manual_seed(1))
    # encoder (columns + last action) h, GRU 6 h^2, head h A
    assert team.macs(sight) == [9 * 6 + 216 + 24, 9 * 3 + 54 + 12, 3 * 5 + 150 + 10]


def test_agents_alike_share() -> None:
    assert alike(SPECS) == [[0, 1], [2]]
