"""What a network is made of and costs, against torch's own counts, numbers worked out by hand, and the C engine."""

from __future__ import annotations

import ctypes
import dataclasses
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onboard_samples import (
    BLIND,
    PLAIN,
    TINY,
    TorchRecurrent,
    draw_network,
    fly_torch,
    make_actor,
    make_inputs,
    network_of,
)
from torch.utils.flop_counter import FlopCounterMode

from onboard import build, network, table
from onboard.network import Activation, Architecture, Design, Dtype
from onboard.spec import AgentSpec

INT8 = Design(4, dtype=Dtype.INT8)


def test_macs_and_parameters_by_hand() -> None:
    # TINY, H = 4: context 12, slots 2*4*3, GRU 6*16, query 16, keys 3*16, fixed 4, scores 8
    assert network.count_macs(TINY, Design(4)) == 12 + 24 + 96 + 16 + 48 + 4 + 8
    assert network.count_parameters(TINY, Design(4)) == 16 + 12 + (96 + 24) + 20 + 16 + 5 + 5
    assert network.count_macs(PLAIN, Design(5, Architecture.RECURRENT)) == 35 + 6 * 25 + 15
    assert network.count_parameters(PLAIN, Design(5, Architecture.RECURRENT)) == 40 + (150 + 30) + 18


def test_bytes_by_hand() -> None:
    assert network.count_bytes(TINY, Design(4)) == 4 * 194
    # 12 + 12 + 96 + 16 + 16 + 4 weights of a byte; 4 + 24 + 4 + 1 biases, 4 + 4 + 24 + 4 + 4 + 1 scales, 5 of the score
    assert network.count_bytes(TINY, INT8) == 156 + 4 * (33 + 41 + 5)


@pytest.mark.requirement("EX-21")
@pytest.mark.parametrize(("spec", "hidden"), [(TINY, 4), (TINY, 32), (BLIND, 6)])
def test_macs_and_parameters_are_those_that_torch_counts(spec: AgentSpec, hidden: int) -> None:
    actor = make_actor(spec, hidden, 0)
    obs, mask = make_inputs(spec, 1, 0)
    with FlopCounterMode(display=False) as counter:
        fly_torch(actor, spec, obs, mask)
    assert counter.get_total_flops() == 2 * network.count_macs(spec, Design(hidden))
    assert sum(p.numel() for p in actor.parameters()) == network.count_parameters(spec, Design(hidden))


@pytest.mark.parametrize("activation", Activation)
def test_counts_of_the_recurrent_architecture_are_torchs(activation: Activation) -> None:
    actor = TorchRecurrent(PLAIN.obs_size, len(PLAIN.actions), 6, activation)
    design = Design(6, Architecture.RECURRENT, activation)
    with FlopCounterMode(display=False) as counter:
        actor(torch.zeros(1, PLAIN.obs_size))
    assert counter.get_total_flops() == 2 * network.count_macs(PLAIN, design)
    assert sum(p.numel() for p in actor.parameters()) == network.count_parameters(PLAIN, design)
    network_of(actor, design).check(PLAIN)


@pytest.mark.requirement("EX-21")
@pytest.mark.parametrize(
    ("spec", "design"),
    [
        (TINY, Design(4)),
        (TINY, Design(12, dtype=Dtype.INT8)),
        (BLIND, Design(16)),
        (PLAIN, Design(16, Architecture.RECURRENT)),
        (PLAIN, Design(5, Architecture.RECURRENT, dtype=Dtype.INT8)),
    ],
)
def test_ram_is_what_the_engine_takes(spec: AgentSpec, design: Design, tmp_path: Path) -> None:
    """Built with maxima that just fit: static memory, then a model, its weights and a hidden state."""
    maxima = {
        "UNITS": design.hidden,
        "OBS": spec.obs_size,
        "SLOTS": spec.slots,
        "ACTIONS": len(spec.actions),
        "BLOCKS": len(spec.blocks),
    }
    flags = ["-std=c99", "-O1", "-fPIC", *(f"-DKD_MAX_{name}={value}" for name, value in maxima.items())]
    objects = [str(tmp_path / f"{source}.o") for source in build.SOURCES]
    for source, target in zip(build.SOURCES, objects, strict=True):
        subprocess.run([build.compiler(), *flags, "-c", str(build.ENGINE / source), "-o", target], check=True)
    subprocess.run([build.compiler(), "-shared", *objects, "-o", str(tmp_path / "kd.so")], check=True)
    engine, weights = ctypes.CDLL(str(tmp_path / "kd.so")), table.dump(draw_network(spec, design, 0), spec)
    held = sum(map(_static_bytes, objects)) + engine.kd_model_bytes() + 4 * design.hidden
    held += 4 * engine.kd_required_words(weights, len(weights))
    assert 0 <= held - network.count_ram_bytes(spec, design) < 64  # alignment, and pointers of 8 bytes


def _static_bytes(path: str) -> int:
    """Of an object's initialised and zeroed data, by binutils' size."""
    lines = subprocess.run(["size", path], capture_output=True, text=True, check=True).stdout.splitlines()
    _, data, bss, *_ = lines[1].split()
    return int(data) + int(bss)


def test_a_design_survives_json() -> None:
    for design in (Design(4), Design(300, Architecture.RECURRENT, Activation.TANH, Dtype.INT8)):
        assert Design.from_dict(design.to_dict()) == design


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hidden": 0}, "network.hidden=0"),
        ({"hidden": 4097}, "network.hidden=4097"),
        ({"hidden": 4.0}, "network.hidden=4.0"),
        ({"architecture": "transformer"}, "architecture='transformer' is not allowed: it must be one of opportunity"),
        ({"activation": "gelu"}, "activation='gelu' is not allowed: it must be one of relu, tanh"),
        ({"dtype": "float16"}, "dtype='float16'"),
        ({"dtype": ["int8"]}, "dtype="),
        ({"activation": "tanh"}, "activation='tanh' is not allowed: it must be relu"),  # of the opportunity network
        ({"more": 1}, "network="),
    ],
)
def test_a_design_that_cannot_be(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Design.from_dict({**Design(4).to_dict(), **change})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"query.bias": np.zeros(5, np.float32)},
            r"query.bias='float32 \(5,\)' is not allowed: it must be float32 \(4,",
        ),
        ({"query.bias": np.zeros(4)}, r"query.bias='float64 \(4,\)' is not allowed"),
        ({"query.bias": np.array([0, 0, np.inf, 0], np.float32)}, "query.bias is not finite everywhere"),
        ({"more": np.zeros(1, np.float32)}, r"tensors=\['more'\] is not allowed: it must be exactly context.weight"),
    ],
)
def test_tensors_that_do_not_fit(change: dict[str, Any], said: str) -> None:
    drawn = draw_network(TINY, Design(4), 0)
    drawn.check(TINY)
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(drawn, tensors={**drawn.tensors, **change}).check(TINY)
