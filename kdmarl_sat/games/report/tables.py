"""The paper's tables with our numbers beside its own, and further tables: retention, costs, gaps, ablations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from kdmarl_sat.games.report import paper
from kdmarl_sat.games.report.cells import (
    COUNTING,
    INTERVALS,
    TIMES,
    Table,
    flops,
    place_name,
    sample,
    share_with_interval,
    stated,
    unit,
    with_interval,
)
from kdmarl_sat.games.report.convergence import LAST_GAIN, last_gain
from kdmarl_sat.games.report.paper_tables import paper_tables
from kdmarl_sat.games.report.peers import peers
from kdmarl_sat.games.report.statistics import common_seeds, interval, middle_half
from kdmarl_sat.games.report.summary import BUDGET_LABELS, MASKED, TEACHER, Place, Results, in_order, label
from kdmarl_sat.games.report.teachers import teachers
from kdmarl_sat.report.formats import MISSING, count, number, percent
from kdmarl_sat.report.statistics import Interval

_RETENTION = (
    "Kept of the teacher: plain is R / R_teacher, and 1 - (R_teacher - R) / |R_teacher| for negative returns. "
    "Normalised is (R - R_random) / (R_teacher - R_random); R_random is the return of uniformly random legal actions. "
    "The same is shown relative to MAPPO LH: reinforcement learning under the same mask, with wide networks and no "
    "teacher. Each ratio uses the seeds that both methods have."
)
_COSTS = "Environment steps and CPU time do not include the teacher's training."
_VARIANTS = "docs/methods/kd_marl.md says what each variant changes."
_BUFFER = "the expert's buffer alone, a fifth as many steps or less, without own rollouts and last actions"
_GAPS = (
    ("information", "wide networks under the mask, distilled", TEACHER, "kd_lh_wide"),
    ("information, reinforcement learning", "wide networks under the mask, not distilled", TEACHER, MASKED),
    ("capacity", "small networks with full sight, distilled", TEACHER, "kd_fo_small"),
    ("the paper's form, LH", _BUFFER, "kd_lh", "kd_buffer_lh"),
    ("the paper's form, LH+A", _BUFFER, "kd_lh_a", "kd_buffer_lh_a"),
)

_DIRECT = (  # distilled, and what reinforcement learning alone reaches with what the same agents see
    ("kd_lh", ("mappo_lh", "qmix_lh", "vdn_lh")),
    ("kd_lh_a", ("mappo_lh_a", "qmix_lh_a", "vdn_lh_a")),
    ("kd_lh_wide", ("mappo_lh",)),
)


def tables(
    results: Results,
    by_hand: Mapping[str, Sequence[float]] = MappingProxyType({}),
    measured_peers: Mapping[str, Any] | None = None,
) -> list[Table]:
    """All of them: the paper's, then for each game retention, costs, gaps and ablations.

    ``by_hand``: returns of hand-written policies, by map; ``measured_peers``: what ``measure peers`` kept.
    """
    made = [*paper_tables(results), *teachers(results, by_hand), *peers(measured_peers)]
    made += [table for simulator in results.simulators for table in _aggregate(results, simulator)]
    for place in results.places:
        made += [_retention(results, place), *_direct(results, place), _costs(results, place), *_gaps(results, place)]
        made += _ablations(results, place)
    return [*made, *_otherwise(results)]


def _retention(results: Results, place: Place) -> Table:
    teacher = results.get(place, TEACHER)
    row = paper.row_of(place.map)
    rows = []
    groups = [group for method in results.methods(place) if (group := results.get(place, method))]
    for group in groups:
        masked = results.masked(group)
        digits = 1 if group.has_victory else 2
        rows.append(
            (
                label(group.method),
                with_interval(group.score, digits),
                sample(group),
                share_with_interval(group.kept(teacher)),
                share_with_interval(group.kept_normalised(teacher)),
                percent(row.retention(group.method) if row and row.target else None, 1),
                share_with_interval(group.kept(masked)),
                share_with_interval(group.kept_normalised(masked)),
                percent(group.mean(lambda r: r.agreement), 1),
            )
        )
    head = (
        *("method", unit(groups[0]) if groups else "score", "seeds × episodes", "kept of the teacher, %"),
        *("normalised, %", "paper, plain", "kept of MAPPO LH, %", "normalised, %", "agrees with teacher"),
    )
    claimed, _ = paper.headlines()
    chance = (f"Random legal actions score {number(groups[0].random, 2)} here.",) if groups else ()
    common = (
        _RETENTION,
        f"The paper's headline: over {percent(claimed)} of the teacher's performance kept.",
        INTERVALS,
    )
    title = f"{place_name(results, place)}: retention, on {place.simulator}"
    return Table(title, head, tuple(rows), chance, common)


def _direct(results: Results, place: Place) -> list[Table]:
    """Whether distillation pays: against the same sight learnt from without a teacher."""
    rows = []
    for method, others in _DIRECT:
        for other in others:
            ours, theirs = results.get(place, method), results.get(place, other)
            if ours is None or theirs is None:
                continue
            gained, seeds = ours.less(theirs), len(common_seeds(ours.scores, theirs.scores))
            rows.append((label(method), label(other), with_interval(gained, 2), str(seeds), _verdict(gained, seeds)))
    head = ("distilled", "trained directly", "difference of scores", "seeds", "")
    title = f"{place_name(results, place)}: gain of distillation, on {place.simulator}"
    return [Table(title, head, tuple(rows), (), (INTERVALS,))] if rows else []


def _verdict(gained: Interval, seeds: int) -> str:
    if not math.isfinite(gained.low):
        return MISSING
    said = "better" if gained.low > 0 else "worse" if gained.high < 0 else "level: the interval holds 0"
    return said if seeds > 1 else f"{said}, on this seed"


def _costs(results: Results, place: Place) -> Table:
    teacher, row = results.get(place, TEACHER), paper.row_of(place.map)
    rows = []
    for method in results.methods(place):
        group = results.get(place, method)
        assert group is not None
        time_ms = group.mean(lambda r: r.time_per_step_ms)
        rows.append(
            (
                label(method),
                count(group.macs_per_decision),
                flops(group),
                count(group.macs_per_episode),
                count(2 * group.macs_per_episode),
                number(teacher.macs_per_decision / group.macs_per_decision) if teacher else MISSING,
                number(teacher.macs_per_episode / group.macs_per_episode) if teacher else MISSING,
                number(time_ms, 3),
                stated(row.time_per_step_ms.get(method) if row else None),
                count(group.mean(lambda r: r.environment_steps)),
                with_interval(last_gain(group.records), 1 if group.has_victory else 2),
                count(group.mean(lambda r: r.run["cpu_s"])),
            )
        )
    head = (
        *("method", "MAC per decision", "FLOP per decision", "MAC per episode", "FLOP per episode"),
        *("times fewer than the teacher, per decision", "per episode", "ms per step", "paper, ms per step"),
        *("environment steps", "gain in the last quarter", "CPU-seconds"),
    )
    _, fewer = paper.headlines()
    common = (COUNTING, TIMES, LAST_GAIN, f"The paper's headline: up to {number(fewer)} times fewer FLOPs.", _COSTS)
    return Table(f"{place_name(results, place)}: costs, on {place.simulator}", head, tuple(rows), (), common)


def _gaps(results: Results, place: Place) -> list[Table]:
    """What mask, size and the expert's data each cost, where the controls have run."""
    rows = []
    for name, what, reference, method in _GAPS:
        ours, against = results.get(place, method), results.get(place, reference)
        if ours is None or against is None:
            continue
        lost = ours.less(against)
        rows.append((name, f"{label(method)}: {what}", label(reference), with_interval(lost, 2)))
    head = ("cause", "method", "compared with", "difference of scores")
    title = f"{place_name(results, place)}: causes of the gap to the teacher, on {place.simulator}"
    return [Table(title, head, tuple(rows), (), (INTERVALS,))] if rows else []


def _ablations(results: Results, place: Place) -> list[Table]:
    """One table per method that has variants: the method itself, then a row for each."""
    variants = [(method, variant) for where, method, variant in results.main if where == place and variant]
    teacher = results.get(place, TEACHER)
    made = []
    for method in in_order(method for method, _ in variants):
        base = results.get(place, method)
        groups = [results.main[place, m, v] for m, v in sorted(variants, key=_by_number) if m == method]
        rows = []
        for group in ([base] if base else []) + groups:
            digits = 1 if group.has_victory else 2
            against = with_interval(group.less(base), digits) if base and group.variant else MISSING
            rows.append(
                (
                    group.variant or "as configured",
                    with_interval(group.score, digits),
                    sample(group),
                    against,
                    share_with_interval(group.kept_normalised(teacher)),
                    percent(group.mean(lambda r: r.agreement), 1),
                )
            )
        head = ("variant", unit(groups[0]), "seeds × episodes", "against as configured", "normalised, %", "agreement")
        title = f"{place_name(results, place)}: {label(method)} with one part changed, on {place.simulator}"
        made.append(Table(title, head, tuple(rows), (), (_VARIANTS, INTERVALS)))
    return made


def _by_number(of: tuple[str, str]) -> tuple[str, int]:
    """lost_30 before lost_100."""
    name, _, number = of[1].rpartition("_")
    return (name, int(number)) if number.isdigit() else (of[1], 0)


def _aggregate(results: Results, simulator: tuple[str, str]) -> list[Table]:
    """Normalised retention over all games of one simulator, for each budget, random masks and fixed groups apart."""
    places = [p for p in results.places if (p.backend, p.evaluated_on) == simulator and not p.otherwise]
    kinds: dict[tuple[str, str], list[Place]] = {}
    for place in places:
        kinds.setdefault((BUDGET_LABELS[place.budget], results.masks(place)), []).append(place)
    several = [len({kind[axis] for kind in kinds}) > 1 for axis in range(2)]
    return [
        table
        for kind, each in kinds.items()
        for table in _over_games(
            results, each, "".join(f", {name}" for name, told in zip(kind, several, strict=True) if told)
        )
    ]


def _over_games(results: Results, places: Sequence[Place], kind: str) -> list[Table]:
    """Of each method the games that it and the teacher have run on."""
    found = []
    for method in in_order(m for place in places for m in results.methods(place) if m != TEACHER):
        scores, drawn, names = [], [], []
        for place in places:
            group, teacher = results.get(place, method), results.get(place, TEACHER)
            if group is None or teacher is None:
                continue
            common = common_seeds(group.scores, teacher.scores)
            top = teacher.scores.means(common).mean() if common else teacher.random
            if top == teacher.random:  # nothing to normalise by
                continue
            scores.append((group.scores.means(common) - teacher.random) / (top - teacher.random))
            tops = teacher.scores.drawn(common).mean(-1, keepdims=True)
            with np.errstate(divide="ignore", invalid="ignore"):  # intervals are then unknown
                drawn.append((group.scores.drawn(common) - teacher.random) / (tops - teacher.random))
            names.append(place_name(results, place))
        if not scores:
            continue
        all_scores, all_drawn = np.concatenate(scores), np.concatenate(drawn, axis=-1)
        mean = interval(
            float(np.mean([each.mean() for each in scores])), np.mean([each.mean(-1) for each in drawn], axis=0)
        )
        middle = interval(float(middle_half(all_scores)), middle_half(all_drawn))
        shown = (str(all_scores.size), share_with_interval(mean), share_with_interval(middle))
        found.append((label(method), names, shown))
    if not found:
        return []
    most = max(len(names) for _, names, _ in found)
    marks = ["" if len(names) == most else " †" for _, names, _ in found]
    rows = tuple(
        (f"{said}{mark}", ", ".join(names), *shown) for (said, names, shown), mark in zip(found, marks, strict=True)
    )
    head = ("method", "games", "runs", "normalised retention, mean, %", "interquartile mean, %")
    notes = (
        "The mean is over games, of the mean over each game's runs; the interquartile mean is over all runs. Seeds and "
        "episodes are drawn within each game (stratified bootstrap).",
        *(("† This row lacks some games: compare it only with rows of the same games.",) if any(marks) else ()),
    )
    return [Table(f"Over all games{kind}, on {places[0].simulator}", head, rows, notes, (_RETENTION, INTERVALS))]


def _otherwise(results: Results) -> list[Table]:
    """Runs that the other tables leave out, because they are configured unlike the rest."""
    rows = tuple(
        (
            *(place_name(results, group.place), group.place.simulator, label(group.method), group.variant or MISSING),
            *(with_interval(group.score, 2), sample(group), group.differences(main)),
        )
        for group, main in results.otherwise
    )
    head = ("game", "simulator", "method", "variant", "score", "seeds × episodes", "settings unlike those above")
    note = "Runs outside the tables above, which take of a method the configuration with most seeds, then most steps."
    return [Table("Runs configured otherwise", head, rows, (note,))] if rows else []
