"""The bound that admission judges a network by: instructions that no input of a decision exceeds.

bound.json has, for each core and type of weights, the largest ratio of bounds found in the linked image to the closed
form of the mean. A network whose ratio is larger than that of all networks measured would be judged too mildly; its own
bound is measured by ``python -m kdmarl_sat.benchmark_onboard --only bound``.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from onboard import closed_form, fields
from onboard.network import Design, Dtype
from onboard.spec import AgentSpec

FILE = Path(__file__).with_name("bound.json")


@cache
def ratios() -> dict[str, dict[Dtype, float]]:
    """Of the bound to the closed form, by core."""
    stored = json.loads(FILE.read_text())["cores"]
    return {
        core: {dtype: fields.positive(f"{core} {dtype.value}", by_dtype[dtype.value]) for dtype in Dtype}
        for core, by_dtype in stored.items()
    }


def instructions(core: str, spec: AgentSpec, design: Design) -> float:
    """Of one decision with the check of its weights, at most.

    Raises ValueError: no such core was measured.
    """
    if core not in ratios():
        fields.refuse("core", core, f"one of {', '.join(ratios())}")
    return ratios()[core][design.dtype] * closed_form.instructions(core, spec, design)
