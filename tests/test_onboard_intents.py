"""The executor's intents: one message per decision, never more bits than the bundle grants."""

from __future__ import annotations

import dataclasses

import pytest
from onboard_samples import BUDGET, PROVENANCE, TINY, make_inputs, make_satellite

from onboard.budget import BudgetError
from onboard.bundle import Bundle
from onboard.executor import Executor, ExecutorError
from onboard.flightlog import Kind


def executor_of(bits: int, limit: int = 20) -> Executor:
    budget = dataclasses.replace(BUDGET, max_bits_per_decision=limit)
    satellite = dataclasses.replace(make_satellite(budget=budget), bits_per_decision=bits)
    return Executor(Bundle("sample", (satellite,), PROVENANCE), deadline_ms=60_000)


def decide(executor: Executor, time_s: float) -> None:
    obs, mask = make_inputs(TINY, 1, 3)
    executor.decide("scout", obs[0], mask[0], time_s)


@pytest.mark.requirement("EX-16")
def test_one_message_per_decision() -> None:
    executor = executor_of(3)
    assert executor.intent("scout", 5, 0.0) is None  # nothing has been decided
    decide(executor, 1.0)
    assert executor.intent("scout", 5, 1.0) == 5
    assert executor.intent("scout", 5, 1.0) is None and executor.intent("scout", 0, 1.5) is None
    decide(executor, 2.0)
    assert executor.intent("scout", 0, 2.0) == 0  # no target is a message too
    assert executor.log.counts()[Kind.UNSENT] == 0


@pytest.mark.requirement("EX-16")
def test_a_message_never_has_more_bits_than_the_bundle_grants() -> None:
    executor = executor_of(3)
    decide(executor, 1.0)
    assert [executor.intent("scout", number, 1.0) for number in (8, -1)] == [None, None]
    assert [event.detail for event in executor.log.events if event.kind is Kind.UNSENT] == [
        "target 8 does not fit into 3 bits",
        "target -1 does not fit into 3 bits",
    ]
    assert executor.intent("scout", 7, 1.0) == 7  # the largest that fits
    silent = executor_of(0)
    decide(silent, 1.0)
    assert silent.intent("scout", 0, 1.0) is None and silent.log.counts()[Kind.UNSENT] == 0


def test_a_bundle_over_its_limit_does_not_fly() -> None:
    with pytest.raises(BudgetError, match=r"satellite 'scout': bits sent per decision 17 exceeds the limit 16$"):
        executor_of(17, 16)
    executor_of(16, 16)
    with pytest.raises(ExecutorError, match="satellite 'sat-9' is not in the bundle"):
        executor_of(16).intent("sat-9", 0, 0.0)
