"""SMAX (jaxmarl): StarCraft micromanagement without StarCraft II, against jaxmarl's scripted enemies.

Shapes: E environments, N agents (allies), U units of both sides, O observation columns, A actions, S state columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from envs.api import AgentSpec, FeatureBlock
from envs.games.api import Frame, GameError, Transition
from envs.games.jax_bridge import Lockstep, load

HORIZON = 100  # steps
_MOVES = ("north", "east", "south", "west", "stop")  # SMAX's first actions; attacks follow
_STOP = _MOVES.index("stop")
_SHARES = 0x73686172  # keeps the draws of the enemies' health apart from SMAX's own


class SmaxGame:
    """E battles on one map.

    The reward is SMAX's, the same for all allies: the share of the enemies' health that was lost, and 1 on a victory.
    A won battle returns exactly 2; times 10 that is SMAC's scale, on which it returns 20. If both sides die at once the
    battle is over and not won.

    The action mask shows an agent which enemies are in its range even if it does not sense enemies, in SMAX as in
    SMAC. ``hidden_enemies[n]`` closes that leak: all attacks are legal for agent n while it lives. An attack on an
    enemy that is dead, or out of range when the agent decides, is carried out as "stop", so the switch changes what
    agents know and nothing else. (SMAX itself would hit an enemy that comes into range in the course of the step.)
    """

    backend = "smax"
    has_victory = True
    horizon = HORIZON

    def __init__(self, map_name: str, environments: int, hidden_enemies: Sequence[bool] = ()) -> None:
        jax, jnp = load("jax"), load("jax.numpy")
        maps = load("jaxmarl.environments.smax.smax_env").MAP_NAME_TO_SCENARIO
        # On SMACv2's maps a unit's type changes from battle to battle: agents there have no hardware of their own.
        fixed = [name for name, scenario in maps.items() if not scenario.smacv2_unit_type_generation]
        if map_name not in fixed:
            raise GameError(f"SMAX has no map {map_name!r}; allowed: {', '.join(sorted(fixed))}")
        env = load("jaxmarl").make(
            "HeuristicEnemySMAX",
            scenario=maps[map_name],
            see_enemy_actions=True,
            walls_cause_death=True,
            attack_mode="closest",
            max_steps=HORIZON - 1,  # jaxmarl compares the limit with the number of steps before this one
        )
        agents = env.num_allies
        hidden = np.asarray(hidden_enemies or (False,) * agents, dtype=np.bool_)
        if hidden.shape != (agents,):
            raise GameError(f"hidden_enemies has {len(hidden)} entries; allowed: none, or {agents} on {map_name}")

        self.name = map_name
        self.environments = environments
        self.state_size = int(env.state_size)
        self.specs = _specs(env)
        types = np.asarray(env.scenario)
        cooldowns = np.asarray(env.unit_type_weapon_cooldowns)[types]
        width = len(env.own_features)

        def view(state: Any) -> tuple[Any, Any, Any, Any]:
            battle = state.state
            obs = env.get_obs(state)
            mask = legal(state)
            alive = battle.unit_alive[:agents]
            attacks = jnp.arange(mask.shape[1]) > _STOP
            mask = mask | (hidden[:, None] & alive[:, None] & attacks)
            return jnp.stack([obs[agent] for agent in env.agents]), mask, alive, scaled(env.get_world_state(state))

        def legal(state: Any) -> Any:
            available = env.get_avail_actions(state)
            return jnp.stack([available[agent] for agent in env.agents]).astype(bool)

        def scaled(world_state: Any) -> Any:
            units = world_state[: len(types) * width].reshape(len(types), width)
            position = units[:, 1:3] / jnp.array([env.map_width, env.map_height], jnp.float32)
            # A cooldown below 0 means what 0 means, ready to fire, and would fall without end.
            cooldown = jnp.maximum(units[:, 3:4], 0.0) / cooldowns[:, None]
            units = jnp.concatenate([units[:, :1], position, cooldown, units[:, 4:]], axis=1)
            teams, kinds = world_state[len(types) * width :].reshape(2, len(types))
            return jnp.concatenate([units.ravel(), teams, kinds / (env.unit_type_bits - 1)]).astype(jnp.float32)

        def advance(key: Any, state: Any, action: Any) -> tuple[Any, Any, Any, Any, Any]:
            permitted = jnp.take_along_axis(legal(state), action[:, None], axis=1)[:, 0]
            action = jnp.where(permitted, action, _STOP)
            _, state, rewards, dones, _ = env.step_env(key, state, dict(zip(env.agents, action, strict=True)))
            allies = jnp.any(state.state.unit_alive[:agents])
            enemies = jnp.any(state.state.unit_alive[agents:])
            over = ~allies | ~enemies
            return state, rewards[env.agents[0]], over, dones["__all__"] & ~over, allies & ~enemies

        def start(key: Any, lowest: Any) -> Any:
            begun, apart = env.reset(key)[1], jax.random.fold_in(key, _SHARES)
            share = jax.random.uniform(apart, minval=lowest, maxval=1.0)
            enemy = jnp.arange(len(types)) >= agents
            health = begun.state.unit_health * jnp.where(enemy, share, 1.0)
            return begun.replace(state=begun.state.replace(unit_health=health))

        self.lockstep = Lockstep(environments, start, advance, view)

    def weaken(self, lowest: float) -> None:
        """From the next reset on, the enemies of each battle begin it with a share of their health.

        Args:
            lowest: the share is drawn uniformly from [lowest, 1]; 1: SMAX's own battles, to the bit.
        """
        self.lockstep.hardness = lowest

    def reset(self, seed: int) -> Frame:
        return self.lockstep.reset(seed)

    def step(self, action: Tensor) -> Transition:
        return self.lockstep.step(action)

    def close(self) -> None:
        """Nothing to let go of."""


def _specs(env: Any) -> tuple[AgentSpec, ...]:
    sizes = {
        "ally": len(env.unit_features) * (env.num_allies - 1),
        "enemy": len(env.unit_features) * env.num_enemies,
        "own": len(env.own_features),
    }
    return tuple(
        AgentSpec(
            name=agent,
            hardware=env.unit_type_names[int(env.scenario[index])],
            blocks=tuple(FeatureBlock(name, size, "1", 1.0) for name, size in sizes.items()),
            fixed_actions=(*_MOVES, *(f"attack_{enemy}" for enemy in range(env.num_enemies))),
            slots=0,
        )
        for index, agent in enumerate(env.agents)
    )
