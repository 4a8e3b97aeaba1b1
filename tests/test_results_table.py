"""Stored run records as a table; the README says what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kdmarl_sat.missions import doors
from kdmarl_sat.missions.records import RecordError, read_records
from kdmarl_sat.missions.table import BEGIN, END, in_short, overview, page, sections
from kdmarl_sat.report.pages import inserted

ROOT = Path(__file__).parents[1]
NAMES = ("random", "global_knowledge", "teacher_fo", "kd_lh")


def record(seed: int, captured: dict[str, list[float]]) -> dict[str, Any]:
    macs = {"teacher_fo": [1000, 1000], "kd_lh": [20, 40]}
    return {
        "format": "kdmarl_sat.metrics",
        "version": 1,
        "run": {
            **{"scenario": "toy", "preset": "default", "seed": seed, "commit": "0123456789abcdef" * 2 + "01234567"},
            "cpu_s": {"teacher": {"points": [], "whole": 1000.0 + 200 * seed}},  # older records have none
        },
        "config": {"scenario": {"duration_s": 100.0}, "teacher": {"imitation_episodes": 0}},
        "policies": [
            {
                "name": name,
                "label": name.upper(),
                "macs_per_decision": macs.get(name, []),
                "agreement": [0.5, 0.7] if name == "kd_lh" else [],
                **({"overrides": [1 + seed, 4]} if name == "kd_lh" else {}),  # older records have none
                "episodes": [{"captured": value, "duplicates": 1, "deaths": 0} for value in values],
            }
            for name, values in captured.items()
        ],
        "claims": [{"text": "teacher / greedy", "measured": 1.5 + seed, "wanted": 2.0, "met": 1.5 + seed >= 2.0}],
    }


def row(text: str, label: str) -> list[str]:
    [line] = [line for line in text.splitlines() if line.startswith(f"| {label} ")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def two_seeds() -> list[dict[str, Any]]:
    first = {"random": [2.0, 2.0], "global_knowledge": [8.0, 8.0], "teacher_fo": [10.0, 12.0], "kd_lh": [9.0, 9.0]}
    second = {**first, "teacher_fo": [12.0, 14.0], "kd_lh": [11.0, 11.0]}
    return [record(0, first), record(1, second)]


def test_numbers_by_hand() -> None:
    text = sections(two_seeds())
    assert "### toy, preset=default: 2 training seeds × 2 held-out episodes of 100 s (commit 0123456789)" in text
    cells = row(text, "KD_LH")
    assert cells[1].startswith("10.0 [9.0, 11.0]")
    assert cells[2].startswith("1.25 ")
    assert cells[3].startswith("80 [")  # (10 - 2) / (12 - 2)
    assert cells[4:8] == ["1.0", "0.00", "2.8", "40 (60)"]  # (1 + 4 + 2 + 4) / 4 overrides
    assert cells[8:] == ["25.0 (33.3)", "–", "60%"]
    assert row(text, "TEACHER_FO")[9] == "1,100"  # CPU-seconds, mean over seeds
    assert "- teacher / greedy: 1.5, 2.5 / 2: **met in part**" in text


def test_the_overview_by_hand() -> None:
    """Of a mission and preset the configuration with most seeds; a policy that another mission lacks."""
    other = record(0, {"random": [1.0], "global_knowledge": [2.0], "teacher_fo": [5.0], "kd_lh_a": [4.0]})
    other["run"] |= {"scenario": "zoo"}
    other["policies"][-1] |= {"macs_per_decision": [50, 20]}
    once = record(5, {name: [0.0] for name in NAMES})
    once["config"] = {"scenario": {"duration_s": 7.0}}
    text = overview([once, *two_seeds(), other])
    assert row(text, "captured priority")[1:] == ["toy, default", "zoo, default"]
    assert row(text, "training seeds × held-out episodes")[1:] == ["2 × 2", "1 × 1"]
    assert row(text, "an episode, s")[1:] == ["100", "100"]
    assert [cell.split()[0] for cell in row(text, "TEACHER_FO")[1:]] == ["12.0", "5.0"]
    assert [cell.split()[0] for cell in row(text, "KD_LH")[1:]] == ["10.0", "–"]
    assert row(text, "KD_LH, kept of the teacher")[1].startswith("80 [")
    assert row(text, "KD_LH_A, kept of the teacher")[1:] == ["–", "75 [75, 75] %"]
    fewer = "KD_LH_A, times fewer MACs than the teacher's: costliest satellite (all)"
    assert row(text, fewer)[1:] == ["–", "20.0 (28.6)"]
    assert row(text, "lost satellites per episode, LH+A")[1:] == ["–", "0.00"]
    assert row(text, "claims met in all seeds")[1:] == ["0 of 1", "0 of 1"]


def test_runs_configured_otherwise_stand_apart() -> None:
    records = [*two_seeds(), *two_seeds()]
    for index, each in enumerate(records):
        each["config"] |= {"seed": index, "output": {"records_dir": index}, "compute": {"workers": index}}
    for each in records[2:]:
        each["config"]["teacher"] = {"imitation_episodes": 0, "episodes": 960, "hidden": [1, 2]}
        each["config"]["scenario"] = {"duration_s": 50.0}
    first, second = sections(records).split("### ")[1:]
    assert first.startswith("toy, preset=default: 2 training seeds × 2 held-out episodes of 100 s")
    assert "otherwise" not in first
    assert second.startswith("toy, preset=default: 2 training seeds × 2 held-out episodes of 50 s")
    assert (
        "Configured otherwise than the first: `scenario.duration_s` 50.0 (there 100.0), `teacher.episodes` 960 "
        "(there not set), `teacher.hidden` [1, 2] (there not set)."
    ) in second
    assert sections(records[:2]) == f"### {first}".removesuffix("\n")


def test_older_records_have_what_was_done_before_there_was_a_choice() -> None:
    old, same, other = (*two_seeds(), *two_seeds()[:1])
    for each, decides in ((old, {}), (same, {"decide_by_kind": False}), (other, {"decide_by_kind": True})):
        each["config"]["teacher"] = {"imitation_episodes": 0, **decides}
    together, apart = sections([old, same, other]).split("### ")[1:]
    assert together.startswith("toy, preset=default: 2 training seeds")
    assert "`teacher.decide_by_kind` true (there false)" in apart


def test_unequal_numbers_of_episodes() -> None:
    records = two_seeds()
    for policy in records[1]["policies"]:
        policy["episodes"].append({"captured": 1000.0, "duplicates": 9, "deaths": 9})
    text = sections(records)
    assert "2 training seeds × 2 held-out episodes" in text
    assert "Some flew up to 3 episodes; the first 2 count." in text
    assert row(text, "KD_LH") == row(sections(two_seeds()), "KD_LH")


def test_numbers_that_are_not_there() -> None:
    records = [record(seed, {**{name: [0.0, 0.0] for name in NAMES}, "kd_lh": [0.0, 4.0]}) for seed in (0, 1)]
    records[0]["claims"][0]["measured"] = None
    text = sections(records)
    assert "- teacher / greedy: –, 2.5 / 2: **met in part**" in text
    assert row(text, "KD_LH")[1:4] == ["2.0 [0.0, 4.0]", "–", "–"]
    assert "nan" not in text


def test_a_record_of_another_version_or_damaged_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.json").write_text(json.dumps({**record(0, {}), "version": 9}))
    with pytest.raises(RecordError, match=r"a.json has version 9; this program reads version 1"):
        read_records(tmp_path)
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(RecordError, match=r"a.json is damaged"):
        read_records(tmp_path)
    with pytest.raises(SystemExit):
        doors.table([f"records={tmp_path}"])
    assert capsys.readouterr().err.startswith(f"kdmarl-sat table: run record {tmp_path}/a.json is damaged")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe{\0", "is damaged"),
        ('{"format": "ü"}'.encode("latin-1"), "is damaged"),
        (b"", "is damaged"),
        (b"[" * 100_000, "is damaged: it is nested too deeply"),
        (b'{"format": "kdmarl_sat.metrics", "version": 1}', "is damaged: run.scenario is not there"),
        (b"null", "has version None"),
    ],
    ids=["utf-16", "latin-1", "empty", "deep", "nothing in it", "null"],
)
def test_a_file_that_is_no_record(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(RecordError, match=rf"^run record .*a.json {said}"):
        read_records(tmp_path)


def test_each_part_of_a_record_is_missed(tmp_path: Path) -> None:
    whole = record(0, {"random": [1.0]})
    places = [("run", "seed"), ("config", "scenario"), ("policies", 0, "episodes", 0, "captured"), ("claims", 0, "met")]
    for place in places:
        broken = json.loads(json.dumps(whole))
        holder = broken
        for key in place[:-1]:
            holder = holder[key]
        del holder[place[-1]]
        (tmp_path / "a.json").write_text(json.dumps(broken))
        with pytest.raises(RecordError, match=r"a.json is damaged: " + ".".join(map(str, place))):
            read_records(tmp_path)


def test_no_records_leave_the_tables_that_are_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pages = (ROOT / "README.md", ROOT / "results/missions.md")
    before = [page.read_bytes() for page in pages]
    try:
        with pytest.raises(SystemExit) as stopped:
            doors.table([f"records={tmp_path / 'nosuch'}"])
        after = [page.read_bytes() for page in pages]
    finally:
        for page, content in zip(pages, before, strict=True):
            page.write_bytes(content)
    assert after == before and stopped.value.code != 0
    assert "nosuch holds no run records" in capsys.readouterr().err


def test_the_readme_holds_what_the_records_say() -> None:
    readme = (ROOT / "README.md").read_text()
    assert inserted(readme, in_short(read_records(ROOT / "results/runs")), BEGIN, END) == readme


def test_the_page_of_missions_holds_what_the_records_say() -> None:
    assert (ROOT / "results/missions.md").read_text() == page(read_records(ROOT / "results/runs"))


def test_insertion_keeps_the_rest() -> None:
    assert inserted(f"a{BEGIN}\nold{END}b", "new", BEGIN, END) == f"a{BEGIN}\nnew{END}b"


def test_controls_of_some_seeds_stand_beside_the_policies_of_all() -> None:
    records = two_seeds()
    extra = json.loads(json.dumps(records[1]["policies"][-1]))
    records[1]["policies"].append({**extra, "name": "control", "label": "a control"})
    for each, flown in zip(records, (False, True), strict=True):
        each["config"] |= {"evaluation": {"controls": flown}}
    both, one = sections(records).split("### ")[1:]
    assert both.startswith("toy, preset=default: 2 training seeds")
    assert "a control" not in both
    assert one.startswith("toy, preset=default: 1 training seed ")
    assert "a control" in one
