"""Emulated processors: how the C engine is built for each, and what runs it. Debian packages only."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from onboard import build, fields
from onboard.runners import BuildError

# No loop may become a call of memcpy or memset: an image links nothing but the engine, its driver and start-up code.
_FLAGS = (*build.STRICT, *build.FREESTANDING, "-fno-tree-loop-distribute-patterns", "-fno-pie", "-DKD_DRIVER_TESTS")
_NAMED = ("-g",)  # so that each instruction has a place in the source; the code is the same
# Scalar cores sum the weights in memory twice as fast with the loop unrolled.
_SOURCES = {**dict.fromkeys(build.SOURCES, build.FAST), "kd_table.c": (*build.FAST, "-funroll-loops")}
_LINK = (*build.FREESTANDING, "-static", "-no-pie", "-Wl,--build-id=none", "-Wl,-z,noexecstack")
_PACKAGES = {"qemu-aarch64": "qemu-user", "qemu-arm": "qemu-user", "qemu-ppc": "qemu-user", "qemu-riscv64": "qemu-user"}
_BARE = ("-display", "none", "-monitor", "none")
_SEMIHOSTED = (*_BARE, "-serial", "none", "-semihosting-config", "enable=on,target=native", "-kernel")


@dataclass(frozen=True, slots=True)
class Target:
    name: str
    core: str  # as its maker calls it
    compiler: str
    flags: tuple[str, ...]
    start: tuple[str, ...]  # start-up code and channel, of engine/targets
    script: str | None  # for the linker, of engine/targets
    emulator: tuple[str, ...]  # the image's path comes last

    @property
    def missing(self) -> tuple[str, ...]:
        """The Debian packages that this machine lacks for it."""
        programs = (self.compiler, self.emulator[0])
        lacking = [program for program in programs if shutil.which(program) is None]
        return tuple(_package(program) for program in lacking)


def _package(program: str) -> str:
    return f"gcc-{program.removesuffix('-gcc')}" if program.endswith("-gcc") else _PACKAGES.get(program, program)


_ARM, _LINUX = "arm-linux-gnueabihf-gcc", ("linux.c",)
_TARGETS = (
    Target(
        "cortex-m7",
        "Cortex-M7",
        _ARM,
        ("-mcpu=cortex-m7", "-mthumb", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard"),
        ("cortexm.c",),
        "cortexm.ld",
        ("qemu-system-arm", "-M", "mps2-an500", *_SEMIHOSTED),
    ),
    Target(
        "cortex-m4",
        "Cortex-M4F",
        _ARM,
        ("-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"),
        ("cortexm.c",),
        "cortexm.ld",
        ("qemu-system-arm", "-M", "mps2-an386", *_SEMIHOSTED),
    ),
    Target(
        "leon3",
        "LEON3",
        "sparc64-linux-gnu-gcc",
        ("-m32", "-mcpu=leon3"),
        ("leon3.c", "leon3_start.S"),
        "leon3.ld",
        ("qemu-system-sparc", "-M", "leon3_generic", *_BARE, "-serial", "stdio", "-kernel"),
    ),
    Target(
        "ppc750",
        "PowerPC 750",
        "powerpc-linux-gnu-gcc",
        ("-mcpu=750",),
        _LINUX,
        None,
        ("qemu-ppc", "-cpu", "750"),
    ),
    Target(
        "cortex-a9",
        "Cortex-A9",
        _ARM,
        ("-mcpu=cortex-a9", "-mfpu=vfpv3-d16", "-mfloat-abi=hard"),  # its NEON flushes denormals: not IEEE 754
        _LINUX,
        None,
        ("qemu-arm", "-cpu", "cortex-a9"),
    ),
    Target(
        "cortex-a53",
        "Cortex-A53",
        "aarch64-linux-gnu-gcc",
        ("-mcpu=cortex-a53",),
        _LINUX,
        None,
        ("qemu-aarch64", "-cpu", "cortex-a53"),
    ),
    Target(
        "rv64gc",
        "RV64GC",
        "riscv64-linux-gnu-gcc",
        ("-march=rv64gc", "-mabi=lp64d"),
        _LINUX,
        None,
        ("qemu-riscv64", "-cpu", "rv64"),
    ),
)
TARGETS = {target.name: target for target in _TARGETS}


def find(name: str) -> Target:
    """Raises ValueError: no target of that name."""
    if name not in TARGETS:
        fields.refuse("target", name, f"one of {', '.join(TARGETS)}")
    return TARGETS[name]


def require(target: Target) -> None:
    """Raises BuildError: this machine cannot build for the target or run it."""
    if target.missing:
        raise BuildError(f"target {target.name} needs Debian packages: apt-get install {' '.join(target.missing)}")


@cache
def image(target: Target) -> Path:
    """The engine and its driver for a target: nothing else is linked, so no heap, libc or libm.

    Raises BuildError: a package is missing, or it could not be built.
    """
    require(target)
    start = {f"targets/{source}": build.FAST for source in target.start}
    script = ("-T", str(build.ENGINE / "targets" / target.script)) if target.script else ()
    return build.build(
        target.name,
        {**_SOURCES, "targets/driver.c": build.FAST, **start},
        (*_FLAGS, *_NAMED, *target.flags),
        (*_LINK, *target.flags, *script),
        program=target.compiler,
    )


@cache
def counter() -> Path:
    """The plugin of qemu that counts instructions (engine/targets/counter.c).

    Raises BuildError: no compiler for this machine, or it could not be built.
    """
    return build.build("counter.so", {"targets/counter.c": ("-O2",)}, (*build.STRICT, "-fPIC"), ("-shared",))


@cache
def profiler() -> Path:
    """The plugin of qemu that counts each instruction by its address (engine/targets/profile.c).

    Raises BuildError: no compiler for this machine, or it could not be built.
    """
    return build.build("profile.so", {"targets/profile.c": ("-O2",)}, (*build.STRICT, "-fPIC"), ("-shared",))


def profiled(target: Target, function: str, profile: Path) -> list[str]:
    """What starts the emulator; the profile of each call of the function is written.

    Raises BuildError: as image and profiler.
    """
    program, *arguments = target.emulator
    place = _addresses(target, [function])[0].partition("=")[2]
    return [program, "-plugin", f"{profiler()},out={profile},function={place}", *arguments, str(image(target))]


def command(target: Target, counts: Path | None = None, functions: Sequence[str] = ()) -> list[str]:
    """What starts the emulator; with ``counts``, a line for each call of the functions is written there.

    Raises BuildError: as image and counter.
    """
    program, *arguments = target.emulator
    plugin = []
    if counts is not None:
        places = _addresses(target, functions)
        plugin = ["-plugin", ",".join((str(counter()), f"out={counts}", *places))]
    return [program, *plugin, *arguments, str(image(target))]


def _addresses(target: Target, functions: Sequence[str]) -> list[str]:
    """name=address of each function, as the counter wants them."""
    listed = listing(target, "nm")
    symbols = {line.split()[-1]: line.split()[0] for line in listed.splitlines() if len(line.split()) == 3}
    even = ~1  # Arm marks a Thumb function by an odd address
    return [f"{name}={int(symbols[name], 16) & even:#x}" for name in functions]


def listing(target: Target, program: str, *options: str) -> str:
    """What a program of the target's binutils says of its image.

    Raises BuildError: as image.
    """
    command = [target.compiler.removesuffix("gcc") + program, *options, str(image(target))]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def functions(target: Target, addresses: Sequence[int]) -> dict[int, str]:
    """The function of the source that each instruction of the image comes from, inlined ones by their own names.

    Raises BuildError: as image.
    """
    if not addresses:
        return {}
    said = listing(target, "addr2line", *(hex(each) for each in addresses), "-f", "-e")
    return dict(zip(addresses, said.splitlines()[::2], strict=True))


def versions(target: Target) -> dict[str, str]:
    """The compiler and emulator as they name themselves."""
    return {"compiler": build.version(target.compiler), "emulator": build.version(target.emulator[0])}


def install(packages: Sequence[str]) -> str:
    """Install Debian packages; what came of it, in one line. Never raises."""
    needed = f"apt-get install --no-install-recommends {' '.join(packages)}"
    if shutil.which("apt-get") is None:
        return f"this machine has no apt-get; on Debian or Ubuntu: {needed}"
    if os.geteuid() != 0:
        return f"only root installs packages: sudo {needed}"
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
        done = subprocess.run(["apt-get", "-qq", *arguments], capture_output=True, text=True, env=environment)
        if done.returncode != 0:
            return f"{needed} failed: {' '.join(done.stderr.split())[-300:]}"
    return f"installed {' '.join(packages)}"
