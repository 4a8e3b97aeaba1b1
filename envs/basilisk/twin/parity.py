"""The twin held against Basilisk: every action of a flight, flown in both from the same state."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from bsk_rl.scene.targets import Target
from numpy.typing import NDArray

from envs.api import Policy
from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.episode import Episode
from envs.basilisk.satellites import WATT_HOUR_J
from envs.basilisk.twin import layout
from envs.basilisk.twin.library import library
from envs.basilisk.twin.state import state_of
from envs.basilisk.twin.tables import Tables, tables
from scenarios.mission import ScenarioConfig

_FIXED = {"charge": layout.CHARGE, "downlink": layout.DOWNLINK, "desat": layout.DESAT}


@dataclass
class Parity:
    """What was found over the actions of some flights. Errors are at the ends of actions that end in the same tick."""

    actions: int = 0
    images: int = 0  # attempts at one
    same_outcome: int = 0  # of those: taken in both, or in neither
    ticks_apart: list[int] = field(default_factory=list)  # of the actions' ends
    attitude_mrp: list[float] = field(default_factory=list)  # largest component
    rate_rad_s: list[float] = field(default_factory=list)
    wheels_rad_s: list[float] = field(default_factory=list)
    battery_Wh: list[float] = field(default_factory=list)
    buffer_bits: list[int] = field(default_factory=list)

    @property
    def exact(self) -> float:
        """Share of the actions that end in the same tick."""
        return float(np.mean(np.array(self.ticks_apart) == 0))

    @property
    def worst_tick(self) -> int:
        return max(map(abs, self.ticks_apart))

    def rms(self, name: str) -> float:
        return float(np.sqrt(np.mean(np.square(getattr(self, name)))))

    def largest(self, name: str) -> float:
        return float(np.max(getattr(self, name)))


@dataclass(frozen=True, slots=True)
class _Flown:
    """An action as the twin flew it."""

    end: NDArray[np.void]
    captured: int | None  # None: no image was tried; -1: none came off
    images_before: int


def compare(config: ScenarioConfig, policy: Policy, seed: int, into: Parity) -> None:
    """Fly one episode in Basilisk; each action also on the twin, from the state at its decision."""
    env = ConstellationEnv(config)
    step = env.reset([seed])
    policy.reset([seed])
    episode = env.episode(0)
    fleet = tables(config, episode.constellation)
    under_way: dict[int, _Flown] = {}
    while not (step.terminated | step.truncated).all():
        actions = policy.act(step)
        for row in np.nonzero(step.active[0])[0].tolist():
            now = state_now(episode, row, fleet)
            if row in under_way:
                _judge(under_way[row], now, int(episode.constellation.satellites[row].imaged), into)
            under_way[row] = _fly(episode, row, fleet, now, int(actions[0, row]))
        step = env.step(actions)
    env.close()


def state_now(episode: Episode, row: int, fleet: list[Tables]) -> NDArray[np.void]:
    """A satellite's state in Basilisk."""
    satellite = episode.constellation.satellites[row]
    pursued = satellite.running
    running = episode.features.knowledge.index_of(pursued) if isinstance(pursued, Target) else None
    return state_of(satellite, fleet[row], running, ())


def _fly(episode: Episode, row: int, fleet: list[Tables], now: NDArray[np.void], action: int) -> _Flown:
    fixed, state = episode.constellation.config.actions.fixed, now.copy()
    before = int(episode.constellation.satellites[row].imaged)
    if action < len(fixed):
        library().tw_wait(fleet[row].address, state.ctypes.data, _FIXED[fixed[action]])
        return _Flown(state, None, before)
    target, close_s = episode.features.opportunity(row, action - len(fixed))
    local = int(np.searchsorted(fleet[row].target, episode.features.knowledge.index_of(target)))
    captured = library().tw_image(fleet[row].address, state.ctypes.data, local, close_s)
    return _Flown(state, captured, before)


def _judge(flown: _Flown, now: NDArray[np.void], images: int, into: Parity) -> None:
    twin = flown.end
    into.actions += 1
    if flown.captured is not None:
        into.images += 1
        into.same_outcome += (images > flown.images_before) == (flown.captured >= 0)
    apart = int(now["tick"]) - int(twin["tick"])
    into.ticks_apart.append(apart)
    if apart != 0:
        return
    sigma = now["sigma"]
    shadow = -sigma / max(1e-12, float(np.sum(sigma**2)))  # the same attitude
    into.attitude_mrp.append(min(float(np.abs(twin["sigma"] - each).max()) for each in (sigma, shadow)))
    into.rate_rad_s.append(float(np.abs(twin["omega"] - now["omega"]).max()))
    into.wheels_rad_s.append(float(np.abs(twin["wheels"] - now["wheels"]).max()))
    into.battery_Wh.append(abs(float(twin["battery_J"] - now["battery_J"])) / WATT_HOUR_J)
    into.buffer_bits.append(abs(int(twin["bits"]) - int(now["bits"])))
