"""What a decision costs in constellations of more and more satellites, ours and plain BSK-RL's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from envs.files import write_json
from kdmarl_sat.measure.simulation import compare_speed
from kdmarl_sat.missions.report.metrics import json_ready
from kdmarl_sat.provenance import provenance
from scenarios.schema import RunConfig

WANTED_AT, WANTED_RATIO = 32, 3.0
_COSTS = {"ours": "decisions per CPU second, ours", "plain": "decisions per CPU second, plain"}


def measure(runs: Sequence[RunConfig], episodes: int, record: Path) -> dict[str, Any]:
    """What was measured; the record says beside it of what code and configuration."""
    measured = _measured(runs, episodes)
    record.parent.mkdir(parents=True, exist_ok=True)
    write_json(record, {"run": provenance(runs[0]), **json_ready(measured)})
    return measured


def _measured(runs: Sequence[RunConfig], episodes: int) -> dict[str, Any]:
    sizes = [run.scenario.constellation.size for run in runs]
    speeds = [compare_speed(run, episodes) for run in runs]
    rows = [{"satellites": size, **speed} for size, speed in zip(sizes, speeds, strict=True)]
    exponents = {name: growth_exponent(sizes, [1.0 / speed[rate] for speed in speeds]) for name, rate in _COSTS.items()}
    wanted = [speed["ratio to plain"] for size, speed in zip(sizes, speeds, strict=True) if size == WANTED_AT]
    return {
        "sizes": rows,
        "growth exponent of the cost per decision": exponents,
        "rewards equal": all(speed["rewards equal"] for speed in speeds),
        f"ratio to plain with {WANTED_AT} satellites": wanted[0] if wanted else None,
        "wanted ratio": WANTED_RATIO,
        "met": wanted[0] >= WANTED_RATIO if wanted else None,
    }


def growth_exponent(sizes: Sequence[int], costs: Sequence[float]) -> float:
    """The least-squares slope of log(cost) over log(size)."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def shown(measured: dict[str, Any]) -> Table:
    exponents = measured["growth exponent of the cost per decision"]
    equal = "equal" if measured["rewards equal"] else "NOT equal"
    table = Table(
        title="What a decision costs in larger constellations",
        caption=f"growth exponents: ours {exponents['ours']:.2f}, plain BSK-RL {exponents['plain']:.2f}; "
        f"rewards {equal}",
    )
    for column in ("satellites", "decisions", "ours, ms CPU", "plain BSK-RL, ms CPU", "ratio"):
        table.add_column(column, justify="right")
    for row in measured["sizes"]:
        costs = [f"{1e3 / row[rate]:.1f}" for rate in _COSTS.values()]
        table.add_row(str(row["satellites"]), str(row["decisions"]), *costs, f"{row['ratio to plain']:.1f}")
    return table
