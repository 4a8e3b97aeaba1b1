"""The schedule in the report: its files, its data, and its filters, run by Node in a page of a few lines."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.basilisk.tasks import OUTCOMES, Tasks
from kdmarl_sat.missions.report import write_report
from kdmarl_sat.missions.results import RunResult
from tests.test_report import SATELLITES, synthetic_result

HOSTILE = "</script><b>Paris & Łódź"
NODE = shutil.which("node")
# What the page's code asks of a browser, and no more.
PAGE = """
const made = (tag) => ({ tag, className: "", textContent: "", cells: [], append(cell) { this.cells.push(cell); } });
const control = (value, column) => ({ value, dataset: { column }, addEventListener() {} });
const body = { rows: [], replaceChildren(...rows) { this.rows = rows; } };
const ids = {
  "schedule-data": { textContent: given.data }, "schedule-body": body, "schedule-count": { textContent: "" },
  "schedule-flight": control(given.flight), "schedule-target": control(given.target),
};
const choices = Object.entries(given.choices).map(([column, value]) => control(value, column));
globalThis.document = {
  getElementById: (id) => ids[id], querySelectorAll: () => choices, createElement: made,
};
"""


def tasks() -> Tasks:
    """Six, by hand."""
    nan = np.nan
    return Tasks(
        satellite=np.array([0, 1, 0, 1, 2, 3]),
        start_s=np.array([0.0, 0.0, 60.0, 90.5, 100.0, 120.0]),
        end_s=np.array([60.0, 90.5, 120.0, 150.0, 130.0, 180.0]),
        action=np.array([0, 1, 1, 1, 0, 2]),
        outcome=np.array([OUTCOMES.index(n) for n in ("done", "captured", "missed", "duplicate", "guard", "done")]),
        target=np.array([-1, 0, 1, 0, 1, -1]),
        target_name=np.array(["", HOSTILE, "Oslo", HOSTILE, "Oslo", ""]),
        latitude_deg=np.array([nan, 48.86, 59.91, 48.86, 59.91, nan]),
        longitude_deg=np.array([nan, 2.35, 10.75, 2.35, 10.75, nan]),
        priority=np.array([nan, 0.5, 0.25, 0.5, 0.25, nan]),
        off_nadir_deg=np.array([nan, 12.346, nan, 30.0, nan, nan]),
        elevation_deg=np.array([nan, 76.5, nan, 55.0, nan, nan]),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    whole = synthetic_result()
    policies = tuple(
        dataclasses.replace(policy, tasks=(tasks(), tasks())) if policy.trace is not None else policy
        for policy in whole.policies
    )
    result: RunResult = dataclasses.replace(whole, policies=policies, catalogue_numbers=(7, 8, 9, None))
    folder = tmp_path_factory.mktemp("report")
    write_report(result, folder)
    return folder


def data(folder: Path) -> dict[str, Any]:
    page = (folder / "report.html").read_text()
    [text] = re.findall(r'<script type="application/json" id="schedule-data">(.*?)</script>', page)
    return dict(json.loads(text))


def test_every_policys_schedules_are_written(folder: Path) -> None:
    names = {path.name for path in folder.glob("schedule-*") if path.suffix != ".png"}
    stems = {name.partition(".")[0] for name in names}
    assert names == {f"{stem}{kind}" for stem in stems for kind in (".csv", ".json")}
    assert {stem for stem in stems if not stem.endswith("-1")} == {stem[:-2] for stem in stems if stem.endswith("-1")}
    assert {f"targets{stem.removeprefix('schedule')}.geojson" for stem in stems if not stem.endswith("-1")} == {
        path.name for path in folder.glob("targets-*")
    }


def test_the_table_holds_the_schedule(folder: Path) -> None:
    found = data(folder)
    first = json.loads(next(folder.glob("schedule-teacher*[!1].json")).read_text())["tasks"]
    assert [dict(zip(found["columns"], row, strict=True)) for row in found["flights"][0]] == first
    assert first[1] == {
        "start_utc": "2026-03-20T04:08:00.000Z",
        "end_utc": "2026-03-20T04:09:30.500Z",
        "satellite": SATELLITES[1],
        "catalogue_number": 8,
        "action": "image",
        "target": HOSTILE,
        "latitude_deg": 48.86,
        "longitude_deg": 2.35,
        "off_nadir_deg": 12.35,
        "elevation_deg": 76.5,
        "priority": 0.5,
        "outcome": "captured",
    }


def test_the_page_needs_nothing_else(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    assert "<b>Paris" not in page and page.count('id="schedule"') == 1
    assert not re.search(r"https?:|//[a-z]|@import", resources.files("kdmarl_sat.missions.report").joinpath(
        "schedule.js").read_text())  # fmt: skip
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", page)


@pytest.mark.skipif(NODE is None, reason="Node is not installed")
@pytest.mark.parametrize(
    ("choices", "target", "shown"),
    [
        ({}, "", [0, 1, 2, 3, 4, 5]),
        ({"satellite": SATELLITES[1]}, "", [1, 3]),
        ({"action": "image"}, "", [1, 2, 3]),
        ({"outcome": "guard"}, "", [4]),
        ({}, " osLO ", [2, 4]),
        ({"action": "image"}, "paris", [1, 3]),
        ({"action": "image", "outcome": "done"}, "", []),
    ],
)
def test_the_filters(folder: Path, choices: dict[str, str], target: str, shown: list[int]) -> None:
    asked = {"satellite": "", "action": "", "outcome": "", **choices}
    given = {"data": json.dumps(data(folder)), "flight": "0", "target": target, "choices": asked}
    code = resources.files("kdmarl_sat.missions.report").joinpath("schedule.js").read_text()
    told = "\nconsole.log(JSON.stringify([ids['schedule-count'].textContent, body.rows.map((row) => "
    told += "row.cells.map((cell) => cell.textContent))]));"
    program = f"const given = {json.dumps(given)};{PAGE}{code}{told}"
    assert NODE is not None
    done = subprocess.run([NODE, "-e", program], capture_output=True, text=True, timeout=60, check=True)
    count, rows = json.loads(done.stdout)
    assert count == f"{len(shown)} of 6 tasks"
    whole = data(folder)["flights"][0]
    assert rows == [["" if value is None else plain(value) for value in whole[k]] for k in shown]


def plain(value: Any) -> str:
    """As JavaScript writes a number."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
