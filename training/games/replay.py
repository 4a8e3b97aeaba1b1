"""The latest whole episodes of a game in flat tensors, written to as E environments step.

Each environment writes its running episode into a slot of its own. When the episode ends, its slot changes places with
that of the oldest episode kept, so nothing is ever moved.

Samples are packed: a row of a batch holds several short episodes, one after another, so that little of it is padding.

Shapes: T steps of the longest sampled episode, R rows of T+1 frames, E environments, N agents, O observation columns,
A actions, S state columns. An episode of L steps has L + 1 frames: the last is the one that its final step led to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from envs.games.api import Frame, Game, Transition

MAX_BYTES = 8 * 2**30


class ReplayError(ValueError):
    """A replay that cannot be made; the message is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class Episodes:
    """Whole episodes in R rows, several in a row where they fit.

    At an episode's last frame, and behind the last episode of a row, ``valid`` is False. There, action and reward are
    arbitrary, but finite.
    """

    obs: Tensor  # [T+1, R, N, O]
    seen: Tensor  # [T+1, R, N, O] bool: what each agent senses, the same all along an episode
    action_mask: Tensor  # [T+1, R, N, A] bool
    alive: Tensor  # [T+1, R, N] bool
    state: Tensor  # [T+1, R, S]
    starts: Tensor  # [T+1, R] bool: the first frame of an episode
    action: Tensor  # [T, R, N] int64
    reward: Tensor  # [T, R]
    terminated: Tensor  # [T, R] bool: at the last step of episodes that were not cut off
    valid: Tensor  # [T, R] bool: a step of an episode, to the next frame of its row

    @property
    def last_action(self) -> Tensor:
        """What each agent had done when it saw the frame, [T+1, R, N] int64; -1 in an episode's first one."""
        before = torch.cat((torch.full_like(self.action[:1], -1), self.action))
        return before.masked_fill(self.starts.unsqueeze(-1), -1)


def packed(frames: Tensor) -> tuple[Tensor, Tensor]:
    """Where episodes go in rows as long as the longest of them: first-fit decreasing (Johnson 1974).

    frames [B] int64, of each episode -> row [B] and the place of its first frame in that row [B], int64.
    """
    lengths = frames.tolist()
    longest = max(lengths)
    row, first = torch.empty_like(frames), torch.empty_like(frames)
    used: list[int] = []  # frames of each row
    for episode in sorted(range(len(lengths)), key=lambda episode: -lengths[episode]):
        length = lengths[episode]
        fitting = next((r for r, taken in enumerate(used) if taken + length <= longest), len(used))
        if fitting == len(used):
            used.append(0)
        row[episode], first[episode] = fitting, used[fitting]
        used[fitting] += length
    return row, first


class Replay:
    """Call ``start``, then ``add`` after every step; ``sample`` sees finished episodes only."""

    def __init__(self, game: Game, capacity: int) -> None:
        """
        Raises:
            ReplayError: it holds fewer episodes than can end at once, or more than fit in memory.
        """
        environments, agents = game.environments, len(game.specs)
        if capacity < environments:
            raise ReplayError(
                f"values.buffer_episodes={capacity} is not allowed: it must be at least "
                f"values.environments={environments}"
            )
        self.capacity, self.frames = capacity, game.horizon + 1
        obs, actions = max(spec.obs_size for spec in game.specs), max(len(spec.actions) for spec in game.specs)
        slots = capacity + environments
        shapes: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
            "obs": ((agents, obs), torch.float32),
            "action_mask": ((agents, actions), torch.bool),
            "alive": ((agents,), torch.bool),
            "state": ((game.state_size,), torch.float32),
            "action": ((agents,), torch.int16),
            "reward": ((), torch.float32),
        }
        columns = {name: torch.empty(shape, dtype=dtype, device="meta") for name, (shape, dtype) in shapes.items()}
        self.bytes = slots * (
            self.frames * sum(column.numel() * column.element_size() for column in columns.values()) + agents * obs
        )
        if self.bytes > MAX_BYTES:
            raise ReplayError(
                f"values.buffer_episodes={capacity} is not allowed: episodes of {game.name!r} of {game.horizon} steps "
                f"would take {self.bytes / 2**30:.1f} GiB, and at most {MAX_BYTES / 2**30:.0f} GiB may be taken"
            )
        # Row slot * frames + t holds frame t of a slot's episode; zeros take no memory until they are written to.
        self._rows = {
            name: torch.zeros(slots * self.frames, *shape, dtype=dtype) for name, (shape, dtype) in shapes.items()
        }
        self._seen = torch.zeros(slots, agents, obs, dtype=torch.bool)
        self._length = torch.zeros(slots, dtype=torch.int64)
        self._terminated = torch.zeros(slots, dtype=torch.bool)
        self._slot = torch.arange(environments)  # [E] where each environment writes
        self._step = torch.zeros(environments, dtype=torch.int64)  # [E] of its running episode
        self._ring = torch.arange(environments, slots)  # [capacity] slots; episode number k lies in k % capacity
        self.finished = 0  # episodes so far, those that were overwritten too

    def __len__(self) -> int:
        return min(self.finished, self.capacity)

    def start(self, seen: Tensor) -> None:
        """All environments start an episode; those that were running are dropped.  seen [E, N, O]."""
        self._step.zero_()
        self._seen[self._slot] = seen

    def add(self, frame: Frame, action: Tensor, transition: Transition, seen: Tensor) -> None:
        """What the agents decided in ``frame`` and what came of it; ``seen`` [E, N, O] is of the episodes after it."""
        row = self._slot * self.frames + self._step
        self._write(row, frame)
        self._rows["action"].index_copy_(0, row, action.to(torch.int16))
        self._rows["reward"].index_copy_(0, row, transition.reward)
        self._step += 1
        ended = (transition.terminated | transition.truncated).nonzero().squeeze(-1)
        if len(ended) == 0:
            return
        slot = self._slot[ended]
        last = transition.last
        final = Frame(last.obs[ended], last.action_mask[ended], last.alive[ended], last.state[ended])
        self._write(row[ended] + 1, final)
        self._length[slot] = self._step[ended]
        self._terminated[slot] = transition.terminated[ended]
        place = torch.arange(self.finished, self.finished + len(ended)) % self.capacity
        self._slot[ended] = self._ring[place]
        self._ring[place] = slot
        self.finished += len(ended)
        self._step[ended] = 0
        self._seen[self._slot[ended]] = seen[ended]

    def sample(self, episodes: int, generator: torch.Generator) -> Episodes:
        """That many of the kept episodes, none twice."""
        return self._episodes(self._ring[torch.randperm(len(self), generator=generator)[:episodes]])

    def state_dict(self, since: int = 0) -> dict[str, Any]:
        """The kept episodes from number ``since`` on, without what lies behind their ends."""
        since = max(since, self.finished - len(self))
        slot = self._ring[torch.arange(since, self.finished) % self.capacity]
        rows = self._rows_of(slot)
        return {
            "since": since,
            "finished": self.finished,
            "rows": {name: column[rows] for name, column in self._rows.items()},
            "seen": self._seen[slot],
            "length": self._length[slot],
            "terminated": self._terminated[slot],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Add the saved episodes under their numbers; later parts must be loaded after earlier ones."""
        slot = self._ring[torch.arange(state["since"], state["finished"]) % self.capacity]
        self._length[slot] = state["length"]
        self._terminated[slot] = state["terminated"]
        self._seen[slot] = state["seen"]
        rows = self._rows_of(slot)
        for name, column in self._rows.items():
            column[rows] = state["rows"][name]
        self.finished = state["finished"]

    def _write(self, row: Tensor, frame: Frame) -> None:
        for name in ("obs", "action_mask", "alive", "state"):
            self._rows[name].index_copy_(0, row, getattr(frame, name))

    def _rows_of(self, slot: Tensor) -> Tensor:
        """The rows of the frames of whole episodes, one episode after another."""
        step = torch.arange(self.frames)
        rows = slot.unsqueeze(-1) * self.frames + step
        return rows[step <= self._length[slot].unsqueeze(-1)]

    def _episodes(self, slot: Tensor) -> Episodes:
        length = self._length[slot]
        row, first = packed(length + 1)
        width, height = int(row.max()) + 1, int(length.max()) + 1
        each = torch.repeat_interleave(torch.arange(len(slot)), length + 1)  # [all frames] the episode of each
        step = torch.cat([torch.arange(count) for count in (length + 1).tolist()])  # [all frames] its number in it
        place = (first[each] + step) * width + row[each]
        frame = torch.zeros(height * width, dtype=torch.int64)  # what lies behind a row's end is the replay's first one
        frame[place] = slot[each] * self.frames + step

        def marked(chosen: Tensor) -> Tensor:
            marks = torch.zeros(height * width, dtype=torch.bool)
            marks[place] = chosen
            return marks.view(height, width)

        def frames(name: str) -> Tensor:
            return self._rows[name].index_select(0, frame).view(height, width, *self._rows[name].shape[1:])

        seen = self._seen.index_select(0, frame // self.frames)
        last = step == length[each] - 1
        return Episodes(
            obs=frames("obs"),
            seen=seen.view(height, width, *seen.shape[1:]),
            action_mask=frames("action_mask"),
            alive=frames("alive"),
            state=frames("state"),
            starts=marked(step == 0),
            action=frames("action")[:-1].long(),
            reward=frames("reward")[:-1],
            terminated=marked(last & self._terminated[slot[each]])[:-1],
            valid=marked(step < length[each])[:-1],
        )
