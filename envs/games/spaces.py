"""Checks of a PettingZoo environment's output against its spaces; each error names agent, quantity and step.

An observation becomes columns: a Box is flattened, what is countable (Discrete, MultiDiscrete, MultiBinary) is one-hot
or bits, and a Dict is its entries one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space
from gymnasium.spaces.utils import flatdim, flatten

from envs.api import BoolArray, FloatArray
from envs.games.api import GameError
from scenarios.ranges import shown

MASK = "action_mask"
WHOLE = "observation"
_LARGEST = float(np.finfo(np.float32).max)
_PARTS = (Box, Discrete, MultiDiscrete, MultiBinary)


@dataclass(frozen=True, slots=True)
class Moment:
    """Where in a game something was handed over; for sentences only."""

    game: str
    step: int  # of the episode; 0: the reset

    def refuse(self, what: str, value: Any, allowed: str) -> GameError:
        verb = "are" if what.startswith("the ") and what.endswith("s") else "is"
        return GameError(f"{what} of {self.game!r} at step {self.step} {verb} {shown(value)}: it must be {allowed}")


@dataclass(frozen=True, slots=True)
class Part:
    """Columns of an observation: the whole of it, or an entry of a Dict."""

    name: str
    key: Any  # None: the whole
    space: Space[Any]
    columns: int


@dataclass(frozen=True, slots=True)
class Observed:
    """How one agent's observation becomes columns."""

    agent: Any
    inner: bool  # what is observed lies under "observation", beside the mask
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, agent: Any, space: Space[Any]) -> Observed:
        """
        Raises:
            GameError: a kind of space that has no columns.
        """
        seen, inner = space, False
        if isinstance(seen, Dict) and WHOLE in seen.spaces and set(seen.spaces) <= {WHOLE, MASK}:
            seen, inner = seen[WHOLE], True
        if isinstance(seen, Dict):
            named = {key: part for key, part in seen.spaces.items() if key != MASK}
            parts = tuple(Part(str(key), key, part, _size(agent, part, seen)) for key, part in named.items())
        else:
            parts = (Part(WHOLE, None, seen, _size(agent, seen, seen)),)
        if sum(part.columns for part in parts) == 0:
            raise GameError(f"agent {agent!r} has observations {shown(space)}: they must have at least one column")
        return cls(agent, inner, parts)

    @property
    def columns(self) -> int:
        return sum(part.columns for part in self.parts)

    def split(self, seen: Any, infos: Any, moment: Moment) -> tuple[FloatArray, Any]:
        """One observation: its columns [O], and the mask that came with it or in the agent's info (None: no mask).

        Raises:
            GameError: it is not what the space says, or not finite.
        """
        legal = infos.get(MASK) if isinstance(infos, Mapping) else None
        if isinstance(seen, Mapping):
            legal = seen.get(MASK, legal)
        if self.inner:
            seen = self._entry(seen, WHOLE, moment)
        columns = []
        for part in self.parts:
            value = seen if part.key is None else self._entry(seen, part.key, moment)
            what = f"the observation{'' if part.key is None else f' {part.name!r}'} of agent {self.agent!r}"
            columns.append(_columns(part.space, value, what, moment))
        return np.concatenate(columns), legal

    def _entry(self, seen: Any, key: Any, moment: Moment) -> Any:
        if not isinstance(seen, Mapping) or key not in seen:
            raise moment.refuse(f"the observation of agent {self.agent!r}", seen, f"a dict with {key!r}, as its space")
        return seen[key]


def _size(agent: Any, part: Space[Any], whole: Space[Any]) -> int:
    if not isinstance(part, _PARTS):
        raise GameError(
            f"agent {agent!r} has observations {shown(whole)}: they must be a Box, Discrete, MultiDiscrete or "
            f"MultiBinary, a Dict of these, or a Dict of 'observation', one of these, and 'action_mask'"
        )
    return int(flatdim(part))


def _columns(space: Space[Any], value: Any, what: str, moment: Moment) -> FloatArray:
    if not isinstance(space, Box):
        if not space.contains(value):
            raise moment.refuse(what, value, f"an element of its space, {space}")
        return np.asarray(flatten(space, value), np.float32)
    if np.shape(array := numbers(value, what, moment)) != space.shape:
        raise moment.refuse(f"the shape of {what}", array.shape, f"{space.shape}, as its space")
    with np.errstate(over="ignore"):  # what float32 cannot hold is refused in the next line
        columns = np.ravel(array).astype(np.float32)
    if not np.isfinite(columns).all():
        off = int(np.flatnonzero(~np.isfinite(columns))[0])
        raise moment.refuse(f"column {off} of {what}", np.ravel(array)[off].item(), "a finite number of 32 bits")
    return columns


def numbers(value: Any, what: str, moment: Moment) -> Any:
    """As an array of numbers.

    Raises:
        GameError: it is none.
    """
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError):  # lists of unlike lengths
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        raise moment.refuse(what, value, "numbers")
    return array


def number(value: Any, what: str, moment: Moment) -> float:
    """A finite number that 32 bits hold, also as an array of one element.

    Raises:
        GameError: it is none.
    """
    array = numbers(value, what, moment)
    if array.size != 1 or not abs(array.item()) <= _LARGEST:
        raise moment.refuse(what, value, "a finite number of 32 bits")
    return float(array.item())


def flag(value: Any, what: str, moment: Moment) -> bool:
    """True or false, also as an array of one element.

    Raises:
        GameError: it is neither.
    """
    array = numbers(value, what, moment)
    if array.size != 1 or array.item() not in (0, 1):
        raise moment.refuse(what, value, "True or False")
    return bool(array.item())


def legal_actions(value: Any, actions: int, agent: Any, moment: Moment) -> BoolArray:
    """[A] bool: which actions an agent may choose; without a mask (None) all.

    Raises:
        GameError: the mask is not one of 0 and 1 for each action.
    """
    if value is None:
        return np.ones(actions, np.bool_)
    what = f"the {MASK} of agent {agent!r}"
    array = numbers(value, what, moment)
    if array.shape != (actions,) or not np.isin(array, (0, 1)).all():
        raise moment.refuse(what, array.tolist(), f"{actions} of 0 and 1, one for each action")
    legal: BoolArray = array.astype(np.bool_)
    return legal


def by_agent(value: Any, agents: Sequence[Any], what: str, moment: Moment) -> Mapping[Any, Any]:
    """What is given for each agent.

    Raises:
        GameError: it is not a dict, or names an agent that there is not.
    """
    if not isinstance(value, Mapping):
        raise moment.refuse(what, value, "a dict with an entry for each agent")
    for agent in value:
        if agent not in agents:
            known = ", ".join(map(repr, agents))
            raise moment.refuse(f"an agent named in {what}", agent, f"one of possible_agents, {known}")
    return value


def handed_over(value: Any, names: Sequence[str], call: str, moment: Moment) -> tuple[Any, ...]:
    """What a call returned, one thing for each name.

    Raises:
        GameError: it is not so many things.
    """
    if not isinstance(value, tuple | list) or len(value) != len(names):
        got = f"{len(value)} things" if isinstance(value, tuple | list) else value
        raise moment.refuse(f"what {call} returned", got, f"{', '.join(names)}, as of a ParallelEnv")
    return tuple(value)
