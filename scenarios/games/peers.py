"""Settings of the other methods of the paper's Table III (docs/peers.md)."""

from __future__ import annotations

from dataclasses import dataclass

from scenarios.ranges import check, positive, within


@dataclass
class CtdsConfig:
    """CTDS (Zhao et al. 2022): its teacher learns as ``values`` says, its students from the same replay."""

    mixer: str = "qmix"  # of the teacher: qmix or vdn

    def __post_init__(self) -> None:
        check("ctds.mixer", self.mixer, self.mixer in ("qmix", "vdn"), "qmix or vdn")


@dataclass
class TsengConfig:
    """Weights of the terms of Tseng et al. 2022; steps, batches and learning rate are those of ``distill``."""

    action: float = 1.0
    feature: float = 1.0
    relation: float = 1.0

    def __post_init__(self) -> None:
        positive("tseng", action=self.action)  # nothing else trains the students' heads
        within("tseng", 0, 1e3, feature=self.feature, relation=self.relation)


@dataclass
class PtdeConfig:
    """PTDE (Chen et al. 2024) on MAPPO: the first stage learns as ``mappo`` says, the second as ``distill`` says."""

    information: int = 16  # columns of an agent's personalised global information
    units: int = 64  # of the module that personalises it
    second_stage: float = 0.1  # share of the environment steps of ``mappo.phases`` that is left to the second stage

    def __post_init__(self) -> None:
        within("ptde", 1, 4096, information=self.information, units=self.units)
        within("ptde", 0.01, 0.99, second_stage=self.second_stage)
