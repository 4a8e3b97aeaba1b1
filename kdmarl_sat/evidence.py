"""``python -m kdmarl_sat.evidence PART...``: what is known about the C engine by analysis, not by flying it.

analysis   cppcheck with MISRA C:2012, clang-tidy, compiler warnings: every finding is an error
misra      writes docs/misra.md from the suppressions in the code
coverage   statements and branches that the engine's tests and the fuzzer's seeds execute
eva        Frama-C's value analysis: no undefined behaviour, whatever the weights and observations
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from envs.files import write_whole
from kdmarl_sat.command import sentences
from kdmarl_sat.engine_evidence import analysis, coverage, deviations, eva
from training.artifact import ROOT

PAGE = ROOT / "docs" / "misra.md"
RECORD = ROOT / "results" / "evidence.json"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="kdmarl_sat.evidence", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts: dict[str, Callable[[], str]] = {"analysis": _analysis, "misra": _misra, "coverage": _coverage, "eva": _eva}
    parser.add_argument("parts", nargs="+", choices=parts, metavar="PART", help=f"of {', '.join(parts)}")
    chosen = parser.parse_args(arguments).parts
    with sentences(parser.prog):
        for name in chosen:
            print(f"{name}: {parts[name]()}", flush=True)
