"""The reference forward pass: numpy float32, operation by operation as the C engine computes it.

Every product, sum and non-linearity is rounded in the same order as in engine/kd_engine.c, so that all runners give
the same bits. Shapes as in network.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onboard.network import Activation, Architecture, Dtype, Network
from onboard.spec import AgentSpec, BoolArray, FloatArray

BLOCK = 8  # partial sums of the slot score
QUANTA = np.float32(2047)  # steps of an int8 network's inputs, to each side
TINY = np.float32(1e-16)  # smaller activations are 0,
SMALLEST_INPUT = np.float32(1e-13)  # of an int8 network: vectors of smaller inputs are 0,
SMALLEST_WEIGHT = np.float32(1e-12)  # and smaller weights, so that no denormal number arises (engine/kd_math.h)

Tensors = Mapping[str, NDArray[Any]]


def prepared(network: Network) -> Network:
    """The network as it is kept in memory: matrices [inputs, outputs], tiny weights flushed."""
    tensors = {}
    for name, tensor in network.tensors.items():
        kept = tensor.astype(np.int32) if tensor.dtype == np.int8 else _flush(tensor, SMALLEST_WEIGHT)
        tensors[name] = np.ascontiguousarray(kept.T)
    return Network(network.design, tensors)


def step(
    network: Network, spec: AgentSpec, obs: FloatArray, mask: BoolArray, hidden: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """One decision of a ``prepared`` network: obs [O], mask [A], hidden [H] to logits [A] and the next hidden [H].

    Logits are given of illegal actions too. What overflows shuts or opens gates, as a large number does, or else is
    infinite or NaN in the answer.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if network.design.architecture is Architecture.RECURRENT:
            return _recurrent(network, obs, hidden)
        return _opportunity(network, spec, obs, mask, hidden)


def send(network: Network, spec: AgentSpec, obs: FloatArray, hidden: FloatArray) -> int:
    """The message of a ``prepared`` network that has one, before it decides: bit k of the B is 1 where a_k >= 0.

    obs [O], of which the last block, what is heard, is not read; hidden [H].

    Raises ValueError: a_k is not a number.
    """
    own = np.append(obs[: -spec.blocks[-1].columns], np.zeros(spec.blocks[-1].columns, np.float32))
    with np.errstate(over="ignore", invalid="ignore"):
        encoded = _relu(_linear(network, "encoder", _flush(own)))
        a = _linear(network, "sender", np.concatenate((encoded, hidden)))
    if not np.isfinite(a).all():
        raise ValueError("a message is not finite")
    return sum(1 << k for k in np.flatnonzero(a >= 0).tolist())


def choose(logits: FloatArray, mask: BoolArray) -> int:
    """The legal action of the largest logit, the first of equals; the mask is not empty."""
    return int(np.argmax(np.where(mask, logits, np.float32(-np.inf))))


def _recurrent(network: Network, obs: FloatArray, hidden: FloatArray) -> tuple[FloatArray, FloatArray]:
    encoded = _linear(network, "encoder", _flush(obs))
    tanh = network.design.activation is Activation.TANH
    encoded = _flush(_tanh(_flush(encoded))) if tanh else _relu(encoded)
    hidden = _gru(network, encoded, hidden)
    return _linear(network, "head", hidden), hidden


def _opportunity(
    network: Network, spec: AgentSpec, obs: FloatArray, mask: BoolArray, hidden: FloatArray
) -> tuple[FloatArray, FloatArray]:
    context, slots = split(spec, _flush(obs))
    u = _linear(network, "context", context)
    alone = _relu(u)
    each = _relu(u + _linear(network, "slot", slots))
    given, legal = alone, mask[len(spec.fixed_actions) :]
    if legal.any():
        given = alone + _sum(each[legal]) * (np.float32(1) / np.float32(legal.sum()))
    hidden = _gru(network, given, hidden)
    query = _linear(network, "query", hidden)
    score = _relu(_linear(network, "key", np.vstack((alone, each))) + query)
    logits = np.concatenate((_linear(network, "fixed", score[0]), _score(network.tensors, score[1:])))
    return logits, hidden


def split(spec: AgentSpec, obs: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The context [C] and the slots [K, F] of an observation [O]."""
    context, slots, start = [obs[:0]], [np.zeros((spec.slots, 0), np.float32)], 0
    for block in spec.blocks:
        columns = obs[start : start + block.columns]
        if block.slots == 0:
            context.append(columns)
        else:
            slots.append(columns.reshape(block.slots, block.size))
        start += block.columns
    return np.concatenate(context), np.concatenate(slots, axis=1)


def quantised(x: FloatArray) -> tuple[NDArray[np.int32], FloatArray]:
    """Vectors [..., I] rounded to +-QUANTA steps of their largest magnitude, and the steps [..., 1]."""
    largest = np.max(np.abs(x), axis=-1, keepdims=True, initial=0)
    largest = np.where(largest < SMALLEST_INPUT, np.float32(0), largest)
    with np.errstate(divide="ignore"):
        inverse = np.where(largest > 0, QUANTA / largest, np.float32(0))
    scaled = np.fmin(x * inverse, QUANTA)
    half = np.where(scaled < 0, np.float32(-0.5), np.float32(0.5))
    return (scaled + half).astype(np.int32), np.asarray(largest / QUANTA, np.float32)


def _linear(network: Network, name: str, x: FloatArray) -> FloatArray:
    """x [..., I] to [..., outputs]."""
    weight = network.tensors[f"{name}.weight"]
    bias = network.tensors.get(f"{name}.bias", np.zeros(weight.shape[1], np.float32))
    if network.design.dtype is Dtype.INT8:
        steps, step = quantised(x)
        exact = (steps @ weight).astype(np.float32)
        return np.asarray(exact * (network.tensors[f"{name}.scale"] * step) + bias)
    products = np.moveaxis(x[..., None] * weight, -2, 0)
    return _sum(np.concatenate((np.broadcast_to(bias, (1, *products.shape[1:])), products)))


def _sum(terms: FloatArray) -> FloatArray:
    """Over the first axis, term after term: numpy's own sum adds in an order of its choice."""
    return np.asarray(np.add.accumulate(terms, axis=0)[-1])


def _score(tensors: Tensors, s: FloatArray) -> FloatArray:
    """s [K, H] to [K]: BLOCK partial sums, then pairs."""
    padded = -(-s.shape[-1] // BLOCK) * BLOCK
    products = np.zeros((len(s), padded), np.float32)
    products[:, : s.shape[-1]] = s * tensors["score.weight"]
    products = products.reshape(len(s), padded // BLOCK, BLOCK)
    p = np.moveaxis(_sum(np.moveaxis(products, 1, 0)), -1, 0)
    total = ((p[0] + p[4]) + (p[2] + p[6])) + ((p[1] + p[5]) + (p[3] + p[7]))
    return np.asarray(total + tensors["score.bias"], np.float32)


def _gru(network: Network, x: FloatArray, hidden: FloatArray) -> FloatArray:
    """torch's GRU cell, gates in the order r, z, n: b_hn is inside the product with the reset gate."""
    units = len(hidden)
    from_input, from_hidden = _linear(network, "gru_input", x), _linear(network, "gru_hidden", hidden)
    gates = _sigmoid(from_input[: 2 * units] + from_hidden[: 2 * units])
    r, z = gates[:units], gates[units:]
    n = _tanh(_flush(from_input[2 * units :] + r * _flush(from_hidden[2 * units :])))
    return _flush((np.float32(1) - z) * n + z * hidden)


def _flush(x: FloatArray, below: np.float32 = TINY) -> FloatArray:
    return np.where(np.abs(x) < below, np.float32(0), x).astype(np.float32, copy=False)


def _relu(x: FloatArray) -> FloatArray:
    return np.where(x < TINY, np.float32(0), x)


def _polynomial(x: FloatArray, *coefficients: float) -> FloatArray:
    total = np.full_like(x, np.float32(coefficients[0]))
    for coefficient in coefficients[1:]:
        total = total * x + np.float32(coefficient)
    return total


def _exp(x: FloatArray) -> FloatArray:
    """Cody-Waite reduction and the polynomial of Cephes' expf, for |x| <= 60."""
    shift = np.float32(12582912.0)
    moved = x * np.float32(1.44269504088896341) + shift
    n = moved - shift
    r = (x - n * np.float32(0.693359375)) - n * np.float32(-2.12194440e-4)
    coefficients = (
        1.9875691500e-4,
        1.3981999507e-3,
        8.3334519073e-3,
        4.1665795894e-2,
        1.6666665459e-1,
        5.0000001201e-1,
    )
    p = (_polynomial(r, *coefficients) * (r * r) + r) + np.float32(1)
    power = (moved.view(np.uint32) - np.uint32(0x4B400000) + np.uint32(127)) << np.uint32(23)
    return np.asarray(p * power.view(np.float32))


def _sigmoid(x: FloatArray) -> FloatArray:
    return np.asarray(np.float32(1) / (np.float32(1) + _exp(-np.clip(x, np.float32(-30), np.float32(30)))))


def _tanh(x: FloatArray) -> FloatArray:
    """Near 0 the polynomial of Cephes' tanhf, elsewhere by the exponential."""
    bounded = np.clip(x, np.float32(-15), np.float32(15))
    magnitude = np.abs(bounded)
    far = np.float32(1) - np.float32(2) / (_exp(np.float32(2) * magnitude) + np.float32(1))
    near = np.clip(x, np.float32(-0.625), np.float32(0.625))
    z = near * near
    p = _polynomial(z, -5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1)
    p = (p * z) * bounded + bounded
    return np.where(magnitude < np.float32(0.625), p, np.where(bounded < 0, -far, far))
