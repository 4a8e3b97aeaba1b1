"""PettingZoo environments as games: a tiny one with every number known, and two of other people's packages."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Text
from mpe2 import simple_speaker_listener_v4, simple_spread_v3
from pettingzoo import ParallelEnv

from envs.games.api import GameError, Transition
from envs.games.parallel import HORIZON, ParallelGame

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that there is a registry now
    from pettingzoo.butterfly import knights_archers_zombies_v11
    from pettingzoo.sisl import pursuit_v5


class Tiny(ParallelEnv[str, Any, int]):
    """Agents a (2 columns, 2 actions) and b (3 columns in a table, actions 5, 6, 7).

    a sees its seed and the step; b 10, 20 and the step. a is rewarded with the step, b with its action. Action 1 ends
    a. b ends, and with it the game, on step ``ends``; the limit cuts both off on step ``limit``. b may not do 7 on even
    steps.
    """

    metadata: dict[str, Any] = {}  # noqa: RUF012

    def __init__(
        self, ends: int = 100, limit: int = 100, masks: str = "infos", legal: tuple[int, ...] = (1, 1)
    ) -> None:
        self.possible_agents = ["a", "b"]
        self.ends, self.limit, self.masks, self.legal = ends, limit, masks, legal
        self.max_cycles = limit
        self.done: list[dict[str, int]] = []
        self.closed = False

    def observation_space(self, agent: str) -> Any:
        box = Box(-100, 100, (2,) if agent == "a" else (3, 1), np.float64)
        return Dict({"observation": box, "action_mask": Box(0, 1, (3,), np.int8)}) if self._in_obs(agent) else box

    def action_space(self, agent: str) -> Any:
        return Discrete(2) if agent == "a" else Discrete(3, start=5)

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        self.agents = ["a", "b"]
        self.seed, self.time = seed, 0
        return self._look(self.agents)

    def step(self, actions: dict[str, int]) -> tuple[Any, Any, Any, Any, Any]:
        assert set(actions) == set(self.agents)
        self.done.append(actions)
        self.time += 1
        before = self.agents
        ended = {agent: actions.get(agent) == 1 or (agent == "b" and self.time == self.ends) for agent in before}
        cut = dict.fromkeys(before, self.time == self.limit)
        rewards = {agent: float(self.time if agent == "a" else actions["b"]) for agent in before}
        obs, infos = self._look(before)
        self.agents = [agent for agent in before if not ended[agent] and not cut[agent]]
        return obs, rewards, ended, cut, infos

    def close(self) -> None:
        self.closed = True

    def _in_obs(self, agent: str) -> bool:
        return self.masks == "obs" and agent == "b"

    def _look(self, agents: list[str]) -> tuple[Any, Any]:
        obs: dict[str, Any] = {"a": np.array([self.seed % 50, self.time]), "b": np.array([[10], [20], [self.time]])}
        legal = np.array([*self.legal, self.time % 2], np.int8)
        if self._in_obs("b"):
            obs["b"] = {"observation": obs["b"], "action_mask": legal}
        infos: dict[str, Any] = {"a": {}, "b": {} if self.masks == "obs" else {"action_mask": legal}}
        return {agent: obs[agent] for agent in agents}, {agent: infos[agent] for agent in agents}


class TinyWithState(Tiny):
    def state(self) -> Any:
        return np.array([self.time, 7, 8, 9])


def act(game: ParallelGame, a: int, b: int) -> Transition:
    return game.step(torch.tensor([[a, b]] * game.environments))


@pytest.mark.parametrize("masks", ["infos", "obs"])
def test_frames_hold_flattened_columns_legal_actions_and_padding(masks: str) -> None:
    game = ParallelGame(lambda: Tiny(masks=masks), 1)
    frame = game.reset(0)
    assert [spec.name for spec in game.specs] == ["a", "b"]
    assert [[block.name for block in spec.blocks] for spec in game.specs] == [["observation"]] * 2
    assert [len(spec.actions) for spec in game.specs] == [2, 3]
    assert frame.obs[0, 0, 1:].tolist() == [0, 0]  # the step, and the padding
    assert frame.obs[0, 1].tolist() == [10, 20, 0]
    assert frame.action_mask[0].tolist() == [[True, True, False], [True, True, False]]
    after = act(game, 0, 1)
    assert after.frame.action_mask[0].tolist() == [[True, True, False], [True, True, True]]
    assert after.reward.tolist() == [(1 + 6) / 2]  # b's second action is called 6
    assert after.frame.state[0, 1:].tolist() == [1, 10, 20, 1]  # observations without the padding
    assert (game.state_size, frame.state.shape) == (5, (1, 5))
    assert (frame.obs.dtype, frame.state.dtype, after.reward.dtype) == (torch.float32,) * 3


def test_an_agent_that_leaves_is_dead_and_the_team_plays_on() -> None:
    game = ParallelGame(lambda: Tiny(ends=3), 1)
    game.reset(0)
    after = act(game, 1, 0)
    assert after.frame.alive.tolist() == [[False, True]]
    assert after.frame.obs[0].tolist() == [[0, 0, 0], [10, 20, 1]]
    assert after.frame.action_mask[0, 0].tolist() == [True, False, False]
    assert not after.terminated.any() and not after.truncated.any()
    after = act(game, 0, 1)  # Tiny refuses an action of one who left
    assert after.reward.tolist() == [6 / 2]  # the mean over both, also then
    end = act(game, 0, 2)
    assert (end.terminated.tolist(), end.truncated.tolist(), end.won.tolist()) == ([True], [False], [False])
    assert not end.last.alive.any() and not end.last.obs.any()
    assert end.last.action_mask[0].tolist() == [[True, False, False]] * 2
    assert end.frame.alive.all()  # of the next episode
    assert end.frame.obs[0, 1].tolist() == [10, 20, 0]


def test_a_truncation_ends_the_episode_for_all_with_its_true_last_frame() -> None:
    game = ParallelGame(lambda: TinyWithState(limit=2), 3)
    game.reset(0)
    assert not act(game, 0, 0).truncated.any()
    end = act(game, 0, 0)
    assert (end.truncated.all(), end.terminated.any()) == (True, False)
    assert end.last.alive.all()
    assert end.last.obs[:, 1].tolist() == [[10, 20, 2]] * 3
    assert end.last.state.tolist() == [[2, 7, 8, 9]] * 3
    assert end.frame.state.tolist() == [[0, 7, 8, 9]] * 3
    assert game.state_size == 4


def test_an_ending_on_the_limits_step_is_no_truncation() -> None:
    game = ParallelGame(lambda: Tiny(ends=2, limit=2), 1)
    game.reset(0)
    act(game, 1, 0)
    end = act(game, 0, 0)
    assert (end.terminated.item(), end.truncated.item()) == (True, False)


def test_the_horizon_is_the_environments_the_callers_or_1000() -> None:
    assert ParallelGame(lambda: Tiny(limit=9), 1).horizon == 9
    game = ParallelGame(lambda: Tiny(limit=9), 1, horizon=2)
    game.reset(0)
    assert not act(game, 0, 0).truncated.any()
    assert act(game, 0, 0).truncated.all()

    def nameless() -> Any:
        env = Tiny()
        del env.max_cycles
        return env

    assert ParallelGame(nameless, 1).horizon == HORIZON


def test_every_episode_of_every_environment_has_a_seed_of_its_own_that_the_run_fixes() -> None:
    made: list[Tiny] = []

    def make() -> Tiny:
        made.append(Tiny(limit=1))
        return made[-1]

    game = ParallelGame(make, 3)

    def seeds(seed: int) -> list[int | None]:
        game.reset(seed)
        drawn = [env.seed for env in made]
        for _ in range(3):
            act(game, 0, 0)
            drawn += [env.seed for env in made]
        return drawn

    first = seeds(4)
    assert len(set(first)) == 12
    assert seeds(4) == first
    assert not set(seeds(5)) & set(first)
    assert first[1] == int(np.random.SeedSequence((4, 1, 0)).generate_state(1)[0]) >> 1
    game.close()
    assert all(env.closed for env in made)


def test_blocks_are_named_per_agent_or_for_all_others() -> None:
    game = ParallelGame(Tiny, 1, {"a": [("seed", 1), ("step", 1)], "*": [("both", 2), ("step", 1)]})
    assert [[(block.name, block.size) for block in spec.blocks] for spec in game.specs] == [
        [("seed", 1), ("step", 1)],
        [("both", 2), ("step", 1)],
    ]
    assert game.specs[1].slice("step") == slice(2, 3)


class TwoChoices(Tiny):
    def action_space(self, agent: str) -> Any:
        return MultiDiscrete([2, 2])


class Spoken(Tiny):
    def observation_space(self, agent: str) -> Any:
        return Text(4)


@pytest.mark.parametrize(
    ("make", "blocks", "sentence"),
    [
        (Tiny, {"a": [("seed", 1)]}, "blocks of agent 'a' have 1 columns together: its observation has 2"),
        (Tiny, {"*": [("all", 2)]}, "blocks of agent 'b' have 2 columns together: its observation has 3"),
        (Tiny, {"c": [("all", 2)]}, "blocks names agent 'c'; allowed: a, b, or \\* for all others"),
        (Tiny, {"a": [("x", 1), ("x", 1)]}, "blocks of agent 'a' names 'x' twice"),
        (TwoChoices, {}, "agent 'a' has actions .*: they must be Discrete"),
        (Spoken, {}, "agent 'a' has observations Text.*: they must be a Box"),
    ],
)
def test_what_does_not_fit_is_one_sentence(make: Callable[[], Any], blocks: dict[str, Any], sentence: str) -> None:
    with pytest.raises(GameError, match=sentence):
        ParallelGame(make, 1, blocks, name="mine")


def test_mpe2_gives_what_it_gives_when_asked_directly() -> None:
    def make() -> Any:
        return simple_spread_v3.parallel_env(max_cycles=25)

    game = ParallelGame(make, 2, {"*": [("self", 4), ("landmarks", 6), ("others", 4), ("comm", 4)]})
    assert game.horizon == 25
    frame = game.reset(11)
    plain = make()
    obs, _ = plain.reset(seed=int(np.random.SeedSequence((11, 1, 0)).generate_state(1)[0]) >> 1)
    random = torch.Generator().manual_seed(0)
    for step in range(1, 26):
        assert torch.equal(frame.obs[1], torch.from_numpy(np.stack([obs[agent] for agent in plain.possible_agents])))
        assert torch.equal(frame.state[1], torch.from_numpy(plain.state().astype(np.float32)))
        chosen = torch.randint(0, 5, (2, 3), generator=random)
        after = game.step(chosen)
        obs, rewards, *_ = plain.step(dict(zip(plain.possible_agents, chosen[1].tolist(), strict=True)))
        assert after.reward[1].item() == pytest.approx(np.mean(list(rewards.values())), rel=1e-5)
        assert after.truncated.tolist() == [step == 25] * 2
        frame = after.frame
    assert not after.terminated.any()
    assert torch.equal(after.last.obs[1, 0], torch.from_numpy(obs["agent_0"]))
    game.close()


def test_agents_of_unlike_sizes_are_padded() -> None:
    game = ParallelGame(lambda: simple_speaker_listener_v4.parallel_env(max_cycles=25), 1)
    frame = game.reset(0)
    assert [spec.obs_size for spec in game.specs] == [3, 11]
    assert frame.obs.shape == (1, 2, 11) and not frame.obs[0, 0, 3:].any()
    assert frame.action_mask[0].sum(1).tolist() == [3, 5]


def test_pursuit_plays_to_its_limit() -> None:
    game = ParallelGame(lambda: pursuit_v5.parallel_env(max_cycles=6, n_pursuers=4), 1, horizon=6)
    frame = game.reset(0)
    assert frame.obs.shape == (1, 4, 7 * 7 * 3)
    assert game.state_size == 4 * 147  # its own state is an image of the map
    for _ in range(6):
        after = game.step(torch.zeros(1, 4, dtype=torch.int64))
    assert after.truncated.all()
    game.close()


def test_knights_fall_one_by_one_until_the_game_is_over() -> None:
    game = ParallelGame(lambda: knights_archers_zombies_v11.parallel_env(max_cycles=900), 1)
    frame = game.reset(1)
    lives = [int(frame.alive.sum())]
    for _ in range(900):
        after = game.step(torch.full((1, 4), 5))  # nobody does anything
        assert ((after.last.obs != 0).any(-1) == after.last.alive).all()
        lives.append(int(after.last.alive.sum()))
        if after.terminated or after.truncated:
            break
    assert lives[0] == 4 and after.terminated.item()
    assert lives == sorted(lives, reverse=True)
    game.close()
