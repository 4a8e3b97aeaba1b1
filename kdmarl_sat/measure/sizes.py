"""Constellations of more and more satellites, of which ``kdmarl-sat measure scale`` measures what a decision costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scenarios.compose import composed
from scenarios.schema import RunConfig

SHAPES = ((1, 4), (2, 4), (2, 8), (4, 8), (6, 11))  # planes, satellites in each
CLUSTERS_PER_SATELLITE = 15  # and orbit


def sized(planes: int, per_plane: int, overrides: Sequence[str], config_dir: Path | None = None) -> RunConfig:
    """The mission with so many satellites, planes spread evenly around the Earth."""
    return composed(
        f"scenario.constellation.planes={planes}",
        f"scenario.constellation.per_plane={per_plane}",
        f"scenario.constellation.raan_spacing_deg={360 / planes:g}",
        f"scenario.targets.clusters_per_orbit={CLUSTERS_PER_SATELLITE * planes * per_plane}",
        "scenario.duration_s=600",
        *overrides,
        config_dir=config_dir,
    )
