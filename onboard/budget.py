"""What a network costs a flight processor, and the limits on it that a satellite sets."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from onboard import fields, network, processors
from onboard.network import Design
from onboard.processors import Processor
from onboard.spec import AgentSpec

MOST_BITS = 4096  # that anybody may send with a decision


class BudgetError(ValueError):
    """A bundle that costs more than its budget; the message lists every violation."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What one satellite grants its network. A deadline below ``max_latency_ms`` is the tighter limit, and so is a
    processor with less RAM than ``max_ram_bytes``."""

    max_parameters: int
    max_bytes: int  # of weights, as uplinked
    max_ram_bytes: int  # weights and working memory of the C engine
    max_macs_per_decision: int
    max_instructions: float  # of the longest decision, modelled, and all below
    max_latency_ms: float
    max_energy_mj: float  # millijoules per decision
    deadline_ms: float  # wall clock of the executor, per decision
    max_misses: int  # decisions in a row without a usable answer, after which the satellite stays in safe mode
    processor: Processor
    max_bits_per_decision: int = 0  # of intents over the crosslink
    max_sensing_macs: int = 0  # with which what the network is to see is computed for a decision, at most

    def __post_init__(self) -> None:
        for name in ("max_parameters", "max_bytes", "max_ram_bytes", "max_macs_per_decision"):
            fields.integer(f"budget.{name}", getattr(self, name), 1, 2**53)
        fields.integer("budget.max_bits_per_decision", self.max_bits_per_decision, 0, MOST_BITS)
        fields.integer("budget.max_sensing_macs", self.max_sensing_macs, 0, 2**53)
        fields.integer("budget.max_misses", self.max_misses, 1, 2**31)
        for name in ("max_instructions", "max_latency_ms", "max_energy_mj", "deadline_ms"):
            fields.positive(f"budget.{name}", getattr(self, name))

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, value: object) -> Budget:
        """Raises ValueError: a key is missing or unknown, or a value is out of range."""
        return cls._from(value, ())

    @classmethod
    def from_dict_3(cls, value: object) -> Budget:
        """As bundles of version 3 had it: nothing is computed for the network, and nothing granted for that."""
        return cls._from(value, ("max_sensing_macs",))

    @classmethod
    def from_dict_2(cls, value: object) -> Budget:
        """As bundles of version 2 had it: no bits are granted either, and none were sent."""
        return cls._from(value, ("max_sensing_macs", "max_bits_per_decision"))

    @classmethod
    def _from(cls, value: object, lacking: tuple[str, ...]) -> Budget:
        keys = [field.name for field in dataclasses.fields(cls) if field.name not in lacking]
        entry = fields.mapping("budget", value, keys)
        return cls(**{**entry, "processor": Processor.from_dict(entry["processor"])})

    @classmethod
    def from_dict_1(cls, value: object) -> Budget:
        """As bundles of version 1 had it: the processor by name, and no limit on RAM, instructions or energy."""
        keys = ("max_parameters", "max_bytes", "max_macs_per_decision", "max_latency_ms", "deadline_ms", "processor")
        entry = fields.mapping("budget", value, keys)
        processor = processors.find(fields.text("budget.processor", entry["processor"]))
        none = {"max_ram_bytes": 2**53, "max_instructions": 1e300, "max_energy_mj": 1e300, "max_misses": 3}
        return cls(**{**entry, **none, "processor": processor})


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one decision costs. Counted: the network's parameters, bytes, RAM and MACs, the most MACs with which what it
    sees is computed, bits sent. Modelled, of both together: the rest, in the mean and of the longest decision."""

    satellite: str
    processor: str
    parameters: int
    bytes: int
    ram_bytes: int
    macs: int
    instructions: float
    latency_ms: float
    energy_mj: float  # millijoules
    most_instructions: float  # no decision takes more; so with the two below
    longest_ms: float
    most_energy_mj: float
    bits_per_decision: int = 0  # of intents over the crosslink
    sensing_macs: int = 0

    @property
    def flops(self) -> int:
        """The other convention: a multiply-accumulate is two operations."""
        return 2 * self.macs


@dataclass(frozen=True, slots=True)
class Margin:
    """One quantity against its limit."""

    quantity: str
    unit: str  # "" for a count
    value: float
    limit: float


def estimate(spec: AgentSpec, design: Design, processor: Processor, bits_per_decision: int = 0) -> Measurement:
    """What a network of this design will cost, trained or not, on a satellite that sends so many bits."""
    sensing = processor.sensing_instructions(spec)
    instructions, most = processor.instructions(spec, design) + sensing, processor.bound(spec, design) + sensing
    return Measurement(
        satellite=spec.name,
        processor=processor.name,
        parameters=network.count_parameters(spec, design),
        bytes=network.count_bytes(spec, design),
        ram_bytes=network.count_ram_bytes(spec, design),
        macs=network.count_macs(spec, design),
        instructions=instructions,
        latency_ms=processor.latency_ms(instructions),
        energy_mj=processor.energy_mj(instructions),
        most_instructions=most,
        longest_ms=processor.latency_ms(most),
        most_energy_mj=processor.energy_mj(most),
        bits_per_decision=bits_per_decision,
        sensing_macs=spec.sensing_macs,
    )


def margins(measurement: Measurement, budget: Budget) -> tuple[Margin, ...]:
    """Every limited quantity beside its limit; instructions, latency and energy are those of the longest decision."""
    ram, name = budget.processor.ram_bytes, budget.processor.name
    max_ram_bytes = budget.max_ram_bytes if ram is None else min(budget.max_ram_bytes, ram)
    max_latency_ms = min(budget.max_latency_ms, budget.deadline_ms)
    return (
        Margin("parameters", "", measurement.parameters, budget.max_parameters),
        Margin("weights", "bytes", measurement.bytes, budget.max_bytes),
        Margin("RAM", "bytes", measurement.ram_bytes, max_ram_bytes),
        Margin("MACs per decision", "", measurement.macs, budget.max_macs_per_decision),
        Margin("MACs of sensing per decision", "", measurement.sensing_macs, budget.max_sensing_macs),
        Margin(f"most instructions on {name}", "", measurement.most_instructions, budget.max_instructions),
        Margin(f"longest latency on {name}", "ms", measurement.longest_ms, max_latency_ms),
        Margin(f"most energy on {name}", "mJ", measurement.most_energy_mj, budget.max_energy_mj),
        Margin("bits sent per decision", "", measurement.bits_per_decision, budget.max_bits_per_decision),
    )


def violations(measurement: Measurement, budget: Budget) -> list[str]:
    """One clause for each limit that is exceeded, with quantity, number and limit."""
    return [
        f"{margin.quantity} {_shown(margin.value)} exceeds the limit {_shown(margin.limit)} {margin.unit}".rstrip()
        for margin in margins(measurement, budget)
        if margin.value > margin.limit
    ]


def _shown(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def check(designs: Sequence[tuple[AgentSpec, Design]], budget: Budget, bits_per_decision: int = 0) -> None:
    """Whether networks of these satellites and designs will be admitted, before any is trained.

    Args:
        designs: of all satellites.
        budget: of each.
        bits_per_decision: that each satellite sends.

    Raises BudgetError: any of them will exceed the budget.
    """
    refuse_excess((estimate(spec, design, budget.processor, bits_per_decision), budget) for spec, design in designs)


def refuse_excess(measured: Iterable[tuple[Measurement, Budget]]) -> None:
    """
    Raises BudgetError: any measurement exceeds its budget.
    """
    broken = [
        f"satellite {measurement.satellite!r}: {violation}"
        for measurement, budget in measured
        for violation in violations(measurement, budget)
    ]
    if broken:
        raise BudgetError(f"the bundle is over its budget: {'; '.join(broken)}")
