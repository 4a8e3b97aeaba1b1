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
    network_of,
)

from onboard.budget import BudgetError
from onboard.bundle import Bundle, SatelliteBundle
from onboard.executor import Executor, ExecutorError, fallback_action
from onboard.flightlog import FlightLog, Kind
from onboard.golden import Golden
from onboard.golden_check import GoldenError, check_golden
from onboard.network import Design
from onboard.runners import BrokenError, BuildError, DeadlineError, RunnerError, UpsetError
from onboard.runners.reference import ReferenceRunner
from onboard.spec import BoolArray, FloatArray


class Recording(ReferenceRunner):
    """Remembers the hidden state that it was given last, and can answer wrongly, or fail a few times."""

    def __init__(self, satellite: SatelliteBundle) -> None:
        self.given: FloatArray = np.zeros(0, np.float32)
        self.answer: tuple[Any, Any] | None = None
        self.failures: list[Exception] = []  # of the next steps
        self.reload_failures: list[Exception] = []
        self.steps = self.reloads = 0
        self.closed = False
        super().__init__(satellite.network, satellite.spec)

    def step(self, obs: FloatArray, mask: BoolArray, hidden: FloatArray) -> tuple[FloatArray, FloatArray]:
        self.steps += 1
        self.given = hidden.copy()
        if self.failures:
            raise self.failures.pop(0)
        right = super().step(obs, mask, hidden)
        return right if self.answer is None else self.answer

    def reload(self) -> None:
        self.reloads += 1
        if self.reload_failures:
            raise self.reload_failures.pop(0)
        super().reload()

    def close(self) -> None:
        self.closed = True


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

    def make(satellite: SatelliteBundle, deadline_ms: float) -> Recording:
        assert deadline_ms == satellite.budget.deadline_ms
        runners.append(Recording(satellite))
        return runners[-1]

    bundle = Bundle("sample", (make_satellite(budget=dataclasses.replace(BUDGET, **limits)),), PROVENANCE)
    executor = Executor(bundle, clock=clock or Clock(), make_runner=make)
    assert executor.runner("scout") is runners[0]
    runners[0].steps = runners[0].reloads = 0  # after the golden vectors
    return executor, runners[0]


def reference_runner(satellite: SatelliteBundle) -> ReferenceRunner:
    return ReferenceRunner(satellite.network, satellite.spec)


def kinds(executor: Executor) -> list[Kind]:
    """All but the admission."""
    return [event.kind for event in executor.log.events if event.kind is not Kind.ADMITTED]


def ask(executor: Executor, time_s: float = 0.0) -> int:
    """The same decision each time; the network chooses another action than the fallback, which is 0."""
    obs, mask = make_inputs(TINY, 12, 32)
    return executor.decide("scout", obs[CHOOSING], mask[CHOOSING], time_s)


CHOOSING = int(np.flatnonzero(make_satellite().golden.action != 0)[0])


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


@pytest.mark.requirement("EX-4")
def test_a_late_answer_is_discarded() -> None:
    clock = Clock()
    executor, runner = fly_recorded(clock, deadline_ms=5.0)
    obs, mask = make_inputs(TINY, 3, 3)
    mask[:] = True
    executor.decide("scout", obs[0], mask[0], 0.0)
    executor.decide("scout", obs[1], mask[1], 1.0)
    accepted = runner.given  # after the first decision
    _, second = reference_runner(make_satellite()).step(obs[1], mask[1], accepted)
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


@pytest.mark.requirement("EX-4")
def test_the_deadline_of_the_executor_overrides_the_budgets() -> None:
    clock = Clock()
    given = []

    def make(satellite: SatelliteBundle, deadline_ms: float) -> ReferenceRunner:
        given.append(deadline_ms)
        return reference_runner(satellite)

    executor = Executor(make_bundle(), deadline_ms=0.5, clock=clock, make_runner=make)
    assert given == [0.5, 0.5, 0.5]
    obs, mask = make_inputs(TINY, 1, 3)
    executor.decide("scout", obs[0], mask[0], 0.0)
    assert executor.log.counts()[Kind.LATE] == 1
    for wrong in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="deadline_ms"):
            Executor(make_bundle(), deadline_ms=wrong)


@pytest.mark.requirement("EX-5")
def test_fallback_is_the_first_legal_one_declared_else_the_first_legal() -> None:
    satellite = dataclasses.replace(make_satellite(BLIND, 6), fallback=("drift", "charge"))
    for mask, action in (
        ([True, True, True], 1),
        ([True, False, True], 0),
        ([False, False, True], 2),
        ([False, False, False], 1),
    ):
        assert fallback_action(satellite, np.array(mask)) == action


@pytest.mark.requirement("EX-3")
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


@pytest.mark.requirement("EX-3")
def test_an_empty_mask() -> None:
    executor, _ = fly_recorded()
    obs, _ = make_inputs(TINY, 1, 3)
    assert executor.decide("scout", obs[0], np.zeros(3, np.bool_), 7.0) == 0
    assert [event.kind for event in executor.log.events[-2:]] == [Kind.EMPTY_MASK, Kind.FALLBACK]


@pytest.mark.requirement("EX-5")
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
    _, second = reference_runner(make_satellite()).step(obs[1], mask[1], runner.given)
    runner.answer = (np.array(logits, np.float32), np.array(hidden, np.float32))
    assert executor.decide("scout", obs[2], np.array([True, True, True]), 2.0) == 0
    assert executor.log.events[-2].kind is Kind.BAD_OUTPUT and said in executor.log.events[-2].detail
    runner.answer = None
    executor.decide("scout", obs[2], mask[2], 3.0)
    np.testing.assert_array_equal(runner.given, second)


@pytest.mark.requirement("EX-5")
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
    with pytest.raises(ExecutorError, match="'sat-9' is not in the bundle; it has scout, relay-1, probe"):
        executor.decide("sat-9", obs[0], mask[0], 0.0)
    with pytest.raises(ExecutorError, match="time_s=nan"):
        executor.decide("scout", obs[0], mask[0], float("nan"))


@pytest.mark.requirement("EX-1")
def test_over_budget_does_not_fly() -> None:
    with pytest.raises(BudgetError, match="parameters 194 exceeds the limit 100"):
        fly_recorded(max_parameters=100)


@pytest.mark.requirement("EX-2")
def test_a_machine_that_does_not_reproduce_the_golden_vectors_does_not_fly() -> None:
    satellite = make_satellite()
    last_bit = satellite.golden.logits.copy()
    last_bit[7, 1] = np.nextafter(last_bit[7, 1], np.float32(9))
    wrong = dataclasses.replace(satellite, golden=dataclasses.replace(satellite.golden, logits=last_bit))
    with pytest.raises(GoldenError, match=r"'scout' must not fly on this machine: golden decision 7 .* allowed 0$"):
        Executor(Bundle("sample", (wrong,), PROVENANCE))
    loose = dataclasses.replace(wrong, golden=dataclasses.replace(wrong.golden, exact=False))
    assert 0 < check_golden(loose, reference_runner(loose)) < 1e-6
    last_bit[7, 1] += 3e-5 * max(1, abs(last_bit[7, 1]))
    with pytest.raises(GoldenError, match=r"golden decision 7 .* off by [23].* allowed 1e-05$"):
        Executor(Bundle("sample", (loose,), PROVENANCE))

    class Drifting(Recording):
        """Right at first, but its hidden state is a little off."""

        def step(self, obs: FloatArray, mask: BoolArray, hidden: FloatArray) -> tuple[FloatArray, FloatArray]:
            logits, after = super().step(obs, mask, hidden)
            return logits, after + np.float32(1e-3)

    made: list[Recording] = []

    def make(satellite: SatelliteBundle, deadline_ms: float) -> Recording:
        made.append(Drifting(satellite))
        return made[-1]

    with pytest.raises(GoldenError, match="golden decision 1 "):
        Executor(make_bundle(), make_runner=make)
    assert [runner.closed for runner in made] == [True]


@pytest.mark.requirement("EX-2")
def test_a_runner_without_answer_to_a_golden_decision_does_not_fly() -> None:
    def make(satellite: SatelliteBundle, deadline_ms: float) -> Recording:
        runner = Recording(satellite)
        runner.failures = [RunnerError("no answer today")]
        return runner

    with pytest.raises(GoldenError, match="'scout' must not fly on this machine: golden decision 0: no answer today"):
        Executor(make_bundle(), make_runner=make)


def test_runners_are_closed_when_one_cannot_be_made() -> None:
    made: list[Recording] = []

    def make(satellite: SatelliteBundle, deadline_ms: float) -> Recording:
        if made:
            raise BuildError("no compiler was found")
        made.append(Recording(satellite))
        return made[-1]

    with pytest.raises(BuildError):
        Executor(make_bundle(), make_runner=make)
    assert made[0].closed


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
        network=network_of(actor, Design(4)),
        golden=Golden(obs, mask, logits.astype(np.float32), action, exact=False),
    )


@pytest.mark.parametrize("lead", [0.0, 5e-6])
def test_another_of_tied_actions_flies(lead: float) -> None:
    satellite = tied_satellite(lead)
    assert check_golden(satellite, reference_runner(satellite)) < 1e-5


@pytest.mark.requirement("EX-2")
@pytest.mark.parametrize("exact", [True, False])
def test_another_action_than_recorded_does_not_fly_whatever_its_logits(exact: bool) -> None:
    satellite = make_satellite()
    action = satellite.golden.action.copy()
    t = int(np.flatnonzero(satellite.golden.mask.sum(axis=1) > 1)[0])
    action[t] = next(a for a in np.flatnonzero(satellite.golden.mask[t]) if a != action[t])
    wrong = dataclasses.replace(satellite, golden=dataclasses.replace(satellite.golden, action=action, exact=exact))
    with pytest.raises(GoldenError, match=f"golden decision {t} gives action"):
        Executor(Bundle("sample", (wrong,), PROVENANCE))


# --- the watchdog ---


@pytest.mark.requirement("EX-7")
def test_upset_weights_are_reloaded_and_asked_again() -> None:
    executor, runner = fly_recorded()
    right = ask(executor)
    executor.reset()
    executor.runner("scout").flip(12345)
    assert ask(executor, 60.0) == right != 0
    assert kinds(executor) == [Kind.DECISION, Kind.RESET, Kind.UPSET, Kind.DECISION]
    assert (runner.steps, runner.reloads) == (3, 1)
    event = executor.log.events[-2]
    assert (event.time_s, event.detail) == (60.0, "the weights in memory have changed")


@pytest.mark.requirement("EX-7")
def test_weights_that_are_upset_again_at_once_fall_back() -> None:
    executor, runner = fly_recorded()
    runner.failures = [UpsetError("upset"), UpsetError("upset again")]
    assert ask(executor) == 0
    assert kinds(executor) == [Kind.UPSET, Kind.UPSET, Kind.FALLBACK]
    assert ask(executor) != 0


@pytest.mark.requirement("EX-8")
def test_a_reload_that_fails_is_tried_again_with_the_next_decision() -> None:
    executor, runner = fly_recorded(max_misses=9)
    runner.failures = [UpsetError("upset")]
    runner.reload_failures = [BrokenError("no process"), RunnerError("bad table"), OSError("no memory")]
    assert [ask(executor) == 0 for _ in range(4)] == [True, True, True, False]
    assert kinds(executor) == [
        *(Kind.UPSET, Kind.FAILED, Kind.FALLBACK),
        *(Kind.FAILED, Kind.FALLBACK),
        *(Kind.FAILED, Kind.FALLBACK),
        *(Kind.RESPAWNED, Kind.DECISION),
    ]
    assert runner.steps == 2  # never asked without its weights


@pytest.mark.requirement("EX-8")
@pytest.mark.parametrize(
    ("failure", "kind"),
    [(DeadlineError("no answer"), Kind.LATE), (BrokenError("it died"), Kind.FAILED), (OSError("pipe"), Kind.FAILED)],
)
def test_a_runner_that_was_stopped_is_started_again_with_the_next_decision(failure: Exception, kind: Kind) -> None:
    executor, runner = fly_recorded()
    ask(executor)
    obs, mask = make_inputs(TINY, 12, 32)
    _, accepted = reference_runner(make_satellite()).step(obs[CHOOSING], mask[CHOOSING], runner.given)
    runner.failures = [failure]
    assert ask(executor, 60.0) == 0
    assert kinds(executor)[1:] == [kind, Kind.FALLBACK] and runner.reloads == 0
    assert executor.log.events[-2].detail == str(failure)
    ask(executor, 120.0)
    assert kinds(executor)[3:] == [Kind.RESPAWNED, Kind.DECISION] and runner.reloads == 1
    np.testing.assert_array_equal(runner.given, accepted)  # it goes on from the last accepted decision


def test_a_refused_answer_does_not_stop_the_runner() -> None:
    executor, runner = fly_recorded()
    runner.failures = [RunnerError("the hidden state is not finite")]
    assert ask(executor) == 0
    assert ask(executor) != 0
    assert kinds(executor) == [Kind.BAD_OUTPUT, Kind.FALLBACK, Kind.DECISION] and runner.reloads == 0


@pytest.mark.requirement("EX-4")
def test_the_time_of_a_reload_counts() -> None:
    """The clock is read before the first attempt and after the last."""
    clock = Clock()
    executor, runner = fly_recorded(clock, deadline_ms=5.0)
    runner.failures = [UpsetError("upset")]
    clock.decision_ms = 6.0
    assert ask(executor) == 0
    assert kinds(executor) == [Kind.UPSET, Kind.LATE, Kind.FALLBACK]


@pytest.mark.requirement("EX-9")
def test_safe_mode_after_too_many_misses_in_a_row_until_resumed() -> None:
    executor, runner = fly_recorded(max_misses=3)
    for failures in (2, 1, 3):  # misses that are not in a row do not count
        runner.failures = [DeadlineError("no answer") for _ in range(failures)]
        for _ in range(failures):
            assert ask(executor) == 0
        if failures < 3:
            assert ask(executor) != 0
    assert kinds(executor)[-3:] == [Kind.LATE, Kind.SAFE_MODE, Kind.FALLBACK]
    assert executor.log.counts()[Kind.SAFE_MODE] == 1
    asked = runner.steps
    obs, _ = make_inputs(TINY, 12, 32)
    for time_s in (600.0, 660.0):
        assert ask(executor, time_s) == 0
        assert executor.decide("scout", obs[0], np.array([False, False, True]), time_s) == 2  # still legal
    assert runner.steps == asked
    assert kinds(executor)[-4:] == [Kind.FALLBACK] * 4
    executor.reset(700.0)
    assert ask(executor, 701.0) == 0  # a reset is not the command to resume
    executor.resume("scout", 800.0)
    assert ask(executor, 801.0) != 0
    assert kinds(executor)[-3:] == [Kind.RESUMED, Kind.RESPAWNED, Kind.DECISION]
    runner.failures = [DeadlineError("no answer")]
    ask(executor)
    assert executor.log.counts()[Kind.SAFE_MODE] == 1  # misses are counted from 0 again


@pytest.mark.requirement("EX-3")
def test_a_faulty_sensor_is_no_miss_of_the_network() -> None:
    executor, _ = fly_recorded(max_misses=1)
    for _ in range(3):
        executor.decide("scout", np.full(9, np.nan), np.ones(3, np.bool_), 0.0)
        executor.decide("scout", np.zeros(9), np.zeros(3, np.bool_), 0.0)
    assert ask(executor) != 0
    assert executor.log.counts()[Kind.SAFE_MODE] == 0


@pytest.mark.requirement("EX-9")
def test_safe_mode_is_each_satellites_own() -> None:
    made: dict[str, Recording] = {}

    def make(satellite: SatelliteBundle, deadline_ms: float) -> Recording:
        return made.setdefault(satellite.spec.name, Recording(satellite))

    executor = Executor(make_bundle(), clock=Clock(), make_runner=make)
    made["scout"].failures = [BrokenError("it died") for _ in range(3)]
    obs, mask = make_inputs(BLIND, 3, 3)
    for t in range(3):
        ask(executor)
        executor.decide("relay-1", obs[t], mask[t], 60.0 * t)
    assert executor.log.counts("scout")[Kind.SAFE_MODE] == 1
    assert executor.log.counts("relay-1")[Kind.DECISION] == 3
    with pytest.raises(ExecutorError, match="'sat-9' is not in the bundle"):
        executor.resume("sat-9", 0.0)
    executor.close()
    assert all(runner.closed for runner in made.values())


# --- the flight log ---


@pytest.mark.requirement("EX-17")
def test_the_log_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    executor = Executor(make_bundle(), deadline_ms=60_000)
    obs, mask = make_inputs(TINY, 1, 3)
    executor.decide("scout", obs[0], mask[0], 12.5)
    executor.log.write(tmp_path / "flight.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "flight.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["admitted", "admitted", "admitted", "decision"]
    assert lines[3] == {"time_s": 12.5, "satellite": "scout", "kind": "decision", "detail": lines[3]["detail"]}
    assert lines[3]["detail"] in TINY.actions
    assert "194 parameters, 776 bytes, 208 MACs" in lines[0]["detail"]

    before = (tmp_path / "flight.jsonl").read_bytes()
    broken = FlightLog()
    broken.add(0.0, "scout", Kind.DECISION, "image_0")
    broken.add(float("nan"), "scout", Kind.DECISION, "image_0")
    with pytest.raises(ValueError, match="not JSON compliant"):
        broken.write(tmp_path / "flight.jsonl")
    assert (tmp_path / "flight.jsonl").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["flight.jsonl"]
