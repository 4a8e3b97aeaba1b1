"""What training costs, beside EPyMARL, JaxMARL and BenchMARL: all programs one after the other, a record, tables."""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from envs.files import write_json
from kdmarl_sat.games.report.peers import FORMAT, VERSION
from kdmarl_sat.measure.peers.cost import Comparison, FailedError, Run, compare, measure
from kdmarl_sat.measure.peers.ours import macs_per_step
from kdmarl_sat.measure.peers.programs import PEERS, WINDOW_STEPS, Program, ours
from kdmarl_sat.provenance import code_versions
from scenarios.compose import composed_game

WANTED = {"EPyMARL": 5.0, "JaxMARL": 1.0}  # ratio of environment steps per CPU second, with its widths and epochs
RETURNS = (-24.0, -22.0, -20.0)  # of which the table tells what they cost; random play has about -27


def benchmark(
    found: Mapping[str, Program],
    missing: Mapping[str, str],
    steps: int,
    seeds: Sequence[int],
    threads: int,
    out: Path,
    console: Console,
) -> bool:
    """Train with ours and the peers that were found, and write the record after each; whether all of them ran.

    Args:
        missing: of the other peers, why each is not compared.
    """
    failed = dict(missing)
    own = ours(threads, code_versions(), lambda overrides: macs_per_step(composed_game(*overrides)))
    own = [program for program in own if all(peer not in program.name or peer in found for peer in PEERS)]
    out.parent.mkdir(parents=True, exist_ok=True)
    # Each peer right behind ours that is set like it: the machine's load is more alike.
    programs = [program for program in own if program.name == "ours"]
    for peer, program in found.items():
        programs += [*(mine for mine in own if peer in mine.name), program]
    runs: list[Run] = []
    for seed in seeds:
        for program in programs:
            console.print(f"{program.name}, seed {seed}", highlight=False)
            try:
                runs.append(measure(program, steps, seed, threads))
            except FailedError as error:
                failed[program.name] = str(error)
                console.print(str(error), style="red", highlight=False, markup=False, soft_wrap=True)
            settings = {"steps": steps, "seeds": seeds, "threads": threads}
            write_json(out, record(programs, runs, failed, settings))  # what is known so far
    console.print(costs(runs, {program.name: program.macs_per_step for program in programs}))
    console.print(ratios(compared(runs)))
    return bool(runs) and not failed.keys() & {program.name for program in programs}


def compared(runs: Sequence[Run]) -> list[Comparison]:
    """Each peer that ran beside ours as it is, and ours as the peer is."""
    names = list(dict.fromkeys(run.program for run in runs))
    return [
        compare(runs, peer, name)
        for peer in PEERS
        for name in names
        if peer in names and (name == "ours" or (name.startswith("ours, ") and peer in name))
    ]


def record(
    programs: Sequence[Program], runs: Sequence[Run], missing: Mapping[str, str], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """All that was measured, as plain JSON."""
    steps, seed = settings["steps"], settings["seeds"][0]
    return {
        "format": FORMAT,
        "version": VERSION,
        "run": code_versions(),
        "machine": machine(),
        "settings": {**settings, "window_steps": WINDOW_STEPS},
        "programs": {
            program.name: {
                # Without folders: of this machine, and nobody else's.
                "command": [
                    Path(word).name if word.startswith("/") else word for word in _command(program, steps, seed)
                ],
                "macs_per_step": program.macs_per_step,
                **program.origin,
            }
            for program in programs
        },
        "missing": dict(missing),
        "runs": [_plain(run) for run in runs],
        "comparisons": [
            {**dataclasses.asdict(row), "wanted": WANTED.get(row.peer), "met": _met(row)} for row in compared(runs)
        ],
    }


def costs(runs: Sequence[Run], macs: Mapping[str, int]) -> Table:
    """What each program's training costs, means over seeds."""
    table = Table(title="MAPPO on simple_spread, environment steps and CPU seconds")
    for column in ("program", "steps/CPU-s", "all counted", "start, CPU-s", "kMAC/step", "best return"):
        table.add_column(column, justify="left" if column == "program" else "right")
    for level in RETURNS:
        table.add_column(f"CPU-s to {level:g}", justify="right")
    for name in dict.fromkeys(run.program for run in runs):
        part = [run for run in runs if run.program == name]
        table.add_row(
            name,
            f"{_mean([run.steady_rate for run in part]):,.0f}",
            f"{_mean([run.whole_rate for run in part]):,.0f}",
            f"{_mean([run.cpu_s_start for run in part]):.1f}",
            f"{macs[name] / 1000:.0f}",
            _shown(_mean([run.best for run in part]), ".1f"),
            *(_shown(_mean([run.cpu_s_to(level) for run in part]), ".0f") for level in RETURNS),
        )
    return table


def ratios(rows: Sequence[Comparison]) -> Table:
    """How many times as much a peer costs as ours; in brackets with start and compilation."""
    table = Table(title="Theirs against ours: above 1, ours is cheaper; in brackets everything counted")
    for column in ("peer", "ours", "steps per CPU-s", "common return", "CPU-s to it", "wanted"):
        table.add_column(column, justify="left" if column in ("peer", "ours") else "right")
    for row in rows:
        wanted = "" if row.peer not in WANTED else f"≥ {WANTED[row.peer]:g}: {'met' if _met(row) else 'not met'}"
        table.add_row(
            row.peer,
            row.ours,
            f"{row.rate:.2f} ({row.whole_rate:.2f})",
            _shown(row.level, ".1f"),
            f"{_shown(row.cost, '.2f')} ({_shown(row.whole_cost, '.2f')})",
            wanted,
        )
    return table


def _met(row: Comparison) -> bool | None:
    wanted = WANTED.get(row.peer)
    return None if wanted is None else row.rate >= wanted


def _mean(values: Sequence[float | None]) -> float:
    """NaN where one is missing."""
    return sum(float("nan") if value is None else value for value in values) / len(values)


def _shown(value: float | None, form: str) -> str:
    return "—" if value is None or value != value else format(value, form)


def _plain(run: Run) -> dict[str, Any]:
    curve = [
        [p.steps, round(p.cpu_s, 2), None if p.mean_return is None else round(p.mean_return, 3)] for p in run.curve
    ]
    return {
        "program": run.program,
        "seed": run.seed,
        "steps": run.steps,
        "cpu_s": round(run.cpu_s, 2),
        "cpu_s_imports": round(run.cpu_s_imports, 2),
        "cpu_s_start": round(run.cpu_s_start, 2),
        "wall_s": round(run.wall_s, 1),
        "steps_per_cpu_s": round(run.steady_rate, 1),
        "steps_per_cpu_s_all_counted": round(run.whole_rate, 1),
        "curve (steps, CPU seconds, mean return)": curve,
    }


def _command(program: Program, steps: int, seed: int) -> list[str]:
    return program.command(round(steps * program.share), seed)


def machine() -> dict[str, Any]:
    """What the measurements were made on, as plain JSON."""
    return {"processor": processor(), "cores": os.cpu_count(), "load": list(os.getloadavg())}


def processor() -> str:
    try:
        found = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    except OSError:
        found = []
    return found[0].partition(":")[2].strip() if found else platform.machine()
