from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from envs.sensing import sense
from tests.toy import ToyEnv
from training.missions.networks import Critic, OpportunityActor, Team, individual_team, shared_team
from training.networks import ValueNorm

C, F, K, M, H = 3, 2, 4, 2, 5
Vector = list[float]


def actor(seed: int = 0) -> OpportunityActor:
    """With every parameter, biases too, away from its initial value."""
    network = OpportunityActor(C, F, K, M, H)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    return network


def inputs(steps: int, batch: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(steps, batch, M + K, generator=generator) < 0.6
    mask[0, 0, M:] = False  # no opportunity at all
    return (
        torch.randn(steps, batch, C, generator=generator),
        torch.randn(steps, batch, K, F, generator=generator),
        mask,
        torch.randn(batch, H, generator=generator).tanh(),
    )


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def decide_by_hand(
    p: dict[str, Any], c: Vector, x: list[Vector], legal: list[bool], h: Vector
) -> tuple[Vector, Vector]:
    """One decision of one agent in Python floats, as the network is specified."""

    def times(matrix: list[Vector], vector: Vector) -> Vector:
        return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]

    def plus(*vectors: Vector) -> Vector:
        return [sum(parts) for parts in zip(*vectors, strict=True)]

    def relu(vector: Vector) -> Vector:
        return [max(a, 0.0) for a in vector]

    u = plus(times(p["context.weight"], c), p["context.bias"])
    e = [relu(u)] + [relu(plus(u, times(p["slot.weight"], row))) for row in x]
    chosen = [e[j + 1] for j in range(K) if legal[M + j]]
    pooled = [sum(column) / len(chosen) for column in zip(*chosen, strict=True)] if chosen else [0.0] * H
    gi = plus(times(p["gru.weight_ih_l0"], plus(e[0], pooled)), p["gru.bias_ih_l0"])
    gh = plus(times(p["gru.weight_hh_l0"], h), p["gru.bias_hh_l0"])
    after = []
    for i in range(H):
        r, z = sigmoid(gi[i] + gh[i]), sigmoid(gi[H + i] + gh[H + i])
        n = math.tanh(gi[2 * H + i] + r * gh[2 * H + i])
        after.append((1 - z) * n + z * h[i])
    q = plus(times(p["query.weight"], after), p["query.bias"])
    s = [relu(plus(times(p["key.weight"], each), q)) for each in e]
    fixed = plus(times(p["fixed.weight"], s[0]), p["fixed.bias"])
    return fixed + [times(p["score.weight"], each)[0] + p["score.bias"][0] for each in s[1:]], after


def test_the_forward_pass_equals_an_independent_loop_in_float64() -> None:
    network = actor()
    context, slots, mask, hidden = inputs(steps=6, batch=2)
    logits, z = network(context, slots, mask, hidden)
    parameters = {name: tensor.double().tolist() for name, tensor in network.state_dict().items()}
    for b in range(2):
        h = hidden[b].double().tolist()
        for t in range(6):
            expected, h = decide_by_hand(
                parameters, context[t, b].tolist(), slots[t, b].tolist(), mask[t, b].tolist(), h
            )
            np.testing.assert_allclose(logits[t, b].detach().numpy(), expected, atol=2e-5)
            np.testing.assert_allclose(z[t, b].detach().numpy(), h, atol=2e-6)


def test_parameter_names_and_shapes_are_those_of_the_bundle() -> None:
    assert {name: tuple(tensor.shape) for name, tensor in actor().state_dict().items()} == {
        "context.weight": (H, C),
        "context.bias": (H,),
        "slot.weight": (H, F),
        "gru.weight_ih_l0": (3 * H, H),
        "gru.weight_hh_l0": (3 * H, H),
        "gru.bias_ih_l0": (3 * H,),
        "gru.bias_hh_l0": (3 * H,),
        "query.weight": (H, H),
        "query.bias": (H,),
        "key.weight": (H, H),
        "fixed.weight": (M, H),
        "fixed.bias": (M,),
        "score.weight": (1, H),
        "score.bias": (1,),
    }


def test_shuffled_slots_give_shuffled_scores_and_the_same_memory() -> None:
    network = actor()
    context, slots, mask, hidden = inputs(steps=4, batch=3)
    order = torch.tensor([2, 0, 3, 1])
    actions = torch.cat((torch.arange(M), M + order))
    logits, z = network(context, slots, mask, hidden)
    shuffled, z_shuffled = network(context, slots[:, :, order], mask[:, :, actions], hidden)
    torch.testing.assert_close(shuffled, logits[..., actions], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(z_shuffled, z, atol=1e-6, rtol=1e-6)
    assert not torch.allclose(logits[..., actions], logits)


def test_macs_are_half_the_flops_that_torch_counts() -> None:
    network = actor()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        context, slots, _, hidden = inputs(steps=1, batch=1)
        network(context, slots, torch.ones(1, 1, M + K, dtype=torch.bool), hidden)
    # torch also counts the masked mean over slots as a matrix product: K * H
    assert counter.get_total_flops() == 2 * (network.macs() + K * H)
    by_hand = H * C + K * H * F + 6 * H * H + H * H + (K + 1) * H * H + M * H + K * H
    assert network.macs() == by_hand


def test_a_fresh_policy_is_almost_uniform_and_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    network = OpportunityActor(C, F, K, M, H, torch.Generator().manual_seed(3))
    same = OpportunityActor(C, F, K, M, H, torch.Generator().manual_seed(3))
    other = OpportunityActor(C, F, K, M, H, torch.Generator().manual_seed(4))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(network.key.weight, same.key.weight) and not torch.equal(network.key.weight, other.key.weight)
    assert network(*inputs(3, 2))[0].abs().max() < 0.1
    for gate in dict(network.gru.named_parameters())["weight_hh_l0"].chunk(3):
        torch.testing.assert_close(gate @ gate.T, torch.eye(H), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("visible", "sees"), [(["battery"], "nothing of slots"), (["value"], "no context")])
def test_a_network_may_lack_context_or_slot_columns(visible: list[str], sees: str) -> None:
    env = ToyEnv()
    step = env.reset([0])
    team = individual_team([sense(spec, visible) for spec in env.specs], [4, 6, 8])
    logits, latents = team(torch.from_numpy(step.obs)[None], torch.from_numpy(step.action_mask)[None])
    assert logits.shape == (1, 1, 3, 4) and torch.isfinite(logits).all(), sees
    assert [z.shape[-1] for z in latents] == [4, 6, 8]


def test_a_shared_team_gives_each_agent_what_its_own_copy_would() -> None:
    env = ToyEnv()
    sensings = [sense(spec, ["battery", "value", "hardware"]) for spec in env.specs]
    shared, own = shared_team(sensings, 6), individual_team(sensings, [6, 6, 6])
    for network in own.members:
        network.load_state_dict(shared.members[0].state_dict())
    generator = torch.Generator().manual_seed(0)
    obs = torch.randn(5, 2, 3, env.specs[0].obs_size, generator=generator)
    mask = torch.rand(5, 2, 3, 4, generator=generator) < 0.7
    hidden = [torch.randn(2, 6, generator=generator) for _ in range(3)]
    for one, two in zip(shared(obs, mask, hidden)[1], own(obs, mask, hidden)[1], strict=True):
        torch.testing.assert_close(one, two, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(shared(obs, mask, hidden)[0], own(obs, mask, hidden)[0], atol=1e-6, rtol=1e-5)


def test_agents_of_unlike_sensing_cannot_share_a_network() -> None:
    env = ToyEnv()
    sensings = [sense(spec, ["value"] if i else ["battery", "value"]) for i, spec in enumerate(env.specs)]
    with pytest.raises(ValueError, match=r"toy_0.*toy_1.*same columns"):
        shared_team(sensings, 4)
    with pytest.raises(ValueError, match="each of 3 agents once"):
        Team(sensings, [[0], [1]], [4, 4])


def test_the_critic_treats_agents_alike_and_takes_any_number() -> None:
    critic = Critic(3, 8)
    state = torch.randn(2, 7, 5, 3, generator=torch.Generator().manual_seed(0))
    order = torch.tensor([3, 1, 4, 0, 2])
    values = critic(state)
    assert values.shape == (2, 7, 5) and critic(state[:, :, :2]).shape == (2, 7, 2)
    torch.testing.assert_close(critic(state[:, :, order]), values[:, :, order])
    moved = state.clone()
    moved[:, :, 0] += 1.0
    assert (critic(moved)[..., 1] - values[..., 1]).abs().max() > 1e-4  # it sees the others


def test_value_normalisation_is_the_debiased_running_mean_and_deviation() -> None:
    norm = ValueNorm(decay=0.5)
    assert norm.normalise(torch.tensor(3.0)) == 3.0  # nothing known yet
    norm.update(torch.tensor([1.0, 3.0]))  # mean 2, mean square 5
    assert norm.normalise(torch.tensor(4.0)).item() == pytest.approx(2.0)  # (4 - 2) / sqrt(5 - 4)
    norm.update(torch.tensor([8.0]))  # weights 1/4 and 1/2 over 3/4: mean 6, mean square (5 + 2 * 64) / 3
    deviation = math.sqrt(133 / 3 - 36)
    assert norm.normalise(torch.tensor(7.0)).item() == pytest.approx(1 / deviation)
    assert norm.denormalise(torch.tensor(2.0)).item() == pytest.approx(6 + 2 * deviation)
