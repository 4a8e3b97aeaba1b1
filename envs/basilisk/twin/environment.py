"""Many episodes of a mission on the twin, as a ``VectorEnv``: the same observations, masks, rewards and critic's view
as ``envs.basilisk.environment.ConstellationEnv``, some hundred times as fast."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from envs.api import AgentSpec, IntArray, Step
from envs.basilisk.clock import nanoseconds
from envs.basilisk.clouds import draw_sky
from envs.basilisk.episode_result import EpisodeResult
from envs.basilisk.features import (
    DUE_MOST_S,
    PASS_SCALE,
    STATE_HORIZONS_S,
    TIME_SCALE,
    agent_specs,
    hardware_columns,
    state_size,
)
from envs.basilisk.features import shuffled as without_order
from envs.basilisk.satellites import WATT_HOUR_J
from envs.basilisk.twin.episode_layout import BLOCKS, EPISODE, MISSION, SLOTS
from envs.basilisk.twin.library import library
from envs.basilisk.twin.mirrored import check_mirrored
from envs.basilisk.twin.tables import Tables
from envs.basilisk.twin.worlds import World, global_numbers
from scenarios.communication import Communication
from scenarios.constellation import HardwareConfig
from scenarios.mission import ScenarioConfig
from scenarios.orbits import EARTH_RADIUS_M, period_s

_COMMUNICATION = {Communication.none: 0, Communication.free: 1, Communication.line_of_sight: 2}
_STREAM = 7  # of an episode's draws
_GOLDEN = 0x9E3779B97F4A7C15  # 2**64 over the golden ratio: unlike beginnings for unlike seeds
_WHEELS_RAD_S = 1500.0 * 2.0 * np.pi / 60.0  # BSK-RL's range of initial wheel speeds
_TUMBLE_RAD_S = 1e-4


class TwinEnv:
    """Episodes of a mission on worlds that were made before; an episode is a function of its seed and the worlds."""

    def __init__(self, config: ScenarioConfig, worlds: Sequence[World], training: bool = True) -> None:
        """
        Args:
            config: the mission.
            worlds: each episode takes place in one of them, drawn by its seed.
            training: draw each episode's length from ``training_duration_s`` where the mission has one.

        Raises:
            ConfigError: the mission has something that the twin lacks.
            onboard.runners.BuildError: the C engine cannot be built here.
        """
        check_mirrored(config)
        library()
        self.config, self._worlds, self._training = config, worlds, training
        self.specs: tuple[AgentSpec, ...] = agent_specs(config)
        self.state_size = state_size(config)
        self._flights: list[Flight] = []

    def reset(self, seeds: Sequence[int]) -> Step:
        self._flights = [self._flight(seed) for seed in seeds]
        return self._step(None)

    def replay(self, indices: Sequence[int]) -> Step:
        """Begin the very episodes that Basilisk drew with the worlds, in the order of closing times."""
        self._flights = [Flight(self.config, self.specs, self._worlds[index], None, False) for index in indices]
        return self._step(None)

    def step(self, actions: IntArray) -> Step:
        """actions [E, N]; episodes that have ended stay as they are, with no reward and no duration."""
        return self._step(np.ascontiguousarray(actions, np.int64))

    def results(self) -> list[EpisodeResult]:
        return [flight.result() for flight in self._flights]

    def flight(self, index: int) -> Flight:
        """The episode behind row ``index``, for planning in it."""
        return self._flights[index]

    def close(self) -> None:
        """Let go of the episodes."""
        self._flights = []

    def _flight(self, seed: int) -> Flight:
        rng = np.random.default_rng([seed, _STREAM])
        world = self._worlds[int(rng.integers(len(self._worlds)))]
        return Flight(self.config, self.specs, world, rng, self._training, seed)

    def _step(self, actions: NDArray[np.int64] | None) -> Step:
        count, satellites, spec = len(self._flights), len(self.specs), self.specs[0]
        obs = np.empty((count, satellites, spec.obs_size), np.float32)
        mask = np.empty((count, satellites, len(spec.actions)), np.bool_)
        active, alive = np.empty((2, count, satellites), np.bool_)
        reward, duration_s = np.empty((2, count), np.float32)
        ended = np.empty(count, np.uint8)
        state = np.empty((count, satellites, self.state_size), np.float32)
        health = np.empty((count, satellites, 4), np.float32)
        records = np.array([flight.address for flight in self._flights], np.uint64)
        outputs = (obs, mask, active, alive, reward, duration_s, ended, state, health)
        library().tw_step_all(
            records.ctypes.data,
            count,
            None if actions is None else actions.ctypes.data,
            *(output.ctypes.data for output in outputs),
        )
        return Step(obs, mask, active, alive, reward, duration_s, ended == 2, ended == 1, state, health)


class Flight:
    """One episode: the engine's record, and the arrays that it works on."""

    def __init__(
        self,
        config: ScenarioConfig,
        specs: Sequence[AgentSpec],
        world: World,
        rng: np.random.Generator | None,
        training: bool,
        seed: int = 0,
    ) -> None:
        """``rng`` draws the episode anew in the world's geometry; None: as Basilisk drew it."""
        self.config, self.world, self.seed = config, world, seed
        count, targets = len(world.fleet), world.targets
        self.fleet = [_own(each) for each in world.fleet]
        self.priority, self.chance = world.priority.copy(), world.cloud_chance.copy()
        self.clouded = world.clouded.copy()
        self.states = world.first.copy()
        if rng is not None:
            self._draw(rng, training)
        for each in self.fleet:
            each.arrays["priority"][:] = self.priority[each.target]
        self._in_order = rng is None
        self._mission = _mission(config, specs, targets)
        self._arrays = self._allocated(count, targets)
        self._records = np.array([each.record for each in self.fleet])  # one behind the other, as the engine reads them
        self._record = np.zeros((), EPISODE)
        self._bind()
        self._record["random"] = np.uint64((seed * 2 + 1) & (2**63 - 1))
        self._record["losses"] = np.uint64((seed * 2 + 1) * _GOLDEN % 2**64)  # odd, so never 0
        library().tw_start(self.address)

    @property
    def address(self) -> int:
        return int(self._record.ctypes.data)

    def state(self, row: int) -> NDArray[np.void]:
        """A copy of a satellite's state."""
        return self.states[row : row + 1].copy().reshape(())

    def known(self, name: str) -> NDArray[np.bool_]:
        """A set of targets: "anyone" has imaged it [M]; each satellite "imaged", "saw_clouds" or "cued" it [N, M]."""
        bits = np.unpackbits(self._arrays[name].view(np.uint8), axis=-1, bitorder="little")
        return bits[..., : self.world.targets].astype(np.bool_)

    def offered(self, row: int) -> NDArray[np.int32]:
        """The windows in a satellite's slots."""
        return self._arrays["offered"][row, : int(self._arrays["offers"][row])]  # type: ignore[return-value]

    def result(self) -> EpisodeResult:
        record, arrays = self._record, self._arrays
        limit_s = float(self.fleet[0].record["limit_ns"]) * 1e-9
        duration_s = float(record["tick"]) * float(self.fleet[0].record["tick_s"])
        orbits = duration_s / period_s(EARTH_RADIUS_M + self.config.constellation.altitude_km * 1e3)
        return EpisodeResult(
            seed=self.seed,
            captured=float(record["captured"]),
            available=float(self.priority[self._accessible(limit_s)].sum()),
            captured_by=tuple(arrays["captured_by"].tolist()),
            images=tuple(arrays["images"].tolist()),
            duplicates=int(record["duplicates"]),
            deaths=int(record["deaths"]),
            decisions=tuple(arrays["decisions"].tolist()),
            charges=tuple(arrays["charges"].tolist()),
            duration_s=duration_s,
            spoiled=int(record["spoiled"]),
            sent_bits=tuple(arrays["sent_bits"].tolist()),
            bits_per_orbit=tuple(bits / orbits if orbits > 0 else 0.0 for bits in arrays["sent_bits"].tolist()),
        )

    def _accessible(self, until_s: float) -> NDArray[np.bool_]:
        reached = np.zeros(self.world.targets, np.bool_)
        for each in self.fleet:
            targets = each.target[each.arrays["window_target"]]
            shown = ~self.clouded[targets] | (not each.record["needs_clear_view"])
            reached[targets[(each.arrays["window_open"] < until_s) & shown]] = True
        return reached

    def _draw(self, rng: np.random.Generator, training: bool) -> None:
        """Everything but the geometry anew, as Basilisk and the mission draw it."""
        config, count = self.config, len(self.fleet)
        if config.targets.file is None:
            self.priority = rng.uniform(0.0, 1.0, self.world.targets) ** config.targets.priority_exponent
        if config.clouds is not None:
            sky = draw_sky(config.clouds, self.world.target_P, rng)
            self.clouded, self.chance = sky.clouded, sky.chance
        low, high = (config.training_duration_s if training else None) or (config.duration_s, config.duration_s)
        limit_ns = nanoseconds(rng.uniform(low, high))
        self.states["sigma"] = rng.uniform(0.0, 1.0, (count, 3))
        outside = np.sum(self.states["sigma"] ** 2, axis=-1) > 1.0
        self.states["sigma"][outside] /= -np.sum(self.states["sigma"][outside] ** 2, axis=-1, keepdims=True)
        self.states["omega"] = rng.uniform(-_TUMBLE_RAD_S, _TUMBLE_RAD_S, (count, 3))
        self.states["wheels"] = rng.uniform(-_WHEELS_RAD_S, _WHEELS_RAD_S, (count, 3))
        for each, hardware, row in zip(self.fleet, _classes(config, count), range(count), strict=True):
            low, high = hardware.initial_charge
            self.states["battery_J"][row] = rng.uniform(low, high) * hardware.battery_Wh * WATT_HOUR_J
            direction = rng.normal(size=3)
            each.record["disturbance"] = hardware.disturbance_torque_Nm * direction / np.linalg.norm(direction)
            each.record["limit_ns"] = limit_ns

    def _allocated(self, count: int, targets: int) -> dict[str, NDArray[np.generic]]:
        world, config = self.world, self.config
        last_close = np.full((count, targets), -np.inf)
        local = np.full((count, targets), -1, np.int32)
        for row, each in enumerate(self.fleet):
            np.maximum.at(last_close[row], each.target[each.arrays["window_target"]], each.arrays["window_close"])
            local[row, each.target] = np.arange(len(each.target))
        close = np.concatenate([each.arrays["window_close"] for each in self.fleet])
        order = np.argsort(close, kind="stable")
        sizes = [len(each.arrays["window_close"]) for each in self.fleet]
        target = np.concatenate([each.target[each.arrays["window_target"]] for each in self.fleet])
        words = (targets + 63) // 64
        sets = ("imaged", "saw_clouds", "cued", "left_out")
        return {
            "global": global_numbers(world),
            "local": local,
            "target_P": np.ascontiguousarray(world.target_P),
            "priority": np.ascontiguousarray(self.priority),
            "cloud_chance": np.ascontiguousarray(self.chance),
            "clouded": self.clouded.astype(np.uint8),
            "due": np.ascontiguousarray(world.due_s),
            "last_close": last_close,
            "all_open": np.concatenate([each.arrays["window_open"] for each in self.fleet])[order],
            "all_close": close[order],
            "all_target": target[order].astype(np.int32),
            "all_row": np.repeat(np.arange(count, dtype=np.int32), sizes)[order],
            "deadline_ns": np.zeros(count, np.int64),
            "alive": np.zeros(count, np.uint8),
            "asked": np.zeros(count, np.uint8),
            **{name: np.zeros((count, words), np.uint64) for name in sets},
            "before": np.zeros((3, count, words), np.uint64),
            "anyone": np.zeros(words, np.uint64),
            "delivered": np.zeros(words, np.uint64),
            "offered": np.zeros((count, SLOTS), np.int32),
            "offers": np.zeros(count, np.int32),
            "images": np.zeros(count, np.int32),
            "decisions": np.zeros(count, np.int32),
            "charges": np.zeros(count, np.int32),
            "captured_by": np.zeros(count),
            "intent": np.full((count, count), -1, np.int32),
            "intent_s": np.full((count, count), -np.inf),
            "sent_bits": np.zeros(count, np.int64),
            "hardware": hardware_columns(_classes(config, count)),
            "needs_light": np.array([h.needs_light for h in _classes(config, count)], np.uint8),
            "scout": np.array([h.scout for h in _classes(config, count)], np.uint8),
            "shuffled": (without_order(config) & (not self._in_order)).astype(np.uint8),
        }

    def _bind(self) -> None:
        record, arrays, mission = self._record, self._arrays, self._mission
        for name in ("hardware", "needs_light", "scout", "shuffled"):
            mission[name] = arrays[name].ctypes.data
        record["mission"], record["fleet"] = mission.ctypes.data, self._records.ctypes.data
        record["all_windows"] = len(arrays["all_close"])
        record["x"] = self.states.ctypes.data
        for name in EPISODE.names or ():
            if name in arrays:
                record[name] = arrays[name].ctypes.data


def _own(each: Tables) -> Tables:
    """Tables whose record and priorities may be changed; the geometry is shared."""
    arrays = {**each.arrays, "priority": each.arrays["priority"].copy()}
    return Tables.bound(each.record.copy(), arrays, each.target)


def _classes(config: ScenarioConfig, count: int) -> list[HardwareConfig]:
    """The hardware of each satellite."""
    return [config.hardware[member.hardware] for member in config.constellation.members[:count]]


def _mission(config: ScenarioConfig, specs: Sequence[AgentSpec], targets: int) -> NDArray[np.void]:
    spec, names = specs[0], config.actions.fixed
    record = np.zeros((), MISSION)
    record["satellites"], record["targets"] = len(specs), targets
    record["fixed"], record["slots"] = len(names), spec.slots
    record["downlink"] = names.index("downlink") if "downlink" in names else -1
    record["desat"] = names.index("desat") if "desat" in names else -1
    record["blocks"], record["obs_size"], record["state_size"] = len(spec.blocks), spec.obs_size, state_size(config)
    for place, block in enumerate(spec.blocks):
        record["block"][place], record["scale"][place] = BLOCKS.index(block.name), block.scale
    record["communication"] = _COMMUNICATION[config.communication.mode]
    record["intent_bits"] = config.communication.bits_per_decision
    record["intent_loss"] = config.communication.intent_loss
    for name in ("storage", "station", "wheels"):
        record[f"state_{name}"] = name in config.blocks
    record["death_penalty"], record["urgent_above"] = config.death_penalty, config.targets.urgent_above
    record["near_s"], record["far_s"] = STATE_HORIZONS_S
    record["time_scale"], record["pass_scale"] = TIME_SCALE, PASS_SCALE
    record["due_most_s"] = DUE_MOST_S
    return record
