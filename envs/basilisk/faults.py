"""What goes wrong in an episode, drawn from its seed before it begins.

Draws are of a stream of their own: an episode without faults is the same whether they are configured or not, and a
fault of one kind does not move those of another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.api import BoolArray
from scenarios.mission import FaultsConfig

_STREAMS = {"failures": 0, "outages": 1, "dropouts": 2, "decisions": 3, "late": 4}


@dataclass(frozen=True, slots=True)
class Spells:
    """Times at which something is out: alternating spells of working and not."""

    start_s: NDArray[np.float64]  # [K], rising
    end_s: NDArray[np.float64]  # [K], each before the next start

    def holds(self, time_s: float) -> bool:
        spell = int(np.searchsorted(self.start_s, time_s, side="right")) - 1
        return spell >= 0 and time_s < float(self.end_s[spell])


class Faults:
    """The faults of one episode of N satellites with B feature blocks."""

    def __init__(
        self, config: FaultsConfig, satellites: int, blocks: int, orbit_s: float, span_s: float, seed: int
    ) -> None:
        """
        Args:
            config: rates.
            satellites: N.
            blocks: B, of each satellite, without the intents it hears.
            orbit_s: what a rate per orbit is counted in.
            span_s: how long the episode may last.
            seed: the episode's.
        """
        generators = {name: np.random.default_rng([seed, 3, stream]) for name, stream in _STREAMS.items()}
        self._missing, self._decisions = config.missing_decisions, generators["decisions"]
        self._late, self._delays = config.late_decisions, generators["late"]
        # Standard draws scaled by the rate: with more of a fault, what failed before fails earlier.
        standard = generators["failures"].exponential(1.0, satellites)
        rate = config.satellite_failures / orbit_s
        self.failure_s = standard / rate if rate > 0 else np.full(satellites, np.inf)  # [N], when each one fails
        self.outage = spells(config.crosslink_outage, config.outage_s, span_s, generators["outages"])
        self._dropouts = [
            [spells(config.sensor_dropout, config.dropout_s, span_s, generators["dropouts"]) for _ in range(blocks)]
            for _ in range(satellites if config.sensor_dropout > 0 else 0)
        ]
        for each in self._dropouts:  # after all others: they are the same with intents and without
            each.append(spells(config.sensor_dropout, config.dropout_s, span_s, generators["dropouts"]))

    def dropped(self, row: int, time_s: float) -> BoolArray:
        """Which blocks [B], and whether the intents, of a satellite tell nothing now; empty if none ever does."""
        if not self._dropouts:
            return np.zeros(0, dtype=np.bool_)
        return np.array([each.holds(time_s) for each in self._dropouts[row]])

    def missing(self) -> bool:
        """Whether the next decision does not arrive."""
        return self._missing > 0 and bool(self._decisions.random() < self._missing)

    def late(self) -> bool:
        """Whether the next decision, if it comes at all, is late."""
        return self._late > 0 and bool(self._delays.random() < self._late)


def spells(share: float, mean_s: float, span_s: float, generator: np.random.Generator) -> Spells:
    """Spells of ``mean_s`` that take up a share of the time: an alternating renewal process (exponential times), as it
    is long after its own beginning."""
    if share <= 0:
        return Spells(np.empty(0), np.empty(0))
    works_s = mean_s * (1.0 - share) / share
    starts, ends = [], []
    now_s, out = 0.0, bool(generator.random() < share)
    while now_s < span_s:
        lasts_s = float(generator.exponential(mean_s if out else works_s))
        if out:
            starts.append(now_s)
            ends.append(now_s + lasts_s)
        now_s, out = now_s + lasts_s, not out
    return Spells(np.array(starts), np.array(ends))
