"""Instructions of one decision without an emulator: closed forms of the mean and of the bound.

A message before it is a call of the engine like the decision, and costs by the same form.

closed_form.json has the coefficients of the mean for each core and weight type, fitted to counts on emulated
processors; ``make onboard-emulated ARGS=--fit`` writes it. bound_form.json has those of the bound: the form lies above
the longest path through the linked engine (docs/onboard.md); ``kdmarl-sat measure evidence forms`` writes it.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from onboard import fields, network
from onboard.network import Architecture, Design, Dtype
from onboard.spec import AgentSpec

FILE = Path(__file__).with_suffix(".json")
BOUNDS = FILE.with_name("bound_form.json")
_BLOCK = 8  # outputs that the engine accumulates side by side; it pads to whole blocks


@dataclass(frozen=True, slots=True)
class Terms:
    """What the engine does in one call, padding included."""

    macs: int
    gates: int  # non-linearities of the GRU, 3H
    outputs: int  # of all linear maps, as often as they are applied
    inputs: int  # likewise
    calls: int  # applications of linear maps
    elements: int  # observation columns and hidden units of slots, each handled by itself
    words: int  # of weights in memory: their sum is checked in every call
    actions: int  # each is looked at, and at the worst is the best so far; only the bound has a coefficient for it


def terms(spec: AgentSpec, design: Design, message: bool = False) -> Terms:
    """Of kd_decide; or, with ``message``, of kd_send, which has no gates and looks at no actions."""
    linears = network.linears(spec, design)
    rows = [
        (linear, -(-linear.outputs // _BLOCK) * _BLOCK, linear.sends if message else linear.uses) for linear in linears
    ]
    scored = design.architecture is Architecture.OPPORTUNITY
    packed, kept = (1, 1) if design.dtype is Dtype.FLOAT32 else (4, 2)  # weights in a word, floats with each output
    words = sum(padded * linear.inputs // packed + padded * kept for linear, padded, _ in rows)
    # A message is made of the units of the encoder and of the memory, and each of its bits is looked at.
    more = 2 * design.hidden + design.message_bits if message else spec.slots * design.hidden if scored else 0
    return Terms(
        macs=sum(padded * linear.inputs * times for linear, padded, times in rows),
        gates=0 if message else 3 * design.hidden,
        outputs=sum(padded * times for _, padded, times in rows),
        inputs=sum(linear.inputs * times for linear, _, times in rows),
        calls=sum(times for _, _, times in rows),
        elements=spec.obs_size + more,
        words=words + (-(-design.hidden // _BLOCK) * _BLOCK + 1 if scored else 0),
        actions=0 if message else len(spec.actions),
    )


@dataclass(frozen=True, slots=True)
class ClosedForm:
    """Instructions of kd_decide or kd_send: a coefficient for each of the terms, and a constant."""

    macs: float
    gates: float
    outputs: float
    inputs: float
    calls: float
    elements: float
    words: float
    fixed: float
    actions: float = 0.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            fields.not_negative(f"closed form {field.name}", getattr(self, field.name))

    def __call__(self, counted: Terms) -> float:
        return (
            self.macs * counted.macs
            + self.gates * counted.gates
            + self.outputs * counted.outputs
            + self.inputs * counted.inputs
            + self.calls * counted.calls
            + self.elements * counted.elements
            + self.words * counted.words
            + self.fixed
            + self.actions * counted.actions
        )


@cache
def cores(file: Path = FILE) -> dict[str, dict[Dtype, ClosedForm]]:
    """By name, as emulation.TARGETS has them; ``file``: FILE for the mean, BOUNDS for the bound."""
    fitted = json.loads(file.read_text())["cores"]
    return {
        core: {dtype: ClosedForm(**by_dtype[dtype.value]["coefficients"]) for dtype in Dtype}
        for core, by_dtype in fitted.items()
    }


def find(core: str, dtype: Dtype, file: Path = FILE) -> ClosedForm:
    """Raises ValueError: no such core was fitted."""
    if core not in cores(file):
        fields.refuse("core", core, f"one of {', '.join(cores(file))}")
    return cores(file)[core][dtype]


def instructions(core: str, spec: AgentSpec, design: Design) -> float:
    """Modelled: of one decision with the check of its weights and the message before it, in the mean over decisions."""
    return _step(find(core, design.dtype), spec, design)


def bound(core: str, spec: AgentSpec, design: Design) -> float:
    """Modelled: no decision of such a network, with the message before it, takes more."""
    return _step(find(core, design.dtype, BOUNDS), spec, design)


def _step(form: ClosedForm, spec: AgentSpec, design: Design) -> float:
    """kd_send applies the same maps, and checks all weights and enters the engine as kd_decide does: it has a constant
    and words of its own."""
    sent = form(terms(spec, design, message=True)) if design.message_bits else 0.0
    return form(terms(spec, design)) + sent
