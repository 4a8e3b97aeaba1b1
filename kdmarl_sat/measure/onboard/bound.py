"""The largest number of instructions of a decision of a given network, over all inputs: a bound, not a mean.

How often a loop turns is said by the weight table, so one decision counts it for all (flow_graph.py takes every other
branch at its worst). DATA names the loops of which that is not so; the inputs of ``adversarial`` make each of them as
long as it can be. A loop that turned in different ways and is not named there is an error, and no bound is given.

TABLE names the functions without any branch on data: what a vectorising compiler makes of their loops (a part for whole
vectors, others for the rest) is executed as often as it was counted to, if that was the same in every decision.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kdmarl_sat.measure.onboard import flow_graph
from onboard import emulation, table
from onboard.emulation import Target
from onboard.instructions import Decisions
from onboard.network import Network
from onboard.runners import RunnerError, failure
from onboard.runners.emulated import DECIDE, LOAD, START_MS, Machine, decision
from onboard.runners.native import SCRUB_WORDS
from onboard.spec import AgentSpec

FUNCTION = "kd_decide"
# Functions whose loops depend on an input, and what makes them longest.
DATA = {
    "kd_step": "a mask whose last action alone is legal is searched longest, one that is all legal pooled longest",
    "kd_crc32": "a scrub is shorter at the end of a pass",
}
TABLE = ("apply_float", "apply_int8")
LARGE = (0.0, 1e-17, 1e-6, 0.3, 1.0, 30.0, 1e3, 1e6)  # magnitudes of observations, from below KD_TINY to saturation


@dataclass(frozen=True, slots=True)
class Bound:
    """Instructions of kd_decide."""

    bound: int  # no input takes more
    mean: float  # counted, over the adversarial inputs
    most: int  # counted


def adversarial(spec: AgentSpec, seed: int = 0) -> Decisions:
    """Observations of every magnitude and sign, with masks that are all legal, legal at one end, and drawn."""
    generator, actions = np.random.default_rng(seed), len(spec.actions)
    masks = [np.ones(actions, np.bool_), np.arange(actions) == actions - 1, np.arange(actions) == 0]
    decisions = []
    for large in LARGE:
        drawn = generator.random(actions) < 0.5
        drawn[-1] = True
        for mask in (*masks, drawn):
            signs = generator.choice([-1.0, 1.0], spec.obs_size)
            decisions.append(((large * signs * generator.random(spec.obs_size)).astype(np.float32), mask))
    return decisions


def measure(target: Target, net: Network, spec: AgentSpec) -> Bound:
    """Raises BuildError: a package is missing. FlowError: the code cannot be followed. RunnerError: the engine refuses
    the network."""
    profiles = profile(target, net, spec, adversarial(spec))
    listing = emulation.listing(target, "objdump", "-d", "--no-show-raw-insn")
    graph = flow_graph.read(listing, target.compiler.partition("-")[0], FUNCTION)
    totals = [sum(each.values()) for each in profiles]
    heads = {graph.address[node] for node in graph.returned_to()}
    caps = {address: max(each.get(address, 0) for each in profiles) for address in heads}
    _check_loops(graph, heads, profiles)
    for address, source in emulation.functions(target, sorted(set(graph.address))).items():
        counts = {each.get(address, 0) for each in profiles}
        if source in TABLE and len(counts) == 1:
            caps.setdefault(address, *counts)
    bound = round(flow_graph.longest(graph, FUNCTION, caps))
    if bound < max(totals):
        raise flow_graph.FlowError(f"{target.core}: the bound {bound} is below a count of {max(totals)}")
    return Bound(bound, sum(totals) / len(totals), max(totals))


def _check_loops(graph: flow_graph.Graph, heads: set[int], profiles: Sequence[Mapping[int, int]]) -> None:
    owner = {graph.address[node]: name for node, name in graph.owners().items()}
    for address in sorted(heads):
        counts = {each.get(address, 0) for each in profiles}
        if len(counts) > 1 and owner[address] not in DATA:
            raise flow_graph.FlowError(
                f"a loop of {owner[address]} at {address:#x} turned {min(counts)} to {max(counts)} times: its length "
                "depends on the input, and DATA does not name it"
            )


def profile(target: Target, net: Network, spec: AgentSpec, decisions: Decisions) -> list[dict[int, int]]:
    """Of each decision: how often the instruction at each address was executed. Decisions whose answer the engine
    refuses, as one that is not finite, are left out."""
    hidden, size = np.zeros(net.design.hidden, np.float32), 4 * len(spec.actions)
    with tempfile.TemporaryDirectory(prefix="kdmarl_sat_bound.") as folder:
        lines = Path(folder) / "profile"
        machine = Machine(emulation.profiled(target, FUNCTION, lines))
        answered = []
        try:
            status, _ = machine.ask(LOAD, table.dump(net, spec), START_MS)
            if status < 0:
                raise failure(status)
            for obs, mask in decisions:
                status, answer = machine.ask(DECIDE, decision(obs, mask, hidden, SCRUB_WORDS), START_MS)
                answered.append(status >= 0)
                if status >= 0:
                    hidden = np.frombuffer(answer[size:], "<f4")
        finally:
            machine.close()
        profiles, counts = [], defaultdict[int, int](int)
        for line in lines.read_text().splitlines():
            if line == "end":
                profiles.append(dict(counts))
                counts.clear()
            else:
                address, count = line.split()
                counts[int(address, 16)] = int(count)
    if len(profiles) != len(answered) or not any(answered):
        raise RunnerError(f"{target.core}: {len(profiles)} of {len(answered)} decisions were profiled")
    return [each for each, good in zip(profiles, answered, strict=True) if good]
