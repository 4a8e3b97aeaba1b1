"""python -m onboard.count_instructions: what one decision costs on emulated processors, counted.

Builds the C engine for every target, replays a bundle's golden decisions on it, compares each bit with the native
engine, and counts instructions. Writes results/instructions.json. Where a target's Debian packages are missing, its
figures come from the closed form and are labelled so.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onboard import build, closed_form, emulation, instructions, quantise
from onboard.bundle import read_bundle
from onboard.closed_form import ClosedForm, Terms, terms
from onboard.emulation import Target
from onboard.instructions import Decisions
from onboard.network import Dtype, Network
from onboard.runners.native import SCRUB_WORDS, NativeRunner
from onboard.spec import AgentSpec

BUNDLE = Path("results/bundles/imaging_constellation-lh_a")
RESULTS = Path("results/instructions.json")

# What a small engine for one network alone took (obs 80 -> linear, relu -> GRU cell -> linear, 11 actions), without a
# check of its weights: not to be exceeded by kd_step.
EARLIER = {
    "cortex-m7": (22102, 22674, 62379, 58720, 2.56e6),
    "cortex-m4": (22102, 22674, 62379, 58720, 2.56e6),
    "leon3": (26828, 31191, 74874, 81342, 3.01e6),
    "ppc750": (23659, 35186, 64668, 83350, 3.02e6),
    "cortex-a53": (14688, 9455, 39123, 18244, 0.92e6),
    "rv64gc": (26017, 29183, 73238, 77933, 3.40e6),
}
_F, _I = Dtype.FLOAT32, Dtype.INT8
_PLAIN = {"s16": (80, 16, 11), "s32": (80, 32, 11), "t256": (80, 256, 11)}  # O, H, A
_COLUMNS = (("s16", _F), ("s16", _I), ("s32", _F), ("s32", _I), ("t256", _F))
# Shapes that the closed form is fitted to. It is checked on those above and on the bundle's.
FIT_PLAIN = (  # O, H, A
    (40, 8, 5), (128, 24, 16), (30, 12, 7), (200, 64, 20), (78, 48, 13), (54, 20, 13), (16, 16, 4), (300, 32, 40),
    (100, 128, 16),
)  # fmt: skip
FIT_SLOTTED = (  # C, F, K, H
    (6, 4, 12, 16), (10, 3, 6, 8), (8, 8, 20, 24), (5, 5, 8, 48), (6, 5, 12, 12), (12, 7, 16, 20), (6, 6, 30, 64),
    (20, 2, 4, 32), (7, 6, 10, 40),
)  # fmt: skip
_STEPS = 6  # decisions of a random network

_FORMULA = "instructions of kd_decide = sum of coefficient * term (onboard/closed_form.py) + fixed"
_HEADING = (
    "Instructions of one decision on emulated processors, and the figures not to be exceeded\n"
    "s16, s32, t256: obs 80 -> linear, relu -> GRU (16, 32, 256) -> linear 11.\n"
    "step: the network alone; decide: as flown, with the check of its weights"
)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A network whose decisions are counted."""

    name: str
    net: Network
    spec: AgentSpec
    decisions: Decisions

    @property
    def terms(self) -> Terms:
        return terms(self.spec, self.net.design)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m onboard.count_instructions", description=__doc__)
    parser.add_argument("--bundle", type=Path, default=BUNDLE, help="whose golden decisions are replayed")
    parser.add_argument("--results", type=Path, default=RESULTS, help="JSON file to write")
    parser.add_argument("--install", action="store_true", help="install missing Debian packages first")
    parser.add_argument("--fit", action="store_true", help="replace the closed form's coefficients by those fitted now")
    options = parser.parse_args(arguments)
    try:
        _run(options)
    except (OSError, ValueError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def _run(options: argparse.Namespace) -> None:
    targets = list(emulation.TARGETS.values())
    if options.install and (packages := sorted({name for target in targets for name in target.missing})):
        print(emulation.install(packages))
    flown = _flown(options.bundle)
    shapes = [_plain(name, shape, dtype) for name, shape in _PLAIN.items() for dtype in Dtype]
    fitted = [_plain("", shape, dtype) for shape in FIT_PLAIN for dtype in Dtype]
    fitted += [_slotted(shape, dtype) for shape in FIT_SLOTTED for dtype in Dtype]
    print(_HEADING)
    records, forms = {}, {}
    for target in targets:
        if target.missing:
            print(f"{target.core:12s} closed form, not counted: {' '.join(target.missing)} not installed")
            print(_row("", [f"{name} {dtype.value}" for name, dtype in _COLUMNS]))
            print(_row("modelled", [_modelled(target, case) for case in _select(shapes)]))
            continue
        records[target.name], forms[target.name] = _measure(target, shapes, flown, fitted)
    if not records:
        print("nothing was counted, and no file written")
        return
    _write(options.results, {"formula": _FORMULA, "scrub_words": SCRUB_WORDS, "engine": _digest(), "targets": records})
    print(f"wrote {options.results}")
    if options.fit:
        if len(forms) < len(targets):
            raise ValueError("the closed form is replaced as a whole, and some targets were not counted")
        content = {"formula": _FORMULA, "scrub_words": SCRUB_WORDS, "engine": _digest(), "cores": forms}
        _write(closed_form.FILE, content)
        print(f"wrote {closed_form.FILE}")


def _measure(
    target: Target, shapes: Sequence[Case], flown: Sequence[Case], fitted: Sequence[Case]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Count, compare and print one target; its record of results, and its closed form for each weight type."""
    counted = {case.name: _count(target, case) for case in (*shapes, *flown)}
    basis = [(case, _count(target, case)["decide"]["mean"]) for case in fitted]
    unseen = [(case, counted[case.name]["decide"]["mean"]) for case in (*shapes, *flown)]
    form = {dtype.value: _fit(basis, unseen, dtype) for dtype in Dtype}
    versions = emulation.versions(target)
    print(f"{target.core:12s} {versions['compiler']}; {versions['emulator']}")
    print(_row("", [f"{name} {dtype.value}" for name, dtype in _COLUMNS]))
    selected = [counted[case.name] for case in _select(shapes)]
    print(_row("step", [entry["step"]["most"] for entry in selected]))
    if target.name in EARLIER:
        print(_row("not above", EARLIER[target.name]))
    print(_row("decide", [entry["decide"]["most"] for entry in selected]))
    for case in flown:
        entry = counted[case.name]
        same = f"{entry['identical']} of {len(case.decisions)} decisions bit-identical to the native engine"
        print(f"  {case.name:30s} step {entry['step']['mean']:9,.0f}  decide {entry['decide']['mean']:9,.0f}  {same}")
    for dtype, entry in form.items():
        error = f"within {100 * entry['worst']:.1f} % of {entry['shapes']} shapes"
        print(f"  closed form, {dtype}: {error}, {100 * entry['worst_unseen']:.1f} % of {entry['unseen']} unseen ones")
    record = {
        "core": target.core,
        **versions,
        "flags": " ".join(target.flags),
        "emulator_command": " ".join(target.emulator),
        "counts": counted,
        "not_above": EARLIER.get(target.name),
        "closed_form": form,
    }
    return record, form


def _count(target: Target, case: Case) -> dict[str, Any]:
    counts, answers = instructions.count(target, case.net, case.spec, case.decisions)
    identical = sum(ours == theirs for ours, theirs in zip(answers, _native(case), strict=True))
    return {**dataclasses.asdict(counts), "terms": dataclasses.asdict(case.terms), "identical": identical}


def _native(case: Case) -> list[bytes]:
    """The same decisions on this machine, each as logits and next hidden state."""
    runner = NativeRunner(case.net, case.spec)
    hidden = np.zeros(case.net.design.hidden, np.float32)
    answers = []
    for obs, mask in case.decisions:
        logits, hidden = runner.step(obs, mask, hidden)
        answers.append(logits.tobytes() + hidden.tobytes())
    return answers


def _fit(basis: Sequence[tuple[Case, float]], unseen: Sequence[tuple[Case, float]], dtype: Dtype) -> dict[str, Any]:
    known = [(case.terms, number) for case, number in basis if case.net.design.dtype is dtype]
    fresh = [(case.terms, number) for case, number in unseen if case.net.design.dtype is dtype]
    form: ClosedForm = instructions.fit(known)
    return {
        "coefficients": dataclasses.asdict(form),
        "shapes": len(known),
        "worst": round(instructions.worst(form, known), 5),
        "unseen": len(fresh),
        "worst_unseen": round(instructions.worst(form, fresh), 5),
    }


def _flown(bundle: Path) -> list[Case]:
    """Each satellite's student with its golden decisions, as it is and with int8 weights."""
    cases = []
    for satellite in read_bundle(bundle).satellites:
        decisions = list(zip(satellite.golden.obs, satellite.golden.mask, strict=True))
        for net in (satellite.network, quantise.quantised(satellite.network)):
            name = f"{satellite.spec.name} {net.design.hidden} {net.design.dtype.value}"
            cases.append(Case(name, net, satellite.spec, decisions))
    return cases


def _plain(name: str, shape: tuple[int, int, int], dtype: Dtype) -> Case:
    net, spec = instructions.plain(*shape, dtype)
    return Case(f"{name} {dtype.value}", net, spec, instructions.random_decisions(spec, _STEPS))


def _slotted(shape: tuple[int, int, int, int], dtype: Dtype) -> Case:
    net, spec = instructions.slotted(*shape, dtype)
    return Case("", net, spec, instructions.random_decisions(spec, _STEPS))


def _select(shapes: Sequence[Case]) -> list[Case]:
    by_name = {case.name: case for case in shapes}
    return [by_name[f"{name} {dtype.value}"] for name, dtype in _COLUMNS]


def _modelled(target: Target, case: Case) -> float:
    return closed_form.instructions(target.name, case.spec, case.net.design)


def _row(label: str, cells: Sequence[object]) -> str:
    shown = [cell if isinstance(cell, str) else f"{cell:,.0f}" for cell in cells]
    return f"  {label:10s}" + "".join(f"{cell:>14s}" for cell in shown)


def _digest() -> str:
    """Of the engine's sources: counts belong to them."""
    content = b"".join((build.ENGINE / name).read_bytes() for name in sorted(build.SOURCES))
    headers = b"".join(path.read_bytes() for path in sorted(build.ENGINE.glob("kd_*.h")))
    return hashlib.sha256(content + headers).hexdigest()


def _write(path: Path, content: object) -> None:
    """Under a temporary name, then renamed."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
