"""The StarCraft Multi-Agent Challenge (Samvelyan et al. 2019): oxwhirl's package ``smac`` and the StarCraft II program.

Every environment is a StarCraft II process of its own; they are stepped one after another. Actions are those of SMAC:
0 no-op (of the dead alone), 1 stop, 2-5 north, south, east, west, 6+j attack enemy j (medivacs: heal ally j).
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from envs.api import AgentSpec, FeatureBlock
from envs.games.api import Frame, GameError, Transition

NO_OP, STOP, ATTACK = 0, 1, 6  # ATTACK is the first of its kind
_ACTIONS = ("no_op", "stop", "north", "south", "east", "west")
_HOW = "pip install git+https://github.com/oxwhirl/smac.git"


def available(sc2_path: str | None = None) -> str | None:
    """None where SMAC can be played, else the sentence that says what is missing; nothing is started."""
    try:
        importlib.import_module("smac.env").StarCraft2Env  # noqa: B018
    except Exception as error:  # pysc2 and protobuf of unlike age fail in many ways
        return _why_not(error)
    folder = _folder(sc2_path)
    field = "scenario.environment.sc2_path" if sc2_path else "SC2PATH"
    where = f"{field}={str(folder)!r}" + ("" if sc2_path or os.environ.get("SC2PATH") else " (its default)")
    if not (folder / "Versions").is_dir():
        return f"{where} is not allowed: it must be StarCraft II's folder, which holds Versions"
    if not (folder / "Maps" / "SMAC_Maps").is_dir():
        return f"{where} lacks SMAC's maps: copy SMAC_Maps from smac/env/starcraft2/maps of the smac repository to Maps"
    return None


class SmacGame:
    """Satisfies ``envs.games.api.Game``. The reward is SMAC's: all damage, kills and the victory together are 20."""

    has_victory = True
    backend = "smac"
    always_visible = ("move",)  # where an agent can go: no sensing group goes without

    def __init__(
        self,
        map_name: str,
        environments: int,
        hidden_enemies: Sequence[bool] = (),
        sc2_path: str | None = None,
    ) -> None:
        """``hidden_enemies``: agents to whom, while they live, all attacks look legal; empty: none.

        An attack of theirs on an enemy out of reach is carried out as stop. The plain mask tells who is in range.
        """
        if environments < 1:
            raise GameError(f"environments is {environments}; allowed: at least 1")
        if (reason := available(sc2_path)) is not None:
            raise GameError(reason)
        os.environ["SC2PATH"] = str(_folder(sc2_path))  # pysc2 reads it whenever it starts the game
        self.name, self.environments = map_name, environments
        self._envs: list[Any] = []
        idle = self._make(0)  # StarCraft II starts with the first reset
        info = idle.get_env_info()
        self.state_size: int = int(info["state_shape"])
        self.horizon: int = int(info["episode_limit"])
        agents, actions = int(info["n_agents"]), int(info["n_actions"])
        if len(hidden_enemies) not in (0, agents):
            raise GameError(
                f"hidden_enemies has {len(hidden_enemies)} entries, but map {map_name!r} has {agents} agents: "
                "it must have one for each, or none"
            )
        self._hidden = np.array(hidden_enemies or [False] * agents, dtype=np.bool_)  # [N]
        blocks = tuple(
            FeatureBlock(name, int(np.prod(size)), "1", 1.0)
            for name, size in (
                ("move", idle.get_obs_move_feats_size()),
                ("enemy", idle.get_obs_enemy_feats_size()),
                ("ally", idle.get_obs_ally_feats_size()),
                ("own", idle.get_obs_own_feats_size()),
            )
        )
        idle.close()
        names = (*_ACTIONS, *(f"attack_{enemy}" for enemy in range(actions - ATTACK)))
        self.specs = tuple(AgentSpec(f"agent_{i}", "unit", blocks, names, 0) for i in range(agents))
        if self.specs[0].obs_size != info["obs_shape"]:
            raise GameError(
                f"map {map_name!r} has observations of {info['obs_shape']} columns, but its blocks have "
                f"{self.specs[0].obs_size}: this version of smac is not supported"
            )

    def reset(self, seed: int) -> Frame:
        """Starts StarCraft II anew E times: a running game's random numbers cannot be seeded again."""
        self.close()
        self._seed, self._starts = seed, [0] * self.environments
        self._envs = [self._start(e) for e in range(self.environments)]
        return _stack([self._look(e) for e in range(self.environments)])

    def step(self, action: Tensor) -> Transition:
        if not self._envs:
            raise GameError("step was called before reset; allowed: reset first")
        shape = (self.environments,)
        reward = np.zeros(shape, np.float32)
        terminated, truncated, won = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
        lasts, frames = [], []
        for e, chosen in enumerate(action.numpy()):
            env = self._envs[e]
            reward[e], ended, info = env.step(self._carried_out(env, chosen))
            last = self._look(e)
            # Without an outcome, StarCraft II broke down; the episode is cut off like one at its limit.
            truncated[e] = ended and ("battle_won" not in info or bool(info.get("episode_limit")))
            terminated[e] = ended and not truncated[e]
            won[e] = bool(info.get("battle_won"))
            if ended and "battle_won" not in info:
                env.close()  # SMAC's own restart would count the reward's scale twice
                self._envs[e] = self._start(e)
            elif ended:
                env.reset()
            lasts.append(last)
            frames.append(self._look(e) if ended else last)
        return Transition(
            frame=_stack(frames),
            reward=torch.from_numpy(reward),
            terminated=torch.from_numpy(terminated),
            truncated=torch.from_numpy(truncated),
            last=_stack(lasts),
            won=torch.from_numpy(won),
        )

    def close(self) -> None:
        for env in self._envs:
            env.close()
        self._envs = []

    def _make(self, seed: int) -> Any:
        known = importlib.import_module("smac.env.starcraft2.maps.smac_maps").get_smac_map_registry()
        if self.name not in known:
            raise GameError(
                f"scenario.environment.map={self.name!r} is not known to smac: it must be one of {', '.join(known)}"
            )
        # continuing_episode changes one thing: info says when an episode ended at its limit
        smac = importlib.import_module("smac.env")
        return smac.StarCraft2Env(map_name=self.name, seed=seed, continuing_episode=True)

    def _start(self, e: int) -> Any:
        seed = np.random.SeedSequence((self._seed, e, self._starts[e])).generate_state(1)[0]
        self._starts[e] += 1
        env = self._make(int(seed))
        env.reset()
        return env

    def _carried_out(self, env: Any, chosen: Any) -> list[int]:
        """The actions [N] that SMAC is given for the chosen ones."""
        legal = np.array(env.get_avail_actions(), dtype=np.bool_)
        actions = np.where(legal[:, NO_OP], NO_OP, chosen)
        refused = ~legal[np.arange(len(actions)), actions] & self._hidden & (actions >= ATTACK)
        return [int(a) for a in np.where(refused, STOP, actions)]

    def _look(self, e: int) -> Frame:
        """One environment's frame, without the leading dimension."""
        env = self._envs[e]
        mask = np.array(env.get_avail_actions(), dtype=np.bool_)
        alive = ~mask[:, NO_OP]
        mask[self._hidden & alive, ATTACK:] = True
        return Frame(
            obs=torch.from_numpy(np.stack(env.get_obs()).astype(np.float32)),
            action_mask=torch.from_numpy(mask),
            alive=torch.from_numpy(alive),
            state=torch.from_numpy(np.array(env.get_state(), dtype=np.float32)),
        )


def _stack(frames: list[Frame]) -> Frame:
    return Frame(
        obs=torch.stack([frame.obs for frame in frames]),
        action_mask=torch.stack([frame.action_mask for frame in frames]),
        alive=torch.stack([frame.alive for frame in frames]),
        state=torch.stack([frame.state for frame in frames]),
    )


def _folder(sc2_path: str | None) -> Path:
    return Path(sc2_path or os.environ.get("SC2PATH") or "~/StarCraftII").expanduser()


def _why_not(error: Exception) -> str:
    """The sentence for a failed import of smac."""
    found = importlib.util.find_spec("smac")
    if found is None:
        return (
            f"the package 'smac' (StarCraft Multi-Agent Challenge) is not installed: {_HOW}, with StarCraft II in the "
            "folder that SC2PATH or scenario.environment.sc2_path names"
        )
    folders = [Path(place) for place in found.submodule_search_locations or ()]
    if any((folder / "facade").exists() for folder in folders):
        return (
            "the installed package 'smac' is the AutoML optimiser SMAC3 of PyPI, not the StarCraft Multi-Agent "
            f"Challenge: pip uninstall smac, then {_HOW}"
        )
    reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    return (
        f"the installed package 'smac' cannot be imported ({reason}): where protobuf is the reason, set the "
        "environment variable PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python"
    )
