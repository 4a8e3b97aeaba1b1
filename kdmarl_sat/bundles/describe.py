"""A bundle's networks described for a reviewer (after ED-324's machine-learning model description, arXiv 2509.18681).

Equations with this bundle's sizes, order of summation and number formats, costs against limits, golden decisions as
they come out on this machine, and digests. Everything is read from the bundle or computed now.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
from pathlib import Path

from kdmarl_sat.report.formats import MISSING
from onboard import table
from onboard.admission import measure
from onboard.budget import margins
from onboard.bundle import MANIFEST, Bundle, SatelliteBundle, read_bundle
from onboard.golden_check import GoldenError, check_golden
from onboard.network import Architecture, linears, tensor_types
from onboard.runners import BuildError, Runner, choose
from onboard.runners.reference import ReferenceRunner

_EQUATIONS = {
    Architecture.OPPORTUNITY: (
        "u = W_c c + b_c",
        "e_0 = relu(u);  e_j = relu(u + W_x x_j)",
        "g = e_0 + mean over legal slots of e_j",
        "r, z, n = the three gates of the GRU of g and h;  h' = (1 - z) n + z h",
        "q = W_h h' + b_h;  s_j = relu(W_e e_j + q)",
        "logits: W_f s_0 + b_f of the fixed actions, w_s . s_j + b_s of slot j",
    ),
    Architecture.RECURRENT: (
        "e = f(W_e o + b_e), f the activation",
        "r, z, n = the three gates of the GRU of e and h;  h' = (1 - z) n + z h",
        "logits: W_o h' + b_o",
    ),
}
_SENDING = (
    "a = W_m [relu(W_e o* + b_e), h] + b_m, o* being o with its last block, what is heard, at 0",
    "message, sent before the decision: bit k is 1 where a_k >= 0",
)


def describe(folder: Path) -> str:
    """The description as Markdown.

    Raises:
        onboard.bundle.BundleError: the bundle is damaged.
    """
    bundle = read_bundle(folder)
    manifest = (folder / MANIFEST).read_bytes()
    lines = [
        f"# Model description: {bundle.scenario}",
        "",
        f"`kdmarl-sat describe bundle={folder.name}` writes this page from the bundle.",
        "",
        *_rows(
            ("", ""),
            [
                ("SHA-256 of the manifest", f"`{hashlib.sha256(manifest).hexdigest()}`"),
                ("bundle format", str(json.loads(manifest)["version"])),
                ("signed, sequence number", MISSING if bundle.sequence is None else str(bundle.sequence)),
                *((name, f"`{json.dumps(value)}`") for name, value in bundle.provenance.items()),
            ],
        ),
        "",
        *_behaviour(),
    ]
    for satellite in bundle.satellites:
        lines += ["", *_satellite(satellite)]
    return "\n".join([*lines, "", *_machine(bundle), ""])


def _behaviour() -> list[str]:
    """What holds for every network of every bundle."""
    return [
        "## Behaviour",
        "",
        "- **Order of summation**: a linear map begins with its bias and adds its products in the order of its inputs,",
        "  rounded after each operation, never fused. The slot score is summed in eight parts, the mean slot by slot.",
        '  `onboard/FORMAT.md`, "To the bit", has every operation.',
        "- **Number formats**: float32 (IEEE 754); numbers too small for it are 0. int8 weights have one float32 scale",
        "  per output, and inputs are rounded to 2047 steps to each side of the vector's largest magnitude.",
        "- **Exponentials** are the engine's own, the same polynomial on every processor (`onboard/engine/kd_math.h`).",
        "- **The choice** is the first legal action of the largest logit.",
        "- **Memory**: the hidden state h, H numbers within [-1, 1], zero at the start and after a reset.",
        "- **Error margins**: every runner gives the same bits. A written bundle's logits are within 1e-5",
        "  (float32) or 1e-2 (int8) of torch's, relative above 1; an exported ONNX graph's are within the same.",
        "  `results/onboard.md` has what was measured.",
        "- **Requirements, code and tests**: `docs/requirements.md`.",
    ]


def _satellite(satellite: SatelliteBundle) -> list[str]:
    spec, design, golden = satellite.spec, satellite.network.design, satellite.golden
    sizes = {"H (hidden units)": design.hidden, "O (observation)": spec.obs_size, "K (slots)": spec.slots,
             "M (fixed actions)": len(spec.fixed_actions), "A (actions)": len(spec.actions)}  # fmt: skip
    if design.message_bits:
        sizes["B (bits of a message)"] = design.message_bits
    dumped = hashlib.sha256(table.dump(satellite.network, spec)).hexdigest()
    kind = f"{design.architecture.value}, {design.dtype.value}, {design.activation.value}"
    return [
        f"## {spec.name} ({spec.hardware})",
        "",
        f"{kind}; " + ", ".join(f"{name} = {value}" for name, value in sizes.items()) + ".",
        "",
        "```",
        *_EQUATIONS[design.architecture],
        *(_SENDING if design.message_bits else ()),
        "```",
        "",
        *_rows(
            ("input block", "columns", "slots", "unit", "scale", "MACs to compute it, at most"),
            [
                (block.name, str(block.size), str(block.slots), block.unit, f"{block.scale:g}", f"{block.macs:,}")
                for block in spec.blocks
            ],
        ),
        "",
        *_rows(
            ("tensor", "shape", "type"),
            [
                (name, " × ".join(map(str, shape)), str(kind))
                for name, (shape, kind) in tensor_types(spec, design).items()
            ],
        ),
        "",
        f"{len(linears(spec, design))} linear maps. Weight table: SHA-256 `{dumped}`.",
        "",
        *_rows(
            ("cost of a decision", "value", "limit"),
            [
                (
                    f"{margin.quantity}{f', {margin.unit}' if margin.unit else ''}",
                    f"{margin.value:,.6g}",
                    f"{margin.limit:,.6g}",
                )
                for margin in margins(measure(satellite), satellite.budget)
            ],
        ),
        "",
        f"Fallback actions: {', '.join(satellite.fallback)}. Deadline: {satellite.budget.deadline_ms:g} ms. "
        f"Safe mode after {satellite.budget.max_misses} misses. "
        f"Golden decisions: {len(golden.action)}, {'to the bit' if golden.exact else 'within a tolerance'}, actions "
        f"{', '.join(dict.fromkeys(spec.actions[int(action)] for action in golden.action))}.",
    ]


def _machine(bundle: Bundle) -> list[str]:
    """The golden decisions, decided again now."""
    rows = []
    for satellite in bundle.satellites:
        reference = _result(satellite, ReferenceRunner(satellite.network, satellite.spec))
        rows.append((satellite.spec.name, reference, _native(satellite)))
    return [
        "## On this machine",
        "",
        f"{platform.machine()}, {platform.system()}: the largest difference of a logit over the golden decisions.",
        "",
        *_rows(("satellite", "reference", "C engine"), rows),
    ]


def _native(satellite: SatelliteBundle) -> str:
    if fault := choose.native_fault():
        return f"not built: {fault}"
    try:
        runner = choose.make("native", satellite, satellite.budget.deadline_ms)
    except BuildError as error:
        return f"not built: {error}"
    try:
        return _result(satellite, runner)
    finally:
        runner.close()


def _result(satellite: SatelliteBundle, runner: Runner) -> str:
    try:
        off = check_golden(satellite, runner)
    except GoldenError as error:
        return f"**refused**: {error}"
    return "0 (to the bit)" if off == 0 else f"{off:.3g}"


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
