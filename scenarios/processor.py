"""Flight processors of the user's own: a profile by name, beside those that onboard/processors.py has."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

from scenarios.ranges import positive, within


@dataclass
class ProcessorConfig:
    """A flight processor of the user's own; onboard/processors.py has the built-in ones, and what the fields mean."""

    core: str = MISSING
    clock_mhz: float = MISSING
    ram_bytes: int | None = None  # null: as much as its board carries
    power_w: float = MISSING  # at work
    cpi: float = MISSING  # cycles per instruction
    counted_as: str = MISSING  # a core of onboard/closed_form.json: it needs that core's instructions,
    factor: float = 1.0  # times this
    basis: str = "the user's own figures"

    def check_as(self, where: str) -> None:
        """Called by the configuration, which knows the profile's name.

        Raises:
            ConfigError: a value out of its range.
        """
        positive(where, clock_mhz=self.clock_mhz, power_w=self.power_w, cpi=self.cpi, factor=self.factor)
        if self.ram_bytes is not None:
            within(where, 1, 2**53, ram_bytes=self.ram_bytes)


def check_processors(processors: dict[str, ProcessorConfig]) -> None:
    """
    Raises:
        ConfigError: a figure of a profile is out of its range.
    """
    for name, processor in processors.items():
        processor.check_as(f"processors.{name}")
