"""CTDS: its loss by hand, who sees what, and that students end at what their masks allow."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from envs.games.sensing import fixed
from scenarios.games.schema import ValueDecompositionConfig
from tests.toy_game import ToyGame
from training.artifact import Place
from training.games.ctds import CtdsLearner, TeacherSight, new_learner, train_ctds, value_distillation
from training.games.evaluate import evaluate
from training.games.networks import RecurrentTeam, Sight
from training.games.training import Evaluations
from training.games.value_training import new_value_learner

CONFIG = ValueDecompositionConfig(
    hidden=16,
    environments=16,
    steps=4000,
    buffer_episodes=256,
    batch_episodes=32,
    updates_per_round=2,
    learning_rate=5e-3,
    epsilon_steps=2000,
    target_updates=50,
)


def test_the_loss_by_hand() -> None:
    q_t = torch.tensor([[[[1.0, 2.0], [3.0, 3.0]]], [[[1.0, 0.0], [2.0, 2.0]]]], requires_grad=True)  # [2, 1, 2, 2]
    q_s = torch.zeros(2, 1, 2, 2)
    q_s[0, 0, 1, 0] = 3.0
    q_s.requires_grad_()
    # Squares: 1 + 4 and 0 + 9 in the first step, 1 + 0 and 4 + 4 in the second; the second agent is dead at first.
    alive = torch.tensor([[[True, False]], [[True, True]]])
    loss = value_distillation(q_t, q_s, alive, torch.tensor([[True], [True]]))
    assert loss.item() == pytest.approx((5 + 9) / 2)
    assert value_distillation(q_t, q_s, alive, torch.tensor([[True], [False]])).item() == pytest.approx(5)
    loss.backward()
    assert q_t.grad is None  # the teacher is not drawn towards its students
    assert q_s.grad is not None
    # d/dq of ((0 - 2)^2) / 2, and nothing of the dead
    assert q_s.grad[0, 0, 0].tolist() == [-1.0, -2.0]
    assert q_s.grad[0, 0, 1].tolist() == [0.0, 0.0]


def learner_for(
    game: ToyGame, visible: list[list[str]], config: ValueDecompositionConfig, seed: int = 0
) -> CtdsLearner:
    sight = Sight(game.specs, fixed(game.specs, visible), identities=False, last_action=True)
    generator = torch.Generator().manual_seed(seed)
    students = RecurrentTeam(sight.inputs, 4, [[0], [1]], [16, 8], generator)
    teacher_sight = TeacherSight(game.specs, sight, last_action=True)
    team = RecurrentTeam(teacher_sight.inputs, 4, [[0, 1]], [config.hidden], generator)
    teacher = new_value_learner("vdn", team, game.state_size, config, seed)
    return new_learner(teacher, teacher_sight, students, sight, config)


def test_the_teacher_reads_what_the_mask_hides_and_the_replay_keeps_the_mask() -> None:
    game = ToyGame(3)
    learner = learner_for(game, [["clock"], ["clock"]], CONFIG)
    obs, none = torch.ones(3, 2, 6), torch.full((3, 2), -1)
    drawn = learner.teacher_sight.draw(3, torch.Generator())
    assert torch.equal(drawn, fixed(game.specs, [["clock"], ["clock"]]).expand(3, -1, -1))
    seen_by_teacher = learner.teacher_sight.prepare(obs, drawn, none)[..., :6]
    assert seen_by_teacher.sum(-1).tolist() == [[6.0, 4.0]] * 3  # the last agent has no noise columns
    assert learner.sight.prepare(obs, drawn, none)[..., :6].sum(-1).tolist() == [[1.0, 1.0]] * 3


@pytest.mark.parametrize(("visible", "expected"), [(["cue", "clock"], 4.5), (["clock"], 3.0)])
def test_students_learn_what_their_mask_allows(visible: list[str], expected: float, tmp_path: Path) -> None:
    """The other sees the cue. One who does not see it guesses: right in half the episodes."""
    game = ToyGame(CONFIG.environments)
    learner = learner_for(game, [["cue", "clock"], visible], CONFIG)
    train_ctds(
        learner, game, CONFIG, 0, Place(tmp_path, "key", lambda done, text: None), Evaluations(lambda team: {}, 4000)
    )
    judged = evaluate(ToyGame(256), (learner.students, learner.sight), 512, seed=1)
    assert judged.mean_return == pytest.approx(expected, abs=0.3)


class Interrupted(Exception):
    pass


def test_an_interrupted_run_gives_the_same_numbers(tmp_path: Path) -> None:
    short = dataclasses.replace(CONFIG, steps=800, buffer_episodes=64)

    def train(folder: Path, stop: float) -> CtdsLearner:
        def progress(done: float, text: str) -> None:
            if done > stop:
                raise Interrupted

        game = ToyGame(short.environments)
        learner = learner_for(game, [["cue"], ["clock"]], short)
        train_ctds(learner, game, short, 0, Place(folder, "key", progress), Evaluations(lambda team: {}, 400))
        return learner

    whole = train(tmp_path / "whole", 2.0)
    with pytest.raises(Interrupted):
        train(tmp_path / "cut", 0.7)
    again = train(tmp_path / "cut", 2.0)
    for name, value in whole.students.state_dict().items():
        assert torch.equal(value, again.students.state_dict()[name]), name
    assert whole.updates == again.updates > 0
