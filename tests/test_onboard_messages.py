"""Networks that send messages before they decide: the equations, all runners, the executor's budget, the exports."""

from __future__ import annotations

import ctypes
import dataclasses
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from onboard_samples import (
    PLAIN,
    PROVENANCE,
    TALK,
    TALKER,
    draw_network,
    edit,
    fly_golden,
    make_inputs,
    make_talker,
)

from onboard import budget, build, closed_form, emulation, export_c, golden, network, recording, reference, table
from onboard.bundle import Bundle, BundleError, SatelliteBundle, read_bundle, write_bundle
from onboard.executor import Executor, ExecutorError
from onboard.flightlog import Kind
from onboard.golden_check import GoldenError
from onboard.network import Activation, Architecture, Design, Dtype
from onboard.recording import Recorder
from onboard.replay import replay
from onboard.runners import BuildError, Runner, RunnerError, UpsetError
from onboard.runners.emulated import DECIDE, LOAD, SEND, START_MS, EmulatedRunner, Machine, decision
from onboard.runners.isolated import IsolatedRunner
from onboard.runners.native import SCRUB_WORDS, NativeRunner
from onboard.runners.reference import ReferenceRunner
from onboard.spec import AgentSpec, Block

WIDE = AgentSpec("crier", "deep", (Block("own", 20, "1", 1.0), Block("heard", 64, "1", 1.0)), ("a", "b", "c", "d"), 0)
SILENT = Design(5, Architecture.RECURRENT)
SIZES = [(TALKER, TALK), (WIDE, Design(16, Architecture.RECURRENT, message_bits=32))]


def in_float64(satellite: SatelliteBundle, steps: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Observation, sums before the sign, and logits of each step, by torch in double precision from FORMAT.md."""
    w = {name: torch.from_numpy(np.array(t)).double() for name, t in satellite.network.tensors.items()}
    units, spec = satellite.network.design.hidden, satellite.spec
    obs, _ = make_inputs(spec, steps, 5)
    gru = torch.nn.GRUCell(units, units).double()
    gru.load_state_dict(
        {
            "weight_ih": w["gru_input.weight"],
            "weight_hh": w["gru_hidden.weight"],
            "bias_ih": w["gru_input.bias"],
            "bias_hh": w["gru_hidden.bias"],
        }
    )
    h = torch.zeros(1, units, dtype=torch.float64)
    own = spec.blocks[0].columns
    with torch.no_grad():
        for row in obs:
            o = torch.from_numpy(row).double()
            alone = torch.relu(w["encoder.weight"][:, :own] @ o[:own] + w["encoder.bias"])
            a = w["sender.weight"] @ torch.cat((alone, h[0])) + w["sender.bias"]
            h = gru(torch.relu(w["encoder.weight"] @ o + w["encoder.bias"])[None], h)
            yield row, a.numpy(), (w["head.weight"] @ h[0] + w["head.bias"]).numpy()


@pytest.mark.requirement("EX-22")
@pytest.mark.parametrize(("spec", "design"), SIZES)
def test_the_reference_is_the_equations(spec: AgentSpec, design: Design) -> None:
    satellite = make_talker(7, design, spec)
    runner, hidden = ReferenceRunner(satellite.network, spec), np.zeros(design.hidden, np.float32)
    legal, seen = np.ones(len(spec.actions), np.bool_), set()
    for row, a, logits in in_float64(satellite, 60):
        message = runner.send(row, hidden)
        bits = [message >> k & 1 for k in range(design.message_bits)]
        assert message < 2**design.message_bits
        assert [bit for bit, value in zip(bits, a, strict=True) if abs(value) > 1e-4] == [
            int(value >= 0) for value in a if abs(value) > 1e-4
        ]
        out, hidden = runner.step(row, legal, hidden)
        assert np.abs(out - logits).max() < 1e-4
        seen.add(message)
    assert len(seen) > 3


def test_what_is_heard_is_not_read_for_a_message() -> None:
    satellite = make_talker()
    runner = ReferenceRunner(satellite.network, TALKER)
    obs, hidden = satellite.golden.obs[0].copy(), np.zeros(6, np.float32)
    first = runner.send(obs, hidden)
    obs[-6:] = [9, -9, 9, 9, -9, 9]
    assert runner.send(obs, hidden) == first
    assert NativeRunner(satellite.network, TALKER).send(obs, hidden) == first


def runners(satellite: SatelliteBundle) -> Iterator[Runner]:
    yield NativeRunner(satellite.network, satellite.spec)
    yield IsolatedRunner(satellite.network, satellite.spec, 5000.0)
    for target in emulation.TARGETS.values():
        if not target.missing:
            yield EmulatedRunner(satellite.network, satellite.spec, target.name)


@pytest.mark.requirement("EX-22")
@pytest.mark.parametrize(("spec", "design"), SIZES)
def test_all_runners_send_the_same_bits(spec: AgentSpec, design: Design) -> None:
    satellite = make_talker(8, design, spec)
    obs, mask = make_inputs(spec, 100, 6)
    expected = golden.record(satellite.network, spec, obs, mask)
    assert expected.message is not None
    for runner in runners(satellite):
        hidden = np.zeros(design.hidden, np.float32)
        for t in range(len(obs)):
            assert runner.send(obs[t], hidden) == expected.message[t]
            logits, hidden = runner.step(obs[t], mask[t], hidden)
            assert logits.tobytes() == expected.logits[t].tobytes()
        runner.close()


def test_a_network_without_messages_has_none_to_send() -> None:
    satellite = fly_golden(PLAIN, draw_network(PLAIN, Design(5, Architecture.RECURRENT), 3), 3)
    for runner in (
        ReferenceRunner(satellite.network, PLAIN),
        NativeRunner(satellite.network, PLAIN),
        IsolatedRunner(satellite.network, PLAIN, 5000.0),
    ):
        with pytest.raises(RunnerError, match="a message of a network that sends none"):
            runner.send(satellite.golden.obs[0], np.zeros(5, np.float32))
        runner.close()


@pytest.mark.requirement("EX-22")
def test_upset_weights_send_nothing() -> None:
    satellite = make_talker()
    obs, hidden = satellite.golden.obs[0], np.zeros(6, np.float32)
    for runner in (ReferenceRunner(satellite.network, TALKER), NativeRunner(satellite.network, TALKER)):
        for bit in (0, 37, 1000, 4001):
            runner.flip(bit)
            with pytest.raises(UpsetError):
                runner.send(obs, hidden)
            runner.reload()
        runner.send(obs, hidden)
    infinite = dataclasses.replace(satellite.network, tensors=dict(satellite.network.tensors))
    huge = np.full((3, 12), 3e38, np.float32)
    infinite.tensors["sender.weight"] = huge  # type: ignore[index]
    loud = np.full(11, 1e30, np.float32)
    for runner in (ReferenceRunner(infinite, TALKER), NativeRunner(infinite, TALKER)):
        with pytest.raises(RunnerError, match="not finite"):
            runner.send(loud, hidden)


def test_the_engine_refuses_what_it_cannot_send() -> None:
    satellite = make_talker()
    runner = NativeRunner(satellite.network, TALKER)
    hidden = np.zeros(6, np.float32)
    nan = satellite.golden.obs[0].copy()
    nan[2] = np.nan
    with pytest.raises(RunnerError, match="an observation column is not finite"):
        runner.send(nan, hidden)
    deaf = satellite.golden.obs[0].copy()
    deaf[-1] = np.nan  # of what is heard, which is not read
    runner.send(deaf, hidden)
    with pytest.raises(RunnerError, match="the hidden state is not finite"):
        runner.send(satellite.golden.obs[0], np.full(6, 1.5, np.float32))


def test_the_engine_refuses_null_pointers_and_models_without_messages() -> None:
    library = ctypes.CDLL(str(build.shared_library()))
    pointer = ctypes.c_void_p
    obs, hidden, message = np.zeros(11, np.float32), np.zeros(6, np.float32), np.zeros(1, np.uint32)
    given = [pointer(each.ctypes.data) for each in (obs, hidden, message)]
    for satellite, wanted in ((make_talker(), 0), (fly_golden(PLAIN, draw_network(PLAIN, SILENT, 3), 3), -1)):
        content = table.dump(satellite.network, satellite.spec)
        model = ctypes.create_string_buffer(library.kd_model_bytes())
        assert library.kd_send(model, *given) == -1  # nothing is loaded
        storage = np.zeros(library.kd_required_words(content, len(content)), np.uint32)
        place = pointer(storage.ctypes.data)
        assert library.kd_load(model, content, len(content), place, len(storage)) == 0
        assert library.kd_send(model, *given) == wanted
        for k in range(3):
            assert library.kd_send(model, *given[:k], None, *given[k + 1 :]) == -1
    assert library.kd_send(None, *given) == -1


def test_no_message_of_upset_weights_is_given_out() -> None:
    """One bit of every word of the weights in turn is flipped; the caller's word stays as it was."""
    library, satellite = ctypes.CDLL(str(build.shared_library())), make_talker()
    content = table.dump(satellite.network, satellite.spec)
    obs, hidden = satellite.golden.obs[0].copy(), np.zeros(6, np.float32)
    message = np.full(1, 0xDEADBEEF, np.uint32)
    given = [ctypes.c_void_p(each.ctypes.data) for each in (obs, hidden, message)]
    storage = np.zeros(library.kd_required_words(content, len(content)), np.uint32)
    model = ctypes.create_string_buffer(library.kd_model_bytes())
    assert library.kd_load(model, content, len(content), ctypes.c_void_p(storage.ctypes.data), len(storage)) == 0
    refused = 0
    for word in range(len(storage)):
        storage[word] ^= 1 << 20
        status = library.kd_send(model, *given)
        storage[word] ^= 1 << 20
        refused += status != 0
        assert message[0] == 0xDEADBEEF or status == 0, f"word {word}"
        message[0] = 0xDEADBEEF
    assert refused == len(storage)
    assert library.kd_send(model, *given) == 0 and message[0] != 0xDEADBEEF


def described(content: bytes, at: int, word: int) -> bytes:
    """A table with another word in its header, and a CRC that agrees."""
    changed = content[:at] + word.to_bytes(4, "little") + content[at + 4 :]
    return changed[:12] + zlib.crc32(changed[16:]).to_bytes(4, "little") + changed[16:]


@pytest.mark.parametrize(
    ("at", "word"),
    [(44, 33), (44, 25), (44, 2**31), (16, 1), (20, 2), (24, 2), (40, 1), (52, 6 + 65536), (44, 4), (44, 2), (44, 0)],
    ids=["33 bits", "beyond the gates", "huge", "opportunity", "int8", "tanh", "one block", "slots", "4", "2", "none"],
)
def test_the_engine_refuses_a_table_that_cannot_send(at: int, word: int) -> None:
    content = table.dump(make_talker().network, TALKER)
    library = ctypes.CDLL(str(build.shared_library()))
    assert library.kd_validate(content, len(content)) == 0
    wrong = described(content, at, word)
    assert library.kd_validate(wrong, len(wrong)) in (-2, -6)
    with pytest.raises(ValueError, match="its header describes another network"):
        table.load(wrong, TALKER, TALK)


def test_the_engine_refuses_what_is_heard_for_each_slot() -> None:
    slotted = AgentSpec("x", "y", (Block("own", 5, "1", 1.0), Block("heard", 3, "1", 1.0, slots=2)), ("a",), 2)
    content = table.dump(draw_network(slotted, SILENT, 1), slotted)
    library = ctypes.CDLL(str(build.shared_library()))
    assert library.kd_validate(content, len(content)) == 0
    assert library.kd_validate(described(content, 44, 3), len(content)) == -6


@pytest.mark.parametrize(
    ("design", "told"),
    [
        ({"message_bits": 33}, r"network.message_bits=33 is not allowed: it must be a whole number between 0 and 24"),
        ({"message_bits": 25}, r"network.message_bits=25 is not allowed: it must be a whole number between 0 and 24"),
        ({"message_bits": True}, r"network.message_bits=True is not allowed"),
        ({"message_bits": 3, "dtype": Dtype.INT8}, r"it must be 0 where the network is recurrent relu int8"),
        ({"message_bits": 3, "activation": Activation.TANH}, r"0 where the network is recurrent tanh float32"),
        ({"message_bits": 3, "architecture": Architecture.OPPORTUNITY}, r"is opportunity relu float32"),
    ],
)
def test_designs_that_cannot_send(design: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Design(**{"hidden": 6, "architecture": Architecture.RECURRENT, **design})  # type: ignore[arg-type]


def test_what_is_heard_is_a_block_of_its_own() -> None:
    with pytest.raises(ValueError, match="0 where the observation has no block but the last one"):
        table.dump(draw_network(PLAIN, TALK, 1), PLAIN)
    slotted = AgentSpec("x", "y", (Block("own", 5, "1", 1.0), Block("heard", 3, "1", 1.0, slots=2)), ("a",), 2)
    with pytest.raises(ValueError, match="0 where the last block, what is heard, has slots"):
        table.dump(draw_network(slotted, TALK, 1), slotted)


def test_costs_by_hand() -> None:
    # O = 11, H = 6, A = 3, B = 3: the encoder runs twice.
    assert network.count_macs(TALKER, TALK) == 2 * 11 * 6 + 2 * 18 * 6 + 3 * 6 + 3 * 12
    silent = Design(6, Architecture.RECURRENT)
    assert network.count_parameters(TALKER, TALK) == network.count_parameters(TALKER, silent) + 3 * 12 + 3
    assert network.count_macs(TALKER, silent) == 11 * 6 + 2 * 18 * 6 + 3 * 6


@pytest.mark.parametrize("target", list(emulation.TARGETS))
def test_sending_and_deciding_take_no_more_than_the_bound(target: str, tmp_path: Path) -> None:
    """Admission's bound is of both: what the engine executes for a message and its decision, at the most."""
    found = emulation.find(target)
    if found.missing:
        pytest.skip(f"not installed: {' '.join(found.missing)}")
    try:
        emulation.counter()
    except BuildError as error:
        pytest.skip(str(error))
    for spec, design in (*SIZES, (WIDE, Design(64, Architecture.RECURRENT, message_bits=8))):
        counts = tmp_path / f"counts_{design.hidden}"
        machine = Machine(emulation.command(found, counts, ("kd_send", "kd_decide")))
        weights = table.dump(draw_network(spec, design, 12), spec)
        assert machine.ask(LOAD, weights, START_MS)[0] == 0
        hidden = np.zeros(design.hidden, np.float32)
        for obs, mask in zip(*make_inputs(spec, 20, 13), strict=True):
            assert machine.ask(SEND, obs.tobytes() + hidden.tobytes(), START_MS)[0] == 0
            status, answer = machine.ask(DECIDE, decision(obs, mask, hidden, SCRUB_WORDS), START_MS)
            assert status >= 0
            hidden = np.frombuffer(answer, "<f4", design.hidden, 4 * len(spec.actions))
        machine.close()
        executed: dict[str, list[int]] = {"kd_send": [], "kd_decide": []}
        for line in counts.read_text().splitlines():
            name, _, number = line.partition(" ")
            executed[name].append(int(number))
        both = [sum(pair) for pair in zip(executed["kd_send"], executed["kd_decide"], strict=True)]
        assert len(both) == 20
        assert max(both) <= closed_form.bound(target, spec, design) < 1.35 * max(both)


def test_bits_over_budget_are_refused(tmp_path: Path) -> None:
    tight = dataclasses.replace(
        make_talker(), budget=dataclasses.replace(make_talker().budget, max_bits_per_decision=2)
    )
    write_bundle(tmp_path / "b", "sample", [tight], PROVENANCE)
    with pytest.raises(budget.BudgetError, match="bits sent per decision 3 exceeds the limit 2"):
        Executor(read_bundle(tmp_path / "b"))


def packaged(folder: Path) -> Bundle:
    write_bundle(folder / "bundle", "sample", [make_talker()], PROVENANCE)
    return read_bundle(folder / "bundle")


def test_other_bits_than_the_networks_are_refused(tmp_path: Path) -> None:
    packaged(tmp_path)
    edit(tmp_path / "bundle", lambda manifest: manifest["satellites"][0].update(bits_per_decision=4))
    told = "satellite 'talker' bits_per_decision=4 is not allowed: it must be the network's message_bits, 3"
    with pytest.raises(BundleError, match=told):
        read_bundle(tmp_path / "bundle")


def test_golden_messages_must_be_reproduced(tmp_path: Path) -> None:
    satellite = make_talker()
    assert satellite.golden.message is not None
    other = dataclasses.replace(satellite.golden, message=satellite.golden.message ^ np.uint32(1))
    with pytest.raises(GoldenError, match=r"golden decision 0 sends message \d where \d was recorded"):
        Executor(Bundle("sample", (dataclasses.replace(satellite, golden=other),), {}))
    without = dataclasses.replace(satellite, golden=dataclasses.replace(satellite.golden, message=None))
    with pytest.raises(BundleError, match="malformed"):
        write_bundle(tmp_path / "b", "sample", [without], PROVENANCE)


@pytest.mark.requirement("EX-16")
def test_one_message_for_each_decision() -> None:
    satellite = make_talker()
    executor = Executor(Bundle("sample", (satellite,), {}))
    obs, mask = satellite.golden.obs, satellite.golden.mask
    assert satellite.golden.message is not None
    for t in range(3):
        assert executor.send("talker", obs[t], float(t)) == satellite.golden.message[t]
        assert executor.send("talker", obs[t], float(t)) is None
        assert executor.decide("talker", obs[t], mask[t], float(t)) == satellite.golden.action[t]
        assert executor.intent("talker", 1, float(t)) is None  # its bits are the message's
    sent = [event.detail for event in executor.log.events if event.kind is Kind.SENT]
    assert sent == [f"{message:03b}" for message in satellite.golden.message[:3]]


def test_a_refused_call_grants_no_second_message() -> None:
    satellite = make_talker()
    executor = Executor(Bundle("sample", (satellite,), {}))
    obs, mask = satellite.golden.obs[0], satellite.golden.mask[0]
    assert executor.send("talker", obs, 0.0) is not None
    with pytest.raises(ExecutorError, match="the observation has shape"):
        executor.decide("talker", obs[:-1], mask, 0.0)
    assert executor.send("talker", obs, 0.0) is None


@pytest.mark.requirement("EX-16")
def test_what_cannot_be_sent_is_logged() -> None:
    satellite = make_talker()
    executor = Executor(Bundle("sample", (satellite,), {}))
    obs = satellite.golden.obs[0].copy()
    obs[0] = np.inf
    assert executor.send("talker", obs, 0.0) is None
    assert executor.log.events[-1].kind is Kind.BAD_OBSERVATION
    executor.decide("talker", satellite.golden.obs[0], satellite.golden.mask[0], 0.0)
    executor.runner("talker").flip(3)
    known = len(executor.log.events)
    assert executor.send("talker", satellite.golden.obs[1], 1.0) == satellite.golden.message[1]  # type: ignore[index]
    assert [event.kind for event in executor.log.events[known:]] == [Kind.UPSET, Kind.SENT]


def test_a_late_message_is_not_sent() -> None:
    satellite = make_talker()
    now = [0.0]

    class Slow(ReferenceRunner):
        def send(self, obs: np.ndarray, hidden: np.ndarray) -> int:
            now[0] += 1.0
            return super().send(obs, hidden)

    executor = Executor(
        Bundle("sample", (satellite,), {}),
        deadline_ms=500.0,
        clock=lambda: now[0],
        make_runner=lambda each, deadline_ms: Slow(each.network, each.spec),
    )
    assert executor.send("talker", satellite.golden.obs[0], 0.0) is None
    assert (event := executor.log.events[-1]).kind is Kind.UNSENT
    assert event.detail == "the message came after 1000.000 ms, deadline 500 ms"


def test_a_recorded_flight_is_replayed_with_its_messages(tmp_path: Path) -> None:
    bundle, recorder = packaged(tmp_path), Recorder()
    executor = Executor(bundle, recorder=recorder)
    vectors = bundle.satellites[0].golden
    for t in range(len(vectors.obs)):
        executor.send("talker", vectors.obs[t], float(t))
        executor.decide("talker", vectors.obs[t], vectors.mask[t], float(t))
    path = tmp_path / "record.jsonl"
    path.write_text(recorder.text(None))
    found = recording.read(path)
    assert replay(found, bundle) is None
    assert sum(isinstance(entry, recording.Sent) for entry in found.entries) == len(vectors.obs)
    lines = path.read_text().splitlines()
    assert vectors.message is not None
    told = f'"message": {vectors.message[2]}'
    assert told in lines[5]
    lines[5] = lines[5].replace(told, f'"message": {int(vectors.message[2]) ^ 1}')
    path.write_text("\n".join(lines))
    difference = replay(recording.read(path), bundle)
    assert difference is not None and (difference.index, difference.action) == (2, vectors.message[2])


def test_the_exported_source_sends_the_same(tmp_path: Path) -> None:
    satellite = make_talker()
    export_c.write(tmp_path, satellite, "a test")
    flags = [*build.STRICT, "-Wpedantic", "-Wconversion", "-Werror", "-shared", "-fPIC"]
    command = [build.compiler(), *flags, "student.c", "-o", "student.so"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    library = ctypes.CDLL(str(tmp_path / "student.so"))
    assert library.student_init() == 0
    obs, mask = make_inputs(TALKER, 40, 9)
    expected = golden.record(satellite.network, TALKER, obs, mask)
    hidden, logits, message = np.zeros(6, np.float32), np.zeros(3, np.float32), ctypes.c_uint32(0)
    pointer = ctypes.c_void_p
    for t in range(len(obs)):
        place = pointer(obs[t].ctypes.data), pointer(hidden.ctypes.data)
        assert library.student_send(*place, ctypes.byref(message)) == 0
        assert expected.message is not None and message.value == expected.message[t]
        legal = mask[t].astype(np.uint8)
        arguments = (legal.ctypes.data, hidden.ctypes.data, logits.ctypes.data)
        assert library.student_decide(place[0], *map(pointer, arguments)) == expected.action[t]
        assert logits.tobytes() == expected.logits[t].tobytes()
    assert "#define STUDENT_MESSAGE_BITS 3" in (tmp_path / "student.h").read_text()


def test_a_silent_export_has_no_sender() -> None:
    silent = fly_golden(PLAIN, draw_network(PLAIN, Design(5, Architecture.RECURRENT), 3), 3)
    assert "student_send" not in export_c.header(silent, "a test")
    assert "int32_t student_send" not in export_c.source(silent)


def test_the_onnx_graph_sends_the_same() -> None:
    onnx = pytest.importorskip("training.missions.export_onnx")
    satellite = make_talker()
    content = onnx.export_onnx(satellite)
    obs, mask = make_inputs(TALKER, 40, 10)
    expected = golden.record(satellite.network, TALKER, obs, mask)
    logits, messages = onnx.fly(content, 6, expected)
    assert expected.message is not None
    assert np.array_equal(messages, (expected.message[:, None] >> np.arange(3)) & 1)
    assert np.abs(logits - expected.logits).max() < 1e-5
    assert onnx.export_onnx(satellite, batch=onnx.ANY)
    other = dataclasses.replace(satellite.golden)
    assert onnx.fly(content, 6, other)[1].shape == (12, 3)


def test_reference_choose_is_untouched_by_messages() -> None:
    """The decision of a network with a sender is that of the same network without one."""
    satellite = make_talker()
    tensors = {name: tensor for name, tensor in satellite.network.tensors.items() if not name.startswith("sender")}
    silent = network.Network(Design(6, Architecture.RECURRENT), tensors)
    obs, mask = make_inputs(TALKER, 20, 11)
    ours, theirs = (golden.record(each, TALKER, obs, mask) for each in (satellite.network, silent))
    assert ours.logits.tobytes() == theirs.logits.tobytes() and theirs.message is None
    assert reference.choose(ours.logits[0], mask[0]) == theirs.action[0]
