"""Tables and figures of the site, made from the stored records while it is built."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
from matplotlib.figure import Figure

from envs.basilisk.bskrl_aeos import ORBIT_S
from kdmarl_sat.games.records import read_all
from kdmarl_sat.games.report import figures as game_figures
from kdmarl_sat.games.report.cells import Table, place_name, sample, unit, with_interval
from kdmarl_sat.games.report.formats import markdown_table
from kdmarl_sat.games.report.overview import overview as games_overview
from kdmarl_sat.games.report.summary import TEACHER, Group, Place, Results, grouped, in_order, label
from kdmarl_sat.missions import table as mission_table
from kdmarl_sat.missions.costs import by_cpu, training_cpu_s
from kdmarl_sat.missions.records import Record, read_records
from kdmarl_sat.missions.report import figures as mission_figures
from kdmarl_sat.missions.report.cost_figure import captured_against_cost
from kdmarl_sat.missions.results import Curve
from kdmarl_sat.report.formats import MISSING, number
from kdmarl_sat.report.statistics import mean_interval
from scripts.site.outside import ROOT

# Page of a method: the methods whose records it shows.
METHODS = {
    "kd_marl": (
        *("teacher", "kd_lh", "kd_lh_a", "kd_lh_m"),
        *("kd_lh_wide", "kd_fo_small", "kd_buffer_lh", "kd_buffer_lh_a"),
    ),
    "mappo": ("teacher", "mappo_fo", "mappo_lh", "mappo_lh_a"),
    "qmix": ("qmix_fo", "qmix_lh", "qmix_lh_a"),
    "vdn": ("vdn_fo", "vdn_lh", "vdn_lh_a"),
    "ctds": ("ctds",),
    "tseng": ("tseng",),
    "ptde": ("ptde",),
}
CURVES = ("smac_3m", "mpe_spread")  # games whose curves a page shows


@cache
def mission_records() -> tuple[Record, ...]:
    return tuple(read_records(ROOT / "results/runs"))


@cache
def game_results() -> Results:
    return grouped(read_all(ROOT / "results/runs/benchmark"))


def missions() -> str:
    """Markdown: all missions, one column each."""
    return mission_table.overview(mission_records())


def games() -> str:
    """Markdown: all games of the benchmark, one column each."""
    return games_overview(game_results())


def mission(name: str) -> str:
    """Markdown: every stored record of a mission, with what was claimed of it.

    Raises:
        KeyError: there is none.
    """
    return mission_table.sections(_of(name))


def mission_scores(name: str) -> Figure:
    """Captured priority of each policy, of the mission's newest record."""
    record = _newest(name)
    rows = [_score_of(policy) for policy in record["policies"]]
    available = float(np.mean([episode["available"] for episode in record["policies"][0]["episodes"]]))
    return mission_figures.captured_priority(rows, available)


def _score_of(policy: Record) -> mission_figures.Score:
    captured = tuple(float(episode["captured"]) for episode in policy["episodes"])
    return mission_figures.Score(policy["name"], policy["label"], captured, mean_interval(captured))


def mission_costs() -> Figure:
    """Captured priority against CPU-seconds of training, of each mission whose newest record tells them.

    Raises:
        KeyError: no record does.
    """
    priced = {}
    for name in sorted({record["run"]["scenario"] for record in mission_records()}):
        record = _newest(name)
        rows = [(_score_of(policy), training_cpu_s(record, policy["name"])) for policy in record["policies"]]
        if any(cost is not None for _, cost in rows):
            priced[name] = rows
    if not priced:
        raise KeyError("no record tells CPU-seconds")
    return captured_against_cost(priced)


def mission_curves(name: str) -> Figure:
    """Learning curves of the mission's newest record; over CPU-seconds too, where it tells them."""
    record = _newest(name)
    stored = [curve for curve in record["curves"] if curve["x"]]
    made = [Curve(c["label"], tuple(c["x"]), tuple(c["y"]), c["x_label"], c["y_label"]) for c in stored]
    return mission_figures.learning_curves([*made, *by_cpu(record)])


def aeos() -> str:
    """Markdown: reward as BSK-RL counts it, of our policies and of its own PPO, on the same episodes of bskrl_aeos.

    Raises:
        KeyError: there is no record of ours.
    """
    record = _newest("bskrl_aeos")
    scenario = record["config"]["scenario"]
    orbits = len(record["satellites"]) * scenario["duration_s"] / ORBIT_S
    rows = []
    for policy in record["policies"]:
        captured = [float(episode["captured"]) for episode in policy["episodes"]]
        spent, macs = training_cpu_s(record, policy["name"]), max(policy["macs_per_decision"], default=None)
        rows.append((policy["label"], captured, macs, spent))
    theirs = json.loads((ROOT / "results/benchmark_bskrl_aeos.json").read_text())
    spent = theirs["training"]["cpu_s"]
    rows.append(("BSK-RL's PPO, by RLlib", theirs["captured"], theirs["macs_per_decision"], spent))
    lines = [
        "| policy | reward per satellite and orbit | MACs per decision | CPU-s of training |",
        "|---|---|---|---|",
    ]
    for who, captured, macs, spent in rows:
        reward = mean_interval(tuple(value / orbits for value in captured))
        said = f"{reward.estimate:.1f} [{reward.low:.1f}, {reward.high:.1f}]"
        costs = [MISSING if each is None else f"{each:,.0f}" for each in (macs, spent)]
        lines.append(f"| {who} | {said} | {' | '.join(costs)} |")
    return "\n".join(lines)


def labels() -> str:
    """Markdown: students of one teacher, distilled with the labels of teacher, planner or both, on the same episodes.

    Raises:
        KeyError: imaging_constellation has no record.
        ValueError: a record is of another teacher.
    """
    usual = _newest("imaging_constellation")
    runs = {"teacher": usual} | {
        record["config"]["distill"]["labels"]: record for record in read_records(ROOT / "results/labels")
    }
    lines = [
        "| `distill.labels` | KD-MARL LH | less the teacher's | KD-MARL LH+A | less the teacher's | CPU-s, LH |",
        "|---|---|---|---|---|---|",
    ]
    for name, record in runs.items():
        if _captured(record, "teacher_fo") != _captured(usual, "teacher_fo"):
            raise ValueError(f"the students distilled with the labels of {name} are of another teacher")
        cells = []
        for student in ("kd_lh", "kd_lh_a"):
            ours, theirs = _captured(record, student), _captured(usual, student)
            gained = mean_interval(tuple(a - b for a, b in zip(ours, theirs, strict=True)))
            cells.append(f"{float(np.mean(ours)):.1f}")
            cells.append(
                f"{gained.estimate:+.1f} [{gained.low:.1f}, {gained.high:.1f}]" if record is not usual else MISSING
            )
        spent = sum(record["run"]["cpu_s"][stage]["whole"] for stage in ("expert", "kd_lh"))
        lines.append(f"| `{name}` | {' | '.join(cells)} | {spent:,.0f} |")
    return "\n".join(lines)


def _captured(record: Record, name: str) -> tuple[float, ...]:
    """Of a policy, per held-out episode."""
    [policy] = [policy for policy in record["policies"] if policy["name"] == name]
    return tuple(float(episode["captured"]) for episode in policy["episodes"])


def _of(name: str) -> list[Record]:
    found = [record for record in mission_records() if record["run"]["scenario"] == name]
    if not found:
        raise KeyError(f"no stored record of {name}")
    return found


def _newest(name: str) -> Record:
    """Of the lowest training seed: a page shows one run, and a run of another seed must not change it."""
    return max(_of(name), key=lambda record: (-record["run"]["seed"], str(record["run"]["date"])))


def method(page: str) -> str:
    """Markdown: what a method's records came to, games by variants; a sentence where there is no record."""
    results = game_results()
    places = _places(page)
    shown = in_order(m for m in METHODS[page] if any(results.get(place, m) for place in places))
    if not shown:
        names = " and ".join(f"`{name}`" for name in METHODS[page])
        return f"`results/runs/benchmark` holds no record of {names} yet, so there is no result and no curve."
    head = ("game", "seeds × episodes", *map(label, shown), "random actions", "unit")
    rows = tuple(_row(results, place, shown) for place in places)
    return markdown_table(Table("", head, rows))


def _row(results: Results, place: Place, shown: list[str]) -> tuple[str, ...]:
    here: list[Group] = [group for m in shown if (group := results.get(place, m)) is not None]
    cells = [_score(results.get(place, m)) for m in shown]
    samples = ", ".join(dict.fromkeys(map(sample, here)))
    return place_name(results, place), samples, *cells, number(here[0].random, 1), unit(here[0])


def _score(group: Group | None) -> str:
    return MISSING if group is None else with_interval(group.score, 1)


def _places(page: str) -> list[Place]:
    """Where the page's own methods have run: a teacher alone is no result."""
    results, own = game_results(), [m for m in METHODS[page] if m != TEACHER]
    return [place for place in results.places if not place.otherwise and any(results.get(place, m) for m in own)]


def method_curves(page: str) -> dict[str, Figure]:
    """Game: learning curves of the page's methods there, mean and band over seeds."""
    results, drawn = game_results(), {}
    for place in _places(page):
        if place.scenario in CURVES and place.budget == "equal":
            wanted = (*METHODS[page], TEACHER)
            main = {key: group for key, group in results.main.items() if key[0] == place and key[1] in wanted}
            drawn[place.scenario] = game_figures.curves(Results(main, ()), place)
    return drawn


def stages(name: str) -> str:
    """Markdown: how long each stage of the mission's newest record took."""
    run = _newest(name)["run"]
    lines = ["| stage | seconds |", "|---|---|"]
    lines += [f"| {stage} | {seconds:.0f} |" for stage, seconds in run["stage_s"].items()]
    return "\n".join([*lines, f"| **all, with the report** | **{run['wall_s']:.0f}** |"])
