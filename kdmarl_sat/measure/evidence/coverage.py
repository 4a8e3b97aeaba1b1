"""Statements and branches of the C engine that its tests and the fuzzer execute, by gcov and gcovr.

Whatever is not executed must say why in the code, in a comment on its line or alone on the line before:

    /* uncovered: reason */

A comment at a line that is executed whole is an error as well.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdmarl_sat.measure.evidence.analysis import EvidenceError, sources, tool
from onboard import build

ROOT = build.ENGINE.parents[1]
TESTS = ROOT / "tests" / "engine"
CORPUS = ROOT / "build" / "fuzz" / "corpus"  # what `make fuzz` found, where it has run
MUTATIONS = 1000  # of each seed
_FLAGS = ("-std=c99", "-ffp-contract=off", "-O0", "-g", "--coverage")  # -O0: branches as they are written
_UNFIT = "not other_compilers and not nothing_is_linked and not does_not_compile and not sanitizers"  # build theirs
_REASON = re.compile(r"/\* uncovered: (.+?) \*/")


@dataclass(frozen=True, slots=True)
class Covered:
    """One file: statements and branches, those executed, and why the others are not."""

    file: str
    lines: int
    lines_executed: int
    branches: int
    branches_executed: int
    uncovered: tuple[tuple[int, str, str], ...]  # line number, code, reason


def measure() -> list[Covered]:
    """Build the engine with counters, run its tests, seeds, mutations and corpus, and read the counters.

    Raises EvidenceError: no gcc or gcovr, a test that fails, or a gap without a reason.
    """
    with tempfile.TemporaryDirectory(prefix="kdmarl_sat_coverage.") as name:
        folder = Path(name)
        engine = [str(path) for path in sources()]
        library, check, replay = (_place(folder, program) for program in ("kd.so", "check", "replay"))
        _compile(library, ["-fPIC", "-shared", "-ffreestanding", *engine])
        include = [f"-I{build.ENGINE}", f"-I{TESTS}", str(TESTS / "fuzz_table.c")]
        _compile(check, [*include, str(TESTS / "check.c"), *engine])
        _compile(replay, [*include, str(TESTS / "replay.c"), *engine])
        _run([sys.executable, "-m", "tests.engine.seeds", str(folder / "seeds")])
        seeds = sorted(str(path) for path in (folder / "seeds").iterdir())
        _run([str(check), str(MUTATIONS), *seeds])
        _run([str(replay), *seeds, *(sorted(map(str, CORPUS.iterdir())) if CORPUS.is_dir() else ())])
        files = [f"tests/test_onboard_{name}.py" for name in ("engine", "messages", "authentic")]
        tests = [*files, "-k", _UNFIT, "-p", "tests.engine.instrumented"]
        _run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests], KD_LIBRARY=str(library))
        found = folder / "coverage.json"
        _run([tool("gcovr"), "--root", str(ROOT), "--filter", r".*onboard/engine/kd_.*", "--json", str(found), name])
        return examined(json.loads(found.read_text())["files"])


def examined(files: Sequence[dict[str, Any]], root: Path = ROOT) -> list[Covered]:
    """What gcovr's JSON says of each file.

    Raises EvidenceError: a statement or branch that is not executed gives no reason, or one that is gives one.
    """
    covered, wrong = [], []
    for file in files:
        code = (root / file["file"]).read_text().splitlines()
        name = Path(file["file"]).name
        branches = [branch for line in file["lines"] for branch in line["branches"]]
        gaps = [
            line["line_number"]
            for line in file["lines"]
            if line["count"] == 0 or any(branch["count"] == 0 for branch in line["branches"])
        ]
        reasons = {number: _reason(code, number) for number in gaps}
        silent = [number for number in gaps if not reasons[number]]
        wrong += [f"{name}:{number} is not executed whole and gives no reason" for number in silent]
        for number, text in enumerate(code, 1):
            if _REASON.search(text) and not {number, number + 1} & set(gaps):
                wrong.append(f"{name}:{number} says why it is not executed, and it is")
        covered.append(
            Covered(
                name,
                len(file["lines"]),
                sum(line["count"] > 0 for line in file["lines"]),
                len(branches),
                sum(branch["count"] > 0 for branch in branches),
                tuple((number, _code(code[number - 1]), reasons[number]) for number in gaps),
            )
        )
    if wrong:
        raise EvidenceError("; ".join(wrong))
    return covered


def _reason(code: Sequence[str], number: int) -> str:
    """Of a line, counted from 1; "": none."""
    before = code[number - 2].strip() if number > 1 else ""
    found = _REASON.search(code[number - 1]) or (_REASON.fullmatch(before) if before else None)
    return found[1] if found else ""


def _code(line: str) -> str:
    return _REASON.sub("", line).strip()


def _place(folder: Path, program: str) -> Path:
    """A program in a folder of its own, where its counters will lie too."""
    (folder / f"of_{program}").mkdir()
    return folder / f"of_{program}" / program


def _compile(target: Path, arguments: Sequence[str]) -> None:
    _run(["gcc", *_FLAGS, *arguments, "-o", str(target)], cwd=target.parent)


def _run(command: Sequence[str], cwd: Path = ROOT, **environment: str) -> None:
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": paths, **environment},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=900,
        )
    except FileNotFoundError as error:
        raise EvidenceError(f"coverage needs {command[0]}, which is not installed") from error
    if done.returncode != 0:
        raise EvidenceError(f"{Path(command[0]).name} failed: {(done.stdout + done.stderr).strip()[-2000:]}")
