"""The control flow of a linked image, from its disassembly, and the longest path through it (implicit path enumeration,
Li and Malik 1995).

A node is an instruction; on a SPARC the one in a delay slot is a node of each way that it is executed on. A path is a
count for each edge: what flows into an instruction flows out of it, a function is entered as often as it is called, and
an instruction that a loop goes back to is executed at most as often as its cap says. All else is free, so every branch
on data is taken at its worst.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_array

_FUNCTION = re.compile(r"^([0-9a-f]+) <([\w.$]+)>:$")
_LINE = re.compile(r"^ *([0-9a-f]+):\s+(\S+)\s*(.*)$")
_TARGET = re.compile(r"\b([0-9a-f]+) <")
_COND = "eq|ne|cs|cc|hs|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le"
# By family: (conditional, unconditional, call, return); a conditional return is one that matches both.
_KINDS = {
    "arm": (
        rf"b({_COND})(\.[nw])?|cbn?z",
        r"b(\.[nw])?",
        r"bl",
        rf"bx({_COND})?|pop({_COND})?(\.w)?|ldmia({_COND})?(\.w)?",
    ),
    "aarch64": (rf"b\.({_COND}|any|none|al|nv|\w+)|cbn?z|tbn?z", r"b", r"bl", r"ret"),
    "riscv64": (r"b(eq|ne|lt|ge|gt|le)u?z?", r"j", r"jal", r"ret"),
    "powerpc": (r"b(eq|ne|lt|gt|le|ge|so|ns|un|nu|dnz|dz)[+-]?", r"b", r"bl", r"b(eq|ne|lt|gt|le|ge|so|ns)?lr[+-]?"),
    "sparc64": (r"f?b(?!a?(,a)?$|ra)[a-z]+(,a)?", r"f?ba?(,a)?", r"call", r"retl?|return"),
}
_INDIRECT = re.compile(r"blx?r?|br|bctrl?|jalr?|jr|jmp|tb[bh]|blr[a-z]*")


class FlowError(ValueError):
    """Code that this cannot follow; the message is one sentence."""


@dataclass(slots=True)
class Graph:
    """Of all that a function executes, callees included. Nodes are numbers."""

    address: list[int] = field(default_factory=list)  # of each node's instruction
    edges: list[tuple[int, int]] = field(default_factory=list)
    entry: dict[str, int] = field(default_factory=dict)  # of each function
    exits: dict[str, list[int]] = field(default_factory=dict)
    calls: list[tuple[int, str]] = field(default_factory=list)  # from node, to function

    def callees(self, function: str) -> set[str]:
        owner = self.owners()
        return {callee for node, callee in self.calls if owner[node] == function}

    def owners(self) -> dict[int, str]:
        following = defaultdict(list)
        for start, end in self.edges:
            following[start].append(end)
        owner: dict[int, str] = {}
        for name, first in self.entry.items():
            waiting = [first]
            while waiting:
                node = waiting.pop()
                if node not in owner:
                    owner[node] = name
                    waiting += following[node]
        return owner

    def returned_to(self) -> set[int]:
        """Nodes that an edge goes back to in a depth-first walk: every cycle has one."""
        following = defaultdict(list)
        for start, end in self.edges:
            following[start].append(end)
        state: dict[int, int] = {}
        back = set()
        for first in self.entry.values():
            stack: list[tuple[int, Iterator[int]]] = [(first, iter(following[first]))]
            state[first] = 1
            while stack:
                node, rest = stack[-1]
                for end in rest:
                    if state.get(end) == 1:
                        back.add(end)
                    elif end not in state:
                        state[end] = 1
                        stack.append((end, iter(following[end])))
                        break
                else:
                    state[node] = 2
                    stack.pop()
        return back


def read(listing: str, family: str, function: str) -> Graph:
    """``listing``: of ``objdump -d --no-show-raw-insn``; ``family``: the first part of the compiler's name.

    Raises FlowError: an indirect jump, a jump out of the code, or recursion.
    """
    conditional, always, call, back = (re.compile(pattern) for pattern in _KINDS[family])
    delayed = family == "sparc64"
    code = _code(listing)
    starts = {name: min(lines) for name, lines in code.items()}
    names = {address: name for name, address in starts.items()}
    graph, waiting = Graph(), [function]

    def node(address: int) -> int:
        graph.address.append(address)
        return len(graph.address) - 1

    while waiting:
        name = waiting.pop()
        if name in graph.entry:
            continue
        lines = code[name]
        order = sorted(lines)
        after = dict(itertools.pairwise(order))
        placed: dict[int, int] = {}
        graph.exits[name] = []
        pending = [order[0]]

        def at(address: int, placed: dict[int, int] = placed, pending: list[int] = pending) -> int:
            if address not in placed:
                placed[address] = node(address)
                pending.append(address)
            return placed[address]

        def leave(start: int, name: str = name) -> None:
            graph.exits[name].append(start)

        def go(start: int, target: int, lines: Mapping[int, tuple[str, str]] = lines, name: str = name) -> None:
            """To a place in this function, or to another by a tail call."""
            if target in lines and target != starts[name]:
                graph.edges.append((start, at(target)))
            elif target in names:
                graph.calls.append((start, names[target]))
                waiting.append(names[target])
                leave(start)
            else:
                raise FlowError(f"{name} jumps to {target:#x}, which begins no function")

        graph.entry[name] = at(order[0])
        pending.pop()
        while pending:
            address = pending.pop()
            here, (mnemonic, operands) = placed[address], lines[address]
            found = _TARGET.findall(operands)
            target = int(found[-1], 16) if found else None
            following = after.get(address)
            slot = after.get(address) if delayed else None

            def through(start: int, slot: int | None = slot) -> int:
                """By way of the delay slot."""
                if slot is None:
                    return start
                extra = node(slot)
                graph.edges.append((start, extra))
                return extra

            if back.fullmatch(mnemonic) and _returns(mnemonic, operands, family):
                leave(through(here))
                may_stay = family in ("arm", "powerpc") and re.search(rf"({_COND})(\.w)?$|^b\w\wlr", mnemonic)
                if may_stay and following is not None:
                    go(here, following)
            elif call.fullmatch(mnemonic) and target is not None:
                graph.calls.append((here, names[target]))
                waiting.append(names[target])
                rest = after[slot] if slot is not None else following
                if rest is None:
                    raise FlowError(f"{name} calls at its very end")
                go(through(here), rest)
            elif always.fullmatch(mnemonic) and target is not None:
                go(here if mnemonic.endswith(",a") else through(here), target)
            elif conditional.fullmatch(mnemonic) and target is not None:
                go(through(here), target)
                rest = after[slot] if slot is not None else following
                if rest is None:
                    raise FlowError(f"{name} branches at its very end")
                go(here if mnemonic.endswith(",a") else through(here), rest)
            elif _INDIRECT.fullmatch(mnemonic) or (family == "arm" and operands.split(",")[0].strip() == "pc"):
                raise FlowError(f"{name} jumps indirectly at {address:#x}: {mnemonic} {operands}")
            elif following is None:
                raise FlowError(f"{name} runs off its end at {address:#x}")
            else:
                go(here, following)
    return graph


def _returns(mnemonic: str, operands: str, family: str) -> bool:
    if family != "arm":
        return True
    return operands.strip() == "lr" if mnemonic.startswith("bx") else "pc" in operands


def _code(listing: str) -> dict[str, dict[int, tuple[str, str]]]:
    code: dict[str, dict[int, tuple[str, str]]] = {}
    lines: dict[int, tuple[str, str]] = {}
    for text in listing.splitlines():
        if (begins := _FUNCTION.match(text)) is not None:
            lines = code.setdefault(begins[2], {})
        elif (line := _LINE.match(text)) is not None:
            lines[int(line[1], 16)] = (line[2], line[3])
    return {name: lines for name, lines in code.items() if lines}


def longest(graph: Graph, function: str, caps: Mapping[int, int]) -> float:
    """Instructions of the longest path through one call.

    Args:
        caps: by address, how often at most an instruction is executed; one that a loop goes back to and that is
            missing here: never.

    Raises FlowError: there is no path.
    """
    edges = list(graph.edges)
    leaving = [(name, node) for name, nodes in graph.exits.items() for node in nodes]
    count = len(edges) + len(leaving) + len(graph.entry)  # then: how often each function is entered
    entries = {name: len(edges) + len(leaving) + index for index, name in enumerate(graph.entry)}
    flows: defaultdict[tuple[int, int], float] = defaultdict(float)  # (node, variable): into it minus out of it
    inward: defaultdict[int, dict[int, float]] = defaultdict(dict)  # of each node: variables that count its executions
    for variable, (start, end) in enumerate(edges):
        flows[start, variable] -= 1
        flows[end, variable] += 1
        inward[end][variable] = 1.0
    for variable, (_, start) in enumerate(leaving, len(edges)):
        flows[start, variable] -= 1
    for name, first in graph.entry.items():
        flows[first, entries[name]] += 1
        inward[first][entries[name]] = 1.0
    row = len(graph.address)
    wanted = np.zeros(row + len(entries))
    for name, variable in entries.items():  # entered once, or as often as it is called
        flows[row, variable] -= 1.0
        if name == function:
            wanted[row] = -1.0
        for node, callee in graph.calls:
            if callee == name:
                for each, weight in inward[node].items():
                    flows[row, each] += weight
        row += 1
    cost = np.zeros(count)
    for variables in inward.values():
        for variable in variables:
            cost[variable] -= 1.0
    by_address: defaultdict[int, list[int]] = defaultdict(list)
    returned = graph.returned_to()
    for node, address in enumerate(graph.address):
        if node in returned or address in caps:
            by_address[address].append(node)
    rows, columns, limits = [], [], []
    for index, (address, nodes) in enumerate(by_address.items()):
        for each in nodes:
            rows += [index] * len(inward[each])
            columns += list(inward[each])
        limits.append(float(caps.get(address, 0)))
    places = np.array(list(flows)).T
    found = linprog(
        cost,
        A_ub=coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(limits), count)).tocsr() if limits else None,
        b_ub=limits or None,
        A_eq=coo_array((list(flows.values()), (places[0], places[1])), shape=(len(wanted), count)).tocsr(),
        b_eq=wanted,
        method="highs",
    )
    if found.status != 0:
        raise FlowError(f"no longest path through {function}: {found.message}")
    return float(-found.fun)
