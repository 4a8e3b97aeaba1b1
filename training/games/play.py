"""A crew of onboard networks, one per agent, plays a game: what each reads, sends and hears, step by step.

Each agent computes from its own columns alone. Where students send messages, a step has two rounds: all that live send,
then each decides with what arrived.

A frame does not tell an agent that waits for its turn, and observes meanwhile, from a dead one. So what an agent
observes while it is not asked is kept, and its network is given it, step by step, as soon as it is asked again.

Shapes: N agents, I input columns of ``Sight.prepare``, O columns of one network, A actions, B bits of a message.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from envs.api import BoolArray, FloatArray, IntArray
from envs.games.api import Game
from onboard.spec import AgentSpec as OnboardSpec
from training.games.networks import Sight


class Crew(Protocol):
    """Decides for each agent by its name; ``onboard.executor.Executor`` is one."""

    def reset(self, time_s: float = 0.0) -> None:
        """An episode begins: every memory is zero."""

    def send(self, satellite: str, obs: FloatArray, time_s: float) -> int | None:
        """The bits that an agent broadcasts before it decides, the lowest first; None: nothing."""

    def decide(self, satellite: str, obs: FloatArray, mask: BoolArray, time_s: float) -> int:
        """The action for obs [O], legal actions [A]."""


@dataclass(frozen=True, slots=True, eq=False)
class Wiring:
    """What one agent's network is given of a team's inputs."""

    spec: OnboardSpec  # its columns by block; what is heard is the last block
    columns: IntArray  # of the I input columns: all but what is heard
    bits: int  # of each message; 0: agents send none


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """One question to an agent's network."""

    step: int
    agent: int
    obs: FloatArray  # [O]
    mask: BoolArray  # [A]


@dataclass(frozen=True, slots=True)
class Played:
    """An episode that is over."""

    reward: float  # of the team
    steps: int
    won: bool
    decisions: int  # of all agents
    messages: int  # sent by all agents
    heard: int  # messages that arrived, over all links


@torch.no_grad()
def play(
    game: Game,
    sight: Sight,
    wiring: Sequence[Wiring],
    crew: Crew,
    seed: int,
    note: Callable[[Asked], None] = lambda asked: None,
) -> Played:
    """One episode, in the game's first environment; in the others every agent takes its first legal action.

    Args:
        game: where agents send, with ``training.games.messages.Links`` appended to what they see.
        sight: of the team that was trained.
        wiring: of each agent.
        crew: who decides.
        seed: of the episode, and of the columns that are hidden in it where they are drawn.
        note: is told every question, in order.
    """
    frame, agents = game.reset(seed), len(wiring)
    crew.reset()
    seen = sight.draw(game.environments, torch.Generator().manual_seed(seed))
    last = torch.full((game.environments, agents), -1)
    kept: list[list[Asked]] = [[] for _ in wiring]  # what each observed since it was last asked
    reward, step, decisions, sent, arrived = 0.0, 0, 0, 0, 0

    def ask(question: Asked) -> int:
        note(question)
        name = wiring[question.agent].spec.name
        return crew.decide(name, question.obs, question.mask, float(question.step))

    while True:
        inputs = sight.prepare(frame.obs, seen, last)[0].numpy()
        living = frame.alive[0].nonzero().squeeze(-1).tolist()
        for agent in living:
            for question in kept[agent]:
                ask(question)
            kept[agent].clear()
        own = [row[each.columns] for row, each in zip(inputs, wiring, strict=True)]
        messages = _sent(crew, wiring, own, living, float(step))
        action = frame.action_mask.to(torch.int8).argmax(-1)
        for agent, each in enumerate(wiring):
            heard, count = _heard(agent, agents, each.bits, messages, inputs[agent][sight.inputs :])
            mask = frame.action_mask[0, agent, : len(each.spec.actions)].numpy()
            question = Asked(step, agent, np.concatenate((own[agent], heard)), mask)
            if agent in living:
                action[0, agent], arrived = ask(question), arrived + count
            else:
                kept[agent].append(question)
        transition = game.step(action)
        decisions, sent, step = decisions + len(living), sent + len(messages), step + 1
        reward += float(transition.reward[0])
        if bool(transition.terminated[0] | transition.truncated[0]):
            return Played(reward, step, bool(transition.won[0]), decisions, sent, arrived)
        frame, last = transition.frame, action


def signs(message: int, bits: int) -> FloatArray:
    """-1 or 1 for each bit, the lowest first, [B]."""
    return np.where((message >> np.arange(bits)) & 1, np.float32(1), np.float32(-1)).astype(np.float32)


def _sent(
    crew: Crew, wiring: Sequence[Wiring], own: Sequence[FloatArray], living: Sequence[int], time_s: float
) -> dict[int, FloatArray]:
    """The messages [B] of the agents that live and have one; ``own``: each agent's columns."""
    messages: dict[int, FloatArray] = {}
    for agent in living:
        spec, bits = wiring[agent].spec, wiring[agent].bits
        if bits == 0:
            continue
        deaf = np.zeros((len(wiring) - 1) * bits, np.float32)
        told = crew.send(spec.name, np.concatenate((own[agent], deaf)), time_s)
        if told is not None:
            messages[agent] = signs(told, bits)
    return messages


def _heard(
    agent: int, agents: int, bits: int, messages: dict[int, FloatArray], arrives: FloatArray
) -> tuple[FloatArray, int]:
    """What an agent reads of the others' messages [(N-1) B], 0 where none arrives, and how many arrived.

    ``arrives`` [N-1]: 1 for each other agent whose message is not lost.
    """
    heard, count = np.zeros((agents - 1, bits), np.float32), 0
    for place, other in enumerate(each for each in range(agents) if each != agent):
        if other in messages and arrives[place]:
            heard[place], count = messages[other], count + 1
    return heard.ravel(), count
