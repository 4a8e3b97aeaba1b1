"""The claims of a run: what is required, what was measured, and whether it is met."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kdmarl_sat.missions.results import PolicyResult

MAC_RATIO = 28.6  # the paper's headline
MAIN = "imaging_constellation"
Claim = tuple[str, float, float, bool]  # text, measured, wanted at least, met
STUDENTS = (("kd_lh", "KD-MARL LH"), ("kd_lh_a", "KD-MARL LH+A"))


def claims(policies: Sequence[PolicyResult], mission: str, preset: str) -> tuple[Claim, ...]:
    """What is claimed of a mission and preset, by the held-out episodes' means; NaN, and not met, where there is no
    ratio. Without a twin of the mission there is no planner to compare with, and its claims are left out."""
    by_name = {policy.name: policy for policy in policies}
    captured = {name: float(np.mean([e.captured for e in p.episodes])) for name, p in by_name.items()}
    full, main = preset == "full", mission == MAIN
    measured = [*_rules(captured, main), *_teacher(captured, main, full), *_students(captured, main, full)]
    macs = {name: max(p.macs_per_decision) for name, p in by_name.items() if p.macs_per_decision}
    measured += [
        (f"teacher's MACs / {label}'s, per decision", macs["teacher_fo"] / macs[name], MAC_RATIO)
        for name, label in STUDENTS
    ]
    found = [(text, value, wanted, bool(value >= wanted)) for text, value, wanted in measured]
    if full:
        survived = float(np.mean([e.deaths == 0 for e in by_name["teacher_fo"].episodes]))
        found.append(("share of the teacher's episodes without a lost satellite", survived, 1.0, survived == 1.0))
    return tuple(found)


def _rules(captured: dict[str, float], main: bool) -> list[tuple[str, float, float]]:
    if "planner" not in captured:
        return []
    ratio = _ratio(captured["planner"], captured["global_knowledge"])
    return [("planner / global-knowledge rule", ratio, 2.0 if main else 1.2)]


def _teacher(captured: dict[str, float], main: bool, full: bool) -> list[tuple[str, float, float]]:
    teacher = captured["teacher_fo"]
    found = [("teacher / greedy + battery", _ratio(teacher, captured["greedy_battery"]), 1.5 if main else 1.2)]
    if "planner" in captured:
        found.append(("teacher / forecast rule", _ratio(teacher, captured["forecast"]), 1.0))
        if main or full:
            found.append(("teacher / planner", _ratio(teacher, captured["planner"]), 0.9 if full else 0.7))
    return found


def _students(captured: dict[str, float], main: bool, full: bool) -> list[tuple[str, float, float]]:
    random, teacher = captured["random"], captured["teacher_fo"]
    found = []
    for name, label in STUDENTS:
        if main:
            found.append((f"{label} / greedy + battery", _ratio(captured[name], captured["greedy_battery"]), 1.35))
        kept = _ratio(captured[name] - random, teacher - random)
        found.append((f"{label}, normalised retention", kept, 0.95 if full else 0.9))
        found.append((f"{label} / teacher, plain", _ratio(captured[name], teacher), 0.95 if full else 0.9))
    return found


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else float("nan")
