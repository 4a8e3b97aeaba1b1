"""The record as Markdown: every figure beside what is wanted of it, and the figures behind some of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from kdmarl_sat.measure.onboard import worst_case
from kdmarl_sat.measure.onboard.parts import TITLES
from kdmarl_sat.measure.onboard.record import Line, Part, Record
from kdmarl_sat.report.formats import MISSING
from onboard.count_instructions import EARLIER
from onboard.emulation import TARGETS

BEGIN, END = "<!-- onboard: kdmarl-sat measure onboard -->", "<!-- end of onboard -->"

_PLAIN = "Plain: 80 observations → linear, relu → GRU → linear, 11 actions."
_DECIDE = "with the check of all weights"


def readme_text(record: Record) -> str:
    """Each part in a row, for the README: how much of it is met, and its first figure."""
    rows: list[Sequence[str]] = []
    for name in _known(record):
        lines = record[name].lines
        judged = [line.met for line in lines if line.met is not None]
        what, wanted, measured, _ = _cells(lines[0])
        rows.append((TITLES[name], f"{sum(judged)} of {len(judged)}", what, wanted, measured))
    missed = [line.what for part in record.values() for line in part.lines if line.met is False]
    verdict = f"Not met: {'; '.join(missed)}." if missed else "Everything that was measured is met."
    return "\n".join([*_table(("", "claims met", "first claim", "wanted", "measured"), rows), "", verdict, ""])


def shown(record: Record) -> Table:
    """The same, for the console."""
    result = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("what", "wanted", "measured", ""):
        result.add_column(heading)
    for name in _known(record):
        result.add_row(f"[bold]{TITLES[name]}")
        for line in record[name].lines:
            result.add_row(*(escape(cell.replace("**", "")) for cell in _cells(line)))
    return result


def whole_text(record: Record) -> str:
    """All of it, with details and where each part comes from."""
    sections = [
        "# The onboard executor, measured",
        "",
        "`kdmarl-sat measure onboard` writes this file; "
        "bit identity and counted instructions are the same on every machine, wall clock is not.",
    ]
    for name in _known(record):
        part = record[name]
        rows = [_cells(line) for line in part.lines]
        sections += ["", f"## {TITLES[name]}", "", *_table(("what", "wanted", "measured", ""), rows)]
        if name in _DETAILS:
            sections += _DETAILS[name](part)
        sections += ["", _origin(part)]
    return "\n".join([*sections, ""])


def _known(record: Record) -> list[str]:
    return [name for name in TITLES if name in record]


def _cells(line: Line) -> tuple[str, str, str, str]:
    wanted = f"{line.relation.value} {_shown(line.wanted, line.unit)}" if line.relation.value else MISSING
    measured = "not measured" if line.measured is None else _shown(line.measured, line.unit)
    if line.met is False and _shown(line.measured or 0.0, line.unit) == _shown(line.wanted, line.unit):
        measured = f"{line.measured:.6g} {line.unit}"  # rounding must not hide the difference
    verdict = {True: "met", False: "**NOT MET**", None: ""}[line.met]
    return line.what, wanted, measured, f"{verdict} ({line.note})" if verdict and line.note else verdict or line.note


def _shown(value: float, unit: str = "") -> str:
    if unit == "share":
        return f"{100 * value:.2f} %".replace(".00 %", " %")
    if value == int(value) and abs(value) < 1e12:
        text = f"{value:,.0f}"
    elif abs(value) < 1e-3:
        text = f"{value:.1e}"
    else:
        text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{text} {unit}".rstrip()


def _origin(part: Part) -> str:
    run = part.run
    load = " → ".join(f"{value:.1f}" for value in run["load"])
    bundles = ", ".join(f"{name} (manifest {digest[:8]})" for name, digest in run["bundles"].items())
    return (
        f"Measured {run['date']} in {run['wall_s']:.0f} s, commit {run['commit'][:10]}{run['commit'][40:]}, "
        f"{run['machine']['processor']}, {run['machine']['cores']} cores, load average {load}; {bundles}."
    )


def _host(part: Part) -> list[str]:
    networks = part.details["networks"]
    backends = list(dict.fromkeys(name for entry in networks.values() for name in entry["backends"]))
    rows = []
    for backend in backends:
        cells = []
        for entry in networks.values():
            found = entry["backends"].get(backend)
            cells.append(MISSING if found is None else f"{found['median_us']:.2f} ({found['p95_us']:.1f})")
        rows.append((backend, *cells))
    resident = [entry["isolated_resident_kb"] for entry in networks.values()]
    rows.append(("isolated: resident, kB", *(MISSING if kb is None else f"{kb:.0f}" for kb in resident)))
    return [
        "",
        f"µs per decision, median (95 %), from Python to Python. {_PLAIN}",
        "",
        *_table(("", *networks), rows),
        "",
        f"One thread each, in turns of {part.details['turn']} calls, at least {part.details['calls']:,} in all; what "
        "reading the clock takes is subtracted. Wall clock on a shared machine is only indicative.",
    ]


def _instructions(part: Part) -> list[str]:
    counts: dict[str, list[dict[str, Any]]] = part.details["instructions"]
    shapes = [f"{each['units']} units, {each['dtype']}" for each in next(iter(counts.values()), [])]
    rows: list[Sequence[str]] = []
    for target, found in counts.items():
        how = ", ".join(dict.fromkeys(each["how"] for each in found))
        core = TARGETS[target].core
        rows.append((f"{core}, network alone ({how})", *(f"{each['step']:,.0f}" for each in found)))
        if target in EARLIER:
            rows.append((f"{core}, earlier engine", *(f"{limit:,.0f}" for limit in EARLIER[target])))
        rows.append((f"{core}, {_DECIDE} ({how})", *(f"{each['decide']:,.0f}" for each in found)))
    return [
        "",
        f"Instructions of a decision. {_PLAIN}",
        "",
        *_table(("", *shapes), rows),
        *_bounds(part.details.get("bounds", {})),
        *_profiles(part.details["profiles"]),
    ]


def _bounds(found: worst_case.Found) -> list[str]:
    """Of a record that has them."""
    if not found:
        return []
    heading = ("", "student", "instructions: bound / mean / most", "bytes: stack (written to) / ROM / RAM")
    return [
        "",
        "For each width, the trained student with the highest bound. No decision takes more instructions than the "
        "bound; mean and most are counts over adversarial decisions. The stack of student_decide comes from the call "
        "graph; the number in brackets is what a run wrote to. ROM and RAM are those of the linked student.c.",
        "",
        *_table(heading, worst_case.rows(found)),
    ]


def _profiles(costs: Sequence[dict[str, Any]]) -> list[str]:
    """The costliest student of each width."""
    columns = sorted({(cost["units"], cost["dtype"]) for cost in costs})
    rows = []
    for processor in dict.fromkeys(cost["processor"] for cost in costs):
        cells = []
        for column in columns:
            alike = [c for c in costs if (c["units"], c["dtype"]) == column and c["processor"] == processor]
            worst = max(alike, key=lambda cost: float(cost["energy_per_orbit_mj"]))
            figures = (("latency_ms", "ms"), ("energy_mj", "mJ"), ("energy_per_orbit_mj", "mJ"))
            cells.append(", ".join(_shown(worst[name], unit) for name, unit in figures))
        rows.append((processor, *cells))
    return [
        "",
        f"For each width, the trained student that costs most: latency, energy per decision and energy per orbit, "
        f"{_DECIDE}. Modelled from the closed form, an assumed CPI and nominal power, not measured.",
        "",
        *_table(("", *(f"{units} units, {dtype}" for units, dtype in columns)), rows),
    ]


def _admission(part: Part) -> list[str]:
    first, *others = re.split(r"; (?=satellite '[^']*': parameters)", part.details["refusal"])
    rest = f"; and as much of {len(others)} other satellites" if others else ""
    return ["", "All limits at once, halved:", "", f"> {first}{rest}"]


_DETAILS: dict[str, Callable[[Part], list[str]]] = {
    "host": _host,
    "instructions": _instructions,
    "admission": _admission,
}


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    escaped = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in (heading, *rows)]
    lines = [f"| {' | '.join(row)} |" for row in escaped]
    return [lines[0], f"|{'---|' * len(heading)}", *lines[1:]]
