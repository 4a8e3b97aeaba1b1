"""Sensing masks: fixed ones column by column, random ones against the distribution they should have."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from scipy.stats import chisquare

from envs.api import AgentSpec, FeatureBlock
from envs.games.api import GameError
from envs.games.sensing import RandomMasks, everything, fixed
from envs.sensing import SensingError


def agent(name: str, **blocks: int) -> AgentSpec:
    return AgentSpec(name, "", tuple(FeatureBlock(block, size, "1", 1.0) for block, size in blocks.items()), ("a",), 0)


SPECS = (agent("wide", move=1, enemy=2, ally=2), agent("narrow", enemy=1, own=2))


def rows(mask: torch.Tensor) -> list[str]:
    return ["".join("x" if sensed else "." for sensed in row) for row in mask.tolist()]


def test_everything_is_all_but_the_padding() -> None:
    assert rows(everything(SPECS)) == ["xxxxx", "xxx.."]


def test_fixed_masks_show_the_named_blocks_and_those_that_are_always_seen() -> None:
    assert rows(fixed(SPECS, [["ally"], ["own"]])) == ["...xx", ".xx.."]
    assert rows(fixed(SPECS, [["ally", "enemy"], ["enemy"]], always=("move",))) == ["xxxxx", "x...."]
    assert fixed(SPECS, [["ally"], ["own"]]).dtype == torch.bool


def test_a_block_that_the_agent_lacks_is_named_with_the_known_ones() -> None:
    with pytest.raises(SensingError, match="agent 'narrow' names block 'ally'; known blocks: enemy, own"):
        fixed(SPECS, [["ally"], ["ally"]])
    with pytest.raises(GameError, match="given for 1 agents; it must be given for each of the 2"):
        fixed(SPECS, [["ally"]])


def draw(masks: RandomMasks, environments: int, seed: int = 0) -> torch.Tensor:
    return masks.draw(environments, torch.Generator().manual_seed(seed))


def test_sizes_are_drawn_uniformly_between_the_shares() -> None:
    specs = [agent("spread", all=18)]
    drawn = draw(RandomMasks(specs, (0.4444, 0.5556)), 30_000).sum(-1).flatten().tolist()
    counts = Counter(drawn)
    assert sorted(counts) == [8, 9, 10]  # as in the paper's text
    assert chisquare(list(counts.values())).pvalue > 0.01


def test_all_subsets_of_a_size_are_equally_likely() -> None:
    specs = [agent("six", always=1, rest=5)]
    masks = RandomMasks(specs, (0.4, 0.6), always=("always",))  # 2 or 3 of 5
    drawn = draw(masks, 40_000)[:, 0]
    assert drawn[:, 0].all()
    patterns = Counter(rows(drawn[:, 1:]))
    assert len(patterns) == math.comb(5, 2) + math.comb(5, 3)
    assert chisquare(list(patterns.values())).pvalue > 0.01  # 10 of each size, and both sizes alike


def test_agents_and_environments_are_drawn_independently() -> None:
    specs = [agent("first", all=2), agent("second", all=2)]
    drawn = draw(RandomMasks(specs, (0.5, 0.5)), 20_000)
    pairs = Counter(map(tuple, drawn[..., 0].tolist()))
    assert chisquare([pairs[a, b] for a in (False, True) for b in (False, True)]).pvalue > 0.01
    follows = Counter(zip(drawn[:-1, 0, 0].tolist(), drawn[1:, 0, 0].tolist(), strict=True))
    assert chisquare([follows[a, b] for a in (False, True) for b in (False, True)]).pvalue > 0.01


def test_padding_is_never_sensed_and_always_blocks_are_never_hidden() -> None:
    specs = [agent("speaker", goal=3), agent("listener", velocity=2, landmarks=6, message=3)]
    drawn = draw(RandomMasks(specs, (0.4444, 0.5556), always=("goal",)), 500)
    assert drawn.shape == (500, 2, 11)
    assert drawn[:, 0, :3].all() and not drawn[:, 0, 3:].any()
    assert set(drawn[:, 1].sum(-1).tolist()) == {5, 6}


def test_at_least_one_column_is_sensed_and_all_may_be() -> None:
    few = draw(RandomMasks([agent("a", all=3)], (0.01, 0.01)), 100)
    assert (few.sum(-1) == 1).all()
    assert draw(RandomMasks(SPECS, (1.0, 1.0)), 3).equal(everything(SPECS).expand(3, -1, -1))


def test_a_draw_is_a_function_of_the_generator() -> None:
    masks = RandomMasks(SPECS, (0.3, 0.9))
    assert draw(masks, 50, 1).equal(draw(masks, 50, 1))
    assert not draw(masks, 50, 1).equal(draw(masks, 50, 2))


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(GameError, match="always visible name 'goal'; the agents have move, enemy, ally, own"):
        RandomMasks(SPECS, (0.5, 0.5), always=("goal",))
    with pytest.raises(GameError, match=r"share \[0.5, 0.2\] is not allowed"):
        RandomMasks(SPECS, (0.5, 0.2))
