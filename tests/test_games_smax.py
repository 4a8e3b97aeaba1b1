"""SMAX: layouts, masks, ends of episodes and the way between torch and JAX."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from envs.games.api import Frame, GameError, Transition

pytest.importorskip("jax")

from envs.games import jax_bridge
from envs.games.smax import SmaxGame

STOP = 4


@pytest.fixture(scope="module")
def marines() -> SmaxGame:
    return SmaxGame("3m", 64)


@pytest.fixture(scope="module")
def blindfolded() -> SmaxGame:
    return SmaxGame("3m", 32, hidden_enemies=[True, False, True])


def legal(mask: Tensor, generator: torch.Generator) -> Tensor:
    """[E, N] actions, each uniform over the legal ones."""
    draws = torch.rand(mask.shape, generator=generator)
    return torch.where(mask, draws, -1.0).argmax(-1)


def play(game: SmaxGame, seed: int, steps: int) -> list[Transition]:
    generator = torch.Generator().manual_seed(seed)
    frame = game.reset(seed)
    result = []
    for _ in range(steps):
        result.append(game.step(legal(frame.action_mask, generator)))
        frame = result[-1].frame
    return result


def edit(game: SmaxGame, **fields: Any) -> None:
    """Set fields of all battles' states, in the types that they have: others would be compiled for anew."""
    jax = jax_bridge.load("jax")
    keys, outer, hardness = game.lockstep.carry
    typed = {
        name: jax.device_put(jax.numpy.asarray(value, getattr(outer.state, name).dtype), jax.devices("cpu")[0])
        for name, value in fields.items()
    }
    game.lockstep.carry = (keys, outer.replace(state=outer.state.replace(**typed)), hardness)


def place(game: SmaxGame, allies: tuple[float, float], enemies: tuple[float, float]) -> None:
    """Put both sides of all battles on 3m where told, each in a column, its units one apart: none overlap."""
    column = np.array([[0.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
    edit(game, unit_positions=np.tile(np.concatenate([column + allies, column + enemies]), (game.environments, 1, 1)))


# map: observation, blocks, actions, state, kinds of units (measured on jaxmarl 0.2.0)
TABLE = {
    "3m": (75, (26, 39, 10), 8, 72, ["marine"] * 3),
    "8m": (205, (91, 104, 10), 13, 192, ["marine"] * 8),
    "5m_vs_6m": (140, (52, 78, 10), 11, 132, ["marine"] * 5),
    "3s5z": (205, (91, 104, 10), 13, 192, ["stalker"] * 3 + ["zealot"] * 5),
}


@pytest.mark.parametrize("name", TABLE)
def test_layout(name: str) -> None:
    obs, blocks, actions, state, kinds = TABLE[name]
    game = SmaxGame(name, 2)
    assert [spec.hardware for spec in game.specs] == kinds
    assert [spec.name for spec in game.specs] == [f"ally_{n}" for n in range(len(kinds))]
    assert game.state_size == state
    for spec in game.specs:
        assert [block.name for block in spec.blocks] == ["ally", "enemy", "own"]
        assert tuple(block.columns for block in spec.blocks) == blocks
        assert spec.obs_size == obs and len(spec.actions) == actions and spec.slots == 0
        assert spec.actions[:6] == ("north", "east", "south", "west", "stop", "attack_0")


def test_first_frame(marines: SmaxGame) -> None:
    frame = marines.reset(3)
    assert frame.obs.shape == (64, 3, 75) and frame.obs.dtype == torch.float32
    assert frame.action_mask.shape == (64, 3, 8) and frame.action_mask.dtype == torch.bool
    assert frame.state.shape == (64, 72) and frame.state.dtype == torch.float32
    assert frame.alive.all() and frame.alive.shape == (64, 3)
    assert frame.action_mask[..., : STOP + 1].all() and not frame.action_mask[..., STOP + 1 :].any()  # 16 apart
    own = frame.obs[..., marines.specs[0].slice("own")]
    torch.testing.assert_close(own[..., 0], torch.ones(64, 3))  # health
    assert ((own[..., 1] - 8 / 32).abs() < 2.5 / 32).all() and ((own[..., 2] - 0.5).abs() < 2.5 / 32).all()
    units = frame.state[:, :60].reshape(64, 6, 10)
    torch.testing.assert_close(units[:, :3], own)  # the allies of the state are the agents, on the same scale
    assert ((units[:, 3:, 1] - 24 / 32).abs() < 2.5 / 32).all()
    assert not frame.obs[..., marines.specs[0].slice("enemy")].any()  # sight is 9
    # A marine's teammates are within sight of it: 2 units of health 1, the first 2 rows of "ally" and all of it.
    assert (frame.obs[..., marines.specs[0].slice("ally")].reshape(64, 3, 2, 13)[..., 0] == 1).all()


def test_moves_are_named_as_they_lead(marines: SmaxGame) -> None:
    where = marines.specs[0].slice("own").start
    for action, (dx, dy) in {
        "north": (0, 1),
        "east": (1, 0),
        "south": (0, -1),
        "west": (-1, 0),
        "stop": (0, 0),
    }.items():
        before = marines.reset(1).obs[:, 0, where + 1 : where + 3]
        index = marines.specs[0].actions.index(action)
        after = marines.step(torch.full((64, 3), index)).frame.obs[:, 0, where + 1 : where + 3]
        # Half a second at 3.15 on a map of 32; the units push each other a little.
        torch.testing.assert_close(after - before, torch.tensor([dx, dy]).expand(64, 2) * 1.575 / 32, atol=0.02, rtol=0)


def test_enemies_in_sight_and_in_range(marines: SmaxGame) -> None:
    marines.reset(0)
    place(marines, (10.0, 14.0), (14.0, 14.0))
    frame = marines.step(torch.full((64, 3), STOP)).frame
    enemy = frame.obs[..., marines.specs[0].slice("enemy")].reshape(64, 3, 3, 13)
    assert (enemy[:, :, :, 0] > 0).all()
    torch.testing.assert_close(enemy[:, 0, 0, 1:3], torch.tensor([4 / 9, 0.0]).expand(64, 2), atol=0.05, rtol=0)
    distance = enemy[..., 1:3].norm(dim=-1) * 9  # sight of a marine
    assert (frame.action_mask[..., STOP + 1 :] == (distance < 5)).all()  # its range
    assert frame.action_mask[..., STOP + 1 :].any()


def test_random_play_never_wins_and_ends_are_told_apart(marines: SmaxGame) -> None:
    total, length, returns = torch.zeros(64), torch.zeros(64), []
    for step in play(marines, 5, 150):
        ended = step.terminated | step.truncated
        assert not (step.terminated & step.truncated).any() and not step.won.any()
        total, length = total + step.reward, length + 1
        assert (step.terminated == ~step.last.alive.any(1))[~step.won].all()  # only a defeat ends it here
        returns += total[ended].tolist()
        assert (length <= marines.horizon).all()
        total[ended], length[ended] = 0, 0
        going = ~ended
        assert torch.equal(step.frame.obs[going], step.last.obs[going])
        assert torch.equal(step.frame.state[going], step.last.state[going])
        if ended.any():  # the next one has begun
            assert step.frame.alive[ended].all()
            assert (step.frame.state[ended][:, 0] == 1).all() and not step.last.alive[ended].any()
        assert step.frame.state.abs().max() < 1.5
        dead = ~step.last.alive
        assert step.last.action_mask[dead].sum() == dead.sum() and step.last.action_mask[dead][:, STOP].all()
    assert len(returns) > 200 and 0.1 < sum(returns) / len(returns) < 0.23


def test_a_win_returns_exactly_two(marines: SmaxGame) -> None:
    marines.reset(0)
    edit(marines, unit_health=np.tile([1e6] * 3 + [45.0] * 3, (64, 1)))
    total = torch.zeros(64)
    place(marines, (14.0, 14.0), (17.0, 14.0))
    frame = marines.step(torch.full((64, 3), STOP)).frame
    over = torch.zeros(64, dtype=torch.bool)
    for _ in range(60):
        attack = frame.action_mask.to(torch.uint8).flip(-1).argmax(-1)  # the last legal one
        step = marines.step(frame.action_mask.shape[-1] - 1 - attack)
        frame = step.frame
        total = torch.where(over, total, total + step.reward)
        won = step.won & ~over
        assert torch.equal(step.won, step.reward >= 1)
        assert step.terminated[won].all() and not step.truncated[won].any()
        assert not step.last.state[won][:, :60].reshape(-1, 6, 10)[:, 3:].any()  # all enemies dead
        over |= step.won | step.terminated
        if over.all():
            break
    assert over.all()
    torch.testing.assert_close(total, torch.full((64,), 2.0))


def test_both_dead_is_over_and_not_won(marines: SmaxGame) -> None:
    marines.reset(0)
    edit(marines, unit_positions=np.zeros((64, 6, 2)))  # walls kill
    step = marines.step(torch.full((64, 3), STOP))
    assert step.terminated.all() and not step.won.any() and not step.truncated.any()
    assert not step.last.alive.any() and step.frame.alive.all()


def test_the_limit_is_at_step_100(marines: SmaxGame) -> None:
    marines.reset(0)
    for count in range(1, 101):
        # Apart for good, so that nothing but the limit ends it.
        place(marines, (4.0, 14.0), (28.0, 14.0))
        if count == 100:  # and one battle is lost at the very limit
            health = np.full((64, 6), 45.0)
            health[0, :3] = 0
            edit(marines, unit_health=health)
        step = marines.step(torch.full((64, 3), STOP))
        assert bool(step.truncated.any()) == (count == 100)
    assert step.terminated.tolist() == [True] + [False] * 63
    assert step.truncated.tolist() == [False] + [True] * 63
    assert step.last.alive[1:].all() and not step.won.any()


def test_a_seed_fixes_all_that_follows(marines: SmaxGame) -> None:
    first, again, other = (play(marines, seed, 40) for seed in (7, 7, 8))
    assert all(torch.equal(a.frame.obs, b.frame.obs) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[-1].frame.obs, other[-1].frame.obs)
    assert not torch.equal(first[-1].frame.obs[0], first[-1].frame.obs[1])  # copies differ


def test_nothing_is_copied_or_compiled_anew(marines: SmaxGame) -> None:
    lockstep = marines.lockstep
    frame = marines.reset(0)
    play(marines, 0, 60)  # past the first new starts
    assert lockstep._step._cache_size() == 1 and lockstep._reset._cache_size() == 1
    for array in lockstep._step(lockstep.carry, np.zeros((64, 6), np.int32))[1]:
        first, *_ = jax_bridge._unpacked(array, [array.shape])
        assert first.data_ptr() == array.unsafe_buffer_pointer()
    obs = marines.step(legal(frame.action_mask, torch.Generator().manual_seed(0))).frame.obs
    assert obs._base is not None and obs.is_contiguous()  # a view of what crossed


def test_actions_of_any_layout(marines: SmaxGame) -> None:
    def stepped(action: Tensor) -> Frame:
        marines.reset(0)
        return marines.step(action).frame

    action = torch.randint(0, STOP, (64, 3), generator=torch.Generator().manual_seed(0))
    expected = stepped(action).obs.clone()
    assert torch.equal(stepped(action.T.contiguous().T).obs, expected)
    assert torch.equal(stepped(torch.cat([action.new_zeros(1, 3), action])[1:]).obs, expected)  # not where JAX wants it


def test_hidden_enemies_do_not_show_in_the_mask(marines: SmaxGame, blindfolded: SmaxGame) -> None:
    frame = blindfolded.reset(0)
    assert frame.action_mask[:, [0, 2]].all() and not frame.action_mask[:, 1, STOP + 1 :].any()
    dead = 0
    for step in play(blindfolded, 0, 60):
        mask, alive = step.last.action_mask, step.last.alive
        assert (mask[:, [0, 2]].all(-1) == alive[:, [0, 2]]).all()
        assert mask[~alive].sum() == (~alive).sum() and mask[~alive][:, STOP].all()
        dead += int((~alive).sum())
    assert dead > 0


def test_an_attack_on_nobody_is_a_stop(blindfolded: SmaxGame) -> None:
    """Also just out of range: the enemies come closer during the step, and SMAX would hit them."""
    results = []
    for action in (STOP, STOP + 1):
        blindfolded.reset(0)
        place(blindfolded, (10.0, 14.0), (15.2, 14.0))
        step = blindfolded.step(torch.full((32, 3), action))
        results.append((step.frame.obs, step.frame.state, step.reward))
    for stop, attack in zip(*results, strict=True):
        torch.testing.assert_close(stop, attack, rtol=0, atol=0)
    assert not results[0][2].any()
    assert (blindfolded.step(torch.full((32, 3), STOP + 1)).reward > 0).any()  # in range by now


def test_the_dead_are_not_asked(blindfolded: SmaxGame) -> None:
    alive = np.tile(np.arange(6) > 0, (32, 1))
    results = []
    for action in (STOP, 1, STOP + 1):
        blindfolded.reset(0)
        edit(blindfolded, unit_health=45.0 * alive, unit_alive=alive)
        actions = torch.full((32, 3), 1)
        actions[:, 0] = action
        results.append(blindfolded.step(actions).frame)
    assert not results[0].alive[:, 0].any() and results[0].alive[:, 1:].all()
    assert all(torch.equal(results[0].obs, other.obs) for other in results[1:])


def test_bad_input_is_one_sentence() -> None:
    with pytest.raises(GameError, match=r"^SMAX has no map '4m'; allowed: .*3m, .*5m_vs_6m.*8m$"):
        SmaxGame("4m", 1)
    with pytest.raises(GameError, match="no map 'smacv2_5_units'"):
        SmaxGame("smacv2_5_units", 1)
    with pytest.raises(GameError, match=r"^hidden_enemies has 2 entries; allowed: none, or 3 on 3m$"):
        SmaxGame("3m", 1, hidden_enemies=[True, False])
    with pytest.raises(GameError, match=r"^environments is 0; allowed: at least 1$"):
        SmaxGame("3m", 0)
    with pytest.raises(GameError, match=r"^step was called before reset; allowed: reset first$"):
        SmaxGame("3m", 1).step(torch.zeros(1, 3, dtype=torch.int64))


def test_without_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax.numpy", None)  # what Python itself does with a module that must not be found
    with pytest.raises(GameError, match=r'^jax.numpy cannot be imported .*: pip install "kdmarl_sat\[benchmarks\]"$'):
        SmaxGame("3m", 1)


def test_a_game_is_made_in_silence() -> None:
    """jaxmarl prints on import, warns, and puts sys.stdout and sys.stderr back to the process's."""
    code = """
import io, sys
out = sys.stdout = io.StringIO(); error = sys.stderr = io.StringIO()
from envs.games.smax import SmaxGame
SmaxGame("3m", 1)
assert sys.stdout is out and sys.stderr is error and not out.getvalue() + error.getvalue()
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_weakened_enemies_begin_each_battle_with_a_share_of_their_health(marines: SmaxGame) -> None:
    own = marines.reset(3)
    try:
        marines.weaken(0.4)
        weak = marines.reset(3)
        later = play(marines, 4, 150)  # no battle on 3m is that long: each has ended, and begun anew
    finally:
        marines.weaken(1.0)
    assert all(torch.equal(getattr(marines.reset(3), each), getattr(own, each)) for each in ("obs", "state", "alive"))

    def health(state: Tensor) -> Tensor:
        return state.view(64, -1)[:, :60].view(64, 6, 10)[..., 0]  # a column of each unit's ten, allies first

    share = health(weak.state)[:, 3:] / health(own.state)[:, 3:]
    assert torch.equal(health(weak.state)[:, :3], health(own.state)[:, :3])
    assert bool((share == share[:, :1]).all()) and len(share[:, 0].unique()) == 64
    assert float(share.min()) >= 0.4 and float(share.max()) <= 1.0
    assert float(share[:, 0].mean()) == pytest.approx(0.7, abs=4 * 0.6 / (12 * 64) ** 0.5)
    begun = torch.cat([step.frame.state[step.terminated | step.truncated] for step in later])[:, [30, 40, 50]]
    assert len(begun) >= 64 and float(begun.min() / health(own.state)[0, 3]) >= 0.4 and len(begun.unique()) > 60
