"""Every choice of ``kdmarl-sat quantise``, as schema.py has a run's."""

from __future__ import annotations

from dataclasses import dataclass, field

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from scenarios.compute import ComputeConfig, OutputConfig
from scenarios.mission import ScenarioConfig
from scenarios.ranges import check, within
from scenarios.schema import QuantiseConfig


@dataclass
class QuantiseRunConfig:
    """A float32 bundle made into an int8 one, and what that changes."""

    scenario: ScenarioConfig = MISSING
    bundle: str = MISSING  # folder of the float32 bundle
    out: str = MISSING  # folder of the int8 bundle, which must not exist yet
    seed: int = 0  # of the training episodes, and their order
    quantise: QuantiseConfig = field(default_factory=QuantiseConfig)
    episodes: int = 24  # held-out ones, flown by both bundles
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    output: OutputConfig = field(default_factory=OutputConfig)

    def __post_init__(self) -> None:
        within("", 1, 1e6, episodes=self.episodes)
        check("seed", self.seed, 0 <= self.seed < 2**31, "between 0 and 2147483647")


def register() -> None:
    """Make the typed root known to Hydra; ``quantise.yaml`` starts from it."""
    ConfigStore.instance().store(name="quantise_schema", node=QuantiseRunConfig)
