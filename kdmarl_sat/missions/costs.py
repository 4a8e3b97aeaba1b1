"""What a mission's training costs: CPU-seconds of all processes, from stored run records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kdmarl_sat.missions.results import Curve

_STUDENTS = ("demonstrations", "teacher", "expert")
# Stages whose work a policy builds on, before its own.
_BEFORE = {
    "teacher": ("demonstrations",),
    "mappo_lh_a": ("demonstrations",),
    "kd_lh": _STUDENTS,
    "kd_lh_a": _STUDENTS,
}
_STAGE_OF = {"teacher_fo": "teacher"}  # policy -> stage, where their names differ


def training_cpu_s(record: Mapping[str, Any], policy: str) -> float | None:
    """CPU-seconds until a policy was trained, with those of all that it builds on.

    None: the record does not tell, the policy learns nothing, or its teacher was loaded.
    """
    stage = _STAGE_OF.get(policy, policy)
    spent = record["run"].get("cpu_s", {})
    if stage not in _BEFORE or stage not in spent:
        return None
    needed = (*_BEFORE.get(stage, ()), stage)
    if record["config"]["teacher"]["imitation_episodes"] == 0:
        needed = tuple(each for each in needed if each != "demonstrations")
    return float(sum(spent[each]["whole"] for each in needed)) if all(each in spent for each in needed) else None


def by_cpu(record: Mapping[str, Any]) -> list[Curve]:
    """Learning curves over CPU-seconds instead of episodes; only of policies whose costs are known."""
    curves = []
    labels = {policy["label"]: policy["name"] for policy in record["policies"]}
    for curve in record["curves"]:
        policy = labels.get(curve["label"], "")
        whole = training_cpu_s(record, policy)
        if whole is None or not curve["x"]:
            continue
        stage = record["run"]["cpu_s"][_STAGE_OF.get(policy, policy)]
        episodes, cpu_s = np.array(stage["points"], dtype=float).reshape(-1, 2).T
        x = whole - stage["whole"] + np.interp(curve["x"], episodes, cpu_s)
        label = "CPU-seconds, with those of all that a policy builds on"
        curves.append(Curve(curve["label"], tuple(x.tolist()), tuple(curve["y"]), label, curve["y_label"]))
    return curves
