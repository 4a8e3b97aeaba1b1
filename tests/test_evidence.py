"""The page of deviations is that of the code, and what analysis finds, or a gap without a reason, is an error."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from kdmarl_sat.measure import doors
from kdmarl_sat.measure.evidence import analysis, coverage, deviations, forged, page
from kdmarl_sat.measure.evidence import parts as evidence
from kdmarl_sat.measure.evidence.analysis import EvidenceError
from onboard import build
from onboard.runners import BuildError


def test_the_command_knows_every_part() -> None:
    assert tuple(evidence.PARTS) == doors.PARTS


def test_the_page_is_current() -> None:
    assert evidence.PAGE.read_text() == deviations.page(), "kdmarl-sat measure evidence misra writes it"


@pytest.mark.parametrize("line", ["/* cppcheck-suppress misra-c2012-18.4 */", "/* NOLINTNEXTLINE */"])
def test_a_suppression_without_a_reason_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "kd_x.c").write_text(f"{line}\nint x;\n")
    with pytest.raises(EvidenceError, match=r"kd_x.c:1: a suppression must name its rule and, after ' ; ', why"):
        deviations.read(tmp_path)


def test_an_unjustified_finding_is_an_error(tmp_path: Path) -> None:
    """A suppression taken out of the code; and one that nothing needs."""
    if shutil.which("cppcheck") is None and not Path(sys.executable).with_name("cppcheck").exists():
        pytest.skip("cppcheck is not installed")
    shutil.copytree(build.ENGINE, tmp_path / "engine", ignore=shutil.ignore_patterns("targets"))
    (tmp_path / "engine" / "kd_bad.c").write_text("#include <stdint.h>\nint32_t kd_bad(int32_t x);\n" + BAD)
    with pytest.raises(EvidenceError, match=r"(?s)kd_bad.c:\d+: misra-c2012-15\.1"):
        analysis.analyse(tmp_path / "engine")


BAD = """int32_t kd_bad(int32_t x)
{
    if (x > 0) {
        goto end;
    }
end:
    return x;
}
"""


def line(number: int, count: int, *branches: int) -> dict[str, object]:
    return {"line_number": number, "count": count, "branches": [{"count": each} for each in branches]}


def test_a_gap_must_be_justified_and_a_justification_needed(tmp_path: Path) -> None:
    code = "a();\nif (b) { /* uncovered: cannot be */\n    c(); /* uncovered: as above */\n}\n"
    (tmp_path / "kd_x.c").write_text(code)
    file = {"file": "kd_x.c", "lines": [line(1, 5), line(2, 5, 0, 5), line(3, 0)]}
    (found,) = coverage.examined([file], tmp_path)
    assert (found.lines, found.lines_executed, found.branches, found.branches_executed) == (3, 2, 2, 1)
    assert found.uncovered == ((2, "if (b) {", "cannot be"), (3, "c();", "as above"))
    with pytest.raises(EvidenceError, match=r"kd_x.c:1 is not executed whole and gives no reason"):
        coverage.examined([{"file": "kd_x.c", "lines": [line(1, 0), *file["lines"][1:]]}], tmp_path)
    with pytest.raises(EvidenceError, match=r"kd_x.c:3 says why it is not executed, and it is"):
        coverage.examined([{"file": "kd_x.c", "lines": [line(1, 1), line(2, 5, 5, 5), line(3, 5)]}], tmp_path)


def test_the_summary_is_current() -> None:
    assert evidence.SUMMARY.read_text() == page.page(), "kdmarl-sat measure evidence page writes it"


def test_the_summary_says_what_the_records_say(tmp_path: Path) -> None:
    entry = {"bound": 130, "mean": 90.0, "most": 100}
    record = {
        "bound": {"engine": "ab" * 32, "students": "them", "cores": {"rv64gc": {"one, int8": entry}}},
        "kills_game": {"engine": "ab" * 32, "kills": [[1.0, 2, 0.25], [3.0, 0, 0.0]]},
        "forged": {"engine": "ab" * 32, "tried": 12, "refused": {"unsigned": 7, "replayed": 5}},
    }
    (tmp_path / "r.json").write_text(json.dumps(record))
    text = page.page(tmp_path / "r.json", tmp_path / "none.json")
    for said in (
        "| RV64GC | one, int8 | 130 | 90 | 100 | 1.300 |",
        "| 12 of 12 refused, of 2 kinds |",
        "| 2 kills, the same bytes after each; 2 workers left behind, gone within 0.2 s |",
        "| a run on a mission, killed and restarted | Not measured. |",
        "SHA-256 abababab.",
    ):
        assert said in text


def test_forged_and_replayed_bundles_are_refused_and_one_that_is_read_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    try:
        build.shared_library()
    except BuildError as error:
        pytest.skip(str(error))
    found = forged.measure(evidence.STUDENTS, 16)
    assert found == {"tried": 16, "refused": dict.fromkeys(forged.FORGERIES, 2)}
    monkeypatch.setattr(forged, "FORGERIES", {"nothing changed": lambda folder, key, chance: True})
    with pytest.raises(EvidenceError, match="a bundle was read that must not be: nothing changed, seed 0"):
        forged.measure(evidence.STUDENTS, 1)
