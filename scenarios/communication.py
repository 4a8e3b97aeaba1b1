"""What satellites tell one another: whom they hear, and the intents that they broadcast."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from scenarios.files.mission import own_targets
from scenarios.orbits import BEYOND_S, EARTH_RADIUS_M, period_s
from scenarios.ranges import check, within

if TYPE_CHECKING:  # a mission holds this group, so mission.py imports this module
    from scenarios.mission import ScenarioConfig

WIDEST = 32  # bits of an intent


class Communication(Enum):
    none = "none"
    free = "free"
    line_of_sight = "line_of_sight"


@dataclass
class CommunicationConfig:
    """Who hears whom, and the intents: with each decision a satellite broadcasts the target that it pursues."""

    mode: Communication = Communication.free
    intent_bits: int = 16  # of one broadcast: the number of a target, or 0 for none; 0 bits: no intents
    intent_loss: float = 0.0  # share of the broadcasts that a satellite in reach does not hear, each one by itself

    def __post_init__(self) -> None:
        where = "scenario.communication"
        bits = self.intent_bits
        check(
            f"{where}.intent_bits",
            bits,
            type(bits) is int and 0 <= bits <= WIDEST,
            f"a whole number between 0 and {WIDEST}",
        )
        within(where, 0, 1, intent_loss=self.intent_loss)

    @property
    def bits_per_decision(self) -> int:
        """What a satellite sends with each decision; 0 where nobody can hear it."""
        return 0 if self.mode is Communication.none else self.intent_bits


def most_targets(config: ScenarioConfig) -> int:
    """How many targets an episode has at most: of clusters, in the longest episode; of cities, all that are drawn."""
    own, uniform = own_targets(config.targets), config.targets.uniform
    if own is not None:
        return len(own)
    if uniform is not None:
        return uniform.number[1]
    cities = config.targets.cities
    if cities is not None:
        return cities.number
    orbit_s = period_s(EARTH_RADIUS_M + config.constellation.altitude_km * 1e3)
    longest_s = max([config.duration_s, *(config.training_duration_s or [])])
    orbits = config.constellation.string_deg / 360.0 + (longest_s + BEYOND_S) / orbit_s
    return config.targets.clusters(orbits) * config.targets.per_cluster


def check_communication(config: ScenarioConfig) -> None:
    """
    Raises:
        ConfigError: an intent cannot number the mission's targets, or somebody senses intents that nobody sends.
    """
    group = config.communication
    if group.bits_per_decision == 0:
        silent = f"mode={group.mode.value}" if group.mode is Communication.none else f"intent_bits={group.intent_bits}"
        for name, blocks in {
            **{f"sensing.{name}": blocks for name, blocks in config.sensing.items()},
            "teacher_sensing": config.teacher_sensing or [],
        }.items():
            allowed = f"a block other than intent, for nobody hears one with scenario.communication.{silent}"
            check(f"scenario.{name}", "intent", "intent" not in blocks, allowed)
        return
    targets = most_targets(config)
    needed = targets.bit_length()  # numbers 0, no target, to M: ceil(log2(M + 1))
    allowed = f"at least {needed} to number up to {targets} targets, or 0 for no intents"
    check("scenario.communication.intent_bits", group.intent_bits, group.intent_bits >= needed, allowed)
