"""From a game's trained students to a bundle that flies: reduced specs, weights, golden vectors.

Shapes: T steps, N agents, I input columns of a team, O of one agent's own network, H hidden units, A actions, B bits of
a message.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from envs.api import AgentSpec, BoolArray, FloatArray
from envs.games.api import Game
from onboard import fields, golden, reference
from onboard.budget import Budget
from onboard.bundle import BundleError, SatelliteBundle, write_bundle
from onboard.network import Architecture, Design, Network
from onboard.spec import AgentSpec as OnboardSpec
from onboard.spec import Block
from training.games.messages import MessagingTeam
from training.games.networks import RecurrentTeam, Sight
from training.games.play import Asked, Wiring, play

TOLERANCE = 1e-5  # between torch's logits and the reference's, relative where they are above 1
GOLDEN_DECISIONS = 32
APPENDED = SENSED, LAST_ACTION, HEARD = "sensed", "last_action", "heard"  # blocks behind the game's own


def wiring_of(specs: Sequence[AgentSpec], sight: Sight, bits: int) -> tuple[Wiring, ...]:
    """What each of N agents' networks reads, and its reduced spec; ``bits``: of each message, 0 for none.

    Raises:
        BundleError: a name or a size that a bundle cannot hold.
    """
    with _refused():
        return tuple(
            Wiring(_reduced(spec, sight, agent, bits), sight.reads(agent).nonzero().squeeze(-1).numpy(), bits)
            for agent, spec in enumerate(specs)
        )


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    """What the onboard classes refuse, each in a sentence, is a BundleError."""
    try:
        yield
    except ValueError as error:
        raise BundleError(str(error)) from error


def _reduced(spec: AgentSpec, sight: Sight, agent: int, bits: int) -> OnboardSpec:
    for block in spec.blocks:
        if block.name in APPENDED:
            fields.refuse(
                f"agent {spec.name!r} block name", block.name, f"none of {', '.join(APPENDED)}: a bundle appends these"
            )
    reads = sight.reads(agent)
    blocks = [
        Block(block.name, block.columns, block.unit, block.scale)
        for block in spec.blocks
        if bool(reads[spec.slice(block.name)].all())
    ]
    if sight.random:
        blocks.append(Block(SENSED, spec.obs_size, "1", 1.0))
    if sight.last_action:
        blocks.append(Block(LAST_ACTION, len(spec.actions), "1", 1.0))
    if bits:
        blocks.append(Block(HEARD, (sight.agents - 1) * bits, "1", 1.0))
    return OnboardSpec(spec.name, spec.hardware, tuple(blocks), spec.actions, 0)


def onboard_network(team: RecurrentTeam, sight: Sight, agent: int) -> Network:
    """One agent's weights as they fly: cut to the columns, units and actions that it has."""
    units, reads, actions = team.width(agent), sight.reads(agent), sight.own_actions[agent]
    encoder = team.encoder_weight[agent][reads, :units]
    if isinstance(team, MessagingTeam):
        encoder = torch.cat((encoder, team.receiver_weight[agent][:, :units]))
    tensors = {
        "encoder.weight": encoder.T,
        "encoder.bias": team.encoder_bias[agent, 0, :units],
        "gru_input.weight": _gates(team.input_weight[agent, :units], team.hidden, units).T,
        "gru_input.bias": _gates(team.input_bias[agent], team.hidden, units)[0],
        "gru_hidden.weight": _gates(team.hidden_weight[agent, :units], team.hidden, units).T,
        "gru_hidden.bias": _gates(team.hidden_bias[agent], team.hidden, units)[0],
        "head.weight": team.head_weight[agent, :units, :actions].T,
        "head.bias": team.head_bias[agent, 0, :actions],
    }
    bits = 0
    if isinstance(team, MessagingTeam):
        of_x, of_memory = torch.split(team.sender_weight[agent], team.hidden)
        tensors["sender.weight"] = torch.cat((of_x[:units], of_memory[:units])).T
        tensors["sender.bias"] = team.sender_bias[agent, 0]
        bits = team.bits
    design = Design(units, architecture=Architecture.RECURRENT, message_bits=bits)
    return Network(design, {name: tensor.detach().numpy().copy() for name, tensor in tensors.items()})


def _gates(parameter: Tensor, widest: int, units: int) -> Tensor:
    """The gates [..., 3 x widest] of a network that has fewer units, [..., 3 H]."""
    return torch.cat([gate[..., :units] for gate in torch.split(parameter, widest, dim=-1)], dim=-1)


class _OnTheGround:
    """The networks as the onboard reference computes them, before there is a bundle."""

    def __init__(self, wiring: Sequence[Wiring], networks: Sequence[Network]) -> None:
        self._networks = {
            each.spec.name: (each.spec, reference.prepared(network))
            for each, network in zip(wiring, networks, strict=True)
        }

    def reset(self, time_s: float = 0.0) -> None:
        self._hidden = {
            name: np.zeros(network.design.hidden, np.float32) for name, (_, network) in self._networks.items()
        }

    def send(self, satellite: str, obs: FloatArray, time_s: float) -> int | None:
        spec, network = self._networks[satellite]
        return reference.send(network, spec, obs, self._hidden[satellite])

    def decide(self, satellite: str, obs: FloatArray, mask: BoolArray, time_s: float) -> int:
        spec, network = self._networks[satellite]
        logits, self._hidden[satellite] = reference.step(network, spec, obs, mask, self._hidden[satellite])
        return reference.choose(logits, mask)


def export_students(
    folder: Path,
    scenario: str,
    game: Game,
    team: RecurrentTeam,
    sight: Sight,
    budget: Budget,
    provenance: Mapping[str, Any],
) -> None:
    """Write the bundle of N students, one network each, as a new folder.

    The golden vectors are the onboard reference's answers to each agent's first decisions in an episode that the
    reference itself plays. The fallback is the first action that is legal.

    Args:
        game: where students send, with ``training.games.messages.Links`` appended.
        team: a network for each agent.

    Raises:
        onboard.bundle.BundleError: the folder exists, cannot be written, or the content is not a valid bundle; or the
            reference does not agree with torch, or is never asked for an agent.
    """
    bits = team.bits if isinstance(team, MessagingTeam) else 0
    wiring = wiring_of(game.specs, sight, bits)
    asked: list[Asked] = []
    with _refused():
        networks = [onboard_network(team, sight, agent) for agent in range(team.agents)]
        play(game, sight, wiring, _OnTheGround(wiring, networks), seed=0, note=asked.append)
        satellites = [
            _satellite(each, network, [question for question in asked if question.agent == agent], budget)
            for agent, (each, network) in enumerate(zip(wiring, networks, strict=True))
        ]
    _check_torch(team, sight, wiring, satellites, asked)
    write_bundle(folder, scenario, satellites, provenance)


def _satellite(each: Wiring, network: Network, asked: Sequence[Asked], budget: Budget) -> SatelliteBundle:
    """``asked``: of this agent, from the beginning of an episode on."""
    if not asked:
        raise BundleError(f"agent {each.spec.name!r} is asked for no decision in the episode of its golden vectors")
    first = asked[:GOLDEN_DECISIONS]
    obs, mask = np.stack([question.obs for question in first]), np.stack([question.mask for question in first])
    recorded = golden.record(network, each.spec, obs, mask)
    return SatelliteBundle(each.spec, network, recorded, budget, each.spec.actions, bits_per_decision=each.bits)


@torch.no_grad()
def _check_torch(
    team: RecurrentTeam,
    sight: Sight,
    wiring: Sequence[Wiring],
    satellites: Sequence[SatelliteBundle],
    asked: Sequence[Asked],
) -> None:
    """
    Raises:
        BundleError: torch computes other logits than the golden ones for the same episode, messages included.
    """
    agents, steps = len(wiring), 1 + max(question.step for question in asked)
    links = agents - 1 if isinstance(team, MessagingTeam) else 0
    inputs = torch.zeros(steps, 1, agents, sight.inputs + links)
    for question in asked:
        each, row = wiring[question.agent], inputs[question.step, 0, question.agent]
        own, heard = np.split(question.obs, [len(each.columns)])
        row[each.columns] = torch.from_numpy(own)
        if links:  # torch's senders say what arrives
            row[sight.inputs :] = torch.from_numpy(heard.reshape(links, each.bits).any(-1).astype(np.float32))
    logits = team(inputs, team.initial_hidden(1))[0][:, 0].numpy()  # [T, N, A]
    for agent, satellite in enumerate(satellites):
        ours = satellite.golden.logits
        theirs = logits[: len(ours), agent, : ours.shape[1]]
        off = float(np.max(np.abs(ours - theirs) / np.maximum(1, np.abs(theirs)), initial=0))
        if not off <= TOLERANCE:
            raise BundleError(
                f"agent {satellite.spec.name!r}: the onboard reference gives logits {off:.3g} off those of torch, "
                f"allowed {TOLERANCE:g}"
            )
