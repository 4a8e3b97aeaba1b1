"""The same run on unlike processors: this machine's, and those that qemu emulates with fewer instructions.

A game is trained and distilled in one process, with ``compute.reproducible=true``, and must leave the same weights and
records on all of them. Beside it, what the same run leaves without that setting. Missions start worker processes, which
qemu's user mode would run on the machine's own processor: their libraries are the same, but they are not run here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kdmarl_sat.measure.evidence.analysis import EvidenceError
from kdmarl_sat.measure.evidence.kills import PLACES, ROOT, result
from kdmarl_sat.reproducible import environment

QEMU = "qemu-x86_64"
MODELS = ("SandyBridge", "Haswell", "max")  # AVX, which JAX needs; AVX2 and FMA; all that qemu knows
RUN = ("scenario=mpe_spread", "preset=smoke", "methods=[kd_lh]", "compute.threads=1")


def measure(tell: Callable[[str], None]) -> dict[str, Any]:
    """Raises EvidenceError: qemu is missing, a run fails, or bytes differ though they must not."""
    if shutil.which(QEMU) is None:
        raise EvidenceError(f"{QEMU} is missing: install it (Debian: qemu-user)")
    plain: dict[str, str] = {**os.environ}
    fixed = environment(plain)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="kdmarl_sat_processors.") as name:
        for reproducible, variables in ((True, fixed), (False, plain)):
            told: dict[str, Mapping[str, str]] = {}
            seconds: dict[str, float] = {}
            for model in (None, *MODELS):
                folder, key = Path(name) / f"{reproducible}-{model}", model or "this processor"
                start = time.monotonic()
                told[key] = _run(folder, model, reproducible, variables)
                seconds[key] = round(time.monotonic() - start, 1)
                tell(f"reproducible={str(reproducible).lower()}, {key}: {seconds[key]:.0f} s")
            expected = told["this processor"]
            unlike = {key: sum(each.get(file) != expected[file] for file in expected) for key, each in told.items()}
            found["fixed" if reproducible else "plain"] = {"unlike_files": unlike, "seconds": seconds}
            if reproducible and any(unlike.values()):
                raise EvidenceError(f"with compute.reproducible=true files differ, by processor: {unlike}")
    return {"run": list(RUN), "models": list(MODELS), "files": len(expected), **found}


def _run(folder: Path, model: str | None, reproducible: bool, variables: Mapping[str, str]) -> dict[str, str]:
    folder.mkdir()
    paths = os.pathsep.join(filter(None, (str(ROOT), variables.get("PYTHONPATH", ""))))
    under = [] if model is None else [QEMU, "-cpu", model]
    setting = f"compute.reproducible={str(reproducible).lower()}"
    done = subprocess.run(
        [*under, sys.executable, "-m", "kdmarl_sat.run", *RUN, setting, *PLACES],
        cwd=folder,
        env={**variables, "PYTHONPATH": paths},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise EvidenceError(f"a run under {model or 'no emulator'} failed: {done.stdout.strip()[-1000:]}")
    return result(folder)
