"""What a PettingZoo environment hands over: as columns, and held against its own spaces."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space
from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.utils.conversions import turn_based_aec_to_parallel

from envs.games.api import GameError, Transition
from envs.games.parallel import ParallelGame

Spoil = Callable[[tuple[Any, ...]], tuple[Any, ...]]


class Pair(ParallelEnv[int, Any, int]):
    """Agents called 0 and 1 see three numbers and have two actions; ``spoil`` changes what step ``at`` hands over."""

    metadata: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, spoil: Spoil = lambda given: given, at: int = 2, space: Space[Any] | None = None) -> None:
        self.possible_agents = [0, 1]
        self.spoil, self.at, self.space = spoil, at, space or Box(-9, 9, (3,), np.float32)
        self.max_cycles = 5
        self.sees: Any = np.zeros(3)

    def observation_space(self, agent: int) -> Any:
        return self.space

    def action_space(self, agent: int) -> Any:
        return Discrete(2)

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        self.agents, self.time = [0, 1], 0
        return {0: self.sees, 1: self.sees}, {0: {}, 1: {}}

    def step(self, actions: dict[int, int]) -> tuple[Any, ...]:  # type: ignore[override]
        self.time += 1
        given: tuple[Any, ...] = (
            {0: self.sees, 1: self.sees},
            {0: np.array([0.5]), 1: np.float32(1.5)},
            {0: False, 1: np.False_},
            {0: False, 1: False},
            {0: {}, 1: {}},
        )
        return self.spoil(given) if self.time == self.at else given


def played(env: ParallelEnv[Any, Any, Any], steps: int = 3) -> list[Transition]:
    game = ParallelGame(lambda: env, 1, name="mine")
    game.reset(0)
    return [game.step(torch.zeros(1, len(game.specs), dtype=torch.int64)) for _ in range(steps)]


def test_a_reward_in_an_array_of_one_is_a_number() -> None:
    assert [after.reward.item() for after in played(Pair())] == [1.0, 1.0, 1.0]  # the mean of 0.5 and 1.5


def changed(part: int, value: Any) -> Spoil:
    """Agent 1's share of a part replaced."""
    return lambda given: tuple({0: each[0], 1: value} if i == part else each for i, each in enumerate(given))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (changed(0, np.zeros(1)), "shape of the observation of agent 1 of 'mine' at step 2 is (1,): it must be (3,)"),
        (changed(0, np.zeros(4)), "shape of the observation of agent 1 of 'mine' at step 2 is (4,): it must be (3,)"),
        (changed(0, np.zeros((3, 1))), "at step 2 is (3, 1): it must be (3,), as its space"),
        (changed(0, [0, np.nan, 0]), "column 1 of the observation of agent 1 of 'mine' at step 2 is nan: it must be a"),
        (changed(0, [0, 0, -np.inf]), "column 2 of the observation of agent 1 of 'mine' at step 2 is -inf: it must"),
        (changed(0, [1e308, 0, 0]), "column 0 of the observation of agent 1 of 'mine' at step 2 is 1e+308: it must be"),
        (changed(0, None), "the observation of agent 1 of 'mine' at step 2 is None: it must be numbers"),
        (changed(0, ["a", "b", "c"]), "the observation of agent 1 of 'mine' at step 2 is ['a', 'b', 'c']: it must be"),
        (changed(0, [[1, 2], [3]]), "the observation of agent 1 of 'mine' at step 2 is [[1, 2], [3]]: it must be num"),
        (changed(1, np.nan), "the reward of agent 1 of 'mine' at step 2 is nan: it must be a finite number of 32 bits"),
        (changed(1, -np.inf), "the reward of agent 1 of 'mine' at step 2 is -inf: it must be a finite number"),
        (changed(1, 1e308), "the reward of agent 1 of 'mine' at step 2 is 1e+308: it must be a finite number"),
        (changed(1, [1, 2]), "the reward of agent 1 of 'mine' at step 2 is [1, 2]: it must be a finite number"),
        (changed(1, "much"), "the reward of agent 1 of 'mine' at step 2 is 'much': it must be numbers"),
        (changed(1, None), "the reward of agent 1 of 'mine' at step 2 is None: it must be numbers"),
        (changed(2, "no"), "the termination of agent 1 of 'mine' at step 2 is 'no': it must be"),
        (changed(3, 0.5), "the truncation of agent 1 of 'mine' at step 2 is 0.5: it must be True or False"),
        (changed(4, {"action_mask": [1]}), "the action_mask of agent 1 of 'mine' at step 2 is [1]: it must be 2 of 0"),
        (changed(4, {"action_mask": [1, np.nan]}), "the action_mask of agent 1 of 'mine' at step 2 is [1.0, nan]"),
        (lambda given: given[:4], "what step() returned of 'mine' at step 2 is '4 things': it must be observations, "),
        (lambda given: ({7: 0}, *given[1:]), "an agent named in the observations of 'mine' at step 2 is 7: it must be"),
        (lambda given: (given[0], 0.5, *given[2:]), "the rewards of 'mine' at step 2 are 0.5: it must be a dict"),
        (lambda given: (given[0], {"0": 1.0}, *given[2:]), "an agent named in the rewards of 'mine' at step 2 is '0'"),
        (lambda given: (*given[:4], None), "the infos of 'mine' at step 2 are None: it must be a dict"),
        (
            lambda given: (*given[:4], {key: {"action_mask": [0, 0]} for key in (0, 1)}),
            "the number of agents that may act of 'mine' at step 2 is 0: it must be at least 1",
        ),
    ],
)
def test_what_is_handed_over_is_refused_by_agent_quantity_and_step(spoil: Spoil, sentence: str) -> None:
    with pytest.raises(GameError, match=re.escape(sentence)) as refused:
        played(Pair(spoil))
    assert str(refused.value).count("\n") == 0


@pytest.mark.parametrize(
    ("space", "sees", "columns"),
    [
        (Discrete(4), 2, [0, 0, 1, 0]),
        (Discrete(3, start=-1), np.int64(-1), [1, 0, 0]),
        (MultiDiscrete([2, 3]), np.array([1, 2]), [0, 1, 0, 0, 1]),
        (MultiBinary(3), np.array([1, 0, 1], np.int8), [1, 0, 1]),
        (Box(0, 255, (2, 2), np.uint8), np.array([[1, 2], [3, 255]], np.uint8), [1, 2, 3, 255]),
        (Dict({"at": Box(-9, 9, (2,)), "door": Discrete(2)}), {"door": 1, "at": [3, 4]}, [3, 4, 0, 1]),
        (Dict({"observation": Discrete(2), "action_mask": Box(0, 1, (2,))}), {"observation": 1}, [0, 1]),
    ],
)
def test_observations_become_columns(space: Space[Any], sees: Any, columns: list[float]) -> None:
    env = Pair(space=space)
    env.sees = sees
    game = ParallelGame(lambda: env, 1)
    assert game.reset(0).obs[0].tolist() == [columns] * 2


def test_the_entries_of_a_dict_are_blocks() -> None:
    env = Pair(space=Dict({"here": Box(-9, 9, (2, 1)), "door": Discrete(3), "action_mask": Box(0, 1, (2,))}))
    env.sees = {"door": 2, "here": [[7], [8]], "action_mask": [0, 1]}
    game = ParallelGame(lambda: env, 1)
    frame = game.reset(0)
    order = [(block.name, block.size) for block in game.specs[0].blocks]
    assert dict(order) == {"here": 2, "door": 3}
    assert frame.obs[0, 0, game.specs[0].slice("here")].tolist() == [7, 8]
    assert frame.obs[0, 0, game.specs[0].slice("door")].tolist() == [0, 0, 1]
    assert frame.action_mask[0].tolist() == [[False, True]] * 2


@pytest.mark.parametrize(
    ("space", "sees", "sentence"),
    [
        (Discrete(4), 4, "the observation of agent 0 of 'mine' at step 0 is 4: it must be an element of its space"),
        (Discrete(4), 1.5, "the observation of agent 0 of 'mine' at step 0 is 1.5: it must be an element"),
        (Dict({"a": Discrete(2)}), {"b": 1}, "agent 0 of 'mine' at step 0 is {'b': 1}: it must be a dict with 'a'"),
        (Dict({"a": Box(0, 1, (2,))}), {"a": [1]}, "the shape of the observation 'a' of agent 0 of 'mine' at step 0"),
        (Dict({"a": Dict({"b": Discrete(2)})}), {}, "agent 0 has observations Dict('a': Dict('b': Discrete(2))): they"),
    ],
)
def test_what_is_no_element_of_its_space(space: Space[Any], sees: Any, sentence: str) -> None:
    env = Pair(space=space)
    env.sees = sees
    with pytest.raises(GameError, match=re.escape(sentence)):
        played(env)


def test_blocks_name_agents_that_are_called_by_numbers() -> None:
    game = ParallelGame(Pair, 1, {"0": [("all", 3)], "*": [("first", 1), ("others", 2)]})
    assert [[block.name for block in spec.blocks] for spec in game.specs] == [["all"], ["first", "others"]]
    assert [spec.name for spec in game.specs] == ["0", "1"]


def test_a_reset_without_a_seed_is_refused() -> None:
    class Unseeded(Pair):
        def reset(self) -> Any:  # type: ignore[override]
            return super().reset()

    with pytest.raises(GameError, match=re.escape("has reset(): it must be reset(seed=None, options=None)")):
        ParallelGame(Unseeded, 1, name="mine")


def test_a_reset_of_the_old_kind_is_refused() -> None:
    class Old(Pair):
        def reset(self, seed: Any = None, options: Any = None) -> Any:
            return super().reset()[0]

    with pytest.raises(GameError, match=re.escape("what reset() returned of 'mine' at step 0 is {0: array")):
        ParallelGame(Old, 1, name="mine")


@pytest.mark.parametrize("limit", [0, -3, 2.5, float("nan"), "many", True])
def test_a_limit_that_is_no_number_of_steps(limit: Any) -> None:
    env = Pair()
    env.max_cycles = limit
    with pytest.raises(GameError, match=r"max_cycles of 'mine' is .*: it must be a whole number from 1, or None"):
        ParallelGame(lambda: env, 1, name="mine")


class Turns(AECEnv[str, Any, int]):
    """Two players add 1 or 2 to a sum in turn, and are both paid what they add; the game is over from 4 on.

    Who waits has an empty mask if ``masked``. Each sees the sum, one-hot.
    """

    metadata: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, masked: bool = True, max_cycles: int = 50) -> None:
        super().__init__()
        self.possible_agents, self.masked, self.max_cycles = ["left", "right"], masked, max_cycles
        self.render_mode = None
        self.asked: list[tuple[str, int]] = []

    def observation_space(self, agent: str) -> Any:
        seen = Discrete(8)
        return Dict({"observation": seen, "action_mask": Box(0, 1, (2,), np.int8)}) if self.masked else seen

    def action_space(self, agent: str) -> Any:
        return Discrete(2)

    def observe(self, agent: str) -> Any:
        turn = np.full(2, agent == self.agent_selection, np.int8)
        return {"observation": self.total, "action_mask": turn} if self.masked else self.total

    def reset(self, seed: int | None = None, options: Any = None) -> None:
        self.agents, self.total = list(self.possible_agents), 0
        self.agent_selection = "left"
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict(self.rewards)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos = {agent: {} for agent in self.agents}

    def step(self, action: Any) -> None:
        agent = self.agent_selection
        if self.terminations[agent]:
            self._was_dead_step(action)
            return
        self.asked.append((agent, int(action)))
        self.total += 1 + int(action)
        self.rewards = dict.fromkeys(self.agents, 1.0 + int(action))
        self.terminations = dict.fromkeys(self.agents, self.total >= 4)
        self.agent_selection = "right" if agent == "left" else "left"


@pytest.mark.parametrize("masked", [True, False])
def test_in_a_turn_based_game_only_the_player_whose_turn_it_is_is_asked(masked: bool) -> None:
    env = Turns(masked)
    game = ParallelGame(lambda: turn_based_aec_to_parallel(env), 1)
    frame = game.reset(0)
    assert frame.alive.tolist() == [[True, False]]
    assert frame.action_mask[0].tolist() == [[True, True], [True, False]]
    assert frame.obs[0].argmax(-1).tolist() == [0, 0] and frame.obs.sum() == 2  # who waits sees all the same
    first = game.step(torch.tensor([[0, 1]]))  # what the waiting player chose is ignored
    assert env.asked == [("left", 0)]
    assert first.reward.item() == 1.0
    assert first.frame.alive.tolist() == [[False, True]] and not first.terminated.any()
    game.step(torch.tensor([[1, 1]]))
    last = game.step(torch.tensor([[0, 0]]))
    assert env.asked == [("left", 0), ("right", 1), ("left", 0)]
    assert (last.terminated.item(), last.truncated.item()) == (True, False)  # 1 + 2 + 1
    assert not last.last.alive.any() and last.frame.alive.tolist() == [[True, False]]
