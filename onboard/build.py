"""Builds the C engine where it is flown on this machine, once for each compiler and version of the sources."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from onboard.runners import BuildError

ENGINE = Path(__file__).with_name("engine")
FAST = ("-O3",)
SOURCES = {
    "kd_engine.c": FAST,
    "kd_linear.c": ("-O2", "-ftree-slp-vectorize", "-funroll-loops"),
    "kd_table.c": FAST,
    "kd_crc.c": FAST,
    "kd_sha256.c": FAST,
    "kd_seal.c": FAST,
}
# -ffp-contract=off: a fused multiply-add rounds once where two operations round twice, and changes the bits.
STRICT = (
    "-std=c99",
    "-ffp-contract=off",
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Wconversion",
    "-Wshadow",
    "-Wstrict-prototypes",
    "-Wcast-align",
    "-Werror",
)
WORKER = {**SOURCES, "targets/driver.c": FAST, "channel.c": FAST, "sandbox.c": FAST, "worker.c": FAST}
TABLE_BYTES = 3 << 20  # a worker's largest table: more than a network within the engine's maxima has
HARDENED = ("-fstack-protector-strong", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2", "-fPIE")
FREESTANDING = ("-ffreestanding", "-nostdlib")


@cache
def compiler() -> str:
    """The C compiler: $CC, or the first of cc, gcc and clang.

    Raises BuildError: there is none, or $CC names none.
    """
    chosen = os.environ.get("CC")
    if chosen and shutil.which(chosen) is None:
        raise BuildError(
            f"CC={chosen!r} is not allowed: it must be the name or path of a C compiler, without arguments"
        )
    for name in (chosen, "cc", "gcc", "clang"):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise BuildError(
        "no C compiler was found ($CC, cc, gcc, clang): install one, as by `apt-get install gcc`, "
        "or fly with runner=reference"
    )


@cache
def shared_library() -> Path:
    """The engine for ctypes, tuned to this processor; no libc or libm in it.

    Raises BuildError: it could not be built.
    """
    return build("libkd.so", SOURCES, (*STRICT, *FREESTANDING, "-march=native", "-fPIC"), ("-shared", *FREESTANDING))


@cache
def worker() -> Path:
    """The engine as a program of its own for runners/isolated.py: static, tuned to this processor; Linux only.

    Raises BuildError: it could not be built.
    """
    flags = (*STRICT, *HARDENED, "-march=native", f"-DKD_DRIVER_TABLE_BYTES={TABLE_BYTES}u")
    return build("kd_worker", WORKER, flags, ("-static-pie", "-Wl,-z,relro,-z,now,-z,noexecstack"))


def build(
    name: str,
    sources: Mapping[str, Sequence[str]],
    flags: Sequence[str],
    link: Sequence[str],
    program: str | None = None,
    folder: Path | None = None,
) -> Path:
    """Compile sources, each with flags of its own, and link them into a file of the cache folder, unless it is there
    already.

    Args:
        program: a compiler for another processor; None: this machine's.
        folder: of the sources; None: ``engine/``.

    Raises BuildError: the compiler is missing or fails, or the folder cannot be written.
    """
    program, folder = program or compiler(), folder or ENGINE
    key = [name, *flags, *link, *(f"{source} {' '.join(own)}" for source, own in sources.items())]
    try:
        digest = hashlib.sha256("\0".join((*key, version(program), _processor())).encode())
        for path in sorted(path for path in folder.rglob("*") if path.suffix in (".c", ".h", ".S", ".ld")):
            digest.update(path.read_bytes())
        target = _cache() / f"{digest.hexdigest()[:16]}-{name}"
        if target.exists():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=target.parent) as built:
            objects = []
            for source, own in sources.items():
                objects.append(f"{built}/{Path(source).stem}.o")
                _run(name, [program, *flags, *own, "-c", str(folder / source), "-o", objects[-1]])
            _run(name, [program, *objects, *link, "-o", f"{built}/{name}"])
            os.replace(f"{built}/{name}", target)
    except (OSError, RuntimeError, subprocess.TimeoutExpired) as error:  # RuntimeError: nobody's home folder
        raise BuildError(f"{name} could not be built: {error}") from error
    return target


def _run(name: str, command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=300)
    if done.returncode != 0:
        raise BuildError(f"{name} could not be built by {command[0]}: {' '.join(done.stderr.split())[:500]}")


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "kdmarl_sat" / "onboard"


@cache
def version(command: str) -> str:
    """The first line that it says of itself."""
    done = subprocess.run([command, "--version"], capture_output=True, text=True, errors="replace", timeout=60)
    return done.stdout.splitlines()[0] if done.stdout else command


@cache
def _processor() -> str:
    """What -march=native depends on: a cache folder may be shared by unlike machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line for line in lines if line.startswith("flags")), platform.machine())
