"""SMAC behind the game protocol, against a double of oxwhirl's package and sizes that were read off the real one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from smac_double import StarCraft2Env, install

from envs.games.api import Frame, GameError, Transition
from envs.games.smac import SmacGame, available

NO_OP, STOP, EAST, ATTACK = 0, 1, 4, 6


@pytest.fixture
def sc2(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    return install(monkeypatch, tmp_path / "StarCraftII")


@pytest.fixture
def without_smac(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def loaded() -> list[str]:
        return [name for name in sys.modules if name.partition(".")[0] == "smac"]

    for name in loaded():
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if not (Path(place) / "smac").exists()])
    yield
    for name in loaded():
        del sys.modules[name]


def all_do(game: SmacGame, frame: Frame, action: int) -> Transition:
    """Everyone alive does the action, the dead a senseless one."""
    return game.step(torch.where(frame.alive, action, 5))


def closed_in(game: SmacGame, frame: Frame) -> Frame:
    """After one step towards the enemies, who are then in range."""
    return all_do(game, frame, EAST).frame


def fight(game: SmacGame, frame: Frame) -> Transition:
    """Everyone alive shoots the first enemy in range."""
    return game.step(ATTACK + frame.action_mask[..., ATTACK:].int().argmax(-1))


# The real package's: map, enemy, ally, own (first and last column), columns, state, limit, actions.
@pytest.mark.parametrize(
    ("name", "enemy", "ally", "own", "columns", "state", "limit", "actions"),
    [
        ("3m", (4, 19), (19, 29), (29, 30), 30, 48, 60, 9),
        ("8m", (4, 44), (44, 79), (79, 80), 80, 168, 120, 14),
        ("5m_vs_6m", (4, 34), (34, 54), (54, 55), 55, 98, 70, 12),
        ("3s5z", (4, 68), (68, 124), (124, 128), 128, 216, 150, 14),
    ],
)
def test_blocks_are_where_smac_has_them(
    sc2: str,
    name: str,
    enemy: tuple[int, int],
    ally: tuple[int, int],
    own: tuple[int, int],
    columns: int,
    state: int,
    limit: int,
    actions: int,
) -> None:
    game = SmacGame(name, 2, sc2_path=sc2)
    frame = game.reset(1)
    for spec in game.specs:
        spans = {block.name: (spec.slice(block.name).start, spec.slice(block.name).stop) for block in spec.blocks}
        assert spans == {"move": (0, 4), "enemy": enemy, "ally": ally, "own": own}
        assert (spec.obs_size, len(spec.actions)) == (columns, actions)
    assert frame.obs.shape == (2, len(game.specs), columns)
    assert frame.action_mask.shape == (2, len(game.specs), actions)
    assert frame.state.shape == (2, state) and game.state_size == state
    assert game.horizon == limit
    assert (frame.obs.dtype, frame.state.dtype) == (torch.float32, torch.float32)
    assert game.always_visible == ("move",)


def test_columns_and_legal_actions_mean_what_they_are_called(sc2: str) -> None:
    game = SmacGame("3m", 1, sc2_path=sc2)
    frame = game.reset(3)
    spec = game.specs[0]
    assert spec.actions == ("no_op", "stop", "north", "south", "east", "west", "attack_0", "attack_1", "attack_2")
    assert frame.action_mask[0, 0].tolist() == [False, True, True, True, True, True, False, False, False]
    frame = closed_in(game, frame)
    assert frame.action_mask[0, 0, ATTACK:].all()
    assert (frame.obs[0, 0, spec.slice("enemy")][0::5] == 1).all()  # each enemy's first column: can be attacked
    frame = fight(game, frame).frame  # three shots of a third each: the first enemy is dead, two others shot agent 0
    assert frame.obs[0, 1, spec.slice("enemy")][4::5].tolist() == [0, 1, 1]
    assert frame.obs[0, :, spec.slice("own")].flatten().tolist() == pytest.approx([1 / 3, 1, 1])
    frame = fight(game, frame).frame  # the third enemy shot agent 0: it senses nothing any more and cannot act
    assert frame.alive.tolist() == [[False, True, True]]
    assert not frame.obs[0, 0].any()
    assert frame.action_mask[0, 0].tolist() == [True] + [False] * 8


def test_a_victory_pays_20_in_all_and_the_next_battle_starts_by_itself(sc2: str) -> None:
    game = SmacGame("3m", 1, sc2_path=sc2)
    first = game.reset(0)
    frame = closed_in(game, first)
    after = [fight(game, frame)]
    while not after[-1].terminated:
        after.append(fight(game, after[-1].frame))
    end = after[-1]
    assert len(after) == 4
    assert [step.won.item() for step in after] == [False, False, False, True]
    assert not any(step.truncated for step in after)
    assert sum(step.reward.item() for step in after) == pytest.approx(20.0)
    assert not end.last.state[0, 12:21].view(3, 3)[:, 0].any()  # health of the enemies: the true final frame
    assert end.last.alive.tolist() == [[False, True, True]]
    assert end.frame.alive.all()
    assert (end.frame.obs[0, :, 29] == 1).all()
    assert all((step.last.obs == step.frame.obs).all() for step in after[:-1])


def test_a_lost_battle_is_over_and_not_won(sc2: str) -> None:
    game = SmacGame("3m", 1, sc2_path=sc2)
    frame = closed_in(game, game.reset(0))
    for left in (2, 1, 0):
        after = all_do(game, frame, STOP)
        assert after.last.alive.sum() == left
        frame = after.frame
    assert (after.terminated.item(), after.truncated.item(), after.won.item()) == (True, False, False)
    assert not after.last.obs.any()


def test_the_limit_truncates_and_does_not_terminate(sc2: str) -> None:
    game = SmacGame("3m", 2, sc2_path=sc2)
    frame = game.reset(0)
    for step in range(1, game.horizon + 1):
        after = all_do(game, frame, STOP)
        assert after.truncated.tolist() == [step == game.horizon] * 2
        assert not after.terminated.any()
        frame = after.frame
    assert not after.won.any()
    assert after.last.alive.all()


def test_a_breakdown_of_starcraft_is_cut_off_and_played_on_in_a_new_one(
    sc2: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    game = SmacGame("3m", 1, sc2_path=sc2)
    frame = closed_in(game, game.reset(0))
    monkeypatch.setattr(StarCraft2Env, "breaks_down_at", 2)
    after = fight(game, frame)
    assert (after.terminated.item(), after.truncated.item(), after.won.item()) == (False, True, False)
    broken, anew = StarCraft2Env.made[-2:]
    assert broken.closed and not anew.closed
    assert broken.seed_given != anew.seed_given
    assert after.frame.alive.all() and not after.frame.action_mask[..., ATTACK:].any()


def test_an_agent_that_senses_no_enemies_may_not_learn_from_its_legal_actions_who_is_near(sc2: str) -> None:
    game = SmacGame("3m", 1, hidden_enemies=(True, False, True), sc2_path=sc2)
    frame = game.reset(0)
    assert frame.action_mask[0, :, ATTACK:].all(1).tolist() == [True, False, True]
    assert not frame.action_mask[0, 1, ATTACK:].any()
    assert not frame.action_mask[0, :, NO_OP].any()
    # out of range: carried out as stop; in range: carried out
    frame = game.step(torch.tensor([[ATTACK + 2, EAST, EAST]])).frame
    assert StarCraft2Env.made[-1].orders[-1] == [STOP, EAST, EAST]
    frame = game.step(torch.tensor([[ATTACK, ATTACK, ATTACK]])).frame
    assert StarCraft2Env.made[-1].orders[-1] == [STOP, ATTACK, ATTACK]
    while frame.alive[0].all():
        frame = all_do(game, frame, STOP).frame
    dead = int((~frame.alive[0]).nonzero()[0])
    assert frame.action_mask[0, dead].tolist() == [True] + [False] * 8


def test_the_same_seed_and_actions_give_the_same_game(sc2: str) -> None:
    game = SmacGame("3m", 2, sc2_path=sc2)

    def play(seed: int) -> torch.Tensor:
        frame = game.reset(seed)
        seen = [frame.obs]
        for _ in range(12):
            after = all_do(game, frame, EAST)
            seen.append(after.last.obs)
            frame = after.frame
        return torch.stack(seen)

    first = play(5)
    assert (play(5) == first).all()
    assert not (play(6) == first).all()
    assert not (first[:, 0] == first[:, 1]).all()  # environments differ


def test_every_reset_starts_starcraft_anew_and_lets_go_of_the_old(sc2: str) -> None:
    game = SmacGame("3m", 2, sc2_path=sc2)
    assert not any(env.launched for env in StarCraft2Env.made)  # a game that is only made starts nothing
    game.reset(0)
    game.reset(0)
    game.close()
    launched = [env for env in StarCraft2Env.made if env.launched]
    assert len(launched) == 4
    assert all(env.closed for env in launched)


def test_it_is_available_where_package_game_and_maps_are(sc2: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert available(sc2) is None
    monkeypatch.setenv("SC2PATH", sc2)
    assert available(None) is None
    monkeypatch.delenv("SC2PATH")
    SmacGame("3m", 1, sc2_path=sc2)
    assert os.environ["SC2PATH"] == sc2  # which is where pysc2 looks


def test_a_wrong_folder_is_named(sc2: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = str(tmp_path / "nowhere")
    with pytest.raises(GameError, match=r"sc2_path='.*nowhere' is not allowed: it must be StarCraft II's folder"):
        SmacGame("3m", 1, sc2_path=wrong)
    monkeypatch.setenv("SC2PATH", wrong)
    assert str(available(None)).startswith(f"SC2PATH={wrong!r} is not allowed")
    (tmp_path / "StarCraftII" / "Maps" / "SMAC_Maps").rmdir()
    assert "lacks SMAC's maps" in str(available(sc2))


def test_without_the_package_the_sentence_says_how_to_get_it(without_smac: None) -> None:
    reason = available(None)
    assert reason is not None
    for part in ("is not installed", "pip install git+https://github.com/oxwhirl/smac.git", "SC2PATH"):
        assert part in reason
    with pytest.raises(GameError, match="is not installed"):
        SmacGame("3m", 1)


def test_the_automl_package_of_the_same_name_is_recognised(
    without_smac: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "smac"
    (package / "facade").mkdir(parents=True)
    (package / "__init__.py").write_text("class HyperparameterOptimizationFacade: ...\n")
    (package / "facade" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    reason = str(available(None))
    for part in ("AutoML", "SMAC3", "pip uninstall smac", "github.com/oxwhirl/smac"):
        assert part in reason


def test_a_package_that_breaks_on_import_is_not_called_missing(
    without_smac: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "smac").mkdir()
    (tmp_path / "smac" / "__init__.py").touch()
    (tmp_path / "smac" / "env.py").write_text("raise TypeError('Descriptors cannot be created directly.\\nIf ...')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    reason = str(available(None))
    assert "cannot be imported (TypeError: Descriptors cannot be created directly.)" in reason
    assert "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python" in reason


def test_what_cannot_be_made_is_one_sentence(sc2: str) -> None:
    with pytest.raises(GameError, match=r"map='3mm' is not known to smac: it must be one of 3m, 8m, 5m_vs_6m, 3s5z"):
        SmacGame("3mm", 1, sc2_path=sc2)
    with pytest.raises(GameError, match="hidden_enemies has 2 entries, but map '3m' has 3 agents"):
        SmacGame("3m", 1, (True, False), sc2)
    with pytest.raises(GameError, match="environments is 0"):
        SmacGame("3m", 0, sc2_path=sc2)
