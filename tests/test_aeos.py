"""AEOS-Bench's files: places and orbits against closed forms and Basilisk's own, measures by hand, a flight."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from Basilisk.utilities import orbitalMotion

from envs.basilisk.completion import Completion, completion, mean_completion
from envs.basilisk.elements import orbits
from envs.basilisk.environment import ConstellationEnv
from envs.basilisk.episode_result import EpisodeResult
from envs.basilisk.heuristics import GreedyPolicy
from envs.basilisk.support_data import parse_epoch
from envs.basilisk.tasks import CAPTURED, DUPLICATE, IMAGES, MISSED, TIMED_OUT, Tasks
from kdmarl_sat.missions.report.metrics import json_ready
from scenarios.compose import composed
from scenarios.files.mission import names_from_file
from scenarios.files.targets import read_targets
from scenarios.ranges import ConfigError
from tests.test_config import ROOT

EXAMPLES = ROOT / "examples"
ORBIT = {
    "id": 7, "eccentricity": 0.02, "semi_major_axis": 7.1e6, "inclination": 63.4,
    "right_ascension_of_the_ascending_node": 210.0, "argument_of_perigee": 275.0,
}  # fmt: skip
SATELLITE = {"id": 3, "orbit": 7, "true_anomaly": 123.0}
TASK = {
    "id": 5, "release_time": 100, "due_time": 900, "duration": 20, "coordinate": [-33.9, 151.2], "sensor_type": 1
}  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A constellation and a task set, of one satellite and one task each."""
    return write(tmp_path, {"orbits": [ORBIT], "satellites": [SATELLITE]}, [TASK])


def write(folder: Path, constellation: Any, tasks: Any) -> tuple[Path, Path]:
    paths = folder / "constellation.json", folder / "tasks.json"
    for path, content in zip(paths, (constellation, tasks), strict=True):
        path.write_text(json.dumps(content))
    return paths


def mission(files: tuple[Path, Path], *overrides: str) -> Any:
    constellation, tasks = files
    return composed(
        "scenario=aeos",
        f"scenario.constellation.file={constellation}",
        f"scenario.targets.file={tasks}",
        *overrides,
        config_dir=EXAMPLES,
    )


def test_a_task_is_a_target_on_a_sphere(files: tuple[Path, Path]) -> None:
    [target] = read_targets(str(files[1]), 25.0)
    assert (target.name, target.priority, target.release, target.due) == ("task 5", 1.0, 100.0, 900.0)
    assert (target.dwell_s, target.sensor) == (20.0, "visible")
    x, y, z = target.r_LP_P()
    assert math.sqrt(x * x + y * y + z * z) == pytest.approx(6378136.6, abs=1e-3)
    assert math.degrees(math.asin(z / 6378136.6)) == pytest.approx(-33.9)
    assert math.degrees(math.atan2(y, x)) == pytest.approx(151.2)


def test_osculating_elements_are_those_of_basilisk(files: tuple[Path, Path]) -> None:
    config = mission(files).scenario
    [orbit] = orbits(config.constellation, parse_epoch(config.epoch_utc))
    elements = orbitalMotion.ClassicElements()
    elements.a, elements.e = 7.1e6, 0.02
    elements.i, elements.Omega, elements.omega, elements.f = np.radians([63.4, 210.0, 275.0, 123.0])
    r_N, v_N = orbitalMotion.elem2rv(3.986004415e14, elements)
    np.testing.assert_allclose(orbit.r_BN_N, r_N, atol=1e-3)
    np.testing.assert_allclose(orbit.v_BN_N, v_N, atol=1e-6)
    assert names_from_file(config.constellation) == ["satellite_3"]
    assert config.constellation.altitude_km == pytest.approx(7100.0 - 6378.1366, abs=1e-3)


def tasks_of(rows: list[tuple[int, int, float, float, int, float]]) -> Tasks:
    """Rows of images: satellite, target, start, end, outcome, hold."""
    satellite, target, start_s, end_s, outcome, held_s = (np.array(column) for column in zip(*rows, strict=True))
    nothing = np.zeros(len(rows))
    return Tasks(
        satellite=satellite, start_s=start_s, end_s=end_s, action=np.ones(len(rows), np.int64), outcome=outcome,
        target=target, target_name=np.array([""] * len(rows)), latitude_deg=nothing, longitude_deg=nothing,
        priority=nothing, off_nadir_deg=nothing, elevation_deg=nothing, held_s=held_s,
    )  # fmt: skip


def test_measures_by_hand() -> None:
    """One task is done 50 s after its release, one asks for no dwell and is done, one is held for 5 of 40 s and later
    for 8 s, and nobody tries the fourth."""
    tasks = tasks_of([
        (0, 0, 100.0, 150.0, CAPTURED, 20.0), (1, 2, 0.0, 30.0, MISSED, 5.0), (1, 2, 30.0, 70.0, MISSED, 8.0),
        (0, 1, 200.0, 210.0, CAPTURED, 0.0), (1, 1, 220.0, 230.0, DUPLICATE, 0.0),
    ])  # fmt: skip
    found = completion(tasks, np.array([20.0, 0.0, 40.0, 30.0]), np.array([100.0, -np.inf, 0.0, 500.0]), [5.0, 2.0])
    assert found.CR == 2 / 4
    assert pytest.approx(21 / 91) == found.WCR
    assert pytest.approx((1 + 1 + 8 / 40) / 4) == found.PCR
    assert pytest.approx((20 + 1 + 8) / 91) == found.WPCR
    assert found.TAT_s == pytest.approx((50 + 210) / 2)
    assert found.PC_Ws == pytest.approx(5 * (50 + 10) + 2 * (30 + 40 + 10))


def test_a_mean_leaves_out_what_nobody_counted() -> None:
    one, other = Completion(0.2, 0.3, 0.4, 0.5, 100.0, 10.0), Completion(0.0, 0.1, 0.2, 0.3, None, 30.0)
    assert mean_completion([None, None]) is None
    assert mean_completion([one, None, other]) == Completion(
        0.1, pytest.approx(0.2), pytest.approx(0.3), 0.4, 100.0, 20.0
    )


def begun_s(tasks: Tasks, last: int) -> float:
    """When a satellite turned to a target: it may be told to image the same one anew, and goes on holding."""
    start_s = tasks.start_s[last]
    for k in range(last - 1, -1, -1):
        if tasks.satellite[k] == tasks.satellite[last]:
            if tasks.target[k] != tasks.target[last]:
                break
            start_s = tasks.start_s[k]
    return float(start_s)


def test_the_example_is_flown() -> None:
    config = composed(
        "scenario=aeos",
        f"scenario.constellation.file={EXAMPLES / 'aeos_constellation.json'}",
        f"scenario.targets.file={EXAMPLES / 'aeos_tasks.json'}",
        config_dir=EXAMPLES,
    ).scenario
    env = ConstellationEnv(config)
    step = env.reset([0])
    policy = GreedyPolicy(env.specs)
    while not (step.terminated | step.truncated).all():
        step = env.step(policy.act(step))
    [result], [tasks] = env.results(), env.tasks()
    env.close()
    wanted = json.loads((EXAMPLES / "aeos_tasks.json").read_text())
    image = np.isin(tasks.outcome, IMAGES)
    assert image.sum() >= 3
    for k in np.nonzero(image)[0]:
        task = wanted[tasks.target[k]]
        assert tasks.target_name[k] == f"task {task['id']}"
        assert task["release_time"] <= tasks.end_s[k] - config.sim_step_s <= task["due_time"]
        assert tasks.held_s[k] == task["duration"] <= tasks.end_s[k] - begun_s(tasks, int(k))
    missed = np.isin(tasks.outcome, (MISSED, TIMED_OUT))
    dwell_s = np.array([task["duration"] for task in wanted])[tasks.target]
    assert (tasks.held_s[missed] <= dwell_s[missed] + config.sim_step_s).all()
    assert result.completion is not None
    captured = {wanted[index]["id"] for index in tasks.target[tasks.outcome == CAPTURED]}
    assert result.completion.CR == len(captured) / len(wanted) == result.captured / len(wanted)
    assert result.completion.PCR >= result.completion.CR
    assert EpisodeResult.from_dict(json.loads(json.dumps(json_ready(result)))) == result


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"coordinate": {"x": 1.0, "y": 2.0}}, r"task 1: coordinate=.* it must be \[latitude, longitude\]"),
        ({"coordinate": [151.2, -33.9]}, "task 1: latitude=151.2 .* are latitude and longitude=-33.9 exchanged"),
        ({"sensor_type": 3}, "task 1: sensor_type=3 is not allowed: it must be 1"),
        ({"sensor_type": [1]}, r"task 1: sensor_type=\[1\] is not allowed: it must be 1"),
        ({"sensor_type": 2}, r"task 1: sensor_type=2 \(near_infrared\) is .* a hardware that flies: visible$"),
        ({"duration": 500}, "task 1: duration=500 is not allowed: it must be below scenario.actions.image_timeout_s"),
        ({"duration": -1}, "task 1: duration=-1 is not allowed: it must be from 0 to 3600 s"),
        ({"due_time": 100}, "task 1: due_time=100 is not allowed: it must be later than release_time=100$"),
        ({"due_time": 115}, "task 1: due_time=115 is .* at least duration=20 s later than release_time=100$"),
        ({"due_time": 0}, "task 1: due_time=0 is not allowed: it must be later than the start of the episode, 0 s"),
        ({"due_time": 1546300800}, r"task 1: due_time=1546300800 is .* seconds from the start, at most 1e\+07$"),
        ({"release_time": "soon"}, "task 1: release_time='?soon'? is not allowed: it must be a number"),
        ({"id": True}, "task 1: id=True is not allowed: it must be a whole number"),
    ],
)
def test_a_task_that_cannot_be_used(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    paths = write(tmp_path, {"orbits": [ORBIT], "satellites": [SATELLITE]}, [TASK | change])
    with pytest.raises(ConfigError, match=f"scenario.targets.file: .*tasks.json, {sentence}"):
        mission(paths)


def test_two_tasks_of_one_id(tmp_path: Path) -> None:
    paths = write(tmp_path, {"orbits": [ORBIT], "satellites": [SATELLITE]}, [TASK, TASK | {"id": 6}, TASK])
    with pytest.raises(ConfigError, match=r"tasks.json, task 3: id=5 is that of task 1 too: it must be another task's"):
        mission(paths)


@pytest.mark.parametrize(
    ("orbit", "satellites", "sentence"),
    [
        ({}, [], r"whole file: satellites=\[\] is not allowed: it must be a list of at least one"),
        ({}, [SATELLITE | {"orbit": 8}], "satellite 1: orbit=8 is not allowed: it must be the id of one of the file's"),
        ({}, [SATELLITE, SATELLITE], "satellite 2: id=3 is that of satellite 1 too"),
        ({}, [SATELLITE, SATELLITE | {"id": 4}], "satellite_4 is within 1 m of satellite_3"),
        ({"semi_major_axis": 6.5e6}, [SATELLITE], "semi_major_axis=6.5e.06 m .* heights must be from 250 to 2000 km"),
        ({"eccentricity": 1.0}, [SATELLITE], "eccentricity=1 is not allowed"),
        ({"inclination": 1e6}, [SATELLITE], r"inclination=1e\+06 is not allowed: it must be from 0 to 180 degrees"),
        ({"inclination": -0.1}, [SATELLITE], r"inclination=-0.1 is not allowed: it must be from 0 to 180 degrees"),
        ({"inclination": None}, [SATELLITE], "inclination=.* is not allowed: it must be a number"),
    ],
)
def test_a_constellation_that_cannot_be_used(
    tmp_path: Path, orbit: dict[str, Any], satellites: list[Any], sentence: str
) -> None:
    paths = write(tmp_path, {"orbits": [ORBIT | orbit], "satellites": satellites}, [TASK])
    with pytest.raises(ConfigError, match=f"scenario.constellation.file: .*{sentence}"):
        mission(paths)
