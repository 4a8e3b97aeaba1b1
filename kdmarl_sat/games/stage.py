"""What the stages of a run on a benchmark game share: the code they depend on, fresh networks, points of a curve."""

from __future__ import annotations

from envs.games.api import Game
from kdmarl_sat.games.context import Benchmark
from kdmarl_sat.games.methods import Method, sight_of, team_of
from training.games.evaluate import evaluate
from training.games.networks import RecurrentTeam, Sight
from training.games.training import Evaluations

# The code that results depend on, for the cache.
SHARED = (
    *("envs/games", "envs/api.py", "envs/sensing.py", "kdmarl_sat/games/methods.py", "training/checkpoint.py"),
    *("training/games/networks.py", "training/games/gru.py", "training/games/evaluate.py", "training/networks.py"),
    *("training/games/appended.py", "training/losses.py", "training/optimisation.py", "training/exact.py"),
)
PLAY = (*SHARED, "training/games/windows.py", "training/games/training.py", "training/games/mappo.py")
STUDENTS = (*PLAY, "training/games/distill.py", "training/distill.py", "training/games/messages.py")
VALUES = (
    *SHARED,
    *("training/games/value_decomposition.py", "training/games/value_training.py", "training/games/replay.py"),
)
_CURVE_EPISODES = 128  # of each evaluation along the way


def fresh(benchmark: Benchmark, method: Method) -> tuple[Sight, RecurrentTeam]:
    """What the method's networks read, and the networks, untrained."""
    specs = benchmark.game.specs
    sight = sight_of(method, benchmark.config, specs, benchmark.visible)
    return sight, team_of(method, benchmark.config, specs, sight, benchmark.config.seed)


def evaluations(benchmark: Benchmark, game: Game, sight: Sight) -> Evaluations:
    """The points of a learning curve: greedy episodes on seeds that are the same each time."""

    def measure(team: RecurrentTeam) -> dict[str, float]:
        measured = evaluate(game, (team, sight), _CURVE_EPISODES, seed=0)
        return {"return": measured.mean_return, "win_rate": measured.win_rate}

    return Evaluations(measure, benchmark.config.evaluation.every_steps)
