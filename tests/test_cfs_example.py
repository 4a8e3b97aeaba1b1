"""The cFS application of docs/cfs_example, compiled against a stand-in for cFE and flown message by message."""

from __future__ import annotations

import ctypes
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onboard_samples import TINY, draw_network, fly_golden, make_inputs

from onboard import build, export_c, golden, table
from onboard.network import Design
from onboard.runners import BuildError

try:
    COMPILER = build.compiler()
except BuildError as error:
    pytest.skip(str(error), allow_module_level=True)

ROOT = Path(__file__).parents[1]
APP, STUB = ROOT / "docs" / "cfs_example" / "fsw", ROOT / "tests" / "cfs_stub"
FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror", "-ffp-contract=off")
SATELLITE = fly_golden(TINY, draw_network(TINY, Design(8), 1), 1)
CMD, SEND_HK, WAKEUP, OBSERVATION, ACTION, HK = 0x18F0, 0x18F1, 0x18F2, 0x08F0, 0x08F1, 0x08F2
FLOWN, SHADOWED = 0x08F3, 0x08F4
NOOP, RESET_COUNTERS, RESUME, FORGET, SHADOW, FLY = range(6)
NETWORK, GUARD, FALLBACK = range(3)
COUNTERS = ["commands", "command_errors", "decisions", "misses", "fallbacks", "overrides", "upsets", "table_loads"]
COUNTERS += ["safe_mode", "last_error", "longest_us", "shadow", "agreed", "differed"]
HEADER = 16  # bytes, of the stand-in's messages
WELL = (0.5, 0.0, 0.0)  # reserve, wheel speed, storage


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cfs")
    _, student = export_c.write(folder, SATELLITE, "a test")
    data = table.dump(SATELLITE.network, SATELLITE.spec)
    (folder / "weights.inc").write_text(", ".join(map(str, data)))
    sources = [APP / "src" / "student_app.c", APP / "src" / "student_shadow.c", APP / "tables" / "student_app_tbl.c"]
    sources += [student, STUB / "cfe_stub.c"]
    include = [f"-I{each}" for each in (folder, APP / "src", STUB)]
    command = [COMPILER, *FLAGS, *include, "-O1", "-fPIC", "-shared", *map(str, sources), "-o", folder / "app.so"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "app.so"


@dataclass(frozen=True)
class Answer:
    sequence: int
    action: int
    source: int
    acts: bool = True  # False: it went out in shadow


class Flight:
    """One start of the application, in memory of its own."""

    def __init__(self, library: Path, folder: Path) -> None:
        private = folder / "app.so"  # a library that is loaded already would not start anew
        private.write_bytes(library.read_bytes())
        self.library = ctypes.CDLL(str(private))
        self.library.stub_message.restype = ctypes.c_void_p
        self.library.stub_clock.argtypes = [ctypes.c_int64]
        self.sequence = 0

    def push(self, mid: int, code: int = 0, payload: bytes = b"") -> None:
        content = bytes(HEADER) + payload
        self.library.stub_push(mid, code, content, len(content))

    def observe(self, obs: Any, mask: Any, health: tuple[float, float, float] = WELL) -> None:
        self.sequence += 1
        payload = struct.pack("<I3f", self.sequence, *health) + obs.tobytes() + mask.tobytes()
        self.push(OBSERVATION, payload=payload + bytes(-len(payload) % 4))

    def run(self) -> tuple[list[Answer], list[dict[str, int]]]:
        """Everything that was pushed; the actions and the housekeeping that came out."""
        self.library.STUDENT_APP_Main()
        answers, housekeeping = [], []
        for index in range(self.library.stub_sent()):
            at = self.library.stub_message(index)
            mid, size = struct.unpack("<II", ctypes.string_at(at, 8))
            payload = ctypes.string_at(at + HEADER, size - HEADER)
            if mid in (ACTION, SHADOWED):
                answers.append(Answer(*struct.unpack("<3I", payload), mid == ACTION))
            else:
                assert mid == HK
                housekeeping.append(dict(zip(COUNTERS, struct.unpack("<9IiI3I", payload), strict=True)))
        assert self.library.stub_state(3) == 0  # every table address was released
        return answers, housekeeping

    def upset(self, library: Path, bit: int) -> None:
        listed = subprocess.run(["nm", str(library)], capture_output=True, text=True, check=True).stdout
        places = {line.split()[-1]: int(line.split()[0], 16) for line in listed.splitlines() if len(line.split()) == 3}
        base = ctypes.cast(self.library.student_decide, ctypes.c_void_p).value
        assert base is not None
        at = base - places["student_decide"] + places["student_storage"] + bit // 8
        ctypes.c_uint8.from_address(at).value ^= 1 << bit % 8


@pytest.fixture
def flight(library: Path, tmp_path: Path) -> Flight:
    return Flight(library, tmp_path)


def test_it_decides_as_the_reference_does(flight: Flight) -> None:
    obs, mask = make_inputs(TINY, 60, seed=5)
    for pair in zip(obs, mask, strict=True):
        flight.push(WAKEUP)
        flight.observe(*pair)
    flight.push(SEND_HK)
    answers, [counters] = flight.run()
    expected = golden.record(SATELLITE.network, TINY, obs, mask).action
    assert answers == [Answer(t + 1, action, NETWORK) for t, action in enumerate(expected.tolist())]
    wanted = {"decisions": 60, "misses": 0, "fallbacks": 0, "overrides": 0, "upsets": 0, "safe_mode": 0}
    assert {name: counters[name] for name in wanted} == wanted


def test_a_new_table_is_validated_and_then_flown(flight: Flight) -> None:
    other = draw_network(TINY, Design(8), 9)
    data = table.dump(other, TINY)
    obs, mask = make_inputs(TINY, 30, seed=6)
    flight.library.stub_upload(data, len(data))
    flight.push(WAKEUP)
    for pair in zip(obs, mask, strict=True):
        flight.observe(*pair)
    flight.push(SEND_HK)
    answers, [counters] = flight.run()
    assert flight.library.stub_state(2) == 0 and counters["table_loads"] == 1
    expected = golden.record(other, TINY, obs, mask).action.tolist()
    assert [answer.action for answer in answers] == expected
    assert expected != golden.record(SATELLITE.network, TINY, obs, mask).action.tolist()


@pytest.mark.parametrize("at", [8, 30, 70, 400])
def test_a_damaged_table_is_refused_and_the_old_one_flies_on(flight: Flight, at: int) -> None:
    data = bytearray(table.dump(draw_network(TINY, Design(8), 9), TINY))
    data[at] ^= 16
    obs, mask = make_inputs(TINY, 10, seed=6)
    flight.library.stub_upload(bytes(data), len(data))
    flight.push(WAKEUP)
    for pair in zip(obs, mask, strict=True):
        flight.observe(*pair)
    flight.push(SEND_HK)
    answers, [counters] = flight.run()
    assert flight.library.stub_state(2) < 0 and counters["table_loads"] == 0
    assert [answer.action for answer in answers] == golden.record(SATELLITE.network, TINY, obs, mask).action.tolist()


@pytest.mark.requirement("EX-5")
def test_bad_input_gives_a_legal_fallback_then_safe_mode_until_it_is_told_to_resume(flight: Flight) -> None:
    obs, mask = make_inputs(TINY, 2, seed=7)
    bad, everything, slot = obs[0].copy(), np.ones(3, bool), np.array([False, False, True])
    bad[4] = np.inf
    flight.observe(bad, everything)
    flight.observe(obs[0], everything)  # an answer in between: misses are counted anew
    flight.observe(bad, slot)
    flight.observe(obs[0], np.zeros(3, bool))
    flight.push(SEND_HK)
    flight.observe(bad, everything)
    flight.observe(obs[0], everything)
    flight.push(SEND_HK)
    flight.push(CMD, RESUME)
    flight.observe(obs[1], mask[1])
    answers, [before, after] = flight.run()
    sources = [FALLBACK, NETWORK, FALLBACK, FALLBACK, FALLBACK, FALLBACK, NETWORK]
    assert [answer.source for answer in answers] == sources
    assert [answers[t].action for t in (0, 2, 3, 4, 5)] == [0, 2, 0, 0, 0]
    assert (before["safe_mode"], before["misses"]) == (0, 3)
    assert (after["safe_mode"], after["misses"], after["fallbacks"], after["last_error"]) == (1, 4, 5, -9)


@pytest.mark.requirement("EX-4")
def test_a_late_answer_is_discarded_and_so_is_its_memory(flight: Flight) -> None:
    obs, mask = make_inputs(TINY, 1, seed=8)
    flight.library.stub_clock(250_001)
    flight.observe(obs[0], mask[0])
    flight.observe(obs[0], mask[0])
    flight.push(SEND_HK)
    answers, [counters] = flight.run()
    assert [answer.source for answer in answers] == [FALLBACK, FALLBACK]
    assert (counters["misses"], counters["longest_us"]) == (2, 250_001)


@pytest.mark.requirement("EX-10")
@pytest.mark.parametrize("health", [(0.09, 0, 0), (0.5, 0.91, 0), (0.5, 0, 0.96), (np.nan, 0, 0)])
def test_the_guard_overrides_beyond_a_limit(flight: Flight, health: tuple[float, float, float]) -> None:
    obs, _ = make_inputs(TINY, 40, seed=9)
    everything = np.ones(3, bool)
    for row in obs:
        flight.observe(row, everything, health)
    flight.push(SEND_HK)
    answers, [counters] = flight.run()
    chosen = golden.record(SATELLITE.network, TINY, obs, np.ones((40, 3), bool)).action
    assert {answer.action for answer in answers} == {0}
    assert counters["overrides"] == int((chosen != 0).sum()) > 0


def test_the_guard_lets_go_only_with_a_margin(flight: Flight) -> None:
    obs, _ = make_inputs(TINY, 40, seed=9)
    everything = np.ones(3, bool)
    images = golden.record(SATELLITE.network, TINY, obs, np.ones((40, 3), bool)).action != 0
    reserves = [0.2, 0.09, 0.11, 0.119, 0.121, 0.11]
    held = [False, True, True, True, False, False]
    for t, row in enumerate(obs):
        flight.observe(row, everything, (reserves[t % 6], 0, 0))
    answers, _ = flight.run()
    assert [answer.source == GUARD for answer in answers] == [bool(images[t]) and held[t % 6] for t in range(40)]


def test_an_upset_is_found_by_the_scrub_or_the_decision_and_mended(flight: Flight, library: Path) -> None:
    obs, mask = make_inputs(TINY, 10, seed=10)
    for pair in zip(obs, mask, strict=True):
        flight.push(WAKEUP)
        flight.observe(*pair)
    flight.push(SEND_HK)
    # Bits flip while each message is on its way: the application has loaded its weights by then.
    callback = ctypes.CFUNCTYPE(None, ctypes.c_uint32)(lambda received: flight.upset(library, 7 * received))
    flight.library.stub_on_receive(callback)
    answers, [counters] = flight.run()
    expected = golden.record(SATELLITE.network, TINY, obs, mask).action.tolist()
    assert answers == [Answer(t + 1, action, NETWORK) for t, action in enumerate(expected)]
    assert (counters["upsets"], counters["misses"], counters["last_error"]) == (20, 0, -13)


@pytest.mark.requirement("EX-19")
def test_in_shadow_it_decides_as_it_would_and_acts_on_nothing(flight: Flight) -> None:
    """30 decisions in shadow beside a policy that always takes action 0 and answers before or after it, and whose every
    tenth answer is lost; then 10 in flight. Memory is carried over, and a counter's reset leaves shadow mode alone."""
    obs, mask = make_inputs(TINY, 40, seed=12)
    mask[:, 0] = True
    expected = golden.record(SATELLITE.network, TINY, obs, mask).action.tolist()
    flight.push(CMD, RESET_COUNTERS)
    flight.push(CMD, SHADOW)
    flight.push(CMD, RESET_COUNTERS)
    for t in range(30):
        flown = struct.pack("<II", t + 1, 0)
        if t % 2 and t % 10:
            flight.push(FLOWN, payload=flown)
        flight.observe(obs[t], mask[t])
        if t % 2 == 0 and t % 10:
            flight.push(FLOWN, payload=flown)
            flight.push(FLOWN, payload=flown)  # said twice, compared once
    flight.push(FLOWN, payload=b"half")
    flight.push(SEND_HK)
    flight.push(CMD, FLY)
    flight.push(FLOWN, payload=struct.pack("<II", 30, 0))
    for t in range(30, 40):
        flight.observe(obs[t], mask[t])
    flight.push(SEND_HK)
    answers, [shadowed, after] = flight.run()
    assert answers == [Answer(t + 1, action, NETWORK, t >= 30) for t, action in enumerate(expected)]
    agreed = sum(expected[t] == 0 for t in range(30) if t % 10)
    assert 0 < agreed < 27
    wanted = {"shadow": 1, "agreed": agreed, "differed": 27 - agreed, "command_errors": 1, "decisions": 30}
    assert {name: shadowed[name] for name in wanted} == wanted
    assert (after["shadow"], after["agreed"], after["decisions"]) == (0, agreed, 40)


def test_commands_are_counted_and_strange_messages_refused(flight: Flight) -> None:
    obs, mask = make_inputs(TINY, 1, seed=11)
    for code in (NOOP, FORGET, 9):
        flight.push(CMD, code)
    flight.push(CMD, NOOP, b"surplus.")
    flight.push(OBSERVATION, payload=obs[0].tobytes())
    flight.push(SEND_HK)
    flight.observe(obs[0], mask[0])
    flight.push(CMD, RESET_COUNTERS)
    flight.push(SEND_HK)
    answers, [before, after] = flight.run()
    assert (before["commands"], before["command_errors"], before["decisions"]) == (2, 3, 0)
    assert len(answers) == 1 and after["decisions"] == after["command_errors"] == 0
