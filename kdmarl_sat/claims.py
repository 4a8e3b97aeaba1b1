"""What a run is meant to show, measured: said plainly whether met or not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kdmarl_sat.results import PolicyResult

MAC_RATIO = 28.6  # the paper's headline
MAIN = "imaging_constellation"  # of the other missions, one and the same is claimed with every preset
Claim = tuple[str, float, float, bool]  # text, measured, wanted at least, met


def claims(policies: Sequence[PolicyResult], mission: str, preset: str) -> tuple[Claim, ...]:
    """What is claimed of a mission and preset, by the held-out episodes' means; NaN, and not met, where there is no
    ratio."""
    by_name = {policy.name: policy for policy in policies}
    captured = {name: float(np.mean([e.captured for e in p.episodes])) for name, p in by_name.items()}
    random, teacher = captured["random"], captured["teacher_fo"]
    span = teacher - random

    def kept(name: str) -> float:
        return _ratio(captured[name] - random, span)

    macs = {name: max(p.macs_per_decision) for name, p in by_name.items() if p.macs_per_decision}
    floor = 0.9 if mission == MAIN and preset != "full" else 0.95
    if mission != MAIN:
        best = max(captured["random"], captured["greedy_battery"], captured["global_knowledge"])
        measured = [("teacher / best heuristic", _ratio(teacher, best), 1.0)]
    elif preset == "full":
        measured = [("teacher / global-knowledge heuristic", _ratio(teacher, captured["global_knowledge"]), 1.1)]
    else:
        measured = [("teacher / greedy + battery", _ratio(teacher, captured["greedy_battery"]), 1.15)]
    for name, label in (("kd_lh", "KD-MARL LH"), ("kd_lh_a", "KD-MARL LH+A")):
        measured.append((f"{label}, normalised retention", kept(name), floor))
        measured.append((f"{label} / teacher, plain", _ratio(captured[name], teacher), floor))
    measured += [
        ("teacher's MACs / KD-MARL LH's, per decision", macs["teacher_fo"] / macs["kd_lh"], MAC_RATIO),
        ("teacher's MACs / KD-MARL LH+A's, per decision", macs["teacher_fo"] / macs["kd_lh_a"], MAC_RATIO),
    ]
    found = [(text, value, wanted, bool(value >= wanted)) for text, value, wanted in measured]
    if preset == "full":
        survived = float(np.mean([e.deaths == 0 for e in by_name["teacher_fo"].episodes]))
        found.append(("share of the teacher's episodes without a lost satellite", survived, 1.0, survived == 1.0))
    return tuple(found)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else float("nan")
