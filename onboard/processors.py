"""Flight processors, as models: instructions per decision from a closed form, time from an assumed CPI.

The closed form is linear in what a decision does (``network.Work``). Its coefficients were fitted to instructions of
the C engine counted on emulated cores (``make onboard-emulated``; results/instructions.json). Cycles per instruction
are assumptions, power and RAM nominal figures not checked against data sheets. So latency and energy made of these are
modelled, not measured.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from onboard import fields
from onboard.network import Work

_COUNTED = "closed form fitted to emulated counts"


@dataclass(frozen=True, slots=True)
class Processor:
    name: str
    core: str
    clock_mhz: float
    ram_bytes: int | None  # None: as much as its board carries
    power_w: float  # of the processor at work, typical
    cpi: float  # cycles per instruction, assumed
    per_mac: float  # instructions per multiply-accumulate
    per_gate: float  # per gate non-linearity, of which a GRU has 3H
    per_output: float  # per output of a linear map
    fixed: float  # per decision
    basis: str  # where the instruction figures come from

    def __post_init__(self) -> None:
        where = f"processor {fields.text('processor.name', self.name)!r}"
        for name in ("core", "basis"):
            fields.text(f"{where} {name}", getattr(self, name))
        for name in ("clock_mhz", "power_w", "cpi", "per_mac"):
            fields.positive(f"{where} {name}", getattr(self, name))
        for name in ("per_gate", "per_output", "fixed"):
            fields.not_negative(f"{where} {name}", getattr(self, name))
        if self.ram_bytes is not None:
            fields.integer(f"{where} ram_bytes", self.ram_bytes, 1, 2**53)

    def instructions(self, work: Work) -> float:
        """Modelled instructions of one decision."""
        return self.per_mac * work.macs + self.per_gate * work.gates + self.per_output * work.outputs + self.fixed

    def latency_ms(self, instructions: float) -> float:
        """Modelled: instructions * CPI / clock."""
        return instructions * self.cpi / (self.clock_mhz * 1e3)

    def energy_mj(self, instructions: float) -> float:
        """Modelled: power over the modelled latency."""
        return self.power_w * self.latency_ms(instructions)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, value: object) -> Processor:
        """Raises ValueError: a key is missing or unknown, or a value is out of range."""
        return cls(**fields.mapping("processor", value, [field.name for field in dataclasses.fields(cls)]))


_CORTEX_M = (6.0, 81.0, 0.0, 260.0)
_LEON3 = (7.0, 117.0, 0.0, 300.0)
_PROCESSORS = (
    Processor("RAD750", "PowerPC 750", 133, 128 * 2**20, 5.0, 3.0, 7.9, 0.0, 0.0, 0.0, _COUNTED),
    Processor("GR712RC", "LEON3FT", 80, None, 1.5, 3.0, *_LEON3, _COUNTED),
    Processor("GR740", "LEON4", 250, None, 1.8, 3.0, *_LEON3, "LEON3's: the same instruction set"),
    Processor("VA41630", "Cortex-M4F", 100, 320 * 2**10, 0.2, 2.0, *_CORTEX_M, _COUNTED),  # 64 kB data, 256 kB program
    Processor("SAMV71Q21RT", "Cortex-M7", 300, 384 * 2**10, 0.3, 2.0, *_CORTEX_M, _COUNTED),
    Processor("Zynq-7020", "Cortex-A9", 667, 2**30, 3.5, 2.0, *_CORTEX_M, "Cortex-M7's: scalar code, no NEON"),
    Processor("ZynqMP", "Cortex-A53", 1200, 2 * 2**30, 10.0, 2.0, 4.9, 0.0, 0.0, 0.0, _COUNTED),
)
PROCESSORS = {processor.name: processor for processor in _PROCESSORS}


def find(name: str) -> Processor:
    """Raises ValueError: no profile of that name."""
    if name not in PROCESSORS:
        fields.refuse("budget.processor", name, f"one of {', '.join(PROCESSORS)}, or a profile of your own")
    return PROCESSORS[name]
