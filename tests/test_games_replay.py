from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.toy_game import ToyGame
from training import checkpoint
from training.games.replay import Episodes, Replay, ReplayError, packed

OBS = 6  # columns of the toy's widest agent
Record = dict[str, list[Tensor]]


def play(game: ToyGame, replay: Replay, steps: int, seed: int = 0) -> list[Record]:
    """Random legal play into the replay; the finished episodes in order, written down one environment at a time."""
    generator = torch.Generator().manual_seed(seed)

    def sensed() -> Tensor:
        return torch.rand(game.environments, game.agents, OBS, generator=generator) < 0.5

    def fresh(environment: int) -> Record:
        columns = ("obs", "action_mask", "alive", "state", "action", "reward", "terminated")
        return {name: [] for name in columns} | {"seen": [seen[environment]]}

    frame, seen = game.reset(seed), sensed()
    replay.start(seen)
    running = [fresh(e) for e in range(game.environments)]
    finished: list[Record] = []
    for _ in range(steps):
        action = (torch.rand(frame.action_mask.shape, generator=generator) + frame.action_mask).argmax(-1)
        after = game.step(action)
        over = after.terminated | after.truncated
        next_seen = torch.where(over.view(-1, 1, 1), sensed(), seen)
        replay.add(frame, action, after, next_seen)
        for e, record in enumerate(running):
            for name in ("obs", "action_mask", "alive", "state"):
                record[name].append(getattr(frame, name)[e].clone())
            record["action"].append(action[e].clone())
            record["reward"].append(after.reward[e].clone())
            record["terminated"].append(after.terminated[e].clone())
            if over[e]:
                for name in ("obs", "action_mask", "alive", "state"):
                    record[name].append(getattr(after.last, name)[e].clone())
                finished.append(record)
        seen = next_seen
        running = [fresh(e) if over[e] else record for e, record in enumerate(running)]
        frame = after.frame
    return finished


def content(record: Record) -> str:
    return repr({name: [tensor.tolist() for tensor in tensors] for name, tensors in sorted(record.items())})


def contents(batch: Episodes) -> list[str]:
    """Each sampled episode, taken out of its row."""
    found = []
    for first, row in batch.starts.nonzero().tolist():
        steps = 0
        while first + steps < len(batch.valid) and bool(batch.valid[first + steps, row]):
            steps += 1
        frames, decided = slice(first, first + steps + 1), slice(first, first + steps)
        record = {name: list(getattr(batch, name)[frames, row]) for name in ("obs", "action_mask", "alive", "state")}
        record |= {name: list(getattr(batch, name)[decided, row]) for name in ("action", "reward", "terminated")}
        assert (batch.seen[frames, row] == batch.seen[first, row]).all()
        found.append(content(record | {"seen": [batch.seen[first, row]]}))
    return found


def everything(replay: Replay) -> Episodes:
    return replay.sample(len(replay), torch.Generator().manual_seed(0))


@pytest.mark.parametrize("truncated", [False, True])
@pytest.mark.parametrize("capacity", [1000, 8, 5])
def test_the_latest_whole_episodes_are_kept_as_they_were(capacity: int, truncated: bool) -> None:
    """Deaths end episodes early, so that the environments write at different steps."""
    game = ToyGame(5, agents=3, rounds=4, deaths=True, truncated=truncated)
    replay = Replay(game, capacity)
    finished = play(game, replay, 60)
    assert len({len(record["action"]) for record in finished}) > 1
    assert 20 < len(finished) < 1000
    assert replay.finished == len(finished)
    assert len(replay) == min(capacity, len(finished))
    assert sorted(contents(everything(replay))) == sorted(content(record) for record in finished[-capacity:])


def test_a_batch_is_as_long_as_its_longest_episode_and_holds_none_twice() -> None:
    game = ToyGame(4, agents=2, rounds=6, deaths=True)
    replay = Replay(game, 64)
    play(game, replay, 60)
    generator = torch.Generator().manual_seed(1)
    lengths = set()
    for _ in range(20):
        batch = replay.sample(3, generator)
        sampled = contents(batch)
        longest = max(len(ast.literal_eval(episode)["action"]) for episode in sampled)
        lengths.add(longest)
        assert len(set(sampled)) == 3
        rows = batch.starts.shape[1]
        assert batch.obs.shape == (longest + 1, rows, 2, OBS)
        assert batch.action.shape == (longest, rows, 2)
    assert len(lengths) > 1


def test_short_episodes_share_a_row() -> None:
    """By hand: of 6, 2, 3, 4 and 1 frames, the longest fills a row, 4 and 2 the second, 3 and 1 the third."""
    row, first = packed(torch.tensor([6, 2, 3, 4, 1]))
    assert row.tolist() == [0, 1, 2, 1, 2]
    assert first.tolist() == [0, 4, 0, 0, 3]
    row, first = packed(torch.tensor([5, 5, 5]))
    assert row.tolist() == [0, 1, 2]
    assert first.tolist() == [0, 0, 0]


def test_no_two_frames_lie_in_one_place() -> None:
    generator = torch.Generator().manual_seed(2)
    for count in (1, 7, 32):
        frames = torch.randint(1, 40, (count,), generator=generator)
        row, first = packed(frames)
        assert int((first + frames).max()) == int(frames.max())
        places = {
            (int(r), step) for r, f, n in zip(row, first, frames, strict=True) for step in range(int(f), int(f + n))
        }
        assert len(places) == int(frames.sum())
        assert set(row.tolist()) == set(range(int(row.max()) + 1))


def test_the_last_action_is_that_of_the_step_before() -> None:
    game = ToyGame(4, agents=2, rounds=6, deaths=True)
    replay = Replay(game, 64)
    play(game, replay, 60)
    batch = everything(replay)
    assert batch.starts.sum() > batch.starts[0].sum()  # some rows hold more than one episode
    assert (batch.last_action[batch.starts] == -1).all()
    assert torch.equal(batch.last_action[1:][batch.valid], batch.action[batch.valid])
    assert batch.last_action.dtype == torch.int64


def test_a_new_start_drops_the_running_episodes() -> None:
    game = ToyGame(3, rounds=5)
    replay = Replay(game, 10)
    play(game, replay, 4)
    assert len(replay) == 0
    finished = play(game, replay, 5, seed=1)
    assert sorted(contents(everything(replay))) == sorted(content(record) for record in finished)


def test_saved_in_parts_and_loaded_it_samples_the_same(tmp_path: Path) -> None:
    game = ToyGame(4, agents=2, rounds=4, deaths=True)
    replay, again = Replay(game, 32), Replay(game, 32)
    written = 0
    for part in range(5):
        play(game, replay, 12, seed=part)
        checkpoint.save(tmp_path / f"{part}", replay.state_dict(since=written), "key")
        written = replay.finished
    assert replay.finished > 2 * replay.capacity
    for part in range(5):
        again.load_state_dict(checkpoint.load(tmp_path / f"{part}", "key"))
    assert again.finished == replay.finished
    for seed in range(3):
        one, other = (r.sample(8, torch.Generator().manual_seed(seed)) for r in (replay, again))
        assert contents(one) == contents(other)
    play(game, replay, 6, seed=9)
    play(game, again, 6, seed=9)
    assert contents(everything(replay)) == contents(everything(again))


def test_a_part_is_not_larger_than_its_episodes() -> None:
    game = ToyGame(4, rounds=50, deaths=True)  # random play ends long before the limit
    replay = Replay(game, 100)
    finished = play(game, replay, 60)
    rows = replay.state_dict()["rows"]["obs"]
    assert len(rows) == sum(len(record["obs"]) for record in finished)


def test_it_says_what_does_not_fit() -> None:
    with pytest.raises(ReplayError, match=r"buffer_episodes=3 is not allowed: it must be at least values.environm.*=4"):
        Replay(ToyGame(4), 3)
    with pytest.raises(ReplayError, match=r"buffer_episodes=50000000 .* would take \d+\.\d GiB, and at most 8 GiB"):
        Replay(ToyGame(4), 50_000_000)


def test_its_size_is_that_of_its_tensors() -> None:
    game = ToyGame(4, agents=2, rounds=3)
    per_frame = 4 * 2 * OBS + 2 * 4 + 2 + 4 * game.state_size + 2 * 2 + 4
    assert Replay(game, 10).bytes == 14 * (4 * per_frame + 2 * OBS)
