"""The reference forward pass against torch in float64 and numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from onboard_samples import BLIND, TINY, fly_torch, make_actor, make_inputs
from torch.utils.flop_counter import FlopCounterMode

from onboard import network
from onboard.spec import AgentSpec, Block


@pytest.mark.parametrize(("spec", "hidden"), [(TINY, 4), (BLIND, 6), (TINY, 32)])
def test_forward_pass_is_that_of_torch_in_float64(spec: AgentSpec, hidden: int) -> None:
    actor = make_actor(spec, hidden, seed=3)
    obs, mask = make_inputs(spec, 60, seed=4)
    expected_logits, expected_hidden = fly_torch(actor, spec, obs, mask)
    weights = {name: tensor.float().numpy() for name, tensor in actor.state_dict().items()}
    assert {name: tensor.shape for name, tensor in weights.items()} == network.shapes(spec, hidden)
    state = np.zeros(hidden, np.float32)
    for t in range(len(obs)):
        logits, state = network.step(weights, spec, obs[t], mask[t], state)
        assert logits.dtype == state.dtype == np.float32
        np.testing.assert_allclose(state, expected_hidden[t], atol=2e-6)
        np.testing.assert_allclose(logits, expected_logits[t], atol=2e-5)
    assert np.abs(np.diff(expected_hidden, axis=0)).max() > 0.1  # the recurrence was exercised


def test_forward_pass_by_hand() -> None:
    """One unit, one slot; all gates open at 0 but the update gate at sigmoid(ln 3) = 3/4."""
    spec = AgentSpec("a", "b", (Block("c", 1, "1", 1.0), Block("x", 1, "1", 1.0, slots=1)), ("charge",), 1)
    weights = {name: np.zeros(shape, np.float32) for name, shape in network.shapes(spec, 1).items()}
    weights["context.weight"][:] = 2
    weights["slot.weight"][:] = -1
    weights["gru.bias_ih_l0"][1] = np.log(3)
    weights["gru.weight_ih_l0"][2] = 0.1
    weights["gru.weight_hh_l0"][2] = 0.8
    weights["key.weight"][:] = 1
    weights["query.weight"][:] = 2
    weights["fixed.weight"][:], weights["fixed.bias"][:] = 3, 0.5
    weights["score.weight"][:], weights["score.bias"][:] = -1, 0.25
    obs, mask, hidden = np.array([1, 0.5], np.float32), np.array([True, True]), np.array([0.5], np.float32)
    # u = 2, e_0 = 2, e_1 = 1.5, g = 3.5; r = 1/2, z = 3/4, n = tanh(0.35 + 0.5 * 0.4)
    h = 0.25 * np.tanh(0.55) + 0.75 * 0.5
    logits, after = network.step(weights, spec, obs, mask, hidden)
    np.testing.assert_allclose(after, [h], rtol=1e-6)
    np.testing.assert_allclose(logits, [3 * (2 + 2 * h) + 0.5, -(1.5 + 2 * h) + 0.25], rtol=1e-6)


def test_hidden_state_never_leaves_the_unit_interval() -> None:
    generator = np.random.default_rng(0)
    weights = {
        name: (generator.normal(0, 30, shape)).astype(np.float32) for name, shape in network.shapes(TINY, 16).items()
    }
    hidden = np.ones(16, np.float32)
    for _ in range(300):
        obs = generator.normal(0, 30, TINY.obs_size).astype(np.float32)
        _, hidden = network.step(weights, TINY, obs, np.ones(3, np.bool_), hidden)
        assert np.abs(hidden).max() <= 1


def test_macs_are_those_that_torch_counts_and_those_counted_by_hand() -> None:
    # TINY, H = 4: context 12, slots 2*4*3, GRU 6*16, query 16, keys 3*16, fixed 4, scores 8
    assert network.count_macs(TINY, 4) == 12 + 24 + 96 + 16 + 48 + 4 + 8
    assert network.count_parameters(TINY, 4) == 16 + 12 + (96 + 24) + 20 + 16 + 5 + 5
    for spec, hidden in ((TINY, 4), (TINY, 32), (BLIND, 6)):
        actor = make_actor(spec, hidden, 0)
        obs, mask = make_inputs(spec, 1, 0)
        with FlopCounterMode(display=False) as counter:
            fly_torch(actor, spec, obs, mask)
        assert counter.get_total_flops() == 2 * network.count_macs(spec, hidden)
        assert sum(p.numel() for p in actor.parameters()) == network.count_parameters(spec, hidden)


def test_choice_is_the_first_largest_legal_logit() -> None:
    logits = np.array([5, 1, 3, 3], np.float32)
    assert network.choose(logits, np.array([False, True, True, True])) == 2
    assert network.choose(logits, np.array([False, True, False, False])) == 1
