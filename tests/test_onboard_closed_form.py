"""The closed form's terms against a count by hand and against the engine; its coefficients against ranges."""

from __future__ import annotations

import json

import pytest

from kdmarl_sat.measure.evidence.parts import engine_digest
from onboard import closed_form, emulation, instructions, table
from onboard.closed_form import Terms
from onboard.network import Architecture, Design, Dtype
from onboard.runners import BuildError
from onboard.runners.native import _engine
from onboard.spec import AgentSpec, Block

SMALL = AgentSpec("small", "any", (Block("all", 9, "1", 1.0),), ("wait", "image"), 0)


def test_terms_of_a_recurrent_network_counted_by_hand() -> None:
    # Linear maps 3 x 9, 9 x 3, 9 x 3 and 2 x 3; outputs padded to 8, 16, 16 and 8.
    counted = closed_form.terms(SMALL, Design(3, Architecture.RECURRENT))
    macs = 8 * 9 + 16 * 3 + 16 * 3 + 8 * 3
    assert counted == Terms(macs, gates=9, outputs=48, inputs=18, calls=4, elements=9, words=macs + 48, actions=2)
    packed = closed_form.terms(SMALL, Design(3, Architecture.RECURRENT, dtype=Dtype.INT8))
    assert packed.words == macs // 4 + 2 * 48


def test_terms_of_an_opportunity_network_counted_by_hand() -> None:
    # C = 2, F = 3, K = 4 slots, M = 1, H = 8: context 8 x 2, slot 8 x 3 (4 times), 24 x 8 twice, query 8 x 8,
    # key 8 x 8 (5 times), fixed 1 x 8 padded to 8; the slot score has 8 weights and a bias.
    blocks = (Block("context", 2, "1", 1.0), Block("slot", 3, "1", 1.0, 4))
    counted = closed_form.terms(AgentSpec("seer", "any", blocks, ("wait",), 4), Design(8))
    assert counted == Terms(
        macs=16 + 4 * 24 + 2 * 192 + 64 + 5 * 64 + 64,
        gates=24,
        outputs=8 + 4 * 8 + 2 * 24 + 8 + 5 * 8 + 8,
        inputs=2 + 4 * 3 + 2 * 8 + 8 + 5 * 8 + 8,
        calls=1 + 4 + 2 + 1 + 5 + 1,
        elements=2 + 4 * 3 + 4 * 8,
        words=16 + 24 + 2 * 192 + 64 + 64 + 64 + (8 + 8 + 24 + 24 + 8 + 8 + 8) + 9,
        actions=5,
    )


def test_a_message_is_a_call_of_its_own_counted_by_hand() -> None:
    # Linear maps 3 x 9, 9 x 3, 9 x 3, 2 x 3 and the sender's 4 x 6, padded to 8 outputs.
    blocks = (Block("own", 5, "1", 1.0), Block("heard", 4, "1", 1.0))
    spec = AgentSpec("small", "any", blocks, ("wait", "image"), 0)
    design = Design(3, Architecture.RECURRENT, message_bits=4)
    decided, sent = closed_form.terms(spec, design), closed_form.terms(spec, design, message=True)
    macs = 8 * 9 + 16 * 3 + 16 * 3 + 8 * 3
    words = macs + 8 * 6 + 56  # the check of a decision is of the sender's weights too
    assert decided == Terms(macs, gates=9, outputs=48, inputs=18, calls=4, elements=9, words=words, actions=2)
    # The encoder with its 9 columns and the sender with 3 units of each kind, which are handled one by one, as 4 bits.
    macs = 8 * 9 + 8 * 6
    assert sent == Terms(macs, gates=0, outputs=16, inputs=15, calls=2, elements=9 + 6 + 4, words=words, actions=0)
    for form, file in ((closed_form.instructions, closed_form.FILE), (closed_form.bound, closed_form.BOUNDS)):
        of_core = closed_form.find("leon3", Dtype.FLOAT32, file)
        assert form("leon3", spec, design) == of_core(decided) + of_core(sent)


@pytest.mark.parametrize("dtype", Dtype)
def test_words_are_those_that_the_engine_asks_for(dtype: Dtype) -> None:
    try:
        engine = _engine()
    except BuildError as error:
        pytest.skip(str(error))
    for net, spec in (instructions.plain(21, 13, 5, dtype), instructions.slotted(5, 3, 7, 12, dtype)):
        weights = table.dump(net, spec)
        assert closed_form.terms(spec, net.design).words == engine.kd_required_words(weights, len(weights))


def test_every_target_has_coefficients_that_a_processor_could_have() -> None:
    cores = json.loads(closed_form.FILE.read_text())["cores"]
    assert set(cores) == set(emulation.TARGETS)
    for core in cores:
        for dtype in Dtype:
            form = closed_form.find(core, dtype)
            # A vector unit does 8 products in an instruction at the very best, a scalar one needs a few each.
            assert 1 / 8 < form.macs < 10
            assert 20 < form.gates < 200  # an exponential and a division
            assert 0.25 < form.words < 10


def test_the_bound_lies_above_the_mean_and_belongs_to_this_engine() -> None:
    stored = json.loads(closed_form.BOUNDS.read_text())
    assert set(stored["cores"]) == set(emulation.TARGETS)
    assert stored["engine"] == engine_digest(), "kdmarl-sat measure evidence forms fits the bound anew"
    for core in emulation.TARGETS:
        for dtype in Dtype:
            for net, spec in (instructions.plain(80, 32, 11, dtype), instructions.slotted(6, 8, 12, 20, dtype)):
                mean, most = (form(core, spec, net.design) for form in (closed_form.instructions, closed_form.bound))
                assert mean < most < 1.4 * mean


def test_a_core_that_was_not_fitted_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="core='z80' is not allowed: it must be one of cortex-m7, "):
        closed_form.find("z80", Dtype.INT8)
