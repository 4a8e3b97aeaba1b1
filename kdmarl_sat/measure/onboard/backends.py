"""The same networks computed by other libraries: numpy's BLAS, torch and ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from onboard import reference
from onboard.network import TORCH_NAMES, Activation, Architecture, Network
from onboard.spec import AgentSpec, BoolArray, FloatArray
from training.missions.networks import OpportunityActor

# obs [O], mask [A], hidden [H] -> logits [A], next hidden [H]
StepFunction = Callable[[FloatArray, BoolArray, FloatArray], tuple[NDArray[Any], NDArray[Any]]]


def numpy_step(network: Network, spec: AgentSpec) -> StepFunction:
    """A float32 network in matrix products of numpy."""
    context, slots = reference.split(spec, np.arange(spec.obs_size, dtype=np.float32))  # column numbers, sorted
    return _Numpy(network, context.astype(np.int64), slots.astype(np.int64), len(spec.fixed_actions)).step


class _Numpy:
    def __init__(
        self, network: Network, context: NDArray[np.int64], slots: NDArray[np.int64], fixed_actions: int
    ) -> None:
        self._weights = dict(network.tensors)
        self._context, self._slots, self._fixed = context, slots, fixed_actions
        self._activation = np.tanh if network.design.activation is Activation.TANH else _relu
        recurrent = network.design.architecture is Architecture.RECURRENT
        self.step: StepFunction = self._recurrent if recurrent else self._opportunity

    def _recurrent(self, obs: FloatArray, mask: BoolArray, hidden: FloatArray) -> tuple[FloatArray, FloatArray]:
        w = self._weights
        hidden = self._gru(self._activation(w["encoder.weight"] @ obs + w["encoder.bias"]), hidden)
        return w["head.weight"] @ hidden + w["head.bias"], hidden

    def _opportunity(self, obs: FloatArray, mask: BoolArray, hidden: FloatArray) -> tuple[FloatArray, FloatArray]:
        w, legal = self._weights, mask[self._fixed :]
        u = w["context.weight"] @ obs[self._context] + w["context.bias"]
        alone = _relu(u)
        each = _relu(u + obs[self._slots] @ w["slot.weight"].T)
        hidden = self._gru(alone + each[legal].mean(axis=0) if legal.any() else alone, hidden)
        query = w["query.weight"] @ hidden + w["query.bias"]
        score = _relu(np.vstack((alone, each)) @ w["key.weight"].T + query)
        fixed = w["fixed.weight"] @ score[0] + w["fixed.bias"]
        return np.concatenate((fixed, score[1:] @ w["score.weight"] + w["score.bias"])), hidden

    def _gru(self, x: FloatArray, hidden: FloatArray) -> FloatArray:
        """torch's GRU cell: b_hn is inside the product with the reset gate."""
        w, units = self._weights, len(hidden)
        from_input = w["gru_input.weight"] @ x + w["gru_input.bias"]
        from_hidden = w["gru_hidden.weight"] @ hidden + w["gru_hidden.bias"]
        gates = 0.5 * np.tanh(0.5 * (from_input[: 2 * units] + from_hidden[: 2 * units])) + 0.5
        r, z = gates[:units], gates[units:]
        n = np.tanh(from_input[2 * units :] + r * from_hidden[2 * units :])
        result: FloatArray = (1 - z) * n + z * hidden
        return result


def _relu(x: FloatArray) -> FloatArray:
    return np.maximum(x, 0)


def torch_step(network: Network, spec: AgentSpec, dtype: torch.dtype = torch.float32) -> StepFunction:
    """A float32 network in eager torch: the actor that was trained, or the plain recurrent one. ``dtype``: of its
    arithmetic, and of the observations and hidden states that it takes."""
    names = {onboard: name for name, onboard in TORCH_NAMES.items()}
    state = {names.get(name, name): torch.from_numpy(t.copy()) for name, t in network.tensors.items()}
    if network.design.architecture is Architecture.RECURRENT:
        recurrent = _Recurrent(spec.obs_size, network.design.hidden, len(spec.actions), network.design.activation)
        recurrent.load_state_dict({name.removesuffix("_l0"): value for name, value in state.items()})
        return _without_gradients(recurrent.to(dtype))
    actor = OpportunityActor(
        spec.context_size, spec.slot_size, spec.slots, len(spec.fixed_actions), network.design.hidden
    )
    actor.load_state_dict({**state, "score.weight": state["score.weight"][None]})
    actor.to(dtype)
    context, slots = reference.split(spec, np.arange(spec.obs_size, dtype=np.float32))
    c, x = (torch.from_numpy(columns.astype(np.int64)) for columns in (context, slots))

    def forward(obs: Tensor, mask: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        logits, state = actor(obs[c][None, None], obs[x][None, None], mask[None, None], hidden[None])
        return logits[0, 0], state[0, 0]

    return _without_gradients(forward)


class _Recurrent(nn.Module):
    """The paper's student: linear, activation, GRU cell, linear."""

    def __init__(self, observed: int, hidden: int, actions: int, activation: Activation) -> None:
        super().__init__()
        self.encoder, self.gru = nn.Linear(observed, hidden), nn.GRUCell(hidden, hidden)
        self.head = nn.Linear(hidden, actions)
        self._activation = torch.tanh if activation is Activation.TANH else F.relu

    def forward(self, obs: Tensor, mask: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        state: Tensor = self.gru(self._activation(self.encoder(obs)), hidden)
        return self.head(state), state


def _without_gradients(forward: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]) -> StepFunction:
    def step(obs: FloatArray, mask: BoolArray, hidden: FloatArray) -> tuple[NDArray[Any], NDArray[Any]]:
        with torch.inference_mode():
            logits, state = forward(*map(torch.from_numpy, (obs, mask, hidden)))
        return logits.numpy(), state.numpy()

    return step


def onnx_step(network: Network, spec: AgentSpec) -> StepFunction | None:
    """A float32 network in ONNX Runtime on one thread; None: it is not installed."""
    try:
        from training.missions.export_onnx import Session, graph
    except ModuleNotFoundError:  # of the extra "onnx"
        return None
    return Session(graph(network, spec).SerializeToString()).step
