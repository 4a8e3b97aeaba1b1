"""Commands whose output goes nowhere, or somewhere that cannot show it."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest
from rich.console import Console as RichConsole

from kdmarl_sat import console
from tests.test_config import ROOT

COMMANDS = ("run", "export", "benchmark", "fly", "quantise", "transfer", "measure soak")


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A line of bash in which $P is Python; PIPESTATUS of its first command is the exit code."""
    return subprocess.run(
        ["bash", "-c", f"{line}; exit ${{PIPESTATUS[0]}}"],
        cwd=ROOT,
        env={**os.environ, "P": sys.executable, **environment},
        capture_output=True,
        timeout=60,
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_help_into_a_pipe_that_is_closed(name: str) -> None:
    done = shell(f"$P -m kdmarl_sat {name} --help | true")
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_full_disk_behind_the_output_is_one_sentence(tmp_path: object) -> None:
    done = shell(f"$P -m kdmarl_sat sign new-key {tmp_path}/key > /dev/full")
    assert (done.returncode, done.stderr) == (1, b"kdmarl-sat sign: No space left on device\n")


@pytest.mark.parametrize("name", ["sign", "measure evidence", "export"])
def test_help_for_nobody(name: str) -> None:
    done = shell(f"$P -m kdmarl_sat {name} --help >&-")
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-16"])
def test_what_an_encoding_lacks_is_written_otherwise(encoding: str) -> None:
    line = "from kdmarl_sat.streams import prepare; prepare(); print('3 → 4 µs ± 1 ─ ü 漢 \\udcff')"
    done = shell(f'$P -c "{line}"', PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    said = done.stdout.decode(encoding)
    assert said.startswith("3 -> 4 ") or encoding == "utf-16"
    assert "s " in said and "\\udcff" in said


def test_plain_letters_stand_for_what_ascii_lacks() -> None:
    line = "from kdmarl_sat.streams import prepare; prepare(); print('3 → 4 µs ± 1 ─ü')"
    assert shell(f'$P -c "{line}"', PYTHONIOENCODING="ascii").stdout == b"3 -> 4 us +/- 1 -\\xfc\n"


def test_a_sentence_in_ascii() -> None:
    done = shell("$P -m kdmarl_sat.run \"scenario.name='jürgen x'\"", PYTHONIOENCODING="ascii")
    assert done.returncode == 2
    assert done.stderr.startswith(b"kdmarl-sat: scenario.name='j\\xfcrgen x' is not allowed: ")


@pytest.mark.parametrize(("closed", "code"), [(">&-", 0), ("2>&-", 0), (">&- 2>&-", 0), ("<&- >&- 2>&-", 0)])
def test_closed_streams(closed: str, code: int) -> None:
    done = shell(f"$P -m kdmarl_sat.run --cfg job {closed}")
    assert (done.returncode, done.stderr) == (code, b"")


def test_a_file_opened_later_does_not_take_the_place_of_a_closed_stream(tmp_path: object) -> None:
    line = f"import os, kdmarl_sat.streams as s; s.prepare(); n = os.dup(2); open('{tmp_path}/said', 'w').write(str(n))"
    done = shell(f'$P -c "{line}" <&- >&- 2>&-')
    assert done.returncode == 0
    with open(f"{tmp_path}/said") as said:
        assert int(said.read()) > 2


def test_paths_are_not_broken_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    told = io.StringIO()
    for columns in ("20", "80"):
        monkeypatch.setenv("COLUMNS", columns)
        with console.Console() as ours:
            ours._rich.file = told
            ours.say("report: " + "folder/" * 40)
    assert [line for line in told.getvalue().splitlines() if line] == ["report: " + "folder/" * 40] * 2


def test_tables_in_a_file_have_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert console.plain_console().width == console.FILE_COLUMNS
    monkeypatch.setenv("COLUMNS", "20")
    assert isinstance(found := console.plain_console(), RichConsole) and found.width == 20
