"""Wins on a map of SMAX against CPU seconds: our MAPPO and JaxMARL's own, each with the settings that it comes with.

Theirs is ``baselines/MAPPO/mappo_rnn_smax.py``, unchanged. Both anneal their learning rate over the steps that they are
given. Wins are those of training: ours are on jaxmarl's SMAX too.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from envs.files import write_json, write_whole
from kdmarl_sat.measure.peers.benchmark import machine
from kdmarl_sat.measure.peers.cost import Run, measure
from kdmarl_sat.measure.peers.programs import (
    ROOT,
    WANDB,
    WINDOW_STEPS,
    Program,
    Report,
    Started,
    as_json,
    interpreter,
    origin_of,
)
from kdmarl_sat.provenance import code_versions
from kdmarl_sat.report.render import png
from kdmarl_sat.report.style import GRID, family_colour, styled
from scenarios.compose import composed_game

FORMAT, VERSION = "kdmarl_sat.benchmark_wins", 1
LEVELS = (0.5, 0.8, 0.95)  # shares of battles won, whose cost the table tells
OURS, THEIRS = "ours", "JaxMARL"


def ours(map_name: str, threads: int) -> Program:
    """MAPPO FO of ``scenario=smac_MAP``, its phases shortened in proportion."""
    asked = (f"scenario=smac_{map_name}", "budget=equal")  # as many steps as the tables' baselines, then shortened
    phases = composed_game(*asked).mappo.phases
    planned = sum(phase.steps for phase in phases)

    def command(steps: int, seed: int) -> list[str]:
        shorter = ",".join(
            f"{{steps:{round(phase.steps * steps / planned)},learning_rate:{phase.learning_rate},"
            f"entropy:[{','.join(map(str, phase.entropy))}]}}"
            for phase in phases
        )
        words = (*asked, f"seed={seed}", f"compute.threads={threads}", f"mappo.phases=[{shorter}]")
        return [sys.executable, "-m", "kdmarl_sat.measure.peers.ours", *words]

    return Program(OURS, command, OurWins, code_versions(), 0, python_path=(ROOT,))


def jaxmarl(checkout: Path, map_name: str) -> Program:
    """Its mappo_rnn_smax.py: 128 environments x 128 steps, FC and GRU 128, 4 epochs x 4 minibatches.

    Raises:
        MissingError: it is not there.
    """
    script = "baselines/MAPPO/mappo_rnn_smax.py"
    python = interpreter(checkout, script)

    def command(steps: int, seed: int) -> list[str]:
        words = (f"TOTAL_TIMESTEPS={steps}", f"SEED={seed}", f"MAP_NAME={map_name}")
        return [str(python), str(checkout / script), *words, "hydra.run.dir=.", "hydra.output_subdir=null"]

    packages = ("jax", "jaxlib", "jaxmarl", "flax", "optax", "distrax", "numpy")
    origin = origin_of(checkout, python, ("baselines", "jaxmarl"), packages)
    path = (str(checkout),)
    return Program(THEIRS, command, TheirWins, origin, 0, python_path=path, doubles={"wandb": WANDB})


class OurWins:
    """Shares of battles won, in place of returns."""

    def __call__(self, line: str) -> Report | Started | None:
        record = as_json(line)
        if record.get("event") == "start":
            return Started()
        return Report(int(record["steps"]), record["won"]) if "steps" in record else None


class TheirWins:
    update = 128 * 128  # environment steps

    def __call__(self, line: str) -> Report | Started | None:
        record = as_json(line)
        if record.get("event") == "start":
            return Started()
        if "win_rate" not in record:
            return None
        won = record["win_rate"]
        # It says how many steps had been taken before the update; without a finished battle its mean is NaN.
        return Report(int(record["env_step"]) + self.update, None if math.isnan(won) else won)


def benchmark(programs: Sequence[Program], settings: dict[str, Any], out: Path, console: Console) -> None:
    """Train with each program and seed, one after the other; write the record after each, and at the end a figure.

    Args:
        settings: ``map``, ``steps``, ``seeds`` and ``threads``.
        out: of the record; the figure has its name and ends with .png.

    Raises:
        FailedError: a program ended otherwise than it should have.
    """
    runs: list[Run] = []
    for seed in settings["seeds"]:
        for program in programs:
            console.print(f"{program.name}, {settings['map']}, seed {seed}", highlight=False)
            runs.append(measure(program, settings["steps"], seed, settings["threads"]))
            write_json(out, record(programs, runs, settings))
    console.print(table(runs, settings["map"]))
    console.print(f"record and figure: {out}, {write_whole(out.with_suffix('.png'), png(figure(runs)))}")


def record(programs: Sequence[Program], runs: Sequence[Run], settings: dict[str, Any]) -> dict[str, Any]:
    """All that was measured, as plain JSON."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "run": code_versions(),
        "machine": machine(),
        "settings": {**settings, "window_steps": WINDOW_STEPS},
        "programs": {program.name: program.origin for program in programs},
        "runs": [
            {
                "program": run.program,
                "seed": run.seed,
                "cpu_s": round(run.cpu_s, 1),
                "cpu_s_start": round(run.cpu_s_start, 1),
                "steps_per_cpu_s": round(run.steady_rate, 1),
                "curve (steps, CPU seconds, share won)": [
                    [p.steps, round(p.cpu_s, 1), None if p.mean_return is None else round(p.mean_return, 4)]
                    for p in run.curve
                ],
            }
            for run in runs
        ],
    }


def table(runs: Sequence[Run], map_name: str) -> Table:
    """CPU seconds to each share of wins, start and compilation counted."""
    made = Table(title=f"MAPPO on {map_name}: wins of training, mean over the latest {WINDOW_STEPS:,} steps")
    for column in ("program", "seed", "steps", "CPU-s", "steps/CPU-s", "best", *(f"CPU-s to {x:.0%}" for x in LEVELS)):
        made.add_column(column, justify="left" if column == "program" else "right")
    for run in runs:
        costs = [run.cpu_s_to(level) for level in LEVELS]
        made.add_row(
            run.program,
            str(run.seed),
            f"{run.steps:,}",
            f"{run.cpu_s:,.0f}",
            f"{run.steady_rate:,.0f}",
            "—" if run.best is None else f"{run.best:.1%}",
            *("never" if cost is None else f"{cost:,.0f}" for cost in costs),
        )
    return made


@styled
def figure(runs: Sequence[Run]) -> Figure:
    """Share of battles won against CPU seconds, a line per run."""
    made = Figure(figsize=(6.0, 3.4), layout="constrained")
    axes = made.add_subplot()
    for run in runs:
        points = [(p.cpu_s, p.mean_return) for p in run.curve if p.mean_return is not None]
        colour = family_colour("teacher" if run.program == OURS else "mappo_lh_a")
        label = run.program if run.seed == runs[0].seed else None
        axes.plot([x for x, _ in points], [y for _, y in points], color=colour, label=label)
    axes.set(xlabel="CPU seconds, start and compilation counted", ylabel="share of battles won", ylim=(0, 1.02))
    axes.grid(color=GRID)
    axes.legend(frameon=False)
    return made
