"""One satellite as one C file: it compiles without a warning, gives the reference's bits, and refuses what it must."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onboard_samples import BLIND, PLAIN, TINY, draw_network, fly_golden, make_inputs, make_satellite, write_sample

from kdmarl_sat.bundles import doors, export
from onboard import build, export_c, golden, table
from onboard.bundle import SatelliteBundle
from onboard.network import Activation, Architecture, Design, Dtype
from onboard.runners import BuildError
from onboard.spec import AgentSpec, Block
from scenarios.ranges import ConfigError

try:
    COMPILER = build.compiler()
except BuildError as error:
    pytest.skip(str(error), allow_module_level=True)

FLAGS = ("-std=c99", "-ffreestanding", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
NO_SLOTS = AgentSpec("n", "h", (Block("all", 4, "1", 1.0),), ("charge", "drift"), 0)
SATELLITES = {
    "opportunity float32": fly_golden(TINY, draw_network(TINY, Design(13), 1), 1),
    "opportunity int8": fly_golden(TINY, draw_network(TINY, Design(16, dtype=Dtype.INT8), 2), 2),
    "without slot columns": fly_golden(BLIND, draw_network(BLIND, Design(8), 3), 3),
    "without slots": fly_golden(NO_SLOTS, draw_network(NO_SLOTS, Design(8), 4), 4),
    "recurrent int8": fly_golden(
        PLAIN, draw_network(PLAIN, Design(7, Architecture.RECURRENT, Activation.TANH, Dtype.INT8), 5), 5
    ),
}
UPSET, OUTPUT, MASK, OBSERVATION, CRC, SHAPE, ARGUMENT = -13, -12, -10, -9, -5, -6, -1


def compiled(folder: Path, *sources: Path | str, flags: Sequence[str] = FLAGS, optimise: str = "-O1") -> Path:
    library = folder / "program.so"
    command = [COMPILER, *flags, optimise, "-ffp-contract=off", "-fPIC", "-shared", *map(str, sources)]
    done = subprocess.run([*command, "-o", str(library)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return library


class Student:
    """The exported functions."""

    def __init__(self, library: Path, satellite: SatelliteBundle) -> None:
        self.library, self._path = ctypes.CDLL(str(library)), library
        self.hidden = np.zeros(satellite.network.design.hidden, np.float32)
        self.logits = np.zeros(len(satellite.spec.actions), np.float32)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.library, f"student_{name}")

    def decide(self, obs: np.ndarray, mask: np.ndarray) -> int:
        arrays = (np.ascontiguousarray(obs), np.ascontiguousarray(mask), self.hidden, self.logits)
        return int(self.library.student_decide(*(ctypes.c_void_p(array.ctypes.data) for array in arrays)))

    def memory(self, name: str, size: int) -> Any:
        """A static array, found by the library's symbols."""
        listed = subprocess.run(["nm", str(self._path)], capture_output=True, text=True, check=True).stdout
        places = {line.split()[-1]: int(line.split()[0], 16) for line in listed.splitlines() if len(line.split()) == 3}
        base = ctypes.cast(self.library.student_decide, ctypes.c_void_p).value
        assert base is not None
        return (ctypes.c_uint8 * size).from_address(base - places["student_decide"] + places[name])


def exported(folder: Path, satellite: SatelliteBundle) -> Student:
    _, source = export_c.write(folder, satellite, "a test")
    return Student(compiled(folder, source), satellite)


@pytest.mark.requirement("EX-20")
@pytest.mark.parametrize("name", SATELLITES)
def test_the_bits_are_the_references(tmp_path: Path, name: str) -> None:
    satellite = SATELLITES[name]
    student = exported(tmp_path, satellite)
    obs, mask = make_inputs(satellite.spec, 200, seed=11)
    assert student.decide(obs[0], mask[0]) == ARGUMENT  # not initialised
    assert student.init() == 0
    expected = golden.record(satellite.network, satellite.spec, obs, mask)
    for t in range(len(obs)):
        assert student.decide(obs[t], mask[t]) == expected.action[t]
        assert student.logits.view(np.uint32).tolist() == expected.logits[t].view(np.uint32).tolist()


def test_it_needs_nothing_of_a_library(tmp_path: Path) -> None:
    _, source = export_c.write(tmp_path, SATELLITES["opportunity float32"], "a test")
    listed = subprocess.run(["nm", "-u", compiled(tmp_path, source, optimise="-Os")], capture_output=True, text=True)
    wanted = {line.split()[-1].partition("@")[0] for line in listed.stdout.splitlines()}
    unasked = {"_ITM_deregisterTMCloneTable", "_ITM_registerTMCloneTable", "__cxa_finalize", "__gmon_start__"}
    assert wanted - unasked <= {"memset", "memcpy"}  # gcc asks for these even of freestanding programs


@pytest.mark.skipif(shutil.which("arm-linux-gnueabihf-gcc") is None, reason="no cross compiler")
def test_it_compiles_for_a_microcontroller(tmp_path: Path) -> None:
    _, source = export_c.write(tmp_path, SATELLITES["opportunity int8"], "a test")
    processor = ("-mcpu=cortex-m7", "-mthumb", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard")
    subprocess.run(
        ["arm-linux-gnueabihf-gcc", *FLAGS, *processor, "-c", source, "-o", tmp_path / "student.o"], check=True
    )


def test_bad_input_is_an_error_and_the_memory_stays(tmp_path: Path) -> None:
    satellite = SATELLITES["opportunity int8"]
    student = exported(tmp_path, satellite)
    obs, mask = make_inputs(satellite.spec, 3, seed=12)
    assert student.init() == 0
    assert student.decide(obs[0], mask[0]) >= 0
    before = student.hidden.copy()
    assert before.any()
    bad = obs[1].copy()
    bad[2] = np.nan
    assert student.decide(bad, mask[1]) == OBSERVATION
    assert student.decide(obs[1], np.zeros_like(mask[1])) == MASK
    assert student.hidden.tolist() == before.tolist()


def test_an_upset_weight_is_named_and_init_mends_it(tmp_path: Path) -> None:
    satellite = SATELLITES["opportunity float32"]
    student = exported(tmp_path, satellite)
    obs, mask = make_inputs(satellite.spec, 1, seed=13)
    assert student.init() == 0 and student.scrub(10**6) == 0
    memory = student.memory("student_storage", 400)
    for byte, bit in ((0, 0), (101, 7), (399, 3)):
        memory[byte] ^= 1 << bit
        before = student.hidden.copy()
        assert student.decide(obs[0], mask[0]) == UPSET and student.scrub(16) == UPSET
        assert student.hidden.tolist() == before.tolist()
        assert student.init() == 0
        assert student.decide(obs[0], mask[0]) >= 0


def test_another_table_of_the_same_shape_is_taken(tmp_path: Path) -> None:
    satellite = SATELLITES["opportunity float32"]
    student, other = exported(tmp_path, satellite), draw_network(TINY, Design(13), 77)
    data = table.dump(other, TINY)
    assert student.load(data, len(data)) == ARGUMENT  # not initialised
    assert student.init() == 0 and student.validate(data, len(data)) == 0 and student.load(data, len(data)) == 0
    obs, mask = make_inputs(TINY, 20, seed=14)
    expected = golden.record(other, TINY, obs, mask)
    assert [student.decide(*pair) for pair in zip(obs, mask, strict=True)] == expected.action.tolist()
    assert student.logits.tolist() == expected.logits[-1].tolist()


def test_a_damaged_table_or_one_of_another_shape_is_refused(tmp_path: Path) -> None:
    satellite = SATELLITES["opportunity float32"]
    student = exported(tmp_path, satellite)
    assert student.init() == 0
    good = table.dump(satellite.network, satellite.spec)
    for at in (20, 60, len(good) - 1):
        damaged = bytearray(good)
        damaged[at] ^= 4
        assert student.validate(bytes(damaged), len(damaged)) == CRC
        assert student.load(bytes(damaged), len(damaged)) == CRC
    smaller = table.dump(draw_network(TINY, Design(12), 1), TINY)
    swapped = replace(TINY, blocks=(TINY.blocks[0], TINY.blocks[2], TINY.blocks[1]))  # as long, and sorted otherwise
    for data in (smaller, table.dump(draw_network(swapped, Design(13), 1), swapped)):
        assert student.validate(data, len(data)) == SHAPE and student.load(data, len(data)) == SHAPE
    # Nothing was changed.
    assert student.decide(satellite.golden.obs[0], satellite.golden.mask[0]) == satellite.golden.action[0]
    assert student.logits.tolist() == satellite.golden.logits[0].tolist()


@pytest.mark.requirement("EX-2")
def test_a_machine_that_gives_other_bits_never_decides(tmp_path: Path) -> None:
    satellite = SATELLITES["opportunity float32"]
    _, source = export_c.write(tmp_path, satellite, "a test")
    text = source.read_text()
    literal = re.search(r"golden_logits\[.*\n    \{\n +(-?0x[^,]*),", text)
    assert literal is not None
    last_bit = np.nextafter(satellite.golden.logits[0, 0], np.float32(100))
    source.write_text(text[: literal.start(1)] + f"{float(last_bit).hex()}f" + text[literal.end(1) :])
    student = Student(compiled(tmp_path, source), satellite)
    assert student.init() == OUTPUT
    assert student.decide(satellite.golden.obs[0], satellite.golden.mask[0]) == ARGUMENT
    data = table.dump(satellite.network, satellite.spec)
    assert student.load(data, len(data)) == ARGUMENT


def test_no_text_of_a_bundle_leaves_its_comment(tmp_path: Path) -> None:
    hostile = Block("x*/int evil(void);/*", 3, "*//**/ é ??/ \\", 1.0)
    spec = replace(TINY, blocks=(hostile, *TINY.blocks[1:]), fixed_actions=("charge*/#error",))
    network = draw_network(spec, Design(4), 6)
    satellite = replace(fly_golden(TINY, network, 6), spec=spec, fallback=("charge*/#error",))
    _, source = export_c.write(tmp_path, satellite, "bundle */\n#error evil\n/*")
    student = Student(compiled(tmp_path, source), satellite)
    assert student.init() == 0 and not hasattr(student.library, "evil")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "student.c").write_text("mine")
    with pytest.raises(export_c.ExportError, match=r"student\.c already exists"):
        export_c.write(tmp_path, make_satellite(), "a test")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["student.c"]
    assert (tmp_path / "student.c").read_text() == "mine"


# --- the command ---


def test_the_command_writes_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = write_sample(tmp_path / "bundle")
    order = [f"bundle={bundle}", "satellite=probe", f"c={tmp_path / 'c'}", f"onnx={tmp_path / 'probe.onnx'}"]
    doors.export(order)
    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        str(tmp_path / "c" / "student.h"),
        str(tmp_path / "c" / "student.c"),
        str(tmp_path / "probe.onnx"),
    ]
    with pytest.raises(SystemExit) as ended:
        doors.export(order)
    assert ended.value.code == 1
    assert re.fullmatch(r"kdmarl-sat export: \S+student\.h already exists .*\n", capsys.readouterr().err)


def test_what_is_refused_leaves_nothing_half_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = write_sample(tmp_path / "bundle")
    (tmp_path / "file").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    for c, onnx, said in (
        ("c", "file", rf"onnx={tmp_path}/file already exists and is not overwritten"),
        ("c", "file/x.onnx", rf"onnx={tmp_path}/file/x.onnx is not allowed: .* \(Not a directory\)"),
        ("file", "x.onnx", rf"c={tmp_path}/file is not allowed: it must be a folder .* \(Not a directory\)"),
        ("file/c", "x.onnx", rf"c={tmp_path}/file/c is not allowed: it must be a folder .* \(Not a directory\)"),
    ):
        with pytest.raises(SystemExit) as ended:
            doors.export([f"bundle={bundle}", "satellite=probe", f"c={tmp_path / c}", f"onnx={tmp_path / onnx}"])
        assert ended.value.code == 2
        assert re.fullmatch(rf"kdmarl-sat export: {said}\n", capsys.readouterr().err)
        assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["bundle=b", "satelite=s"], "satelite is not a known key \\(did you mean satellite\\?\\)"),
        (["bundle=b", "c=d"], "satellite is not set"),
        (["bundle=b", "satellite=s"], "at least one of c=FOLDER and onnx=FILE"),
        (["bundle=b", "satellite=s", "c="], "'c=' is not understood"),
        (["bundle=b", "bundle=b", "satellite=s", "c=d"], "must be given once"),
    ],
)
def test_a_bad_order_is_one_sentence(arguments: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        export.Order.parse(arguments)


def test_an_unknown_satellite_is_refused_by_name(tmp_path: Path) -> None:
    bundle = write_sample(tmp_path / "bundle")
    order = export.Order(bundle=str(bundle), satellite="scuot", c=str(tmp_path / "c"))
    with pytest.raises(ConfigError, match=r"satellite='scuot' is not in the bundle: .* scout, relay-1, probe"):
        export.export(order)
