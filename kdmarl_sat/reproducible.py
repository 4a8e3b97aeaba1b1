"""Results that do not depend on the processor: the program started anew with its libraries' kernels fixed.

These libraries document a setting, and all are set: PyTorch (``ATEN_CPU_CAPABILITY``), Intel MKL (conditional numerical
reproducibility, ``MKL_CBWR``), oneDNN (``ONEDNN_MAX_CPU_ISA``), OpenBLAS of numpy and scipy (``OPENBLAS_CORETYPE``),
numpy (``NPY_DISABLE_CPU_FEATURES``), the C library (``GLIBC_TUNABLES``) and XLA (``--xla_cpu_max_isa``).

One function has no setting: MKL's square root. Its results differ between an AMD processor and an emulated one under
every setting above. ``training.exact`` and Adam's fused form (``training.optimisation``) do not use it.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from scenarios.ranges import ConfigError
from training import kernels

SETTINGS = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OPENBLAS_CORETYPE": "Nehalem",
    "OPENBLAS_NUM_THREADS": "1",
    kernels.VARIABLE: "1",
}
_GLIBC = "glibc.cpu.hwcaps=-AVX2_Usable,-AVX2,-FMA,-FMA4,-AVX512F,-AVX512VL"
_XLA = "--xla_cpu_max_isa=SSE4_2"


def environment(before: Mapping[str, str]) -> dict[str, str]:
    """An environment with the settings added; what is in it stays but for the variables that are set."""
    dispatched: list[str] = import_module("numpy._core._multiarray_umath").__cpu_dispatch__
    joined = {"GLIBC_TUNABLES": (":", _GLIBC), "XLA_FLAGS": (" ", _XLA)}
    added = {
        name: separator.join([*([before[name]] if before.get(name) else []), value])
        for name, (separator, value) in joined.items()
    }
    return {**before, **SETTINGS, **added, "NPY_DISABLE_CPU_FEATURES": " ".join(dispatched)}


def ensure(reproducible: bool, folder: Path) -> None:
    """Start the program anew, with the same arguments, where kernels are to be fixed and are not yet.

    Args:
        reproducible: ``compute.reproducible``.
        folder: of the run, as Hydra made it; removed, for the new start makes its own.

    Raises:
        ConfigError: they cannot be fixed here.
    """
    if not reproducible or kernels.fixed():
        return
    if sys.platform != "linux" or platform.machine() != "x86_64":
        what = f"{platform.system()} on {platform.machine()}"
        raise ConfigError(f"compute.reproducible=true is not allowed on {what}: it must be Linux on x86_64")
    if "ray" in sys.modules:  # a job of a sweep on a cluster: this program is Ray's worker
        raise ConfigError("compute.reproducible=true is not allowed with hydra/launcher=ray: it must be a single run")
    with contextlib.suppress(OSError):
        folder.rmdir()
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment(os.environ))
