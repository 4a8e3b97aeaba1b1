"""From trained students to a bundle that flies: reduced specs, weights, and golden vectors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from envs.sensing import Sensing
from onboard.budget import Budget
from onboard.bundle import SatelliteBundle, write_bundle
from onboard.golden import Golden
from scenarios.schema import BudgetConfig, ConfigError
from training.flight import onboard_spec
from training.networks import Team
from training.rollout import Rollout, decisions


def export_students(
    folder: Path,
    scenario: str,
    students: Team,
    sensings: Sequence[Sensing],
    rollout: Rollout,
    budget: BudgetConfig,
    provenance: Mapping[str, Any],
    golden_decisions: int = 32,
) -> None:
    """Write the bundle of N students, one network each, as a new folder.

    The golden vectors are the students' answers to the first decisions of the rollout's first episode. The fallback is
    the first fixed action that is legal.

    Raises:
        onboard.bundle.BundleError: the folder exists, cannot be written, or the content is not a valid bundle.
    """
    flown = _golden(students, sensings, rollout, golden_decisions)
    satellites = [
        SatelliteBundle(
            spec=onboard_spec(sensing),
            hidden=network.hidden,
            weights={name: tensor.numpy().astype(np.float32) for name, tensor in network.state_dict().items()},
            golden=golden,
            budget=budget_of(budget),
            fallback=sensing.spec.fixed_actions,
        )
        for sensing, network, golden in zip(sensings, students.members, flown, strict=True)
    ]
    write_bundle(folder, scenario, satellites, provenance)


def budget_of(config: BudgetConfig) -> Budget:
    """The budget as the onboard executor knows it.

    Raises:
        ConfigError: the processor is not known.
    """
    try:
        return Budget(**dataclasses.asdict(config))
    except ValueError as error:
        raise ConfigError(f"budget is not usable: {error}") from error


@torch.no_grad()
def _golden(students: Team, sensings: Sequence[Sensing], rollout: Rollout, most: int) -> list[Golden]:
    packed = decisions(rollout, 1.0)
    obs, mask = packed.obs[:most, :1], packed.mask[:most, :1]  # [D, 1, N, ...]
    logits = students(torch.from_numpy(obs), torch.from_numpy(mask))[0].numpy()
    vectors = []
    for agent, sensing in enumerate(sensings):
        asked = packed.valid[:most, 0, agent]
        own_mask, own_logits = mask[asked, 0, agent], logits[asked, 0, agent]
        vectors.append(
            Golden(
                obs=obs[asked, 0, agent][:, sensing.columns],
                mask=own_mask,
                logits=own_logits,
                action=np.where(own_mask, own_logits, -np.inf).argmax(-1),
            )
        )
    return vectors
