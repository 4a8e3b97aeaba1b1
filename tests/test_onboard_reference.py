"""The reference forward pass against torch, float64 and numbers worked out by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from onboard_samples import (
    BLIND,
    PLAIN,
    TINY,
    TorchRecurrent,
    draw_network,
    fill,
    fly_torch,
    make_actor,
    make_inputs,
    network_of,
)

from onboard import quantise, reference
from onboard.network import Activation, Architecture, Design, Dtype, Network, tensor_types
from onboard.runners import UpsetError
from onboard.runners.reference import ReferenceRunner
from onboard.spec import AgentSpec, Block, FloatArray

ONE_SLOT = AgentSpec("a", "b", (Block("c", 1, "1", 1.0), Block("x", 1, "1", 1.0, slots=1)), ("charge",), 1)
TWO_COLUMNS = AgentSpec("a", "b", (Block("c", 2, "1", 1.0),), ("charge",), 0)


def zeros(spec: AgentSpec, design: Design) -> dict[str, FloatArray]:
    return {name: np.zeros(shape, dtype) for name, (shape, dtype) in tensor_types(spec, design).items()}


def ulps(value: FloatArray, exact: FloatArray) -> float:
    """The largest error in units of the exact value's last place in float32."""
    return float(np.max(np.abs(value.astype(np.float64) - exact) / np.spacing(np.abs(exact).astype(np.float32))))


# --- whole forward passes ---


@pytest.mark.parametrize(("spec", "hidden"), [(TINY, 4), (BLIND, 6), (TINY, 32)])
def test_opportunity_network_is_that_of_torch_in_float64(spec: AgentSpec, hidden: int) -> None:
    actor = make_actor(spec, hidden, seed=3)
    obs, mask = make_inputs(spec, 60, seed=4)
    expected_logits, expected_hidden = fly_torch(actor, spec, obs, mask)
    network = network_of(actor, Design(hidden))
    network.check(spec)
    prepared, state = reference.prepared(network), np.zeros(hidden, np.float32)
    for t in range(len(obs)):
        logits, state = reference.step(prepared, spec, obs[t], mask[t], state)
        assert logits.dtype == state.dtype == np.float32
        np.testing.assert_allclose(state, expected_hidden[t], atol=2e-6)
        np.testing.assert_allclose(logits, expected_logits[t], atol=2e-5)
    assert np.abs(np.diff(expected_hidden, axis=0)).max() > 0.1  # the recurrence was exercised


@pytest.mark.parametrize("activation", Activation)
@pytest.mark.parametrize("spec", [PLAIN, TINY])
def test_recurrent_network_is_that_of_torch_in_float64(spec: AgentSpec, activation: Activation) -> None:
    actor = TorchRecurrent(spec.obs_size, len(spec.actions), 12, activation).double()
    fill(actor, seed=3)
    obs, mask = make_inputs(spec, 60, seed=4)
    with torch.no_grad():
        expected_logits, expected_hidden = (each.numpy() for each in actor(torch.from_numpy(obs).double()))
    network = network_of(actor, Design(12, Architecture.RECURRENT, activation))
    network.check(spec)
    prepared, state = reference.prepared(network), np.zeros(12, np.float32)
    for t in range(len(obs)):
        logits, state = reference.step(prepared, spec, obs[t], mask[t], state)
        np.testing.assert_allclose(state, expected_hidden[t], atol=2e-6)
        np.testing.assert_allclose(logits, expected_logits[t], atol=2e-5)
    assert np.abs(np.diff(expected_hidden, axis=0)).max() > 0.1


def test_opportunity_network_by_hand() -> None:
    """One unit, one slot; all gates open at 0 but the update gate at sigmoid(ln 3) = 3/4."""
    weights = zeros(ONE_SLOT, Design(1))
    weights["context.weight"][:] = 2
    weights["slot.weight"][:] = -1
    weights["gru_input.bias"][1] = np.log(3)
    weights["gru_input.weight"][2] = 0.1
    weights["gru_hidden.weight"][2] = 0.8
    weights["key.weight"][:] = 1
    weights["query.weight"][:] = 2
    weights["fixed.weight"][:], weights["fixed.bias"][:] = 3, 0.5
    weights["score.weight"][:], weights["score.bias"][:] = -1, 0.25
    obs, mask, hidden = np.array([1, 0.5], np.float32), np.array([True, True]), np.array([0.5], np.float32)
    # u = 2, e_0 = 2, e_1 = 1.5, g = 3.5; r = 1/2, z = 3/4, n = tanh(0.35 + 0.5 * 0.4)
    h = 0.25 * np.tanh(0.55) + 0.75 * 0.5
    prepared = reference.prepared(Network(Design(1), weights))
    logits, after = reference.step(prepared, ONE_SLOT, obs, mask, hidden)
    np.testing.assert_allclose(after, [h], rtol=1e-6)
    np.testing.assert_allclose(logits, [3 * (2 + 2 * h) + 0.5, -(1.5 + 2 * h) + 0.25], rtol=1e-6)
    _, alone = reference.step(prepared, ONE_SLOT, obs, np.array([True, False]), hidden)  # no slot is legal: g = 2
    np.testing.assert_allclose(alone, [0.25 * np.tanh(0.2 + 0.2) + 0.75 * 0.5], rtol=1e-6)


def test_recurrent_network_by_hand() -> None:
    weights = zeros(TWO_COLUMNS, Design(1, Architecture.RECURRENT))
    weights["encoder.weight"][:], weights["encoder.bias"][:] = [[2, -1]], 0.5
    weights["gru_input.bias"][:] = [0, np.log(3), 0.1]
    weights["gru_input.weight"][2] = 0.2
    weights["gru_hidden.bias"][2] = 0.4  # inside the product with the reset gate
    weights["head.weight"][:], weights["head.bias"][:] = -3, 1
    obs, mask, hidden = np.array([1, 0.5], np.float32), np.array([True]), np.array([0.5], np.float32)
    for activation, encoded in ((Activation.RELU, 2.0), (Activation.TANH, np.tanh(2.0))):
        network = Network(Design(1, Architecture.RECURRENT, activation), weights)
        logits, after = reference.step(reference.prepared(network), TWO_COLUMNS, obs, mask, hidden)
        h = 0.25 * np.tanh(0.1 + 0.2 * encoded + 0.5 * 0.4) + 0.75 * 0.5
        np.testing.assert_allclose(after, [h], rtol=1e-6)
        np.testing.assert_allclose(logits, [1 - 3 * h], rtol=1e-6)


def test_choice_is_the_first_largest_legal_logit() -> None:
    logits = np.array([5, 1, 3, 3], np.float32)
    assert reference.choose(logits, np.array([False, True, True, True])) == 2
    assert reference.choose(logits, np.array([False, True, False, False])) == 1


# --- int8 ---


def test_inputs_are_rounded_to_2047_steps() -> None:
    x = np.array([[0.5, -1.0, 0.25 / 2047, -0.5 / 2047, 0.49 / 2047, 0], [0, 0, 0, 0, 0, 0]], np.float32)
    steps, step = reference.quantised(x)
    assert steps.tolist() == [[1024, -2047, 0, -1, 0, 0], [0, 0, 0, 0, 0, 0]]  # 1023.5 and -0.5 away from 0
    np.testing.assert_allclose(step[:, 0], [1 / 2047, 0], rtol=1e-7)


def test_int8_network_by_hand() -> None:
    """As the recurrent one above, from whole numbers: 1 is 2047 steps of 1/2047, and 0.5 is 1024 of them."""
    weights = zeros(TWO_COLUMNS, Design(1, Architecture.RECURRENT, dtype=Dtype.INT8))
    weights["encoder.weight"][:], weights["encoder.scale"][:], weights["encoder.bias"][:] = [[100, -50]], 0.02, 0.5
    weights["gru_input.bias"][:] = [0, np.log(3), 0.1]
    weights["gru_input.weight"][2], weights["gru_input.scale"][:] = 20, 0.01
    weights["gru_hidden.bias"][2] = 0.4
    weights["head.weight"][:], weights["head.scale"][:], weights["head.bias"][:] = -127, 3 / 127, 1
    obs, mask, hidden = np.array([1, 0.5], np.float32), np.array([True]), np.array([0.5], np.float32)
    network = Network(Design(1, Architecture.RECURRENT, dtype=Dtype.INT8), weights)
    network.check(TWO_COLUMNS)
    logits, after = reference.step(reference.prepared(network), TWO_COLUMNS, obs, mask, hidden)
    encoded = (100 * 2047 - 50 * 1024) * 0.02 / 2047 + 0.5  # the only input after it is 2047 steps of itself
    h = 0.25 * np.tanh(0.1 + 20 * 0.01 * encoded + 0.5 * 0.4) + 0.75 * 0.5
    np.testing.assert_allclose(after, [h], rtol=1e-6)
    np.testing.assert_allclose(logits, [1 - 3 * h], rtol=1e-6)


@pytest.mark.parametrize(("spec", "architecture"), [(TINY, Architecture.OPPORTUNITY), (PLAIN, Architecture.RECURRENT)])
def test_an_int8_network_is_the_float32_one_of_its_rounded_weights(spec: AgentSpec, architecture: Architecture) -> None:
    """But for the rounding of the inputs, of 1/4094 of the largest one at most."""
    rounded = draw_network(spec, Design(16, architecture, dtype=Dtype.INT8), 5, scale=1.0)
    weights = {
        name: (tensor * rounded.tensors[name.replace("weight", "scale")][:, None]).astype(np.float32)
        if tensor.dtype == np.int8
        else tensor
        for name, tensor in rounded.tensors.items()
        if not name.endswith(".scale")
    }
    runners = [ReferenceRunner(each, spec) for each in (rounded, Network(Design(16, architecture), weights))]
    obs, mask = make_inputs(spec, 50, 6)
    states = [np.zeros(16, np.float32)] * 2
    for t in range(50):
        answers = [runner.step(obs[t], mask[t], state) for runner, state in zip(runners, states, strict=True)]
        np.testing.assert_allclose(answers[0][0], answers[1][0], atol=0.02)
        states = [answers[1][1]] * 2
    assert not np.array_equal(answers[0][0], answers[1][0])


def test_weights_are_rounded_to_127_steps_of_the_largest_of_their_output() -> None:
    weight = np.array([[1.27, -0.635, 0.0149, 0], [0, 0, 0, 0], [1e-11, 0, 0, -1e-11], [-254, 1, 2, 3]], np.float32)
    steps, scale = quantise.rounded(weight)
    assert steps.tolist() == [[127, -64, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [-127, 0, 1, 2]]  # 63.5 and 1.5 to even
    np.testing.assert_allclose(scale, [0.01, 1, 1, 2], rtol=1e-6)
    empty, ones = quantise.rounded(np.zeros((3, 0), np.float32))
    assert empty.shape == (3, 0) and ones.tolist() == [1, 1, 1]


def test_quantisation_leaves_biases_and_the_slot_score() -> None:
    network = draw_network(TINY, Design(6), 0)
    rounded = quantise.quantised(network)
    rounded.check(TINY)
    assert rounded.design == Design(6, dtype=Dtype.INT8)
    kept = [name for name in network.tensors if name.endswith(".bias") or name == "score.weight"]
    assert len(kept) == 7 and all(rounded.tensors[name] is network.tensors[name] for name in kept)
    for name in ("context", "slot", "gru_input", "gru_hidden", "query", "key", "fixed"):
        restored = rounded.tensors[f"{name}.weight"] * rounded.tensors[f"{name}.scale"][:, None]
        off = np.abs(restored - network.tensors[f"{name}.weight"])
        assert (off <= 0.501 * rounded.tensors[f"{name}.scale"][:, None]).all()


# --- non-linearities ---


def both_signs(most: float) -> FloatArray:
    """Evenly spaced and, near 0, down to the smallest number that reaches a non-linearity."""
    near = np.geomspace(1e-16, most, 200_001)
    return np.concatenate([np.linspace(-most, most, 400_001), near, -near]).astype(np.float32)


def test_exponential_is_accurate_over_its_whole_range() -> None:
    x = both_signs(60)
    exact = np.exp(x.astype(np.float64))
    value = reference._exp(x)
    assert np.max(np.abs(value / exact - 1)) < 1.1e-7
    assert reference._exp(np.zeros(1, np.float32))[0] == 1


def test_sigmoid_is_accurate_over_its_whole_range() -> None:
    x = np.linspace(-29.9, 29.9, 400_001).astype(np.float32)
    exact = 1 / (1 + np.exp(-x.astype(np.float64)))
    assert np.max(np.abs(reference._sigmoid(x) / exact - 1)) < 2.5e-7
    far = reference._sigmoid(np.array([0, 30, 1e30, np.inf, -30, -1e30, -np.inf], np.float32))
    assert far[:4].tolist() == [0.5, 1, 1, 1]
    np.testing.assert_allclose(far[4:], 9.36e-14, rtol=1e-3)  # never 0


def test_tanh_is_accurate_over_its_whole_range() -> None:
    x = both_signs(15)
    value = reference._tanh(x)
    assert ulps(value, np.tanh(x.astype(np.float64))) < 2.5
    assert np.abs(value).max() == 1
    np.testing.assert_array_equal(reference._tanh(-x), -value)
    assert reference._tanh(np.array([0, 15, 1e30, np.inf, -np.inf], np.float32)).tolist() == [0, 1, 1, 1, -1]


@pytest.mark.parametrize("function", [reference._exp, reference._sigmoid, reference._tanh])
def test_nan_stays_nan(function: object) -> None:
    with np.errstate(invalid="ignore"):
        assert np.isnan(function(np.array([np.nan], np.float32))).all()  # type: ignore[operator]


def test_sums_are_in_the_order_of_the_inputs() -> None:
    """The bias first, every product and sum rounded to float32: by exact fractions, rounded once each."""
    generator = np.random.default_rng(0)
    x, weight, bias = (generator.normal(0, 1, size).astype(np.float32) for size in (50, 50, 1))
    total = Fraction(float(bias[0]))
    for a, b in zip(x, weight, strict=True):
        product = np.float32(float(Fraction(float(a)) * Fraction(float(b))))  # 48 bits: exact in float64
        total = Fraction(float(np.float32(float(total + Fraction(float(product))))))
    spec = AgentSpec("a", "b", (Block("c", 50, "1", 1.0),), ("charge",), 0)
    network = draw_network(spec, Design(1, Architecture.RECURRENT), 0)
    network.tensors["encoder.weight"][0], network.tensors["encoder.bias"][0] = weight, bias[0]
    assert float(reference._linear(reference.prepared(network), "encoder", x)[0]) == float(total)


# --- what can go wrong ---


@pytest.mark.parametrize("dtype", Dtype)
@pytest.mark.parametrize(("spec", "architecture"), [(TINY, Architecture.OPPORTUNITY), (TINY, Architecture.RECURRENT)])
def test_hidden_state_never_leaves_the_unit_interval(spec: AgentSpec, architecture: Architecture, dtype: Dtype) -> None:
    generator = np.random.default_rng(0)
    runner = ReferenceRunner(draw_network(spec, Design(16, architecture, dtype=dtype), 0, scale=60.0), spec)
    hidden, largest = np.where(np.arange(16) % 2, 1, -1).astype(np.float32), 0.0
    for _ in range(300):
        obs = generator.normal(0, 30, spec.obs_size).astype(np.float32)
        _, hidden = runner.step(obs, np.ones(3, np.bool_), hidden)
        assert np.abs(hidden).max() <= 1
        largest = max(largest, float(np.abs(hidden).max()))
    assert largest > 0.99


def test_rounding_of_the_update_never_leaves_the_unit_interval() -> None:
    """(1 - z) n + z h at its extremes n = h = 1, for every kind of z."""
    z = np.concatenate([np.linspace(0, 1, 100_001), 2.0 ** -np.arange(1, 30), 1 - 2.0 ** -np.arange(1, 25)])
    z = z.astype(np.float32)
    assert ((np.float32(1) - z) * np.float32(1) + z * np.float32(1)).max() == 1


@pytest.mark.parametrize("architecture", Architecture)
def test_infinity_less_infinity_is_not_hidden(architecture: Architecture) -> None:
    runner = ReferenceRunner(draw_network(TINY, Design(8, architecture), 2, scale=30.0), TINY)
    logits, _ = runner.step(np.full(9, 3e38, np.float32), np.ones(3, np.bool_), np.zeros(8, np.float32))
    assert np.isnan(logits).any()


def test_zero_times_infinity_is_not_hidden_by_int8() -> None:
    weights = dict(draw_network(PLAIN, Design(8, Architecture.RECURRENT, dtype=Dtype.INT8), 2).tensors)
    weights["encoder.weight"], weights["encoder.scale"] = np.zeros((8, 7), np.int8), np.full(8, 1e4, np.float32)
    runner = ReferenceRunner(Network(Design(8, Architecture.RECURRENT, dtype=Dtype.INT8), weights), PLAIN)
    logits, hidden = runner.step(np.full(7, 3e38, np.float32), np.ones(3, np.bool_), np.zeros(8, np.float32))
    assert np.isnan(logits).all() and np.isnan(hidden).all()


def test_an_infinite_gate_is_shut_or_open() -> None:
    """A large number and one that overflows do the same."""
    weights = zeros(TWO_COLUMNS, Design(1, Architecture.RECURRENT))
    weights["encoder.weight"][:], weights["gru_input.weight"][:, 0] = 10, [1, -1, 1]
    runner = ReferenceRunner(Network(Design(1, Architecture.RECURRENT), weights), TWO_COLUMNS)
    for value in (1e30, 3e38):
        _, hidden = runner.step(np.full(2, value, np.float32), np.array([True]), np.zeros(1, np.float32))
        assert hidden.tolist() == [1]


def test_tiny_numbers_are_nothing() -> None:
    """Weights below 1e-12, inputs below 1e-16: the same bits as with 0 in their place."""
    network = draw_network(TINY, Design(8), 2)
    tiny = {name: np.where(np.abs(tensor) < 0.3, np.float32(9e-13), tensor) for name, tensor in network.tensors.items()}
    none = {name: np.where(np.abs(tensor) < 0.3, np.float32(0), tensor) for name, tensor in network.tensors.items()}
    obs = np.array([1, 2, 9e-17, -9e-17, 5, 1e-40, 7, 8, 9], np.float32)
    answers = []
    for tensors, given in ((tiny, obs), (none, np.where(obs < 1e-16, 0, obs).astype(np.float32))):
        runner = ReferenceRunner(Network(Design(8), tensors), TINY)
        answers.append(runner.step(given, np.ones(3, np.bool_), np.zeros(8, np.float32)))
    for one, other in zip(*answers, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.requirement("EX-6")
def test_the_runner_finds_any_upset_bit_and_reloads() -> None:
    network, obs, mask = draw_network(BLIND, Design(3, dtype=Dtype.INT8), 2), *make_inputs(BLIND, 1, 1)
    runner, hidden = ReferenceRunner(network, BLIND), np.zeros(3, np.float32)
    right = runner.step(obs[0], mask[0], hidden)
    bits = 8 * sum(tensor.nbytes for tensor in reference.prepared(network).tensors.values())
    before = {name: tensor.copy() for name, tensor in network.tensors.items()}
    for bit in range(bits):
        runner.flip(bit)
        with pytest.raises(UpsetError):
            runner.step(obs[0], mask[0], hidden)
        runner.flip(bit + bits)  # counted modulo their number: the same one
        if bit % 97 == 0:
            runner.flip(bit)
            runner.reload()
    for one, other in zip(runner.step(obs[0], mask[0], hidden), right, strict=True):
        np.testing.assert_array_equal(one, other)
    assert all(np.array_equal(before[name], network.tensors[name]) for name in before)
