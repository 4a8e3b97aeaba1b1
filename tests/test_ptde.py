"""PTDE: its module, loss and budget by hand; prediction in place of information; and what can be predicted."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from envs.games.sensing import fixed
from scenarios.games.peers import PtdeConfig
from scenarios.games.schema import GameDistillConfig, MappoConfig, PhaseConfig
from tests.toy_game import ToyGame
from training.artifact import Place
from training.games.appended import AppendedGame, AppendedSight, StateColumns
from training.games.networks import Sight
from training.games.ptde import (
    DistilledTeam,
    PersonalisedTeam,
    PredictorLearner,
    new_learner,
    prediction_error,
    stages,
    train_predictor,
)
from training.games.stretches import Plan
from training.games.training import Evaluations

CONFIG = PtdeConfig(information=3, units=8)
DISTILL = GameDistillConfig(environments=32, window=6, student_epochs=2, learning_rate=2e-2, max_grad_norm=10)


def test_the_loss_by_hand() -> None:
    told = torch.tensor([[[[0.5, 0.0], [1.0, 1.0]]]], requires_grad=True)
    expected = torch.tensor([[[[0.0, 1.0], [0.0, 0.0]]]])
    both, first = torch.tensor([[[True, True]]]), torch.tensor([[[True, False]]])
    # (0.25 + 1) / 2 of the first agent, (1 + 1) / 2 of the second
    assert prediction_error(expected, told, both).item() == pytest.approx((0.625 + 1.0) / 2)
    assert prediction_error(expected, told, first).item() == pytest.approx(0.625)
    assert not prediction_error(expected, told, both).requires_grad  # what is told is not drawn to its prediction


def test_the_information_by_hand() -> None:
    team = PersonalisedTeam(1, 1, 2, [4], PtdeConfig(information=1, units=1), seed=0)
    with torch.no_grad():
        for name, value in (("state_weight", 2.0), ("gate_weight", -1.0), ("told_weight", 0.5), ("told_bias", 0.1)):
            getattr(team, name).fill_(value)
    own, state = torch.full((1, 1, 1, 1), 3.0), torch.full((1, 1, 1, 1), 4.0)
    gate = 1 / (1 + math.exp(3.0))
    assert team.information(own, state).item() == pytest.approx(math.tanh(0.5 * 8.0 * gate + 0.1), rel=1e-5)
    assert team.information(own, -state).item() == pytest.approx(math.tanh(0.1))  # the ReLU is off


def test_the_stages_share_the_steps() -> None:
    mappo = MappoConfig(phases=[PhaseConfig(steps=400), PhaseConfig(steps=200)])
    first, left = stages(mappo, PtdeConfig(second_stage=0.25))
    assert [phase.steps for phase in first.phases] == [300, 150]
    assert left == 150


def test_a_right_prediction_acts_as_the_information_does() -> None:
    """Both constant and alike: the student, who reads no state, gives what the first stage's team gives."""
    taught = PersonalisedTeam(5, 4, 3, [8, 6], CONFIG, seed=0)
    constant = torch.tensor([[[0.3, -0.2, 0.9]], [[-0.5, 0.1, 0.4]]])
    with torch.no_grad():
        taught.told_weight.zero_()
        taught.told_bias.copy_(constant)
    student = DistilledTeam(taught, [8, 6], seed=0)
    with torch.no_grad():
        student.predictor.head_weight.zero_()
        student.predictor.head_bias.copy_(constant.tanh())
    g = torch.Generator().manual_seed(0)
    own, state = torch.randn(7, 4, 2, 5, generator=g), torch.randn(7, 4, 2, 4, generator=g)
    starts = torch.rand(7, 4, generator=g) < 0.3
    expected, _ = taught(torch.cat((own, state), dim=-1), taught.initial_hidden(4), starts)
    got, latents = student(own, student.initial_hidden(4), starts)
    torch.testing.assert_close(got, expected)
    # Step by step with its memory of both networks, as in play.
    hidden, each = student.initial_hidden(4), []
    for t in range(7):
        out, z = student(own[t : t + 1], hidden, starts[t : t + 1])
        hidden = z[-1]
        each.append(out)
    torch.testing.assert_close(torch.cat(each), expected)
    torch.testing.assert_close(hidden, latents[-1])


def sights(game: ToyGame) -> tuple[Sight, Sight]:
    masks = fixed(game.specs, [["cue", "clock"], ["clock"]])
    return Sight(game.specs, masks, False, True), AppendedSight(game.specs, masks, False, True)


def test_macs_by_hand() -> None:
    own, informed = sights(ToyGame(1))
    taught = PersonalisedTeam(informed.inputs, 5, 4, [8, 8], CONFIG, seed=0)
    student = DistilledTeam(taught, [8, 8], seed=0)
    # Columns: 3 or 1 sensed and 4 of the last action. Two GRU networks of 8 units; 3 columns of information.
    expected = [(c * 8 + 3 * 8 + 6 * 64 + 8 * 4) + (c * 8 + 6 * 64 + 8 * 3) for c in (7, 5)]
    assert student.macs(own) == expected


class Interrupted(Exception):
    pass


def train(folder: Path, stop: float = 2.0) -> tuple[PredictorLearner, PersonalisedTeam]:
    def progress(done: float, text: str) -> None:
        if done > stop:
            raise Interrupted

    game = ToyGame(DISTILL.environments, cue_always=True)
    _, informed = sights(game)
    taught = PersonalisedTeam(informed.inputs, game.state_size, 4, [8, 8], CONFIG, seed=0)
    learner = new_learner(DistilledTeam(taught, [8, 8], seed=0), 0)
    plan = Plan("ptde", 40, 32 * 6)
    with_state = AppendedGame(game, StateColumns())
    train_predictor(
        learner,
        taught,
        informed,
        with_state,
        DISTILL,
        plan,
        Place(folder, "key", progress),
        Evaluations(lambda team: {}, 20 * 32 * 6),
    )
    return learner, taught


def test_what_an_agent_sees_of_the_state_it_learns_to_predict(tmp_path: Path) -> None:
    """The first agent sees cue and clock, all that changes in the state; the second does not see the cue."""
    learner, taught = train(tmp_path / "whole")
    game = AppendedGame(ToyGame(256, cue_always=True), StateColumns())
    _, informed = sights(ToyGame(1))
    obs = game.reset(3).obs
    seen = informed.draw(256, torch.Generator())
    inputs = informed.prepare(obs, seen, torch.full((256, 2), -1)).unsqueeze(0)
    own, state = inputs[..., : taught.own_inputs], inputs[..., taught.own_inputs :]
    with torch.no_grad():
        told = taught.information(own, state)
        expected, _ = learner.students.predictor(own, learner.students.predictor.initial_hidden(256), None)
    left = (expected - told).square().mean((0, 1, 3)) / told.var((0, 1), unbiased=False).mean(-1)
    assert left[0] < 0.1  # of the variance
    assert left[1] > 0.5

    with pytest.raises(Interrupted):
        train(tmp_path / "cut", stop=0.8)
    again, _ = train(tmp_path / "cut")
    for name, value in learner.students.state_dict().items():
        assert torch.equal(value, again.students.state_dict()[name]), name
