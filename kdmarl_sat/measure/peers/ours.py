"""``python -m kdmarl_sat.measure.peers.ours OVERRIDE ...``: our MAPPO alone, one JSON object a line.

The training loop is the pipeline's, checkpoints included. Evaluations along the way, which the peers are spared too,
are left out: returns are those of training, as the peers report them.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from envs.games.api import Frame, Game, Transition
from envs.games.make import make_game
from envs.games.sensing import everything
from kdmarl_sat.games.methods import BY_NAME, sight_of, team_of
from scenarios.compose import composed_game
from scenarios.games.schema import GameRunConfig
from training.artifact import Place
from training.games import mappo
from training.games.networks import StateCritic
from training.games.training import Evaluations, train_mappo


class Watched:
    """A game that remembers the returns of the episodes that ended, and how many were won."""

    def __init__(self, game: Game) -> None:
        self.game = game
        self.name, self.specs, self.environments = game.name, game.specs, game.environments
        self.state_size, self.horizon = game.state_size, game.horizon
        self.has_victory, self.backend = game.has_victory, game.backend
        self._return = torch.zeros(game.environments)
        self._ended: list[Tensor] = []
        self._won = 0

    def reset(self, seed: int) -> Frame:
        self._return.zero_()
        return self.game.reset(seed)

    def step(self, action: Tensor) -> Transition:
        step = self.game.step(action)
        self._return += step.reward
        over = step.terminated | step.truncated
        if bool(over.any()):
            self._ended.append(self._return[over])
            self._return[over] = 0.0
            self._won += int(step.won.sum())
        return step

    def close(self) -> None:
        self.game.close()

    def ended(self) -> tuple[list[float], int]:
        """Returns of the episodes that ended since the last call, and how many were won."""
        returns, won = [float(value) for part in self._ended for value in part], self._won
        self._ended.clear()
        self._won = 0
        return returns, won


def macs_per_step(config: GameRunConfig) -> int:
    """Multiply-accumulates of one forward pass of actors and critic over one step of one environment."""
    learner = _made(config, make_game(config.scenario, 1))
    critic = sum(weight.numel() for weight in learner.critic.parameters() if weight.ndim == 2)
    return sum(learner.team.macs(learner.sight)) + critic


def train(config: GameRunConfig, game: Watched) -> None:
    learner = _made(config, game)
    per_update = mappo.steps_per_update(config.mappo)

    def progress(share: float, text: str) -> None:
        returns, won = game.ended()
        number = len(returns)
        shares = {"return": sum(returns) / number, "won": won / number} if number else {"return": None, "won": None}
        _tell({"steps": learner.updates * per_update, **shares, "episodes": number})

    _tell({"event": "start"})
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), "", progress)
        train_mappo(learner, game, config.mappo, place, Evaluations(lambda team: {}, config.evaluation.every_steps))


def _made(config: GameRunConfig, game: Game) -> mappo.Learner:
    """The teacher's learner, as ``kdmarl_sat.games.pipeline`` makes it."""
    method = BY_NAME["mappo_fo"]
    sight = sight_of(method, config, game.specs, everything(game.specs))
    team = team_of(method, config, game.specs, sight, config.seed)
    critic_seed = torch.Generator().manual_seed(config.seed + 2**32)
    critic = StateCritic(game.state_size, config.mappo.critic_hidden, critic_seed)
    return mappo.new_learner(team, sight, critic, config.seed)


def _tell(record: dict[str, Any]) -> None:
    print(json.dumps(record), flush=True)


if __name__ == "__main__":
    _config = composed_game(*sys.argv[1:])
    torch.set_num_threads(_config.compute.threads)
    train(_config, Watched(make_game(_config.scenario, _config.mappo.environments)))
