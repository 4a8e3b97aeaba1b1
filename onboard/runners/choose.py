"""Runners by name."""

from __future__ import annotations

from onboard import build
from onboard.bundle import SatelliteBundle
from onboard.runners import BuildError, Runner
from onboard.runners.emulated import EmulatedRunner
from onboard.runners.isolated import IsolatedRunner
from onboard.runners.native import NativeRunner
from onboard.runners.reference import ReferenceRunner

BEST = "best"  # native; without a compiler, reference
KINDS = ("reference", "native", "isolated", "emulated", BEST)


def make(kind: str, satellite: SatelliteBundle, deadline_ms: float, target: str = "") -> Runner:
    """A running runner of one satellite; ``target``: what the emulated one emulates.

    Raises BuildError: this machine cannot build or start it.
    """
    network, spec = satellite.network, satellite.spec
    if kind == "isolated":
        return IsolatedRunner(network, spec, deadline_ms)
    if kind == "emulated":
        return EmulatedRunner(network, spec, target, deadline_ms)
    if kind == "native" or (kind == BEST and native_fault() is None):
        return NativeRunner(network, spec, satellite.seal)
    return ReferenceRunner(network, spec)


def native_fault() -> str | None:
    """Why the C engine cannot be flown in this process; None: it can."""
    try:
        build.shared_library()
    except BuildError as error:
        return str(error)
    return None


def stoppable(runner: Runner) -> bool:
    """Whether the runner has a process of its own that can be stopped from outside."""
    return isinstance(runner, IsolatedRunner)
