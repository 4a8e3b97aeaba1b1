"""The bound of a decision, and its stack: of a graph by hand, and of the linked engine against counts of inputs it has
not seen; and the closed form above the bounds."""

from __future__ import annotations

import numpy as np
import pytest
from onboard_samples import make_satellite

from kdmarl_sat.measure.onboard import bound, bound_form, flow_graph, footprint
from onboard import closed_form, emulation, instructions
from onboard.closed_form import ClosedForm, Terms
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
    assert measured.bound <= closed_form.bound(target, spec, net.design) < 1.3 * measured.bound
    unseen = instructions.random_decisions(spec, 20, seed=9)
    unseen = [(obs * np.float32(10.0 ** (n % 9 - 5)), mask) for n, (obs, mask) in enumerate(unseen)]
    for counts in bound.profile(found, net, spec, unseen):
        assert sum(counts.values()) <= measured.bound


def test_a_cap_on_any_instruction_holds() -> None:
    """The part of the loop past the branch on data at most 3 times."""
    graph = flow_graph.read(LISTING, "aarch64", "f")
    assert flow_graph.longest(graph, "f", {8: 10, 0x10: 3}) == pytest.approx(2 + 10 * (4 + 3) + 3 * 2 + 1)


def test_the_deepest_chain_by_hand() -> None:
    frames = footprint.usage("s.c:3:5:f\t48\tstatic\ns.c:9:5:g.constprop\t16\tstatic\ns.c:9:5:g\t32\tdynamic,bounded\n")
    assert frames == {"f": 48, "g": 32}
    graph = flow_graph.read(LISTING, "aarch64", "f")
    assert (footprint.deepest(graph, "f", frames), footprint.deepest(graph, "g", frames)) == (80, 32)
    with pytest.raises(footprint.FootprintError, match="the frame of g is not known"):
        footprint.deepest(graph, "f", {"f": 48})
    with pytest.raises(footprint.FootprintError, match="the frame of f has no limit: dynamic"):
        footprint.usage("s.c:3:5:f\t48\tdynamic\n")
    looped = flow_graph.read(LISTING.replace("34:\tnop", "34:\tbl\t0 <f>"), "aarch64", "f")
    with pytest.raises(footprint.FootprintError, match="f calls itself"):
        footprint.deepest(looped, "f", frames)


def test_sections_by_hand() -> None:
    headers = """
  0 .text         00000100  00000000  00000000  00001000  2**2
                  CONTENTS, ALLOC, LOAD, READONLY, CODE
  1 .data         00000010  00000100  00000100  00001100  2**2
                  CONTENTS, ALLOC, LOAD, DATA
  2 .bss          00000020  00000110  00000110  00001110  2**2
                  ALLOC
  3 .comment      00000030  00000000  00000000  00001110  2**0
                  CONTENTS, READONLY
"""
    assert footprint.sections(headers) == (0x110, 0x30)


@pytest.mark.parametrize("target", ["cortex-m7", "cortex-a9", "cortex-a53", "rv64gc"])
def test_a_run_writes_to_no_more_stack_than_the_call_graph_says(target: str) -> None:
    """And to nearly as much: only the painter's frame is not seen. RAM is at least the weights' and the engine's."""
    found = TARGETS[target]
    if found.missing:
        pytest.skip(f"not installed: {' '.join(found.missing)}")
    satellite = make_satellite()
    measured = footprint.measure(found, satellite)
    assert measured.stack_seen is not None and measured.init_stack_seen is not None
    assert measured.stack - 80 <= measured.stack_seen <= measured.stack < measured.init_stack
    assert measured.init_stack_seen <= measured.init_stack
    assert measured.rom > measured.ram > 4 * 353  # words of storage, as tests/test_onboard_budget.py counts them


def test_a_form_lies_above_every_bound_that_it_was_fitted_to() -> None:
    """Bounds made of a form are found again but for the margin; one that stands out lifts it."""
    made = ClosedForm(3.5, 70.0, 6.0, 2.0, 68.0, 17.0, 4.0, 500.0, 20.0)
    drawn = np.random.default_rng(0).integers(10, 5000, (40, 8))
    shapes = [Terms(*map(int, row)) for row in drawn]
    exact = bound_form.fit([(each, made(each)) for each in shapes])
    assert exact.margin == pytest.approx(bound_form.MORE, abs=1e-6)
    assert all(made(each) <= exact.form(each) <= 1.011 * made(each) for each in shapes)
    lifted = [(each, made(each) * (1.1 if n == 7 else 1.0)) for n, each in enumerate(shapes)]
    high = bound_form.fit(lifted)
    assert all(most <= high.form(each) for each, most in lifted) and high.margin > 0.05
