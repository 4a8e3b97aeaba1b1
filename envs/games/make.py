"""A game from its configuration. A suite's packages are imported only where one of its games is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from pettingzoo import ParallelEnv

from envs.games.api import Game, GameError
from envs.sensing import sense
from scenarios.games.environment import Backend, EnvironmentConfig, GameConfig, Suite
from scenarios.ranges import check, within


def make_game(config: GameConfig, environments: int) -> Game:
    """The game that is trained on.

    Raises:
        GameError: it cannot be made, with these settings or on this machine.
    """
    environment = config.environment
    hidden = _hidden_enemies(config)
    if environment.suite is Suite.mpe:
        from envs.games.mpe import MpeGame

        return MpeGame(environment.map, environments)
    if environment.suite is Suite.pettingzoo:
        from envs.games.parallel import ParallelGame

        limit = environment.parallel_env.get("max_cycles")  # as PettingZoo's own environments call it
        horizon = limit if isinstance(limit, int) else None
        if horizon is not None:
            within("scenario.environment.parallel_env", 1, 1e9, max_cycles=horizon)
        blocks = {agent: [(each.name, each.size) for each in own] for agent, own in environment.blocks.items()}
        return ParallelGame(_parallel_env(environment), environments, blocks, name=config.name, horizon=horizon)

    from envs.games.smac import SmacGame, available

    missing = available(environment.sc2_path) if environment.backend is Backend.auto else None
    if missing is not None and environment.sc2_path is not None:
        raise GameError(missing)  # whoever names StarCraft II's folder does not want another simulator
    if environment.backend is Backend.smac or (environment.backend is Backend.auto and missing is None):
        return SmacGame(environment.map, environments, hidden, environment.sc2_path)
    from envs.games.smax import SmaxGame

    return SmaxGame(environment.map, environments, hidden)


def make_evaluation_game(config: GameConfig, environments: int) -> Game:
    """The game that results are reported on: the canonical implementation where another one is trained on."""
    if config.environment.suite is Suite.mpe:
        from envs.games.mpe import Mpe2Game

        return Mpe2Game(config.environment.map, environments)
    return make_game(config, environments)


def visible_blocks(config: GameConfig, game: Game) -> list[list[str]]:
    """Each agent's sensed blocks, as its group says; all of them where masks are drawn at random.

    Raises:
        ConfigError: a block is named that no agent has.
        GameError: ``scenario.agents`` does not fit the game.
        SensingError: a group names a block that its agent does not have.
    """
    known = list(dict.fromkeys(block.name for spec in game.specs for block in spec.blocks))
    named = {f"scenario.sensing.{group}": blocks for group, blocks in config.sensing.items()}
    if config.random_mask is not None:
        named["scenario.random_mask.always"] = config.random_mask.always
    for key, blocks in named.items():
        for block in blocks:
            check(key, block, block in known, f"among the blocks {', '.join(known)}")
    if config.random_mask is not None:
        return [[block.name for block in spec.blocks] for spec in game.specs]
    if len(config.agents) != len(game.specs):
        raise GameError(
            f"scenario.agents has {len(config.agents)} entries, but {game.name!r} has {len(game.specs)} agents: "
            "it must name one group for each"
        )
    for spec, group in zip(game.specs, config.agents, strict=True):
        sense(spec, config.sensing[group], group)  # for its sentence, which names the group
    return [list(config.sensing[group]) for group in config.agents]


def always_visible(config: GameConfig, game: Game) -> tuple[str, ...]:
    """Blocks that every agent that has them senses, whatever its group or its random mask."""
    asked = config.random_mask.always if config.random_mask is not None else []
    return (*getattr(game, "always_visible", ()), *asked)


def _hidden_enemies(config: GameConfig) -> tuple[bool, ...]:
    """Whose legal actions may not tell which enemies are near; empty: nobody's."""
    environment = config.environment
    if not environment.leak_free:
        return ()
    if environment.suite is not Suite.smac:
        raise GameError(
            f"scenario.environment.leak_free=True is not allowed with suite {environment.suite.name}: "
            "only smac's legal actions tell of enemies"
        )
    if config.random_mask is not None:
        raise GameError(
            "scenario.environment.leak_free=True is not allowed with scenario.random_mask: it needs sensing groups"
        )
    return tuple("enemy" not in config.sensing[group] for group in config.agents)


def _parallel_env(environment: EnvironmentConfig) -> Callable[[], Any]:
    """Makes the environment that ``parallel_env`` names, the one place where a configuration names code."""
    field = "scenario.environment.parallel_env"
    target = environment.parallel_env.get("_target_")

    def make() -> Any:
        try:
            made = instantiate(environment.parallel_env, _convert_="all")
        except InstantiationException as error:
            reason = " ".join(str(error.__cause__ or error).split())
            raise GameError(f"{field}._target_={target!r} cannot be made with its settings: {reason}") from error
        if not isinstance(made, ParallelEnv):
            raise GameError(
                f"{field}._target_={target!r} makes a {type(made).__name__}: it must make a PettingZoo ParallelEnv"
            )
        return made

    return make
