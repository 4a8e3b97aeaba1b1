"""Greedy play of whole episodes, and what the networks cost."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from envs.games.api import Frame, Game
from training.games.networks import RecurrentTeam, Sight
from training.losses import masked_log_softmax

_EVALUATION = 0x6576616C  # keeps evaluation seeds apart from those trained on


@dataclass(frozen=True, slots=True)
class Evaluation:
    """K episodes of N agents with A actions."""

    returns: list[float]
    lengths: list[int]
    won: list[bool]
    action_counts: Tensor  # [N, A] int64
    decisions: list[int]  # per agent, over all episodes
    agreement: float | None  # share of decisions that a watching teacher would have made

    @property
    def mean_return(self) -> float:
        return float(np.mean(self.returns))

    @property
    def win_rate(self) -> float:
        return float(np.mean(self.won))


@torch.no_grad()
def evaluate(
    game: Game,
    team: tuple[RecurrentTeam, Sight] | None,
    episodes: int,
    seed: int,
    teacher: tuple[RecurrentTeam, Sight] | None = None,
) -> Evaluation:
    """Greedy episodes (logits or Q values), the first one of each environment, as often as it takes.

    ``team`` None: uniformly random legal actions.
    """
    agents, actions = len(game.specs), max(len(spec.actions) for spec in game.specs)
    counts = torch.zeros(agents, actions, dtype=torch.int64)
    returns: list[float] = []
    lengths: list[int] = []
    won: list[bool] = []
    same = decided = 0
    while len(returns) < episodes:
        key = episode_key(seed, len(returns))
        generator = torch.Generator().manual_seed(key)
        players = [p for p in (team, teacher) if p is not None]
        frame, size = game.reset(key), game.environments
        last = torch.full((size, agents), -1)
        seen = [sight.draw(size, generator) for _, sight in players]
        hidden = [network.initial_hidden(size) for network, _ in players]
        total = torch.zeros(size)
        length = torch.zeros(size, dtype=torch.int64)
        victory = torch.zeros(size, dtype=torch.bool)
        running = torch.arange(size) < episodes - len(returns)  # no more of them than are wanted
        while bool(running.any()):
            greedy = []
            for k, (network, sight) in enumerate(players):
                out, z = network(sight.prepare(frame.obs, seen[k], last).unsqueeze(0), hidden[k])
                hidden[k] = z[-1]
                greedy.append(masked_log_softmax(out[0], frame.action_mask).argmax(-1))
            action = _random(frame, generator) if team is None else greedy[0]
            asked = frame.alive & running.unsqueeze(1)
            if team is not None and teacher is not None:
                same += int(((greedy[0] == greedy[1]) & asked).sum())
                decided += int(asked.sum())
            for n in range(agents):
                counts[n] += torch.bincount(action[:, n][asked[:, n]], minlength=actions)
            step = game.step(action)
            total += torch.where(running, step.reward, 0.0)
            length += running
            over = step.terminated | step.truncated
            victory |= step.won & running
            running &= ~over
            frame, last = step.frame, action
        most = min(size, episodes - len(returns))
        returns += total[:most].tolist()
        lengths += length[:most].tolist()
        won += victory[:most].tolist()
    share = same / decided if decided else None
    return Evaluation(returns, lengths, won, counts, counts.sum(1).tolist(), share)


def episode_key(seed: int, behind: int) -> int:
    """Seed of the next episodes of an evaluation, ``behind`` of which are over."""
    return int(np.random.SeedSequence([_EVALUATION, seed, behind]).generate_state(1)[0] >> 1)


def _random(frame: Frame, generator: torch.Generator) -> Tensor:
    noise = torch.rand(frame.action_mask.shape, generator=generator)
    return noise.masked_fill(~frame.action_mask, -1.0).argmax(-1)


@torch.no_grad()
def time_per_step_ms(game: Game, team: RecurrentTeam, sight: Sight, repeats: int = 300) -> float:
    """Median host time of the decisions of all agents in one step of one environment."""
    frame = game.reset(0)
    obs, seen = frame.obs[:1], sight.draw(1, torch.Generator().manual_seed(0))
    last, hidden, taken = torch.zeros(1, len(game.specs), dtype=torch.int64), team.initial_hidden(1), []
    for _ in range(repeats):
        begin = time.perf_counter()
        out, z = team(sight.prepare(obs, seen, last).unsqueeze(0), hidden)
        masked_log_softmax(out[0], frame.action_mask[:1]).argmax(-1)
        hidden = z[-1]
        taken.append(time.perf_counter() - begin)
    return float(np.median(taken)) * 1e3
