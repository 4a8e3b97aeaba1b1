"""``python -m scripts.requirements``: docs/requirements.md, each promise of the executor with its code and its tests.

A test names what it verifies by ``@pytest.mark.requirement("EX-1")``. Code is looked up by path, tests by their marks.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/requirements.md"


@dataclass(frozen=True, slots=True)
class Requirement:
    name: str
    text: str
    code: tuple[str, ...]  # paths in the project


REQUIREMENTS = (
    Requirement(
        "EX-1",
        "A bundle that exceeds a limit of its budget does not fly, and every violation is named with number and limit.",
        ("onboard/admission.py", "onboard/budget.py"),
    ),
    Requirement(
        "EX-2",
        "A machine that does not reproduce the golden decisions does not fly.",
        ("onboard/golden_check.py", "onboard/golden.py"),
    ),
    Requirement(
        "EX-3",
        "An observation that is not finite, or a mask without a legal action, is not shown to the network.",
        ("onboard/checks.py", "onboard/executor.py"),
    ),
    Requirement(
        "EX-4",
        "An answer after the deadline is discarded, and the hidden state stays that of the last accepted decision.",
        ("onboard/executor.py", "onboard/runners/isolated.py"),
    ),
    Requirement(
        "EX-5",
        "An unusable answer, or none, gives the first legal fallback action.",
        ("onboard/checks.py", "onboard/executor.py"),
    ),
    Requirement(
        "EX-6",
        "No decision is made with weights of which a single bit has changed.",
        ("onboard/engine/kd_engine.c", "onboard/reference.py"),
    ),
    Requirement(
        "EX-7", "Upset weights are reloaded, and the decision is computed again once.", ("onboard/executor.py",)
    ),
    Requirement(
        "EX-8",
        "A runner that was stopped or broke down is started again with the next decision.",
        ("onboard/executor.py",),
    ),
    Requirement(
        "EX-9",
        "After max_misses decisions without a usable answer in a row a satellite is in safe mode until resumed.",
        ("onboard/executor.py",),
    ),
    Requirement(
        "EX-10",
        "Beyond a limit the guard orders the safe action, until the quantity is back by its margin.",
        ("onboard/guard.py",),
    ),
    Requirement(
        "EX-11",
        "Every runner gives the same bits: reference, native, isolated, emulated.",
        (
            "onboard/reference.py",
            "onboard/engine/kd_engine.c",
            "onboard/engine/kd_linear.c",
            "onboard/runners/isolated.py",
        ),
    ),
    Requirement(
        "EX-12",
        "The engine is freestanding: no heap, no library, no undefined behaviour that sanitizers find.",
        ("onboard/engine/kd_engine.c", "onboard/engine/kd_table.c", "onboard/engine/kd_math.h"),
    ),
    Requirement(
        "EX-13",
        "A damaged bundle or weight table is refused in one sentence; nothing that is loaded can run code.",
        ("onboard/bundle.py", "onboard/tensors.py", "onboard/table.py", "onboard/engine/kd_table.c"),
    ),
    Requirement(
        "EX-14",
        "With a key configured, an unsigned, foreign or older bundle does not fly.",
        ("onboard/authentic.py", "onboard/engine/kd_seal.c", "onboard/engine/kd_sha256.c"),
    ),
    Requirement(
        "EX-15",
        "An isolated worker runs within its limits; a worker that exceeds one is killed and replaced.",
        ("onboard/runners/isolated.py", "onboard/engine/worker.c"),
    ),
    Requirement(
        "EX-16",
        "A satellite sends at most one message per decision, within the bits that are granted.",
        ("onboard/executor.py",),
    ),
    Requirement("EX-17", "A flight log is written whole or not at all.", ("onboard/flightlog.py",)),
    Requirement(
        "EX-18",
        "A replay of a recorded flight gives the same actions, and shows the first difference otherwise.",
        ("onboard/recording.py", "onboard/replay.py"),
    ),
    Requirement(
        "EX-19", "In shadow mode the executor decides and logs, but no action is executed.", ("onboard/executor.py",)
    ),
    Requirement(
        "EX-20",
        "An exported student gives the reference's bits in C, and stays within 1e-5 of it as ONNX.",
        ("onboard/export_c.py", "training/missions/export_onnx.py"),
    ),
    Requirement(
        "EX-21",
        "The stated cost of a network (parameters, MACs, bytes, RAM) equals what torch and the engine count.",
        ("onboard/network.py",),
    ),
    Requirement(
        "EX-22",
        "A message is computed to the same bits by every runner, and never from upset weights.",
        ("onboard/reference.py", "onboard/engine/kd_engine.c"),
    ),
)


def tests() -> dict[str, list[tuple[str, str]]]:
    """By requirement: file and name of every test that is marked with it."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for file in sorted((ROOT / "tests").glob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef):
                for mark in node.decorator_list:
                    if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.requirement":
                        for argument in mark.args:
                            found[ast.literal_eval(argument)].append((file.name, node.name))
    return found


def page() -> str:
    """The table as Markdown."""
    marked = tests()
    lines = [
        "# Requirements of the executor, with the tests that verify them",
        "",
        "`python -m scripts.requirements` writes this page from the tests' marks. `pytest -m requirement` runs them.",
        "",
        "| | requirement | code | tests |",
        "|---|---|---|---|",
    ]
    for each in REQUIREMENTS:
        code = "<br>".join(f"`{path}`" for path in each.code)
        shown = "<br>".join(
            f"`{file}`: {name.removeprefix('test_').replace('_', ' ')}" for file, name in marked[each.name]
        )
        lines.append(f"| {each.name} | {each.text} | {code} | {shown} |")
    return "\n".join([*lines, ""])


def main() -> None:
    PAGE.write_text(page())
    print(PAGE)


if __name__ == "__main__":
    main()
