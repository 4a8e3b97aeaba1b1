"""Policies in other missions than their own: who flies with whose network, and a small transfer from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from kdmarl_sat.transfer import Flight, figure, folder_name, main, spread_over, variations
from scenarios.compose import composed
from tests.test_pipeline import TINY
from training.simulate import TeamPlan


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


def test_classes_that_do_not_divide_the_constellation() -> None:
    """Four satellites of three classes, a b c a, onto eight: a b c a b c a b."""
    students = TeamPlan((("a",), ("b",), ("c",), ("a",)), ((0,), (1,), (2,), (3,)), (1, 1, 1, 1))
    larger = spread_over(students, classes=3, size=8)
    assert larger.visible == tuple((name,) for name in "abcabcab")
    assert larger.groups == ((0, 6), (1, 4, 7), (2, 5), (3,))


def test_every_value_is_flown_beside_every_mission() -> None:
    assert variations([["a=1", "b=2"], ["c=3"]], None) == [["a=1", "b=2"], ["c=3"]]
    assert variations([], "k=0,0.5") == [["k=0"], ["k=0.5"]]
    assert variations([["a=1"]], "k=0,1") == [["a=1", "k=0"], ["a=1", "k=1"]]


def test_missions_are_named_by_the_last_part_of_each_key() -> None:
    rates = [
        Flight(f"scenario.faults.satellite_failures={rate} scenario.constellation.planes=2", "random", 8, 10.0, ())
        for rate in ("0", "0.3")
    ]
    ticks = [tick.get_text() for tick in figure(rates).axes[0].get_xticklabels()]
    assert ticks == ["satellite_failures\n= 0\nplanes\n= 2", "satellite_failures\n= 0.3\nplanes\n= 2"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "--to and --vary are both missing: at least one must say which missions to fly"),
        (["seed=1", "--vary", "seed=2", "preset=huge"], "preset='huge' is not known: it must be one of"),
        (["--vary", "faults"], "--vary=faults is not allowed: it must be KEY=A,B,..."),
        (["--to", "teacher.hidden=8"], "--to teacher.hidden=8 is not allowed: it must change the scenario alone"),
        (
            ["scenario.constellation.planes=2", "--to", "scenario.constellation.planes=1"],
            "must have the same classes of satellites, and at least 8 satellites",
        ),
        (["--vary", "scenario.faults.crosslink_outage=1"], "faults.crosslink_outage=1.0 is not allowed: it must be "),
    ],
)
def test_a_wrong_call_is_one_sentence(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--out", str(tmp_path / "out")])
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_taught_on_four_flown_on_eight_and_with_faults(tmp_path: Path) -> None:
    eight = ("scenario.constellation.planes=2", "scenario.constellation.raan_spacing_deg=30")
    run = [*TINY, f"output.cache_dir={tmp_path}/cache"]
    arguments = [
        *run,
        "--to",
        *eight,
        "--vary",
        "scenario.faults.missing_decisions=0,1",
        "--out",
        str(tmp_path / "out"),
    ]
    main(arguments)
    result = json.loads((tmp_path / "out" / "transfer.json").read_text())
    flights = {(f["mission"].rpartition("=")[2], f["policy"]): f for f in result["flights"]}
    assert len(flights) == 2 * 6
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
        assert float(row[2]) == pytest.approx(captured, abs=0.06)
        deaths = np.mean([episode["deaths"] for episode in flight["episodes"]])
        assert float(row[5].replace("\u2212", "-")) == pytest.approx(captured - 10.0 * deaths, abs=0.06)

    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.json")}
    main(arguments)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.json")} == made
    again = json.loads((tmp_path / "out" / "transfer.json").read_text())
    assert again["flights"] == result["flights"]


def test_each_question_has_a_folder_of_its_own() -> None:
    run = composed("seed=3")
    assert folder_name(run, [], "scenario.communication=none,free") == (
        "imaging_constellation-default-seed3-communication"
    )
    assert folder_name(run, [["scenario.constellation.planes=2", "scenario.communication=none"]], "a.b=1,2") == (
        "imaging_constellation-default-seed3-planes-2-communication-none-b"
    )
