"""The command that holds the twin against Basilisk, and what the docs say of its record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kdmarl_sat.measure import doors
from kdmarl_sat.measure import twin as benchmark_twin

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "planner.md").read_text()
RECORD = json.loads((ROOT / "results" / "benchmark_twin.json").read_text())["measured"]


def test_parity_is_measured_for_a_mission() -> None:
    found = benchmark_twin.parity("imaging_constellation", 1)
    assert found["image attempts"] > 100
    assert found["same outcome"] == 1.0
    assert found["largest difference in ticks"] <= 1


def test_no_episodes_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        doors.twin(["episodes=0"])
    assert "episodes=0 is not allowed: it must be at least 1" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[]", "{", '{"run": {}}', '{"run": {}, "measured": 3}'])
def test_another_file_as_the_record_is_refused(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = tmp_path / "mine.json"
    record.write_text(text)
    with pytest.raises(SystemExit):
        doors.twin([f"record={record}"])
    assert f"record={record} is not allowed: it must be a record of" in capsys.readouterr().err
    assert record.read_text() == text


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        doors.twin(["only=[size,sizes]"])
    known = ", ".join(doors.TWIN_PARTS)
    assert f"only='sizes' is not allowed: it must be one of {known}" in capsys.readouterr().err


@pytest.mark.parametrize("mission", benchmark_twin.MISSIONS)
def test_the_docs_say_what_was_recorded(mission: str) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{mission}`"))
    names = ("global knowledge", "forecast", "planner", "upper bound", "available")
    recorded = [f"{RECORD['planning'][mission][name]:.1f}" for name in names]
    assert [cell.strip() for cell in row.split("|")[2:-1]] == recorded


def test_the_docs_say_what_larger_constellations_gave() -> None:
    sizes = [RECORD["size"][size] for size in ("24", "66")]
    head = PAGE.splitlines().index("| captured priority | 24 satellites | CPU-s | 66 satellites | CPU-s |")
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in PAGE.splitlines()[head + 2 : head + 10]]
    assert len(rows) == 8
    for label, *cells in rows:
        name = "available" if label == "within reach" else label
        spent = [size.get(f"{name}, CPU-seconds per episode") for size in sizes]
        told = [
            text
            for size, cost in zip(sizes, spent, strict=True)
            for text in (f"{size[name]:.0f}", "–" if cost is None else f"{cost:.0f}")
        ]
        assert cells == told
    ratios = [size["KD-MARL LH+A"] / size["greedy + battery"] for size in sizes]
    assert [f"{ratio:.1f}" for ratio in ratios] == ["1.7", "2.1"]
    searched = [size["planner and 60 CPU-seconds of search"] / size["planner"] - 1 for size in sizes]
    assert [f"{change:+.0%}" for change in searched] == ["-1%", "+2%"]


def test_the_docs_say_what_the_lighter_modes_gave() -> None:
    stored = json.loads((ROOT / "results" / "benchmark_lighter_modes.json").read_text())
    head = PAGE.splitlines().index("| | images | CPU seconds |")
    rows = [[cell.strip() for cell in row.split("|")[2:-1]] for row in PAGE.splitlines()[head + 2 : head + 6]]
    assert rows == [[str(each["images"]), f"{each['cpu_s']:.2f}"] for each in stored.values()]


def test_the_docs_sum_parity_and_speed_up() -> None:
    parity = RECORD["parity"].values()
    attempts = sum(each["image attempts"] for each in parity)
    assert f"all {attempts:,} attempts" in PAGE and all(each["same outcome"] == 1.0 for each in parity)
    assert all(each["ends in the same tick"] >= 0.999 for each in parity)
    assert all(each["largest difference in ticks"] <= 1 for each in parity)
    ratios = [each["twin / our loop"] for each in RECORD["speed"].values()]
    assert "160 to 210" in PAGE and min(ratios) >= 160 and max(ratios) <= 210
