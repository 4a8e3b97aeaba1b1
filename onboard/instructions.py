"""Instructions of one decision, counted on emulated processors; and the closed form that fits the counts."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onboard import emulation, network, quantise, table
from onboard.closed_form import ClosedForm, Terms
from onboard.emulation import Target
from onboard.network import Architecture, Design, Dtype, Network
from onboard.runners import RunnerError, failure
from onboard.runners.emulated import DECIDE, LOAD, START_MS, STEP, Machine, decision
from onboard.runners.native import SCRUB_WORDS
from onboard.spec import AgentSpec, Block, BoolArray, FloatArray

_FUNCTIONS = ("kd_load", "kd_step", "kd_decide", "kd_verify")

Decisions = Sequence[tuple[FloatArray, BoolArray]]  # obs [O], mask [A]


@dataclass(frozen=True, slots=True)
class Spread:
    """Over decisions; how many slots are legal, and little else, makes the difference."""

    mean: float
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Counts:
    step: Spread  # kd_step: the network alone
    decide: Spread  # kd_decide: with the check of its weights, as it flies
    verify: int  # kd_verify
    load: int  # kd_load: check a table and take its weights


def count(target: Target, net: Network, spec: AgentSpec, decisions: Decisions) -> tuple[Counts, list[bytes]]:
    """Instructions of successive decisions, and of each the bytes of its logits and next hidden state.

    Raises BuildError: a package is missing. RunnerError: the engine refuses the network or a decision.
    """
    size, hidden = 4 * len(spec.actions), np.zeros(net.design.hidden, np.float32)
    answers = []
    counted: dict[str, list[int]] = {name: [] for name in _FUNCTIONS}
    with tempfile.TemporaryDirectory(prefix="kdmarl_sat_count.") as folder:
        lines = Path(folder) / "counts"
        machine = Machine(emulation.command(target, lines, _FUNCTIONS))
        try:
            _ask(machine, LOAD, table.dump(net, spec))
            for obs, mask in decisions:
                request = decision(obs, mask, hidden, SCRUB_WORDS)
                alone, answer = _ask(machine, STEP, request), _ask(machine, DECIDE, request)
                if alone != answer:
                    raise RunnerError(f"kd_step and kd_decide give different answers on {target.core}")
                answers.append(answer)
                hidden = np.frombuffer(answer[size:], "<f4")
        finally:
            machine.close()
        for line in lines.read_text().splitlines():
            name, instructions = line.split()
            counted[name].append(int(instructions))
    counts = Counts(
        step=_spread(counted["kd_step"]),
        decide=_spread(counted["kd_decide"]),
        verify=counted["kd_verify"][0],
        load=counted["kd_load"][0],
    )
    return counts, answers


def fit(counted: Sequence[tuple[Terms, float]]) -> ClosedForm:
    """The coefficients of least squared relative error, none of them negative, and none for actions."""
    instructions = np.array([number for _, number in counted])
    rows = np.array([[*dataclasses.astuple(terms)[:-1], 1] for terms, _ in counted]) / instructions[:, None]
    kept = list(range(rows.shape[1]))
    while True:  # leave out the most negative until none is
        found = np.linalg.lstsq(rows[:, kept], np.ones(len(rows)), rcond=None)[0]
        if found.min() >= 0:
            break
        del kept[int(np.argmin(found))]
    coefficients = np.zeros(rows.shape[1])
    coefficients[kept] = found
    return ClosedForm(*(round(float(value), 3) for value in coefficients))


def worst(form: ClosedForm, counted: Sequence[tuple[Terms, float]]) -> float:
    """The largest relative error."""
    return max(abs(form(terms) / instructions - 1) for terms, instructions in counted)


def plain(observed: int, hidden: int, actions: int, dtype: Dtype) -> tuple[Network, AgentSpec]:
    """A recurrent network of these sizes with random weights."""
    names = tuple(f"action_{index}" for index in range(actions))
    spec = AgentSpec("plain", "any", (Block("all", observed, "1", 1.0),), names, 0)
    return random_network(spec, Design(hidden, Architecture.RECURRENT, dtype=dtype)), spec


def slotted(context: int, feature: int, slots: int, hidden: int, dtype: Dtype) -> tuple[Network, AgentSpec]:
    """An opportunity network of these sizes with random weights and one fixed action."""
    blocks = (Block("context", context, "1", 1.0), Block("slot", feature, "1", 1.0, slots))
    spec = AgentSpec("slotted", "any", blocks, ("charge",), slots)
    return random_network(spec, Design(hidden, dtype=dtype)), spec


def random_network(spec: AgentSpec, design: Design, seed: int = 0) -> Network:
    generator = np.random.default_rng(seed)
    single = dataclasses.replace(design, dtype=Dtype.FLOAT32)
    tensors = {
        name: (generator.standard_normal(shape) / np.sqrt(design.hidden)).astype(np.float32)
        for name, (shape, _) in network.tensor_types(spec, single).items()
    }
    net = Network(single, tensors)
    return quantise.quantised(net) if design.dtype is Dtype.INT8 else net


def random_decisions(spec: AgentSpec, steps: int, seed: int = 0) -> Decisions:
    """Three of four actions are legal, the first one always."""
    generator = np.random.default_rng(seed)
    decisions = []
    for _ in range(steps):
        mask = generator.random(len(spec.actions)) < 0.75
        mask[0] = True
        decisions.append((generator.standard_normal(spec.obs_size).astype(np.float32), mask))
    return decisions


def _ask(machine: Machine, opcode: int, payload: bytes) -> bytes:
    status, answer = machine.ask(opcode, payload, START_MS)
    if status < 0:
        raise failure(status)
    return answer


def _spread(counts: Sequence[int]) -> Spread:
    return Spread(sum(counts) / len(counts), min(counts), max(counts))
