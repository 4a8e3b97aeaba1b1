"""Flies a bundle: admits it or refuses it, then decides for each satellite within a deadline and logs every event."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onboard import reference
from onboard.admission import admit
from onboard.authentic import AuthenticityError, Trust
from onboard.bundle import Bundle, SatelliteBundle
from onboard.checks import input_fault, observation_fault, output_fault
from onboard.fields import positive
from onboard.flightlog import FlightLog, Kind
from onboard.golden_check import proved
from onboard.guard import UNKNOWN, Guard, Health, Limits
from onboard.recording import Asked, Recorder, Sent
from onboard.runners import BrokenError, BuildError, DeadlineError, Runner, RunnerError, UpsetError
from onboard.runners.reference import ReferenceRunner
from onboard.spec import BoolArray, FloatArray

Answer = TypeVar("Answer")
MakeRunner = Callable[[SatelliteBundle, float], Runner]  # (satellite, deadline in milliseconds)


def make_reference(satellite: SatelliteBundle, deadline_ms: float) -> Runner:
    return ReferenceRunner(satellite.network, satellite.spec)


class ExecutorError(ValueError):
    """A call that does not fit the bundle; the message is one sentence."""


@dataclass(slots=True, eq=False)
class _Station:
    """One satellite in flight."""

    satellite: SatelliteBundle
    runner: Runner
    deadline_ms: float
    guard: Guard | None
    hidden: FloatArray  # of the last accepted decision
    latencies_ms: list[float] = field(default_factory=list)
    misses: int = 0  # decisions without a usable answer, since the last one with
    stopped: bool = False  # the runner must be started again before it is asked
    told: bool = True  # the intent of the last decision has been sent; there is none before the first
    sent: bool = False  # a message has been asked for since the last decision
    safe: bool = False  # the network is asked no more
    overruled: int | None = None  # the last decision's action before the guard took another


class Executor:
    """Decides for every satellite of a bundle. ``executor.log`` is the flight log.

    Values that a sensor, a network or a runner may get wrong never raise in flight: they are logged and answered with
    a fallback action. Upset weights are reloaded, a runner that was stopped is started again, and a satellite whose
    budget's ``max_misses`` decisions in a row had no usable answer stays in safe mode until ``resume``.
    """

    def __init__(
        self,
        bundle: Bundle,
        deadline_ms: float | None = None,
        clock: Callable[[], float] = time.perf_counter,
        make_runner: MakeRunner = make_reference,
        limits: Mapping[str, Limits] | None = None,
        trust: Trust | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        """
        Args:
            bundle: of the satellites that are to be flown.
            deadline_ms: None: each satellite's own budget says it.
            clock: wall-clock seconds.
            make_runner: starts what computes a satellite's decisions.
            limits: of each satellite's guard; None: nobody is guarded.
            trust: the configured key: flies only what was read with it, and remembers the newest; None: no key.
            recorder: keeps every question and its answer, for ``onboard.replay``; None: nobody does.

        Raises:
            onboard.authentic.AuthenticityError: with ``trust``, the bundle was read without, or is older than another.
            BudgetError: a satellite exceeds its budget.
            BuildError: this machine cannot build or start the runner.
            onboard.golden_check.GoldenError: the runner does not reproduce the golden vectors.
        """
        if trust is not None:
            if bundle.sequence is None:
                raise AuthenticityError("the bundle was read without the key that is configured: read it with the key")
            if bundle.sequence < (newest := trust.newest()):
                raise AuthenticityError(f"the bundle's sequence number {bundle.sequence} is older than {newest}")
        self.log = FlightLog()
        self._clock, self._recorder = clock, recorder
        self._stations: dict[str, _Station] = {}
        try:
            for satellite, cost in zip(bundle.satellites, admit(bundle), strict=True):
                limit_ms = positive("deadline_ms", satellite.budget.deadline_ms if deadline_ms is None else deadline_ms)
                runner = make_runner(satellite, limit_ms)
                name, actions = satellite.spec.name, satellite.spec.actions
                guard = None if limits is None else Guard(limits[name], actions, satellite.fallback)
                self._stations[name] = _Station(satellite, runner, limit_ms, guard, _zeros(satellite))
                error = proved(satellite, runner)
                self.log.add(
                    0.0,
                    satellite.spec.name,
                    Kind.ADMITTED,
                    f"{cost.parameters} parameters, {cost.bytes} bytes, {cost.macs} MACs, {cost.latency_ms:.3g} ms "
                    f"(modelled, {cost.processor}); {len(satellite.golden.action)} golden decisions "
                    + ("to the bit" if satellite.golden.exact else f"within {error:.1g}"),
                )
        except BaseException:
            self.close()
            raise
        if trust is not None and bundle.sequence is not None:
            trust.accept(bundle.sequence)

    def close(self) -> None:
        """Stop every runner."""
        for station in self._stations.values():
            station.runner.close()

    def runner(self, satellite: str) -> Runner:
        """A satellite's runner, for fault injection."""
        return self._station(satellite).runner

    def resume(self, satellite: str, time_s: float) -> None:
        """Leave safe mode, by command from the ground."""
        station = self._station(satellite)
        station.safe, station.misses = False, 0
        station.hidden = _zeros(station.satellite)  # what it remembers is from before, however long ago that was
        self.log.add(time_s, satellite, Kind.RESUMED, "by command")
        if self._recorder is not None:
            self._recorder.resumed(satellite, time_s)

    def reset(self, time_s: float = 0.0) -> None:
        """Forget the past: every hidden state is zero again. The log goes on."""
        for name, station in self._stations.items():
            station.hidden = _zeros(station.satellite)
            if station.guard is not None:
                station.guard.reset()
            self.log.add(time_s, name, Kind.RESET, "hidden state zero")
        if self._recorder is not None:
            self._recorder.reset(time_s)

    def latencies_ms(self, satellite: str) -> tuple[float, ...]:
        """Wall clock of every answer of the runner so far, late ones included."""
        return tuple(self._station(satellite).latencies_ms)

    def send(self, satellite: str, obs: ArrayLike, time_s: float) -> int | None:
        """The message to broadcast before the decision of this moment, the lowest bit first.

        It is computed from the observation [O] without its last block, which is what is heard, and from the memory of
        the last accepted decision. A bundle grants one message for each decision.

        None, and nothing may be sent: the network sends no messages, this decision's has been asked for, the satellite
        is in safe mode, a column is not finite, or there is no answer in time. The last two are logged.

        Raises ExecutorError: as of ``decide``.
        """
        station = self._station(satellite)
        spec, design = station.satellite.spec, station.satellite.network.design
        observed, _ = _checked(station.satellite, obs, np.ones(len(spec.actions), np.bool_), time_s)
        if design.message_bits == 0 or station.sent or station.safe:
            return None
        station.sent = True
        own = observed.copy()
        own[-spec.blocks[-1].columns :] = 0
        fault = observation_fault(own)
        if fault is not None:
            self.log.add(time_s, satellite, *fault)
            return None
        answer = self._asked(station, lambda: station.runner.send(own, station.hidden), time_s)
        if answer is None:
            self.log.add(time_s, satellite, Kind.UNSENT, "no message")
            return None
        message, elapsed_ms = answer
        if elapsed_ms > station.deadline_ms:
            late = f"the message came after {elapsed_ms:.3f} ms, deadline {station.deadline_ms:g} ms"
            self.log.add(time_s, satellite, Kind.UNSENT, late)
            return None
        self.log.add(time_s, satellite, Kind.SENT, f"{message:0{design.message_bits}b}")
        if self._recorder is not None:
            self._recorder.sent(Sent(time_s, satellite, observed, message))
        return message

    def decide(
        self, satellite: str, obs: ArrayLike, mask: ArrayLike, time_s: float, health: Health | None = None
    ) -> int:
        """The action of a satellite for its observation [O] and legal actions [A], at mission time ``time_s``.

        A satellite's guard has the last word, and no ``health`` is bad health to it; the hidden state is carried on as
        if the network's action had been taken.

        An observation that is not finite, an empty mask, or a late or unusable answer gives the first legal fallback
        action, and the hidden state stays that of the last accepted decision.

        Raises ExecutorError: no such satellite, an observation or a mask of the wrong shape or type.
        """
        station = self._station(satellite)
        observed, legal = _checked(station.satellite, obs, mask, time_s)
        station.told, station.sent, station.overruled = False, False, None  # a refused call was no decision
        action = self._guarded(station, self._decided(station, observed, legal, time_s), legal, time_s, health)
        if self._recorder is not None:
            self._recorder.asked(Asked(time_s, satellite, observed, legal, health, action))
        return action

    def shadow(
        self,
        satellite: str,
        obs: ArrayLike,
        mask: ArrayLike,
        time_s: float,
        flown: int,
        health: Health | None = None,
    ) -> bool:
        """Decide and log, while another policy acts: whether both take the action ``flown``.

        Everything else is as of ``decide``: limits, faults and memory too.
        """
        action = self.decide(satellite, obs, mask, time_s, health)
        actions = self._station(satellite).satellite.spec.actions
        if not 0 <= flown < len(actions):
            raise ExecutorError(f"flown={flown} is not allowed: it must be an action from 0 to {len(actions) - 1}")
        if action == flown:
            self.log.add(time_s, satellite, Kind.AGREED, actions[action])
        else:
            self.log.add(time_s, satellite, Kind.DIFFERED, f"{actions[action]}, and {actions[flown]} was flown")
        return action == flown

    def _guarded(self, station: _Station, action: int, legal: BoolArray, time_s: float, health: Health | None) -> int:
        """The guard's action, where it overrides."""
        if station.guard is None:
            return action
        override = station.guard.override(UNKNOWN if health is None else health, action, legal)
        if override is None:
            return action
        station.overruled = action
        actions, name = station.satellite.spec.actions, station.satellite.spec.name
        self.log.add(time_s, name, Kind.OVERRIDE, f"{actions[override[0]]}, not {actions[action]}: {override[1]}")
        return override[0]

    def overruled(self, satellite: str) -> int | None:
        """What the last decision was before the guard took another action; None where it did not."""
        return self._station(satellite).overruled

    def intent(self, satellite: str, target: int, time_s: float) -> int | None:
        """The message to broadcast with the last decision: the number of its target (1, 2, ...), or 0 for none.

        None, and nothing may be sent: the bundle grants no bits, or grants them to messages of the network, this
        decision's intent has been sent, or the number does not fit into the bundle's bits, which is logged.
        """
        station = self._station(satellite)
        bits = station.satellite.bits_per_decision
        if bits == 0 or station.told or station.satellite.network.design.message_bits:
            return None
        if not 0 <= target < 2**bits:
            self.log.add(time_s, satellite, Kind.UNSENT, f"target {target} does not fit into {bits} bits")
            return None
        station.told = True
        return target

    def _decided(self, station: _Station, observed: FloatArray, legal: BoolArray, time_s: float) -> int:
        """The network's action, or a fallback."""
        satellite, actions = station.satellite.spec.name, station.satellite.spec.actions
        fault = input_fault(observed, legal)
        if fault is not None:
            self.log.add(time_s, satellite, *fault)
        elif not station.safe:
            answer = self._answer(station, observed, legal, time_s)
            if answer is not None:
                logits, station.hidden = answer
                station.misses = 0
                action = reference.choose(logits, legal)
                self.log.add(time_s, satellite, Kind.DECISION, actions[action])
                return action
            station.misses += 1
            if station.misses >= station.satellite.budget.max_misses:
                station.safe = True
                self.log.add(time_s, satellite, Kind.SAFE_MODE, f"{station.misses} decisions in a row without answer")
        action = fallback_action(station.satellite, legal)
        self.log.add(time_s, satellite, Kind.FALLBACK, actions[action])
        return action

    def _answer(
        self, station: _Station, obs: FloatArray, mask: BoolArray, time_s: float
    ) -> tuple[FloatArray, FloatArray] | None:
        """Logits and the next hidden state, or None."""
        answer = self._asked(station, lambda: station.runner.step(obs, mask, station.hidden), time_s)
        if answer is None:
            return None
        (logits, hidden), elapsed_ms = answer
        fault = output_fault(logits, hidden, station.satellite, elapsed_ms, station.deadline_ms)
        if fault is None:
            return logits, _carried(hidden)
        self.log.add(time_s, station.satellite.spec.name, *fault)
        return None

    def _asked(self, station: _Station, ask: Callable[[], Answer], time_s: float) -> tuple[Answer, float] | None:
        """The runner's answer and how many milliseconds it took, or None; upset weights are reloaded and asked again,
        once."""
        name, start = station.satellite.spec.name, self._clock()
        for _ in range(2):
            if station.stopped:
                if not self._reload(station, time_s):
                    return None
                station.stopped = False
                self.log.add(time_s, name, Kind.RESPAWNED, "the runner was started again")
            try:
                answer = ask()
            except UpsetError as error:
                self.log.add(time_s, name, Kind.UPSET, str(error))
                if not self._reload(station, time_s):
                    return None
                continue
            except DeadlineError as error:
                station.stopped = True  # started again with the next decision: this one has no time left
                self.log.add(time_s, name, Kind.LATE, str(error))
                return None
            except (BrokenError, BuildError, OSError) as error:
                station.stopped = True
                self.log.add(time_s, name, Kind.FAILED, str(error))
                return None
            except RunnerError as error:
                self.log.add(time_s, name, Kind.BAD_OUTPUT, str(error))
                return None
            elapsed_ms = (self._clock() - start) * 1e3
            station.latencies_ms.append(elapsed_ms)
            return answer, elapsed_ms
        return None

    def _reload(self, station: _Station, time_s: float) -> bool:
        try:
            station.runner.reload()
        except (RunnerError, BuildError, OSError) as error:
            station.stopped = True
            self.log.add(time_s, station.satellite.spec.name, Kind.FAILED, str(error))
            return False
        return True

    def _station(self, satellite: str) -> _Station:
        if satellite not in self._stations:
            raise ExecutorError(f"satellite {satellite!r} is not in the bundle; it has {', '.join(self._stations)}")
        return self._stations[satellite]


def fallback_action(satellite: SatelliteBundle, mask: BoolArray) -> int:
    """The first of the declared fallback actions that is legal; else the first legal action; the first declared one
    if none is legal."""
    declared = [satellite.spec.actions.index(name) for name in satellite.fallback]
    for action in (*declared, *np.flatnonzero(mask)):
        if mask[action]:
            return int(action)
    return declared[0]


def _checked(
    satellite: SatelliteBundle, obs: ArrayLike, mask: ArrayLike, time_s: float
) -> tuple[FloatArray, BoolArray]:
    name, spec = satellite.spec.name, satellite.spec
    try:
        with np.errstate(over="ignore"):  # a number beyond float32 becomes infinite, which is a fault in flight
            observed: FloatArray = np.asarray(obs).astype(np.float32)
        legal: NDArray[np.generic] = np.asarray(mask)
    except (TypeError, ValueError, OverflowError) as error:
        raise ExecutorError(f"satellite {name!r}: its observation or mask is no array of numbers ({error})") from error
    if observed.shape != (spec.obs_size,):
        raise ExecutorError(
            f"satellite {name!r}: the observation has shape {observed.shape}, and ({spec.obs_size},) is expected"
        )
    if legal.shape != (len(spec.actions),) or legal.dtype != np.bool_:
        raise ExecutorError(
            f"satellite {name!r}: the mask is {legal.dtype} of shape {legal.shape}, and bool of shape "
            f"({len(spec.actions)},) is expected"
        )
    if not math.isfinite(time_s):
        raise ExecutorError(f"satellite {name!r}: time_s={time_s!r} is not allowed: it must be finite")
    return observed, legal.astype(np.bool_)


def _carried(hidden: FloatArray) -> FloatArray:
    """A copy that the runner can no longer change."""
    kept = np.array(hidden, np.float32)
    kept.setflags(write=False)
    return kept


def _zeros(satellite: SatelliteBundle) -> FloatArray:
    return _carried(np.zeros(satellite.network.design.hidden, np.float32))
