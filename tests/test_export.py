from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from envs.sensing import sense
from onboard.bundle import BundleError, read_bundle
from onboard.network import choose
from onboard.runners import ReferenceRunner
from scenarios.schema import BudgetConfig
from tests.toy import ToyEnv
from training.export import export_students
from training.flight import onboard_spec
from training.networks import individual_team
from training.policies import NetworkPolicy
from training.rollout import collect

ENV = ToyEnv(mortal=(False, False, False))
VISIBLE = [["battery", "value"], ["value", "noise"], ["battery"]]
SENSINGS = [sense(spec, visible) for spec, visible in zip(ENV.specs, VISIBLE, strict=True)]


def test_a_bundle_flies_as_the_torch_students_do(tmp_path: Path) -> None:
    students = individual_team(SENSINGS, [8, 16, 4], torch.Generator().manual_seed(2))
    with torch.no_grad():
        for parameter in students.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)) * 0.3)
    recorded = collect(ENV, NetworkPolicy(students, sample=True), [0, 1])
    export_students(tmp_path / "bundle", "toy", students, SENSINGS, recorded, BudgetConfig(), {"seed": 0}, 5)
    bundle = read_bundle(tmp_path / "bundle", expect=[onboard_spec(sensing) for sensing in SENSINGS])
    assert bundle.scenario == "toy" and bundle.provenance == {"seed": 0}
    assert [len(each.golden.action) for each in bundle.satellites] == [5, 5, 5]

    fresh = collect(ENV, NetworkPolicy(students, sample=False), [77])  # an episode that is not in the bundle
    for agent, (satellite, sensing) in enumerate(zip(bundle.satellites, SENSINGS, strict=True)):
        assert [block.name for block in satellite.spec.blocks] == VISIBLE[agent]
        runner, hidden = ReferenceRunner(satellite), np.zeros(satellite.hidden, np.float32)
        for t in np.flatnonzero(fresh.active[:, 0, agent]):
            mask = fresh.mask[t, 0, agent]
            logits, hidden = runner.step(fresh.obs[t, 0, agent][sensing.columns], mask, hidden)
            assert choose(logits, mask) == fresh.action[t, 0, agent]
        hidden = np.zeros(satellite.hidden, np.float32)
        for obs, mask, expected in zip(
            satellite.golden.obs, satellite.golden.mask, satellite.golden.logits, strict=True
        ):
            logits, hidden = runner.step(obs, mask, hidden)
            np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_a_bundle_is_never_overwritten(tmp_path: Path) -> None:
    students = individual_team(SENSINGS, [4, 4, 4])
    recorded = collect(ENV, NetworkPolicy(students, sample=True), [0])
    export_students(tmp_path / "b", "toy", students, SENSINGS, recorded, BudgetConfig(), {})
    with pytest.raises(BundleError, match="already exists"):
        export_students(tmp_path / "b", "toy", students, SENSINGS, recorded, BudgetConfig(), {})
