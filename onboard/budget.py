"""Admission: what a satellite's network costs against what its flight processor grants one decision."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onboard import fields, network, processors
from onboard.processors import Processor
from onboard.spec import AgentSpec

if TYPE_CHECKING:  # a bundle holds budgets, so bundle.py imports this module
    from onboard.bundle import Bundle, SatelliteBundle


class BudgetError(ValueError):
    """A bundle that costs more than its budget; the message lists every violation."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What one satellite grants its network.

    A processor with less RAM than ``max_bytes``, or a deadline below ``max_latency_ms``, is the tighter limit.
    """

    max_parameters: int
    max_bytes: int  # of weights
    max_macs_per_decision: int
    max_latency_ms: float  # modelled on the processor
    deadline_ms: float  # wall clock of the executor, per decision
    processor: str

    def __post_init__(self) -> None:
        for name in ("max_parameters", "max_bytes", "max_macs_per_decision"):
            fields.integer(f"budget.{name}", getattr(self, name), 1, 2**53)
        for name in ("max_latency_ms", "deadline_ms"):
            fields.positive(f"budget.{name}", getattr(self, name))
        processors.find(fields.text("budget.processor", self.processor))

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, value: object) -> Budget:
        """Raises ValueError: a key is missing or unknown, or a value is out of range."""
        return cls(**fields.mapping("budget", value, [field.name for field in dataclasses.fields(cls)]))


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one decision of a satellite's network costs. Counted: parameters, bytes, MACs. Modelled: the rest."""

    satellite: str
    processor: str
    parameters: int
    bytes: int  # of float32 weights
    macs: int
    instructions: float
    latency_ms: float
    energy_mj: float  # millijoules

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


def estimate(spec: AgentSpec, hidden: int, processor: Processor) -> Measurement:
    """What a network of ``hidden`` units will cost, trained or not."""
    parameters, macs = network.count_parameters(spec, hidden), network.count_macs(spec, hidden)
    return Measurement(
        satellite=spec.name,
        processor=processor.name,
        parameters=parameters,
        bytes=4 * parameters,
        macs=macs,
        instructions=processor.instructions(macs, hidden),
        latency_ms=processor.latency_ms(macs, hidden),
        energy_mj=processor.energy_mj(macs, hidden),
    )


def measure(satellite: SatelliteBundle, processor: Processor) -> Measurement:
    """What a satellite's network costs; its weights were checked to be those of its spec."""
    return estimate(satellite.spec, satellite.hidden, processor)


def margins(measurement: Measurement, budget: Budget) -> tuple[Margin, ...]:
    """Every limited quantity beside its limit."""
    ram = processors.find(budget.processor).ram_bytes
    max_bytes = budget.max_bytes if ram is None else min(budget.max_bytes, ram)
    max_latency_ms = min(budget.max_latency_ms, budget.deadline_ms)
    return (
        Margin("parameters", "", measurement.parameters, budget.max_parameters),
        Margin("weights", "bytes", measurement.bytes, max_bytes),
        Margin("MACs per decision", "", measurement.macs, budget.max_macs_per_decision),
        Margin(f"modelled latency on {budget.processor}", "ms", measurement.latency_ms, max_latency_ms),
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


def admit(bundle: Bundle) -> tuple[Measurement, ...]:
    """The measurement of every satellite, on the processor that its budget names.

    Raises BudgetError: any satellite exceeds its budget.
    """
    measurements = tuple(measure(each, processors.find(each.budget.processor)) for each in bundle.satellites)
    _refuse_excess(zip(measurements, (each.budget for each in bundle.satellites), strict=True))
    return measurements


def check(specs_and_hidden: Sequence[tuple[AgentSpec, int]], budget: Budget) -> None:
    """Whether networks of these satellites and numbers of units will be admitted, before any is trained.

    Raises BudgetError: any of them will exceed the budget.
    """
    processor = processors.find(budget.processor)
    _refuse_excess((estimate(spec, hidden, processor), budget) for spec, hidden in specs_and_hidden)


def _refuse_excess(measured: Iterable[tuple[Measurement, Budget]]) -> None:
    broken = [
        f"satellite {measurement.satellite!r}: {violation}"
        for measurement, budget in measured
        for violation in violations(measurement, budget)
    ]
    if broken:
        raise BudgetError(f"the bundle is over its budget: {'; '.join(broken)}")
