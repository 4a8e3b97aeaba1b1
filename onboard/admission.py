"""Admission: a bundle held against the budgets that it carries, each decision taken at its longest."""

from __future__ import annotations

from onboard.budget import Measurement, estimate, refuse_excess
from onboard.bundle import Bundle, SatelliteBundle


def measure(satellite: SatelliteBundle) -> Measurement:
    """What a satellite's network costs on the processor of its budget."""
    design, processor = satellite.network.design, satellite.budget.processor
    return estimate(satellite.spec, design, processor, satellite.bits_per_decision)


def admit(bundle: Bundle) -> tuple[Measurement, ...]:
    """The measurement of every satellite, on the processor that its budget names.

    Raises BudgetError: any satellite exceeds its budget.
    """
    measurements = tuple(measure(each) for each in bundle.satellites)
    refuse_excess(zip(measurements, (each.budget for each in bundle.satellites), strict=True))
    return measurements
