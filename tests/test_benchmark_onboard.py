"""The onboard benchmark: what it counts, what it would find, what it writes. Speeds are not tested."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import jobs
import numpy as np
import pytest
from onboard_samples import BLIND, PROVENANCE, TINY, draw_network, fly_golden, make_satellite

from kdmarl_sat.measure import doors
from kdmarl_sat.measure.onboard import attacks, bits, cost, enforcement, host, mutations, table, upsets
from kdmarl_sat.measure.onboard.backends import numpy_step, onnx_step, torch_step
from kdmarl_sat.measure.onboard.parts import mission_of
from kdmarl_sat.measure.onboard.record import Line, Part, RecordError, Relation, read_record, write_record
from kdmarl_sat.measure.onboard.students import Flight, Student, flown, read_students
from onboard import budget, emulation
from onboard import table as weight_table
from onboard.bundle import write_bundle
from onboard.network import Activation, Architecture, Design, Dtype
from onboard.processors import PROCESSORS
from onboard.quantise import quantised
from onboard.runners import RunnerError
from onboard.runners.native import NativeRunner
from onboard.runners.reference import ReferenceRunner
from onboard.spec import AgentSpec, Block, BoolArray, FloatArray

RUN = {
    "date": "2026-01-01T00:00:00+00:00",
    "wall_s": 1.0,
    "commit": "0" * 40,
    "machine": {"processor": "none", "cores": 1},
    "load": [0.5, 0.25],
    "bundles": {"sample": "0" * 64},
}
PLAIN = AgentSpec("probe", "deep", (Block("all", 7, "1", 1.0),), ("charge", "drift", "point"), 0)


def silent(share: float, text: str) -> None:
    assert 0 <= share <= 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("onboard") / "sample"
    write_bundle(path, "sample", (make_satellite(TINY, 4, 31), make_satellite(BLIND, 6, 32)), PROVENANCE)
    return path


@pytest.fixture(scope="module")
def students(folder: Path) -> list[Student]:
    """Who has flown the golden decisions, twice."""
    flying = []
    for student in read_students(folder):
        golden = student.satellite.golden
        flight = Flight(golden.obs.copy(), golden.mask.copy(), golden.action)
        flying.append(dataclasses.replace(student, flights=(flight, flight), orbits=3.0))
    return flying


# --- what is wanted, and what is written ---


@pytest.mark.parametrize(
    ("relation", "measured", "met"),
    [
        (Relation.AT_MOST, 2.0, True),
        (Relation.AT_MOST, 2.1, False),
        (Relation.AT_LEAST, 2.0, True),
        (Relation.AT_LEAST, 1.9, False),
        (Relation.EXACTLY, 2.0, True),
        (Relation.EXACTLY, 2.1, False),
        (Relation.AT_MOST, None, None),
        (Relation.TOLD, 2.0, None),
        (Relation.AT_MOST, float("nan"), False),
    ],
)
def test_a_line_is_met_or_not_or_neither(relation: Relation, measured: float | None, met: bool | None) -> None:
    assert Line("", measured, relation, 2.0).met is met


def test_the_table_hides_nothing() -> None:
    lines = (
        Line("agreement", 0.999999, Relation.EXACTLY, 1.0, "share"),
        Line("slow", 1.6, Relation.AT_MOST, 1.5, "µs", "busy"),
        Line("fast", 1.4, Relation.AT_MOST, 1.5, "µs"),
        Line("absent", None, Relation.EXACTLY, 0, note="a | b not installed"),
        Line("tiny", 4.2e-7, note="for the record"),
    )
    text = table.whole_text({"bits": Part(lines, {}, RUN)})
    assert "| agreement | = 100 % | 0.999999 share | **NOT MET** |" in text
    assert "| slow | ≤ 1.5 µs | 1.6 µs | **NOT MET** (busy) |" in text
    assert "| fast | ≤ 1.5 µs | 1.4 µs | met |" in text
    assert "| absent | = 0 | not measured | a \\| b not installed |" in text
    assert "| tiny | – | 4.2e-07 | for the record |" in text
    short = table.readme_text({"bits": Part(lines, {}, RUN)})
    assert "| Bit identity | 1 of 3 | agreement | = 100 % | 0.999999 share |" in short
    assert short.rstrip().endswith("Not met: agreement; slow.")
    assert "load average 0.5 → 0.2" in table.whole_text({"bits": Part(lines, {}, RUN)})


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "new/record.json"
    assert read_record(path) == {}
    record = {"host": Part((Line("x", 1.5, Relation.AT_LEAST, 1.0, "µs", "n"), Line("y", None)), {"a": [1]}, RUN)}
    write_record(path, record)
    assert read_record(path) == record
    assert [line["met"] for line in json.loads(path.read_text())["parts"]["host"]["lines"]] == [True, None]


@pytest.mark.parametrize("content", ["{", "[]", '{"format": "another", "version": 1}', "\udcff"])
def test_a_record_that_is_none_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "record.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(RecordError, match=r"record .*record\.json is "):
        read_record(tmp_path / "record.json")


def test_a_part_measured_again_replaces_only_itself(folder: Path, tmp_path: Path) -> None:
    record, readme = tmp_path / "record.json", tmp_path / "README.md"
    write_record(record, {"host": Part((Line("kept", 1.0),), {"networks": {}, "turn": 1, "calls": 1}, RUN)})
    readme.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    paths = [f"record={record}", f"readme={readme}", f"table={tmp_path / 'onboard.md'}", f"bundle={folder}"]
    doors.onboard(["only=admission,upsets", "flips=40", *paths])
    stored = json.loads(record.read_text())["parts"]
    assert list(stored) == ["host", "upsets", "admission"]
    assert stored["host"]["lines"][0]["what"] == "kept"
    assert [line["met"] for line in stored["upsets"]["lines"]] == [True, True, True]
    assert stored["upsets"]["run"]["options"]["flips"] == 40
    assert len(stored["upsets"]["run"]["bundles"]["sample"]) == 64
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text and "kept" in text
    assert "satellite 'scout': parameters" in (tmp_path / "onboard.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["only=host,nonsense"], 2, "only=host,nonsense is not allowed: it must be of bits,host,"),
        (["targets=z80"], 2, "targets=z80 is not allowed: it must be of cortex-m7,"),
        (["calls=0"], 2, "calls=0 is not allowed: it must be at least 1"),
        (["bundle=/nowhere", "only=host"], 1, "bundle /nowhere is not a folder"),
    ],
)
def test_a_wrong_call_is_one_sentence(
    arguments: list[str], code: int, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        doors.onboard([*arguments, f"record={tmp_path / 'record.json'}"])
    assert stopped.value.code == code
    assert sentence in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_a_fine_tuned_bundle_beside_it_is_taken(folder: Path, tmp_path: Path) -> None:
    assert [student.tuned for student in read_students(folder)] == [False, False]
    satellites = [make_satellite(TINY, 4, 31), make_satellite(BLIND, 6, 32)]
    write_bundle(tmp_path / "b", "sample", satellites, PROVENANCE)
    tuned = [
        fly_golden(each.spec, quantised(make_satellite(each.spec, each.network.design.hidden, 77).network), 5)
        for each in satellites
    ]
    write_bundle(tmp_path / "b-int8", "sample", tuned, PROVENANCE)
    for student, each in zip(read_students(tmp_path / "b"), tuned, strict=True):
        assert student.tuned
        assert student.networks[Dtype.INT8].design == each.network.design
        for name, tensor in each.network.tensors.items():
            assert np.array_equal(student.int8.tensors[name], tensor)
    with pytest.raises(ValueError, match="has int8 weights, not float32"):
        read_students(tmp_path / "b-int8")


# --- bit identity ---


@pytest.mark.parametrize(
    ("spec", "design"),
    [
        (TINY, Design(8)),
        (BLIND, Design(5)),
        (PLAIN, Design(16, Architecture.RECURRENT)),
        (PLAIN, Design(7, Architecture.RECURRENT, Activation.TANH)),
    ],
)
def test_other_arithmetic_computes_the_same_network(spec: AgentSpec, design: Design) -> None:
    network = draw_network(spec, design, 3)
    golden = fly_golden(spec, network, 4).golden
    flight = Flight(golden.obs.copy(), golden.mask.copy(), golden.action)
    steps = [numpy_step(network, spec), torch_step(network, spec)]
    onnx = onnx_step(network, spec)
    for step in [*steps, onnx] if onnx is not None else steps:
        assert bits.replay(step, design.hidden, flight).logits == pytest.approx(golden.logits, rel=2e-5, abs=2e-5)


def test_trained_students_fly_and_every_runner_gives_their_bits(tmp_path: Path) -> None:
    folder = doors.BUNDLES[0]
    mission = mission_of(folder, ["scenario.duration_s=240"])
    flying = flown(folder, read_students(folder), mission, 20, silent)
    assert sum(student.decisions for student in flying) >= 20
    assert flying[0].orbits == pytest.approx(len(flying[0].flights) * 240 / 5677, rel=0.001)  # of 500 km altitude
    part = bits.measure(flying, [], tmp_path, silent)
    by_name = {line.what: line for line in part.lines}
    native = by_name["native runner: logits and states that are not the reference's to the bit"]
    values = sum(s.decisions * (len(s.satellite.spec.actions) + s.satellite.network.design.hidden) for s in flying)
    assert native.met and native.note == f"of {2 * values:,}, float32 and int8"
    assert by_name["flights whose replay chooses every action as it was flown"].met
    assert by_name["torch: equal actions in float32"].met
    assert by_name[f"int8: team return lost per episode, {folder.name}"].measured is None


def test_a_single_wrong_bit_is_seen(students: list[Student], tmp_path: Path) -> None:
    student = students[0]
    flight = student.flights[0]
    right = bits.replay(ReferenceRunner(student.satellite.network, TINY).step, 4, flight)
    assert bits.different(right, right) == 0
    wrong = dataclasses.replace(right, logits=right.logits.copy())
    wrong.logits.view(np.uint32)[3, 1] ^= 1
    assert bits.different(right, wrong) == 1
    minus_zero = dataclasses.replace(right, hidden=np.zeros_like(right.hidden))
    assert bits.different(minus_zero, dataclasses.replace(right, hidden=-minus_zero.hidden)) == right.hidden.size


def test_a_runner_that_gives_up_is_not_identical(students: list[Student]) -> None:
    class Tired(ReferenceRunner):
        left = 5

        def step(self, obs: FloatArray, mask: BoolArray, hidden: FloatArray) -> tuple[FloatArray, FloatArray]:
            self.left -= 1
            if self.left < 0:
                raise RunnerError("enough")
            return super().step(obs, mask, hidden)

    found = bits.replay(Tired(students[0].satellite.network, TINY).step, 4, students[0].flights[0])
    right = bits.replay(ReferenceRunner(students[0].satellite.network, TINY).step, 4, students[0].flights[0])
    assert found.fault == "decision 5: enough"
    assert bits.different(found, right) == (12 - 5) * (3 + 4)


def test_another_flight_than_the_replay_is_seen(students: list[Student], tmp_path: Path) -> None:
    def alike(flying: list[Student]) -> float | None:
        lines = bits.measure(flying, [], tmp_path, silent).lines
        return next(line.measured for line in lines if line.what.startswith("flights whose replay"))

    assert alike(students) == 1.0
    flight = students[0].flights[0]
    other = dataclasses.replace(flight, action=(flight.action + 1) % 3)
    tampered = [dataclasses.replace(students[0], flights=(other, flight)), students[1]]
    assert alike(tampered) == 0.75


def test_the_difference_is_absolute_and_relative() -> None:
    ours = bits.Answers(np.array([[10.5, 0.5]]), np.zeros((1, 1)))
    theirs = bits.Answers(np.array([[10.0, 0.25]]), np.zeros((1, 1)))
    off = bits.Difference()
    off.take(ours, theirs)
    assert (off.absolute, off.of_logit, off.of_decision) == (0.5, 0.25, 0.05)


def test_the_return_lost_is_read_from_the_record_of_quantise(students: list[Student], tmp_path: Path) -> None:
    def lost() -> Line:
        lines = bits.measure(students, [], tmp_path, silent).lines
        return next(line for line in lines if line.what.startswith("int8: team return"))

    assert lost().measured is None
    intervals = {
        "float32": {"estimate": 40.0, "low": 38.0, "high": 42.0},
        "difference": {"estimate": -0.5, "low": -1.25, "high": 0.25},
    }
    record = {"intervals": {"return": intervals}, "episodes": {"int8": {"return": [1.0, 2.0]}}}
    (tmp_path / "sample-int8.json").write_text(json.dumps(record))
    assert lost().measured == 0.5
    assert lost().note == "of 40.00; 95 % interval [-0.25, 1.25], 2 held-out episodes"
    (tmp_path / "sample-int8.json").write_text("{}")
    with pytest.raises(RecordError, match="is not one of "):
        lost()


# --- host and cost ---


def test_all_backends_race_and_compute_the_same(students: list[Student]) -> None:
    part = host.measure(students, 20, silent)
    networks = part.details["networks"]
    assert list(networks) == ["plain, 16 units", "plain, 32 units", "student, 4 units", "student, 6 units"]
    for network in networks.values():
        assert {"numpy", "torch, eager", "native", "isolated"} <= set(network["backends"]) | set(network["missing"])
        for backend, found in network["backends"].items():
            assert found["largest_difference"] < (0.05 if "int8" in backend else 1e-4)
            assert 0 < found["least_us"] <= found["median_us"] <= found["p95_us"]
    ratio = next(line for line in part.lines if "times faster" in line.what)
    medians = {name: found["median_us"] for name, found in networks["plain, 16 units"]["backends"].items()}
    if ratio.measured is not None:
        assert ratio.measured == min(medians["numpy"], medians["ONNX Runtime"]) / medians["native"]
    assert "| native |" in table.whole_text({"host": dataclasses.replace(part, run=RUN)})


def test_every_backend_has_its_turn_with_the_same_decisions() -> None:
    asked: dict[str, list[float]] = {"quick": [], "slow": []}

    def quick(obs: FloatArray, mask: BoolArray, hidden: FloatArray) -> tuple[Any, Any]:
        asked["quick"].append(float(obs[0]))
        return obs, hidden

    def slow(obs: FloatArray, mask: BoolArray, hidden: FloatArray) -> tuple[Any, Any]:
        asked["slow"].append(float(obs[0]))
        until = time.perf_counter() + 2e-4
        while time.perf_counter() < until:
            pass
        return obs, hidden

    decisions = [(np.full(2, value, np.float32), np.ones(1, np.bool_)) for value in (1.0, 2.0)]
    spent = host.race({"quick": quick, "slow": slow}, decisions, 3, 3 * host.TURN - 1, lambda share: None)
    assert len(spent["quick"]) == len(spent["slow"]) == 3 * host.TURN
    assert asked["quick"] == asked["slow"] == [1.0] * 21 + [2.0] * 21 + [1.0] * 21
    assert np.median(spent["slow"]) > 190 > np.median(spent["quick"])


def test_where_tools_are_missing_the_closed_form_stands_in_and_says_so() -> None:
    absent = dataclasses.replace(emulation.find("cortex-m7"), compiler="no-such-gcc")
    found = cost._counted(absent, 16, Dtype.FLOAT32)
    assert found["how"] == "closed form"
    missing = "gcc-no-such" if shutil.which("qemu-system-arm") else "gcc-no-such qemu-system-arm"  # on this machine
    assert found["why"] == f"{missing} not installed"
    assert 10_000 < found["step"] < found["decide"] < 30_000


def test_modelled_costs_by_hand(students: list[Student]) -> None:
    part = cost.measure(students, [], silent)
    costs = part.details["profiles"]
    assert len(costs) == len(students) * 2 * len(PROCESSORS)
    for each in costs:
        processor = PROCESSORS[each["processor"]]
        latency_ms = each["instructions"] * processor.cpi / processor.clock_mhz / 1e3
        assert each["latency_ms"] == pytest.approx(latency_ms)
        assert each["decisions_per_orbit"] == 24 / 3.0  # twice 12 decisions in 3 orbits
        assert each["energy_per_orbit_mj"] == pytest.approx(8 * processor.power_w * latency_ms)
    text = table.whole_text({"instructions": dataclasses.replace(part, run=RUN)})
    assert "| RAD750 |" in text and "6 units, int8" in text


# --- upsets ---


def test_every_flip_is_tried_and_found(students: list[Student]) -> None:
    part = upsets.measure(students[:1], None, silent)
    assert all(line.met for line in part.lines)
    tables = [weight_table.dump(network, TINY) for network in students[0].networks.values()]
    assert part.details["tried in tables"] == 8 * sum(map(len, tables))
    assert part.details["tried in memory"] > part.details["tried in tables"]  # outputs are padded
    assert "every single bit" in part.lines[0].note


def test_flips_that_pass_would_be_counted(students: list[Student]) -> None:
    network, golden = students[0].satellite.network, students[0].satellite.golden
    data, which = bytearray(weight_table.dump(network, TINY)), np.arange(100)
    before = bytes(data)
    assert upsets.flip_table(data, which, network, TINY, lambda table, length: 0) == (100, 0)  # type: ignore[arg-type]
    assert bytes(data) == before

    class Careless(NativeRunner):
        def step(self, obs: FloatArray, mask: BoolArray, hidden: FloatArray) -> tuple[FloatArray, FloatArray]:
            return np.zeros(3, np.float32), hidden

    assert upsets.flip_memory(Careless(network, TINY), which, golden.obs[0], golden.mask[0], 4) == 100


# --- hostile bundles ---


@pytest.mark.parametrize("kind", [attacks.DAMAGED, attacks.SIGNED])
@pytest.mark.filterwarnings("ignore:Reading `.npy`")
def test_hostile_bundles_come_to_a_good_end_and_leave_the_bundle(kind: str, folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    outcomes, bad = attacks.attack(folder, kind, range(60))
    assert bad == [] and sum(outcomes.values()) == 60
    assert outcomes["BundleError"] > 30
    assert (outcomes[attacks.FLEW] > 0) is (kind == attacks.SIGNED)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert attacks.attack(folder, kind, range(60))[0] == outcomes


def test_a_reader_that_accepts_or_raises_is_caught(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(folder: Path) -> None:
        if len((folder / "manifest.sha256").read_bytes()) < 80:
            raise KeyError("oops")

    monkeypatch.setattr(attacks, "read_bundle", careless)
    outcomes, bad = attacks.attack(folder, attacks.DAMAGED, range(60))
    assert outcomes[attacks.READ] > 30 and outcomes["raised KeyError"] > 0 and len(bad) == 60 - outcomes["unchanged"]


def test_mutations_are_drawn_from_their_seed() -> None:
    content = bytes(range(256))
    changed = {attacks.mutated(content, random.Random(seed)) for seed in range(100)}
    assert len(changed) > 90 and content not in changed
    assert attacks.mutated(content, random.Random(7)) == attacks.mutated(content, random.Random(7))


def test_a_crash_is_counted_and_the_rest_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutations, "attack", jobs.crash_at_seed_zero)
    found = mutations.attacked([folder], 250, attacks.DAMAGED, silent)
    assert found["outcomes"] == {mutations.CRASHED: 1, "BundleError": 150}
    assert found["bad"] == ["damaged, one of seeds 0 to 99: crashed"]


def test_the_share_of_refused_bundles_is_of_all_that_were_changed(folder: Path) -> None:
    part = mutations.measure([folder], 120, silent)
    assert [line.met for line in part.lines] == [True, True]
    assert sum(part.details[attacks.DAMAGED]["outcomes"].values()) == 120
    assert sum(part.details[attacks.SIGNED]["outcomes"].values()) == 30


# --- watchdog and admission ---


@pytest.mark.skipif(sys.platform != "linux", reason="the isolated runner needs Linux")
def test_stopped_workers_are_replaced(students: list[Student]) -> None:
    part = enforcement.watchdog(students, 4, silent)
    assert len(part.details["fallback_ms"]) == len(part.details["back_ms"]) == 4
    assert min(part.details["fallback_ms"]) >= enforcement.DEADLINE_MS
    assert min(part.details["back_ms"]) > 0
    events = part.details["events"]
    assert events["late"] >= 4 and events["respawned"] >= 4 and events["decision"] >= 8
    assert part.lines[0].measured == np.median(part.details["fallback_ms"])


def test_every_violation_is_named(folder: Path) -> None:
    part = enforcement.admission([folder], silent)
    assert [line.met for line in part.lines] == [True, True]
    assert part.lines[0].note.startswith("28 of 28")  # 2 satellites, 7 limits, alone and together
    assert "satellite 'relay-1': most energy on round" in part.details["refusal"]


def test_a_violation_that_is_not_named_is_missed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = budget.violations
    monkeypatch.setattr(budget, "violations", lambda *a: [each for each in real(*a) if not each.startswith("RAM")])
    part = enforcement.admission([folder], silent)
    assert part.lines[0].met is False and part.lines[0].measured == 24 / 28


def test_a_violation_that_is_none_is_seen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = budget.violations
    monkeypatch.setattr(budget, "violations", lambda *a: [*real(*a), "colour red exceeds the limit blue"])
    assert enforcement.admission([folder], silent).lines[1].met is False
