"""From trained students to a bundle that flies: reduced specs, weights, and golden vectors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from envs.api import BoolArray, FloatArray
from envs.sensing import Sensing
from onboard import closed_form, golden
from onboard.budget import Budget
from onboard.bundle import Bundle, BundleError, SatelliteBundle, write_bundle
from onboard.network import TORCH_NAMES, Design, Dtype, Network
from onboard.processors import PROCESSORS, Processor
from onboard.quantise import quantised
from scenarios.processor import ProcessorConfig
from scenarios.ranges import ConfigError, check
from scenarios.schema import BudgetConfig
from training.missions.flight import onboard_spec
from training.missions.networks import OpportunityActor, Team, individual_team
from training.missions.quantise import computes_in_int8
from training.missions.rollout import Rollout, decisions

# Between torch's logits and the reference's, relative where they are above 1. In int8 an input that lies between two
# steps may be rounded to either, and the difference is carried on.
TOLERANCE = {Dtype.FLOAT32: 1e-5, Dtype.INT8: 1e-2}


def export_students(
    folder: Path,
    scenario: str,
    students: Team,
    sensings: Sequence[Sensing],
    rollout: Rollout,
    budget: Budget,
    provenance: Mapping[str, Any],
    golden_decisions: int = 32,
    bits_per_decision: int = 0,
) -> None:
    """Write the bundle of N students, one network each, as a new folder; each broadcasts ``bits_per_decision``.

    The golden vectors are the onboard reference's answers to the first decisions of the rollout's first episode. The
    fallback is the first fixed action that is legal.

    Raises:
        onboard.bundle.BundleError: the folder exists, cannot be written, or the content is not a valid bundle; or the
            reference does not agree with torch.
    """
    obs, mask, logits = _flown(students, rollout, golden_decisions)
    satellites = []
    for agent, (sensing, actor) in enumerate(zip(sensings, students.members, strict=True)):
        spec, network = onboard_spec(sensing), onboard_network(actor)
        recorded = golden.record(network, spec, obs[agent][:, sensing.columns], mask[agent])
        off = float(np.max(np.abs(recorded.logits - logits[agent]) / np.maximum(1, np.abs(logits[agent])), initial=0))
        tolerance = TOLERANCE[network.design.dtype]
        if not off <= tolerance:
            raise BundleError(
                f"satellite {spec.name!r}: the onboard reference gives logits {off:.3g} off those of torch, "
                f"allowed {tolerance:g}"
            )
        fallback = sensing.spec.fixed_actions
        satellites.append(SatelliteBundle(spec, network, recorded, budget, fallback, bits_per_decision))
    write_bundle(folder, scenario, satellites, provenance)


def onboard_network(actor: OpportunityActor) -> Network:
    """A student's weights as they fly: in int8 where it computes so, else in float32."""
    named = {TORCH_NAMES.get(name, name): t.numpy().astype(np.float32) for name, t in actor.state_dict().items()}
    network = Network(Design(actor.hidden), {**named, "score.weight": named["score.weight"][0]})
    return quantised(network) if computes_in_int8(actor) else network


def students_of(bundle: Bundle, sensings: Sequence[Sensing]) -> Team:
    """The float32 students whose bundle it is; ``sensings`` as it was read with ``expect``.

    Raises:
        ConfigError: its networks are not of the kind that is trained here.
    """
    by_name = {each.spec.name: each.network for each in bundle.satellites}
    networks = [by_name[sensing.spec.name] for sensing in sensings]
    for sensing, network in zip(sensings, networks, strict=True):
        if network.design != Design(network.design.hidden):
            kind = f"{network.design.dtype.value} {network.design.architecture.value}"
            raise ConfigError(
                f"satellite {sensing.spec.name!r} has a network of kind {kind!r}: it must be 'float32 opportunity' "
                "to be trained further"
            )
    team = individual_team(sensings, [network.design.hidden for network in networks])
    torch_names = {onboard: name for name, onboard in TORCH_NAMES.items()}
    for actor, network in zip(team.members, networks, strict=True):
        state = {torch_names.get(name, name): torch.from_numpy(t.copy()) for name, t in network.tensors.items()}
        actor.load_state_dict({**state, "score.weight": state["score.weight"][None]})
    return team


def budget_of(config: BudgetConfig, own: Mapping[str, ProcessorConfig]) -> Budget:
    """The budget as the onboard executor knows it; ``own``: processor profiles beside those built in.

    Raises:
        ConfigError: the processor is not known, or its profile is not usable.
    """
    processor = processor_of(config.processor, own)
    try:
        return Budget(**{**dataclasses.asdict(config), "processor": processor})
    except ValueError as error:
        raise ConfigError(f"budget is not usable: {error}") from error


def processor_of(name: str, own: Mapping[str, ProcessorConfig], key: str = "budget.processor") -> Processor:
    """A profile by name: of the user's ``own``, or built in; ``key``: where the name is given.

    Raises:
        ConfigError: there is none of that name, or its figures are not usable.
    """
    known = ", ".join([*PROCESSORS, *(each for each in own if each not in PROCESSORS)])
    check(key, name, name in own or name in PROCESSORS, f"one of {known}, or another of your own, processors.NAME")
    if name not in own:
        return PROCESSORS[name]
    counted, cores = own[name].counted_as, closed_form.cores()
    check(f"processors.{name}.counted_as", counted, counted in cores, f"one of {', '.join(cores)}")
    try:
        return Processor.from_dict({"name": name, **dataclasses.asdict(own[name])})
    except ValueError as error:
        raise ConfigError(f"processors.{name} is not usable: {error}") from error


@torch.no_grad()
def _flown(students: Team, rollout: Rollout, most: int) -> tuple[list[FloatArray], list[BoolArray], list[FloatArray]]:
    """What each student was asked in the first decisions of the first episode, and its logits."""
    packed = decisions(rollout, 1.0)
    obs, mask = packed.obs[:most, :1], packed.mask[:most, :1]  # [D, 1, N, ...]
    logits = students(torch.from_numpy(obs), torch.from_numpy(mask))[0].numpy()
    asked = [packed.valid[:most, 0, agent] for agent in range(students.agents)]
    return tuple([array[a, 0, n] for n, a in enumerate(asked)] for array in (obs, mask, logits))  # type: ignore[return-value]
