"""Stack, program memory and data memory of an exported student on an emulated core, from its linked image.

The student is the one C file of ``kdmarl-sat export c=``. Stack: the deepest chain of the call graph, which is read
from the disassembly, with each function's frame as the compiler says it (``-fstack-usage``); beside it stands what a
run wrote to (engine/targets/probe.c). ROM is code, constants and initial values; RAM is all static data. Start-up code,
the channel and the stack itself are in neither.
"""

from __future__ import annotations

import re
import struct
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdmarl_sat.measure.onboard import flow_graph
from onboard import build, emulation, export_c
from onboard.bundle import SatelliteBundle
from onboard.emulation import Target
from onboard.runners import BuildError

ENTRIES = ("student_init", "student_decide")
FAST = (*build.STRICT, *build.FREESTANDING, "-O3", "-fno-tree-loop-distribute-patterns", "-fno-pie")
_LINK = (*build.FREESTANDING, "-static", "-no-pie", "-Wl,--build-id=none", "-Wl,-z,noexecstack")
_SECTION = re.compile(r"^\s*\d+\s+(\S+)\s+([0-9a-f]+)\s.*\n\s+(.*)$", re.MULTILINE)
_NOT_RUN = ("eh_frame", "debug", "comment", "note", "attributes", "exidx", "extab")  # unwinding and notes


class FootprintError(ValueError):
    """An image that cannot be measured; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes. Stack: of student_init and of student_decide."""

    init_stack: int
    stack: int
    init_stack_seen: int | None  # by a run; what the painter's own frame takes is not seen; None: it does not run
    stack_seen: int | None
    rom: int
    ram: int


def measure(target: Target, satellite: SatelliteBundle) -> Footprint:
    """Raises BuildError: a package is missing, or it could not be built. FlowError: the code cannot be followed.
    FootprintError: a frame without a limit, recursion, or a student that does not run."""
    emulation.require(target)
    with tempfile.TemporaryDirectory(prefix="kdmarl_sat_footprint.") as name:
        folder = Path(name)
        export_c.write(folder, satellite, "a measurement")
        _run(target, folder, [*FAST, "-fstack-usage", "-c", "student.c", "-o", "student.o"])
        alone = (*_LINK, *target.flags, "student.o", f"-Wl,-e,{ENTRIES[1]}", "-o", "alone")
        _run(target, folder, alone, compiled=True)
        rom, ram = sections(_said(target, "objdump", "-h", str(folder / "alone")))
        sources = [*(f"targets/{each}" for each in target.start), "targets/probe.c"]
        script = ("-T", str(build.ENGINE / "targets" / target.script)) if target.script else ()
        files = [str(build.ENGINE / each) for each in sources]
        _run(target, folder, [*FAST, "-I.", f"-I{build.ENGINE / 'targets'}", *files, "student.o", *_LINK, *script,
                              "-o", "probe"])  # fmt: skip
        frames = usage((folder / "student.su").read_text())
        listing = _said(target, "objdump", "-d", "--no-show-raw-insn", str(folder / "probe"))
        family = target.compiler.partition("-")[0]
        bounds = [deepest(flow_graph.read(listing, family, entry), entry, frames) for entry in ENTRIES]
        seen = _seen(target, folder / "probe")
        for entry, bound, found in zip(ENTRIES, bounds, seen, strict=True):
            if found is not None and found > bound:
                raise FootprintError(f"{target.core}: {entry} wrote to {found} bytes of stack, above {bound}")
        return Footprint(bounds[0], bounds[1], seen[0], seen[1], rom, ram)


def usage(text: str) -> dict[str, int]:
    """Bytes of each function's frame, from what ``-fstack-usage`` writes; of the copies of one, the largest.

    Raises FootprintError: a frame whose size depends on data.
    """
    frames: dict[str, int] = {}
    for line in text.splitlines():
        place, size, kind = line.split("\t")
        name = _plain(place.rpartition(":")[2])
        if kind not in ("static", "dynamic,bounded"):
            raise FootprintError(f"the frame of {name} has no limit: {kind}")
        frames[name] = max(frames.get(name, 0), int(size))
    return frames


def _plain(name: str) -> str:
    """Without what the compiler calls a copy of a function, as in ``kd_dot.constprop.0``."""
    return name.partition(".")[0]


def deepest(graph: flow_graph.Graph, function: str, frames: Mapping[str, int]) -> int:
    """Bytes of stack that a call takes at the most: the frames of the deepest chain of calls.

    Raises FootprintError: recursion, or a function without a known frame.
    """
    owner = graph.owners()
    calls: dict[str, set[str]] = {name: set() for name in graph.entry}
    for node, callee in graph.calls:
        calls[owner[node]].add(callee)

    def below(name: str, above: tuple[str, ...]) -> int:
        if name in above:
            raise FootprintError(f"{name} calls itself")
        if _plain(name) not in frames:
            raise FootprintError(f"the frame of {name} is not known")
        return frames[_plain(name)] + max((below(callee, (*above, name)) for callee in calls[name]), default=0)

    return below(function, ())


def sections(headers: str) -> tuple[int, int]:
    """(ROM, RAM) in bytes, from ``objdump -h``; initial values of data are in both."""
    rom = ram = 0
    for name, size, flags in _SECTION.findall(headers):
        if "ALLOC" in flags and not any(each in name for each in _NOT_RUN):
            rom += int(size, 16) if "CONTENTS" in flags else 0
            ram += int(size, 16) if "READONLY" not in flags else 0
    return rom, ram


def _seen(target: Target, image: Path) -> tuple[int, int] | tuple[None, None]:
    """Bytes of stack that student_init and student_decide wrote to; None: the LEON3's start-up code has no handler for
    a call too deep for its register windows."""
    command = [*target.emulator, str(image)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    if b"Window Overflow" in done.stderr:
        return None, None
    if len(done.stdout) < 16:
        raise FootprintError(
            f"{target.core}: the student gave no answer: {done.stderr.decode(errors='replace')[-300:]}"
        )
    status, _, first, second = struct.unpack("<iIII", done.stdout[-16:])
    if status < 0:
        raise FootprintError(f"{target.core}: the student does not run: status {status}")
    return first, second


def _run(target: Target, folder: Path, arguments: Sequence[str], compiled: bool = False) -> None:
    command = [target.compiler, *(() if compiled else target.flags), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=300)
    if done.returncode != 0:
        raise BuildError(f"the student could not be built by {target.compiler}: {' '.join(done.stderr.split())[:500]}")


def _said(target: Target, program: str, *options: str) -> str:
    command = [target.compiler.removesuffix("gcc") + program, *options]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
