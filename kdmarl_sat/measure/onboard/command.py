"""``kdmarl-sat measure onboard``: the onboard executor against what is wanted of it.

Measures part by part, keeps results/benchmark_onboard.json, and writes it as results/onboard.md and, between its
markers, into README.md. A part that is measured again replaces only itself.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import os
import platform
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from envs.files import write_whole
from kdmarl_sat.arguments import Parser, whole
from kdmarl_sat.command import sentences
from kdmarl_sat.console import Console
from kdmarl_sat.measure.onboard import bits, cost, enforcement, host, mutations, table, upsets
from kdmarl_sat.measure.onboard.record import Part, Tell, read_record, within, write_record
from kdmarl_sat.measure.onboard.students import Student, flown, read_students
from kdmarl_sat.provenance import code_versions
from kdmarl_sat.report.pages import inserted
from kdmarl_sat.streams import prepare
from onboard import build, emulation
from onboard.bundle import MANIFEST
from onboard.runners import BuildError
from scenarios.folders import check_file
from training.artifact import ROOT

RESULTS = ROOT / "results"
BUNDLES = tuple(RESULTS / "bundles" / f"imaging_constellation-{group}" for group in ("lh_a", "lh"))
COUNTS = ("decisions", "calls", "flips", "mutations", "trials")
FLOWN_FOR = ("bits", "instructions")  # parts that need closed-loop flights


def main(arguments: Sequence[str] | None = None) -> None:
    prepare()
    parser = Parser(prog="kdmarl-sat measure onboard", description=__doc__)
    parser.add_argument("overrides", nargs="*", help="of the mission that is flown, e.g. scenario.duration_s=5700")
    parser.add_argument(
        "--bundle", type=Path, action="append", help="of trained float32 students; may be given more than once"
    )
    counts = {name: whole(name, 1) for name in COUNTS}
    parser.add_argument("--only", default=",".join(table.TITLES), help="parts to measure, e.g. bits,host (all)")
    parser.add_argument(
        "--decisions", type=counts["decisions"], default=bits.WANTED_DECISIONS, help="flown by each bundle at least"
    )
    parser.add_argument("--targets", default=",".join(emulation.TARGETS), help="emulated processors (all)")
    parser.add_argument(
        "--calls", type=counts["calls"], default=2000, help="timed decisions of each backend and network"
    )
    parser.add_argument(
        "--flips", type=counts["flips"], help="at most so many bits of each weight table and memory (all)"
    )
    parser.add_argument("--mutations", type=counts["mutations"], default=10000, help="damaged bundles")
    parser.add_argument("--trials", type=counts["trials"], default=50, help="stopped workers")
    parser.add_argument("--record", type=Path, default=RESULTS / "benchmark_onboard.json")
    parser.add_argument("--table", type=Path, default=RESULTS / "onboard.md")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    parser.add_argument("--quantised", type=Path, default=RESULTS / "quantise", help="records of kdmarl-sat quantise")
    options = parser.parse_intermixed_args(arguments)
    for name, allowed in (("only", table.TITLES), ("targets", emulation.TARGETS)):
        chosen = [each for each in getattr(options, name).split(",") if each]
        if not chosen or not set(chosen) <= set(allowed):  # nothing chosen would measure nothing, and say so to nobody
            parser.error(f"{name}={getattr(options, name)} is not allowed: it must be of {','.join(allowed)}")
        setattr(options, name, chosen)
    options.bundle = options.bundle or list(BUNDLES)
    with sentences(parser.prog):
        benchmark(options)


def benchmark(options: argparse.Namespace) -> None:
    """Measure the parts that are asked for, and write record and tables after each."""
    for flag in ("record", "table", "readme"):
        check_file(f"{flag}", getattr(options, flag))
    record = read_record(options.record)
    students = [(folder, read_students(folder)) for folder in options.bundle]
    with Console() as console:
        if set(options.only) & set(FLOWN_FOR):
            with console.stage("closed-loop flights") as tell:
                share = 1 / len(students)
                students = [
                    (each, flown(each, group, options.overrides, options.decisions, within(tell, n * share, share)))
                    for n, (each, group) in enumerate(students)
                ]
        everyone = [student for _, group in students for student in group]
        for name, measure in _parts(options, everyone).items():
            if name not in options.only:
                continue
            start, load = time.monotonic(), os.getloadavg()[0]
            with console.stage(table.TITLES[name]) as tell:
                part = measure(tell)
                missed = sum(line.met is False for line in part.lines)
                tell(1.0, f"{len(part.lines)} figures, {missed} not met")
            run = _run(options, time.monotonic() - start, (load, os.getloadavg()[0]))
            record[name] = dataclasses.replace(part, run=run)
            write_record(options.record, record)
            _publish(options, record)
        console.show(table.shown(record))
        console.say(f"whole table: {options.table}; record: {options.record}")


def _parts(options: argparse.Namespace, students: Sequence[Student]) -> dict[str, Callable[[Tell], Part]]:
    return {
        "bits": lambda tell: bits.measure(students, options.targets, options.quantised, tell),
        "host": lambda tell: host.measure(students, options.calls, tell),
        "instructions": lambda tell: cost.measure(students, options.targets, tell),
        "upsets": lambda tell: upsets.measure(students, options.flips, tell),
        "mutations": lambda tell: mutations.measure(options.bundle, options.mutations, tell),
        "watchdog": lambda tell: enforcement.watchdog(students, options.trials, tell),
        "admission": lambda tell: enforcement.admission(options.bundle, tell),
    }


def _publish(options: argparse.Namespace, record: dict[str, Part]) -> None:
    """The tables; into the README where it has the markers."""
    options.table.parent.mkdir(parents=True, exist_ok=True)
    write_whole(options.table, table.whole_text(record).encode())
    readme = options.readme.read_text("utf-8") if options.readme.is_file() else ""
    if table.BEGIN in readme:
        text = inserted(readme, table.readme_text(record), table.BEGIN, table.END)
        write_whole(options.readme, text.encode())


def _run(options: argparse.Namespace, wall_s: float, load: tuple[float, float]) -> dict[str, Any]:
    """Where a part's figures come from."""
    origin = code_versions()
    return {
        **origin,
        "versions": {**origin["versions"], **{name: _version(name) for name in ("onnx", "onnxruntime")}},
        "bundles": {path.name: hashlib.sha256((path / MANIFEST).read_bytes()).hexdigest() for path in options.bundle},
        "machine": _machine(),
        "load": load,
        "wall_s": round(wall_s, 1),
        "options": {key: getattr(options, key) for key in ("overrides", *COUNTS)},
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


if __name__ == "__main__":
    main()
