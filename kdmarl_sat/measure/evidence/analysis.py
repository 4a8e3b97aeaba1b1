"""Static analysis of the C engine: cppcheck with its MISRA C:2012 addon, clang-tidy, and the compiler's own warnings.

A finding is an error, unless the code suppresses it with a reason (deviations.py). cppcheck and clang-tidy come with
the ``dev`` extra.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from onboard import build
from onboard.runners import BuildError

# Left out of clang-tidy: what the function of three counts says in its name, and what MISRA 10.1 checks by essential
# type, where clang-tidy sees the int that a uint16_t is promoted to.
_CHECKS = (
    "-*,bugprone-*,cert-*,clang-analyzer-*,misc-*,performance-*,portability-*,"
    "-bugprone-easily-swappable-parameters,-bugprone-signed-bitwise,-misc-include-cleaner"
)
_WARNINGS = (
    "-Wcast-qual",
    "-Wduplicated-branches",
    "-Wduplicated-cond",
    "-Wlogical-op",
    "-Wmissing-prototypes",
    "-Wnull-dereference",
    "-Wswitch-default",
    "-Wundef",
)
_CPPCHECK = (
    "--quiet",
    "--std=c99",
    "--enable=warning,style,performance,portability,information",
    "--check-level=exhaustive",
    "--addon=misra",
    "--inline-suppr",
    "--suppress=checkersReport",
    "--template={file}:{line}: {id} {message}",
    "--error-exitcode=1",
)


class EvidenceError(ValueError):
    """A tool that is missing, or that found something; the message is one sentence or the tool's own list."""


def sources(folder: Path = build.ENGINE) -> list[Path]:
    """The engine's translation units."""
    return sorted(folder.glob("kd_*.c"))


def tool(name: str) -> str:
    """Path of a program of this environment, or of the machine.

    Raises EvidenceError: there is none.
    """
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise EvidenceError(f'{name} is not installed: `pip install -c constraints.txt -e ".[dev]"` installs it')
    return found


def analyse(folder: Path = build.ENGINE) -> dict[str, str]:
    """Version of every tool that ran and found nothing; where no C compiler is installed, its warnings are left out.

    Raises EvidenceError: a tool found something, or is missing.
    """
    files = [path.name for path in sources(folder)]
    checked = {"cppcheck": _version(tool("cppcheck")), "clang-tidy": _version(tool("clang-tidy"))}
    _run([tool("cppcheck"), *_CPPCHECK, "-I.", *files], folder)
    tidy = [tool("clang-tidy"), "--quiet", f"--checks={_CHECKS}", "--warnings-as-errors=*", *files]
    _run([*tidy, "--", "-std=c99", "-ffreestanding", "-I."], folder)
    try:
        compiler = build.compiler()
    except BuildError:
        return checked
    said = build.version(compiler)
    extra = ("-O2", "-fanalyzer", *_WARNINGS) if "clang" not in said else ("-O2",)
    for name in files:
        _run([compiler, *build.STRICT, *extra, "-c", name, "-o", "/dev/null"], folder)
    return {**checked, "compiler": said}


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=600)
    if done.returncode != 0:
        raise EvidenceError(f"{Path(command[0]).name} found:\n{(done.stdout + done.stderr).strip()}")


def _version(program: str) -> str:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60, check=True)
    return next(line.strip() for line in done.stdout.splitlines() if any(letter.isdigit() for letter in line))
