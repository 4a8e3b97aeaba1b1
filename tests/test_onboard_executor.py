"""The executor: what it refuses to fly, and what it does when an answer is late or wrong."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onboard_samples import (
    BLIND,
    BUDGET,
    PROVENANCE,
    TINY,
    fly_torch,
    make_actor,
    make_bundle,
    make_inputs,
    make_satellite,
)

from onboard.budget import BudgetError
from onboard.bundle import Bundle, SatelliteBundle
from onboard.executor import Executor, ExecutorError, GoldenError, check_golden, fallback_action
from onboard.flightlog import FlightLog, Kind
from onboard.golden import Golden
from onboard.runners import ReferenceRunner
from onboard.spec import BoolArray, FloatArray


class Recording(ReferenceRunner):
    """Remembers the hidden state that it was given last, and can answer wrongly."""

    def __init__(self, satellite: SatelliteBundle) -> None:
        super().__init__(satellite)
        self.given: FloatArray = np.zeros(0, np.float32)
        self.answer: tuple[Any, Any] | None = None

    def step(self, obs: FloatArray, mask: BoolArray, hidden: FloatArray) -> tuple[FloatArray, FloatArray]:
        self.given = hidden.copy()
        right = super().step(obs, mask, hidden)
        return right if self.answer is None else self.answer


class Clock:
    """Seconds that pass only between the two readings of a decision."""

    def __init__(self) -> None:
        self.now, self.decision_ms, self.readings = 0.0, 1.0, 0

    def __call__(self) -> float:
        self.now += self.decision_ms / 1e3 if self.readings % 2 else 0.0
        self.readings += 1
        return self.now


def fly_recorded(clock: Clock | None = None, **limits: Any) -> tuple[Executor, Recording]:
    """An executor of one satellite, and its runner."""
    runners: list[Recording] = []

    def make(satellite: SatelliteBundle) -> Recording:
        runners.append(Recording(satellite))
        return runners[-1]

    bundle = Bundle("sample", (make_satellite(budget=dataclasses.replace(BUDGET, **limits)),), PROVENANCE)
    return Executor(bundle, clock=clock or Clock(), make_runner=make), runners[0]


def test_decides_as_torch_does_for_every_satellite_apart() -> None:
    executor = Executor(make_bundle(), deadline_ms=60_000)
    inputs = {spec.name: make_inputs(spec, 40, seed=9) for spec in (TINY, BLIND)}
    expected = {}
    for spec, hidden, seed in ((TINY, 4, 31), (BLIND, 6, 32)):
        obs, mask = inputs[spec.name]
        logits, _ = fly_torch(make_actor(spec, hidden, seed), spec, obs, mask)
        expected[spec.name] = np.where(mask, logits, -np.inf).argmax(axis=1)
    flown: dict[str, list[int]] = {name: [] for name in inputs}
    for t in range(40):  # in turns: the satellites must not share a hidden state
        for name, (obs, mask) in inputs.items():
            flown[name].append(executor.decide(name, obs[t], mask[t], 60.0 * t))
    for name, actions in expected.items():
        assert flown[name] == actions.tolist()
        assert set(flown[name]) == {0, 1, 2}
        assert executor.log.counts(name)[Kind.DECISION] == len(executor.latencies_ms(name)) == 40
    assert executor.log.counts()[Kind.FALLBACK] == 0


def test_reset_forgets() -> None:
    executor, runner = fly_recorded()
    obs, mask = make_inputs(TINY, 2, 3)
    executor.decide("scout", obs[0], mask[0], 0.0)
    executor.decide("scout", obs[1], mask[1], 1.0)
    assert np.abs(runner.given).max() > 0
    executor.reset(time_s=5700.0)
    executor.decide("scout", obs[1], mask[1], 5700.0)
    assert not runner.given.any()
    assert executor.log.counts()[Kind.RESET] == 1


def test_a_late_answer_is_discarded() -> None:
    clock = Clock()
    executor, runner = fly_recorded(clock, deadline_ms=5.0)
    obs, mask = make_inputs(TINY, 3, 3)
    mask[:] = True
    executor.decide("scout", obs[0], mask[0], 0.0)
    executor.decide("scout", obs[1], mask[1], 1.0)
    accepted = runner.given  # after the first decision
    _, second = ReferenceRunner(make_satellite()).step(obs[1], mask[1], accepted)
    clock.decision_ms = 5.1
    assert executor.decide("scout", obs[2], np.array([True, True, True]), 2.0) == 0
    np.testing.assert_array_equal(runner.given, second)
    assert executor.decide("scout", obs[2], np.array([False, False, True]), 3.0) == 2  # charge is not legal
    np.testing.assert_array_equal(runner.given, second)  # still that of the last accepted decision
    clock.decision_ms = 4.9
    executor.decide("scout", obs[2], mask[2], 4.0)
    np.testing.assert_array_equal(runner.given, second)
    counts = executor.log.counts("scout")
    assert (counts[Kind.LATE], counts[Kind.FALLBACK], counts[Kind.DECISION]) == (2, 2, 3)
    late = [event for event in executor.log.events if event.kind is Kind.LATE]
    assert (late[0].time_s, late[0].satellite) == (2.0, "scout")
    assert "5.100 ms, deadline 5 ms" in late[0].detail


def test_the_deadline_of_the_executor_overrides_the_budgets() -> None:
    clock = Clock()
    executor = Executor(make_bundle(), deadline_ms=0.5, clock=clock)
    obs, mask = make_inputs(TINY, 1, 3)
    executor.decide("scout", obs[0], mask[0], 0.0)
    assert executor.log.counts()[Kind.LATE] == 1
    for wrong in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="deadline_ms"):
            Executor(make_bundle(), deadline_ms=wrong)


def test_fallback_is_the_first_legal_one_declared_else_the_first_legal() -> None:
    satellite = dataclasses.replace(make_satellite(BLIND, 6), fallback=("drift", "charge"))
    for mask, action in (
        ([True, True, True], 1),
        ([True, False, True], 0),
        ([False, False, True], 2),
        ([False, False, False], 1),
    ):
        assert fallback_action(satellite, np.array(mask)) == action


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_an_observation_that_is_not_finite(bad: float) -> None:
    executor, runner = fly_recorded()
    obs, mask = make_inputs(TINY, 2, 3)
    executor.decide("scout", obs[0], mask[0], 0.0)
    wrong = obs[1].astype(np.float64)
    wrong[4] = bad
    assert executor.decide("scout", wrong, np.array([True, True, True]), 1.0) == 0
    event = executor.log.events[-2]
    assert (event.kind, event.detail) == (Kind.BAD_OBSERVATION, "1 of 9 columns are not finite, column 4 first")
    assert not runner.given.any()  # the network was not asked
    assert executor.log.counts()[Kind.FALLBACK] == 1


def test_an_empty_mask() -> None:
    executor, _ = fly_recorded()
    obs, _ = make_inputs(TINY, 1, 3)
    assert executor.decide("scout", obs[0], np.zeros(3, np.bool_), 7.0) == 0
    assert [event.kind for event in executor.log.events[-2:]] == [Kind.EMPTY_MASK, Kind.FALLBACK]


@pytest.mark.parametrize(
    ("logits", "hidden", "said"),
    [
        ([0, np.nan, 0], [0, 0, 0, 0], "not finite"),
        ([0, 0, 0], [0, np.inf, 0, 0], "not finite"),
        ([0, 0, 0], [0, -1.5, 0, 0], "|h| is 1.5"),
        ([0, 0], [0, 0, 0, 0], "shape (2,)"),
        ([0, 0, 0], [0, 0], "shape (2,)"),
    ],
)
def test_an_answer_that_cannot_be_right(logits: list[float], hidden: list[float], said: str) -> None:
    executor, runner = fly_recorded()
    obs, mask = make_inputs(TINY, 3, 3)
    executor.decide("scout", obs[0], mask[0], 0.0)
    executor.decide("scout", obs[1], mask[1], 1.0)
    _, second = ReferenceRunner(make_satellite()).step(obs[1], mask[1], runner.given)
    runner.answer = (np.array(logits, np.float32), np.array(hidden, np.float32))
    assert executor.decide("scout", obs[2], np.array([True, True, True]), 2.0) == 0
    assert executor.log.events[-2].kind is Kind.BAD_OUTPUT and said in executor.log.events[-2].detail
    runner.answer = None
    executor.decide("scout", obs[2], mask[2], 3.0)
    np.testing.assert_array_equal(runner.given, second)


def test_overflow_within_the_network_is_a_bad_output() -> None:
    executor, _ = fly_recorded()
    obs = np.full(9, 3e38, np.float32)
    assert executor.decide("scout", obs, np.array([True, True, True]), 0.0) == 0
    assert executor.log.counts()[Kind.BAD_OUTPUT] == 1


@pytest.mark.parametrize(
    ("obs", "mask", "said"),
    [
        (np.zeros(8), np.ones(3, np.bool_), r"the observation has shape \(8,\), and \(9,\) is expected"),
        (np.zeros((1, 9)), np.ones(3, np.bool_), r"the observation has shape \(1, 9\)"),
        (np.zeros(9), np.ones(4, np.bool_), r"the mask is bool of shape \(4,\)"),
        (np.zeros(9), np.ones(3), r"the mask is float64"),
        (["a"] * 9, np.ones(3, np.bool_), "no array of numbers"),
        ([10**400] * 9, np.ones(3, np.bool_), "no array of numbers"),
    ],
)
def test_a_call_that_does_not_fit(obs: Any, mask: Any, said: str) -> None:
    executor, _ = fly_recorded()
    with pytest.raises(ExecutorError, match=f"satellite 'scout': .*{said}"):
        executor.decide("scout", obs, mask, 0.0)


def test_unknown_satellite_and_time() -> None:
    executor = Executor(make_bundle())
    obs, mask = make_inputs(TINY, 1, 3)
    with pytest.raises(ExecutorError, match="'sat-9' is not in the bundle; it has scout, relay-1"):
        executor.decide("sat-9", obs[0], mask[0], 0.0)
    with pytest.raises(ExecutorError, match="time_s=nan"):
        executor.decide("scout", obs[0], mask[0], float("nan"))


def test_over_budget_does_not_fly() -> None:
    with pytest.raises(BudgetError, match="parameters 194 exceeds the limit 100"):
        fly_recorded(max_parameters=100)


def test_a_machine_that_does_not_reproduce_the_golden_vectors_does_not_fly() -> None:
    satellite = make_satellite()
    off = satellite.golden.logits.copy()
    off[7, 1] += 3e-5 * max(1, abs(off[7, 1]))
    wrong = dataclasses.replace(satellite, golden=dataclasses.replace(satellite.golden, logits=off))
    with pytest.raises(GoldenError, match=r"'scout' must not fly on this machine: golden decision 7 .* off by [23]"):
        Executor(Bundle("sample", (wrong,), PROVENANCE))

    class Drifting(ReferenceRunner):
        """Right at first, but its hidden state is a little off."""

        def step(self, obs: FloatArray, mask: BoolArray, hidden: FloatArray) -> tuple[FloatArray, FloatArray]:
            logits, after = super().step(obs, mask, hidden)
            return logits, after + np.float32(1e-3)

    with pytest.raises(GoldenError, match="golden decision 1 "):
        Executor(make_bundle(), make_runner=Drifting)


def tied_satellite(lead: float) -> SatelliteBundle:
    """Five slots that look alike, one after another recorded as chosen, its recorded logit larger by ``lead``."""
    spec = dataclasses.replace(
        TINY, slots=5, blocks=tuple(dataclasses.replace(block, slots=5 * (block.slots > 0)) for block in TINY.blocks)
    )
    actor, generator = make_actor(spec, 4, 31), np.random.default_rng(3)
    platform, priority, window = (generator.normal(0, 1, (20, size)).astype(np.float32) for size in (3, 1, 2))
    obs = np.hstack((platform, np.tile(priority, 5), np.tile(window, 5)))
    mask = np.tile([False, True, True, True, True, True], (20, 1))
    logits, _ = fly_torch(actor, spec, obs, mask)
    assert np.ptp(logits[:, 1:], axis=1).max() < 1e-12
    action = 1 + np.arange(20) % 5
    logits[np.arange(20), action] += lead * np.maximum(1, np.abs(logits[:, 1]))
    return dataclasses.replace(
        make_satellite(),
        spec=spec,
        weights={name: tensor.float().numpy() for name, tensor in actor.state_dict().items()},
        golden=Golden(obs, mask, logits.astype(np.float32), action),
    )


@pytest.mark.parametrize("lead", [0.0, 5e-6])
def test_another_of_tied_actions_flies(lead: float) -> None:
    satellite = tied_satellite(lead)
    assert check_golden(satellite, ReferenceRunner(satellite)) < 1e-5


def test_another_action_than_recorded_does_not_fly_whatever_its_logits() -> None:
    satellite = make_satellite()
    action = satellite.golden.action.copy()
    t = int(np.flatnonzero(satellite.golden.mask.sum(axis=1) > 1)[0])
    action[t] = next(a for a in np.flatnonzero(satellite.golden.mask[t]) if a != action[t])
    wrong = dataclasses.replace(satellite, golden=dataclasses.replace(satellite.golden, action=action))
    with pytest.raises(GoldenError, match=f"golden decision {t} gives action"):
        Executor(Bundle("sample", (wrong,), PROVENANCE))


def test_the_log_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    executor = Executor(make_bundle(), deadline_ms=60_000)
    obs, mask = make_inputs(TINY, 1, 3)
    executor.decide("scout", obs[0], mask[0], 12.5)
    executor.log.write(tmp_path / "flight.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "flight.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["admitted", "admitted", "decision"]
    assert lines[2] == {"time_s": 12.5, "satellite": "scout", "kind": "decision", "detail": lines[2]["detail"]}
    assert lines[2]["detail"] in TINY.actions
    assert "194 parameters, 776 bytes, 208 MACs" in lines[0]["detail"]

    before = (tmp_path / "flight.jsonl").read_bytes()
    broken = FlightLog()
    broken.add(0.0, "scout", Kind.DECISION, "image_0")
    broken.add(float("nan"), "scout", Kind.DECISION, "image_0")
    with pytest.raises(ValueError, match="not JSON compliant"):
        broken.write(tmp_path / "flight.jsonl")
    assert (tmp_path / "flight.jsonl").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["flight.jsonl"]
