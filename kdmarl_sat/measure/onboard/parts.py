"""What ``kdmarl-sat measure onboard`` measures: its parts, and how much of each may be set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from onboard.bundle import read_bundle
from scenarios.compose import composed
from scenarios.mission import ScenarioConfig

TITLES = {
    "bits": "Bit identity",
    "host": "Wall clock on this machine",
    "instructions": "Instructions on flight processors",
    "upsets": "Weight upsets",
    "mutations": "Hostile bundles",
    "watchdog": "Watchdog",
    "admission": "Admission",
}
FLOWN_FOR = ("bits", "instructions")  # parts that need closed-loop flights
COUNTS = ("decisions", "calls", "flips", "mutations", "trials")
WANTED_DECISIONS = 1000


def mission_of(folder: Path, overrides: Sequence[str], config_dir: Path | None = None) -> ScenarioConfig:
    """The mission that a bundle was made in, and overrides to it.

    Args:
        config_dir: where a mission of one's own is.

    Raises:
        ConfigError, or one of ``scenarios.messages.COMPOSITION_ERRORS``.
        onboard.bundle.BundleError: the bundle cannot be read.
    """
    bundle = read_bundle(folder)
    preset = str(bundle.provenance.get("preset", "default"))
    return composed(f"scenario={bundle.scenario}", f"preset={preset}", *overrides, config_dir=config_dir).scenario
