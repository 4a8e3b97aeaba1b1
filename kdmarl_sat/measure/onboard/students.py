"""The trained students, in float32 and int8, and the decisions that they flew in closed loop with the simulation."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from envs.basilisk.environment import ConstellationEnv
from envs.sensing import sense
from kdmarl_sat.bundles.fly import orbit_s
from kdmarl_sat.measure.onboard.record import Tell
from onboard.bundle import SatelliteBundle, read_bundle
from onboard.flightlog import Kind
from onboard.network import Dtype, Network
from onboard.quantise import quantised
from onboard.spec import BoolArray, FloatArray, IntArray
from scenarios.mission import ScenarioConfig
from scenarios.ranges import ConfigError
from training.missions.flight import FlightPlan, onboard_spec
from training.missions.rollout import decisions
from training.missions.simulate import Flyer, Job, TeamPlan, episode_seeds, fly

PATIENCE_MS = 60000.0  # a busy machine must not change what is flown


@dataclass(frozen=True, slots=True, eq=False)
class Flight:
    """One satellite's decisions of one episode, in order."""

    obs: FloatArray  # [D, O]
    mask: BoolArray  # [D, A]
    action: IntArray  # [D] the network's; the guard may have taken another


@dataclass(frozen=True, slots=True, eq=False)
class Student:
    bundle: str
    satellite: SatelliteBundle
    int8: Network
    tuned: bool  # the int8 network was fine-tuned, not only rounded
    flights: tuple[Flight, ...] = ()
    orbits: float = 0.0  # that the flights took

    @property
    def name(self) -> str:
        return f"{self.bundle}/{self.satellite.spec.name}"

    @property
    def networks(self) -> dict[Dtype, Network]:
        return {Dtype.FLOAT32: self.satellite.network, Dtype.INT8: self.int8}

    @property
    def decisions(self) -> int:
        return sum(len(flight.obs) for flight in self.flights)


def int8_folder(bundle: Path) -> Path:
    """Where its fine-tuned int8 version is expected."""
    return bundle.with_name(f"{bundle.name}-int8")


def read_students(folder: Path) -> list[Student]:
    """A float32 bundle's students, with the int8 networks of ``int8_folder`` or, without one, rounded ones.

    Raises:
        onboard.bundle.BundleError: a bundle cannot be read, or the two are not of the same satellites.
        ConfigError: a network that is not float32.
    """
    bundle = read_bundle(folder)
    tuned: dict[str, Network] = {}
    if int8_folder(folder).is_dir():
        other = read_bundle(int8_folder(folder), expect=[each.spec for each in bundle.satellites])
        tuned = {each.spec.name: each.network for each in other.satellites}
    students = []
    for each in bundle.satellites:
        name, dtype = each.spec.name, each.network.design.dtype
        if dtype is not Dtype.FLOAT32:
            raise ConfigError(f"bundle={folder} is not allowed: satellite {name!r} has {dtype} weights, not float32")
        int8 = tuned.get(name) or quantised(each.network)
        students.append(Student(folder.name, each, int8, name in tuned))
    return students


def flown(folder: Path, students: Sequence[Student], scenario: ScenarioConfig, least: int, tell: Tell) -> list[Student]:
    """A bundle's students with the decisions of whole episodes: of training seeds, at least so many in all.

    Raises:
        onboard.bundle.BundleError: the bundle is for other satellites than the mission's.
    """
    made: dict[str, list[Flight]] = {each.satellite.spec.name: [] for each in students}
    episodes = 0
    while sum(len(flight.obs) for flights in made.values() for flight in flights) < least:
        for name, flight in _episode(folder, scenario, episodes).items():
            made[name].append(flight)
        episodes += 1
        done = sum(len(flight.obs) for flights in made.values() for flight in flights)
        tell(min(1.0, done / least), f"{done:,} decisions in {episodes} episodes")
    orbits = episodes * scenario.duration_s / orbit_s(scenario.constellation.altitude_km)
    return [
        dataclasses.replace(each, flights=tuple(made[each.satellite.spec.name]), orbits=orbits) for each in students
    ]


def _episode(folder: Path, scenario: ScenarioConfig, index: int) -> dict[str, Flight]:
    """One episode of the stream that students learn from, by satellite."""
    specs = ConstellationEnv(scenario).specs
    plan = TeamPlan(tuple(map(tuple, scenario.visible)), (), ())
    pilot = Flyer(plan=plan, flight=FlightPlan(folder.absolute(), deadline_ms=PATIENCE_MS))
    result = fly(Job(scenario, pilot, tuple(episode_seeds("student", 0, index, 1)), training=False))
    asked = decisions(result.rollout, 1.0)
    flights = {}
    for n, (full, blocks) in enumerate(zip(specs, scenario.visible, strict=True)):
        sensing = sense(full, blocks)
        spec, valid = onboard_spec(sensing), asked.valid[:, 0, n]
        taken = [
            spec.actions.index(event.detail)
            for event in result.logs[0].events
            if event.kind is Kind.DECISION and event.satellite == spec.name
        ]
        obs = asked.obs[valid, 0, n][:, sensing.columns]
        flights[spec.name] = Flight(obs, asked.mask[valid, 0, n], np.array(taken, np.int64))
    return flights
