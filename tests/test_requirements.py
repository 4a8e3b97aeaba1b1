"""Every requirement has its tests, every mark its requirement, and the page is current."""

from __future__ import annotations

from scripts import requirements


def test_every_requirement_is_tested_and_every_mark_known() -> None:
    assert sorted(requirements.tests()) == sorted(each.name for each in requirements.REQUIREMENTS)


def test_the_code_is_there() -> None:
    assert [
        path for each in requirements.REQUIREMENTS for path in each.code if not (requirements.ROOT / path).exists()
    ] == []


def test_the_page_is_current() -> None:
    assert requirements.PAGE.read_text() == requirements.page(), "python -m scripts.requirements writes it"
