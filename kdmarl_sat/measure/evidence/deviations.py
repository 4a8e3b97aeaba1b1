"""docs/misra.md: every deviation of the C engine from MISRA C:2012, read from the suppressions in its code.

A suppression is a comment of one line, with the reason after a semicolon:

    /* cppcheck-suppress misra-c2012-11.4 ; reason */         the next line; [a, b] for more than one rule
    /* cppcheck-suppress-file misra-c2012-15.5 ; reason */    the whole file
    /* NOLINTNEXTLINE(check) ; reason */                      clang-tidy: the next line
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from kdmarl_sat.measure.evidence.analysis import EvidenceError
from onboard import build

# The rules that are deviated from: category and subject, in our words (the rules' text is MISRA's).
RULES = {
    "8.7": ("advisory", "external linkage where one file uses a function"),
    "8.9": ("advisory", "an object outside of the one function that uses it"),
    "10.3": ("required", "assignment to a narrower or other essential type"),
    "11.4": ("advisory", "conversion between a pointer and an integer"),
    "14.1": ("required", "a loop counter of floating type"),
    "15.5": ("advisory", "more than one exit of a function"),
    "18.4": ("advisory", "arithmetic on a pointer"),
    "19.2": ("advisory", "a union"),
    "20.9": ("required", "an undefined identifier in a preprocessor condition"),
}
_MISRA = "misra-c2012-"
_COMMENT = re.compile(r"/\* (?P<how>cppcheck-suppress-file|cppcheck-suppress|NOLINTNEXTLINE)(?P<rest>.*?)\*/")
_CPPCHECK = re.compile(r" \[?(?P<ids>[\w.-]+(?:, [\w.-]+)*)\]? ; (?P<reason>\S.*)")
_TIDY = re.compile(r"\((?P<ids>[\w.-]+(?:, [\w.-]+)*)\) ; (?P<reason>\S.*)")


@dataclass(frozen=True, slots=True)
class Deviation:
    """One suppressed rule at one place."""

    rule: str  # "misra-c2012-15.5", or the name of a check
    file: str
    line: str  # the code that deviates; "": the whole file
    reason: str


def read(folder: Path = build.ENGINE) -> list[Deviation]:
    """In the order of files and lines.

    Raises EvidenceError: a suppression without a reason, or of a rule that RULES does not know.
    """
    found = []
    for path in sorted(folder.glob("kd_*.[ch]")):
        lines = path.read_text().splitlines()
        for index, line in enumerate(lines):
            if "cppcheck-suppress" not in line and "NOLINT" not in line:
                continue
            comment = _COMMENT.search(line)
            pattern = _TIDY if comment is not None and comment["how"] == "NOLINTNEXTLINE" else _CPPCHECK
            parts = pattern.fullmatch(comment["rest"].rstrip()) if comment is not None else None
            if comment is None or parts is None:
                raise EvidenceError(f"{path.name}:{index + 1}: a suppression must name its rule and, after ' ; ', why")
            code = "" if comment["how"].endswith("-file") else lines[index + 1].strip()
            for rule in parts["ids"].split(", "):
                if rule.startswith(_MISRA) and rule.removeprefix(_MISRA) not in RULES:
                    raise EvidenceError(f"{path.name}:{index + 1}: {rule} is not among RULES in deviations.py")
                found.append(Deviation(rule, path.name, code, parts["reason"]))
    return found


def page(folder: Path = build.ENGINE) -> str:
    """docs/misra.md."""
    deviations = read(folder)
    misra = [each for each in deviations if each.rule.startswith(_MISRA)]
    others = [each for each in deviations if not each.rule.startswith(_MISRA)]
    rules = sorted({each.rule for each in misra}, key=_number)
    text = [_HEAD]
    for rule in rules:
        category, subject = RULES[rule.removeprefix(_MISRA)]
        text.append(f"\n## Rule {rule.removeprefix(_MISRA)} ({category}): {subject}\n\n{_TABLE}")
        text += [_row(each) for each in misra if each.rule == rule]
    if others:
        text.append(f"\n## Other checks\n\n| check {_TABLE}".replace("|---", "|---|---", 1))
        text += [f"| {each.rule} {_row(each)}" for each in others]
    return "\n".join(text) + "\n"


def _number(rule: str) -> tuple[int, ...]:
    return tuple(int(part) for part in rule.removeprefix(_MISRA).split("."))


def _row(each: Deviation) -> str:
    code = f"`{each.line}`".replace("|", r"\|") if each.line else "the whole file"
    return f"| {each.file} | {code} | {each.reason} |"


_TABLE = "| file | where | why |\n|---|---|---|"
_HEAD = """\
# Deviations from MISRA C:2012

`kdmarl-sat measure evidence misra` writes this page from the suppressions in `onboard/engine/kd_*`. `make analyse`,
which `make check` runs, checks the engine by cppcheck with its MISRA C:2012 addon, by clang-tidy and by the compiler's
warnings and analyser. Every finding that is not listed here is an error. A suppression that is not needed is an error
too.

This page makes no claim about what the addon does not check. The addon has no check for some rules. Directives need a
human reader and are outside its scope. The engine is not claimed to be MISRA compliant: it has no compliance matrix or
deviation permits."""
