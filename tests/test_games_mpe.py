"""Multi-agent particle environments: jaxmarl's against mpe2's, layouts, the adversary, and the limit."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from envs.games.api import Game, GameError, Transition

pytest.importorskip("jax")
pytest.importorskip("mpe2")

from envs.games import jax_bridge
from envs.games.mpe import Mpe2Game, MpeGame, adversary_action

MAPS = ("simple_adversary", "simple_speaker_listener", "simple_spread")
_MADE: dict[str, MpeGame] = {}


def on_jax(name: str) -> MpeGame:
    """64 environments, compiled once for all tests."""
    if name not in _MADE:
        _MADE[name] = MpeGame(name, 64)
    return _MADE[name]


def legal(mask: Tensor, generator: torch.Generator) -> Tensor:
    """[E, N] actions, each uniform over the legal ones."""
    return torch.where(mask, torch.rand(mask.shape, generator=generator), -1.0).argmax(-1)


def play(game: Game, seed: int, steps: int) -> list[Transition]:
    generator = torch.Generator().manual_seed(seed)
    frame = game.reset(seed)
    result = []
    for _ in range(steps):
        result.append(game.step(legal(frame.action_mask, generator)))
        frame = result[-1].frame
    return result


def copy_to_mpe2(game: MpeGame, reference: Mpe2Game) -> None:
    """Give every world of ``reference`` the physical state of the environment with the same index."""
    state = game.lockstep.carry[1]
    for index, env in enumerate(reference.envs):
        world = env.unwrapped.world
        for number, entity in enumerate((*world.agents, *world.landmarks)):
            entity.state.p_pos = np.asarray(state.p_pos[index, number], np.float64)
            entity.state.p_vel = np.asarray(state.p_vel[index, number], np.float64)
        for number, agent in enumerate(world.agents):
            agent.state.c = np.asarray(state.c[index, number], np.float64)
        if game.name == "simple_adversary":
            for agent in world.agents:
                agent.goal_a = world.landmarks[int(state.goal[index])]
        if game.name == "simple_speaker_listener":
            world.agents[0].goal_b = world.landmarks[int(state.goal[index])]


# map: each agent's kind, blocks, actions
TABLE: dict[str, list[tuple[str, dict[str, slice], int]]] = {
    "simple_spread": [
        (
            "agent",
            {
                "velocity": slice(0, 2),
                "position": slice(2, 4),
                "landmarks": slice(4, 10),
                "allies": slice(10, 14),
                "comm": slice(14, 18),
            },
            5,
        )
    ]
    * 3,
    "simple_speaker_listener": [
        ("speaker", {"goal": slice(0, 3)}, 3),
        ("listener", {"velocity": slice(0, 2), "landmarks": slice(2, 8), "message": slice(8, 11)}, 5),
    ],
    "simple_adversary": [("agent", {"goal": slice(0, 2), "landmarks": slice(2, 6), "others": slice(6, 10)}, 5)] * 2,
}


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("made", [on_jax, lambda name: Mpe2Game(name, 2)])
def test_layout(name: str, made: Any) -> None:
    game = made(name)
    assert [spec.hardware for spec in game.specs] == [kind for kind, _, _ in TABLE[name]]
    for spec, (_, blocks, actions) in zip(game.specs, TABLE[name], strict=True):
        assert {block.name: spec.slice(block.name) for block in spec.blocks} == blocks
        assert len(spec.actions) == actions and spec.slots == 0
    frame = game.reset(0)
    sizes = [spec.obs_size for spec in game.specs]
    count = (game.environments, len(sizes))
    assert frame.obs.shape == (*count, max(sizes)) and frame.obs.dtype == torch.float32
    assert frame.alive.shape == count and frame.alive.all()
    assert frame.action_mask.shape == (*count, max(len(spec.actions) for spec in game.specs))
    assert frame.state.shape == (game.environments, game.state_size) and frame.state.dtype == torch.float32
    parts = [frame.obs[:, agent, :size] for agent, size in enumerate(sizes)]
    assert torch.equal(frame.state, torch.cat(parts, 1))
    for agent, spec in enumerate(game.specs):
        assert not frame.obs[:, agent, spec.obs_size :].any()
        assert frame.action_mask[:, agent].sum(-1).tolist() == [len(spec.actions)] * game.environments
        assert frame.action_mask[:, agent, : len(spec.actions)].all()
    for index, spec in enumerate(game.specs):
        if isinstance(game, Mpe2Game):  # what mpe2 itself says
            env = game.envs[0]
            assert env.observation_space(spec.name).shape == (spec.obs_size,), index
            assert env.action_space(spec.name).n == len(spec.actions)


@pytest.mark.parametrize("name", MAPS)
def test_jaxmarl_is_mpe2(name: str) -> None:
    """From the same state with the same actions: the same observations and rewards, step by step and over episodes."""
    game, reference = on_jax(name), Mpe2Game(name, 64)
    generator = torch.Generator().manual_seed(0)
    frame = game.reset(0)
    reference.reset(0)
    for count in range(1, game.horizon + 1):
        if count % 8 == 1:  # in between they go on by themselves
            copy_to_mpe2(game, reference)
        action = legal(frame.action_mask, generator)
        step, expected = game.step(action), reference.step(action)
        frame = step.frame
        torch.testing.assert_close(step.last.obs, expected.last.obs, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(step.last.state, expected.last.state, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(step.reward, expected.reward, atol=1e-5, rtol=1e-5)
        assert torch.equal(step.last.action_mask, expected.last.action_mask)
        assert torch.equal(step.truncated, expected.truncated) and torch.equal(step.terminated, expected.terminated)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("made", [on_jax, lambda name: Mpe2Game(name, 4)])
def test_episodes_of_25_steps_are_cut_off(name: str, made: Any) -> None:
    game = made(name)
    for count, step in enumerate(play(game, 1, 75), 1):
        assert not step.terminated.any() and not step.won.any()
        assert step.truncated.tolist() == [count % 25 == 0] * game.environments
        assert torch.equal(step.frame.obs, step.last.obs) == (count % 25 != 0)
        if name == "simple_spread":
            moving = step.frame.obs[..., :2].abs().sum() > 0
            assert moving == (count % 25 != 0) and step.last.obs[..., :2].any()  # particles start at rest


# Random play per agent and episode, measured on mpe2; simple_adversary's with our adversary has no reference.
@pytest.mark.parametrize(("name", "low", "high"), [("simple_spread", -30, -23), ("simple_speaker_listener", -50, -33)])
def test_random_play(name: str, low: float, high: float) -> None:
    reward = torch.stack([step.reward for step in play(on_jax(name), 2, 200)])
    assert low < float(reward.sum(0).mean() / 8) < high


@pytest.mark.parametrize("made", [lambda: on_jax("simple_spread"), lambda: Mpe2Game("simple_spread", 3)])
def test_a_seed_fixes_all_that_follows(made: Any) -> None:
    game = made()
    first, again, other = (torch.stack([step.frame.obs for step in play(game, seed, 30)]) for seed in (4, 4, 5))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert not torch.equal(first[:, 0], first[:, 1])  # copies differ


def test_a_copy_does_not_depend_on_how_many_there_are() -> None:
    assert torch.equal(MpeGame("simple_spread", 3).reset(9).obs, on_jax("simple_spread").reset(9).obs[:3])


def test_nothing_is_compiled_anew() -> None:
    game = on_jax("simple_spread")
    play(game, 0, 30)
    assert game.lockstep._step._cache_size() == 1 and game.lockstep._reset._cache_size() == 1


@pytest.mark.parametrize("library", ["numpy", "jax.numpy"])
def test_the_adversary_by_hand(library: str) -> None:
    xp = jax_bridge.load(library)

    def act(velocity: list[float], landmarks: list[list[float]], others: list[list[float]]) -> int:
        return int(adversary_action(xp, xp.array(velocity), xp.array(landmarks), xp.array(others)))

    east_and_north = [[1.0, 0.2], [-0.3, 0.9]]
    assert act([0, 0], east_and_north, [[1.0, 0.0], [0.8, 0.4]]) == 2  # the good agents are at the eastern one
    assert act([0, 0], east_and_north, [[0.0, 1.0], [-0.6, 0.9]]) == 4
    assert act([2.6, 0], east_and_north, [[1.0, 0.0], [0.8, 0.4]]) == 4  # glides to 1.04: up is what is left, 0.2
    assert act([4.0, 0.5], east_and_north, [[1.0, 0.0], [0.8, 0.4]]) == 1  # glides to 1.6, 0.2: brakes
    assert act([0, 0], [[0.1, -0.25], [5, 5]], [[0, 0], [0, 0]]) == 3
    assert act([0, 0], [[0.1, -0.1], [5, 5]], [[0, 0], [0, 0]]) == 0  # near enough
    assert act([0, 0], [[0.5, 0.5], [0.5, -0.5]], [[0, 1], [0, -1]]) == 2  # equally near: the first; equal axes: x


def test_the_adversary_gets_where_it_is_heading() -> None:
    """With both good agents at rest its path is a line of pushes that ends at the landmark nearest to their mean."""
    game = on_jax("simple_adversary")
    first = game.reset(3)
    landmarks, good = first.obs[:, 0, 2:6].reshape(64, 2, 2), first.obs[:, 0, 8:10] / 2  # seen from the first agent
    nearest = (landmarks - good[:, None]).square().sum(-1).argmin(1)
    for _ in range(24):
        step = game.step(torch.zeros(64, 2, dtype=torch.int64))
    away = step.frame.obs[:, 0, 6:8] - landmarks[torch.arange(64), nearest]
    assert away.abs().max() < 0.15 and (away.abs() <= 0.101).float().mean() > 0.9


def test_the_adversary_is_the_same_in_both_libraries() -> None:
    jnp = jax_bridge.load("jax.numpy")
    rng = np.random.default_rng(0)
    for _ in range(50):
        velocity, landmarks, others = (rng.normal(size=shape).astype(np.float32) for shape in ((2,), (2, 2), (2, 2)))
        assert int(adversary_action(np, velocity, landmarks, others)) == int(
            adversary_action(jnp, jnp.asarray(velocity), jnp.asarray(landmarks), jnp.asarray(others))
        )


@pytest.mark.parametrize("made", [MpeGame, Mpe2Game])
def test_bad_input_is_one_sentence(made: Any) -> None:
    allowed = "simple_adversary, simple_speaker_listener, simple_spread"
    with pytest.raises(GameError, match=f"^MPE has no map 'simple_tag'; allowed: {allowed}$"):
        made("simple_tag", 1)
    with pytest.raises(GameError, match=r"^environments is 0; allowed: at least 1$"):
        made("simple_spread", 0)
    with pytest.raises(GameError, match=r"^step was called before reset; allowed: reset first$"):
        made("simple_spread", 1).step(torch.zeros(1, 3, dtype=torch.int64))


def test_without_mpe2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mpe2.simple_spread_v3", None)
    with pytest.raises(GameError, match=r'cannot be imported .*: pip install "kdmarl_sat\[benchmarks\]"$'):
        Mpe2Game("simple_spread", 1)
