"""The reference forward pass of an opportunity actor in numpy float32, and what one decision costs.

C context columns, K slots of F columns, M fixed actions, A = M + K actions, H hidden units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from onboard.spec import AgentSpec, BoolArray, FloatArray


def shapes(spec: AgentSpec, hidden: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights, all float32; linear maps are [outputs, inputs], gates in the order r, z, n."""
    fixed, units = len(spec.fixed_actions), hidden
    return {
        "context.weight": (units, spec.context_size),
        "context.bias": (units,),
        "slot.weight": (units, spec.slot_size),
        "gru.weight_ih_l0": (3 * units, units),
        "gru.weight_hh_l0": (3 * units, units),
        "gru.bias_ih_l0": (3 * units,),
        "gru.bias_hh_l0": (3 * units,),
        "query.weight": (units, units),
        "query.bias": (units,),
        "key.weight": (units, units),
        "fixed.weight": (fixed, units),
        "fixed.bias": (fixed,),
        "score.weight": (1, units),
        "score.bias": (1,),
    }


def count_parameters(spec: AgentSpec, hidden: int) -> int:
    return sum(math.prod(shape) for shape in shapes(spec, hidden).values())


def count_macs(spec: AgentSpec, hidden: int) -> int:
    """Multiply-accumulates of one decision: the matrix products; no biases, relu or gate non-linearities."""
    units, slots = hidden, spec.slots
    encoder = units * spec.context_size + slots * units * spec.slot_size
    recurrence = 6 * units * units
    heads = units * units + (slots + 1) * units * units + len(spec.fixed_actions) * units + slots * units
    return encoder + recurrence + heads


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


def step(
    weights: Mapping[str, FloatArray], spec: AgentSpec, obs: FloatArray, mask: BoolArray, hidden: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """One decision: obs [O], mask [A], hidden [H] to logits [A], of illegal actions too, and the next hidden [H].

    The next hidden state stays within [-1, 1], rounding included, if the given one does.
    """
    context, slots = split(spec, obs)
    legal = mask[len(spec.fixed_actions) :]
    u = weights["context.weight"] @ context + weights["context.bias"]
    alone = _relu(u)
    each = _relu(u + slots @ weights["slot.weight"].T)
    given = alone + each[legal].mean(axis=0) if legal.any() else alone
    hidden = _gru(weights, given, hidden)
    query = weights["query.weight"] @ hidden + weights["query.bias"]
    score = _relu(np.vstack((alone, each)) @ weights["key.weight"].T + query)
    fixed_logits = weights["fixed.weight"] @ score[0] + weights["fixed.bias"]
    slot_logits = score[1:] @ weights["score.weight"][0] + weights["score.bias"]
    return np.concatenate((fixed_logits, slot_logits)), hidden


def choose(logits: FloatArray, mask: BoolArray) -> int:
    """The legal action of the largest logit, the first of equals; the mask is not empty."""
    return int(np.argmax(np.where(mask, logits, np.float32(-np.inf))))


def _gru(weights: Mapping[str, FloatArray], x: FloatArray, hidden: FloatArray) -> FloatArray:
    """torch's GRU cell: b_hn is inside the product with the reset gate."""
    units = len(hidden)
    from_input = weights["gru.weight_ih_l0"] @ x + weights["gru.bias_ih_l0"]
    from_hidden = weights["gru.weight_hh_l0"] @ hidden + weights["gru.bias_hh_l0"]
    gates = _sigmoid(from_input[: 2 * units] + from_hidden[: 2 * units])
    r, z = gates[:units], gates[units:]
    n = np.tanh(from_input[2 * units :] + r * from_hidden[2 * units :])
    result: FloatArray = (1 - z) * n + z * hidden
    return result


def _relu(x: FloatArray) -> FloatArray:
    return np.maximum(x, 0)


def _sigmoid(x: FloatArray) -> FloatArray:
    """By tanh, which cannot overflow."""
    result: FloatArray = 0.5 * np.tanh(0.5 * x) + 0.5
    return result
