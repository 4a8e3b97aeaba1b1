"""The budget as it is enforced: a worker that hangs is replaced, and a bundle that costs too much does not fly."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kdmarl_sat.measure.onboard.record import Line, Part, Relation, Tell
from kdmarl_sat.measure.onboard.students import Student
from onboard.admission import admit
from onboard.admission import measure as cost_of
from onboard.budget import Budget, BudgetError
from onboard.bundle import Bundle, SatelliteBundle, read_bundle
from onboard.executor import Executor
from onboard.flightlog import Kind
from onboard.runners import BuildError
from onboard.runners.isolated import IsolatedRunner

DEADLINE_MS = 5.0
WANTED_LATE_MS = 2.0  # beyond the deadline
WANTED_BACK_MS = 5.0

# Each limit of a budget, the figure that it limits, and how a refusal names it.
LIMITS = {
    "max_parameters": ("parameters", "parameters"),
    "max_bytes": ("bytes", "weights"),
    "max_ram_bytes": ("ram_bytes", "RAM"),
    "max_macs_per_decision": ("macs", "MACs per decision"),
    "max_instructions": ("most_instructions", "most instructions on .+"),
    "max_latency_ms": ("longest_ms", "longest latency on .+"),
    "max_energy_mj": ("most_energy_mj", "most energy on .+"),
    "max_bits_per_decision": ("bits_per_decision", "bits sent per decision"),
}


def watchdog(students: Sequence[Student], trials: int, tell: Tell) -> Part:
    """Of the widest student: its worker is stopped by SIGSTOP right before a decision."""
    widest = max(students, key=lambda student: student.satellite.network.design.hidden).satellite
    bundle = Bundle("", (widest,), {})
    found: list[tuple[float, float]] = []
    try:
        executor = Executor(
            bundle, DEADLINE_MS, make_runner=lambda each, ms: IsolatedRunner(each.network, each.spec, ms)
        )
    except BuildError as error:
        text = "a worker stopped by SIGSTOP: falls back and is back in time"
        return Part((Line(text, None, Relation.AT_MOST, note=str(error)),))
    try:
        for trial in range(trials):
            found.append(_stopped(executor, widest, trial))
            tell((trial + 1) / trials, f"{trial + 1} stopped workers")
    finally:
        executor.close()
    late, back = np.array(found).T
    return Part(
        (
            _timed(f"worker stopped by SIGSTOP, deadline {DEADLINE_MS:g} ms: fallback after", late,
                   DEADLINE_MS + WANTED_LATE_MS),
            _timed("the same: killed, replaced, loaded and answering, after the deadline", back, WANTED_BACK_MS),
        ),
        {"fallback_ms": late.tolist(), "back_ms": back.tolist(), "events": executor.log.counts()},
    )  # fmt: skip


def _stopped(executor: Executor, satellite: SatelliteBundle, trial: int) -> tuple[float, float]:
    """Milliseconds until the fallback is decided, and from the deadline until the network decides again.

    The time between the two decisions is nobody's: a satellite decides when it is asked.
    """
    name, golden = satellite.spec.name, satellite.golden
    obs, mask = golden.obs[trial % len(golden.obs)], golden.mask[trial % len(golden.obs)]
    runner = executor.runner(name)
    assert isinstance(runner, IsolatedRunner)
    while _decided(executor, name, obs, mask)[1] is not Kind.DECISION:
        executor.resume(name, 0.0)  # on a busy machine: let it come back from the last trial
    runner.pause()
    late, kind = _decided(executor, name, obs, mask)
    assert kind is Kind.FALLBACK
    back = late - DEADLINE_MS
    while True:
        spent, kind = _decided(executor, name, obs, mask)
        back += spent
        if kind is Kind.DECISION:
            return late, back
        executor.resume(name, 0.0)


def _decided(executor: Executor, name: str, obs: Any, mask: Any) -> tuple[float, Kind]:
    """Milliseconds of a decision, and who made it."""
    start = time.perf_counter()
    executor.decide(name, obs, mask, 0.0)
    spent = (time.perf_counter() - start) * 1e3
    return spent, next(e.kind for e in reversed(executor.log.events) if e.kind in (Kind.DECISION, Kind.FALLBACK))


def _timed(what: str, times_ms: Any, wanted: float) -> Line:
    within = int((times_ms <= wanted).sum())
    note = f"median; {within} of {len(times_ms)} within, longest {times_ms.max():.2f} ms"
    return Line(what, float(np.median(times_ms)), Relation.AT_MOST, wanted, "ms", note)


def admission(bundles: Sequence[Path], tell: Tell) -> Part:
    """Every limit halved to below what is needed, each alone and all together: what the refusals name."""
    broken, named, unasked, shown = 0, 0, 0, ""
    for index, path in enumerate(bundles):
        bundle = read_bundle(path)
        # A bundle that sends nothing cannot exceed the limit on what is sent.
        costs = [cost_of(each) for each in bundle.satellites]
        used = tuple(name for name, (figure, _) in LIMITS.items() if all(getattr(cost, figure) > 0 for cost in costs))
        for limits in (*((name,) for name in used), used):
            tight = [dataclasses.replace(each, budget=_tight(each, limits)) for each in bundle.satellites]
            wanted = [
                rf"satellite '{re.escape(each.spec.name)}': {LIMITS[name][1]} \S+ exceeds the limit \S+"
                for each in tight
                for name in limits
            ]
            broken += len(wanted)
            try:
                admit(dataclasses.replace(bundle, satellites=tuple(tight)))
            except BudgetError as error:
                shown = str(error)
                clauses = shown.removeprefix("the bundle is over its budget: ").split("; ")
                named += sum(any(re.match(pattern, clause) for clause in clauses) for pattern in wanted)
                unasked += max(0, len(clauses) - len(wanted))
        tell((index + 1) / len(bundles), path.name)
    what = "violated limits that a refusal names, with number and limit"
    note = f"{named} of {broken}: every limit alone, and all at once"
    return Part(
        (
            Line(what, named / broken, Relation.EXACTLY, 1.0, "share", note),
            Line("violations named that are none", unasked, Relation.EXACTLY, 0),
        ),
        {"refusal": shown},
    )


def _tight(satellite: SatelliteBundle, limits: Sequence[str]) -> Budget:
    """The satellite's budget with room for all that its network needs, and half of it for these limits."""
    needed = cost_of(satellite)
    values: dict[str, Any] = {}
    for name, (figure, _) in LIMITS.items():
        need = getattr(needed, figure)
        granted = need // 2 if isinstance(need, int) else need / 2
        values[name] = granted if name in limits else 2 * need
    return dataclasses.replace(satellite.budget, deadline_ms=4 * needed.longest_ms, **values)
