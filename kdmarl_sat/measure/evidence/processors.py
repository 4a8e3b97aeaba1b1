"""The same runs on unlike processors: this machine's, and those that qemu emulates with fewer instructions.

A game or a mission is trained and distilled with ``compute.reproducible=true``, and must leave the same weights,
flights and records on all of them. Of a game also what the same run leaves without that setting, and how long it takes.

qemu's user mode runs the programs that an emulated program starts on the machine's own processor. So a mission's
workers are started through a script that emulates them too, and the twin's compiler through one that names a processor.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from kdmarl_sat.measure.evidence import kills
from kdmarl_sat.measure.evidence.analysis import EvidenceError
from kdmarl_sat.reproducible import environment
from onboard import build

QEMU = "qemu-x86_64"
MODELS = MappingProxyType(  # qemu's -cpu -> gcc's -march: AVX, which JAX needs; AVX2 and FMA; all that qemu knows
    {"SandyBridge": "sandybridge", "Haswell": "haswell", "max": "haswell"}
)
HERE = "this processor"
RUNS = MappingProxyType(
    {
        "game": ("scenario=mpe_spread", "preset=smoke", "methods=[kd_lh]", "compute.threads=1"),
        "mission": (*kills.RUNS["mission"], "compute.workers=1"),
    }
)
# ``python -m kdmarl_sat.run`` whose worker processes are started by the program that the first argument names.
_START = (
    "import multiprocessing, runpy, sys; multiprocessing.set_executable(sys.argv.pop(1)); "
    "runpy.run_module('kdmarl_sat.run', run_name='__main__', alter_sys=True)"
)


def measure(kind: str, tell: Callable[[str], None]) -> dict[str, Any]:
    """``kind``: of run, a key of ``RUNS``.

    Raises EvidenceError: qemu is missing, a run fails, or bytes differ though they must not.
    """
    if shutil.which(QEMU) is None:
        raise EvidenceError(f"{QEMU} is missing: install it (Debian: qemu-user)")
    plain: dict[str, str] = {**os.environ}
    settings = {True: environment(plain)} | ({False: plain} if kind == "game" else {})
    found: dict[str, Any] = {"run": list(RUNS[kind]), "models": list(MODELS)}
    with tempfile.TemporaryDirectory(prefix="kdmarl_sat_processors.") as name:
        for reproducible, variables in settings.items():
            setting = f"compute.reproducible={str(reproducible).lower()}"
            kept: dict[str, Mapping[str, str]] = {}
            seconds: dict[str, float] = {}
            for model in (None, *MODELS):
                folder, key = Path(name) / f"{reproducible}-{model}", model or HERE
                start = time.monotonic()
                kept[key] = _run(folder, model, (*RUNS[kind], setting), variables)
                seconds[key] = round(time.monotonic() - start, 1)
                tell(f"{kind}, {setting}, {key}: {seconds[key]:.0f} s")
            expected = kept[HERE]
            unlike = {
                key: sum(each.get(file) != expected.get(file) for file in {*each, *expected})
                for key, each in kept.items()
            }
            found["fixed" if reproducible else "plain"] = {"unlike_files": unlike, "seconds": seconds}
            if reproducible and any(unlike.values()):
                raise EvidenceError(f"{kind}: with compute.reproducible=true files differ, by processor: {unlike}")
    return {**found, "files": len(expected)}


def _run(folder: Path, model: str | None, overrides: Sequence[str], variables: Mapping[str, str]) -> Mapping[str, str]:
    folder.mkdir()
    paths = os.pathsep.join(filter(None, (str(kills.ROOT), variables.get("PYTHONPATH", ""))))
    program, added = [sys.executable, "-m", "kdmarl_sat.run"], {"PYTHONPATH": paths}
    if model is not None:
        emulated = [QEMU, "-cpu", model, sys.executable]
        program = [*emulated, "-c", _START, _script(folder / "python", *emulated)]
        added["CC"] = _script(folder / "cc", build.compiler(), after=f"-march={MODELS[model]}")
        added["XDG_CACHE_HOME"] = str(folder / "compiled")
    done = subprocess.run(
        [*program, *overrides, *kills.PLACES],
        cwd=folder,
        env={**variables, **added},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise EvidenceError(f"a run under {model or 'no emulator'} failed: {done.stdout.strip()[-1000:]}")
    return kills.result(folder)


def _script(path: Path, *command: str, after: str = "") -> str:
    """A program that is a command with whatever arguments, and one more behind them."""
    path.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@" {after}\n')
    path.chmod(0o755)
    return str(path)
