"""What is known about the C engine by analysis, not by flying it: the parts of ``kdmarl-sat measure evidence``."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from envs.files import read_json, write_json, write_whole
from kdmarl_sat.measure.evidence import analysis, coverage, deviations, eva, forged, generator, kills, page, processors
from kdmarl_sat.measure.onboard import bound, bound_form
from onboard import build, closed_form, emulation
from onboard.bundle import read_bundle
from onboard.network import Dtype
from onboard.quantise import quantised
from scenarios.ranges import ConfigError

ROOT = build.ENGINE.parents[1]
PAGE, SUMMARY = ROOT / "docs" / "misra.md", ROOT / "docs" / "evidence.md"
KILLS = 20
FORGED = 10_000
STUDENTS = ROOT / "results" / "bundles" / "imaging_constellation-lh_a"


def gather(parts: Sequence[str], record: Path | None) -> None:
    """Find out what is asked for, say it, and keep it in the record, where there is one.

    Raises:
        ConfigError: the record holds something else.
        EvidenceError: something was found, or a tool is missing.
    """
    if record is not None:
        _stored(record)
    for name in parts:
        said, found = PARTS[name]()
        print(f"{name}: {said}", flush=True)
        if record is not None and found is not None:
            stored = _stored(record)
            write_json(record, {**stored, name: {"engine": engine_digest(), **found}})


def _stored(record: Path) -> dict[str, Any]:
    """What a record holds already; nothing where there is none.

    Raises:
        ConfigError: it is not one.
    """
    if not os.path.lexists(record):
        return {}
    try:
        found = read_json(record)
    except ValueError as error:
        raise ConfigError(f"record={record} is damaged: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"record={record} is not allowed: it must be a file of what was found before, or none")
    return found


def engine_digest(folder: Path = build.ENGINE) -> str:
    """SHA-256 over the engine's sources and headers, by name: which code the evidence is about."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("kd_*.[ch]")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _analysis() -> tuple[str, Any]:
    tools = analysis.analyse()
    return f"nothing found by {', '.join(tools.values())}", {"tools": tools, "findings": 0}


def _misra() -> tuple[str, Any]:
    write_whole(PAGE, deviations.page().encode())
    return f"{len(deviations.read())} suppressions, {PAGE}", None


def _coverage() -> tuple[str, Any]:
    files = coverage.measure()
    gaps = [f"  {file.file}:{number} {code}  ({reason})" for file in files for number, code, reason in file.uncovered]
    lines, branches = sum(file.lines for file in files), sum(file.branches for file in files)
    said = (
        f"{sum(file.lines_executed for file in files)} of {lines} statements, "
        f"{sum(file.branches_executed for file in files)} of {branches} branches; the others are justified:"
    )
    return "\n".join((said, *gaps)), {"files": [dataclasses.asdict(file) for file in files]}


def _eva() -> tuple[str, Any]:
    from tests.engine.seeds import cases  # a checkout's tests; an installed program has none

    version, proven = eva.version(), {}
    for case in itertools.starmap(eva.Case, cases()):
        for machine in eva.MACHINES:
            proven[f"{case.name}, {machine}"] = eva.prove(case, machine)
            print(f"eva: {case.name}, {machine}: nothing that is not justified", flush=True)
    open_ends = {machine: eva.unknown_dimensions(machine) for machine in eva.MACHINES}
    said = f"Frama-C {version}: {len(proven)} analyses; not proven, and justified:"
    listed = [f"  {place}" for place in sorted({each for places in proven.values() for each in places})]
    listed += ["of a table with unknown dimensions not proven (the fuzzer and sanitizers are the evidence):"]
    listed += [f"  {machine}: {alarm}" for machine, alarms in open_ends.items() for alarm in alarms]
    return "\n".join((said, *listed)), {"version": version, "proven": proven, "not_proven_of_any_table": open_ends}


def _bound() -> tuple[str, Any]:
    cores: dict[str, Any] = {}
    lines = ["bound, counted mean and counted maximum of adversarial decisions"]
    for target in emulation.TARGETS.values():
        if target.missing:
            lines.append(f"  {target.core}: not measured, {' '.join(target.missing)} not installed")
            continue
        cores[target.name] = {}
        for satellite in read_bundle(STUDENTS).satellites:
            for network in (satellite.network, quantised(satellite.network)):
                name = f"{satellite.spec.name}, {network.design.dtype.value}"
                found = bound.measure(target, network, satellite.spec)
                cores[target.name][name] = dataclasses.asdict(found)
                lines.append(f"  {target.core}, {name}: {found.bound:,} / {found.mean:,.0f} / {found.most:,}")
    return "\n".join(lines), {"students": STUDENTS.name, "cores": cores}


def _forms() -> tuple[str, Any]:
    """The closed forms that admission uses; the file is replaced as a whole."""
    missing = sorted({name for target in emulation.TARGETS.values() for name in target.missing})
    if missing:
        return f"not fitted, {closed_form.BOUNDS.name} stays: {' '.join(missing)} not installed", None
    cores: dict[str, Any] = {}
    lines = ["what the closed form of the bound lies above the bounds by, margin included"]
    for target in emulation.TARGETS.values():
        fitted = {dtype.value: bound_form.measure(target, dtype) for dtype in Dtype}
        lines += [
            f"  {target.core}, {dtype}: {each.highest:.1%} at the most ({each.shapes} shapes), margin {each.margin:.1%}"
            for dtype, each in fitted.items()
        ]
        cores[target.name] = {dtype: each.record() for dtype, each in fitted.items()}
        cores[target.name]["compiler"] = emulation.versions(target)["compiler"]
    write_json(closed_form.BOUNDS, {"engine": engine_digest(), "cores": cores})
    closed_form.cores.cache_clear()
    return "\n".join(lines), None


def _generator() -> tuple[str, Any]:
    program, students = f"{generator.PROGRAM} {generator.version()}", []
    for satellite in read_bundle(STUDENTS).satellites:
        students.append(generator.measure(satellite))
        print(f"  generator: {satellite.spec.name}", flush=True)
    return f"{program} beside ours, of {len(students)} students", {"program": program, "students": students}


def _forged() -> tuple[str, Any]:
    found = forged.measure(STUDENTS, FORGED)
    return f"{found['tried']:,} forged and replayed bundles, all of them refused with a key set", found


def _kills(name: str) -> tuple[str, Any]:
    found = kills.measure(kills.RUNS[name], KILLS, 0, lambda told: print(f"  {name}: {told}", flush=True))
    return f"{name}: the same bytes after each of {len(found['kills'])} kills", found


def _processors(kind: str) -> tuple[str, Any]:
    found = processors.measure(kind, lambda told: print(f"  processors: {told}", flush=True))
    return f"{kind}: the same {found['files']} files here and on {', '.join(found['models'])}", found


def _page() -> tuple[str, Any]:
    write_whole(SUMMARY, page.page().encode())
    return str(SUMMARY), None


PARTS: dict[str, Callable[[], tuple[str, Any]]] = {
    "analysis": _analysis,
    "misra": _misra,
    "coverage": _coverage,
    "eva": _eva,
    "bound": _bound,
    "forms": _forms,
    "generator": _generator,
    "forged": _forged,
    "kills_game": lambda: _kills("game"),
    "kills_mission": lambda: _kills("mission"),
    "processors_game": lambda: _processors("game"),
    "processors_mission": lambda: _processors("mission"),
    "page": _page,
}
