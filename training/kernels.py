"""Arithmetic that does not depend on the processor (``compute.reproducible=true``).

Libraries choose kernels by what the processor has: wider vectors and fused multiply-adds round otherwise. Their own
settings make them take their most basic kernels (SSE2 to SSE4.2). They read these when they are imported, so the
settings must be in the environment before (``kdmarl_sat.reproducible`` starts the program anew with them).
"""

from __future__ import annotations

import os

from scenarios.ranges import ConfigError

VARIABLE = "KDMARL_SAT_REPRODUCIBLE"  # set beside the libraries' settings


def fixed() -> bool:
    """Whether this process computes by fixed kernels."""
    return os.environ.get(VARIABLE) == "1"


def check(reproducible: bool) -> None:
    """Called before anything is trained or flown.

    Args:
        reproducible: ``compute.reproducible``.

    Raises:
        ConfigError: it is asked for, and the libraries were imported without the settings.
    """
    if reproducible and not fixed():
        allowed = "it must be false but for `kdmarl-sat run`, which restarts itself with the libraries' settings"
        raise ConfigError(f"compute.reproducible=true is not allowed here: {allowed}")
