"""Tseng et al. 2022: the loss by hand, and that students come to act as a teacher does, from its play alone."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from envs.games.sensing import everything, fixed
from scenarios.games.peers import TsengConfig
from scenarios.games.schema import GameDistillConfig
from tests.toy_game import ToyGame
from training.artifact import Place
from training.games.distill import Teacher
from training.games.evaluate import evaluate
from training.games.networks import RecurrentTeam, Sight, StateCritic
from training.games.stretches import Plan
from training.games.training import Curve, Evaluations
from training.games.tseng import TsengLearner, new_learner, train_tseng, tseng_loss, windows_of
from training.games.windows import Labels
from training.networks import ValueNorm

DISTILL = GameDistillConfig(
    environments=32, window=6, teacher_steps=1920, student_steps=7680, learning_rate=1e-2, student_epochs=2
)


def test_the_loss_by_hand() -> None:
    # One step of one environment, two agents, two units, two actions.
    z_t = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
    features = torch.tensor([[[[1.0, 1.0], [0.0, 1.0]]]])
    labels = Labels(torch.zeros(1, 1, 2, 2), z_t)
    logits = torch.tensor([[[[math.log(3.0), 0.0], [0.0, 0.0]]]])
    legal = torch.ones(1, 1, 2, 2, dtype=torch.bool)
    kl = 0.5 * math.log(4 / 3)  # of (1/2, 1/2) from (3/4, 1/4): (ln(2/3) + ln 2) / 2
    both = torch.tensor([[[True, True]]])
    loss, terms = tseng_loss(TsengConfig(action=2, feature=4, relation=6), labels, logits, features, legal, both)
    assert terms["action"].item() == pytest.approx(kl / 2)  # the second agent's policies agree
    assert terms["feature"].item() == pytest.approx((1 / 2 + 0) / 2)
    assert terms["relation"].item() == pytest.approx(0.5)  # cosines: 0 of the teacher, 1 / sqrt 2 of the students
    assert loss.item() == pytest.approx(2 * kl / 2 + 4 * 0.25 + 6 * 0.5)
    first = torch.tensor([[[True, False]]])  # the dead count in none of the terms
    _, terms = tseng_loss(TsengConfig(), labels, logits, features, legal, first)
    assert [terms[name].item() for name in ("action", "feature", "relation")] == pytest.approx([kl, 0.5, 0.0])


def teacher_of(game: ToyGame) -> Teacher:
    """Not trained, but of clear opinions."""
    sight = Sight(game.specs, everything(game.specs), identities=True, last_action=True)
    generator = torch.Generator().manual_seed(5)
    team = RecurrentTeam(sight.inputs, 4, [[0, 1]], [12], generator, head_gain=10.0)
    return Teacher(team, sight, StateCritic(game.state_size, 4, generator), ValueNorm(), 0.9, 0.95)


def train(folder: Path, stop: float = 2.0, seed: int = 0) -> tuple[TsengLearner, Curve, Teacher]:
    def progress(done: float, text: str) -> None:
        if done > stop:
            raise Interrupted

    game = ToyGame(DISTILL.environments)
    teacher = teacher_of(game)
    sight = Sight(
        game.specs, fixed(game.specs, [["cue", "clock", "own", "noise"], ["cue", "clock", "own"]]), False, True
    )
    students = RecurrentTeam(sight.inputs, 4, [[0], [1]], [16, 8], torch.Generator().manual_seed(seed))
    learner = new_learner(students, sight, teacher, 0)
    plan = Plan("tseng", windows_of(DISTILL), 32 * 6)
    curve = train_tseng(
        learner,
        teacher,
        game,
        TsengConfig(),
        DISTILL,
        plan,
        Place(folder, "key", progress),
        Evaluations(lambda team: {}, 5000),
    )
    return learner, curve, teacher


class Interrupted(Exception):
    pass


def test_students_come_to_act_as_the_teacher_and_an_interrupted_run_gives_the_same_numbers(tmp_path: Path) -> None:
    assert windows_of(DISTILL) == 50
    whole, curve, teacher = train(tmp_path / "whole")
    assert [point["steps"] for point in curve] == [4992, 9600]
    game = ToyGame(64)
    agreement = evaluate(game, (whole.students, whole.sight), 256, 1, (teacher.team, teacher.sight)).agreement
    assert agreement is not None and agreement > 0.9
    with pytest.raises(Interrupted):
        train(tmp_path / "cut", stop=0.8)
    again, _, _ = train(tmp_path / "cut", seed=7)  # the checkpoint replaces all of it
    for name, value in whole.students.state_dict().items():
        assert torch.equal(value, again.students.state_dict()[name]), name
