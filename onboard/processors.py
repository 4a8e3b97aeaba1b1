"""Flight processors, as models: instructions from closed forms of their core, time from an assumed CPI.

The closed forms (closed_form.py) were fitted to instructions of the C engine on emulated cores: to counts, and to
bounds of the longest decision. Cycles per instruction are assumptions, power and RAM nominal figures not checked
against data sheets. So latency and energy made of these are modelled, not measured.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from onboard import closed_form, fields
from onboard.network import Design
from onboard.spec import AgentSpec

# Instructions for each multiply-accumulate of what a satellite computes in double precision before its network is
# asked: its own motion, ahead. Loads, stores and a share of divisions and trigonometry are in it. Counted on emulated
# cores (docs/planner.md): 3.7 on a Cortex-A53, 5.2 on RV64GC; assumed on the others.
_SENSED = 5.2
# Assumed: a core whose floating-point unit is for single precision computes doubles in software.
_SENSED_IN_SOFTWARE = 60.0
_SINGLE_PRECISION = ("cortex-m4", "cortex-m7")

_COUNTED = "closed form fitted to emulated counts"


@dataclass(frozen=True, slots=True)
class Processor:
    name: str
    core: str
    clock_mhz: float
    ram_bytes: int | None  # None: as much as its board carries
    power_w: float  # of the processor at work, typical
    cpi: float  # cycles per instruction, assumed
    counted_as: str  # the core of closed_form.json whose instructions it needs,
    factor: float  # times this
    basis: str  # where the instruction figures come from

    def __post_init__(self) -> None:
        where = f"processor {fields.text('processor.name', self.name)!r}"
        for name in ("core", "basis"):
            fields.text(f"{where} {name}", getattr(self, name))
        for name in ("clock_mhz", "power_w", "cpi", "factor"):
            fields.positive(f"{where} {name}", getattr(self, name))
        if fields.text(f"{where} counted_as", self.counted_as) not in closed_form.cores():
            fields.refuse(f"{where} counted_as", self.counted_as, f"one of {', '.join(closed_form.cores())}")
        if self.ram_bytes is not None:
            fields.integer(f"{where} ram_bytes", self.ram_bytes, 1, 2**53)

    def instructions(self, spec: AgentSpec, design: Design) -> float:
        """Modelled instructions of one decision, the check of its weights included."""
        return self.factor * closed_form.instructions(self.counted_as, spec, design)

    def bound(self, spec: AgentSpec, design: Design) -> float:
        """Modelled: instructions that no decision exceeds, the check of its weights included."""
        return self.factor * closed_form.bound(self.counted_as, spec, design)

    def sensing_instructions(self, spec: AgentSpec) -> float:
        """Modelled instructions with which the blocks of a decision are computed, at most."""
        each = _SENSED_IN_SOFTWARE if self.counted_as in _SINGLE_PRECISION else _SENSED
        return self.factor * each * spec.sensing_macs

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


_PROCESSORS = (
    Processor("RAD750", "PowerPC 750", 133, 128 * 2**20, 5.0, 3.0, "ppc750", 1.0, _COUNTED),
    Processor("GR712RC", "LEON3FT", 80, None, 1.5, 3.0, "leon3", 1.0, _COUNTED),
    Processor("GR740", "LEON4", 250, None, 1.8, 3.0, "leon3", 1.0, "LEON3's: the same instruction set"),
    Processor("VA41630", "Cortex-M4F", 100, 320 * 2**10, 0.2, 2.0, "cortex-m4", 1.0, _COUNTED),  # 64 + 256 kB
    Processor("SAMV71Q21RT", "Cortex-M7", 300, 384 * 2**10, 0.3, 2.0, "cortex-m7", 1.0, _COUNTED),
    Processor("Zynq-7020", "Cortex-A9", 667, 2**30, 3.5, 2.0, "cortex-a9", 1.0, _COUNTED),
    Processor("ZynqMP", "Cortex-A53", 1200, 2 * 2**30, 10.0, 2.0, "cortex-a53", 1.0, _COUNTED),
)
PROCESSORS = {processor.name: processor for processor in _PROCESSORS}


def find(name: str) -> Processor:
    """Raises ValueError: no profile of that name."""
    if name not in PROCESSORS:
        fields.refuse("budget.processor", name, f"one of {', '.join(PROCESSORS)}, or a profile of your own")
    return PROCESSORS[name]
