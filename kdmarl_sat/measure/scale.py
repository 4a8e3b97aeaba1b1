"""``kdmarl-sat measure scale``: what a decision costs in constellations of more and more satellites.

Ours and plain BSK-RL fly the same decisions of the same episodes in one process, as in ``benchmark_simulation``; the
cost is CPU time with resets, network inference not. Targets grow with the constellation: each satellite has as many.
The exponent is the slope of log(cost per decision) over log(satellites): 0 means that a decision costs the same in any
constellation, 1 that it costs as many times more as there are more satellites.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from envs.files import write_json
from kdmarl_sat.arguments import Parser, whole
from kdmarl_sat.command import sentences
from kdmarl_sat.console import plain_console
from kdmarl_sat.measure.simulation import compare_speed
from kdmarl_sat.missions.report.metrics import json_ready
from kdmarl_sat.provenance import provenance
from kdmarl_sat.streams import prepare
from scenarios.compose import composed
from scenarios.folders import check_file
from scenarios.schema import RunConfig

SHAPES = ((1, 4), (2, 4), (2, 8), (4, 8), (6, 11))  # planes, satellites in each
CLUSTERS_PER_SATELLITE = 15  # and orbit
WANTED_AT, WANTED_RATIO = 32, 3.0
_COSTS = {"ours": "decisions per CPU second, ours", "plain": "decisions per CPU second, plain"}


def main(arguments: Sequence[str] | None = None) -> None:
    prepare()
    parser = Parser(
        prog="kdmarl-sat measure scale", description=__doc__
    )
    parser.add_argument("overrides", nargs="*", help="as for kdmarl_sat.run, e.g. scenario.duration_s=2850")
    episodes = whole("episodes", 1, 10**6)
    parser.add_argument("--episodes", type=episodes, default=1, help="episodes flown both ways, per size")
    least = SHAPES[1][0] * SHAPES[1][1]  # for two sizes
    largest = whole("largest", least, 10**6)
    parser.add_argument("--largest", type=largest, default=66, help="satellites of the largest constellation")
    parser.add_argument("--record", type=Path, default=Path("results/benchmark_scale.json"))
    options = parser.parse_intermixed_args(arguments)
    shapes = [shape for shape in SHAPES if shape[0] * shape[1] <= options.largest]
    with sentences(parser.prog):
        check_file("record", options.record)
        runs = [sized(planes, per_plane, options.overrides) for planes, per_plane in shapes]
        measured = measure(runs, options.episodes)
        options.record.parent.mkdir(parents=True, exist_ok=True)
        write_json(options.record, {"run": provenance(runs[0]), **json_ready(measured)})
    plain_console().print(shown(measured))


def sized(planes: int, per_plane: int, overrides: Sequence[str]) -> RunConfig:
    """The mission with so many satellites, planes spread evenly around the Earth."""
    return composed(
        f"scenario.constellation.planes={planes}",
        f"scenario.constellation.per_plane={per_plane}",
        f"scenario.constellation.raan_spacing_deg={360 / planes:g}",
        f"scenario.targets.clusters_per_orbit={CLUSTERS_PER_SATELLITE * planes * per_plane}",
        "scenario.duration_s=600",
        *overrides,
    )


def measure(runs: Sequence[RunConfig], episodes: int) -> dict[str, Any]:
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


if __name__ == "__main__":
    main()
