"""Admission: costs against numbers worked out by hand, and every violation named."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from onboard_samples import BLIND, BUDGET, PLAIN, PROVENANCE, ROUND, TINY, draw_network, fly_golden, make_satellite

from onboard import closed_form
from onboard.admission import admit, measure
from onboard.budget import Budget, BudgetError, check, estimate, margins, violations
from onboard.bundle import Bundle, SatelliteBundle
from onboard.network import Architecture, Design, Dtype
from onboard.processors import PROCESSORS, Processor, find

# TINY with 4 units: 194 parameters and 208 MACs (tests of the network); on ROUND, twice a Cortex-M7's instructions. Its
# windows take 10 MACs in double precision, for which a Cortex-M7 needs 60 instructions each.
INSTRUCTIONS = 2 * (closed_form.instructions("cortex-m7", TINY, Design(4)) + 10 * 60)
MOST = 2 * (closed_form.bound("cortex-m7", TINY, Design(4)) + 10 * 60)  # of the longest decision
LONGEST_MS = MOST * 4 / 10e3
RAM = 4 * (353 + 127 + 2 * 63 + 4)  # storage, working memory, two models, a hidden state
EXACT = Budget(194, 776, RAM, 208, MOST, LONGEST_MS, 2 * LONGEST_MS, 99.0, 3, ROUND, 12, 10)


def test_a_processor_by_hand() -> None:
    """238 instructions at 2 cycles each and 1 MHz."""
    processor = Processor("p", "c", 1.0, None, 0.5, 2.0, "leon3", 1.5, "made up")
    assert processor.latency_ms(238) == pytest.approx(0.476)
    assert processor.energy_mj(238) == pytest.approx(0.238)
    counted = closed_form.instructions("leon3", BLIND, Design(6))
    assert processor.instructions(BLIND, Design(6)) == pytest.approx(1.5 * counted)


def test_costs_by_hand() -> None:
    cost = measure(make_satellite())
    assert (cost.satellite, cost.processor, cost.parameters, cost.bytes) == ("scout", "round", 194, 776)
    assert (cost.macs, cost.flops, cost.ram_bytes, cost.sensing_macs) == (208, 416, RAM, 10)
    assert cost.instructions == INSTRUCTIONS
    assert cost.latency_ms == pytest.approx(INSTRUCTIONS * 4 / 10e3)
    assert cost.energy_mj == pytest.approx(INSTRUCTIONS * 8 / 10e3)
    assert (cost.most_instructions, cost.longest_ms) == pytest.approx((MOST, LONGEST_MS))
    assert cost.most_energy_mj == pytest.approx(2 * LONGEST_MS)
    assert 1.0 < MOST / INSTRUCTIONS < 1.3


@pytest.mark.parametrize(("core", "each"), [("leon3", 5.2), ("cortex-a53", 5.2), ("cortex-m4", 60), ("cortex-m7", 60)])
def test_what_is_computed_before_the_network_counts(core: str, each: float) -> None:
    """10 MACs of TINY's windows beside the network, in software where a core has no unit for doubles."""
    processor = dataclasses.replace(ROUND, counted_as=core, factor=1.5)
    cost = estimate(TINY, Design(4), processor)
    assert cost.instructions == pytest.approx(1.5 * (closed_form.instructions(core, TINY, Design(4)) + 10 * each))
    sensors_only = dataclasses.replace(TINY, blocks=tuple(dataclasses.replace(b, macs=0) for b in TINY.blocks))
    assert estimate(sensors_only, Design(4), processor).instructions == processor.instructions(TINY, Design(4))


def test_costs_of_int8_by_hand() -> None:
    """PLAIN, 5 units: 35 + 75 + 75 + 15 weights of a byte, padded to words in the engine, 38 scales and 38 biases."""
    satellite = fly_golden(PLAIN, draw_network(PLAIN, Design(5, Architecture.RECURRENT, dtype=Dtype.INT8), 1), 1)
    cost = measure(satellite)
    assert (cost.parameters, cost.bytes) == (200 + 38, 200 + 8 * 38)
    # Storage: encoder 8*7/4 + 16, GRU twice 16*5/4 + 32, head 8*5/4 + 16. Working: 14 + 4 + 10 rows of 8 units + 8.
    assert cost.ram_bytes == 4 * ((14 + 16) + 2 * (20 + 32) + (10 + 16) + (14 + 4 + 80 + 8) + 2 * 61 + 5)


@pytest.mark.parametrize("name", PROCESSORS)
def test_built_in_processors_are_plausible(name: str) -> None:
    """More work takes more of everything, and a small network at least an instruction per multiply-accumulate."""
    small, large = (estimate(BLIND, Design(units), find(name)) for units in (8, 64))
    assert small.macs < small.instructions < large.instructions < 20 * large.macs
    assert small.latency_ms < large.latency_ms and small.energy_mj < large.energy_mj


def test_what_is_estimated_before_training_is_measured_after() -> None:
    for spec, hidden in ((TINY, 4), (BLIND, 6), (TINY, 32)):
        assert estimate(spec, Design(hidden), ROUND) == measure(make_satellite(spec, hidden))


def test_a_budget_is_checked_before_training() -> None:
    check([(TINY, Design(4)), (dataclasses.replace(TINY, name="twin"), Design(4))], EXACT)
    with pytest.raises(BudgetError) as caught:
        wide = (dataclasses.replace(TINY, name="wide"), Design(9))
        check([(TINY, Design(4)), (TINY, Design(3)), wide], EXACT, bits_per_decision=12)
    granted = ("MACs of sensing per decision", "bits sent per decision")
    for quantity in (each for each in QUANTITIES if each not in granted):
        assert str(caught.value).count(f"satellite 'wide': {quantity} ") == 1
    assert "'scout'" not in str(caught.value)
    with pytest.raises(BudgetError, match=r"'scout': bits sent per decision 13 exceeds the limit 12$"):
        check([(TINY, Design(4))], EXACT, bits_per_decision=13)
    with pytest.raises(BudgetError) as both:
        check([(TINY, Design(4)), (BLIND, Design(6))], dataclasses.replace(BUDGET, max_parameters=100))
    assert [name in str(both.value) for name in ("'scout': parameters 194", "'relay-1': parameters ")] == [True, True]


QUANTITIES = (
    "parameters",
    "weights",
    "RAM",
    "MACs per decision",
    "MACs of sensing per decision",
    "most instructions on round",
    "longest latency on round",
    "most energy on round",
    "bits sent per decision",
)


def test_within_budget() -> None:
    bundle = Bundle("sample", (make_satellite(TINY, 4), make_satellite(BLIND, 6)), PROVENANCE)
    assert [cost.satellite for cost in admit(bundle)] == ["scout", "relay-1"]
    assert violations(measure(make_satellite()), EXACT) == []  # the limit itself is granted
    assert [margin.quantity for margin in margins(measure(make_satellite()), EXACT)] == list(QUANTITIES)


@pytest.mark.requirement("EX-1")
@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ({"max_parameters": 193}, "parameters 194 exceeds the limit 193"),
        ({"max_bytes": 775}, "weights 776 exceeds the limit 775 bytes"),
        ({"max_ram_bytes": RAM - 1}, f"RAM {RAM} exceeds the limit {RAM - 1} bytes"),
        ({"max_macs_per_decision": 207}, "MACs per decision 208 exceeds the limit 207"),
        (
            {"max_instructions": MOST - 0.5},
            f"most instructions on round {MOST:.6g} exceeds the limit {MOST - 0.5:.6g}",
        ),
        ({"max_latency_ms": 1.5}, f"longest latency on round {LONGEST_MS:.6g} exceeds the limit 1.5 ms"),
        ({"deadline_ms": 0.05}, f"longest latency on round {LONGEST_MS:.6g} exceeds the limit 0.05 ms"),
        ({"max_energy_mj": 3}, f"most energy on round {2 * LONGEST_MS:.6g} exceeds the limit 3 mJ"),
        ({"max_sensing_macs": 9}, "MACs of sensing per decision 10 exceeds the limit 9"),
        ({"max_bits_per_decision": 11}, "bits sent per decision 12 exceeds the limit 11"),
        ({"max_bits_per_decision": 0}, "bits sent per decision 12 exceeds the limit 0"),
    ],
)
def test_each_violation_is_named_with_number_and_limit(limit: dict[str, Any], said: str) -> None:
    satellite = talking(make_satellite(budget=dataclasses.replace(BUDGET, **limit)))
    assert violations(measure(satellite), satellite.budget) == [said]
    with pytest.raises(BudgetError, match="satellite 'scout': " + said):
        admit(Bundle("sample", (satellite,), PROVENANCE))


def talking(satellite: SatelliteBundle) -> SatelliteBundle:
    """The same satellite, which broadcasts 12 bits with each decision."""
    return dataclasses.replace(satellite, bits_per_decision=12)


@pytest.mark.requirement("EX-1")
def test_all_violations_of_all_satellites_are_listed() -> None:
    mean = Budget(1, 1, 1, 1, 1, 0.001, 0.001, 0.001, 1, ROUND, 1)
    both = (talking(make_satellite(TINY, 4, budget=mean)), talking(make_satellite(BLIND, 6, budget=mean)))
    bundle = Bundle("sample", both, PROVENANCE)
    with pytest.raises(BudgetError) as caught:
        admit(bundle)
    for satellite in ("scout", "relay-1"):
        for quantity in QUANTITIES:
            if (satellite, quantity) == ("relay-1", "MACs of sensing per decision"):
                continue  # its sensors give all that it sees
            assert str(caught.value).count(f"satellite {satellite!r}: {quantity} ") == 1


@pytest.mark.requirement("EX-1")
def test_a_processor_with_less_ram_is_the_tighter_limit() -> None:
    small = dataclasses.replace(BUDGET, processor=dataclasses.replace(ROUND, ram_bytes=RAM - 4))
    assert violations(measure(make_satellite()), small) == [f"RAM {RAM} exceeds the limit {RAM - 4} bytes"]
    large = dataclasses.replace(BUDGET, processor=dataclasses.replace(ROUND, ram_bytes=10**9))
    assert margins(measure(make_satellite()), large)[2].limit == BUDGET.max_ram_bytes


def test_unknown_processor_lists_the_known() -> None:
    with pytest.raises(
        ValueError,
        match=r"processor='Z80' is not allowed: it must be one of RAD750, .*, or a profile of",
    ):
        find("Z80")
    assert set(PROCESSORS) == {"RAD750", "GR712RC", "GR740", "VA41630", "SAMV71Q21RT", "Zynq-7020", "ZynqMP"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_parameters", 0),
        ("max_bytes", 1.5),
        ("max_ram_bytes", True),
        ("max_macs_per_decision", -1),
        ("max_misses", 0),
        ("max_bits_per_decision", -1),
        ("max_bits_per_decision", 1.5),
        ("max_instructions", 0.0),
        ("max_latency_ms", float("nan")),
        ("max_energy_mj", float("inf")),
        ("deadline_ms", "soon"),
    ],
)
def test_budget_out_of_range(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"budget.{field}={value!r} is not allowed"):
        dataclasses.replace(BUDGET, **{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("clock_mhz", 0),
        ("power_w", -1.0),
        ("cpi", float("nan")),
        ("factor", 0.0),
        ("factor", 10**400),
        ("counted_as", "z80"),
        ("counted_as", None),
        ("ram_bytes", 0),
        ("core", 7),
        ("basis", "two\nlines"),
    ],
)
def test_a_processor_that_cannot_be(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"processor 'round' {field}="):
        dataclasses.replace(ROUND, **{field: value})


def test_a_processor_without_a_clock() -> None:
    profile = ROUND.to_dict()
    del profile["clock_mhz"]
    with pytest.raises(ValueError, match=r"processor=\[.*\] is not allowed: it must be an object with .*'clock_mhz'"):
        Processor.from_dict(profile)


def test_budget_survives_json() -> None:
    assert Budget.from_dict(BUDGET.to_dict()) == BUDGET
    mine = dataclasses.replace(BUDGET, processor=find("SAMV71Q21RT"))
    assert Budget.from_dict(mine.to_dict()) == mine
