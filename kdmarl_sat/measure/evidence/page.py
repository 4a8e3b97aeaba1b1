"""docs/evidence.md: what is known about the executor, on one page, from results/evidence.json and what lies beside it.

Every number comes from a record; a part that was not measured says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from envs.files import read_json
from kdmarl_sat.measure.evidence import deviations
from onboard import build, closed_form, emulation

ROOT = build.ENGINE.parents[1]
RECORD = ROOT / "results" / "evidence.json"
ONBOARD = ROOT / "results" / "benchmark_onboard.json"
NOT_MEASURED = "Not measured."
# Parts that are about the C engine's sources; kills and processors are about the whole program.
_OF_THE_ENGINE = ("analysis", "coverage", "eva", "bound", "generator", "forged")


def page(record: Path = RECORD, onboard: Path = ONBOARD) -> str:
    """Raises ValueError: a record is damaged."""
    found: Mapping[str, Any] = read_json(record) if record.exists() else {}
    parts: Mapping[str, Any] = read_json(onboard)["parts"] if onboard.exists() else {}
    engines = sorted({str(each["engine"])[:8] for name, each in found.items() if name in _OF_THE_ENGINE})
    sections = [
        _HEAD,
        f"\nEngine measured: sources with SHA-256 {', '.join(engines) or '(none)'}.\n",
        *_summary(found, parts),
        *_section("Instructions of a decision", _bounds(found.get("bound"))),
        *_section("Stack and memory", _memory(parts.get("instructions", {}).get("details", {}).get("bounds"))),
        *_section("The closed form that admission uses", _forms()),
        *_section("Comparison with emx-onnx-cgen", _generator(found.get("generator"))),
    ]
    return "\n".join(sections).rstrip() + "\n"


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [f"\n## {title}\n", *(lines or [NOT_MEASURED])]


def _summary(found: Mapping[str, Any], parts: Mapping[str, Any]) -> list[str]:
    rows = [
        ("findings of static analysis", _analysis(found.get("analysis")), "analysis"),
        ("deviations from MISRA C:2012, each with its reason", f"[{len(deviations.read())}](misra.md)", "misra"),
        ("code executed by the tests and the fuzzer's seeds", _coverage(found.get("coverage")), "coverage"),
        ("undefined behaviour (Frama-C Eva)", _eva(found.get("eva")), "eva"),
        ("bound of a decision divided by the largest count", _tightness(found.get("bound")), "bound"),
        ("forged and replayed bundles, with a key configured", _forged(found.get("forged")), "forged"),
        ("damaged bundles, without a key", _mutations(parts.get("mutations")), "onboard only=mutations"),
        ("a run on a game, killed and restarted", _kills(found.get("kills_game")), "kills_game"),
        ("a run on a mission, killed and restarted", _kills(found.get("kills_mission")), "kills_mission"),
        ("a run on a game, on four processors", _processors(found.get("processors_game")), "processors_game"),
        ("a run on a mission, on four processors", _processors(found.get("processors_mission")), "processors_mission"),
        ("equal bits on other processors", _bits(parts.get("bits")), "onboard only=bits"),
    ]
    shown = [
        (what, said, f"`measure {how}`" if how.startswith("onboard") else f"`measure evidence {how}`")
        for what, said, how in rows
    ]
    return _table(("", "found", "by `kdmarl-sat`"), shown)


def _analysis(part: Any) -> str:
    return NOT_MEASURED if part is None else f"{part['findings']} ({', '.join(sorted(part['tools']))})"


def _coverage(part: Any) -> str:
    if part is None:
        return NOT_MEASURED
    total = {key: sum(int(file[key]) for file in part["files"]) for key in part["files"][0] if key not in _LISTS}
    gaps = sum(len(file["uncovered"]) for file in part["files"])
    return (
        f"{total['lines_executed']} of {total['lines']} statements, {total['branches_executed']} of "
        f"{total['branches']} branches; {gaps} gaps with their reason"
    )


_LISTS = ("file", "uncovered")


def _eva(part: Any) -> str:
    if part is None:
        return NOT_MEASURED
    alarms = {place for places in part["proven"].values() for place in places}
    return f"{len(part['proven'])} analyses, {len(alarms)} alarm{'' if len(alarms) == 1 else 's'}, justified"


def _each(part: Any) -> list[Mapping[str, Any]]:
    return [each for students in part["cores"].values() for each in students.values()]


def _tightness(part: Any) -> str:
    if part is None:
        return NOT_MEASURED
    ratios = [each["bound"] / each["most"] for each in _each(part)]
    return f"{min(ratios):.3f} to {max(ratios):.3f}, of {len(ratios)} students and cores"


def _forged(part: Any) -> str:
    if part is None:
        return NOT_MEASURED
    return f"{sum(part['refused'].values()):,} of {part['tried']:,} refused, of {len(part['refused'])} kinds"


def _mutations(part: Any) -> str:
    return NOT_MEASURED if part is None else f"{part['lines'][0]['note'].partition(', seeds')[0]} refused"


def _kills(part: Any) -> str:
    if part is None:
        return NOT_MEASURED
    workers = sum(int(each[1]) for each in part["kills"])
    return (
        f"{len(part['kills'])} kills, the same bytes after each; {workers} workers left behind, gone within "
        f"{max(each[2] for each in part['kills']):.1f} s"
    )


def _processors(part: Any) -> str:
    if part is None:
        return NOT_MEASURED
    said = (
        f"{part['files']} of {part['files']} files equal with `compute.reproducible=true`, here and emulated "
        f"({', '.join(part['models'])})"
    )
    if "plain" not in part:
        return said
    counts = [(count, model) for model, count in part["plain"]["unlike_files"].items() if count]
    plain = [f"{count}{' differ' * (place == 0)} on {model}" for place, (count, model) in enumerate(counts)]
    slower = part["fixed"]["seconds"]["this processor"] / part["plain"]["seconds"]["this processor"]
    differ = ", ".join(plain) or "none differs"
    return f"{said}; without it, {differ}; the setting makes the run take {slower:.1f} times as long"


def _bits(part: Any) -> str:
    if part is None:
        return NOT_MEASURED
    lines = [line for line in part["lines"] if "to the bit" in line["what"]]
    other = sum(int(line["measured"]) for line in lines if line["measured"] is not None)
    return (
        f"{other} of {lines[0]['note'].split()[1].rstrip(',')} values differ on any of {len(lines)} runners and cores"
    )


def _bounds(part: Any) -> list[str]:
    """Of each core the student with the highest bound."""
    if part is None:
        return []
    rows = []
    for name, students in part["cores"].items():
        who, worst = max(students.items(), key=lambda item: int(item[1]["bound"]))
        figures = (f"{worst['bound']:,}", f"{worst['mean']:,.0f}", f"{worst['most']:,}")
        rows.append((emulation.find(name).core, who, *figures, f"{worst['bound'] / worst['most']:.3f}"))
    text = (
        f"The bundle is {part['students']}. Each row shows the student with the highest bound on that core. Counts are "
        "over adversarial decisions."
    )
    return [text, "", *_table(("", "student", "bound", "counted mean", "counted most", "bound / most"), rows)]


def _memory(part: Any) -> list[str]:
    if not part:
        return []
    rows = []
    for name, entries in part.items():
        known = [each for each in entries if "missing" not in each]
        if known:
            figures = [f"{max(int(each[key]) for each in known):,}" for key in ("init_stack", "stack", "rom", "ram")]
            seen = [int(each["stack_seen"]) for each in known if each["stack_seen"] is not None]
            rows.append(
                (emulation.find(name).core, *figures[:2], f"{max(seen):,}" if seen else "not run", *figures[2:])
            )
    text = (
        "Bytes, the largest value over all trained students, exported by `kdmarl-sat export c=`. The stack comes from "
        'the call graph and `-fstack-usage`; "written to" is the part of it that a run wrote. ROM and RAM are the code '
        "and data of the linked image."
    )
    heading = ("", "stack of student_init", "stack of student_decide", "written to", "ROM", "RAM")
    return [text, "", *_table(heading, rows)]


def _forms() -> list[str]:
    rows = []
    for core, by_dtype in read_json(closed_form.BOUNDS)["cores"].items():
        for dtype in ("float32", "int8"):
            found = by_dtype[dtype]
            figures = (str(found["shapes"]), f"{found['margin']:.1%}", f"{found['highest']:.1%}")
            rows.append((emulation.find(core).core, dtype, *figures))
    text = (
        "Admission uses a closed form that lies above the measured bounds of networks of many shapes. Margin: a form "
        "is fitted without one shape; the margin is the largest amount by which such a form lies below the bound of "
        "the shape left out, plus 1 %. Highest: the largest distance of the form above a bound."
    )
    return [text, "", *_table(("", "weights", "shapes", "margin", "highest"), rows)]


def _generator(part: Any) -> list[str]:
    """All students: which engine takes fewer instructions depends on the width."""
    if part is None:
        return []
    rows: list[tuple[str, ...]] = []
    others: list[tuple[str, ...]] = []
    missing: dict[str, str] = {}
    for found in part["students"]:
        who = f"{found['student']}, {found['units']} units"
        for name, core in found["cores"].items():
            if "missing" in core:
                missing[emulation.find(name).core] = core["missing"]
                continue
            ours, emx = core["ours"], core["emx"]
            counts = (ours["alone"]["mean"], ours["decide"]["mean"], emx["alone"]["mean"])
            bits = (f"{each['same_bits_as_host']} of {found['questions']}" for each in (ours, emx))
            rows.append((who, emulation.find(name).core, *(f"{each:,}" for each in counts), *bits))
        host, sizes = found["host_ns"], found["image_bytes"]
        times = (host["ours"]["alone"], host["ours"]["decide"], host["emx"]["alone"])
        cells = [f"{each['median'] / 1e3:.2f}" for each in times]
        for engine in ("ours", "emx"):
            known = "missing" not in sizes
            cells.append(f"{sizes[engine]['rom']:,} / {sizes[engine]['ram']:,}" if known else "not measured")
        others.append((who, *cells))
    apart = max(float(each["largest_difference"]) for each in part["students"])
    text = (
        f"This section compares {part['program']} (from our ONNX export) with our C export of the same students, on "
        "adversarial decisions. Both use the same compilers; of two sets of flags, each uses the better one. "
        '"Ours as flown" checks all weights and chooses the action. The code of emx-onnx-cgen does neither, and calls '
        "expf and tanhf of a C library. Ours computes eight outputs side by side, so it pads 12 units to 16. Logits "
        f"and states of the two differ by at most {apart:.1e} of the largest value of a decision."
    )
    heading = ("", "core", "ours alone", "ours as flown", "emx", "bits as on the host: ours", "emx")
    sizes_heading = ("", "host, µs: ours alone", "ours as flown", "emx", "ROM / RAM, bytes: ours", "emx, and its stack")
    left_out = [line for core, why in missing.items() for line in (f"Not measured: {core} ({why}).", "")]
    return [
        text,
        "",
        *left_out,
        "Mean instructions of a decision:",
        "",
        *_table(heading, rows),
        "",
        "Time on the host is a median and only indicative. ROM and RAM are linked for a Cortex-M7. Ours also holds the "
        "weights in RAM, to load other weights and to repair upsets, and the golden decisions in ROM.",
        "",
        *_table(sizes_heading, others),
    ]


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [heading, ["---"] * len(heading), *rows]
    return [f"| {' | '.join(row)} |" for row in lines]


_HEAD = """\
# Evidence

```bash
make evidence
```

This command makes the measurements of this page, stores them in [results/evidence.json](../results/evidence.json) and
writes the page (`kdmarl-sat measure evidence page`). [onboard.md](onboard.md) and [security.md](security.md) explain
what is measured."""
