"""Every single-bit flip of the students' weights: in their tables, and in memory as they fly."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kdmarl_sat.measure.onboard.record import Line, Part, Relation, Tell
from kdmarl_sat.measure.onboard.students import Student
from onboard import build, network, table
from onboard.network import Network
from onboard.runners import BuildError, UpsetError
from onboard.runners.native import NativeRunner
from onboard.spec import AgentSpec, BoolArray, FloatArray

AT_ONCE = 4096  # flips between two words to the user


def measure(students: Sequence[Student], most: int | None, tell: Tell) -> Part:
    """``most``: flips of each table and memory, drawn from a fixed seed; None: all of them."""
    try:
        validate = _validator()
    except BuildError as error:
        text = "flipped bits in the students' weights that are not detected"
        return Part((Line(text, None, Relation.EXACTLY, 0, note=str(error)),))
    cases = [(student, net) for student in students for net in student.networks.values()]
    found = {"tried in tables": 0, "passed kd_validate": 0, "passed table.load": 0, "tried in memory": 0, "answered": 0}
    for index, (student, net) in enumerate(cases):
        spec = student.satellite.spec
        data = table.dump(net, spec)
        start, text = index / len(cases), f"{spec.name}, {net.design.dtype.value}"
        bits = _chosen(8 * len(data), most)
        for at in range(0, len(bits), AT_ONCE):
            part = bits[at : at + AT_ONCE]
            by_engine, by_reader = flip_table(bytearray(data), part, net, spec, validate)
            found["passed kd_validate"] += by_engine
            found["passed table.load"] += by_reader
            tell(start + 0.8 * at / len(bits) / len(cases), f"table: {text}")
        found["tried in tables"] += len(bits)
        bits = _chosen(32 * network.count_storage_words(spec, net.design), most)
        golden = student.satellite.golden
        found["answered"] += flip_memory(
            NativeRunner(net, spec), bits, golden.obs[0], golden.mask[0], net.design.hidden
        )
        found["tried in memory"] += len(bits)
        tell((index + 1) / len(cases), f"memory: {text}")
    how = "every single bit" if most is None else f"at most {most:,} bits of each, drawn from a fixed seed"
    tables, memory = (f"of {found[f'tried in {where}']:,} flips tried, {how}" for where in ("tables", "memory"))
    return Part(
        (
            Line(
                "flipped bits in weight tables that kd_validate passes",
                *_none(found["passed kd_validate"]),
                note=tables,
            ),
            Line(
                "flipped bits in weight tables that the reader passes", *_none(found["passed table.load"]), note=tables
            ),
            Line("flipped bits in weights in memory that a decision acts upon", *_none(found["answered"]), note=memory),
        ),
        {**found, "networks": len(cases), "all": most is None},
    )


def _none(count: int) -> tuple[int, Relation, float]:
    return count, Relation.EXACTLY, 0


def _chosen(bits: int, most: int | None) -> NDArray[np.int64]:
    if most is None or most >= bits:
        return np.arange(bits)
    return np.sort(np.random.default_rng(0).choice(bits, most, replace=False))


def flip_table(
    data: bytearray, bits: NDArray[np.int64], net: Network, spec: AgentSpec, validate: ctypes._FuncPointer
) -> tuple[int, int]:
    """How many of the flips pass kd_validate, and how many table.load; ``data`` is a table."""
    by_engine = by_reader = 0
    here = (ctypes.c_char * len(data)).from_buffer(data)
    for bit in bits.tolist():
        data[bit // 8] ^= 1 << bit % 8
        by_engine += validate(here, len(data)) >= 0
        try:
            table.load(bytes(data), spec, net.design)
            by_reader += 1
        except ValueError:
            pass
        data[bit // 8] ^= 1 << bit % 8
    return by_engine, by_reader


def flip_memory(runner: NativeRunner, bits: NDArray[np.int64], obs: FloatArray, mask: BoolArray, hidden: int) -> int:
    """How many of the flips a decision acts upon."""
    state, answered = np.zeros(hidden, np.float32), 0
    runner.step(obs, mask, state)
    for bit in bits.tolist():
        runner.flip(bit)
        try:
            runner.step(obs, mask, state)
            answered += 1
        except UpsetError:
            pass
        runner.flip(bit)
    runner.step(obs, mask, state)  # all of them were taken back
    return answered


def _validator() -> ctypes._FuncPointer:
    """The engine's check of a table.

    Raises BuildError: no compiler.
    """
    validate = ctypes.CDLL(str(build.shared_library())).kd_validate
    validate.argtypes, validate.restype = [ctypes.c_void_p, ctypes.c_uint32], ctypes.c_int32
    return validate
