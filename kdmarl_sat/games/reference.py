"""Hand-written policies on MPE with full observation: a reference for the scores of trained teachers.

Shapes: E environments, N agents, O observation columns.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from envs.files import read_json, write_json
from envs.games.mpe import Mpe2Game
from kdmarl_sat.games.records import RecordError
from kdmarl_sat.provenance import code_versions

FORMAT, VERSION = "kdmarl_sat.game_reference", 1
_EPISODES = (0x6576616C, 2)  # seeds of the runs' final evaluation, so that both play the same episodes
_AHEAD_S = 0.25  # of 0.1 to 0.4 about the best on both maps: less overshoots, more comes late


def speaker_listener(obs: NDArray[np.float32]) -> NDArray[np.int64]:
    """The speaker names its landmark's colour; the listener, once told, goes there. obs [N, O] -> actions [N]."""
    said = int(np.argmax(obs[0, :3]))
    velocity, landmarks, heard = obs[1, :2], obs[1, 2:8].reshape(3, 2), obs[1, 8:11]
    moved = _towards(velocity, landmarks[int(np.argmax(heard))]) if heard.any() else 0
    return np.array([said, moved])


def spread(obs: NDArray[np.float32]) -> NDArray[np.int64]:
    """Agents share out the landmarks at the least sum of distances, anew each step. obs [N, O] -> actions [N]."""
    ways = obs[:, 4:10].reshape(3, 3, 2)  # agent, landmark, along x and y
    _, mine = linear_sum_assignment(np.linalg.norm(ways, axis=-1))
    return np.array([_towards(row[:2], way[goal]) for row, way, goal in zip(obs, ways, mine, strict=True)])


POLICIES: dict[str, Callable[[NDArray[np.float32]], NDArray[np.int64]]] = {
    "simple_speaker_listener": speaker_listener,
    "simple_spread": spread,
}


def measure(path: Path, episodes: int) -> dict[str, list[float]]:
    """Play all of them and keep what they reach, by map, with where it comes from."""
    found = {name: [round(value, 4) for value in returns(name, episodes)] for name in POLICIES}
    write_json(path, {"format": FORMAT, "version": VERSION, "run": code_versions(), "returns": found})
    return found


def read(path: Path) -> dict[str, list[float]]:
    """What ``measure`` kept; nothing where there is no file.

    Raises:
        RecordError: it is damaged or of another version.
    """
    if not path.is_file():
        return {}
    try:
        content = read_json(path)
        found: dict[str, list[float]] = content["returns"]
        known = (content["format"], content["version"]) == (FORMAT, VERSION)
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path} is damaged: {error}") from error
    if not known:
        raise RecordError(f"{path} has version {content['version']!r}: this program reads version {VERSION}")
    return found


def returns(map_name: str, episodes: int, at_once: int = 128) -> list[float]:
    """Return of each episode on mpe2, mean over the agents."""
    act, found = POLICIES[map_name], list[float]()
    while len(found) < episodes:
        game = Mpe2Game(map_name, min(at_once, episodes - len(found)))
        seed = int(np.random.SeedSequence([*_EPISODES, len(found)]).generate_state(1)[0] >> 1)
        frame, total = game.reset(seed), torch.zeros(game.environments)
        for _ in range(game.horizon):
            step = game.step(torch.from_numpy(np.stack([act(obs) for obs in frame.obs.numpy()])))
            frame, total = step.frame, total + step.reward
        found += total.tolist()
        game.close()
    return found


def _towards(velocity: NDArray[np.float32], way: NDArray[np.float32]) -> int:
    """Push along the longer axis of what is left of ``way`` [2] when a particle has gone on as it goes for a while."""
    left = way - _AHEAD_S * velocity
    axis = int(np.argmax(np.abs(left)))
    return 1 + 2 * axis + int(left[axis] > 0)
