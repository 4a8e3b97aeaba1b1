"""Trains QMIX and VDN on a game; after a crash it goes on from the last checkpoint, exactly.

A checkpoint is taken with every evaluation. There all environments start anew, from a seed that the number of steps
gives, whether the run is interrupted or not: so no game has to be saved, and both runs give the same numbers. The
replay is saved in parts, each with the episodes since the checkpoint before, so that a large one is not written again
and again.

Shapes: E environments, N agents, O observation columns, A actions.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from envs.games.api import Frame, Game
from scenarios.games.schema import ValueDecompositionConfig
from training import checkpoint
from training.artifact import CHECKPOINT, Place, Progress
from training.games.networks import RecurrentTeam, Sight
from training.games.replay import Episodes, Replay
from training.games.training import Curve, DivergedError, Evaluations
from training.games.value_decomposition import MixerName, ValueLearner, greedy, new_learner, update
from training.optimisation import means


def epsilon_greedy(q: Tensor, mask: Tensor, epsilon: float, generator: torch.Generator) -> Tensor:
    """Each agent takes a uniformly random legal action with probability epsilon, else its greedy one.

    q [E, N, A], mask [E, N, A] bool -> [E, N] int64.
    """
    draws = torch.rand(*mask.shape[:-1], mask.shape[-1] + 1, generator=generator)
    random = (draws[..., 1:] + mask).argmax(-1)  # illegal ones are below 1
    return torch.where(draws[..., 0] < epsilon, random, greedy(q, mask))


def epsilon_after(steps: int, config: ValueDecompositionConfig) -> float:
    """Falls linearly along the first ``epsilon_steps`` environment steps."""
    first, last = config.epsilon
    return first + min(steps / config.epsilon_steps, 1.0) * (last - first)


class Collector:
    """E environments that run on and on, with the memory of the agents that play in them."""

    def __init__(
        self,
        game: Game,
        team: RecurrentTeam,
        sight: Sight,
        replay: Replay,
        config: ValueDecompositionConfig,
        generator: torch.Generator,
    ) -> None:
        self.game, self.team, self.sight, self.replay = game, team, sight, replay
        self.config, self.generator = config, generator
        self.steps = 0  # of one environment, summed over environments

    def start(self, seed: int) -> None:
        """All environments begin a new episode."""
        self.frame: Frame = self.game.reset(seed)
        environments = self.game.environments
        self.hidden = self.team.initial_hidden(environments)
        self.last_action = torch.full((environments, self.team.agents), -1)
        self.starts = torch.zeros(environments, dtype=torch.bool)  # the memory is fresh as it is
        self.seen = self.sight.draw(environments, self.generator)
        self.replay.start(self.seen)
        self.earned = torch.zeros(environments)

    @torch.no_grad()
    def collect(self) -> dict[str, float]:
        """Play until as many episodes have ended as there are environments; returns their means."""
        environments = self.game.environments
        until, ended, returned, won, began = self.replay.finished + environments, 0, 0.0, 0, self.steps
        while self.replay.finished < until:
            inputs = self.sight.prepare(self.frame.obs, self.seen, self.last_action).unsqueeze(0)
            q, latents = self.team(inputs, self.hidden, self.starts.unsqueeze(0))
            epsilon = epsilon_after(self.steps, self.config)
            action = epsilon_greedy(q[0], self.frame.action_mask, epsilon, self.generator)
            transition = self.game.step(action)
            self.steps += environments
            over = transition.terminated | transition.truncated
            if bool(over.any()):
                drawn = self.sight.draw(environments, self.generator)
                self.seen = torch.where(over.view(-1, 1, 1), drawn, self.seen)
            self.replay.add(self.frame, action, transition, self.seen)
            self.earned += transition.reward
            ended += int(over.sum())
            won += int(transition.won.sum())
            returned += float(self.earned[over].sum())
            self.earned[over] = 0.0
            self.frame, self.hidden, self.starts = transition.frame, latents[-1], over
            self.last_action = action.masked_fill(over.unsqueeze(-1), -1)
        statistics = {"episode_return": returned / ended, "epsilon": epsilon_after(began, self.config)}
        return statistics | ({"episode_won": won / ended} if self.game.has_victory else {})


def train_values(
    mixer: MixerName,
    game: Game,
    team: RecurrentTeam,
    sight: Sight,
    config: ValueDecompositionConfig,
    seed: int,
    place: Place,
    evaluations: Evaluations,
) -> Curve:
    """Train the team for ``config.steps`` environment steps.

    Args:
        game: of ``config.environments`` environments; evaluations may play it too.
        team: freshly made, its outputs are Q values; a checkpoint in the place replaces its weights. It is trained in
            place.
        seed: of all that is random in training.
        place: of the checkpoint, and of the replay while training lasts.
        evaluations: every so many environment steps, and at the end.

    Returns:
        Points with ``steps``, ``updates`` and ``cpu_s`` (of training alone, all threads), the mean statistics of the
        rounds since the point before, and the evaluation's.
    """
    collector = new_collector(game, team, sight, config, seed)
    learner = new_value_learner(mixer, team, game.state_size, config, seed)
    return train_on_replay(
        learner,
        collector,
        lambda batch: update(learner, sight, batch, config),
        team,
        seed,
        place,
        evaluations,
    )


class Learner(Protocol):
    """What learns from a replay, and what a checkpoint keeps of it."""

    @property
    def updates(self) -> int: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def new_collector(
    game: Game, team: RecurrentTeam, sight: Sight, config: ValueDecompositionConfig, seed: int
) -> Collector:
    """An empty replay, and the team that will fill it."""
    generator = torch.Generator().manual_seed(_derived(seed, _BEHAVIOUR))
    return Collector(game, team, sight, Replay(game, config.buffer_episodes), config, generator)


def new_value_learner(
    mixer: MixerName, team: RecurrentTeam, state_size: int, config: ValueDecompositionConfig, seed: int
) -> ValueLearner:
    generator = torch.Generator().manual_seed(_derived(seed, _MIXER))
    return new_learner(mixer, team, state_size, config, generator)


def train_on_replay(
    learner: Learner,
    collector: Collector,
    learn: Callable[[Episodes], dict[str, Tensor]],
    judged: RecurrentTeam,
    seed: int,
    place: Place,
    evaluations: Evaluations,
) -> Curve:
    """Collect and learn for as many environment steps as the collector's config says.

    ``learn`` makes one update from a batch of episodes and counts it in ``learner.updates``; ``judged`` is the team
    that is evaluated. Other arguments and the result as of ``train_values``.
    """
    steps = collector.config.steps
    saved = _Saved(place.folder, place.key, learner, collector)
    curve = saved.load()
    spent = curve[-1]["cpu_s"] if curve else 0.0
    while collector.steps < steps:
        clock = time.process_time() - spent
        statistics = _stretch(collector, learn, seed, evaluations.every_steps, place.progress)
        spent = time.process_time() - clock
        counts = {"steps": collector.steps, "updates": learner.updates, "cpu_s": spent}
        curve.append({**counts, **statistics, **evaluations.measure(judged)})
        saved.save(curve, finished=collector.steps >= steps)
        place.scalars(collector.steps, curve[-1])
    return curve


_BEHAVIOUR, _MIXER, _GAME = range(3)  # what seeds are derived for


def _derived(seed: int, purpose: int, steps: int = 0) -> int:
    return int(np.random.SeedSequence((seed, purpose, steps)).generate_state(1)[0]) >> 1


def _stretch(
    collector: Collector,
    learn: Callable[[Episodes], dict[str, Tensor]],
    seed: int,
    every_steps: int,
    progress: Progress,
) -> dict[str, float]:
    """Start all environments, then rounds of collection and updates to the next multiple of ``every_steps`` or the end.

    Returns the rounds' mean statistics.

    Raises:
        DivergedError: one of them is NaN or infinite, so the networks are no longer usable.
    """
    config = collector.config
    until = min(config.steps, (collector.steps // every_steps + 1) * every_steps)
    collector.start(_derived(seed, _GAME, collector.steps))
    rounds: list[dict[str, float]] = []
    while collector.steps < until:
        record = collector.collect()
        if len(collector.replay) >= config.batch_episodes:
            records: list[dict[str, Tensor]] = []
            for _ in range(config.updates_per_round):
                batch = collector.replay.sample(config.batch_episodes, collector.generator)
                records.append(learn(batch))
            record |= means(records)
        rounds.append(record)
        progress(min(collector.steps / config.steps, 1.0), _said(record))
    names = rounds[-1].keys()  # the first rounds may have had too few episodes for an update
    of_name = {name: [record[name] for record in rounds if name in record] for name in names}
    statistics = {name: sum(values) / len(values) for name, values in of_name.items()}
    wrong = sorted(name for name, value in statistics.items() if not math.isfinite(value))
    if wrong:
        raise DivergedError(f"training diverged: {', '.join(wrong)} not finite; lower values.learning_rate")
    return statistics


def _said(record: dict[str, float]) -> str:
    won = f", {record['episode_won']:.0%} won" if "episode_won" in record else ""
    return f"return {record['episode_return']:.2f}{won}"


class _Saved:
    """The checkpoint: the learner and how far it is, and beside it the parts of the replay that it names."""

    def __init__(self, folder: Path, key: str, learner: Learner, collector: Collector) -> None:
        self.folder, self.key, self.learner, self.collector = folder, key, learner, collector
        self.parts: list[int] = []  # each holds the episodes up to this number, from where the one before ends

    def load(self) -> Curve:
        """The curve so far; empty where there is no checkpoint."""
        if not (self.folder / CHECKPOINT).exists():
            return []
        state = checkpoint.load(self.folder / CHECKPOINT, self.key)
        self.parts = state["parts"]
        for part in self.parts:
            self.collector.replay.load_state_dict(checkpoint.load(self._part(part), self.key))
        self.learner.load_state_dict(state["learner"])
        self.collector.steps = state["steps"]
        self.collector.generator.set_state(state["generator"])
        curve: Curve = state["curve"]
        return curve

    def save(self, curve: Curve, finished: bool) -> None:
        """Write new parts before the checkpoint, delete old ones after it: parts that it names always exist."""
        replay = self.collector.replay
        written = self.parts[-1] if self.parts else 0
        if replay.finished > written and not finished:
            checkpoint.save(self._part(replay.finished), replay.state_dict(since=written), self.key)
            self.parts.append(replay.finished)
        kept = replay.finished - len(replay)
        self.parts = [] if finished else [part for part in self.parts if part > kept]
        state = {
            "learner": self.learner.state_dict(),
            "parts": self.parts,
            "steps": self.collector.steps,
            "generator": self.collector.generator.get_state(),
            "curve": curve,
        }
        checkpoint.save(self.folder / CHECKPOINT, state, self.key)
        needed = {self._part(part) for part in self.parts}
        for path in self.folder.glob(f"{_PART}*.safetensors"):
            if path not in needed:
                path.unlink()

    def _part(self, part: int) -> Path:
        return self.folder / f"{_PART}{part}.safetensors"


_PART = "replay-"
