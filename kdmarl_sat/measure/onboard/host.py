"""Wall clock of one decision on this machine: backends in turn within one run, so that its load meets all alike."""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kdmarl_sat.measure.onboard.backends import StepFunction, numpy_step, onnx_step, torch_step
from kdmarl_sat.measure.onboard.record import Line, Part, Relation, Tell, within
from kdmarl_sat.measure.onboard.students import PATIENCE_MS, Student
from onboard import instructions, quantise, reference
from onboard.instructions import Decisions
from onboard.network import Architecture, Dtype, Network
from onboard.runners import BuildError
from onboard.runners.isolated import IsolatedRunner
from onboard.runners.native import NativeRunner
from onboard.spec import AgentSpec

WANTED_NATIVE_US = 1.5  # of the plain network with 16 units
WANTED_ISOLATED_US = 15.0
WANTED_RESIDENT_KB = 1000.0
WANTED_TIMES_FASTER = 5.0
PAPER = (80, 11)  # observation columns and actions of the paper-like network
TURN = 20  # calls of a backend before the next one has its turn; one more before them warms its caches
NATIVE, ISOLATED, NUMPY, ONNX, TORCH = "native", "isolated", "numpy", "ONNX Runtime", "torch, eager"

Case = tuple[str, Network, AgentSpec, Decisions]


def measure(students: Sequence[Student], calls: int, tell: Tell) -> Part:
    """``calls``: timed ones of each backend and network."""
    torch.set_num_threads(1)
    cases = _cases(students)
    results: dict[str, dict[str, Any]] = {}
    for index, case in enumerate(cases):
        results[case[0]] = _raced(case, calls, within(tell, index / len(cases), 1 / len(cases)))
    return Part(_lines(results), {"networks": results, "calls": calls, "turn": TURN})


def _cases(students: Sequence[Student]) -> list[Case]:
    """The paper-like network with 16 and 32 units, and the first trained student of each width."""
    cases: list[Case] = []
    for units in (16, 32):
        network, spec = instructions.plain(PAPER[0], units, PAPER[1], Dtype.FLOAT32)
        cases.append((f"plain, {units} units", network, spec, instructions.random_decisions(spec, 32)))
    by_width = {student.satellite.network.design.hidden: student for student in reversed(students)}
    for units, student in sorted(by_width.items()):
        golden = student.satellite.golden
        asked = list(zip(golden.obs.copy(), golden.mask.copy(), strict=True))  # torch refuses arrays that are read-only
        cases.append((f"student, {units} units", student.satellite.network, student.satellite.spec, asked))
    return cases


def _raced(case: Case, calls: int, tell: Tell) -> dict[str, Any]:
    name, network, spec, decisions = case
    backends: dict[str, StepFunction] = {NUMPY: numpy_step(network, spec), TORCH: torch_step(network, spec)}
    missing: dict[str, str] = {}
    if (onnx := onnx_step(network, spec)) is not None:
        backends[ONNX] = onnx
    else:
        missing[ONNX] = "onnxruntime is not installed"
    worker: IsolatedRunner | None = None
    try:
        backends[NATIVE] = NativeRunner(network, spec).step
        if network.design.architecture is Architecture.RECURRENT:
            backends["native, int8"] = NativeRunner(quantise.quantised(network), spec).step
        worker = IsolatedRunner(network, spec, PATIENCE_MS)
        backends[ISOLATED] = worker.step
    except BuildError as error:
        missing[NATIVE if NATIVE not in backends else ISOLATED] = str(error)
    try:
        off = _largest_difference(case, backends)
        spent = race(backends, decisions, network.design.hidden, calls, lambda share: tell(share, name))
        resident = resident_kb(worker.pid) if worker is not None else None
    finally:
        if worker is not None:
            worker.close()
    return {
        "backends": {
            backend: {
                "median_us": float(np.median(times)),
                "p95_us": float(np.percentile(times, 95)),
                "least_us": float(times.min()),
                "largest_difference": off[backend],
            }
            for backend, times in spent.items()
        },
        "missing": missing,
        "isolated_resident_kb": resident,
    }


def race(
    backends: Mapping[str, StepFunction], decisions: Decisions, hidden: int, calls: int, tell: Callable[[float], None]
) -> dict[str, NDArray[np.float64]]:
    """Microseconds of single calls, at least so many of each backend, less what reading the clock takes.

    Rounds: in each, every backend answers the same decision TURN times, and who begins changes.
    """
    clock, state = time.perf_counter_ns, np.zeros(hidden, np.float32)
    names = list(backends)
    spent: dict[str, list[int]] = {name: [] for name in names}
    bare: list[int] = []
    rounds = -(-calls // TURN)
    collecting = gc.isenabled()
    gc.disable()
    try:
        for turn in range(rounds):
            obs, mask = decisions[turn % len(decisions)]
            for _ in range(TURN):
                start = clock()
                bare.append(clock() - start)
            for place in range(len(names)):
                name = names[(turn + place) % len(names)]
                step, times = backends[name], spent[name]
                step(obs, mask, state)
                for _ in range(TURN):
                    start = clock()
                    step(obs, mask, state)
                    times.append(clock() - start)
            tell((turn + 1) / rounds)
    finally:
        if collecting:
            gc.enable()
    return {name: (np.array(times) - np.median(bare)) / 1e3 for name, times in spent.items()}


def _largest_difference(case: Case, backends: Mapping[str, StepFunction]) -> dict[str, float]:
    """Of the logits, from the float32 reference's: all backends must compute the same network to be compared."""
    _, network, spec, decisions = case
    prepared, state = reference.prepared(network), np.zeros(network.design.hidden, np.float32)
    off = dict.fromkeys(backends, 0.0)
    for obs, mask in decisions:
        expected, following = reference.step(prepared, spec, obs, mask, state)
        for name, step in backends.items():
            off[name] = max(off[name], float(np.abs(step(obs, mask, state)[0] - expected).max()))
        state = following
    return off


def resident_kb(pid: int) -> float | None:
    """Of a process, in kB of 1000 bytes; None: this system does not tell."""
    try:
        found = re.search(r"VmRSS:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return None
    return int(found[1]) * 1.024 if found else None


def _lines(results: Mapping[str, Mapping[str, Any]]) -> tuple[Line, ...]:
    def median(network: str, backend: str) -> float | None:
        entry = results[network]["backends"].get(backend)
        return None if entry is None else float(entry["median_us"])

    def why(network: str, *backends: str) -> str:
        return "; ".join(text for name, text in results[network]["missing"].items() if name in backends)

    first = next(iter(results))
    native = Line(
        f"native: median of a decision, {first}",
        median(first, NATIVE),
        Relation.AT_MOST,
        WANTED_NATIVE_US,
        "µs",
        why(first, NATIVE),
    )
    lines = [native]
    for network in results:
        ours, others = median(network, NATIVE), (median(network, NUMPY), median(network, ONNX))
        rivals = [other for other in others if other is not None]
        known = ours is not None and len(rivals) == len(others)
        lines.append(
            Line(
                f"native: times faster than the faster of numpy and ONNX Runtime, {network}",
                min(rivals) / ours if known and ours else None,
                Relation.AT_LEAST,
                WANTED_TIMES_FASTER,
                note=why(network, NATIVE, ONNX),
            )
        )
    resident = [entry["isolated_resident_kb"] for entry in results.values() if entry["isolated_resident_kb"]]
    return (
        *lines,
        *(
            Line(
                f"isolated: median of a decision, {network}",
                median(network, ISOLATED),
                Relation.AT_MOST,
                WANTED_ISOLATED_US,
                "µs",
                why(network, NATIVE, ISOLATED),
            )
            for network in results
        ),
        Line(
            "isolated: resident memory of a worker, the largest",
            max(resident, default=None),
            Relation.AT_MOST,
            WANTED_RESIDENT_KB,
            "kB",
        ),
    )
