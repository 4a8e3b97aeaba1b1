"""Bit identity: decisions flown in closed loop, replayed on every runner and emulated processor, and in torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from envs.files import read_json
from kdmarl_sat.measure.onboard.backends import StepFunction, torch_step
from kdmarl_sat.measure.onboard.parts import WANTED_DECISIONS
from kdmarl_sat.measure.onboard.record import Line, Part, RecordError, Relation, Tell, within
from kdmarl_sat.measure.onboard.students import PATIENCE_MS, Flight, Student
from onboard import emulation, reference
from onboard.network import Dtype, Network
from onboard.runners import BuildError, Runner, RunnerError
from onboard.runners.emulated import EmulatedRunner
from onboard.runners.isolated import IsolatedRunner
from onboard.runners.native import NativeRunner
from onboard.runners.reference import ReferenceRunner
from onboard.spec import AgentSpec

TORCH_TOLERANCE = 1e-6  # of a logit
INT8_AGREEMENT = 0.99

Make = Callable[[Network, AgentSpec], Runner]


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """To the decisions of a flight; NaN from where a runner gave up."""

    logits: NDArray[Any]  # [D, A]
    hidden: NDArray[Any]  # [D, H] after each decision
    fault: str = ""


Expected = Mapping[tuple[int, Dtype], Sequence[Answers]]  # of each student and weight type, the reference's


def runners(targets: Sequence[str]) -> dict[str, Make]:
    """Whatever must give the reference's bits, by the name that the table gives it."""

    def emulated(target: str) -> Make:
        return lambda network, spec: EmulatedRunner(network, spec, target, PATIENCE_MS)

    return {
        "native runner": NativeRunner,
        "isolated runner": lambda network, spec: IsolatedRunner(network, spec, PATIENCE_MS),
        **{f"{emulation.find(target).core}, emulated": emulated(target) for target in targets},
    }


def replay(step: StepFunction, hidden: int, flight: Flight, dtype: type[np.floating[Any]] = np.float32) -> Answers:
    """A flight's decisions again, each with the hidden state that the one before left."""
    logits = np.full(flight.mask.shape, np.nan, dtype)
    states = np.full((len(flight.obs), hidden), np.nan, dtype)
    state = np.zeros(hidden, dtype)
    for t, (obs, mask) in enumerate(zip(flight.obs.astype(dtype), flight.mask, strict=True)):
        try:
            logits[t], state = step(obs, mask, state)
        except RunnerError as error:
            return Answers(logits, states, f"decision {t}: {error}")
        states[t] = state
    return Answers(logits, states)


def different(ours: Answers, theirs: Answers) -> int:
    """Logits and hidden values that differ in any bit."""
    pairs = ((ours.logits, theirs.logits), (ours.hidden, theirs.hidden))
    return sum(int(np.count_nonzero(a.view(np.uint32) != b.view(np.uint32))) for a, b in pairs)


def choices(answers: Answers, flight: Flight) -> NDArray[np.int64]:
    return np.array([reference.choose(*pair) for pair in zip(answers.logits, flight.mask, strict=True)], np.int64)


def measure(students: Sequence[Student], targets: Sequence[str], quantised: Path, tell: Tell) -> Part:
    """``students``: with flights; ``quantised``: the folder of the records of kdmarl-sat quantise."""
    torch.set_num_threads(1)
    ways = runners(targets)
    expected = {
        (index, dtype): _flown_again(ReferenceRunner, network, student)
        for index, student in enumerate(students)
        for dtype, network in student.networks.items()
    }
    lines = []
    for place, (way, make) in enumerate(ways.items()):
        lines.append(_compared(way, make, students, expected, within(tell, place / len(ways), 1 / len(ways))))
    return Part(
        (
            *_flown_alike(students, expected),
            *lines,
            *_torch(students, expected),
            *_int8(students, expected),
            *(_return_lost(name, quantised) for name in sorted({student.bundle for student in students})),
        ),
        {"students": _listed(students)},
    )


def _compared(way: str, make: Make, students: Sequence[Student], expected: Expected, tell: Tell) -> Line:
    what = f"{way}: logits and states that are not the reference's to the bit"
    compared, off, faults = 0, 0, []
    for done, (index, dtype) in enumerate(expected):
        tell(done / len(expected), way)
        student = students[index]
        try:
            found = _flown_again(make, student.networks[dtype], student)
        except BuildError as error:
            return Line(what, None, Relation.EXACTLY, 0, note=str(error))
        compared += sum(answers.logits.size + answers.hidden.size for answers in found)
        off += sum(different(*pair) for pair in zip(found, expected[index, dtype], strict=True))
        faults += [answers.fault for answers in found if answers.fault]
    note = f"of {compared:,}, float32 and int8" + (f"; {len(faults)} × {faults[0]}" if faults else "")
    return Line(what, off, Relation.EXACTLY, 0, note=note)


def _flown_again(make: Make, network: Network, student: Student) -> list[Answers]:
    runner = make(network, student.satellite.spec)
    try:
        return [replay(runner.step, network.design.hidden, flight) for flight in student.flights]
    finally:
        runner.close()


def _flown_alike(students: Sequence[Student], expected: Expected) -> list[Line]:
    by_bundle = {name: sum(s.decisions for s in students if s.bundle == name) for name in {s.bundle for s in students}}
    alike = sum(
        int(np.array_equal(choices(answers, flight), flight.action))
        for index, student in enumerate(students)
        for answers, flight in zip(expected[index, Dtype.FLOAT32], student.flights, strict=True)
    )
    flights = sum(len(student.flights) for student in students)
    return [
        Line(
            "closed-loop decisions of a bundle's trained students, replayed",
            min(by_bundle.values()),
            Relation.AT_LEAST,
            WANTED_DECISIONS,
            note=", ".join(f"{name}: {count:,}" for name, count in sorted(by_bundle.items())),
        ),
        Line(
            "flights whose replay chooses every action as it was flown",
            alike / flights,
            Relation.EXACTLY,
            1.0,
            "share",
            f"of {flights} flights of one satellite",
        ),
    ]


def _torch(students: Sequence[Student], expected: Expected) -> list[Line]:
    """Torch carries hidden states of its own. In float64 it tells whose rounding a difference is."""
    off, ours, theirs = Difference(), Difference(), Difference()
    equal, total = 0, 0
    for index, student in enumerate(students):
        network, spec = student.satellite.network, student.satellite.spec
        single, double = (torch_step(network, spec, dtype) for dtype in (torch.float32, torch.float64))
        for answers, flight in zip(expected[index, Dtype.FLOAT32], student.flights, strict=True):
            rounded = replay(single, network.design.hidden, flight)
            exact = replay(double, network.design.hidden, flight, np.float64)
            off.take(answers, rounded)
            ours.take(answers, exact)
            theirs.take(rounded, exact)
            equal += int(np.count_nonzero(choices(answers, flight) == choices(rounded, flight)))
            total += len(flight.obs)
    return [
        Line(
            "PyTorch, float32: largest difference of a logit, relative where the decision's largest logit exceeds 1",
            off.of_decision,
            Relation.AT_MOST,
            TORCH_TOLERANCE,
            note=f"absolute: {off.absolute:.1e}",
        ),
        Line(
            "PyTorch, float32: largest difference of a logit, relative where the logit exceeds 1",
            off.of_logit,
            Relation.AT_MOST,
            TORCH_TOLERANCE,
            note=f"from torch in float64: ours {ours.of_logit:.1e}, torch's own float32 {theirs.of_logit:.1e}",
        ),
        Line("torch: equal actions in float32", equal / total, Relation.EXACTLY, 1.0, "share", f"of {total:,}"),
    ]


class Difference:
    """The largest of a logit so far: absolute, and as a share of something that is taken for at least 1."""

    def __init__(self) -> None:
        self.absolute = self.of_logit = self.of_decision = 0.0

    def take(self, ours: Answers, theirs: Answers) -> None:
        size = np.abs(theirs.logits)
        off = np.abs(ours.logits.astype(np.float64) - theirs.logits)
        self.absolute = max(self.absolute, float(off.max()))
        self.of_logit = max(self.of_logit, float((off / np.maximum(1, size)).max()))
        self.of_decision = max(self.of_decision, float((off / np.maximum(1, size.max(axis=1, keepdims=True))).max()))


def _int8(students: Sequence[Student], expected: Expected) -> list[Line]:
    """Each network carries its own hidden state, on the decisions that the float32 one flew."""
    lines = []
    for name in sorted({student.bundle for student in students}):
        equal, total, tuned = 0, 0, True
        for index, student in enumerate(students):
            if student.bundle == name:
                both = (expected[index, dtype] for dtype in (Dtype.FLOAT32, Dtype.INT8))
                for single, int8, flight in zip(*both, student.flights, strict=True):
                    equal += int(np.count_nonzero(choices(single, flight) == choices(int8, flight)))
                    total += len(flight.obs)
                tuned = tuned and student.tuned
        how = "after fine-tuning" if tuned else "only rounded: its fine-tuned bundle is not there"
        what = f"int8: actions equal to float32's, {name}"
        lines.append(Line(what, equal / total, Relation.AT_LEAST, INT8_AGREEMENT, "share", f"of {total:,}, {how}"))
    return lines


def _return_lost(bundle: str, records: Path) -> Line:
    """As kdmarl-sat quantise recorded it, on held-out episodes.

    Raises:
        RecordError: a record that cannot be read.
    """
    what, path = f"int8: team return lost per episode, {bundle}", records / f"{bundle}-int8.json"
    if not path.exists():
        return Line(what, None, note="no record of kdmarl-sat quantise is there")
    try:
        record = read_json(path)
        low, high, estimate = (record["intervals"]["return"]["difference"][key] for key in ("low", "high", "estimate"))
        before, episodes = (
            record["intervals"]["return"]["float32"]["estimate"],
            len(record["episodes"]["int8"]["return"]),
        )
        note = f"of {before:.2f}; 95 % interval [{-high:.2f}, {-low:.2f}], {episodes} held-out episodes"
        return Line(what, -estimate, note=note)
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(
            f"record {path} is not one of kdmarl-sat quantise ({type(error).__name__}: {error})"
        ) from error


def _listed(students: Sequence[Student]) -> list[dict[str, Any]]:
    return [
        {
            "student": student.name,
            "hidden": student.satellite.network.design.hidden,
            "decisions": student.decisions,
            "fine-tuned": student.tuned,
        }
        for student in students
    ]
