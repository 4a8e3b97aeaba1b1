"""One satellite's network as an ONNX graph, for runtimes that have nothing of ours; needs the extra ``onnx``.

Inputs obs [O] float32, mask [A] bool and hidden [H] float32; outputs logits [A], of illegal actions too, and
next_hidden [H]. A network that sends messages has one output more, message [B] bool, of what is its own in obs and of
hidden: it is asked twice in a step, to send and, with what was heard, to decide. With a batch each of them has one more
dimension in front, [B, O] and so on: B decisions that know nothing of one another. An int8 network's inputs are rounded
as the engine rounds them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from onboard import golden, reference
from onboard.bundle import SatelliteBundle
from onboard.golden import Golden
from onboard.network import Activation, Architecture, Dtype, Network
from onboard.spec import AgentSpec, BoolArray, FloatArray
from training.missions.export import TOLERANCE

ANY = "batch"  # a batch of any size, and the name of that dimension
_ANSWER, _MESSAGE = ("logits", "next_hidden"), "message"
OPSET, IR_VERSION = 17, 8  # of 2022: older runtimes read it too


class OnnxError(ValueError):
    """A graph that does not compute what the network does; the message is one sentence."""


def export_onnx(satellite: SatelliteBundle, batch: int | str | None = None) -> bytes:
    """The graph, which has flown the satellite's golden observations in onnxruntime as the reference does.

    ``batch``: how many decisions at a time, ``ANY`` number, or None: one, without a dimension for it.

    Raises OnnxError: it has not.
    """
    model = graph(satellite.network, satellite.spec, batch)
    onnx.checker.check_model(model, full_check=True)
    content = bytes(model.SerializeToString(deterministic=True))
    expected = golden.record(satellite.network, satellite.spec, satellite.golden.obs, satellite.golden.mask)
    tolerance = TOLERANCE[satellite.network.design.dtype]
    logits, messages = fly(content, satellite.network.design.hidden, expected, 2 if batch == ANY else batch)
    expected_logits = expected.logits if batch is None else expected.logits[:, None]
    off = np.abs(logits - expected_logits) / np.maximum(1, np.abs(expected_logits))
    if not float(off.max()) <= tolerance:
        raise OnnxError(
            f"satellite {satellite.spec.name!r}: onnxruntime gives logits {float(off.max()):.3g} off those of the "
            f"reference, allowed {tolerance:g}"
        )
    if expected.message is not None:
        recorded = (expected.message[:, None] >> np.arange(messages.shape[-1])) & 1
        wrong = messages != (recorded if batch is None else recorded[:, None])
        if wrong.any():
            at = int(np.flatnonzero(wrong.reshape(len(wrong), -1).any(1))[0])
            raise OnnxError(f"satellite {satellite.spec.name!r}: onnxruntime sends another message at decision {at}")
    return content


def fly(content: bytes, hidden: int, asked: Golden, batch: int | str | None = None) -> tuple[FloatArray, BoolArray]:
    """logits [T, A] and messages [T, B] of onnxruntime, which carries its own hidden state from decision to decision.

    With a batch of D the same decisions D times, [T, D, A] and [T, D, B]. Without messages B is 0.
    """
    session = Session(content)
    lead = () if batch is None else (int(batch),)
    state, logits, messages = np.zeros((*lead, hidden), np.float32), [], []
    for obs, mask in zip(asked.obs, asked.mask, strict=True):
        rows, legal = np.broadcast_to(obs, (*lead, *obs.shape)), np.broadcast_to(mask, (*lead, *mask.shape))
        messages.append(session.send(rows, legal, state))
        out, state = session.step(rows, legal, state)
        logits.append(out)
    return np.stack(logits), np.stack(messages)


class Session:
    """A graph in onnxruntime on one thread."""

    def __init__(self, content: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def step(self, obs: FloatArray, mask: BoolArray, hidden: FloatArray) -> tuple[FloatArray, FloatArray]:
        """obs [O], mask [A], hidden [H] to logits [A] and the next hidden [H]; [B, O] and so on with a batch."""
        logits, state = self._session.run(_ANSWER, {"obs": obs, "mask": mask, "hidden": hidden})
        return logits, state

    def send(self, obs: FloatArray, mask: BoolArray, hidden: FloatArray) -> BoolArray:
        """The same to the message [B]; [0] where the network sends none."""
        if len(self._session.get_outputs()) == len(_ANSWER):
            return np.zeros((*obs.shape[:-1], 0), np.bool_)
        (message,) = self._session.run([_MESSAGE], {"obs": obs, "mask": mask, "hidden": hidden})
        sent: BoolArray = message
        return sent


def graph(network: Network, spec: AgentSpec, batch: int | str | None = None) -> onnx.ModelProto:
    """``batch``: as of ``export_onnx``."""
    build = _Builder(network, batch is not None)
    if network.design.architecture is Architecture.RECURRENT:
        logits, state = _recurrent(build, network)
    else:
        logits, state = _opportunity(build, network, spec)
    build.add("Identity", [logits], name="logits")
    build.add("Identity", [state], name="next_hidden")
    outputs = [
        ("logits", TensorProto.FLOAT, len(spec.actions)),
        ("next_hidden", TensorProto.FLOAT, network.design.hidden),
    ]
    if network.design.message_bits:
        build.add("Identity", [_message(build, network, spec)], name=_MESSAGE)
        outputs.append((_MESSAGE, TensorProto.BOOL, network.design.message_bits))
    actions, units = len(spec.actions), network.design.hidden
    lead = [] if batch is None else [batch]
    made = helper.make_graph(
        build.nodes,
        spec.name,
        [
            helper.make_tensor_value_info("obs", TensorProto.FLOAT, [*lead, spec.obs_size]),
            helper.make_tensor_value_info("mask", TensorProto.BOOL, [*lead, actions]),
            helper.make_tensor_value_info("hidden", TensorProto.FLOAT, [*lead, units]),
        ],
        [helper.make_tensor_value_info(name, kind, [*lead, size]) for name, kind, size in outputs],
        build.initializers,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    helper.set_model_props(model, {"actions": ",".join(spec.actions), "satellite": spec.name})
    return model


class _Builder:
    """Nodes and constants of a graph; every method gives the name of what it adds."""

    def __init__(self, network: Network, batched: bool) -> None:
        self.batched, self.axis = batched, int(batched)  # the axis behind the batch's
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._network = network

    def add(self, kind: str, inputs: list[str], name: str = "", **attributes: Any) -> str:
        name = name or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, value: NDArray[Any] | np.float32) -> str:
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def tensor(self, name: str) -> NDArray[Any]:
        return self._network.tensors[name]

    def linear(self, name: str, x: str) -> str:
        """x [..., I] to [..., outputs]."""
        weight = self.tensor(f"{name}.weight").T
        if self._network.design.dtype is Dtype.FLOAT32 or len(weight) == 0:
            y = self.add("MatMul", [x, self.constant(weight.astype(np.float32))])
        else:
            steps, step = self._rounded(x)
            y = self.add("MatMul", [steps, self.add("Cast", [self.constant(weight)], to=TensorProto.FLOAT)])
            scale = self.constant(self.tensor(f"{name}.scale"))
            y = self.add("Mul", [y, self.add("Mul", [scale, step])])
        if f"{name}.bias" not in self._network.tensors:
            return y
        return self.add("Add", [y, self.constant(self.tensor(f"{name}.bias"))])

    def _rounded(self, x: str) -> tuple[str, str]:
        """Vectors [..., I] in whole steps, and the steps [..., 1]: reference.quantised."""
        quanta, half = self.constant(reference.QUANTA), self.constant(np.float32(0.5))
        largest = self.add("ReduceMax", [self.add("Abs", [x])], axes=[-1])
        above_0 = self.add("Max", [largest, self.constant(reference.SMALLEST_INPUT)])
        scaled = self.add("Mul", [x, self.add("Div", [quanta, above_0])])
        magnitude = self.add("Floor", [self.add("Add", [self.add("Abs", [scaled]), half])])
        steps = self.add("Mul", [magnitude, self.add("Sign", [scaled])])
        return steps, self.add("Div", [largest, quanta])

    def pick(self, x: str, indices: NDArray[Any]) -> str:
        return self.add("Gather", [x, self.constant(indices.astype(np.int64))], axis=self.axis)

    def reshape(self, x: str, *shape: int) -> str:
        return self.add("Reshape", [x, self.constant(np.array(shape, np.int64))])

    def row(self, x: str) -> str:
        """x [..., H] as one row of a table for each of a batch, [B, 1, H]; without a batch as it is."""
        return self.add("Unsqueeze", [x, self.constant(np.array([1]))]) if self.batched else x

    def gru(self, x: str, units: int) -> str:
        """x [H] to the next hidden state [H]. ONNX's own GRU orders the gates z, r, n, and rounds no inputs."""
        if self._network.design.dtype is Dtype.INT8:
            return self._gru_int8(x)

        def reordered(name: str) -> NDArray[Any]:
            r, z, n = np.split(self.tensor(name), 3)
            return np.concatenate((z, r, n))

        weights = [self.constant(reordered(f"{name}.weight")[None]) for name in ("gru_input", "gru_hidden")]
        biases = np.concatenate([reordered(f"{name}.bias") for name in ("gru_input", "gru_hidden")])
        row = -1 if self.batched else 1
        inputs = [self.reshape(x, 1, row, units), *weights, self.constant(biases[None]), ""]
        name = f"gru_{len(self.nodes)}"
        inputs.append(self.reshape("hidden", 1, row, units))
        self.nodes.append(helper.make_node("GRU", inputs, ["", name], hidden_size=units, linear_before_reset=1))
        return self.reshape(name, -1, units) if self.batched else self.reshape(name, units)

    def _gru_int8(self, x: str) -> str:
        for source, vector in (("input", x), ("hidden", "hidden")):
            gates = self.linear(f"gru_{source}", vector)
            axis: dict[str, Any] = {"axis": -1} if self.batched else {}
            self.nodes.append(helper.make_node("Split", [gates], [f"{source}_{gate}" for gate in "rzn"], **axis))
        r, z = (self.add("Sigmoid", [self.add("Add", [f"input_{gate}", f"hidden_{gate}"])]) for gate in "rz")
        n = self.add("Tanh", [self.add("Add", ["input_n", self.add("Mul", [r, "hidden_n"])])])
        rest = self.add("Sub", [self.constant(np.float32(1)), z])
        return self.add("Add", [self.add("Mul", [rest, n]), self.add("Mul", [z, "hidden"])])


def _opportunity(build: _Builder, network: Network, spec: AgentSpec) -> tuple[str, str]:
    units, fixed = network.design.hidden, len(spec.fixed_actions)
    context, slots = reference.split(spec, np.arange(spec.obs_size, dtype=np.float32))  # column numbers, sorted
    u = build.linear("context", build.pick("obs", context))
    alone = build.add("Relu", [u])
    # [K, H] without a batch, and so below
    each = build.add("Relu", [build.add("Add", [build.row(u), build.linear("slot", build.pick("obs", slots))])])
    of_slots = build.pick("mask", np.arange(fixed, fixed + spec.slots))
    legal = build.add("Cast", [of_slots], to=TensorProto.FLOAT)
    if build.batched:
        count = build.add("ReduceSum", [legal, build.constant(np.array([1]))], keepdims=1)
    else:
        count = build.add("ReduceSum", [legal], keepdims=0)
    count = build.add("Max", [count, build.constant(np.float32(1))])
    total = build.add("MatMul", [build.row(legal), each])
    if build.batched:
        total = build.add("Squeeze", [total, build.constant(np.array([1]))])
    mean = build.add("Div", [total, count])
    state = build.gru(build.add("Add", [alone, mean]), units)
    first = build.row(alone) if build.batched else build.reshape(alone, 1, units)
    entities = build.add("Concat", [first, each], axis=build.axis)  # [K + 1, H]
    keys = build.add("Add", [build.linear("key", entities), build.row(build.linear("query", state))])
    s = build.add("Relu", [keys])
    of_fixed = build.linear("fixed", build.pick(s, np.array(0)))
    weight, bias = (build.constant(build.tensor(f"score.{which}")) for which in ("weight", "bias"))
    scores = build.add("MatMul", [build.pick(s, np.arange(1, spec.slots + 1)), weight])
    return build.add("Concat", [of_fixed, build.add("Add", [scores, bias])], axis=build.axis), state


def _recurrent(build: _Builder, network: Network) -> tuple[str, str]:
    kind = "Tanh" if network.design.activation is Activation.TANH else "Relu"
    encoded = build.add(kind, [build.linear("encoder", "obs")])
    state = build.gru(encoded, network.design.hidden)
    return build.linear("head", state), state


def _message(build: _Builder, network: Network, spec: AgentSpec) -> str:
    """[B] bool: sender([relu(encoder(o without what is heard)), h]) >= 0."""
    own = np.arange(spec.obs_size) < spec.obs_size - spec.blocks[-1].columns
    alone = build.add("Where", [build.constant(own), "obs", build.constant(np.float32(0))])
    encoded = build.add("Relu", [build.linear("encoder", alone)])
    a = build.linear("sender", build.add("Concat", [encoded, "hidden"], axis=-1))
    return build.add("GreaterOrEqual", [a, build.constant(np.float32(0))])
