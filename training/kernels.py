"""Arithmetic that does not depend on the processor (``compute.reproducible=true``).

Libraries choose kernels by what the processor has: wider vectors and fused multiply-adds round otherwise. Their own
settings make them take the kernels that every x86-64 processor has. They read these when they are imported, so the
settings must be in the environment before (``kdmarl_sat.reproducible`` starts the program anew with them).
"""

from __future__ import annotations

import os

VARIABLE = "KDMARL_SAT_REPRODUCIBLE"  # set beside the libraries' settings


def fixed() -> bool:
    """Whether this process computes by fixed kernels."""
    return os.environ.get(VARIABLE) == "1"
