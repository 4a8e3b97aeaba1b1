from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from envs.games.sensing import RandomMasks, everything
from scenarios.games.schema import ValueDecompositionConfig
from tests.toy_game import ToyGame
from training.artifact import Place
from training.checkpoint import CheckpointError
from training.games.evaluate import evaluate
from training.games.networks import RecurrentTeam, Sight
from training.games.replay import Replay
from training.games.training import Curve, DivergedError, Evaluations
from training.games.value_decomposition import MixerName
from training.games.value_training import (
    Collector,
    epsilon_after,
    epsilon_greedy,
    train_values,
)

CONFIG = ValueDecompositionConfig(
    hidden=16,
    mixer=8,
    hypernet=16,
    environments=16,
    steps=4000,
    buffer_episodes=256,
    batch_episodes=32,
    updates_per_round=2,
    learning_rate=5e-3,
    epsilon_steps=2000,
    target_updates=50,
)
SHORT = dataclasses.replace(CONFIG, steps=1200, buffer_episodes=64)  # the replay overflows between checkpoints


def team_of(game: ToyGame, random_masks: bool = False) -> tuple[RecurrentTeam, Sight]:
    masks = RandomMasks(game.specs, (0.5, 1.0)) if random_masks else everything(game.specs)
    sight = Sight(game.specs, masks, identities=True, last_action=True)
    generator = torch.Generator().manual_seed(0)
    return RecurrentTeam(sight.inputs, 4, [range(game.agents)], [CONFIG.hidden], generator), sight


def nothing(team: RecurrentTeam) -> dict[str, float]:
    return {}


def train(
    folder: Path,
    mixer: MixerName,
    config: ValueDecompositionConfig,
    measure: Callable[[RecurrentTeam], dict[str, float]] = nothing,
    random_masks: bool = False,
    **game: bool,
) -> tuple[Curve, RecurrentTeam, Sight]:
    toy = ToyGame(config.environments, **game)
    team, sight = team_of(toy, random_masks)
    curve = train_values(
        mixer, toy, team, sight, config, 0, Place(folder, "key", lambda done, text: None), Evaluations(measure, 400)
    )
    return curve, team, sight


@pytest.mark.parametrize("mixer", ["vdn", "qmix"])
@pytest.mark.parametrize("truncated", [False, True])
def test_the_optimum_of_a_mortal_game_is_learnt(mixer: MixerName, truncated: bool, tmp_path: Path) -> None:
    """The cue has to be remembered; grabbing pays at once, but is best in the last round of a game that ends only."""
    _, team, sight = train(tmp_path, mixer, CONFIG, deaths=True, truncated=truncated)
    game = ToyGame(64, deaths=True, truncated=truncated)
    result = evaluate(game, (team, sight), 64, seed=1)
    assert result.mean_return == pytest.approx(game.optimum(), abs=0.05)


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("mixer", ["vdn", "qmix"])
def test_an_interrupted_run_gives_the_same_numbers(mixer: MixerName, tmp_path: Path) -> None:
    whole, team, _ = train(tmp_path / "whole", mixer, SHORT, random_masks=True, deaths=True)

    calls = 0

    def cut(team: RecurrentTeam) -> dict[str, float]:
        nonlocal calls
        calls += 1
        if calls in (1, 3, 5):  # each point once, before its checkpoint is written
            raise Interrupted
        return {}

    curve: Curve = []
    for _ in range(10):
        try:
            curve, again, _ = train(tmp_path / "cut", mixer, SHORT, cut, random_masks=True, deaths=True)
            break
        except Interrupted:
            continue
    assert calls == 6
    assert [point["steps"] for point in curve] == pytest.approx([400, 800, 1200], abs=48)
    for one, other in zip(whole, curve, strict=True):
        assert {**one, "cpu_s": 0} == {**other, "cpu_s": 0}
    for name, value in team.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_the_checkpoint_keeps_no_more_of_the_replay_than_is_needed(tmp_path: Path) -> None:
    parts: list[int] = []

    def count(team: RecurrentTeam) -> dict[str, float]:
        parts.append(len(list(tmp_path.glob("replay-*"))))
        return {}

    train(tmp_path, "vdn", dataclasses.replace(SHORT, steps=2000, buffer_episodes=200), count)
    assert parts[:2] == [0, 1]  # 400 steps are 133 episodes, and checkpoints follow measurements
    assert max(parts) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.safetensors"]


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    whole, team, _ = train(tmp_path, "vdn", SHORT)

    def never(team: RecurrentTeam) -> dict[str, float]:
        raise AssertionError("measured again")

    curve, again, _ = train(tmp_path, "vdn", SHORT, never)
    assert curve == whole
    for name, value in team.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    train(tmp_path, "vdn", SHORT)
    toy = ToyGame(SHORT.environments)
    team, sight = team_of(toy)
    with pytest.raises(CheckpointError, match="made with configuration"):
        train_values(
            "vdn",
            toy,
            team,
            sight,
            SHORT,
            0,
            Place(tmp_path, "other", lambda done, text: None),
            Evaluations(nothing, 400),
        )


def test_the_curve_tells_cost_and_progress(tmp_path: Path) -> None:
    told: list[float] = []
    toy = ToyGame(SHORT.environments)
    team, sight = team_of(toy)
    curve = train_values(
        "qmix",
        toy,
        team,
        sight,
        SHORT,
        0,
        Place(tmp_path, "key", lambda done, text: told.append(done)),
        Evaluations(nothing, 400),
    )
    assert told == sorted(told) and told[-1] == 1.0
    spent = [point["cpu_s"] for point in curve]
    assert spent[0] > 0 and spent == sorted(spent)
    # Each round is of 16 episodes of 3 steps; it updates twice, once there are 32 episodes.
    assert curve[-1]["updates"] == 2 * (curve[-1]["steps"] / 48 - 1)
    assert {"td_loss", "q_tot", "grad_norm", "episode_return", "episode_won", "epsilon"} <= curve[-1].keys()


def test_a_run_that_diverges_says_so(tmp_path: Path) -> None:
    config = dataclasses.replace(SHORT)
    config.learning_rate = 1e30  # more than is allowed
    with pytest.raises(DivergedError, match=r"not finite; lower values\.learning_rate"):
        train(tmp_path, "vdn", config)


def test_epsilon_falls_linearly() -> None:
    config = dataclasses.replace(CONFIG, epsilon=[0.8, 0.2], epsilon_steps=100)
    assert [epsilon_after(steps, config) for steps in (0, 50, 100, 1000)] == pytest.approx([0.8, 0.5, 0.2, 0.2])


def test_epsilon_greedy_is_uniform_over_legal_actions() -> None:
    q = torch.tensor([5.0, 1.0, 2.0, 9.0]).expand(20000, 3, 4)
    mask = torch.tensor([True, True, True, False]).expand(20000, 3, 4)
    action = epsilon_greedy(q, mask, 0.3, torch.Generator().manual_seed(0))
    share = torch.bincount(action.flatten(), minlength=4) / action.numel()
    assert share.tolist() == pytest.approx([0.8, 0.1, 0.1, 0.0], abs=0.01)
    assert (epsilon_greedy(q, mask, 0.0, torch.Generator().manual_seed(0)) == 0).all()


def test_the_replayed_values_are_those_acted_on() -> None:
    """Memory, masks and last actions are the same in play and in the replay: greedy play repeats as greedy replay."""
    game = ToyGame(8, deaths=True, rounds=4)
    team, sight = team_of(game, random_masks=True)
    replay = Replay(game, 64)
    config = dataclasses.replace(CONFIG, epsilon=[0.0, 0.0])
    collector = Collector(game, team, sight, replay, config, torch.Generator().manual_seed(0))
    collector.start(0)
    for _ in range(5):
        collector.collect()
    batch = replay.sample(len(replay), torch.Generator().manual_seed(0))
    assert batch.starts[1:].any()  # some rows hold more than one episode
    inputs = sight.prepare(batch.obs, batch.seen, batch.last_action)
    q, _ = team(inputs, team.initial_hidden(batch.starts.shape[1]), batch.starts)
    best = q.masked_fill(~batch.action_mask, -torch.inf).argmax(-1)
    lived = batch.alive[:-1] & batch.valid.unsqueeze(-1)
    assert torch.equal(best[:-1][lived], batch.action[lived])
