"""The onboard executor against what is wanted of it, part by part: a record, and its tables."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from envs.files import write_whole
from kdmarl_sat.console import Console
from kdmarl_sat.measure.onboard import bits, cost, enforcement, host, mutations, table, upsets
from kdmarl_sat.measure.onboard.parts import COUNTS, TITLES
from kdmarl_sat.measure.onboard.record import Part, Tell, read_record, within, write_record
from kdmarl_sat.measure.onboard.students import Student, flown, read_students
from kdmarl_sat.provenance import code_versions
from kdmarl_sat.report.pages import inserted
from onboard import build
from onboard.bundle import MANIFEST
from onboard.runners import BuildError
from scenarios.mission import ScenarioConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is measured, how much of it, and where it is written."""

    bundle: list[Path]
    overrides: list[str]  # of the missions that the bundles were made in
    missions: list[ScenarioConfig]  # those with the overrides; none where no part is flown for
    only: list[str]  # parts
    targets: list[str]  # emulated processors
    decisions: int
    calls: int
    flips: int | None
    mutations: int
    trials: int
    record: Path
    table: Path
    readme: Path
    quantised: Path


def benchmark(order: Order) -> None:
    """Measure the parts that are asked for, and write record and tables after each."""
    record = read_record(order.record)
    students = [(folder, read_students(folder)) for folder in order.bundle]
    with Console() as console:
        if order.missions:
            with console.stage("closed-loop flights") as tell:
                share = 1 / len(students)
                students = [
                    (each, flown(each, group, scenario, order.decisions, within(tell, n * share, share)))
                    for n, ((each, group), scenario) in enumerate(zip(students, order.missions, strict=True))
                ]
        everyone = [student for _, group in students for student in group]
        for name, measure in _parts(order, everyone).items():
            if name not in order.only:
                continue
            start, load = time.monotonic(), os.getloadavg()[0]
            with console.stage(TITLES[name]) as tell:
                part = measure(tell)
                missed = sum(line.met is False for line in part.lines)
                tell(1.0, f"{len(part.lines)} figures, {missed} not met")
            run = _run(order, time.monotonic() - start, (load, os.getloadavg()[0]))
            record[name] = dataclasses.replace(part, run=run)
            write_record(order.record, record)
            _publish(order, record)
        console.show(table.shown(record))
        console.say(f"whole table: {order.table}; record: {order.record}")


def _parts(order: Order, students: Sequence[Student]) -> dict[str, Callable[[Tell], Part]]:
    return {
        "bits": lambda tell: bits.measure(students, order.targets, order.quantised, tell),
        "host": lambda tell: host.measure(students, order.calls, tell),
        "instructions": lambda tell: cost.measure(students, order.targets, tell),
        "upsets": lambda tell: upsets.measure(students, order.flips, tell),
        "mutations": lambda tell: mutations.measure(order.bundle, order.mutations, tell),
        "watchdog": lambda tell: enforcement.watchdog(students, order.trials, tell),
        "admission": lambda tell: enforcement.admission(order.bundle, tell),
    }


def _publish(order: Order, record: dict[str, Part]) -> None:
    """The tables; into the README where it has the markers."""
    order.table.parent.mkdir(parents=True, exist_ok=True)
    write_whole(order.table, table.whole_text(record).encode())
    readme = order.readme.read_text("utf-8") if order.readme.is_file() else ""
    if table.BEGIN in readme:
        text = inserted(readme, table.readme_text(record), table.BEGIN, table.END)
        write_whole(order.readme, text.encode())


def _run(order: Order, wall_s: float, load: tuple[float, float]) -> dict[str, Any]:
    """Where a part's figures come from."""
    origin = code_versions()
    return {
        **origin,
        "versions": {**origin["versions"], **{name: _version(name) for name in ("onnx", "onnxruntime")}},
        "bundles": {path.name: hashlib.sha256((path / MANIFEST).read_bytes()).hexdigest() for path in order.bundle},
        "machine": _machine(),
        "load": load,
        "wall_s": round(wall_s, 1),
        "options": {key: getattr(order, key) for key in ("overrides", *COUNTS)},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _machine() -> dict[str, Any]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    try:
        compiler = build.version(build.compiler())
    except BuildError:
        compiler = "none"
    return {
        "processor": model or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.platform(),
        "compiler": compiler,
    }
