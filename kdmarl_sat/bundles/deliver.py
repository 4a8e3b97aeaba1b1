"""Files that a flight without training writes: schedules, targets and the flight itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from envs.basilisk.satellites import names_of
from envs.files import write_whole
from kdmarl_sat.missions.report.schedule import Flight, write_schedule, write_targets, write_trace
from scenarios.compute import Schedules
from scenarios.files.mission import catalogue_numbers
from scenarios.mission import ScenarioConfig
from training.missions.simulate import Flown


def deliver(
    parts: Sequence[Flown], scenario: ScenarioConfig, policy: str, schedules: Schedules, folder: Path, ending: str = ""
) -> None:
    """Write ``schedule``, ``targets`` and ``flight``, each with the ending, into a folder.

    Args:
        parts: flown with the first episode traced.
        scenario: that was flown.
        policy: who flew, as the files say it.
        schedules: which episodes; further ones have their number behind the ending.
        folder: it is there.
        ending: of the files' names, before their kinds.
    """
    names, numbers = tuple(names_of(scenario)), tuple(catalogue_numbers(scenario.constellation))
    flight = Flight(scenario.name, policy, scenario.epoch_utc, names, numbers)
    tasks = [each for part in parts for each in part.tasks]
    for episode, each in enumerate(tasks if schedules is Schedules.all else tasks[:1]):
        write_schedule(each, flight, folder, f"{ending}-{episode}" if episode else ending)
    write_targets(parts[0].traces[0], flight, folder, ending)
    write_trace(parts[0].traces[0], tasks[0], flight, folder, ending)
    write_whole(folder / f"flight{ending}.bin", parts[0].films[0])
