"""What each method's networks are made of."""

from __future__ import annotations

import pytest
import torch

from envs.games.sensing import RandomMasks, fixed
from kdmarl_sat.games.methods import BY_NAME, message_bits, sight_of, team_of
from tests.test_games_networks import SPECS
from tests.test_roots import composed
from training.games.messages import MessagingTeam

MASKS = fixed(SPECS, [["x", "y"], ["x"], ["z"]])


@pytest.mark.parametrize(
    ("name", "groups", "widths", "columns"),
    [
        ("mappo_fo", ((0, 1), (2,)), (128, 128), [5 + 3 + 4, 5 + 3 + 4, 1 + 3 + 2]),
        ("mappo_lh", ((0, 1), (2,)), (128, 128), [5 + 3 + 4, 2 + 3 + 4, 1 + 3 + 2]),
        ("qmix_lh", ((0, 1), (2,)), (64, 64), [5 + 3 + 4, 2 + 3 + 4, 1 + 3 + 2]),
        ("vdn_lh_a", ((0,), (1,), (2,)), (32, 16, 16), [9, 6, 3]),  # below 3/4 of 9 columns: small
        ("mappo_lh_a", ((0,), (1,), (2,)), (32, 16, 16), [9, 6, 3]),
        ("kd_lh", ((0,), (1,), (2,)), (32, 32, 32), [9, 6, 3]),
        ("kd_lh_a", ((0,), (1,), (2,)), (32, 16, 16), [9, 6, 3]),
        ("kd_buffer_lh_a", ((0,), (1,), (2,)), (32, 16, 16), [5, 2, 1]),  # without its last action
        ("kd_lh_m", ((0,), (1,), (2,)), (32, 32, 32), [9, 6, 3]),
        ("ctds", ((0,), (1,), (2,)), (32, 32, 32), [9, 6, 3]),
        ("tseng", ((0,), (1,), (2,)), (32, 32, 32), [5, 2, 1]),  # without its last action
        ("kd_lh_wide", ((0,), (1,), (2,)), (128, 128, 128), [9, 6, 3]),
        ("kd_fo_small", ((0,), (1,), (2,)), (32, 32, 32), [9, 9, 3]),
    ],
)
def test_groups_widths_and_columns(
    name: str, groups: tuple[tuple[int, ...], ...], widths: tuple[int, ...], columns: list[int]
) -> None:
    config = composed("scenario=smac_3m")
    sight = sight_of(BY_NAME[name], config, SPECS, MASKS)
    team = team_of(BY_NAME[name], config, SPECS, sight, seed=0)
    assert (team.groups, team.widths) == (groups, widths)
    assert [sight.columns(agent) for agent in range(3)] == columns


def test_under_random_masks_the_students_of_lh_a_are_all_small() -> None:
    config = composed("scenario=mpe_spread")
    masks = RandomMasks(SPECS, (0.5, 0.5))
    method = BY_NAME["kd_lh_a"]
    sight = sight_of(method, config, SPECS, masks)
    assert team_of(method, config, SPECS, sight, seed=0).widths == (16, 16, 16)
    assert sight.random
    assert not sight_of(BY_NAME["mappo_fo"], config, SPECS, masks).random


def test_who_tells_how_much() -> None:
    silent, chatty = composed("scenario=smac_3m"), composed("scenario=smac_3m", "student.message_bits=3")
    names = ("kd_lh", "kd_lh_m", "kd_buffer_lh", "mappo_lh_a", "tseng")
    assert [message_bits(BY_NAME[name], silent) for name in names] == [0, 8, 0, 0, 0]
    assert [message_bits(BY_NAME[name], chatty) for name in names] == [3, 3, 3, 0, 0]
    sight = sight_of(BY_NAME["kd_lh_m"], silent, SPECS, MASKS)
    team = team_of(BY_NAME["kd_lh_m"], silent, SPECS, sight, seed=0)
    assert isinstance(team, MessagingTeam) and team.bits == 8


def test_networks_are_functions_of_the_seed() -> None:
    config = composed("scenario=smac_3m")
    method = BY_NAME["kd_lh"]
    sight = sight_of(method, config, SPECS, MASKS)
    one, same, other = (team_of(method, config, SPECS, sight, seed).state_dict() for seed in (0, 0, 1))
    torch.testing.assert_close(one, same, atol=0, rtol=0)
    assert not torch.equal(one["encoder_weight"], other["encoder_weight"])
