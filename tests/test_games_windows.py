"""Play in windows, and the advantages of Eqs. 1-2 against their definition."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from envs.games.sensing import RandomMasks, everything, fixed
from tests.toy_game import ToyGame
from training.games.networks import RecurrentTeam, Sight, StateCritic
from training.games.windows import Player, Window, advantages
from training.losses import masked_log_softmax
from training.networks import ValueNorm


def team_for(game: ToyGame, masks: torch.Tensor | RandomMasks, seed: int = 0) -> tuple[RecurrentTeam, Sight]:
    sight = Sight(game.specs, masks, identities=False, last_action=True)
    groups = [[agent] for agent in range(game.agents)]
    generator = torch.Generator().manual_seed(seed)
    return RecurrentTeam(sight.inputs, sight.actions, groups, [5] * game.agents, generator, head_gain=1.0), sight


def test_windows_go_on_where_the_one_before_ended() -> None:
    game = ToyGame(environments=4, rounds=3, deaths=True)
    team, sight = team_for(game, everything(game.specs))
    player = Player(game, team, sight, seed=1)
    windows = [player.play(5)[0] for _ in range(2)]
    again = Player(game, team, sight, seed=1)
    whole, episodes = again.play(10)
    for name in Window.__slots__:
        if name in ("labels", "hidden"):
            continue
        both = torch.cat([getattr(window, name) for window in windows])
        torch.testing.assert_close(both, getattr(whole, name), msg=name)
    assert len(episodes.returns) == int((whole.terminated | whole.truncated).sum())
    # What was played is what the networks say along the window, memory forgotten where an episode starts.
    inputs = sight.prepare(whole.obs, whole.seen, whole.last_action)
    logits, latents = team(inputs, whole.hidden, whole.starts)
    chosen = masked_log_softmax(logits, whole.mask).gather(-1, whole.action.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(whole.log_prob, torch.where(whole.alive, chosen, 0.0))
    second = team(inputs[5:], windows[1].hidden, whole.starts[5:])[1]
    torch.testing.assert_close(second, latents[5:])
    assert (whole.mask.gather(-1, whole.action.unsqueeze(-1)).squeeze(-1) | ~whole.alive).all()
    assert (whole.last_action[0] == -1).all()
    ended = whole.terminated | whole.truncated
    expected = torch.where(ended[:-1].unsqueeze(-1), -1, whole.action[:-1])
    assert torch.equal(whole.last_action[1:], expected)
    assert torch.equal(whole.starts[1:], ended[:-1])


def test_sampling_follows_the_policy() -> None:
    game = ToyGame(environments=4000, rounds=3)
    team, sight = team_for(game, everything(game.specs))
    window, _ = Player(game, team, sight, seed=0).play(1)
    inputs = sight.prepare(window.obs, window.seen, window.last_action)
    policy = masked_log_softmax(team(inputs, window.hidden)[0], window.mask).exp().detach()
    for action in range(4):
        expected, variance = policy[..., action].sum(), (policy[..., action] * (1 - policy[..., action])).sum()
        assert float((window.action == action).sum() - expected) ** 2 <= 16 * float(variance) + 1e-6


def test_a_watching_teacher_labels_what_it_would_have_done() -> None:
    game = ToyGame(environments=3, rounds=3)
    students, masked = team_for(game, fixed(game.specs, [["clock"], ["cue"]]))
    teacher, full = team_for(game, everything(game.specs), seed=5)
    player = Player(game, students, masked, 0, (teacher, full))
    first, second = player.play(4)[0], player.play(4)[0]
    obs, last, starts = (
        torch.cat([getattr(w, name) for w in (first, second)]) for name in ("obs", "last_action", "starts")
    )
    inputs = full.prepare(obs, everything(game.specs), last)
    logits, latents = teacher(inputs, teacher.initial_hidden(3), starts)
    for k, window in enumerate((first, second)):
        assert window.labels is not None
        torch.testing.assert_close(window.labels.logits, logits[4 * k : 4 * k + 4])
        torch.testing.assert_close(window.labels.latents, latents[4 * k : 4 * k + 4].transpose(1, 2))


def test_masks_are_drawn_anew_with_every_episode_and_held_along_it() -> None:
    game = ToyGame(environments=50, rounds=4)
    masks = RandomMasks(game.specs, (0.5, 0.5))
    team, sight = team_for(game, masks)
    window, _ = Player(game, team, sight, seed=0).play(9)
    changed = (window.seen[1:] != window.seen[:-1]).any(-1).any(-1)
    assert not changed[~window.starts[1:]].any()
    assert changed[window.starts[1:]].float().mean() > 0.5
    # The teacher plays with full sight, and the window holds what its students sense.
    teacher, full = team_for(game, everything(game.specs))
    expert, _ = Player(game, teacher, full, 0, (teacher, full), sight).play(9)
    own = [spec.obs_size for spec in game.specs]
    for agent, columns in enumerate(own):
        assert (expert.seen[:, :, agent].sum(-1) == round(columns / 2)).all()
    torch.testing.assert_close(expert.labels and expert.labels.logits, _logits(teacher, full, expert))


def _logits(team: RecurrentTeam, sight: Sight, window: Window) -> torch.Tensor:
    every = torch.ones_like(window.seen)
    return team(sight.prepare(window.obs, every, window.last_action), window.hidden, window.starts)[0].detach()


@pytest.mark.parametrize("truncated", [False, True])
def test_advantages_by_definition(truncated: bool) -> None:
    """A_t = sum_l (gamma lambda)^l delta_{t+l} within the episode, by brute force in float64."""
    gamma, lam = 0.9, 0.8
    game = ToyGame(environments=3, rounds=4, deaths=True, truncated=truncated)
    team, sight = team_for(game, everything(game.specs))
    window, _ = Player(game, team, sight, seed=3).play(11)
    assert bool((window.truncated if truncated else window.terminated).any())
    critic = StateCritic(game.state_size, 8, torch.Generator().manual_seed(0))
    norm = ValueNorm()
    norm.update(torch.tensor([1.0, 4.0, 9.0]))
    advantage, returns = advantages(window, critic, norm, gamma, lam)
    value = norm.denormalise(critic(window.state)).detach().double()
    after = norm.denormalise(critic(window.next_state)).detach().double()
    steps, environments = window.reward.shape
    for e in range(environments):
        for t in range(steps):
            expected, factor = 0.0, 1.0
            for s in range(t, steps):
                goes_on = 0.0 if window.terminated[s, e] else gamma
                expected += factor * float(window.reward[s, e] + goes_on * after[s, e] - value[s, e])
                factor *= gamma * lam
                if window.terminated[s, e] or window.truncated[s, e]:
                    break
            assert float(advantage[t, e]) == pytest.approx(expected, abs=1e-4)
            assert float(returns[t, e]) == pytest.approx(expected + float(value[t, e]), abs=1e-4)


def test_the_next_state_of_an_ended_episode_is_its_final_one() -> None:
    game = ToyGame(environments=2, rounds=3)
    team, sight = team_for(game, everything(game.specs))
    window, _ = Player(game, team, sight, seed=0).play(7)
    ended = window.terminated | window.truncated
    torch.testing.assert_close(window.next_state[:-1][~ended[:-1]], window.state[1:][~ended[:-1]])
    clock = 2  # column of the state
    assert (window.state[1:, :, clock][ended[:-1]] != window.next_state[:-1, :, clock][ended[:-1]]).all()


def test_environments_of_a_window() -> None:
    game = ToyGame(environments=3)
    team, sight = team_for(game, everything(game.specs))
    window, _ = Player(game, team, sight, 0, (team, sight)).play(4)
    part = window.environments(torch.tensor([2, 0]))
    assert torch.equal(part.hidden, window.hidden[:, [2, 0]])
    assert torch.equal(part.obs, window.obs[:, [2, 0]])
    assert part.labels is not None and window.labels is not None
    assert torch.equal(part.labels.logits, window.labels.logits[:, [2, 0]])
    assert dataclasses.replace(window, labels=None).environments(torch.tensor([1])).labels is None
