"""What a decision costs a flight processor: instructions counted on emulated ones, and time and energy modelled."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from kdmarl_sat.measure.onboard import worst_case
from kdmarl_sat.measure.onboard.record import Line, Part, Relation, Tell, within
from kdmarl_sat.measure.onboard.students import Student
from onboard import closed_form, emulation, instructions
from onboard.budget import estimate
from onboard.count_instructions import EARLIER
from onboard.emulation import Target
from onboard.network import Dtype, Network
from onboard.processors import PROCESSORS
from onboard.runners import BuildError, RunnerError
from onboard.spec import AgentSpec

JUDGED = "cortex-m7"
SHAPES = ((16, Dtype.FLOAT32), (16, Dtype.INT8), (32, Dtype.FLOAT32), (32, Dtype.INT8), (256, Dtype.FLOAT32))
OBSERVED, ACTIONS = 80, 11
STEPS = 6  # random decisions of each network; how many slots are legal, and little else, makes a difference
COUNTED, MODELLED = "counted", "closed form"


def measure(students: Sequence[Student], targets: Sequence[str], tell: Tell) -> Part:
    """``students``: with flights."""
    counts: dict[str, list[dict[str, Any]]] = {}
    for index, name in enumerate(targets):
        target = emulation.find(name)
        tell(0.3 * index / len(targets), target.core)
        counts[name] = [_counted(target, units, dtype) for units, dtype in SHAPES]
    longest = worst_case.measure(students, targets, within(tell, 0.3, 0.7))
    details = {"instructions": counts, "not_above": EARLIER, "profiles": _profiles(students), "bounds": longest}
    return Part((*_lines(counts), *worst_case.lines(longest)), details)


def _counted(target: Target, units: int, dtype: Dtype) -> dict[str, Any]:
    """Instructions of a decision of the plain network: of kd_step alone, and as flown with the check of all weights."""
    network, spec = instructions.plain(OBSERVED, units, ACTIONS, dtype)
    shape = {"units": units, "dtype": dtype.value}
    if not target.missing:
        try:
            found, _ = instructions.count(target, network, spec, instructions.random_decisions(spec, STEPS))
            return {**shape, "step": found.step.most, "decide": found.decide.most, "how": COUNTED}
        except (BuildError, RunnerError) as error:
            return {**shape, **_modelled(target, network, spec), "why": str(error)}
    return {**shape, **_modelled(target, network, spec), "why": f"{' '.join(target.missing)} not installed"}


def _modelled(target: Target, network: Network, spec: AgentSpec) -> dict[str, Any]:
    form, terms = closed_form.find(target.name, network.design.dtype), closed_form.terms(spec, network.design)
    alone = dataclasses.replace(terms, words=0)  # the check is the only work that goes by the words of weights
    return {"step": round(form(alone)), "decide": round(form(terms)), "how": MODELLED}


def _lines(counts: dict[str, list[dict[str, Any]]]) -> tuple[Line, ...]:
    lines = []
    for found, limit in zip(counts.get(JUDGED, ()), EARLIER[JUDGED], strict=False):
        note = found["how"] + (f": {found['why']}" if "why" in found else "")
        what = f"{emulation.find(JUDGED).core}: instructions of a decision, plain network, {found['units']} units"
        lines.append(
            Line(
                f"{what}, {found['dtype']}",
                found["step"],
                Relation.AT_MOST,
                limit,
                note=f"{note}; {found['decide']:,} with the check of all weights",
            )
        )
    return tuple(lines)


def _profiles(students: Sequence[Student]) -> list[dict[str, Any]]:
    """Of every student on every built-in processor; with the check of all weights."""
    costs = []
    for student in students:
        per_orbit = student.decisions / student.orbits
        for dtype, network in student.networks.items():
            for processor in PROCESSORS.values():
                cost = estimate(student.satellite.spec, network.design, processor)
                costs.append(
                    {
                        "student": student.name,
                        "units": network.design.hidden,
                        "dtype": dtype.value,
                        "decisions_per_orbit": per_orbit,
                        "energy_per_orbit_mj": cost.energy_mj * per_orbit,
                        **dataclasses.asdict(cost),
                    }
                )
    return costs
