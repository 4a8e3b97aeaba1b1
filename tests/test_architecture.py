"""The layer rule, kept by import-linter (contracts in pyproject.toml) and by what a process really loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_import_contracts() -> None:
    lint = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True, no_logo=True))"
    done = subprocess.run([sys.executable, "-c", lint], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def loaded_by(statement: str) -> set[str]:
    """Top-level modules in a new interpreter after the statement."""
    listing = "import sys; print('\\n'.join({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}; {listing}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_onboard_loads_numpy_and_the_standard_library_only() -> None:
    modules = ", ".join(f"onboard.{file.stem}" for file in (ROOT / "onboard").glob("*.py") if file.stem != "__init__")
    loaded = loaded_by(f"import {modules}")
    assert "numpy" in loaded
    assert loaded <= set(sys.stdlib_module_names) | {"numpy", "onboard", "__main__"} | loaded_by("import numpy")


def test_the_command_composes_without_loading_torch_or_basilisk() -> None:
    assert not loaded_by("import kdmarl_sat.run") & {"torch", "Basilisk", "bsk_rl", "matplotlib"}
