"""Policies in other missions than their own: who flies with whose network, and a small transfer from end to end."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from envs.basilisk.episode_result import EpisodeResult
from kdmarl_sat.missions import doors
from kdmarl_sat.missions.report.transfer import Flight, alike, figure, markdown, panels
from kdmarl_sat.missions.transfer import folder_name, spread_over
from kdmarl_sat.missions.variations import variations
from scenarios.compose import composed
from tests.test_pipeline import TINY
from training.missions.simulate import TeamPlan


def test_further_satellites_are_served_as_one_of_their_class() -> None:
    """Six satellites of two classes, a b a b a b, onto nine."""
    students = TeamPlan(tuple((name,) for name in "ABABAB"), tuple((n,) for n in range(6)), (1, 2, 3, 4, 5, 6))
    larger = spread_over(students, classes=2, size=9)
    assert larger.visible == tuple((name,) for name in "ABABABABA")
    assert larger.groups == ((0, 6), (1, 7), (2, 8), (3,), (4,), (5,))
    assert larger.hidden == students.hidden
    teacher = TeamPlan((("A",),) * 4, ((0, 1, 2, 3),), (8,))
    assert spread_over(teacher, classes=4, size=10).groups == (tuple(range(10)),)
    assert spread_over(students, classes=2, size=6) == students
    by_kind = dataclasses.replace(teacher, by_kind=True)
    assert spread_over(by_kind, classes=4, size=4) == by_kind


def test_classes_that_do_not_divide_the_constellation() -> None:
    """Four satellites of three classes, a b c a, onto eight: a b c a b c a b."""
    students = TeamPlan((("a",), ("b",), ("c",), ("a",)), ((0,), (1,), (2,), (3,)), (1, 1, 1, 1))
    larger = spread_over(students, classes=3, size=8)
    assert larger.visible == tuple((name,) for name in "abcabcab")
    assert larger.groups == ((0, 6), (1, 4, 7), (2, 5), (3,))


def test_every_value_is_flown_beside_every_mission() -> None:
    assert variations(["a=1", "b=2"]) == [["a=1", "b=2"]]
    assert variations(["k=0,0.5"]) == [["k=0"], ["k=0.5"]]
    assert variations(["a=1", "k=0,1"]) == [["a=1", "k=0"], ["a=1", "k=1"]]
    assert variations(["k=0,1", "a=1", "l=2,3"]) == [["a=1", each] for each in ("k=0", "k=1", "l=2", "l=3")]
    assert variations(["a=[1,2]", "b='x,y'", "c={d: 1, e: (2,3)}"]) == [["a=[1,2]", "b='x,y'", "c={d: 1, e: (2,3)}"]]


def _flight(
    mission: str, policy: str = "random", satellites: int = 8, earned: tuple[float, ...] = (1.0, 3.0)
) -> Flight:
    """With a satellite lost, at a penalty of 2, in each episode."""
    nobody = (0,) * satellites
    captured_by = (0.0,) * satellites
    episodes = tuple(
        EpisodeResult(seed, captured, 9.0, captured_by, nobody, 0, 1, nobody, nobody, 60.0)
        for seed, captured in enumerate(earned)
    )
    return Flight(mission, policy, satellites, 2.0, episodes)


def test_missions_are_named_by_the_last_part_of_each_key() -> None:
    rates = [
        _flight(f"scenario.faults.satellite_failures={rate} scenario.communication.mode={heard}")
        for rate, heard in (("0", "none"), ("0.3", "free"))
    ]
    ticks = [tick.get_text() for tick in figure(rates).axes[0].get_xticklabels()]
    assert ticks == [
        "satellite_failures\n= 0\ncommunication\n= none",
        "satellite_failures\n= 0.3\ncommunication\n= free",
    ]


def test_each_quantity_that_is_swept_has_a_panel() -> None:
    flown = [_flight(mission) for mission in ("a.lost=0", "a.lost=0.3", "b=1 a.late=0", "b=1 a.late=1e-1")]
    found = [(panel.label, panel.missions, panel.places) for panel in panels(flown)]
    assert found == [
        ("lost", ("a.lost=0", "a.lost=0.3"), (0.0, 0.3)),
        ("b=1 late", ("b=1 a.late=0", "b=1 a.late=1e-1"), (0.0, 0.1)),
    ]
    for lonely in ("a.missing=0.2", "a.heard=none"):  # no sweep of its own: all stand side by side
        (beside,) = panels([*flown, _flight(lonely)])
        assert beside.places is None and len(beside.missions) == 5


def test_missions_flown_alike_are_told_once() -> None:
    calm, windy = (1.0, 3.0), (1.0, 2.0)
    flown = [
        _flight(mission, policy, 8, earned)
        for mission, earned in (("a=0", calm), ("a=1", windy), ("b=0", calm))
        for policy in ("random", "teacher")
    ]
    flown += [
        _flight("b=1", "random", 8, (1.0, 3.0)),
        _flight("b=1", "teacher", 8, (1.0, 2.0)),
    ]  # random flies as in calm
    assert alike(flown) == {"b=0": "a=0"}
    page = markdown(flown, 0.95, {"scenario": "s", "preset": "p", "seed": 0, "commit": "c" * 40}).splitlines()
    assert [line[2:5] for line in page if line[3:4] == "="] == ["a=0", "a=0", "a=1", "a=1", "b=1", "b=1"]
    assert page[-1] == "Flown alike: `b=0` as `a=0`."


def test_missions_of_unlike_size_stand_along_their_size() -> None:
    (along,) = panels([_flight("n=1", satellites=8), _flight("m=3 n=2", satellites=24)])
    assert (along.label, along.places) == ("satellites", (8.0, 24.0))


def test_table_and_figure_show_the_return_with_its_penalty_per_satellite() -> None:
    """By hand: 1 - 2 and 3 - 2 are 0 on average; 6 - 2 and 8 - 2 are 5, 1.25 each of 4; 15 is 1.875 each of 8."""
    flown = [
        _flight("k=0", "random"),
        _flight("k=0", "teacher", 4, (6.0, 8.0)),
        _flight("k=1", "teacher", 8, (22.0, 12.0)),
        _flight("k=1", "global knowledge", 8, (14.0, 10.0)),
    ]
    origin = {"scenario": "s", "preset": "p", "seed": 0, "commit": "c" * 40}
    rows = [line.strip("| ").split(" | ") for line in markdown(flown, 0.95, origin).splitlines() if line[:3] == "| k"]
    assert [(row[1], row[2], row[4], row[5].split()[0], row[6].split()[0], row[7]) for row in rows] == [
        ("random", "0.0", "0.00", "\u2013", "\u2013", "2.0"),
        ("teacher", "5.0", "1.25", "\u2013", "1.00", "7.0"),
        ("teacher", "15.0", "1.88", "1.50", "1.50", "17.0"),
        ("global knowledge", "10.0", "1.25", "1.00", "1.00", "12.0"),
    ]
    (axes,) = figure([flown[1], flown[2]]).axes
    drawn = np.array(axes.lines[0].get_xydata(), dtype=np.float64)
    np.testing.assert_allclose(drawn, [[4, 1.25], [8, 1.875]])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "no mission to fly is named: at least one to.KEY=VALUE or to.KEY=A,B,... must be given"),
        (["seed=1", "to.seed=2,3", "preset=huge"], "preset='huge' is not known: it must be one of"),
        (["redraw=there", "to.a=1"], "redraw stands alone: it flies nothing, and writes where it reads"),
        (["to.a=1", "to.faults"], "to.faults is not allowed: it must be to.KEY=VALUE or to.KEY=A,B,..."),
        (["to.teacher.hidden=8"], "to.teacher.hidden=8 is not allowed: it must change the scenario alone"),
        (
            ["scenario.constellation.planes=2", "to.scenario.constellation.planes=1"],
            "must have the same classes of satellites, and at least 8 satellites",
        ),
        (["to.scenario.faults.crosslink_outage=1"], "faults.crosslink_outage=1.0 is not allowed: it must be "),
    ],
)
def test_a_wrong_call_is_one_sentence(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        doors.transfer([*arguments, f"out={tmp_path / 'out'}"])
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_taught_on_four_flown_on_eight_and_with_faults(tmp_path: Path) -> None:
    eight = ("scenario.constellation.planes=2", "scenario.constellation.raan_spacing_deg=30")
    run = [*TINY, f"output.cache_dir={tmp_path}/cache"]
    arguments = [
        *run,
        *(f"to.{each}" for each in eight),
        "to.scenario.faults.missing_decisions=0,1",
        f"out={tmp_path / 'out'}",
    ]
    doors.transfer(arguments)
    result = json.loads((tmp_path / "out" / "transfer.json").read_text())
    flights = {(f["mission"].rpartition("=")[2], f["policy"]): f for f in result["flights"]}
    assert len(flights) == 2 * 8
    for (missing, policy), flight in flights.items():
        assert flight["satellites"] == 8 and len(flight["episodes"]) == 3
        for episode in flight["episodes"]:
            assert len(episode["captured_by"]) == 8
            assert episode["missed"] == (sum(episode["decisions"]) if missing == "1" else 0)
            if missing == "1":
                assert episode["captured"] == 0, policy
    assert np.mean([e["captured"] for e in flights["0", "teacher, FO"]["episodes"]]) > 0
    assert (tmp_path / "out" / "transfer.png").stat().st_size > 10_000
    lines = (tmp_path / "out" / "transfer.md").read_text().splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("|")][2:]
    assert [row[1] for row in rows] == [flight["policy"] for flight in result["flights"]]
    for row, flight in zip(rows, result["flights"], strict=True):
        captured = np.mean([episode["captured"] for episode in flight["episodes"]])
        assert float(row[7]) == pytest.approx(captured, abs=0.06)
        deaths = np.mean([episode["deaths"] for episode in flight["episodes"]])
        assert float(row[2].replace("\u2212", "-")) == pytest.approx(captured - 10.0 * deaths, abs=0.06)

    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.json")}
    doors.transfer(arguments)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.json")} == made
    again = json.loads((tmp_path / "out" / "transfer.json").read_text())
    assert again["flights"] == result["flights"]

    drawn = {name: (tmp_path / "out" / name).read_bytes() for name in ("transfer.md", "transfer.png")}
    for name in drawn:
        (tmp_path / "out" / name).unlink()
    doors.transfer([f"redraw={tmp_path / 'out'}"])
    assert {name: (tmp_path / "out" / name).read_bytes() for name in drawn} == drawn


def test_stored_networks_are_flown_and_nothing_is_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored = {name: f"results/bundles/imaging_constellation-{name}" for name in ("lh", "lh_a")}
    arguments = [
        "teacher.load=results/checkpoints/imaging_constellation-teacher-b7776d542f8b8d78",
        *(f"{name}={folder}" for name, folder in stored.items()),
        "evaluation.episodes=1",
        "evaluation.trace=false",
        "to.scenario.duration_s=200",
        f"output.cache_dir={tmp_path}/cache",
        f"out={tmp_path / 'out'}",
    ]
    doors.transfer(arguments)
    made = {path.name.rpartition("-")[0] for path in (tmp_path / "cache").iterdir()}
    assert made and all(name.startswith("flight-") for name in made)
    record = json.loads((tmp_path / "out" / "transfer.json").read_text())
    assert [flight["policy"] for flight in record["flights"]][-3:] == ["teacher, FO", "KD-MARL LH", "KD-MARL LH+A"]
    with pytest.raises(SystemExit):
        doors.transfer([*arguments, "lh=nowhere"])
    assert "bundle nowhere is not a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "No such file or directory"),
        ("{", "is damaged (JSONDecodeError"),
        ("[]", "is damaged (TypeError"),
        ('{"format": "kdmarl_sat.transfer", "version": 2}', "has version 2; this program reads version 1"),
        ('{"format": "kdmarl_sat.transfer", "version": 1, "flights": [{"mission": "k=0"}]}', "is damaged (KeyError"),
    ],
)
def test_what_cannot_be_drawn_again_is_one_sentence(
    content: str | None, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "transfer.json").write_text(content)
    with pytest.raises(SystemExit) as stopped:
        doors.transfer([f"redraw={tmp_path}"])
    assert stopped.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line and "transfer.json" in line
    assert not (tmp_path / "transfer.md").exists() and not (tmp_path / "transfer.png").exists()


def test_each_question_has_a_folder_of_its_own() -> None:
    run = composed("seed=3")
    assert folder_name(run, ["scenario.communication.mode=none,free"]) == (
        "imaging_constellation-default-seed3-communication"
    )
    asked = ["scenario.constellation.planes=2", "scenario.communication.mode=none", "a.b=1,2", "c=3"]
    assert folder_name(run, asked) == "imaging_constellation-default-seed3-planes-2-communication-none-b-c-3"
