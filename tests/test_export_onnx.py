"""The ONNX graph computes in onnxruntime what the reference computes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onboard_samples import BLIND, PLAIN, TINY, draw_network, fly_golden, make_inputs

from onboard import golden
from onboard.network import Activation, Architecture, Design, Dtype, Network
from onboard.spec import AgentSpec, Block
from training.missions import export_onnx
from training.missions.export_onnx import ANY, OnnxError, Session, fly, graph

RECURRENT = Architecture.RECURRENT
SLOTS_ONLY = AgentSpec("s", "h", (Block("window", 3, "s", 1.0, slots=2),), ("charge",), 2)  # C = 0
NO_SLOTS = AgentSpec("n", "h", (Block("all", 4, "1", 1.0),), ("charge", "drift"), 0)
CASES = {
    "opportunity": (TINY, Design(16)),
    "without slot columns": (BLIND, Design(5)),
    "without context": (SLOTS_ONLY, Design(8)),
    "without slots": (NO_SLOTS, Design(8)),
    "recurrent relu": (PLAIN, Design(7, RECURRENT)),
    "recurrent tanh": (PLAIN, Design(7, RECURRENT, Activation.TANH)),
}


@pytest.mark.requirement("EX-20")
@pytest.mark.parametrize("dtype", Dtype)
@pytest.mark.parametrize("case", CASES)
def test_onnxruntime_decides_as_the_reference_does(case: str, dtype: Dtype) -> None:
    spec, design = CASES[case]
    design = replace(design, dtype=dtype)
    network = draw_network(spec, design, seed=21)
    content = export_onnx.export_onnx(fly_golden(spec, network, 21))
    obs, mask = make_inputs(spec, 300, seed=22)
    expected = golden.record(network, spec, obs, mask)
    logits, _ = fly(content, design.hidden, expected)
    # In int8 an input between two steps may be rounded either way, which is carried on for a while.
    assert float(np.quantile(np.abs(logits - expected.logits), 0.9)) <= 1e-5
    assert float(np.abs(logits - expected.logits).max()) <= (1e-5 if dtype is Dtype.FLOAT32 else 1e-2)
    assert np.where(mask, logits, -np.inf).argmax(-1).tolist() == expected.action.tolist()


def test_inputs_and_outputs_are_named_and_shaped_as_documented() -> None:
    model = onnx.load_from_string(export_onnx.export_onnx(fly_golden(TINY, draw_network(TINY, Design(6), 1), 1)))

    def shapes(values: object) -> dict[str, list[int]]:
        return {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}  # type: ignore[attr-defined]

    assert shapes(model.graph.input) == {"obs": [9], "mask": [3], "hidden": [6]}
    assert shapes(model.graph.output) == {"logits": [3], "next_hidden": [6]}
    props = {prop.key: prop.value for prop in model.metadata_props}
    assert props == {"actions": "charge,image_0,image_1", "satellite": "scout"}


@pytest.mark.parametrize("dtype", Dtype)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("batch", [ANY, 3])
def test_the_rows_of_a_batch_are_decided_each_by_itself(case: str, dtype: Dtype, batch: int | str) -> None:
    spec, design = CASES[case]
    network = draw_network(spec, replace(design, dtype=dtype), seed=21)
    session = Session(export_onnx.export_onnx(fly_golden(spec, network, 21), batch))
    flights = [golden.record(network, spec, *make_inputs(spec, 20, seed=seed)) for seed in (31, 32, 33)]
    hidden = np.zeros((3, design.hidden), np.float32)
    for t in range(20):
        obs, mask = (np.stack([getattr(flight, name)[t] for flight in flights]) for name in ("obs", "mask"))
        logits, hidden = session.step(obs, mask, hidden)
        expected = np.stack([flight.logits[t] for flight in flights])
        assert float(np.abs(logits - expected).max()) <= (1e-5 if dtype is Dtype.FLOAT32 else 1e-2)
    assert hidden.shape == (3, design.hidden)


def test_the_dimension_of_a_batch_has_a_name_or_its_size() -> None:
    satellite = fly_golden(TINY, draw_network(TINY, Design(6), 1), 1)
    for batch, said in ((ANY, "batch"), (4, 4)):
        model = onnx.load_from_string(export_onnx.export_onnx(satellite, batch))
        for value in (*model.graph.input, *model.graph.output):
            first = value.type.tensor_type.shape.dim[0]
            assert (first.dim_param or first.dim_value) == said


def test_the_same_network_gives_the_same_bytes() -> None:
    satellite = fly_golden(TINY, draw_network(TINY, Design(6), 1), 1)
    assert export_onnx.export_onnx(satellite) == export_onnx.export_onnx(satellite)


def test_int8_weights_are_stored_as_such() -> None:
    sizes = [len(graph(draw_network(TINY, Design(64, dtype=dtype), 1), TINY).SerializeToString()) for dtype in Dtype]
    assert sizes[1] < 0.35 * sizes[0]


def test_zero_inputs_are_zero_in_int8_too() -> None:
    network = draw_network(TINY, Design(6, dtype=Dtype.INT8), 3)
    obs, mask = np.zeros((2, 9), np.float32), np.ones((2, 3), np.bool_)
    obs[1] = 1e-20
    expected = golden.record(network, TINY, obs, mask)
    logits, _ = fly(graph(network, TINY).SerializeToString(), 6, expected)
    np.testing.assert_allclose(logits, expected.logits, atol=1e-6)


def test_a_graph_of_other_weights_is_not_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    network = draw_network(TINY, Design(6), 4)
    wrong = Network(network.design, {**network.tensors, "score.bias": network.tensors["score.bias"] + np.float32(1e-3)})
    monkeypatch.setattr(export_onnx, "graph", lambda _, *how: graph(wrong, *how))
    with pytest.raises(OnnxError, match=r"satellite 'scout': onnxruntime gives logits 0\.\d+ off"):
        export_onnx.export_onnx(fly_golden(TINY, network, 4))


def test_the_session_carries_no_state_of_its_own() -> None:
    satellite = fly_golden(TINY, draw_network(TINY, Design(6), 5), 5)
    session = Session(export_onnx.export_onnx(satellite))
    obs, mask, hidden = satellite.golden.obs[0], satellite.golden.mask[0], np.zeros(6, np.float32)
    first, state = session.step(obs, mask, hidden)
    again, _ = session.step(obs, mask, hidden)
    assert first.tolist() == again.tolist() and not hidden.any() and state.any()
