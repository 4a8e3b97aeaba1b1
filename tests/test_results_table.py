"""Stored run records as a table; the README says what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kdmarl_sat.results_table import BEGIN, END, RecordError, inserted, read_records, table

ROOT = Path(__file__).parents[1]


def record(seed: int, captured: dict[str, list[float]]) -> dict[str, Any]:
    macs = {"teacher_fo": [1000, 1000], "kd_lh": [20, 40]}
    return {
        "format": "kdmarl_sat.metrics",
        "version": 1,
        "run": {"scenario": "toy", "preset": "default", "seed": seed, "commit": "0123456789abcdef" * 2 + "01234567"},
        "config": {"scenario": {"duration_s": 100.0}},
        "policies": [
            {
                "name": name,
                "label": name.upper(),
                "macs_per_decision": macs.get(name, []),
                "agreement": [0.5, 0.7] if name == "kd_lh" else [],
                "episodes": [{"captured": value, "duplicates": 1, "deaths": 0} for value in values],
            }
            for name, values in captured.items()
        ],
        "claims": [{"text": "teacher / greedy", "measured": 1.5 + seed, "wanted": 2.0, "met": 1.5 + seed >= 2.0}],
    }


def two_seeds() -> list[dict[str, Any]]:
    first = {"random": [2.0, 2.0], "global_knowledge": [8.0, 8.0], "teacher_fo": [10.0, 12.0], "kd_lh": [9.0, 9.0]}
    second = {**first, "teacher_fo": [12.0, 14.0], "kd_lh": [11.0, 11.0]}
    return [record(0, first), record(1, second)]


def test_numbers_by_hand() -> None:
    text = table(two_seeds())
    assert "### toy, preset=default: 2 training seeds × 2 held-out episodes of 100 s (commit 0123456789)" in text
    [row] = [line for line in text.splitlines() if line.startswith("| KD_LH")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1].startswith("10.0 [9.0, 11.0]")
    assert cells[2].startswith("1.25 ")
    assert cells[3].startswith("80 [")  # (10 - 2) / (12 - 2)
    assert cells[4:] == ["1.0", "0.00", "40", "25.0", "60%"]
    assert "- teacher / greedy: 1.5, 2.5 / 2: **met in part**" in text


def test_a_record_of_another_version_or_damaged_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({**record(0, {}), "version": 9}))
    with pytest.raises(RecordError, match=r"a.json has version 9; this program reads version 1"):
        read_records(tmp_path)
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(RecordError, match=r"a.json is damaged"):
        read_records(tmp_path)


def test_the_readme_holds_what_the_records_say() -> None:
    readme = (ROOT / "README.md").read_text()
    assert inserted(readme, table(read_records(ROOT / "results/runs"))) == readme


def test_insertion_keeps_the_rest() -> None:
    assert inserted(f"a{BEGIN}\nold{END}b", "new") == f"a{BEGIN}\nnew{END}b"
