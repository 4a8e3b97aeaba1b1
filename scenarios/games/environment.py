"""A benchmark game: what simulates it, and what its agents see."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from omegaconf import MISSING

from scenarios.ranges import check, check_name, listed


class Suite(Enum):
    smac = "smac"
    mpe = "mpe"
    pettingzoo = "pettingzoo"  # any ParallelEnv, named by ``parallel_env``


class Backend(Enum):
    auto = "auto"  # smac where it and StarCraft II are installed, else smax
    smax = "smax"  # jaxmarl's re-implementation of SMAC, without StarCraft II
    smac = "smac"  # oxwhirl's package and StarCraft II


@dataclass
class BlockConfig:
    """Columns of an observation that are sensed together or not at all."""

    name: str = MISSING
    size: int = MISSING

    def check_as(self, where: str) -> None:
        """Called by the environment, which knows whose block it is.

        Raises:
            ConfigError: a value out of its range.
        """
        check(f"{where}.name", self.name, isinstance(self.name, str) and bool(self.name), "text")
        whole = type(self.size) is int and 1 <= self.size <= 10**6
        check(f"{where}.size", self.size, whole, "a whole number between 1 and 1e+06")


@dataclass
class EnvironmentConfig:
    suite: Suite = MISSING
    map: str = ""  # smac: 3m ...; mpe: simple_spread ...
    backend: Backend = Backend.auto  # smac only
    leak_free: bool = False  # smac: an agent that does not sense enemies may not see from its legal actions who is near
    sc2_path: str | None = None  # smac: StarCraft II's folder; null: the environment variable SC2PATH
    parallel_env: dict[str, Any] = field(default_factory=dict)  # pettingzoo: _target_, and its arguments
    # pettingzoo: agent ("*": the others) -> a list of BlockConfig. Agents may be called 0, 1, ...
    blocks: dict[Any, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.blocks = {str(agent): _blocks(str(agent), entries) for agent, entries in self.blocks.items()}
        if self.suite is Suite.pettingzoo:
            check(
                "scenario.environment.parallel_env",
                self.parallel_env,
                "_target_" in self.parallel_env,
                "a group with _target_",
            )
        else:
            check("scenario.environment.map", self.map, bool(self.map), "the name of a map")


def _blocks(agent: str, entries: Any) -> list[BlockConfig]:
    """OmegaConf leaves lists within a dict as plain ones, unchecked."""
    where = f"scenario.environment.blocks.{agent}"
    check(where, entries, isinstance(entries, list) and bool(entries), "a list of blocks, each a name and a size")
    blocks = []
    for index, entry in enumerate(entries):
        if not isinstance(entry, BlockConfig):
            keyed = isinstance(entry, dict) and entry.keys() == {"name", "size"}
            check(f"{where}.{index}", entry, keyed, "a name and a size (columns), as {name: clock, size: 1}")
            entry = BlockConfig(entry["name"], entry["size"])
        entry.check_as(f"{where}.{index}")
        blocks.append(entry)
    return blocks


@dataclass
class RandomMaskConfig:
    """What each agent senses, drawn anew for every episode; networks are told which columns those are."""

    visible: list[float] = field(default_factory=lambda: [8 / 18, 10 / 18])  # share of its columns, drawn uniformly
    always: list[str] = field(default_factory=list)  # blocks that are never hidden

    def __post_init__(self) -> None:
        allowed = "[low, high] with 0 < low <= high <= 1"
        listed("scenario.random_mask.visible", self.visible, 2, lambda low, high: 0 < low <= high <= 1, allowed)


@dataclass
class GameConfig:
    """One game and who senses what of it (scenarios/games/scenario/*.yaml)."""

    name: str = MISSING
    environment: EnvironmentConfig = MISSING
    sensing: dict[str, list[str]] = field(default_factory=dict)  # group -> visible blocks
    agents: list[str] = field(default_factory=list)  # each agent's group; with random_mask: unused
    random_mask: RandomMaskConfig | None = None

    def __post_init__(self) -> None:
        check_name("scenario.name", self.name)
        for group, blocks in self.sensing.items():
            check(f"scenario.sensing.{group}", list(blocks), bool(blocks), "at least one block")
        for index, group in enumerate(self.agents):
            known = sorted(self.sensing)
            check(f"scenario.agents.{index}", group, group in known, f"one of {', '.join(known)}")
