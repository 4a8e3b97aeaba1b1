"""Admission: costs against numbers worked out by hand, and every violation named."""

from __future__ import annotations

import dataclasses

import pytest
from onboard_samples import BLIND, BUDGET, PROVENANCE, TINY, make_actor, make_satellite

from onboard.budget import Budget, BudgetError, admit, check, estimate, margins, measure, violations
from onboard.bundle import Bundle
from onboard.processors import PROCESSORS, Processor, find
from onboard.spec import AgentSpec

# Emulated instruction counts of a C engine on networks of 80 inputs, 11 actions and 16, 32 or 256 units.
MACS = {16: 2992, 32: 9056, 256: 416512}


@pytest.mark.parametrize(
    ("name", "hidden", "counted", "within"),
    [
        ("SAMV71Q21RT", 16, 22_102, 0.006),
        ("SAMV71Q21RT", 32, 62_379, 0.006),
        ("SAMV71Q21RT", 256, 2.56e6, 0.006),
        ("VA41630", 32, 62_379, 0.006),
        ("GR712RC", 16, 26_828, 0.006),
        ("GR712RC", 32, 74_874, 0.006),
        ("GR712RC", 256, 3.01e6, 0.006),
        ("RAD750", 16, 23_659, 1e-9),
        ("ZynqMP", 16, 14_688, 1e-9),
    ],
)
def test_instruction_model_agrees_with_emulated_counts(name: str, hidden: int, counted: float, within: float) -> None:
    assert find(name).instructions(MACS[hidden], hidden) == pytest.approx(counted, rel=within)


@pytest.mark.parametrize(
    ("name", "hidden", "counted"), [("RAD750", 32, 64_668), ("RAD750", 256, 3.02e6), ("ZynqMP", 32, 39_123)]
)
def test_per_mac_models_are_not_below_emulated_counts(name: str, hidden: int, counted: float) -> None:
    assert counted < find(name).instructions(MACS[hidden], hidden)


def test_costs_by_hand() -> None:
    """TINY with 4 units: 194 parameters and 208 MACs (tests of the network)."""
    cost = measure(make_satellite(), find("GR712RC"))
    assert (cost.satellite, cost.parameters, cost.bytes, cost.macs, cost.flops) == ("scout", 194, 776, 208, 416)
    assert cost.instructions == 7 * 208 + 117 * 12 + 300 == 3160
    assert cost.latency_ms == pytest.approx(3160 * 3 / 80e3)
    assert cost.energy_mj == pytest.approx(1.5 * cost.latency_ms)
    assert measure(make_satellite(), find("SAMV71Q21RT")).latency_ms == pytest.approx(
        (6 * 208 + 81 * 12 + 260) * 2 / 300e3
    )


@pytest.mark.parametrize(("spec", "hidden"), [(TINY, 4), (BLIND, 6), (TINY, 32)])
def test_what_is_estimated_before_training_is_measured_after(spec: AgentSpec, hidden: int) -> None:
    actor = make_actor(spec, hidden, 0)  # torch's own count
    cost = estimate(spec, hidden, find("RAD750"))
    assert cost.parameters == sum(parameter.numel() for parameter in actor.parameters())
    assert cost.bytes == sum(parameter.float().nbytes for parameter in actor.parameters())
    assert cost == measure(make_satellite(spec, hidden), find("RAD750"))


def test_a_budget_is_checked_before_training() -> None:
    exact = Budget(194, 776, 208, 3160 * 3 / 80e3, 1.0, "GR712RC")
    check([(TINY, 4), (dataclasses.replace(TINY, name="twin"), 4)], exact)
    with pytest.raises(BudgetError) as caught:
        check([(TINY, 4), (TINY, 3), (dataclasses.replace(TINY, name="wide"), 5)], exact)
    for quantity in ("parameters", "weights", "MACs per decision", "modelled latency on GR712RC"):
        assert str(caught.value).count(f"satellite 'wide': {quantity} ") == 1
    assert "'scout'" not in str(caught.value)
    with pytest.raises(BudgetError) as both:
        check([(TINY, 4), (BLIND, 6)], dataclasses.replace(BUDGET, max_parameters=100))
    assert [name in str(both.value) for name in ("'scout': parameters 194", "'relay-1': parameters ")] == [True, True]


def test_within_budget() -> None:
    bundle = Bundle("sample", (make_satellite(TINY, 4), make_satellite(BLIND, 6)), PROVENANCE)
    assert [cost.satellite for cost in admit(bundle)] == ["scout", "relay-1"]
    exact = Budget(194, 776, 208, 3160 * 3 / 80e3, 1.0, "GR712RC")
    assert violations(measure(make_satellite(), find("GR712RC")), exact) == []  # the limit itself is granted


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ({"max_parameters": 193}, "parameters 194 exceeds the limit 193"),
        ({"max_bytes": 775}, "weights 776 exceeds the limit 775 bytes"),
        ({"max_macs_per_decision": 207}, "MACs per decision 208 exceeds the limit 207"),
        ({"max_latency_ms": 0.1}, "modelled latency on GR712RC 0.1185 exceeds the limit 0.1 ms"),
        ({"deadline_ms": 0.05}, "modelled latency on GR712RC 0.1185 exceeds the limit 0.05 ms"),
    ],
)
def test_each_violation_is_named_with_number_and_limit(limit: dict[str, float], said: str) -> None:
    satellite = make_satellite(budget=dataclasses.replace(BUDGET, **limit))  # type: ignore[arg-type]
    assert violations(measure(satellite, find("GR712RC")), satellite.budget) == [said]
    with pytest.raises(BudgetError, match="satellite 'scout': " + said):
        admit(Bundle("sample", (satellite,), PROVENANCE))


def test_all_violations_of_all_satellites_are_listed() -> None:
    mean = Budget(1, 1, 1, 0.001, 0.001, "VA41630")
    bundle = Bundle("sample", (make_satellite(TINY, 4, budget=mean), make_satellite(BLIND, 6, budget=mean)), PROVENANCE)
    with pytest.raises(BudgetError) as caught:
        admit(bundle)
    message = str(caught.value)
    for satellite in ("scout", "relay-1"):
        for quantity in ("parameters", "weights", "MACs per decision", "modelled latency on VA41630"):
            assert message.count(f"satellite {satellite!r}: {quantity} ") == 1


def test_weights_that_exceed_the_processors_ram() -> None:
    generous = Budget(10**9, 10**9, 10**9, 1e9, 1e9, "SAMV71Q21RT")
    cost = dataclasses.replace(measure(make_satellite(), find("SAMV71Q21RT")), bytes=384 * 1024 + 4)
    assert violations(cost, generous) == ["weights 393220 exceeds the limit 393216 bytes"]
    assert [margin.limit for margin in margins(cost, generous)][1] == 393216


def test_unknown_processor_lists_the_known() -> None:
    with pytest.raises(
        ValueError, match=r"processor='Z80' is not allowed: it must be one of RAD750, GR712RC, .*ZynqMP"
    ):
        find("Z80")
    with pytest.raises(ValueError, match="'Z80'"):
        dataclasses.replace(BUDGET, processor="Z80")
    assert set(PROCESSORS) == {"RAD750", "GR712RC", "GR740", "VA41630", "SAMV71Q21RT", "Zynq-7020", "ZynqMP"}


@pytest.mark.parametrize(
    ("field", "value"),
    [("max_parameters", 0), ("max_bytes", 1.5), ("max_macs_per_decision", -1), ("max_latency_ms", float("nan"))],
)
def test_budget_out_of_range(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"budget.{field}={value} is not allowed"):
        dataclasses.replace(BUDGET, **{field: value})  # type: ignore[arg-type]


def test_a_processor_without_a_clock() -> None:
    with pytest.raises(ValueError, match="clock_mhz=0"):
        Processor("mine", "core", 0, None, 1.0, 2.0, 6.0, 81.0, 260.0, "made up")


def test_budget_survives_json() -> None:
    assert Budget.from_dict(BUDGET.to_dict()) == BUDGET
