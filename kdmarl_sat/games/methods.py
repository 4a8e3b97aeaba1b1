"""What the benchmark's methods are made of: algorithm, sight and networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from envs.api import AgentSpec
from envs.games.sensing import RandomMasks, everything
from scenarios.games.schema import METHODS, GameRunConfig
from training.games.appended import AppendedSight, CutSight
from training.games.distill import student_widths
from training.games.messages import messaging_team
from training.games.networks import RecurrentTeam, Sight, alike

Algorithm = Literal["mappo", "qmix", "vdn", "kd", "kd_buffer", "ctds", "tseng", "ptde"]
DISTILS = ("kd", "kd_buffer", "tseng")  # from the teacher, which is trained apart


@dataclass(frozen=True, slots=True)
class Method:
    algorithm: Algorithm
    label: str
    masked: bool  # agents see what their group senses (LH); else everything (FO)
    individual: bool  # a network each; else agents that are alike share one and say who they are
    widths: Literal["teacher", "student", "by_sensing"]
    message_bits: int = 0  # KD-MARL students tell the others, where ``student.message_bits`` is 0


TEACHER = "teacher"  # whose policy KD-MARL distils
_SIGHTS = {
    "fo": ("FO", False, False, "teacher"),
    "lh": ("LH", True, False, "teacher"),
    "lh_a": ("LH+A", True, True, "by_sensing"),
}
_BASELINES: tuple[tuple[Algorithm, str], ...] = (("mappo", "MAPPO"), ("qmix", "QMIX"), ("vdn", "VDN"))

BY_NAME: dict[str, Method] = {
    TEACHER: Method("mappo", "Teacher", False, False, "teacher"),
    **{
        f"{name}_{sight}": Method(name, f"{label} {shown}", masked, individual, widths)  # type: ignore[arg-type]
        for name, label in _BASELINES
        for sight, (shown, masked, individual, widths) in _SIGHTS.items()
    },
    "kd_lh": Method("kd", "KD-MARL LH", True, True, "student"),
    "kd_lh_a": Method("kd", "KD-MARL LH+A", True, True, "by_sensing"),
    "kd_lh_m": Method("kd", "KD-MARL LH, one byte told", True, True, "student", message_bits=8),
    "kd_buffer_lh": Method("kd_buffer", "KD-MARL LH, teacher's buffer only", True, True, "student"),
    "kd_buffer_lh_a": Method("kd_buffer", "KD-MARL LH+A, teacher's buffer only", True, True, "by_sensing"),
    "kd_fo_small": Method("kd", "KD-MARL, small students, unmasked", False, True, "student"),
    "kd_lh_wide": Method("kd", "KD-MARL LH, wide students", True, True, "teacher"),
    "ctds": Method("ctds", "CTDS", True, True, "student"),
    "tseng": Method("tseng", "Tseng et al. 2022", True, True, "student"),
    "ptde": Method("ptde", "PTDE", True, True, "student"),
}
assert set(BY_NAME) == set(METHODS)


def message_bits(method: Method, config: GameRunConfig) -> int:
    """What each student tells the others at every step; 0: nothing."""
    return config.student.message_bits or method.message_bits if method.algorithm in ("kd", "kd_buffer") else 0


def sight_of(
    method: Method,
    config: GameRunConfig,
    specs: Sequence[AgentSpec],
    visible: Tensor | RandomMasks,
    kind: type[Sight] | None = None,
) -> Sight:
    """What the method's networks read; ``visible``: what LH agents sense; ``kind``: whether appended columns are read,
    by default where students are told something."""
    masks = visible if method.masked else everything(specs)
    if method.algorithm in ("mappo", "ptde"):
        last_action = config.mappo.last_action
    elif method.algorithm == "kd":
        last_action = config.student.last_action
    elif method.algorithm in ("kd_buffer", "tseng"):
        last_action = False  # the paper's students read what they sense; in an expert's buffer it teaches to repeat it
    else:
        last_action = config.values.last_action
    if kind is None:
        kind = AppendedSight if message_bits(method, config) else CutSight
    return kind(specs, masks, identities=not method.individual, last_action=last_action)


def team_of(
    method: Method, config: GameRunConfig, specs: Sequence[AgentSpec], sight: Sight, seed: int
) -> RecurrentTeam:
    """The method's networks, freshly drawn."""
    wide = config.mappo.hidden if method.algorithm in ("mappo", "kd", "kd_buffer") else config.values.hidden
    bits = message_bits(method, config)
    columns = [sight.columns(agent) for agent in range(len(specs))]
    if not method.individual:
        groups = alike(specs)
        widths = [wide] * len(groups)
    else:
        groups = [[agent] for agent in range(len(specs))]
        by_sensing = method.widths == "by_sensing"
        small = student_widths(columns, config.student, by_sensing)
        if by_sensing and sight.random:  # all sense about half of what there is
            small = [config.student.hidden_small] * len(groups)
        widths = [wide] * len(groups) if method.widths == "teacher" else small
    if bits:
        return messaging_team(sight.inputs, sight.actions, widths, bits, seed)
    return RecurrentTeam(sight.inputs, sight.actions, groups, widths, torch.Generator().manual_seed(seed))
