"""Where a result comes from."""

from __future__ import annotations

import datetime
import platform
import subprocess
from importlib.metadata import version
from typing import Any

from scenarios.schema import RunConfig, to_dict
from training.artifact import ROOT, code_digest
from training.checkpoint import digest

_PACKAGES = ("kdmarl-sat", "bsk", "bsk-rl", "torch", "numpy", "scipy", "gymnasium", "pettingzoo", "hydra-core")
_CODE = ("kdmarl_sat", "scenarios", "envs", "training", "onboard")


def provenance(config: RunConfig) -> dict[str, Any]:
    """Scenario, preset, seed, commit, code and config digests, package versions and time, as plain JSON."""
    return {
        "scenario": config.scenario.name,
        "preset": config.preset,
        "seed": config.seed,
        "config_digest": digest(to_dict(config)),
        **code_versions(),
    }


def code_versions() -> dict[str, Any]:
    """Commit, code digest, package versions and time."""
    return {
        "commit": commit(),
        "code_digest": code_digest(_CODE),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in _PACKAGES},
    }


def commit() -> str:
    """The checkout's commit, with "-dirty" where files differ from it; "unknown" outside a checkout."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except ModuleNotFoundError:  # a bare checkout
        return "not installed"
