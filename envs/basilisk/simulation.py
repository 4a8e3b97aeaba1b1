"""One constellation in Basilisk, advanced from decision to decision.

BSK-RL builds the models and keeps the books; this module replaces its main loop and isolates its side effects.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from bsk_rl.gym import GeneralSatelliteTasking
from bsk_rl.sats import AccessSatellite
from numpy.typing import NDArray

from envs.api import BoolArray
from envs.basilisk.clock import limit_ns, nanoseconds
from envs.basilisk.communicators import COMMUNICATORS
from envs.basilisk.elements import KeplerOrbit, orbits
from envs.basilisk.extensions import reward_rule
from envs.basilisk.faults import Spells
from envs.basilisk.images import ImageData, ImageReward
from envs.basilisk.limits import slack_s
from envs.basilisk.models import imager_type, satellite_args
from envs.basilisk.orbits import CircularOrbit, drawn_orbits, earth_angle_rad
from envs.basilisk.reach import check_reach, nothing_in_reach
from envs.basilisk.satellites import (
    DOWNLINK,
    ECLIPSE_LOOKAHEAD_S,
    TRAJECTORY_STEP_S,
    WATT_HOUR_J,
    Imager,
    names_of,
)
from envs.basilisk.snapshot import Snapshot, snapshot
from envs.basilisk.support_data import bootstrap, check_epoch, parse_epoch
from envs.basilisk.targets import (
    Cities,
    FromFile,
    GroundTarget,
    GroundTargets,
    TrackClusters,
    Uniform,
)
from envs.basilisk.trace import SAMPLE_S
from envs.basilisk.vizard import Film
from envs.basilisk.world import world_args
from scenarios.communication import Communication
from scenarios.files.mission import catalogue_numbers
from scenarios.mission import ScenarioConfig
from scenarios.orbits import BEYOND_S


@contextlib.contextmanager
def numpy_seeded(seed: int) -> Iterator[None]:
    """BSK-RL draws from numpy's global generator: seed it for the duration and give the caller's state back."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)


class Constellation(GeneralSatelliteTasking):  # type: ignore[misc]  # bsk_rl is untyped
    """A mission's satellites, targets, reward and communication as one Basilisk simulation."""

    satellites: list[Imager]
    scenario: GroundTargets

    def __init__(self, config: ScenarioConfig, training: bool = False, filmed: bool = False) -> None:
        """
        Args:
            config: the mission.
            training: draw the time limit from ``training_duration_s`` where the mission has one.
            filmed: keep each episode for Vizard (``film``).
        """
        bootstrap(config.support_data_dir)
        longest_s = max([config.duration_s, *(config.training_duration_s or [])])
        ahead_s = BEYOND_S + ECLIPSE_LOOKAHEAD_S + 2 * TRAJECTORY_STEP_S
        check_epoch(config.epoch_utc, longest_s + ahead_s, config.support_data_dir)
        check_reach(config)
        # Upstream's logger warns at each new environment of a process.
        logging.getLogger("bsk_rl").setLevel(logging.ERROR)
        self.config = config
        self.sensing_classes = config.constellation.members
        self.capacity_J = np.array(
            [config.hardware[member.hardware].battery_Wh * WATT_HOUR_J for member in self.sensing_classes]
        )
        imagers = []
        numbers = catalogue_numbers(config.constellation)
        for member, name, number in zip(self.sensing_classes, names_of(config), numbers, strict=True):
            hardware = config.hardware[member.hardware]
            imager = imager_type(config, hardware)(name, satellite_args(hardware))
            imager.hardware, imager.hardware_name, imager.catalogue_number = hardware, member.hardware, number
            imager.step_s = config.sim_step_s
            imagers.append(imager)
        super().__init__(
            satellites=imagers,
            scenario=ground_targets(config),
            rewarder=ImageReward(reward_rule(config), config.reward.at),
            world_args=world_args(config),
            communicator=COMMUNICATORS[config.communication.mode](),
            sat_arg_randomizer=lambda sats: draw_orbits(config, self.scenario, self.time_limit, sats),
            sim_rate=config.sim_step_s,
            time_limit=lambda: draw_time_limit_s(config, training),
            log_level="ERROR",
        )
        self.film: Film | None = None
        self.watch: Callable[[], None] | None = None  # called every SAMPLE_S within an action
        if filmed:
            self.scenario.built = self._begin_film

    def _begin_film(self) -> None:
        self.film = Film(self.config.sim_step_s, self.satellites, self.targets)

    def reset(self, seed: int) -> None:
        """Build the episode that ``seed`` determines."""
        self._untold = False  # news that the others have not heard of
        for satellite in self.satellites:
            # Upstream adds a filter at every reset and never drops one.
            satellite.access_filter_functions = satellite.access_filter_functions[:1]
        with numpy_seeded(seed):
            super().reset(seed=seed)
        if self.film:
            self.film.develop()
        self._check_reach()
        self._sightings = [self._urgent_in_view(satellite) for satellite in self.satellites]

    def _check_reach(self) -> None:
        """
        Raises:
            ConfigError: nobody can image any target of the mission's file, wherever the same orbits begin again.
        """
        config = self.config
        fixed = config.constellation.file is not None or not config.constellation.random_start
        fixed &= self.time_limit >= config.duration_s  # a shorter episode, drawn for training, may well find nothing
        windows = (satellite.windows.open_s for satellite in self.satellites)
        if config.targets.file is not None and fixed and not any((opens < self.time_limit).any() for opens in windows):
            raise nothing_in_reach(config)

    def _randomize_time_limit(self) -> None:
        """In whole ticks, as upstream's, but for what a quotient of seconds is rounded by."""
        self.tick_ns = nanoseconds(self.sim_rate)
        self.limit_ns = limit_ns(self.time_limit_generator(), self.sim_rate)
        self.time_limit = self.limit_ns / 1e9

    def _get_obs(self) -> tuple[()]:
        return ()  # features.py builds ours

    @property
    def time_s(self) -> float:
        return float(self.simulator.sim_time)

    def snapshot(self) -> Snapshot:
        """Its physical state now."""
        return snapshot(self.satellites, self.simulator.world, self.capacity_J, self.time_s)

    @property
    def targets(self) -> list[GroundTarget]:
        return self.scenario.targets

    def advance(self, failure_s: NDArray[np.float64], outage: Spells) -> tuple[dict[str, float], float]:
        """Run until the first running action ends, a satellite fails or is lost, or to the time limit.

        Args:
            failure_s: [N] when each satellite fails; infinite: never.
            outage: when nobody hears of another.

        Returns:
            the priority earned, by satellite (those that earned nothing may be left out), and the seconds that passed.
        """
        start_s = self.time_s
        if self.film:
            self.film.pursue()
        captured = self._run_until_decision(failure_s)
        if self.film:
            self.film.capture(captured, self.simulator.sim_time_ns)
        for satellite, failed in zip(self.satellites, self.has_failed(failure_s), strict=True):
            if failed and satellite.is_alive():
                satellite.fail()
        dead = [s for s in self.satellites if not s.is_alive()]
        # Nobody else's storage has changed: asking all of them at every step costs N^2 in an episode.
        others = (s for s in self.satellites if (s in dead or s.running == DOWNLINK) and s not in captured)
        changed = {s.name: s.data_store.update_from_logs() for s in [*captured, *others]}
        earned: dict[str, float] = self.rewarder.reward(changed)
        self._untold |= any(new.imaged or new.clouded for new in changed.values())
        self._scout()
        relayed = self.config.communication.mode is Communication.line_of_sight  # old news finds new ways
        if not outage.holds(self.time_s):
            if self._untold or relayed:
                self.communicator.communicate()
                self._untold = False
        elif relayed:
            self.communicator.forget()  # a sight during an outage is none
        for satellite in dead:
            satellite.retire()
        return earned, self.time_s - start_s

    def has_failed(self, failure_s: NDArray[np.float64]) -> BoolArray:
        """[N] Whether each satellite's time to fail has come."""
        now_ns = self.simulator.sim_time_ns
        return np.array([nanoseconds(fails_s) <= now_ns for fails_s in failure_s.tolist()], dtype=np.bool_)

    def hearers(self, row: int, outage: Spells) -> BoolArray:
        """[N] Who hears what a satellite sends at this moment: the living in its reach, unless crosslinks are out."""
        sender, mode = self.satellites[row], self.config.communication.mode
        heard = np.array([satellite.is_alive() for satellite in self.satellites])
        heard[row] = False
        if mode is Communication.none or outage.holds(self.time_s):
            heard[:] = False
        elif mode is Communication.line_of_sight:
            heard &= sender.sees([satellite.name for satellite in self.satellites])
        return heard

    def _urgent_in_view(self, satellite: Imager) -> list[tuple[float, GroundTarget]]:
        """When a scout comes to see which urgent target, the last one first; of others, nothing."""
        if not satellite.hardware.scout:
            return []
        windows, above = satellite.windows, self.config.targets.urgent_above
        opens = ((open_s, self.targets[index]) for open_s, index in zip(windows.open_s, windows.target, strict=True))
        sightings = [
            (float(open_s), target)
            for open_s, target in opens
            if target.priority >= above and satellite.data_store.shows(target)
        ]
        return sorted(sightings, key=lambda sighting: -sighting[0])

    def _scout(self) -> None:
        """What scouts have seen since they were last asked becomes news of theirs."""
        for satellite, sightings in zip(self.satellites, self._sightings, strict=True):
            cued = set()
            while sightings and sightings[-1][0] <= self.time_s:
                cued.add(sightings.pop()[1])
            if cued and satellite.is_alive():
                satellite.data_store.data += ImageData(cued=cued)
                self._untold = True

    def _run_until_decision(self, failure_s: NDArray[np.float64]) -> list[Imager]:
        """Step Basilisk tick by tick until some satellite's action has ended, or one fails or crosses a limit; returns
        those that captured an image.

        As with upstream's events, an action ends at the first tick at or after its deadline, or at the tick at which
        its image has reached the storage. One flaw is not copied: an image that is triggered in the very tick of the
        deadline takes one more tick to be stored; upstream retasks the satellite in between, credits the image to the
        next target and leaves the shutter open. Here the action waits for its image. Nor is another: upstream asks
        only at decisions whether a satellite lives, so that an empty battery that fills up again goes unnoticed.
        """
        simulator = self.simulator.TotalSim
        begun_ns, tick_ns, limit_ns = simulator.CurrentNanos, self.tick_ns, self.limit_ns
        living = [s for s in self.satellites if s.is_alive()]
        deadlines_ns = [min(nanoseconds(s.deadline_s), limit_ns) for s in living]
        # Reading a Basilisk message costs more than reading the controller's flag, which is set one tick earlier.
        imaging = [(s, s.fsw.insControl, ns) for s, ns in zip(living, deadlines_ns, strict=True) if s.imaging]
        in_flight: list[Imager] = []
        fails_ns = (nanoseconds(fails_s) for fails_s in failure_s.tolist())
        failure_ns = min((ns for ns in fails_ns if ns > begun_ns), default=limit_ns)
        deadline_ns = min(limit_ns, failure_ns, *deadlines_ns)
        looks_ns = [self._next_look_ns(s) for s in living]
        pause_ns = max(1, nanoseconds(SAMPLE_S) // tick_ns) * tick_ns if self.watch else limit_ns
        watch_ns = begun_ns + pause_ns
        while True:
            now_ns = simulator.CurrentNanos
            captured = [s for s in in_flight if s.stored_bits() > s.stored_bits_before]
            for satellite in captured:
                satellite.imaged += 1
                satellite.requires_retasking = True
            in_flight = [s for s, controller, _ in imaging if controller.imaged and not s.requires_retasking]
            due = [s for s, ns in zip(living, deadlines_ns, strict=True) if ns <= now_ns]
            lost = False
            for row, satellite in enumerate(living):
                if looks_ns[row] <= now_ns:
                    looks_ns[row] = self._next_look_ns(satellite)
                    lost |= not satellite.is_alive()
            ends = captured or lost or now_ns >= min(limit_ns, failure_ns)
            if ends or any(s not in in_flight for s in due):
                break
            if self.watch and now_ns >= watch_ns:
                watch_ns += pause_ns
                self.watch()
            # Without an image to watch for, nothing happens before the deadline or the next look.
            until_ns = now_ns + tick_ns if imaging or due else -(-deadline_ns // tick_ns) * tick_ns
            simulator.StepUntilStop(min(until_ns, limit_ns, watch_ns, *looks_ns), -1)
        for satellite in due:
            if satellite not in in_flight:
                satellite.requires_retasking = True
        return captured

    def _next_look_ns(self, satellite: Imager) -> int:
        """The last tick before which the satellite can cross no limit; the next one at least."""
        ticks = max(1, nanoseconds(max(0.0, slack_s(satellite))) // self.tick_ns)
        return int(self.simulator.sim_time_ns) + ticks * self.tick_ns

    def over(self) -> bool:
        """The time limit is reached."""
        return bool(self.simulator.sim_time_ns >= self.limit_ns)


def ground_targets(config: ScenarioConfig) -> GroundTargets:
    targets = config.targets
    if targets.file is not None:
        own = FromFile(targets, config.clouds)
        own.epoch = parse_epoch(config.epoch_utc)
        return own
    if targets.uniform is not None:
        return Uniform(targets, config.clouds)
    return (TrackClusters if targets.cities is None else Cities)(targets, config.clouds)


def draw_time_limit_s(config: ScenarioConfig, training: bool) -> float:
    """The episode's length: drawn where training asks for it."""
    low, high = (config.training_duration_s if training else None) or (config.duration_s, config.duration_s)
    return float(np.random.uniform(low, high))


def draw_orbits(
    config: ScenarioConfig, scenario: GroundTargets, time_limit_s: float, satellites: Sequence[AccessSatellite]
) -> dict[AccessSatellite, dict[str, object]]:
    """Each satellite's orbital elements, as BSK-RL's ``sat_arg_randomizer`` gives them; the scenario learns the tracks,
    and the satellites for how long windows are needed."""
    scenario.span_s = float(time_limit_s) + BEYOND_S
    scenario.earth_angle_rad = earth_angle_rad(config.epoch_utc)
    tracks: Sequence[CircularOrbit | KeplerOrbit]
    elements: dict[AccessSatellite, dict[str, object]] = {}
    if config.constellation.file is not None:
        tracks = orbits(config.constellation, parse_epoch(config.epoch_utc))
        for satellite, each in zip(satellites, tracks, strict=True):
            elements[satellite] = {"oe": None, "rN": each.r_BN_N, "vN": each.v_BN_N}
    else:
        tracks = drawn_orbits(config.constellation)
        elements = {satellite: {"oe": each.elements()} for satellite, each in zip(satellites, tracks, strict=True)}
    for satellite in satellites:
        satellite.initial_generation_duration = scenario.span_s
    scenario.tracks = tracks
    scenario.length_s = config.constellation.string_deg / 360.0 * tracks[0].period_s
    return elements
