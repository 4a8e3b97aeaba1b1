"""The stored run records of missions as tables: results/missions.md, and a short one in README.md."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from envs.files import write_whole
from kdmarl_sat.missions.costs import training_cpu_s
from kdmarl_sat.missions.records import Group, Measured, Record, RecordError, grouped, read_records
from kdmarl_sat.report.formats import MISSING
from kdmarl_sat.report.pages import inserted
from training.artifact import ROOT

BEGIN, END = "<!-- results: kdmarl-sat table -->", "<!-- end of results -->"
TEACHER, STUDENTS = "teacher_fo", ("kd_lh", "kd_lh_a")
FIRST = ("greedy_battery", "forecast", "planner", TEACHER, *STUDENTS, "mappo_lh_a")  # that README.md shows


def sections(records: Sequence[Record]) -> str:
    """Markdown: one section for each mission, preset and configuration."""
    made = []
    for group in grouped(records):
        made.append(_section(group))
        most = max(len(record["policies"]) for record in group.records)
        further = tuple(record for record in group.records if len(record["policies"]) == most)
        if len(further) < group.seeds:  # controls are flown with some seeds only
            made.append(_section(Group(further, group.differences)))
    return "\n".join(made)


def in_short(records: Sequence[Record]) -> str:
    """Markdown: policies by missions of the default preset, of each the configuration with most seeds."""
    groups = [group for group in _chosen(records) if group.preset == "default"]
    labels = _labels(groups)
    lines = [
        _line("captured priority", [g.mission for g in groups]),
        f"|{'---|' * (len(groups) + 1)}",
        *(_line(labels[name], _each(groups, _captured, name)) for name in FIRST if name in labels),
        _line("times fewer MACs, LH+A: costliest satellite (all)", _each(groups, _times_fewer, STUDENTS[-1])),
    ]
    flown = _each_or_all("held-out episode", {g.mission: g.flown[0] for g in groups})
    seeds = _each_or_all("training seed", {g.mission: g.seeds for g in groups})
    said = f"Means with 95 % intervals; per mission {flown} and {seeds}."
    return "\n".join([*lines, "", said, ""])


def _each_or_all(what: str, counts: Mapping[str, int]) -> str:
    """``20 held-out episodes``; where missions differ, the rarer counts with their missions in brackets."""
    [(most, _), *_] = Counter(counts.values()).most_common(1)
    others = ", ".join(f"{mission}: {count}" for mission, count in counts.items() if count != most)
    return f"{most} {what}{'s' * (most != 1)}{f' ({others})' if others else ''}"


def page(records: Sequence[Record]) -> str:
    """Markdown: the overview, and all that is known."""
    return f"# Missions\n\n{overview(records)}\n{sections(records)}"


def _chosen(records: Sequence[Record]) -> list[Group]:
    """Of each mission and preset the configuration with most seeds."""
    chosen: dict[tuple[str, str], Group] = {}
    for group in grouped(records):
        known = chosen.get((group.mission, group.preset))
        if known is None or group.seeds > known.seeds:
            chosen[group.mission, group.preset] = group
    return list(chosen.values())


def _labels(groups: Sequence[Group]) -> dict[str, str]:
    return {p["name"]: p["label"] for g in groups for p in g.records[0]["policies"] if p["name"] in g.names}


def _line(title: str, cells: Sequence[str]) -> str:
    return f"| {' | '.join((title, *cells))} |"


def _each(groups: Sequence[Group], measure: Callable[[Group, str], str], name: str) -> list[str]:
    return [measure(group, name) if name in group.names else MISSING for group in groups]


def overview(records: Sequence[Record]) -> str:
    """Markdown: policies by missions and presets, of each the configuration with most seeds."""
    groups = _chosen(records)
    labels = _labels(groups)
    each = partial(_each, groups)
    lines = [
        _line("captured priority", [f"{g.mission}, {g.preset}" for g in groups]),
        f"|{'---|' * (len(groups) + 1)}",
        _line("training seeds × held-out episodes", [f"{g.seeds} × {g.flown[0]}" for g in groups]),
        _line("an episode, s", [f"{g.records[0]['config']['scenario']['duration_s']:g}" for g in groups]),
    ]
    lines += [_line(label, each(_captured, name)) for name, label in labels.items()]
    students = [name for name in STUDENTS if name in labels]
    lines += [_line(f"{labels[name]}, kept of the teacher", each(_kept, name)) for name in students]
    fewer = "times fewer MACs than the teacher's: costliest satellite (all)"
    lines += [_line(f"{labels[name]}, {fewer}", each(_times_fewer, name)) for name in students]
    lines.append(_line("lost satellites per episode, LH+A", each(_lost, STUDENTS[-1])))
    lines.append(_line("claims met in all seeds", [_met(group) for group in groups]))
    return "\n".join([*lines, ""])


def _captured(group: Group, name: str) -> str:
    return _interval(group.captured(name), 1)


def _kept(group: Group, name: str) -> str:
    return _interval(group.kept(name), 0, " %", 100)


def _lost(group: Group, name: str) -> str:
    return f"{_mean(group, name, 'deaths'):.2f}"


def _met(group: Group) -> str:
    claims = list(group.claims())
    return f"{sum(all(value['met'] for value in values) for _, values in claims)} of {len(claims)}"


def _times_fewer(group: Group, name: str) -> str:
    teacher, macs = group.macs(TEACHER), group.macs(name)
    if teacher is None or macs is None:
        return MISSING
    costliest, together = (ours / theirs for ours, theirs in zip(teacher, macs, strict=True))
    return f"{costliest:.1f} ({together:.1f})"


def _cost(group: Group, name: str) -> str:
    spent = [training_cpu_s(record, name) for record in group.records]
    known = [each for each in spent if each is not None]
    return f"{np.mean(known):,.0f}" if len(known) == len(spent) else MISSING


def _mean(group: Group, name: str, what: str) -> float:
    """Per episode."""
    return float(np.mean([e[what] for p in group.of(name) for e in p["episodes"][: group.flown[0]]]))


def _section(group: Group) -> str:
    seeds, (episodes, most) = group.seeds, group.flown
    lines = [
        f"### {group.mission}, preset={group.preset}: {seeds} training seed{'s' * (seeds > 1)} × {episodes} held-out "
        f"episodes of {group.records[0]['config']['scenario']['duration_s']:g} s (commit {', '.join(group.commits)})",
        "",
        *([f"Configured otherwise than the first: {group.differences}.", ""] if group.differences else []),
        *([f"Some flew up to {most} episodes; the first {episodes} count.", ""] if most > episodes else []),
        "| policy | captured priority | of global knowledge | kept of the teacher | duplicates | lost satellites | "
        "guard's overrides | MACs per decision | times fewer | CPU-s of training | agrees with teacher |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in group.names:
        policies, macs = group.of(name), group.macs(name)
        overrides = [count for policy in policies for count in policy.get("overrides", ())]
        agreement = [value for policy in policies for value in policy["agreement"]]
        cells = [
            policies[0]["label"],
            _captured(group, name),
            _interval(group.ratio(name, "global_knowledge"), 2),
            _kept(group, name),
            f"{_mean(group, name, 'duplicates'):.1f}",
            _lost(group, name),
            f"{np.mean(overrides):.1f}" if overrides else MISSING,
            "–" if macs is None else f"{macs[0]:,} ({macs[1]:,})",
            "–" if macs is None else _times_fewer(group, name),
            _cost(group, name),
            "–" if not agreement else f"{np.mean(agreement):.0%}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Claims, per seed (measured / wanted):", ""]
    for text, values in group.claims():
        verdict = "met" if all(value["met"] for value in values) else "**not met**"
        if len({value["met"] for value in values}) > 1:
            verdict = "**met in part**"
        measured = ", ".join(MISSING if v["measured"] is None else f"{v['measured']:.3g}" for v in values)
        lines.append(f"- {text}: {measured} / {values[0]['wanted']:g}: {verdict}")
    return "\n".join([*lines, ""])


def _interval(measured: Measured, digits: int, unit: str = "", scale: float = 1.0) -> str:
    value = scale * measured.value
    if not math.isfinite(value):
        return MISSING
    if not np.isfinite(measured.resampled).all():  # of a ratio whose denominator is 0 in some resample
        return f"{value:.{digits}f}{unit}"
    low, high = scale * np.percentile(measured.resampled, [2.5, 97.5])
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]{unit}"


def write(folder: Path) -> str:
    """Tables of the records in a folder, into results/missions.md and README.md; the former's text.

    Raises:
        RecordError: there are none, or one is damaged.
    """
    records = read_records(folder)
    if not records:  # tables of nothing would replace those that are there
        raise RecordError(f"records={folder} holds no run records: it must be a folder of some")
    readme, text = ROOT / "README.md", page(records)
    whole = inserted(readme.read_text("utf-8"), in_short(records), BEGIN, END)
    write_whole(ROOT / "results/missions.md", text.encode())
    write_whole(readme, whole.encode())
    return text
