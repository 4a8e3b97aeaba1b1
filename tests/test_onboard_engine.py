"""The C engine: the bits of the reference, every error by its name, and no upset bit that is acted upon."""

from __future__ import annotations

import ctypes
import platform
import re
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onboard_samples import BLIND, PLAIN, TINY, draw_network, make_inputs

from onboard import build, table
from onboard.network import Activation, Architecture, Design, Dtype, Network
from onboard.runners import BuildError, RunnerError, UpsetError
from onboard.runners.native import SCRUB_WORDS, NativeRunner
from onboard.runners.reference import ReferenceRunner
from onboard.spec import AgentSpec, Block, BoolArray, FloatArray
from tests.engine.seeds import write_seeds

try:
    build.shared_library()
except BuildError as error:
    pytest.skip(str(error), allow_module_level=True)

HERE = Path(__file__).parent / "engine"
OPPORTUNITY, RECURRENT = Architecture.OPPORTUNITY, Architecture.RECURRENT
F32, INT8 = Dtype.FLOAT32, Dtype.INT8

MIXED = AgentSpec(  # blocks of both kinds in turns, 5 slots: O = 26, C = 6, F = 4
    "mixed",
    "h",
    (
        Block("platform", 2, "1", 1.0),
        Block("window", 3, "s", 1.0, slots=5),
        Block("sun", 4, "1", 1.0),
        Block("priority", 1, "1", 1.0, slots=5),
    ),
    ("charge", "drift"),
    5,
)
SLOTS_ONLY = AgentSpec("s", "h", (Block("window", 3, "s", 1.0, slots=2),), ("charge",), 2)  # C = 0
NO_SLOTS = AgentSpec("n", "h", (Block("all", 4, "1", 1.0),), ("charge", "drift"), 0)
SPECS = {"mixed": MIXED, "blind": BLIND, "slots_only": SLOTS_ONLY, "no_slots": NO_SLOTS}


def bits(values: FloatArray) -> list[int]:
    return [int(word) for word in np.ascontiguousarray(values, np.float32).view(np.uint32)]


def same_bits(spec: AgentSpec, network: Network, native: Any, steps: int, seed: int) -> int:
    """Fly both, inputs of every magnitude among them; how many answers were compared."""
    generator, reference = np.random.default_rng(seed), ReferenceRunner(network, spec)
    obs, mask = make_inputs(spec, steps, seed)
    hidden, compared = np.zeros(network.design.hidden, np.float32), 0
    for t in range(steps):
        wild = (obs[t] * 10.0 ** generator.integers(-20, 5, len(obs[t]))).astype(np.float32)
        given = wild if t % 3 == 0 else obs[t]
        expected, answer = reference.step(given, mask[t], hidden), native.step(given, mask[t], hidden)
        for one, other in zip(answer, expected, strict=True):
            assert bits(one) == bits(other)
            compared += len(one)
        hidden = expected[1]
    return compared


# --- the same bits ---


@pytest.mark.requirement("EX-11")
@pytest.mark.parametrize("hidden", [1, 7, 8, 13, 32])
@pytest.mark.parametrize("dtype", Dtype)
@pytest.mark.parametrize("name", SPECS)
def test_opportunity_network_has_the_bits_of_the_reference(name: str, dtype: Dtype, hidden: int) -> None:
    spec, design = SPECS[name], Design(hidden, dtype=dtype)
    network = draw_network(spec, design, seed=hidden)
    assert same_bits(spec, network, NativeRunner(network, spec), 40, seed=1) == 40 * (hidden + len(spec.actions))


@pytest.mark.requirement("EX-11")
@pytest.mark.parametrize("hidden", [1, 7, 8, 13, 32])
@pytest.mark.parametrize("dtype", Dtype)
@pytest.mark.parametrize("activation", Activation)
@pytest.mark.parametrize("spec", [PLAIN, MIXED])
def test_recurrent_network_has_the_bits_of_the_reference(
    spec: AgentSpec, activation: Activation, dtype: Dtype, hidden: int
) -> None:
    network = draw_network(spec, Design(hidden, RECURRENT, activation, dtype), seed=hidden)
    assert same_bits(spec, network, NativeRunner(network, spec), 40, seed=1) == 40 * (hidden + len(spec.actions))


def test_largest_network_has_the_bits_of_the_reference() -> None:
    """At the engine's maxima: H = 256, O = 512, K = 64, A = 128."""
    blocks = (Block("own", 64, "1", 1.0), Block("seen", 7, "1", 1.0, slots=64))
    spec = AgentSpec("large", "h", blocks, tuple(f"a{i}" for i in range(64)), 64)
    for dtype in Dtype:
        network = draw_network(spec, Design(256, dtype=dtype), seed=0, scale=1.0)
        same_bits(spec, network, NativeRunner(network, spec), 3, seed=1)


@pytest.mark.parametrize("dtype", Dtype)
@pytest.mark.parametrize("architecture", Architecture)
def test_an_overflow_is_refused_where_the_reference_is_not_finite(architecture: Architecture, dtype: Dtype) -> None:
    """And has the reference's bits where it is: infinite gates, illegal slots beyond any number."""
    generator, outcomes = np.random.default_rng(0), []
    for seed in range(60):
        network = draw_network(
            MIXED, Design(5, architecture, dtype=dtype), seed, scale=10.0 ** generator.uniform(-1, 5)
        )
        native, reference = NativeRunner(network, MIXED), ReferenceRunner(network, MIXED)
        for _ in range(4):
            obs = (generator.choice([-1, 1], 26) * 10.0 ** generator.uniform(20, 38.5, 26)).astype(np.float32)
            obs[generator.random(26) < 0.7] = 0
            mask = generator.random(7) < 0.5
            mask[0] = True
            logits, hidden = reference.step(obs, mask, np.zeros(5, np.float32))
            usable = bool(np.isfinite(logits).all() and np.isfinite(hidden).all())
            try:
                answer = native.step(obs, mask, np.zeros(5, np.float32))
                assert usable and bits(answer[0]) == bits(logits) and bits(answer[1]) == bits(hidden)
            except RunnerError as error:
                assert "of the answer is not finite" in str(error) and not usable
            outcomes.append(usable)
    assert 0 < sum(outcomes) < len(outcomes)  # both were met


class Engine:
    """The library at a path, called as a C program would."""

    def __init__(self, path: Path) -> None:
        self.c = ctypes.CDLL(str(path))
        self.model = (ctypes.c_uint32 * (self.c.kd_model_bytes() // 4 + 2))()

    def load(self, data: bytes) -> Engine:
        words = self.c.kd_required_words(data, len(data))
        assert words > 0
        self.storage = np.zeros(words, np.uint32)
        assert self.c.kd_load(self.model, data, len(data), self.at(self.storage), words) == 0
        return self

    @staticmethod
    def at(array: np.ndarray[Any, Any]) -> ctypes.c_void_p:
        return ctypes.c_void_p(array.ctypes.data)

    def step(self, obs: FloatArray, mask: BoolArray, hidden: FloatArray) -> tuple[FloatArray, FloatArray]:
        logits, after = np.zeros(len(mask), np.float32), np.zeros_like(hidden)
        self.action = self.c.kd_step(self.model, *map(self.at, (obs, mask, hidden, after, logits)))
        assert self.action >= 0
        return logits, after


COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]


@pytest.mark.requirement("EX-11")
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("optimised", ["-O0", "-O2", "-O3 -march=native"])
def test_other_compilers_and_optimisations_give_the_same_bits(compiler: str, optimised: str, tmp_path: Path) -> None:
    if platform.machine() != "x86_64" and "native" in optimised:
        pytest.skip("-march=native is not every compiler's on this processor")
    flags = (*build.STRICT, "-ffreestanding", "-fPIC", "-shared", *optimised.split())
    sources = [str(build.ENGINE / source) for source in build.SOURCES]
    subprocess.run([compiler, *flags, *sources, "-o", str(tmp_path / "kd.so")], check=True)
    engine = Engine(tmp_path / "kd.so")
    for spec, design in (
        (MIXED, Design(13)),
        (MIXED, Design(13, dtype=INT8)),
        (PLAIN, Design(16, RECURRENT, Activation.TANH)),
        (PLAIN, Design(9, RECURRENT, Activation.TANH, INT8)),
    ):
        network = draw_network(spec, design, seed=3)
        same_bits(spec, network, engine.load(table.dump(network, spec)), 40, seed=2)


def test_the_next_hidden_state_may_take_the_place_of_the_last() -> None:
    for spec, design in ((MIXED, Design(13)), (PLAIN, Design(9, RECURRENT, dtype=INT8))):
        network = draw_network(spec, design, seed=3)
        engine = Engine(build.shared_library()).load(table.dump(network, spec))
        obs, mask = make_inputs(spec, 20, 5)
        hidden, logits = np.zeros(design.hidden, np.float32), np.zeros(len(spec.actions), np.float32)
        reference, state = ReferenceRunner(network, spec), np.zeros(design.hidden, np.float32)
        for t in range(20):
            place = engine.at(hidden)
            arguments = (engine.at(obs[t]), engine.at(mask[t]), place, place, engine.at(logits))
            action = engine.c.kd_decide(engine.model, *arguments, 3)
            expected, state = reference.step(obs[t], mask[t], state)
            assert bits(hidden) == bits(state) and bits(logits) == bits(expected)
            assert action == np.argmax(np.where(mask[t], expected, -np.inf))


def test_the_first_of_equal_logits_is_chosen() -> None:
    zeros = draw_network(PLAIN, Design(2, RECURRENT), 0, scale=0.0)
    engine = Engine(build.shared_library()).load(table.dump(zeros, PLAIN))
    for mask, action in (([1, 1, 1], 0), ([0, 1, 1], 1), ([0, 0, 1], 2), ([1, 0, 1], 0)):
        engine.step(np.zeros(7, np.float32), np.array(mask, np.bool_), np.zeros(2, np.float32))
        assert engine.action == action


# --- how it is built ---


@pytest.mark.requirement("EX-12")
def test_nothing_is_linked() -> None:
    """No heap, no libc, no libm: the library asks nobody for anything."""
    listed = subprocess.run(["nm", "-u", str(build.shared_library())], capture_output=True, text=True, check=True)
    assert listed.stdout == ""


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("-ffast-math", "operation by operation"),
        ("-DKD_MAX_OBS=8193", "would overflow"),
        ("-DKD_MAX_UNITS=5000", "would overflow"),
    ],
)
def test_what_would_change_the_bits_does_not_compile(flag: str, said: str, tmp_path: Path) -> None:
    command = [
        build.compiler(),
        *build.STRICT,
        flag,
        "-c",
        str(build.ENGINE / "kd_engine.c"),
        "-o",
        str(tmp_path / "o"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0 and said in done.stderr


@pytest.mark.requirement("EX-12")
def test_sanitizers_find_nothing(tmp_path: Path) -> None:
    """tests/engine/check.c: truncated and mutated tables, decisions, upset models, denormal numbers."""
    flags = ["-g", "-O1", "-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all"]
    includes = [f"-I{build.ENGINE}", f"-I{HERE}"]
    sources = [HERE / "check.c", HERE / "fuzz_table.c", *(build.ENGINE / source for source in build.SOURCES)]
    command = [build.compiler(), *build.STRICT, *flags, *includes, *map(str, sources), "-o", str(tmp_path / "check")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0 and re.search(r"cannot find .*(asan|ubsan)", done.stderr):
        pytest.skip("this compiler comes without sanitizers")
    assert done.returncode == 0, done.stderr
    seeds = write_seeds(tmp_path / "seeds")
    ran = subprocess.run([tmp_path / "check", "4000", *seeds], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, f"{len(seeds)} tables\n"), ran.stderr[-3000:]


# --- tables ---


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def signed(data: bytes, version: int = 1) -> bytes:
    """A table whose first 16 bytes are right."""
    return b"KDWT" + words(version, len(data), zlib.crc32(data[16:])) + data[16:]


def test_a_table_written_by_hand_from_the_format() -> None:
    """One column, one unit, one action: encoder 2 x + 0.5, gates by their biases, head -3 h + 1 (FORMAT.md)."""
    header = words(2, 1, 1, 1, 0, 1, 1, 0) + struct.pack("<2H", 1, 0)
    ln3 = np.log(3)
    tensors = [*(2, 0.5), *(0, 0, 0.2, 0, ln3, 0.1), *(0, 0, 0, 0, 0, 0.4), *(-3, 1)]
    data = signed(bytes(16) + header + struct.pack(f"<{len(tensors)}f", *tensors))
    spec = AgentSpec("one", "h", (Block("x", 1, "1", 1.0),), ("charge",), 0)
    network = table.load(data, spec, Design(1, RECURRENT))
    assert table.dump(network, spec) == data
    obs, mask, hidden = np.array([0.75], np.float32), np.array([True]), np.array([0.5], np.float32)
    h = 0.25 * np.tanh(0.1 + 0.2 * 2.0 + 0.5 * 0.4) + 0.75 * 0.5
    for runner in (Engine(build.shared_library()).load(data), ReferenceRunner(network, spec)):
        logits, after = runner.step(obs, mask, hidden)
        np.testing.assert_allclose(after, [h], rtol=1e-6)
        np.testing.assert_allclose(logits, [1 - 3 * h], rtol=1e-6)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    yield Engine(build.shared_library())


def make_table(spec: AgentSpec = TINY, design: Design | None = None) -> bytes:
    design = design or Design(4)
    return table.dump(draw_network(spec, design, 1), spec)


FIELD = dict(
    zip(
        ("architecture", "dtype", "activation", "hidden", "slots", "fixed", "blocks", "reserved"),
        range(16, 48, 4),
        strict=True,
    )
)
LENGTH, MAGIC, VERSION, CRC, SHAPE, MEMORY, WEIGHT = -2, -3, -4, -5, -6, -7, -8
OBSERVATION, MASK, STATE, OUTPUT, UPSET = -9, -10, -11, -12, -13
ARGUMENT = -1


def put(data: bytes, at: int, content: bytes) -> bytes:
    return data[:at] + content + data[at + len(content) :]


def field(name: str, value: int) -> Callable[[bytes], bytes]:
    return lambda data: signed(put(data, FIELD[name], words(value)))


@pytest.mark.requirement("EX-13")
@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda data: b"", LENGTH),
        (lambda data: data[:47], LENGTH),
        (lambda data: data[:-4], LENGTH),
        (lambda data: data + b"\0\0\0\0", LENGTH),
        (lambda data: signed(data[:-4]), LENGTH),
        (lambda data: signed(data[:-1]), LENGTH),
        (lambda data: signed(data[:52]), LENGTH),
        (lambda data: signed(data[:48]), LENGTH),
        (lambda data: signed(data + b"\0\0\0\0"), LENGTH),
        (lambda data: put(data, 0, b"KDWX"), MAGIC),
        (lambda data: signed(data, version=2), VERSION),
        (lambda data: put(data, 4, words(0)), VERSION),
        (lambda data: put(data, 100, b"\x55"), CRC),
        (lambda data: put(data, 12, words(0)), CRC),
        *((field("architecture", value), SHAPE) for value in (0, 3, 2**31)),
        *((field("dtype", value), SHAPE) for value in (0, 3)),
        *((field("activation", value), SHAPE) for value in (0, 3)),
        (field("activation", 2), SHAPE),  # tanh, in the opportunity network
        *((field("hidden", value), SHAPE) for value in (0, 257, 2**32 - 1)),
        *((field("slots", value), SHAPE) for value in (0, 1, 65, 2**32 - 1)),  # the blocks have two
        *((field("fixed", value), SHAPE) for value in (0, 127, 129, 2**32 - 1)),
        *((field("blocks", value), SHAPE) for value in (0, 65, 2**32 - 1)),
        (field("blocks", 64), SHAPE),  # the fourth block has a size of more than 512
        (field("blocks", 2), LENGTH),
        (field("reserved", 1), SHAPE),
        (lambda data: signed(put(data, 48, struct.pack("<2H", 0, 0))), SHAPE),
        (lambda data: signed(put(data, 48, struct.pack("<2H", 513, 0))), SHAPE),
        (lambda data: signed(put(data, 48, struct.pack("<2H", 511, 0))), SHAPE),  # and 6 more in slots
        (lambda data: signed(put(data, 48, struct.pack("<2H", 3, 3))), SHAPE),
        (lambda data: signed(put(data, 48, struct.pack("<2H", 4, 0))), LENGTH),
        (lambda data: signed(put(data, 60, struct.pack("<f", np.nan))), WEIGHT),
        (lambda data: signed(put(data, 60, struct.pack("<f", -np.inf))), WEIGHT),
        (lambda data: signed(put(data, len(data) - 4, struct.pack("<f", np.inf))), WEIGHT),
    ],
)
def test_a_table_is_refused_by_its_error(engine: Engine, change: Callable[[bytes], bytes], status: int) -> None:
    data = change(make_table())
    assert engine.c.kd_validate(data, len(data)) == engine.c.kd_required_words(data, len(data)) == status
    assert engine.c.kd_load(engine.model, data, len(data), engine.at(np.zeros(9999, np.uint32)), 9999) == status


def test_int8_tables_are_refused_by_their_errors(engine: Engine) -> None:
    """PLAIN, 5 units: five scales, then 35 weights and a byte of padding."""
    data = make_table(PLAIN, Design(5, RECURRENT, dtype=INT8))
    for changed, status in (
        (data, 0),
        (signed(put(data, 52, struct.pack("<f", np.inf))), WEIGHT),
        (signed(put(data, 52 + 20 + 35, b"\1")), WEIGHT),
        (signed(data[: 52 + 20 + 34]), LENGTH),
    ):
        assert engine.c.kd_validate(changed, len(changed)) == status


@pytest.mark.requirement("EX-13")
def test_every_truncated_table_is_refused(engine: Engine) -> None:
    for data in (make_table(), make_table(BLIND, Design(3, dtype=INT8))):
        for length in range(len(data)):
            assert engine.c.kd_validate(data[:length], length) == LENGTH
            if length >= 48:
                assert engine.c.kd_validate(signed(data[:length]), length) == LENGTH


@pytest.mark.requirement("EX-6")
@pytest.mark.parametrize(
    ("spec", "design"),
    [(TINY, Design(4)), (PLAIN, Design(5, RECURRENT, Activation.TANH, INT8)), (BLIND, Design(3, dtype=INT8))],
)
def test_no_flipped_bit_of_a_table_is_accepted(engine: Engine, spec: AgentSpec, design: Design) -> None:
    """Every single one, by the engine and by the reader of bundles."""
    data = make_table(spec, design)
    table.load(data, spec, design)
    for bit in range(8 * len(data)):
        flipped = put(data, bit // 8, bytes([data[bit // 8] ^ 1 << bit % 8]))
        assert engine.c.kd_validate(flipped, len(flipped)) < 0
        with pytest.raises(ValueError, match=r"damaged|not a weight table|version|bytes and its header"):
            table.load(flipped, spec, design)


def test_a_refused_table_leaves_the_loaded_one_flying() -> None:
    network = draw_network(MIXED, Design(6), 1)
    engine = Engine(build.shared_library()).load(table.dump(network, MIXED))
    before = engine.storage.copy()
    other = make_table(TINY, Design(4))
    for data in (signed(put(other, len(other) - 4, struct.pack("<f", np.inf))), other[:-1], other):
        room = len(before) if data != other else 10  # at last a good table, but not enough room
        assert engine.c.kd_load(engine.model, data, len(data), engine.at(engine.storage), room) < 0
        np.testing.assert_array_equal(engine.storage, before)
        same_bits(MIXED, network, engine, 3, seed=1)


def test_a_network_beyond_the_maxima_is_refused_in_a_sentence() -> None:
    with pytest.raises(BuildError, match=r"satellite 'probe': the C engine refuses its weights: dimensions .* exceed"):
        NativeRunner(draw_network(PLAIN, Design(257, RECURRENT), 0), PLAIN)


@pytest.mark.requirement("EX-12")
def test_null_pointers_are_refused() -> None:
    engine = Engine(build.shared_library()).load(make_table(PLAIN, Design(2, RECURRENT)))
    data, c, model = make_table(), engine.c, engine.model
    place = engine.at(np.zeros(9999, np.uint32))
    assert c.kd_validate(None, 100) == c.kd_required_words(None, 100) == -1
    assert c.kd_load(None, data, len(data), place, 9999) == c.kd_load(model, None, 100, place, 9999) == -1
    assert c.kd_load(model, data, len(data), None, 9999) == -1
    assert c.kd_verify(None) == c.kd_check(None) == c.kd_scrub(None, 1) == c.kd_serve(None) == -1
    buffers = [engine.at(np.zeros(9, np.float32)) for _ in range(5)]
    for missing in range(6):
        arguments = [None if i == missing else pointer for i, pointer in enumerate([model, *buffers])]
        assert c.kd_step(*arguments) == c.kd_decide(*arguments, 1) == -1
    empty = (ctypes.c_uint32 * len(model))()  # never loaded
    assert c.kd_verify(empty) == c.kd_check(empty) == c.kd_scrub(empty, 1) == c.kd_step(empty, *buffers) == -1
    assert c.kd_decide(empty, *buffers, 1) == -1


@pytest.mark.requirement("EX-12")
def test_storage_that_is_small_or_askew_is_refused(engine: Engine) -> None:
    data = make_table()
    needed = engine.c.kd_required_words(data, len(data))
    assert needed == 353  # 32 + 32 + 80 + 80 + 40 + 40 + 40 + 8 + 1
    room = np.zeros(needed + 1, np.uint32)
    assert engine.c.kd_load(engine.model, data, len(data), engine.at(room), needed - 1) == MEMORY
    askew = ctypes.c_void_p(room.ctypes.data + 1)
    assert engine.c.kd_load(engine.model, data, len(data), askew, needed) == MEMORY
    assert not room.any()
    assert engine.c.kd_load(engine.model, data, len(data), engine.at(room), needed) == 0
    assert room[-1] == 0 and room[-2] != 0


@pytest.mark.parametrize(
    ("dtype", "fill", "status"),
    [(F32, 1, CRC), (INT8, 1, CRC), (INT8, -1, WEIGHT)],  # the bytes of four weights of -1 are no finite float
)
def test_a_table_that_changes_while_it_is_read_leaves_no_model(
    engine: Engine, dtype: Dtype, fill: int, status: int
) -> None:
    """It lies in the storage that its own weights are copied to: sound when it is measured, and then overwritten."""
    net = draw_network(PLAIN, Design(8, RECURRENT, dtype=dtype), 1)
    tensors = {name: np.full_like(each, fill if each.dtype == np.int8 else 1) for name, each in net.tensors.items()}
    data = table.dump(replace(net, tensors=tensors), PLAIN)
    needed = engine.c.kd_required_words(data, len(data))
    room = np.zeros(needed + len(data) // 4, np.uint32)
    room[: len(data) // 4] = np.frombuffer(data, np.uint32)
    place = engine.at(room)
    assert engine.c.kd_validate(place, len(data)) == 0
    storage = engine.at(room[30:])  # the first map's weights, 8 words into it, fall upon its biases
    assert engine.c.kd_load(engine.model, place, len(data), storage, needed) == status
    assert engine.c.kd_check(engine.model) == ARGUMENT


# --- decisions ---


@pytest.mark.parametrize(
    ("obs", "mask", "hidden", "status"),
    [
        (np.nan, 1, 0, OBSERVATION),
        (np.inf, 1, 0, OBSERVATION),
        (-np.inf, 1, 0, OBSERVATION),
        (0, 0, 0, MASK),
        (0, 1, np.nan, STATE),
        (0, 1, np.inf, STATE),
        (0, 1, np.nextafter(np.float32(1), np.float32(2)), STATE),
        (0, 1, np.nextafter(np.float32(-1), np.float32(-2)), STATE),
        (3e38, 1, 0, OUTPUT),
        (0, 1, 1, None),
        (0, 1, -1, None),
    ],
)
def test_a_decision_is_refused_by_its_error(obs: float, mask: int, hidden: float, status: int | None) -> None:
    """In the last column of the observation and the last unit; of the mask, in all."""
    observed, legal, state = np.zeros(26, np.float32), np.zeros(7, np.bool_), np.zeros(6, np.float32)
    observed[-1], legal[-1], state[-1] = obs, mask, hidden
    observed[:2] = obs if status == OUTPUT else 0
    engine = Engine(build.shared_library()).load(table.dump(draw_network(MIXED, Design(6), 1, scale=30.0), MIXED))
    after, logits = np.zeros(6, np.float32), np.zeros(7, np.float32)
    places = map(engine.at, (observed, legal, state, after, logits))
    answer = engine.c.kd_decide(engine.model, *places, 1)
    assert answer == (6 if status is None else status)


def test_the_runner_says_what_the_engine_found() -> None:
    runner = NativeRunner(draw_network(PLAIN, Design(2, RECURRENT), 1), PLAIN)
    obs, hidden = np.zeros(7, np.float32), np.zeros(2, np.float32)
    with pytest.raises(RunnerError, match="no action is legal"):
        runner.step(obs, np.zeros(3, np.bool_), hidden)
    with pytest.raises(RunnerError, match="an observation column is not finite"):
        runner.step(np.full(7, np.nan, np.float32), np.ones(3, np.bool_), hidden)
    with pytest.raises(RunnerError, match=r"the hidden state is not finite or leaves \[-1, 1\]"):
        runner.step(obs, np.ones(3, np.bool_), np.full(2, 1.5, np.float32))
    assert np.isfinite(runner.step(obs, np.ones(3, np.bool_), hidden)[0]).all()


# --- upsets ---


@pytest.mark.requirement("EX-6")
@pytest.mark.parametrize(
    ("spec", "design"),
    [
        (TINY, Design(4)),
        (TINY, Design(4, dtype=INT8)),
        (PLAIN, Design(5, RECURRENT)),
        (PLAIN, Design(5, RECURRENT, Activation.TANH, INT8)),
    ],
)
def test_no_flipped_bit_in_memory_is_acted_upon(spec: AgentSpec, design: Design) -> None:
    """Every single one of the storage, padding and all: never an answer; and the right one after a reload."""
    runner = NativeRunner(draw_network(spec, design, 1), spec)
    obs, mask = make_inputs(spec, 1, 5)
    hidden = np.linspace(-1, 1, design.hidden).astype(np.float32)
    right = [bits(each) for each in runner.step(obs[0], mask[0], hidden)]
    total = 32 * len(runner._storage)
    for bit in range(total):
        runner.flip(bit)
        with pytest.raises(UpsetError):
            runner.step(obs[0], mask[0], hidden)
        if bit % 50:
            runner.flip(bit + total)  # counted modulo their number: the same one back
        else:
            runner.reload()
            assert [bits(each) for each in runner.step(obs[0], mask[0], hidden)] == right
    runner.reload()
    assert [bits(each) for each in runner.step(obs[0], mask[0], hidden)] == right


@pytest.mark.requirement("EX-6")
@pytest.mark.parametrize(("first", "second"), [(0, 1), (5, 300), (340, 352)])
def test_a_scrub_finds_what_the_sum_does_not(first: int, second: int) -> None:
    """Two words changed so that their sum stays: found within a pass, of as many decisions as it takes."""
    runner = NativeRunner(draw_network(TINY, Design(4), 1), TINY)
    obs, mask = make_inputs(TINY, 1, 5)
    hidden, pass_length = np.zeros(4, np.float32), -(-len(runner._storage) // SCRUB_WORDS)
    for _ in range(3):  # the pass begins anywhere
        runner.step(obs[0], mask[0], hidden)
    runner._storage[[first]] += np.uint32(1)
    runner._storage[[second]] -= np.uint32(1)
    answered = 0
    with pytest.raises(UpsetError):
        for _ in range(2 * pass_length):
            runner.step(obs[0], mask[0], hidden)
            answered += 1
    assert answered < 2 * pass_length - 3
    if second * 4 > 3 * SCRUB_WORDS * 4:  # not yet seen by the pass that was under way
        assert answered <= pass_length - 3
    runner.reload()
    for _ in range(3 * pass_length):
        runner.step(obs[0], mask[0], hidden)


def test_scrubbing_in_any_portions_finds_nothing_where_nothing_is(engine: Engine) -> None:
    engine.load(make_table())
    for portion in (1, 7, 352, 353, 354, 2**32 - 1):
        for _ in range(800 // min(portion, 400) + 2):
            assert engine.c.kd_scrub(engine.model, ctypes.c_uint32(portion)) == 0
    assert engine.c.kd_scrub(engine.model, 0) == 0


def test_the_runner_flies_on_a_copy() -> None:
    """What it was made of and what it gave may be changed without harm."""
    network = draw_network(TINY, Design(4), 1)
    tensors = {name: tensor.copy() for name, tensor in network.tensors.items()}
    runner = NativeRunner(replace(network, tensors=tensors), TINY)
    obs, mask = make_inputs(TINY, 1, 5)
    hidden = np.zeros(4, np.float32)
    right = [bits(each) for each in runner.step(obs[0], mask[0], hidden)]
    for each in (*runner.step(obs[0], mask[0], hidden), *tensors.values()):
        each[:] = np.nan
    runner.reload()
    assert [bits(each) for each in runner.step(obs[0], mask[0], hidden)] == right
