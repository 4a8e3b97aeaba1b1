"""The index of all runs, by hand."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

from kdmarl_sat.report.index import ENTRY, PAGE, Entry, enter


class Links(HTMLParser):
    """Headings, links and pictures of a page in their order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.pictures: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "a":
            self.links.append(given["href"] or "")
        if tag == "img":
            self.pictures.append(given["src"] or "")

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.words.append(data.strip())


def run(name: str, date: str) -> Entry:
    return Entry(name, 3, date, "report.html", "picture.png", {"KD-MARL LH": "54.7 captured"})


def test_every_run_is_listed_newest_first(tmp_path: Path) -> None:
    for folder, entry in {
        "old": run("first", "2026-01-01T00:00:00+00:00"),
        "sweep/0-seed=0": run("a <b> & c", "2026-03-01T00:00:00+00:00"),
        "new run": run("second", "2026-02-01T00:00:00+00:00"),
    }.items():
        (tmp_path / folder).mkdir(parents=True)
        assert enter(entry, tmp_path / folder, tmp_path) == tmp_path / PAGE
    page = Links((tmp_path / PAGE).read_text())
    assert page.links[::2] == ["sweep/0-seed%3D0/report.html", "new%20run/report.html", "old/report.html"]
    assert page.pictures == ["sweep/0-seed%3D0/picture.png", "new%20run/picture.png", "old/picture.png"]
    assert [word for word in page.words if word in ("a <b> & c", "second", "first")] == ["a <b> & c", "second", "first"]
    assert "3 runs" in page.words and page.words.count("54.7 captured") == 3


WRONG = json.dumps({"title": 1, "seed": 0, "date": None, "page": "p", "picture": None, "figures": [1]})


def test_a_damaged_entry_hides_no_other_run(tmp_path: Path) -> None:
    for folder, text in {"a": "{", "b": json.dumps({"title": "no more"}), "c": "[]", "d": WRONG}.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / ENTRY).write_text(text)
    (tmp_path / "good").mkdir()
    enter(run("good", ""), tmp_path / "good", tmp_path)
    assert Links((tmp_path / PAGE).read_text()).words.count("good") == 1


def test_a_run_elsewhere_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    assert enter(run("x", ""), tmp_path / "elsewhere", tmp_path / "outputs") is None
    assert not (tmp_path / "outputs").exists()
