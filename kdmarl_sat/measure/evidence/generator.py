"""Our exported student beside what a general code generator makes of its ONNX graph: emx-onnx-cgen, on the same
decisions, in one run, with the same compilers and flags.

emx-onnx-cgen (PyPI) is a program of its own, found on PATH; nothing of it is imported or kept. What it writes calls
expf and tanhf, so it needs a C library: glibc where a core is emulated with Linux, newlib on a bare Cortex-M, and there
is none for the LEON3. Its graph has no check of the weights and chooses no action.
"""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kdmarl_sat.measure.evidence.analysis import EvidenceError
from kdmarl_sat.measure.onboard import bound, footprint
from onboard import build, emulation, export_c
from onboard.bundle import SatelliteBundle
from onboard.emulation import Target
from onboard.spec import AgentSpec
from training.missions.export_onnx import export_onnx

PROGRAM = "emx-onnx-cgen"
FLAGS = ("-std=c99", "-ffp-contract=off", "-w")
# Neither is best for both: of each engine and core the one that takes fewer instructions counts, on the host less time.
OPTIMISED = (("-O3",), ("-O2", "-ftree-slp-vectorize", "-funroll-loops"))
SIZED = "cortex-m7"  # whose linked image is measured: bare metal, with all of a C library that it calls
_BARE = "arm-none-eabi-gcc"
_PACKAGES = {
    "arm-linux-gnueabihf-gcc": ("libc6-dev-armhf-cross", "/usr/arm-linux-gnueabihf/lib/libm.a"),
    "aarch64-linux-gnu-gcc": ("libc6-dev-arm64-cross", "/usr/aarch64-linux-gnu/lib/libm.a"),
    "powerpc-linux-gnu-gcc": ("libc6-dev-powerpc-cross", "/usr/powerpc-linux-gnu/lib/libm.a"),
    "riscv64-linux-gnu-gcc": ("libc6-dev-riscv64-cross", "/usr/riscv64-linux-gnu/lib/libm.a"),
}
ENGINES = ("ours", "emx")


@dataclass(frozen=True, slots=True)
class Built:
    """The sources of both engines in a folder, with the questions."""

    folder: Path
    spec: AgentSpec
    hidden: int
    questions: int

    @property
    def answer_bytes(self) -> int:
        return 4 * (len(self.spec.actions) + self.hidden)


def program() -> str:
    """Raises EvidenceError: it is not on PATH."""
    found = shutil.which(PROGRAM)
    if found is None:
        raise EvidenceError(f"{PROGRAM} is not on PATH: `pip install {PROGRAM}` in an environment of its own has it")
    return found


def version() -> str:
    """As its package says."""
    python = Path(program()).resolve().with_name("python")
    code = f"from importlib.metadata import version; print(version({PROGRAM!r}))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def measure(satellite: SatelliteBundle) -> dict[str, Any]:
    """Host time [ns], instructions by core, bytes of the linked image, and which targets give the host's bits.

    Raises EvidenceError: the program is missing, or one of the two does not run. BuildError: no C compiler.
    """
    with tempfile.TemporaryDirectory(prefix="kdmarl_sat_generator.") as name:
        built = _sources(Path(name), satellite)
        answers = {engine: _run([_host(built, engine, OPTIMISED[0])], 0) for engine in ENGINES}
        values = {engine: np.frombuffer(answers[engine], "<f4").reshape(built.questions, -1) for engine in ENGINES}
        size = np.maximum(1.0, np.abs(values["ours"]).max(axis=1, keepdims=True))
        apart = (np.abs(values["ours"].astype(np.float64) - values["emx"]) / size).max()
        timed = {engine: _timed(built, engine) for engine in ENGINES}
        cores = {target.name: _core(target, built, answers) for target in emulation.TARGETS.values()}
        return {
            "student": satellite.spec.name,
            "units": built.hidden,
            "dtype": satellite.network.design.dtype.value,
            "questions": built.questions,
            "largest_difference": float(apart),
            "host_ns": timed,
            "cores": cores,
            "image_bytes": _sizes(built),
        }


def _sources(folder: Path, satellite: SatelliteBundle) -> Built:
    spec, hidden = satellite.spec, satellite.network.design.hidden
    export_c.write(folder, satellite, "a measurement")
    (folder / "model.onnx").write_bytes(export_onnx(satellite))
    _say(
        [program(), "compile", "--large-temp-threshold", "0", "--model-name", "model", "model.onnx", "model.c"], folder
    )
    asked = bound.adversarial(spec)
    rows = [",".join(f"{float(value).hex()}f" for value in obs) for obs, _ in asked]
    masks = [",".join(str(int(each)) for each in mask) for _, mask in asked]
    text = (
        f"#define QUESTIONS {len(asked)}\n#define ACTIONS {len(spec.actions)}\n#define HIDDEN {hidden}\n"
        "#ifdef OURS\n#define LEGAL uint8_t\n#else\n#define LEGAL bool\n#endif\n"
        f"static const float asked_obs[QUESTIONS][{spec.obs_size}] = {{{','.join(f'{{{row}}}' for row in rows)}}};\n"
        f"static const LEGAL asked_mask[QUESTIONS][ACTIONS] = {{{','.join(f'{{{row}}}' for row in masks)}}};\n"
    )
    (folder / "questions.h").write_text(text)
    return Built(folder, spec, hidden, len(asked))


def _host(built: Built, engine: str, optimised: Sequence[str], *extra: str) -> str:
    """A program of this machine."""
    return _link(built, engine, build.compiler(), (*optimised, "-march=native", *extra), f"host{''.join(extra)}")


def _timed(built: Built, engine: str) -> dict[str, Any]:
    """ns of a decision, of the network alone and as it flies: least and median of batches."""
    found = [(_times([_host(built, engine, each, "-DTIMED")]), " ".join(each)) for each in OPTIMISED]
    times, flags = min(found, key=lambda each: each[0]["decide"]["median"])
    return {**times, "flags": flags}


def _link(built: Built, engine: str, compiler: str, flags: Sequence[str], name: str) -> str:
    image = built.folder / f"{name}_{engine}"
    own = ("-DOURS",) if engine == "ours" else ()
    include = ["-I.", f"-I{build.ENGINE / 'targets'}"]
    source = str(build.ENGINE / "targets" / "beside.c")
    _say([compiler, *FLAGS, *own, *include, *flags[:-1], source, *flags[-1:], "-o", str(image), "-lm"], built.folder)
    return str(image)


def _core(target: Target, built: Built, answers: dict[str, bytes]) -> dict[str, Any]:
    """Of each engine: mean and most instructions, and how many decisions have the host's bits."""
    found = _toolchain(target)
    if isinstance(found, str):
        return {"missing": found}
    compiler, flags = found
    result: dict[str, Any] = {}
    for engine in ENGINES:
        each = [_counted(target, built, engine, answers[engine], compiler, own, flags) for own in OPTIMISED]
        result[engine] = min(each, key=lambda found: int(found.get("decide", found["alone"])["mean"]))
    return result


def _counted(
    target: Target,
    built: Built,
    engine: str,
    expected: bytes,
    compiler: str,
    optimised: Sequence[str],
    flags: Sequence[str],
) -> dict[str, Any]:
    image = _link(built, engine, compiler, (*optimised, *target.flags, *flags), target.name)
    lines = built.folder / f"{target.name}_{engine}.counts"
    lines.unlink(missing_ok=True)
    nm = subprocess.run([compiler.removesuffix("gcc") + "nm", image], capture_output=True, text=True, check=True)
    places = {line.split()[-1]: int(line.split()[0], 16) & ~1 for line in nm.stdout.splitlines() if line[:1] != " "}
    names = ("alone", "decide") if engine == "ours" else ("alone",)
    plugin = ",".join((f"{emulation.counter()},out={lines}", *(f"{each}={places[each]:#x}" for each in names)))
    emulator, *arguments = target.emulator
    said, size = _run([emulator, "-plugin", plugin, *arguments, image], len(expected)), built.answer_bytes
    same = sum(said[at : at + size] == expected[at : at + size] for at in range(0, len(expected), size))
    counted = [line.split() for line in lines.read_text().splitlines()]
    result: dict[str, Any] = {"same_bits_as_host": same, "flags": " ".join(optimised)}
    for each in names:
        counts = [int(count) for name, count in counted if name == each][: built.questions]
        result[each] = {"mean": round(statistics.fmean(counts)), "most": max(counts)}
    return result


def _toolchain(target: Target) -> tuple[str, tuple[str, ...]] | str:
    """Compiler and flags for a program with a C library, or what is missing."""
    if shutil.which(target.emulator[0]) is None:
        return f"{target.emulator[0]} not installed"
    if target.script is None:
        package, library = _PACKAGES[target.compiler]
        if shutil.which(target.compiler) is None or not Path(library).exists():
            return f"{target.compiler} or {package} not installed"
        return target.compiler, ("-static",)
    if target.compiler.startswith("sparc"):
        return "Debian has no C library for it"
    if shutil.which(_BARE) is None:
        return "gcc-arm-none-eabi or libnewlib-arm-none-eabi not installed"
    start = [str(build.ENGINE / "targets" / each) for each in target.start]
    script = build.ENGINE / "targets" / target.script
    return _BARE, ("-DBARE", "-ffreestanding", "-nostartfiles", *start, f"-Wl,-T,{script}")


def _sizes(built: Built) -> dict[str, Any]:
    """ROM and RAM of each engine on SIZED, linked with what it calls of the C library and nothing that it does not."""
    target = emulation.find(SIZED)
    if shutil.which(_BARE) is None:
        return {"missing": "gcc-arm-none-eabi not installed"}
    sizes = {}
    for engine, source, entries in (
        ("ours", "student.c", ("student_decide", "student_init")),
        ("emx", "model.c", ("model",)),
    ):
        keep = [f"-Wl,-u,{each}" for each in entries]
        lean = ("-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-nostartfiles", f"-Wl,-e,{entries[0]}")
        found = []
        for each in OPTIMISED:
            image = str(built.folder / f"alone_{engine}")
            _say([_BARE, *FLAGS, *each, *target.flags, *lean, *keep, source, "-o", image, "-lm"], built.folder)
            headers = subprocess.run(["arm-none-eabi-objdump", "-h", image], capture_output=True, text=True, check=True)
            found.append(footprint.sections(headers.stdout))
        rom, ram = min(found)
        sizes[engine] = {"rom": rom, "ram": ram, "source": (built.folder / source).stat().st_size}
    return sizes


def _times(command: Sequence[str]) -> dict[str, dict[str, float]]:
    """ns of a decision, over batches."""
    lines = [line.split() for line in _run(command, 0).decode().splitlines()]
    result = {}
    for name in ("alone", "decide"):
        times = [float(time) for each, time in lines if each == name]
        result[name] = {"least": min(times), "median": statistics.median(times)}
    return result


def _run(command: Sequence[str], size: int) -> bytes:
    """What a program writes; its last bytes, where a size is given: start-up code writes something before."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=300)
    if done.returncode != 0 or len(done.stdout) < size:
        told = done.stderr.decode(errors="replace").strip()[-300:]
        raise EvidenceError(f"{Path(command[-1]).name} ended with {done.returncode}: {told}")
    return done.stdout[-size:] if size else done.stdout


def _say(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=300)
    if done.returncode != 0:
        told = re.sub(r"\s+", " ", done.stderr + done.stdout)[-500:]
        raise EvidenceError(f"{Path(command[0]).name} failed: {told}")
