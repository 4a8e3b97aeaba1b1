"""Records put together: what may be averaged (seeds of one method in one place) and what may not."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from kdmarl_sat.games.records import TEACHER_SEED, GameRecord
from kdmarl_sat.games.report import paper
from kdmarl_sat.games.report.statistics import (
    UNKNOWN,
    FloatArray,
    Scores,
    compare,
    difference,
    interquartile_mean,
    mean_score,
    normalised,
    share,
)
from kdmarl_sat.report.statistics import Interval
from scenarios.games.schema import BUDGETS, METHODS

TEACHER, MASKED = "teacher", "mappo_lh"  # with full sight; reinforcement learning under the mask, wide networks
CONTROLS = ("kd_fo_small", "kd_lh_wide")
BACKENDS = {
    "smax": "SMAX (jaxmarl, not StarCraft II)",
    "smac": "SMAC (StarCraft II)",
    "mpe": "our MPE",
    "mpe2": "mpe2",
}

_LABELS = {
    TEACHER: "Teacher",
    "kd_lh_m": "KD-MARL LH, messages",
    "kd_buffer_lh": "KD-MARL LH, buffer only",
    "kd_buffer_lh_a": "KD-MARL LH+A, buffer only",
    "kd_fo_small": "KD, small, full sight",
    "kd_lh_wide": "KD, wide, LH",
    "ctds": "CTDS, LH",
    "tseng": "Tseng et al., LH",
    "ptde": "PTDE, LH",
}
_FAMILIES = {"mappo": "MAPPO", "qmix": "QMIX", "vdn": "VDN", "kd": "KD-MARL"}
_SIGHTS = {"fo": "FO", "lh": "LH", "lh_a": "LH+A"}


BUDGET_LABELS = {"equal": "equal steps", "converged": "as many steps as the teacher"}


def label(method: str) -> str:
    family, _, sight = method.partition("_")
    if family in _FAMILIES and sight in _SIGHTS:
        return f"{_FAMILIES[family]} {_SIGHTS[sight]}"
    return _LABELS.get(method, method)


def sees_everything(method: str) -> bool:
    return method == TEACHER or "_fo" in method


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A game, and who senses what of it, on what simulates it; different places are never averaged or compared."""

    scenario: str
    map: str
    backend: str
    evaluated_on: str
    otherwise: str = ""  # settings of the scenario that are unlike those of most runs under its name
    budget: str = "equal"  # how long its methods train

    @property
    def simulator(self) -> str:
        """For captions: backend, and where another one evaluated, that too."""
        trained = BACKENDS.get(self.backend, self.backend)
        if self.evaluated_on == self.backend:
            return trained
        return f"{trained}, evaluated on {BACKENDS.get(self.evaluated_on, self.evaluated_on)}"

    @property
    def slug(self) -> str:
        parts = (self.scenario, self.backend, *((self.evaluated_on,) * (self.evaluated_on != self.backend)))
        apart = [re.sub(r"[^A-Za-z0-9_.]+", "_", self.otherwise), self.budget if self.budget != "equal" else ""]
        return "-".join([*parts, *filter(None, apart)])


@dataclass(frozen=True)
class Group:
    """The runs of one method, variant and configuration in one place: one per seed."""

    place: Place
    method: str
    variant: str
    records: tuple[GameRecord, ...]  # by seed

    @cached_property
    def scores(self) -> Scores:
        """Per seed and episode: 100 or 0 for a win in games with victory, else the return."""
        runs = {record.seed: _score(record) for record in self.records}
        return Scores(runs, self.place.slug)

    @cached_property
    def score(self) -> Interval:
        return mean_score(self.scores)

    @cached_property
    def middle(self) -> Interval:
        return interquartile_mean(self.scores)

    @property
    def has_victory(self) -> bool:
        return self.records[0].has_victory

    @property
    def random(self) -> float:
        """What uniformly random actions score, in the unit of ``scores``."""
        rates = [r.random_return if r.random_win_rate is None else 100 * r.random_win_rate for r in self.records]
        return float(np.mean(rates))

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(record.seed for record in self.records)

    @property
    def episodes(self) -> tuple[int, int]:
        """Fewest and most per seed."""
        counts = [record.final["episodes"] for record in self.records]
        return min(counts), max(counts)

    def mean(self, of: Callable[[GameRecord], float | None]) -> float | None:
        """Mean of a quantity over the seeds that have it."""
        values = [value for record in self.records if (value := of(record)) is not None]
        return float(np.mean(values)) if values else None

    @property
    def macs_per_decision(self) -> float:
        """Mean over agents, the same for all seeds."""
        return float(np.mean(self.records[0].macs["per_decision"]))

    @property
    def macs_per_episode(self) -> float:
        return float(np.mean([record.macs["per_episode"] for record in self.records]))

    def kept(self, reference: Group | None) -> Interval:
        """Share of the reference's score."""
        return UNKNOWN if reference is None else compare(self.scores, reference.scores, share)

    def kept_normalised(self, reference: Group | None) -> Interval:
        """The same with random actions at 0 and the reference at 1."""
        if reference is None:
            return UNKNOWN
        common = [record for record in reference.records if record.seed in self.seeds]
        if not common:
            return UNKNOWN
        floor = Group(reference.place, reference.method, reference.variant, tuple(common)).random
        return compare(self.scores, reference.scores, normalised(floor))

    def less(self, reference: Group) -> Interval:
        """Difference of the scores."""
        return compare(self.scores, reference.scores, difference)

    def differences(self, other: Group) -> str:
        """Settings in which this group's runs are unlike another's."""
        ours, theirs = self.records[0].settings(), other.records[0].settings()
        keys = _unlike(ours, theirs)
        return ", ".join(f"{key} {_shown(ours, key)} (there {_shown(theirs, key)})" for key in keys)


@dataclass(frozen=True)
class Results:
    """All groups of runs: the main one of each place, method and variant, and those that are configured otherwise."""

    main: dict[tuple[Place, str, str], Group]
    otherwise: tuple[tuple[Group, Group], ...]  # a group and the main one in its place

    @property
    def places(self) -> list[Place]:
        """In the paper's order, then by name."""
        order = [row.map for table in ("I", "II") for row in paper.rows(table)]
        places = {place for place, _, _ in self.main}

        def key(place: Place) -> tuple[object, ...]:
            at = order.index(place.map) if place.map in order else len(order)
            return at, replace(place, budget=""), BUDGETS.index(place.budget)

        return sorted(places, key=key)

    @property
    def budgets(self) -> list[str]:
        """Those that have runs."""
        return [budget for budget in BUDGETS if any(place.budget == budget for place, _, _ in self.main)]

    @property
    def simulators(self) -> list[tuple[str, str]]:
        """Backend, and what evaluated, in the order of the places."""
        return list(dict.fromkeys((place.backend, place.evaluated_on) for place in self.places))

    def get(self, place: Place, method: str, variant: str = "") -> Group | None:
        return self.main.get((place, method, variant))

    def masked(self, group: Group) -> Group | None:
        """What reinforcement learning reaches under the group's mask; None for those that see everything."""
        return None if sees_everything(group.method) else self.get(group.place, MASKED)

    def masks(self, place: Place) -> str:
        """How it is decided who senses what."""
        group = next(group for (where, _, _), group in self.main.items() if where == place)
        return "random masks" if group.records[0].config["scenario"].get("random_mask") else "fixed groups"

    def methods(self, place: Place) -> list[str]:
        """Those with runs there, in the order of ``METHODS``, others behind."""
        return in_order(method for where, method, variant in self.main if where == place and not variant)


def in_order(methods: Iterable[str]) -> list[str]:
    return sorted(set(methods), key=lambda m: (METHODS.index(m) if m in METHODS else len(METHODS), m))


def grouped(records: Sequence[GameRecord]) -> Results:
    """Runs of unlike configurations stand apart: the main group is the one with most seeds, then most steps; runs whose
    teacher is another seed's come last."""
    kinds: dict[tuple[Place, str, str], dict[str, list[GameRecord]]] = defaultdict(lambda: defaultdict(list))
    for place, here in _by_place(records):
        # A teacher trains as long in every budget, so it stands in each that others have run in.
        others = {record.budget for record in here if record.method != TEACHER} or {BUDGETS[0]}
        for record in here:
            settings = json.dumps(record.settings(), sort_keys=True)
            for budget in sorted(others) if record.method == TEACHER else [record.budget]:
                kinds[replace(place, budget=budget), record.method, record.variant][settings].append(record)
    main: dict[tuple[Place, str, str], Group] = {}
    otherwise: list[tuple[Group, Group]] = []
    for key, unlike in sorted(kinds.items(), key=lambda item: item[0]):
        groups = [Group(*key, tuple(sorted(each, key=lambda r: r.seed))) for each in unlike.values()]
        groups.sort(key=_rank)
        main[key] = groups[0]
        otherwise += [(group, groups[0]) for group in groups[1:]]
    return Results(main, tuple(otherwise))


def _rank(group: Group) -> tuple[object, ...]:
    """The main group of several is the first."""
    steps = sum(record.environment_steps for record in group.records)
    return TEACHER_SEED in group.records[0].settings(), -len(group.records), -steps


def _by_place(records: Iterable[GameRecord]) -> Iterator[tuple[Place, list[GameRecord]]]:
    """Records of one task each. Where a scenario was changed, what most runs have is the scenario."""
    named: dict[Place, dict[str, list[GameRecord]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        place = Place(record.scenario, record.map, record.backend, record.evaluated_on)
        named[place][json.dumps(_task(record), sort_keys=True)].append(record)
    for place, tasks in named.items():
        first, *others = sorted(tasks, key=lambda task: (-len(tasks[task]), len(task), task))
        yield place, tasks[first]
        usual = _task(tasks[first][0])
        for task in others:
            ours = _task(tasks[task][0])
            said = ", ".join(f"{key.partition('.')[2]} {_shown(ours, key)}" for key in _unlike(ours, usual))
            yield replace(place, otherwise=said), tasks[task]


def _task(record: GameRecord) -> dict[str, Any]:
    return {key: value for key, value in record.settings().items() if key.startswith("scenario.")}


def _shown(settings: dict[str, Any], key: str) -> str:
    return json.dumps(settings[key]) if key in settings else "default"


def _unlike(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    return [key for key in sorted({*ours, *theirs}) if _shown(ours, key) != _shown(theirs, key)]


def _score(record: GameRecord) -> FloatArray:
    wins = record.final["wins"]
    return np.array(record.final["returns"] if wins is None else [100.0 * won for won in wins], dtype=np.float64)
