"""Hand-written policies on MPE: what they do in positions made by hand, and how far they get."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from envs.games.api import Frame
from envs.games.mpe import Mpe2Game
from kdmarl_sat.games import reference as game_reference
from kdmarl_sat.games.evaluation import FINAL_SEED
from kdmarl_sat.games.records import RecordError
from kdmarl_sat.games.reference import POLICIES, read, returns, speaker_listener, spread
from training.games.evaluate import evaluate

LEFT, RIGHT, DOWN, UP = 1, 2, 3, 4


def listener(velocity: tuple[float, float], heard: tuple[float, float, float]) -> np.ndarray:
    """Landmarks 1 to the right, 2 up, 3 to the left; the goal has the third colour."""
    obs = np.zeros((2, 11), np.float32)
    obs[0, :3] = 0.15, 0.15, 0.65
    obs[1] = [*velocity, 1.0, 0.1, 0.0, 2.0, -3.0, 0.2, *heard]
    return obs


def test_the_speaker_names_the_goal_and_the_listener_goes_there() -> None:
    assert speaker_listener(listener((0, 0), (0, 0, 0))).tolist() == [2, 0]  # nothing heard yet
    assert speaker_listener(listener((0, 0), (1, 0, 0))).tolist() == [2, RIGHT]
    assert speaker_listener(listener((0, 0), (0, 1, 0))).tolist() == [2, UP]
    assert speaker_listener(listener((0, 0), (0, 0, 1))).tolist() == [2, LEFT]
    # At 5 to the right it is far beyond the first landmark in no time: it brakes.
    assert speaker_listener(listener((5, 0), (1, 0, 0))).tolist() == [2, LEFT]


def test_agents_share_out_the_landmarks() -> None:
    """Two agents are nearest to the same landmark; the least sum sends the first to another."""
    agents = np.array([[0.0, 0.0], [1.0, 0.0], [5.0, 5.0]])
    landmarks = np.array([[1.1, 0.0], [-0.5, 0.0], [5.0, 4.0]])
    obs = np.zeros((3, 18), np.float32)
    obs[:, 4:10] = (landmarks[None] - agents[:, None]).reshape(3, 6)
    assert spread(obs).tolist() == [LEFT, RIGHT, DOWN]


@pytest.mark.parametrize(("name", "random"), [("simple_speaker_listener", -41.0), ("simple_spread", -27.0)])
def test_they_are_far_from_random_and_repeat(name: str, random: float) -> None:
    """What uniformly random actions return is from the runs' records."""
    assert set(POLICIES) == {"simple_speaker_listener", "simple_spread"}
    found = returns(name, 24, at_once=16)
    assert len(found) == 24 and np.mean(found) > random / 2
    assert found == returns(name, 24, at_once=16)


def test_they_play_the_episodes_of_the_final_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []

    class Noted(Mpe2Game):
        def reset(self, seed: int) -> Frame:
            seeds.append(seed)
            return super().reset(seed)

    evaluate(Noted("simple_spread", 3), None, 6, FINAL_SEED)
    monkeypatch.setattr(game_reference, "Mpe2Game", Noted)
    returns("simple_spread", 6, at_once=3)
    assert len(seeds) == 4 and seeds[:2] == seeds[2:]


def test_what_was_kept_is_read_again_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "reference.json"
    assert read(path) == {}
    path.write_text('{"format": "kdmarl_sat.game_reference", "version": 1, "returns": {"simple_spread": [-8.0]}}')
    assert read(path) == {"simple_spread": [-8.0]}
    path.write_text('{"format": "kdmarl_sat.game_reference", "version": 7, "returns": {}}')
    with pytest.raises(RecordError, match="has version 7: this program reads version 1"):
        read(path)
    path.write_text("[]")
    with pytest.raises(RecordError, match=r"reference\.json is damaged"):
        read(path)
