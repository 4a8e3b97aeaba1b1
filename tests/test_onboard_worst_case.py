"""The bound of a decision: of a graph by hand, and of the linked engine against counts of inputs it has not seen."""

from __future__ import annotations

import numpy as np
import pytest

from kdmarl_sat.measure.onboard import bound, flow_graph
from onboard import emulation, instructions
from onboard.emulation import TARGETS
from onboard.network import Dtype
from onboard.runners import BuildError

# 2 instructions; a loop of 10 whose body has 3 or, past a branch on data, 5, with a call of 3 in either; 1 to return.
LISTING = """
0000000000000000 <f>:
   0:\tmov\tx1, #10
   4:\tmov\tx2, #0
   8:\tsubs\tx1, x1, #1
   c:\tb.mi\t18 <f+0x18>
  10:\tadd\tx2, x2, #1
  14:\tadd\tx2, x2, #1
  18:\tbl\t30 <g>
  1c:\tcbnz\tx1, 8 <f+0x8>
  20:\tret

0000000000000030 <g>:
  30:\tnop
  34:\tnop
  38:\tret
"""


def test_the_longest_path_by_hand() -> None:
    graph = flow_graph.read(LISTING, "aarch64", "f")
    assert {graph.address[node] for node in graph.returned_to()} == {8}
    assert flow_graph.longest(graph, "f", {8: 10}) == pytest.approx(2 + 10 * (4 + 2 + 3) + 1)
    assert flow_graph.longest(graph, "f", {8: 1}) == pytest.approx(2 + 9 + 1)


def test_an_indirect_jump_is_refused() -> None:
    with pytest.raises(flow_graph.FlowError, match="f jumps indirectly at 0x4"):
        flow_graph.read("00000000 <f>:\n   0:\tnop\n   4:\tbr\tx1\n", "aarch64", "f")


@pytest.mark.parametrize("target", ["cortex-m7", "leon3", "ppc750", "cortex-a53", "rv64gc"])
def test_no_input_takes_more_than_the_bound(target: str) -> None:
    found = TARGETS[target]
    if found.missing:
        pytest.skip(f"not installed: {' '.join(found.missing)}")
    try:
        emulation.profiler()
    except BuildError as error:
        pytest.skip(str(error))
    net, spec = instructions.slotted(5, 3, 7, 12, Dtype.FLOAT32)
    measured = bound.measure(found, net, spec)
    assert measured.mean <= measured.most <= measured.bound < 1.3 * measured.most
    unseen = instructions.random_decisions(spec, 20, seed=9)
    unseen = [(obs * np.float32(10.0 ** (n % 9 - 5)), mask) for n, (obs, mask) in enumerate(unseen)]
    for counts in bound.profile(found, net, spec, unseen):
        assert sum(counts.values()) <= measured.bound
