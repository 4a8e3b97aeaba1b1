"""The documentation site: what is made while it is built, held against compositions, and the built pages themselves."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from scenarios.compose import composed
from scenarios.ranges import ConfigError
from scenarios.schema import to_dict
from scripts.site import concepts, first_run, formulas, hooks, keys, outside, results
from tests.test_config import ROOT

MISSION = {key.path: key for section in keys.sections("mission") for key in section.keys}


def leaves(node: Any, path: str = "") -> Iterator[str]:
    """Dotted paths of a composed configuration, down to what is no group."""
    if isinstance(node, dict) and node:
        for name, below in node.items():
            yield from leaves(below, f"{path}.{name}".lstrip("."))
    elif isinstance(node, list) and node and isinstance(node[0], dict):
        for index, below in enumerate(node):
            yield from leaves(below, f"{path}.{index}")
    else:
        yield path


# --- configuration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mission", ["imaging_constellation", "walker_cities", "tip_and_cue", "optical_sar"])
def test_every_key_of_a_composed_mission_is_on_the_page(mission: str) -> None:
    names = r"(hardware|processors)\.[^.]+"
    mappings = r"(scenario\.(sensing|features|ground_stations\.at))\..*"
    for path in leaves(to_dict(composed(f"scenario={mission}"))):
        known = re.sub(mappings, r"\1", re.sub(r"\.\d+\.", ".N.", re.sub(names, r"\1.NAME", path)))
        assert known in MISSION or known in ("processors", "scenario.hardware"), path


def test_defaults_are_those_that_are_in_force_where_nothing_is_set() -> None:
    config = to_dict(composed("preset=default"))
    for group in ("planner", "teacher", "student", "distill", "quantise", "budget", "compute", "output", "training"):
        for name, value in config[group].items():
            shown = yaml.safe_load(MISSION[f"{group}.{name}"].default.strip("`"))
            same = shown == pytest.approx(value) if isinstance(value, float | list) and value else shown == value
            assert same or float(shown) == value, (group, name)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("scenario.constellation.altitude_km", "100"),
        ("scenario.sim_step_s", "3"),
        ("planner.width", "0"),
        ("planner.budget_s", "-1"),
        ("distill.roles", "1"),
        ("teacher.clip", "2"),
        ("compute.max_restarts", "101"),
        ("seed", "-1"),
    ],
)
def test_what_is_allowed_is_what_the_program_says(path: str, value: str) -> None:
    with pytest.raises(ConfigError) as refused:
        composed(f"{path}={value}")
    sentence = str(refused.value).partition("it must be ")[2]
    assert sentence in MISSION[path].allowed


def test_units_and_meanings_by_hand() -> None:
    units = {
        "scenario.hardware.NAME.battery_Wh": "Wh",
        "scenario.hardware.NAME.disturbance_torque_Nm": "N m",
        "scenario.hardware.NAME.panel_area_m2": "m²",
        "scenario.constellation.raan_deg": "deg",
        "scenario.faults.late_s": "s",
        "budget.max_energy_mj": "mJ",
        "budget.max_ram_bytes": "bytes",
        "teacher.discount_per_s": "per second",
        "teacher.epochs": "",
    }
    assert {path: MISSION[path].unit for path in units} == units
    assert MISSION["scenario.clouds.scale_km"].meaning == "over which the sky changes"
    above = MISSION["teacher.imitation_episodes"].meaning  # two sentences on the line above the field
    assert above.startswith("Episodes cloned before RL, 0: none.")
    assert "`planner` (and the teacher's policy (Eq. 7) is no label)" in MISSION["distill.labels"].allowed
    assert MISSION["scenario.targets.cities"].allowed == "the keys below; or null"


@pytest.mark.parametrize("root", keys.ROOTS)
def test_every_root_has_its_keys(root: str) -> None:
    text = keys.markdown(root)
    assert text.count("\n| `") >= 4
    assert all(line.count(" | ") - line.count(r"\| ") >= 4 for line in text.splitlines() if line.startswith("| `"))


# --- tables and figures -----------------------------------------------------------------------------------------------


def test_methods_with_records_have_a_table_and_others_say_so() -> None:
    vdn = results.method("vdn")
    assert "VDN FO" in vdn
    assert "Simple Spread" in vdn
    assert "| 3 × 512 |" in vdn
    stored = list((ROOT / "results/runs/benchmark").glob("*-ctds-*.json"))
    assert ("holds no record of `ctds` yet" in results.method("ctds")) == (not stored)


def test_a_missions_stages_add_up_to_its_record() -> None:
    rows = re.findall(r"^\| (?!\*)[^|]+\| (\d+) \|$", results.stages("walker_cities"), re.MULTILINE)
    [whole] = re.findall(r"\*\*(\d+)\*\*", results.stages("walker_cities"))
    assert 0.9 * int(whole) < sum(map(int, rows)) <= int(whole) + len(rows)


def test_the_benchmark_of_bsk_rl_stands_beside_its_own_ppo() -> None:
    """Reward per satellite and orbit: three satellites, three orbits, the same episodes."""
    theirs = json.loads((ROOT / "results/benchmark_bskrl_aeos.json").read_text())
    [path] = (ROOT / "results/runs").glob("bskrl_aeos-*.json")
    ours = json.loads(path.read_text())
    captured = {each["label"]: [e["captured"] for e in each["episodes"]] for each in ours["policies"]}
    captured["BSK-RL's PPO, by RLlib"] = theirs["captured"]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in results.aeos().splitlines()[2:]]
    assert {row[0]: row[1].split(" ")[0] for row in rows} == {
        label: f"{sum(values) / len(values) / 9:.1f}" for label, values in captured.items()
    }
    assert all(len(values) == len(theirs["captured"]) for values in captured.values())
    assert theirs["training"]["cpu_s"] <= 1.01 * float(rows[6][3].replace(",", ""))  # no more than our students


def test_a_formula_is_a_picture_as_high_as_it_needs() -> None:
    pictures: dict[str, bytes] = {}
    text = formulas.drawn(r"so $`x_1`$ and $$y = \frac{a_b}{c}$$", pictures, "../made/")
    assert text.count("<img") == 2
    assert "$" not in text
    low, high = (
        float(ElementTree.fromstring(pictures[re.findall(r"made/(\S+?)\"", text)[index]]).attrib["height"][:-2])
        for index in (0, 1)
    )
    assert 0.5 < low < high < 4
    with pytest.raises(ValueError, match="nosuchsign"):
        formulas.drawn(r"$$\nosuchsign$$", pictures, "")


def test_the_figure_of_the_concepts_is_what_its_script_draws() -> None:
    assert (ROOT / "docs/images/concepts.svg").read_text() == concepts.svg()
    ElementTree.fromstring(concepts.svg())


def test_the_outputs_of_the_first_run_stand_behind_their_commands(tmp_path: Path) -> None:
    page = first_run.PAGE.read_text()
    assert len(first_run.BLOCK.findall(page)) == page.count("<!-- output -->") == 5
    (tmp_path / "x").write_text("")
    short = "a\n<!-- output -->\n```console\n$ ls *\nold\n```\n<!-- end of output -->\nb"
    assert first_run.remade(short, tmp_path) == short.replace("old", "x")


# --- links ------------------------------------------------------------------------------------------------------------


def test_links_to_files_of_the_project() -> None:
    text = "`code [a](b.md)`, [c `d` e](../scenarios/ranges.py) ![f](images/g.png)\n```\n[h](i.md)\n```\n[j](k.md#l)"
    assert outside.links(text) == ["../scenarios/ranges.py", "images/g.png", "k.md#l"]
    assert outside.resolved("docs/a/b.md", "../../onboard/FORMAT.md#x") == PurePosixPath("onboard/FORMAT.md")
    assert outside.resolved("docs/a.md", "../../secret") is None
    assert outside.resolved("docs/a.md", "https://example.org/x") is None
    found, dead = outside.needed(
        [("docs/a.md", "[a](../scenarios/ranges.py) [b](nowhere.md) [c](../results/onboard.md)")]
    )
    assert found[PurePosixPath("scenarios/ranges.py")] == "docs/a.md"
    assert PurePosixPath("results/onboard.md") in found
    assert dead == ["docs/a.md links to nowhere.md, and there is no docs/nowhere.md"]
    assert outside.address(PurePosixPath("scenarios/ranges.py")) == "source/scenarios/ranges.py.md"


def test_links_to_other_sites_are_text() -> None:
    page: Any = type("Page", (), {"file": type("File", (), {"src_uri": "a/b.md"})()})()
    shown = hooks.on_post_page('<a class="x" href="https://example.org/y/">Y</a>', page, None)  # type: ignore[arg-type]
    assert shown == 'Y <small class="address">(example.org/y)</small>'


class Links(HTMLParser):
    """What a page loads, and where it leads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.places: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given["id"]} if "id" in given else set()
        self.loaded += [given[name] for name in ("src", "srcset", "data-src", "action") if name in given]
        if "href" in given:
            (self.loaded if tag == "link" else self.places).append(given["href"])


@pytest.mark.slow
def test_the_built_site_needs_no_network_and_leads_nowhere_else(tmp_path: Path) -> None:
    site = tmp_path / "site"
    build = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(site)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path: Links(path.read_text()) for path in site.rglob("*.html") if path.name != "404.html"}
    assert len(pages) > 60
    for path, page in pages.items():
        for target in (*page.loaded, *page.places):
            if target.startswith(("data:", "javascript:")):
                continue
            assert "//" not in target, (path, target)
            place, _, anchor = target.partition("#")
            other = (path.parent / place).resolve() if place else path
            assert other.exists(), (path, target)
            if anchor and other in pages and not anchor.startswith("__"):
                assert anchor in pages[other].anchors, (path, target)
    whole = (site / "configuration.html").read_text()
    assert all(f"<code>{key}</code>" in whole for key in MISSION)
