"""Fixed kernels: what a restarted program finds, and the optimiser that it uses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kdmarl_sat.reproducible import ensure, environment
from scenarios.compute import ComputeConfig, WorkersOn
from scenarios.ranges import ConfigError
from tests.test_config import ROOT
from training import kernels
from training.missions.simulate import worker_pool
from training.optimisation import adam

PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from kdmarl_sat.reproducible import ensure
from training import kernels
folder = Path(sys.argv[1])
ensure(True, folder)
kernels.check(True)
import torch
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
print(torch.backends.cpu.get_cpu_capability(), any(__cpu_features__[each] for each in __cpu_dispatch__))
print(sys.argv[1:], folder.exists())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="restarts on Linux alone")
def test_the_program_starts_anew_with_fixed_kernels(tmp_path: Path) -> None:
    script, folder = tmp_path / "own program.py", tmp_path / "run"
    script.write_text(PROGRAM.format(root=str(ROOT)))
    folder.mkdir()
    command = [sys.executable, str(script), str(folder), "a b", "x=[1,2]"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["DEFAULT False", f"{[str(folder), 'a b', 'x=[1,2]']} False"]


def test_the_environment_keeps_what_is_in_it() -> None:
    before = {"HOME": "/h", "XLA_FLAGS": "--own", "GLIBC_TUNABLES": "glibc.malloc.check=1", "MKL_CBWR": "AVX2"}
    found = environment(before)
    assert found["HOME"] == "/h" and found["MKL_CBWR"] == "COMPATIBLE" and found[kernels.VARIABLE] == "1"
    assert found["XLA_FLAGS"] == "--own --xla_cpu_max_isa=SSE4_2"
    assert found["GLIBC_TUNABLES"].startswith("glibc.malloc.check=1:glibc.cpu.hwcaps=-AVX2")


def test_it_is_refused_where_it_cannot_take_effect(tmp_path: Path) -> None:
    ensure(False, tmp_path)
    kernels.check(False)
    for refused in (kernels.check, lambda asked: worker_pool(ComputeConfig(reproducible=asked))):
        with pytest.raises(ConfigError, match=r"compute.reproducible=true is not allowed here: it must be false"):
            refused(True)
    with pytest.raises(ConfigError, match=r"compute.reproducible=True is not allowed: it must be false with"):
        ComputeConfig(reproducible=True, workers_on=WorkersOn.ray)


def test_adam_takes_exact_square_roots_where_kernels_are_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the update of Kingma & Ba (2015), algorithm 1, in float64."""
    monkeypatch.setenv(kernels.VARIABLE, "1")
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(500, generator=generator)
    expected, first, second = weight.double(), torch.zeros(500).double(), torch.zeros(500).double()
    weight.requires_grad_()
    optimiser = adam([weight], 1e-3)
    assert optimiser.defaults["fused"]
    for t in range(1, 6):
        gradient = torch.randn(500, generator=generator)
        weight.grad = gradient
        optimiser.step()
        first = 0.9 * first + 0.1 * gradient.double()
        second = 0.999 * second + 0.001 * gradient.double() ** 2
        step = (first / (1 - 0.9**t)) / ((second / (1 - 0.999**t)).sqrt() + 1e-5)
        expected = expected - 1e-3 * step
    torch.testing.assert_close(weight.detach().double(), expected, rtol=1e-5, atol=1e-7)
