"""The paper's Tables I, II and III with our numbers beside its own, one for each simulator."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kdmarl_sat.games.report import paper
from kdmarl_sat.games.report.cells import (
    COUNTING,
    INTERVALS,
    TIMES,
    Table,
    flops,
    place_name,
    sample,
    stated,
    training_cost,
    unit,
    with_interval,
)
from kdmarl_sat.games.report.statistics import CONFIDENCE
from kdmarl_sat.games.report.summary import BUDGET_LABELS, TEACHER, Group, Place, Results, in_order, label
from kdmarl_sat.report.formats import MISSING, count, number, spread


def paper_tables(results: Results) -> list[Table]:
    made: list[Table] = []
    for simulator in results.simulators:
        places = [place for place in results.places if (place.backend, place.evaluated_on) == simulator]
        named = dict.fromkeys(paper.table_of(place.map, place.backend) for place in places)
        for name in sorted(named, key=lambda n: n or "Z"):
            made.append(_comparison(results, name, [p for p in places if paper.table_of(p.map, p.backend) == name]))
        made += [_peers(results, place) for place in places if place.map == paper.peers()[0]]
    return made


def _comparison(results: Results, name: str | None, places: Sequence[Place]) -> Table:
    """Table I or II on one simulator, or (None) games that the paper does not have."""
    printed = {row.map: row for row in (paper.rows(name) if name else ())}
    columns = in_order({TEACHER, *paper.columns()})
    rows: list[tuple[str, ...]] = []
    for game_map in dict.fromkeys([*printed, *(place.map for place in places)]):
        here = [place for place in places if place.map == game_map]
        row = printed.get(game_map)
        if row is not None:
            rows += _paper_lines(row, columns)
        # Where a teacher stands alone, for methods that the paper does not have, its row is in another budget too.
        compared = [place for place in here if (set(columns) - {TEACHER}) & set(results.methods(place))]
        for place in compared or here:
            rows += _our_lines(results, place, columns)
        if not here:
            rows.append((row.name if row else game_map, "ours", *(MISSING for _ in columns)))
    simulator = places[0].simulator
    title = f"Table {name}: {paper.title(name)}, on {simulator}" if name else f"Other games, on {simulator}"
    notes = (
        f"Paper: {paper.source()}. Ours: {simulator}. Results from different simulators are never averaged.",
        "Our KD-MARL students learn from the teacher's buffer and from their own play, which the teacher labels. The "
        'paper\'s form uses the buffer alone; the retention tables call it "buffer only".',
        "Budgets: with equal steps, every method except the teacher trains for the number of environment steps in the "
        "game's settings. With the budget converged, every method trains for as many steps as the teacher. Runs of "
        "different budgets are never averaged.",
        "The teacher is MAPPO FO, trained for longer. With the budget converged, MAPPO FO is the teacher itself, "
        "except on 5m_vs_6m, whose teacher has a curriculum. The cost tables give each method's environment steps.",
        "Settings were chosen by trials on seed 0; the final evaluations of these trials were seen (docs/method.md).",
        "SMAC and SMAX: under LH too, the legal actions tell an agent which enemies are in range (docs/games.md).",
        "MAPPO and KD-MARL lower their learning rate to 0. QMIX and VDN keep theirs, as in PyMARL.",
        training_cost(group for place in places for method in columns if (group := results.get(place, method))),
        *(paper.defects(name) if name else ()),
    )
    return Table(title, ("game", "", *map(label, columns)), tuple(rows), notes, (INTERVALS, TIMES))


def _paper_lines(row: paper.PaperRow, columns: Sequence[str]) -> list[tuple[str, ...]]:
    def line(what: str, values: dict[str, paper.Stated]) -> tuple[str, ...]:
        return (f"{row.name}{'' if row.target else ' †'}", what, *(stated(values.get(m)) for m in columns))

    score = "paper, win rate, %" if row.table == "I" else "paper, return"
    return [line(score, row.score), line("paper, ms per step", row.time_per_step_ms)]


def _our_lines(results: Results, place: Place, columns: Sequence[str]) -> list[tuple[str, ...]]:
    groups = [results.get(place, method) for method in columns]
    present = [group for group in groups if group is not None]
    name = place_name(results, place)

    def line(what: str, of: Callable[[Group], str]) -> tuple[str, ...]:
        return (name, what, *(MISSING if group is None else of(group) for group in groups))

    if not present:
        return [line("ours", lambda _: MISSING)]
    digits = 1 if present[0].has_victory else 2
    lines = [
        line(f"ours, {unit(present[0])}", lambda g: number(g.score.estimate, digits)),
        line(f"ours, {CONFIDENCE:.0%} interval", lambda g: spread(g.score, digits) or MISSING),
        line("ours, interquartile mean", lambda g: with_interval(g.middle, digits)),
        line("ours, seeds × episodes", sample),
        line("ours, ms per step", lambda g: number(g.mean(lambda r: r.time_per_step_ms), 2)),
    ]
    if not present[0].has_victory:
        times = line("ours, return × agents (EPyMARL's sum)", lambda g: number(_summed(g), digits))
        lines.insert(1, times)
    return lines


def _summed(group: Group) -> float:
    return group.score.estimate * group.records[0].agents


def _peers(results: Results, place: Place) -> Table:
    _, peers = paper.peers()
    rows, groups = [], []
    for peer in peers:
        group = results.get(place, peer.method)
        groups += [group] if group else []
        ours = (MISSING,) * 4
        if group is not None:
            ours = (with_interval(group.score), sample(group), count(group.macs_per_decision), flops(group))
        rows.append((peer.name, peer.agents, number(peer.win_rate_percent, 2), *ours))
    head = ("method", "agents in the paper", "paper, win rate, %", "ours, win rate, %", "seeds × episodes")
    notes = (
        f"Paper: {paper.source()}.",
        "Ours: all students observe under the masks. Students of CTDS, Tseng et al. and PTDE have LH's size and by "
        "default as many environment steps as KD-MARL. These steps include the teachers of CTDS and PTDE; Tseng et "
        "al. use KD-MARL's teacher (docs/peers.md).",
        training_cost(groups),
        *paper.defects("III"),
    )
    budget = f", {BUDGET_LABELS[place.budget]}" if len(results.budgets) > 1 else ""
    title = f"Table III: {paper.title('III')}, on {place.simulator}{budget}"
    return Table(title, (*head, "MAC per decision", "FLOP per decision"), tuple(rows), notes, (INTERVALS, COUNTING))
