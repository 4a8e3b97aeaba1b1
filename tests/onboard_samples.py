"""Small networks and bundles for the onboard tests.

``python tests/onboard_samples.py FOLDER`` writes the bundle that is kept in tests/data.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from onboard import golden, quantise
from onboard.budget import Budget
from onboard.bundle import Bundle, SatelliteBundle, write_bundle
from onboard.network import TORCH_NAMES, Activation, Architecture, Design, Dtype, Network, tensor_types
from onboard.processors import Processor
from onboard.spec import AgentSpec, Block

PROVENANCE = {
    "config": "0" * 64,
    "seed": 0,
    "commit": "0" * 40,
    "versions": {"numpy": "2"},
    "when": "2026-01-01T00:00Z",
}
# A processor of round figures, so that costs can be worked out by hand from its instructions.
ROUND = Processor(
    name="round",
    core="none",
    clock_mhz=10,
    ram_bytes=None,
    power_w=2.0,
    cpi=4.0,
    counted_as="cortex-m7",
    factor=2.0,
    basis="made up",
)
BUDGET = Budget(
    max_parameters=20000,
    max_bytes=100000,
    max_ram_bytes=150000,
    max_macs_per_decision=60000,
    max_instructions=500000.0,
    max_latency_ms=300.0,
    max_energy_mj=600.0,
    deadline_ms=250.0,
    max_misses=3,
    processor=ROUND,
    max_bits_per_decision=20,
    max_sensing_macs=15,
)

# C = 3 context columns, K = 2 slots of F = 3 columns in two blocks, M = 1 fixed action: O = 9, A = 3.
TINY = AgentSpec(
    name="scout",
    hardware="wide",
    blocks=(
        Block("platform", 3, "1", 1.0),
        Block("priority", 1, "1", 1.0, slots=2),
        Block("window", 2, "s", 300.0, slots=2, macs=10),
    ),
    fixed_actions=("charge",),
    slots=2,
)
# C = 5, one slot without any column (F = 0), M = 2: O = 5, A = 3.
BLIND = AgentSpec(
    name="relay-1",
    hardware="slow",
    blocks=(Block("platform", 3, "1", 1.0), Block("eclipse", 2, "s", 5700.0)),
    fixed_actions=("charge", "drift"),
    slots=1,
)
# No slots at all, for the recurrent architecture: O = 7, A = 3.
PLAIN = AgentSpec("probe", "deep", (Block("all", 7, "1", 1.0),), ("charge", "drift", "point"), 0)

# Of its O = 11 columns the last 6 are what two others sent, 3 bits each; A = 3.
TALKER = AgentSpec(
    "talker", "deep", (Block("own", 5, "1", 1.0), Block("heard", 6, "1", 1.0)), ("charge", "drift", "point"), 0
)
TALK = Design(6, Architecture.RECURRENT, message_bits=3)


class TorchActor(nn.Module):
    """The opportunity actor in torch.nn, written from its definition and from nothing in onboard."""

    def __init__(self, context: int, slot: int, fixed: int, hidden: int) -> None:
        super().__init__()
        self.context = nn.Linear(context, hidden)
        self.slot = nn.Linear(slot, hidden, bias=False)
        self.gru = nn.GRU(hidden, hidden)
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(hidden, hidden, bias=False)
        self.fixed = nn.Linear(hidden, fixed)
        self.score = nn.Linear(hidden, 1)

    def forward(self, c: Tensor, x: Tensor, legal: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """c [1, C], x [K, F], legal [K] bool, hidden [1, H] -> logits [M + K], hidden [1, H]."""
        u = self.context(c)
        e_0, e = torch.relu(u), torch.relu(u + self.slot(x))
        g = e_0 + (e * legal[:, None]).sum(0, keepdim=True) / max(1, int(legal.sum()))
        _, h = self.gru(g[None], hidden[None])
        s = torch.relu(self.key(torch.cat([e_0, e])) + self.query(h[0]))
        return torch.cat([self.fixed(s[:1])[0], self.score(s[1:])[:, 0]]), h[0]


class TorchRecurrent(nn.Module):
    """The recurrent student in torch.nn: linear, relu or tanh, GRU, linear."""

    def __init__(self, obs: int, actions: int, hidden: int, activation: Activation) -> None:
        super().__init__()
        self.encoder = nn.Linear(obs, hidden)
        self.activation = nn.Tanh() if activation is Activation.TANH else nn.ReLU()
        self.gru = nn.GRU(hidden, hidden)
        self.head = nn.Linear(hidden, actions)

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """obs [T, O] -> logits [T, A], hidden states [T, H]."""
        states, _ = self.gru(self.activation(self.encoder(obs)))
        return self.head(states), states


def network_of(actor: nn.Module, design: Design) -> Network:
    """A torch network's weights under the names of the onboard one."""
    named = {TORCH_NAMES.get(name, name): t.detach().float().numpy() for name, t in actor.state_dict().items()}
    if "score.weight" in named:
        named["score.weight"] = named["score.weight"][0]
    return Network(design, named)


def draw_network(spec: AgentSpec, design: Design, seed: int, scale: float = 2.0) -> Network:
    """Random weights, rounded to int8 if the design asks for it."""
    generator, kept = np.random.default_rng(seed), dataclasses.replace(design, dtype=Dtype.FLOAT32)
    tensors = {
        name: generator.normal(0, scale / np.sqrt(max(1, shape[-1])), shape).astype(np.float32)
        for name, (shape, _) in tensor_types(spec, kept).items()
    }
    network = Network(kept, tensors)
    return quantise.quantised(network) if design.dtype is Dtype.INT8 else network


def make_actor(spec: AgentSpec, hidden: int, seed: int) -> TorchActor:
    """Weights drawn by numpy, larger than torch's defaults so that the gates move; float64."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of layers without inputs
        actor = TorchActor(spec.context_size, spec.slot_size, len(spec.fixed_actions), hidden).double()
    fill(actor, seed)
    return actor


def fill(module: nn.Module, seed: int) -> None:
    """Every parameter anew, from numpy."""
    generator = np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            drawn = generator.normal(0, 0.6, tuple(parameter.shape)).astype(np.float32)
            parameter.copy_(torch.from_numpy(drawn))


def make_inputs(spec: AgentSpec, steps: int, seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """obs [T, O] float32 and masks [T, A] whose first action is always legal; at times no slot is."""
    generator = np.random.default_rng(seed)
    obs = generator.normal(0, 1, (steps, spec.obs_size)).astype(np.float32)
    mask = generator.random((steps, len(spec.actions))) < 0.6
    mask[:, 0] = True
    mask[::5, len(spec.fixed_actions) :] = False
    return obs, mask


def fly_torch(
    actor: TorchActor, spec: AgentSpec, obs: np.ndarray[Any, Any], mask: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """logits [T, A] and hidden states [T, H] of torch in float64, from a zero hidden state."""
    context = [column for block in spec.blocks if block.slots == 0 for column in columns(spec, block.name)]
    slots = [
        [
            columns(spec, block.name)[slot * block.size + i]
            for block in spec.blocks
            if block.slots
            for i in range(block.size)
        ]
        for slot in range(spec.slots)
    ]
    hidden, logits, states = torch.zeros(1, actor.query.in_features, dtype=torch.float64), [], []
    with torch.no_grad():
        for row, legal in zip(torch.from_numpy(obs).double(), torch.from_numpy(mask), strict=True):
            x = row[torch.tensor(slots, dtype=torch.long)].reshape(spec.slots, -1)
            out, hidden = actor(row[None, context], x, legal[len(spec.fixed_actions) :], hidden)
            logits.append(out.numpy())
            states.append(hidden[0].numpy())
    return np.array(logits), np.array(states)


def columns(spec: AgentSpec, name: str) -> list[int]:
    start = 0
    for block in spec.blocks:
        if block.name == name:
            return list(range(start, start + block.columns))
        start += block.columns
    raise KeyError(name)


def make_satellite(spec: AgentSpec = TINY, hidden: int = 4, seed: int = 31, budget: Budget = BUDGET) -> SatelliteBundle:
    """The weights of ``make_actor``; the seeds used here choose every action."""
    network = network_of(make_actor(spec, hidden, seed), Design(hidden))
    return fly_golden(spec, network, seed, budget)


def fly_golden(spec: AgentSpec, network: Network, seed: int, budget: Budget = BUDGET) -> SatelliteBundle:
    obs, mask = make_inputs(spec, 12, seed + 1)
    return SatelliteBundle(spec, network, golden.record(network, spec, obs, mask), budget, ("charge",))


def make_bundle() -> Bundle:
    """Both architectures, both types of weights; the second satellite sends no intents."""
    quantised = draw_network(PLAIN, Design(5, Architecture.RECURRENT, Activation.TANH, Dtype.INT8), 33)
    third = fly_golden(PLAIN, quantised, 33)
    scout, probe = (dataclasses.replace(each, bits_per_decision=12) for each in (make_satellite(TINY, 4, 31), third))
    return Bundle("sample", (scout, make_satellite(BLIND, 6, 32), probe), PROVENANCE)


def make_talker(seed: int = 34, design: Design = TALK, spec: AgentSpec = TALKER) -> SatelliteBundle:
    """A network that sends messages, and its golden decisions with what it heard: -1, 0 or 1 for each bit."""
    network = draw_network(spec, design, seed)
    obs, mask = make_inputs(spec, 12, seed + 1)
    heard = spec.blocks[-1].columns
    obs[:, -heard:] = np.random.default_rng(seed).integers(-1, 2, (len(obs), heard))
    recorded = golden.record(network, spec, obs, mask)
    return SatelliteBundle(spec, network, recorded, BUDGET, ("charge",), bits_per_decision=design.message_bits)


def write_sample(folder: Path) -> Path:
    bundle = make_bundle()
    write_bundle(folder, bundle.scenario, bundle.satellites, bundle.provenance)
    return folder


def resign(folder: Path) -> None:
    """Make every length and checksum agree with what the files now hold, as an attacker would."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for satellite in manifest["satellites"]:
        for role in ("weights", "golden"):
            content = (folder / satellite[role]["file"]).read_bytes()
            satellite[role].update(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    rewrite(folder, manifest)


def rewrite(folder: Path, manifest: Any) -> None:
    """Replace the manifest, with a checksum that agrees."""
    content = json.dumps(manifest).encode()
    (folder / "manifest.json").write_bytes(content)
    (folder / "manifest.sha256").write_text(f"{hashlib.sha256(content).hexdigest()}  manifest.json\n")


def edit(folder: Path, change: Callable[[Any], None]) -> None:
    """Change the manifest in place and sign it again."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    change(manifest)
    rewrite(folder, manifest)


if __name__ == "__main__":
    kept = make_bundle()
    write_bundle(Path(sys.argv[1]), kept.scenario, (*kept.satellites, make_talker()), kept.provenance)
