"""The longest decision of each student on each emulated core, beside counts, and the memory that it takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kdmarl_sat.measure.onboard import bound, footprint
from kdmarl_sat.measure.onboard.record import Line, Relation, Tell
from kdmarl_sat.measure.onboard.students import Student
from onboard import closed_form, emulation
from onboard.runners import BuildError

WITHIN = 1.3  # the bound, as a multiple of the largest count

Found = Mapping[str, Sequence[Mapping[str, Any]]]  # by target: entries of the students, or of what is missing


def measure(students: Sequence[Student], targets: Sequence[str], tell: Tell) -> dict[str, list[dict[str, Any]]]:
    """By target, for each student and weight type: instructions (bound, counted mean and most of adversarial decisions,
    what admission takes), and bytes (stack, rom, ram). ``missing``: why there is none."""
    found: dict[str, list[dict[str, Any]]] = {}
    for index, name in enumerate(targets):
        target = emulation.find(name)
        tell(index / len(targets), f"{target.core}: longest decisions")
        if target.missing:
            found[name] = [{"missing": f"{' '.join(target.missing)} not installed"}]
            continue
        try:
            found[name] = [_entry(target, *each) for each in _networks(students)]
        except BuildError as error:
            found[name] = [{"missing": str(error)}]
    return found


def _networks(students: Sequence[Student]) -> Iterator[tuple[Student, Any]]:
    return ((student, dtype) for student in students for dtype in student.networks)


def _entry(target: emulation.Target, student: Student, dtype: Any) -> dict[str, Any]:
    spec, network = student.satellite.spec, student.networks[dtype]
    longest = bound.measure(target, network, spec)
    exported = dataclasses.replace(student.satellite, network=network)
    return {
        "student": student.name,
        "units": network.design.hidden,
        "dtype": dtype.value,
        **dataclasses.asdict(longest),
        "admission": closed_form.bound(target.name, spec, network.design),
        **dataclasses.asdict(footprint.measure(target, exported)),
    }


def lines(found: Found) -> tuple[Line, ...]:
    """The costliest student of each core, and how tight the bounds are over all of them."""
    told = []
    for name, entries in found.items():
        what = f"{emulation.find(name).core}: bound on the instructions of a decision, costliest student"
        if "missing" in entries[0]:
            told.append(Line(what, None, note=entries[0]["missing"]))
            continue
        worst = max(entries, key=lambda entry: int(entry["bound"]))
        note = (
            f"counted: mean {worst['mean']:,.0f}, most {worst['most']:,}; admission takes {worst['admission']:,.0f}; "
            f"stack {worst['stack']:,} B, ROM {worst['rom']:,} B, RAM {worst['ram']:,} B"
        )
        told.append(Line(what, worst["bound"], Relation.AT_LEAST, worst["most"], note=note))
    every = [entry for entries in found.values() for entry in entries if "missing" not in entry]
    if not every:
        return tuple(told)
    over = f"of {len(every)} students and cores"
    tight = max(entry["bound"] / entry["most"] for entry in every)
    safe = min(entry["bound"] / entry["most"] for entry in every)
    above = min(entry["admission"] / entry["bound"] for entry in every)
    return (
        *told,
        Line("bound of a decision, as a multiple of its largest count: least", safe, Relation.AT_LEAST, 1.0, note=over),
        Line(
            "bound of a decision, as a multiple of its largest count: most", tight, Relation.AT_MOST, WITHIN, note=over
        ),
        Line("what admission takes, as a multiple of the bound: least", above, Relation.AT_LEAST, 1.0, note=over),
    )


def rows(found: Found) -> list[tuple[str, ...]]:
    """Of each core and width and weight type the costliest student: core, network, instructions, bytes."""
    cells: list[tuple[str, ...]] = []
    for name, entries in found.items():
        core = emulation.find(name).core
        if "missing" in entries[0]:
            cells.append((core, "not measured", entries[0]["missing"], ""))
            continue
        for kind in sorted({(entry["units"], entry["dtype"]) for entry in entries}):
            alike = [entry for entry in entries if (entry["units"], entry["dtype"]) == kind]
            worst = max(alike, key=lambda entry: int(entry["bound"]))
            instructions = f"{worst['bound']:,} / {worst['mean']:,.0f} / {worst['most']:,}"
            seen = "not run" if worst["stack_seen"] is None else f"{worst['stack_seen']:,}"
            memory = f"{worst['stack']:,} ({seen}) / {worst['rom']:,} / {worst['ram']:,}"
            cells.append((core, f"{kind[0]} units, {kind[1]}", instructions, memory))
    return cells
