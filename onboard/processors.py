"""Flight processors, as models: instructions per decision from a closed form, time from an assumed CPI.

The closed form ``per_mac * MAC + per_gate * 3H + fixed`` was fitted to emulated counts of a float32 C engine on
linear-GRU-linear networks (cores M7 and LEON3; within 0.6 % there). Cycles per instruction are assumptions, power and
RAM nominal figures not checked against data sheets. So latency and energy made of these are modelled, not measured.
"""

from __future__ import annotations

from dataclasses import dataclass

from onboard import fields

_COUNTED = "closed form fitted to emulated counts"
_PER_MAC = "emulated count of a 16-unit network over its MACs, gates included"


@dataclass(frozen=True, slots=True)
class Processor:
    name: str
    core: str
    clock_mhz: float
    ram_bytes: int | None  # None: as much as its board carries
    power_w: float  # of the processor at work, typical
    cpi: float  # cycles per instruction, assumed
    per_mac: float  # instructions per multiply-accumulate
    per_gate: float  # instructions per gate non-linearity, of which a GRU has 3H
    fixed: float  # instructions per decision
    basis: str  # where the three instruction figures come from

    def __post_init__(self) -> None:
        for name in ("clock_mhz", "power_w", "cpi", "per_mac"):
            fields.positive(f"processor {self.name!r} {name}", getattr(self, name))

    def instructions(self, macs: int, hidden: int) -> float:
        """Modelled instructions of one decision of a network with ``hidden`` GRU units."""
        return self.per_mac * macs + self.per_gate * 3 * hidden + self.fixed

    def latency_ms(self, macs: int, hidden: int) -> float:
        """Modelled: instructions * CPI / clock."""
        return self.instructions(macs, hidden) * self.cpi / (self.clock_mhz * 1e3)

    def energy_mj(self, macs: int, hidden: int) -> float:
        """Modelled: power over the modelled latency."""
        return self.power_w * self.latency_ms(macs, hidden)


_CORTEX_M = (6.0, 81.0, 260.0, _COUNTED)
_LEON3 = (7.0, 117.0, 300.0, _COUNTED)
_PROCESSORS = (
    Processor("RAD750", "PowerPC 750", 133, 128 * 2**20, 5.0, 3.0, 23659 / 2992, 0.0, 0.0, _PER_MAC),
    Processor("GR712RC", "LEON3FT", 80, None, 1.5, 3.0, *_LEON3),
    Processor("GR740", "LEON4", 250, None, 1.8, 3.0, *_LEON3[:3], "LEON3's: the same instruction set"),
    Processor("VA41630", "Cortex-M4F", 100, 320 * 2**10, 0.2, 2.0, *_CORTEX_M),  # 64 kB of data, 256 kB of program
    Processor("SAMV71Q21RT", "Cortex-M7", 300, 384 * 2**10, 0.3, 2.0, *_CORTEX_M),
    Processor("Zynq-7020", "Cortex-A9", 667, 2**30, 3.5, 2.0, *_CORTEX_M[:3], "Cortex-M7's: scalar code, no NEON"),
    Processor("ZynqMP", "Cortex-A53", 1200, 2 * 2**30, 10.0, 2.0, 14688 / 2992, 0.0, 0.0, _PER_MAC),
)
PROCESSORS = {processor.name: processor for processor in _PROCESSORS}


def find(name: str) -> Processor:
    """Raises ValueError: no profile of that name."""
    if name not in PROCESSORS:
        fields.refuse("budget.processor", name, f"one of {', '.join(PROCESSORS)}")
    return PROCESSORS[name]
