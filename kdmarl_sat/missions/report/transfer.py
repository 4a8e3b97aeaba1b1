"""What policies reach in missions other than their run's own: a table for the console, one for a page, a figure."""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from envs.basilisk.episode_result import EpisodeResult
from kdmarl_sat.report.formats import MISSING, number, spread
from kdmarl_sat.report.statistics import mean_interval, mean_ratio
from kdmarl_sat.report.style import MUTED, WIDTH_IN, family_colour, styled

_TITLE = "Return in other missions than the run's own, held-out episodes"
_RULE = "global knowledge"  # the best that is written by hand
_COLUMNS = ("mission", "policy", "return", "interval", "per satellite")  # as much as fits a terminal of 80 columns
_MORE = (f"of {_RULE}'s", "of the first mission's", "captured", "dupl.", "lost", "failed", "missed", "late")
_PANELS_IN_A_ROW = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Flight:
    """One policy in one mission."""

    mission: str  # what is unlike the run's own: overrides, KEY=VALUE, with a space between them
    policy: str
    satellites: int
    death_penalty: float
    episodes: tuple[EpisodeResult, ...]

    @property
    def returns(self) -> list[float]:
        """Per episode: captured priority less the penalty for satellites lost."""
        return [e.captured - self.death_penalty * e.deaths for e in self.episodes]

    @property
    def per_satellite(self) -> list[float]:
        return [each / self.satellites for each in self.returns]


@dataclasses.dataclass(frozen=True, slots=True)
class Panel:
    """Missions beside each other in one frame: along a quantity, or (``places`` is None) merely beside each other."""

    label: str
    missions: tuple[str, ...]
    places: tuple[float, ...] | None


def table(flights: Sequence[Flight], confidence: float) -> Table:
    """For the console."""
    same = alike(flights)
    shown = Table(title=_TITLE, caption=_told(same, _short))
    for column in _COLUMNS:
        shown.add_column(column, justify="left" if column in ("mission", "policy") else "right")
    mission = None
    for flight in (flight for flight in flights if flight.mission not in same):
        told = "" if flight.mission == mission else _short(flight.mission)
        shown.add_row(told, *_row(flight, confidence)[1:])
        mission = flight.mission
    return shown


def markdown(flights: Sequence[Flight], confidence: float, run: dict[str, Any]) -> str:
    """The same table and more, for a page."""
    same = alike(flights)
    lines = [
        f"# {run['scenario']}: {_TITLE[0].lower()}{_TITLE[1:]}",
        "",
        f"preset={run['preset']}, seed={run['seed']}, commit {run['commit'][:10]}, "
        f"{len(flights[0].episodes)} episodes each, {confidence:.0%} intervals over them. The return is the captured "
        "priority minus the penalty for satellites lost through their own actions. The return per satellite is also "
        f"divided by that of {_RULE} in the same mission, and by the policy's own in the first mission, by episode. "
        "Made by `kdmarl-sat transfer`.",
        "",
        "![return per satellite](transfer.png)",
        "",
        f"| {' | '.join((*_COLUMNS, *_MORE))} |",
        f"|{'---|' * len((*_COLUMNS, *_MORE))}",
        *(
            f"| {' | '.join((*_row(flight, confidence), *_ratios(flight, flights, confidence), *_accounts(flight)))} |"
            for flight in flights
            if flight.mission not in same
        ),
        *(["", _told(same, lambda mission: f"`{mission}`")] if same else []),
    ]
    return "\n".join(lines) + "\n"


def alike(flights: Sequence[Flight]) -> dict[str, str]:
    """Missions in which all policies fly as in one before, and that one: every sweep may begin without a fault."""
    missions: dict[str, list[Flight]] = defaultdict(list)
    for flight in flights:
        missions[flight.mission].append(dataclasses.replace(flight, mission=""))
    found: dict[str, str] = {}
    for mission, flown in missions.items():
        before = next(other for other in missions if missions[other] == flown)
        if before != mission:
            found[mission] = before
    return found


def _told(same: dict[str, str], name: Callable[[str], str]) -> str:
    return f"Flown alike: {'; '.join(f'{name(one)} as {name(other)}' for one, other in same.items())}." if same else ""


def _row(flight: Flight, confidence: float) -> tuple[str, ...]:
    mean = mean_interval(flight.returns, confidence)
    per_satellite = number(mean.estimate / flight.satellites, 2)
    return (flight.mission, flight.policy, number(mean.estimate), spread(mean), per_satellite)


def _ratios(flight: Flight, flights: Sequence[Flight], confidence: float) -> tuple[str, str]:
    def ratio(reference: Flight | None) -> str:
        if reference is None:
            return MISSING
        found = mean_ratio(flight.per_satellite, reference.per_satellite, confidence)
        return f"{number(found.estimate, 2)} {spread(found, 2)}".rstrip()

    rule = next((other for other in flights if (other.mission, other.policy) == (flight.mission, _RULE)), None)
    return ratio(rule), ratio(next(other for other in flights if other.policy == flight.policy))


def _accounts(flight: Flight) -> tuple[str, ...]:
    def mean(name: str, digits: int) -> str:
        return number(float(np.mean([getattr(episode, name) for episode in flight.episodes])), digits)

    counted = (mean(name, 2) for name in ("duplicates", "deaths", "failures", "missed", "late"))
    return (mean("captured", 1), *counted)


@styled
def figure(flights: Sequence[Flight]) -> Figure:
    """Return per satellite with its interval, policies side by side."""
    frames = panels(flights)
    policies = list(dict.fromkeys(flight.policy for flight in flights))
    columns = min(len(frames), _PANELS_IN_A_ROW)
    rows = -(-len(frames) // columns)
    drawn = Figure(figsize=(WIDTH_IN, 3.4 if rows == 1 else 0.4 + 2.3 * rows), layout="constrained")
    grid = drawn.subplots(rows, columns, sharey=True, squeeze=False)
    for axes, frame in zip(grid.flat, frames, strict=False):
        _draw(axes, frame, flights, policies)
    for unused in grid.flat[len(frames) :]:
        unused.set_axis_off()
    drawn.supylabel("return per satellite", color=MUTED, fontsize=9)
    drawn.legend(*grid.flat[0].get_legend_handles_labels(), loc="outside right upper")
    drawn.suptitle("mean and 95% interval over held-out episodes", fontsize=8.5, x=0.01, ha="left", color=MUTED)
    return drawn


def panels(flights: Sequence[Flight]) -> list[Panel]:
    """How the missions are laid out.

    Along the number of satellites, if it alone tells the missions apart; a panel for each key whose numbers were swept,
    if every mission belongs to such a sweep; else all beside each other in one.
    """
    sizes = {flight.mission: flight.satellites for flight in flights}
    if len(sizes) > 1 and len(set(sizes.values())) == len(sizes):
        return [Panel("satellites", tuple(sizes), tuple(float(size) for size in sizes.values()))]
    swept: dict[str, dict[str, float]] = defaultdict(dict)
    for mission in sizes:
        rest, _, last = mission.rpartition(" ")
        key, _, value = last.partition("=")
        if re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", value):
            label = " ".join(filter(None, (_short(rest), short_name(key))))
            swept[label][mission] = float(value)
    if sum(map(len, swept.values())) == len(sizes) and all(len(values) > 1 for values in swept.values()):
        return [Panel(label, tuple(values), tuple(values.values())) for label, values in swept.items()]
    return [Panel("", tuple(sizes), None)]


def _draw(axes: Axes, frame: Panel, flights: Sequence[Flight], policies: Sequence[str]) -> None:
    places = np.array(range(len(frame.missions)) if frame.places is None else frame.places, dtype=np.float64)
    apart = 0.1 if frame.places is None else 0.012 * np.ptp(places)  # intervals stand side by side
    styles: dict[str, int] = {}
    for index, policy in enumerate(policies):
        own = {flight.mission: flight for flight in flights if flight.policy == policy}
        means = [mean_interval(own[m].per_satellite) for m in frame.missions]
        colour = family_colour(policy)
        nth = styles[colour] = styles.get(colour, -1) + 1
        below_above = [[m.estimate - m.low for m in means], [m.high - m.estimate for m in means]]
        axes.errorbar(
            places + apart * (index - (len(policies) - 1) / 2),
            [m.estimate for m in means],
            yerr=np.nan_to_num(below_above),
            color=colour,
            label=policy,
            marker="os^D"[nth % 4],
            markersize=3.5,
            linestyle="none" if frame.places is None else ("-", "--", ":", "-.")[nth % 4],
            linewidth=1.2,
            elinewidth=0.7,
        )
    if frame.places is None:
        axes.set_xticks(places, [_short(m).replace("=", "\n= ") for m in frame.missions], fontsize=7.5, linespacing=1.5)
    else:
        axes.set_xticks(sorted(set(frame.places)))
        axes.set_xlabel(frame.label)
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.grid(axis="y")


def _short(mission: str) -> str:
    """The last part of each key with its value, one to a line."""
    overrides = (part.partition("=") for part in mission.split(" "))
    return "\n".join(short_name(key) + equals + value for key, equals, value in overrides)


def short_name(key: str) -> str:
    """The last part of a setting's key; the mode of a group goes by the group's name."""
    *groups, last = key.split(".")
    return groups[-1] if groups and last == "mode" else last
