"""The comparison with emx-onnx-cgen: what can be said without it, and, where it is there, both engines in one run."""

from __future__ import annotations

import shutil

import pytest
from onboard_samples import make_satellite

from kdmarl_sat.measure.evidence import generator
from kdmarl_sat.measure.evidence.analysis import EvidenceError
from onboard.runners import BuildError


def test_without_the_program_one_sentence_says_what_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(EvidenceError, match=r"emx-onnx-cgen is not on PATH: `pip install emx-onnx-cgen` in"):
        generator.program()


def test_both_engines_decide_the_same_within_rounding() -> None:
    if shutil.which(generator.PROGRAM) is None:
        pytest.skip(f"{generator.PROGRAM} is not on PATH")
    try:
        found = generator.measure(make_satellite())
    except BuildError as error:
        pytest.skip(str(error))
    assert 0 < found["largest_difference"] < 1e-5
    for core in found["cores"].values():
        if "missing" not in core:
            assert core["ours"]["same_bits_as_host"] == found["questions"]
            assert core["ours"]["alone"]["most"] < core["ours"]["decide"]["most"]
