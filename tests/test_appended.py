"""Columns behind those of a game's specs: who reads them, and that the game is otherwise the same."""

from __future__ import annotations

import torch

from envs.games.sensing import everything
from tests.toy_game import GRAB, ToyGame
from training.games.appended import AppendedGame, AppendedSight, CutSight, StateColumns
from training.games.networks import Sight


def test_the_state_is_appended_for_those_who_live() -> None:
    plain, game = ToyGame(4, deaths=True), AppendedGame(ToyGame(4, deaths=True), StateColumns())
    before, frame = plain.reset(1), game.reset(1)
    assert torch.equal(frame.obs[..., :6], before.obs)
    assert torch.equal(frame.obs[..., 6:], before.state.unsqueeze(1).expand(-1, 2, -1))
    action = torch.stack((torch.full((4,), GRAB), plain.cue), dim=-1)  # the first agent's end
    expected, step = plain.step(action), game.step(action)
    assert torch.equal(step.frame.obs[..., :6], expected.frame.obs)
    assert (step.frame.obs[:, 0, 6:] == 0).all()
    assert torch.equal(step.frame.obs[:, 1, 6:], expected.frame.state)
    assert torch.equal(step.last.obs, step.frame.obs)


def test_the_last_frame_carries_its_own_columns() -> None:
    plain, game = ToyGame(3, rounds=1), AppendedGame(ToyGame(3, rounds=1), StateColumns())
    plain.reset(0), game.reset(0)
    action = plain.cue.unsqueeze(-1).expand(-1, 2)
    expected, step = plain.step(action), game.step(action)
    assert expected.terminated.all()
    assert torch.equal(step.last.obs[:, 0, 6:], expected.last.state)
    assert torch.equal(step.frame.obs[:, 0, 6:], expected.frame.state)
    assert not torch.equal(expected.last.state, expected.frame.state)


def test_who_reads_what_is_appended() -> None:
    game = ToyGame(4)
    masks = everything(game.specs)
    obs, none = game.reset(0).obs, torch.full((4, 2), -1)
    extra = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(0))
    with_more = torch.cat((obs, extra), dim=-1)
    plain = Sight(game.specs, masks, identities=True, last_action=True)
    seen = plain.draw(4, torch.Generator())
    expected = plain.prepare(obs, seen, none)
    cut = CutSight(game.specs, masks, identities=True, last_action=True)
    reads = AppendedSight(game.specs, masks, identities=True, last_action=True)
    assert torch.equal(cut.prepare(with_more, seen, none), expected)
    assert torch.equal(cut.prepare(obs, seen, none), expected)
    assert torch.equal(reads.prepare(with_more, seen, none), torch.cat((expected, extra), dim=-1))
    assert cut.inputs == reads.inputs == plain.inputs
