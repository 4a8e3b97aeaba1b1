"""Cells of tables, and notes that several tables share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kdmarl_sat.games.report import paper
from kdmarl_sat.games.report.statistics import CONFIDENCE, RESAMPLES
from kdmarl_sat.games.report.summary import BUDGET_LABELS, Group, Place, Results
from kdmarl_sat.report.formats import MISSING, count, number, spread
from kdmarl_sat.report.statistics import Interval

INTERVALS = (
    f"Intervals: {CONFIDENCE:.0%} percentile bootstrap ({RESAMPLES} resamples) over seeds and episodes, which all "
    "seeds and methods share; with one seed over its episodes alone. So with one seed they say nothing about other "
    "seeds, and with two or three seeds little. The interquartile mean is over seeds (of fewer than four, it is the "
    "mean). Every run is evaluated with its last networks; no checkpoint is selected."
)
COUNTING = (
    "MACs of one decision: C h + 6 h² + h A, with the agent's C input columns, h hidden units and A actions; biases "
    "and non-linearities are not counted; FLOP = 2 MAC. Per decision: mean over agents. Per episode: the decisions of "
    "all agents, mean over the final evaluation."
)
TIMES = (
    "Time per step: median time for the decisions of all agents in one step of one environment. Each run measures it "
    "at its end, on this project's machine, beside other work, with its networks padded to the width of the widest; "
    "the paper used other hardware. So it shows the order of magnitude; compare methods by their MACs."
)


@dataclass(frozen=True, slots=True)
class Table:
    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    common: tuple[str, ...] = ()  # notes that other tables have too: a page says them once


def place_name(results: Results, place: Place) -> str:
    """The name of the map; with the scenario if several use the map, with unusual settings, and with the budget."""
    row = paper.row_of(place.map)
    name = row.name if row else place.map
    several = len({p.scenario for p in results.places if p.map == place.map}) > 1
    apart = [*([place.scenario] if several else []), *([place.otherwise] if place.otherwise else [])]
    if len(results.budgets) > 1:
        apart.append(BUDGET_LABELS[place.budget])
    return f"{name} ({', '.join(apart)})" if apart else name


def with_interval(value: Interval, digits: int = 1) -> str:
    return f"{number(value.estimate, digits)} {spread(value, digits)}".rstrip()


def share_with_interval(value: Interval) -> str:
    """A fraction in percent, with its bounds."""
    return with_interval(Interval(*(100 * each for each in (value.estimate, value.low, value.high))))


def unit(group: Group) -> str:
    return "win rate, %" if group.has_victory else "return, mean over agents"


def sample(group: Group) -> str:
    low, high = group.episodes
    return f"{len(group.seeds)} × {low}" + (f" to {high}" if high > low else "")


def flops(group: Group) -> str:
    return count(2 * group.macs_per_decision)


def training_cost(groups: Iterable[Group]) -> str:
    """A note on what it took to train the runs behind a table; a teacher that stands in two budgets counts once."""
    runs = {id(record): record for group in groups for record in group.records}
    hours = sum(record.run["cpu_s"] for record in runs.values()) / 3600
    return f"Training of the {len(runs)} run{'s' * (len(runs) != 1)} in this table took {number(hours, 1)} CPU-hours."


def stated(value: paper.Stated | None) -> str:
    if value is None:
        return MISSING
    if value.spread is None:
        return number(value.value, 2)
    return f"{number(value.value)} ± {max(f'{value.spread:.1f}', f'{value.spread:g}', key=len)}"
