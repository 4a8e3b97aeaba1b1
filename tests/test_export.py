from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from envs.sensing import sense
from onboard.bundle import BundleError, read_bundle
from onboard.network import Design
from onboard.processors import find
from onboard.reference import choose
from onboard.runners.reference import ReferenceRunner
from scenarios.compose import composed
from scenarios.messages import COMPOSITION_ERRORS, explain
from scenarios.processor import ProcessorConfig
from scenarios.ranges import ConfigError
from scenarios.schema import BudgetConfig
from tests.toy import ToyEnv
from training.missions.export import budget_of, export_students
from training.missions.flight import onboard_spec
from training.missions.networks import individual_team
from training.missions.policies import NetworkPolicy
from training.missions.rollout import collect

BUDGET = budget_of(BudgetConfig(), {})
ENV = ToyEnv(mortal=(False, False, False))
VISIBLE = [["battery", "value"], ["value", "noise"], ["battery"]]
SENSINGS = [sense(spec, visible) for spec, visible in zip(ENV.specs, VISIBLE, strict=True)]


def test_a_bundle_flies_as_the_torch_students_do(tmp_path: Path) -> None:
    students = individual_team(SENSINGS, [8, 16, 4], torch.Generator().manual_seed(2))
    with torch.no_grad():
        for parameter in students.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)) * 0.3)
    recorded = collect(ENV, NetworkPolicy(students, sample=True), [0, 1])
    export_students(tmp_path / "bundle", "toy", students, SENSINGS, recorded, BUDGET, {"seed": 0}, 5)
    bundle = read_bundle(tmp_path / "bundle", expect=[onboard_spec(sensing) for sensing in SENSINGS])
    assert bundle.scenario == "toy" and bundle.provenance == {"seed": 0}
    assert [len(each.golden.action) for each in bundle.satellites] == [5, 5, 5]

    fresh = collect(ENV, NetworkPolicy(students, sample=False), [77])  # an episode that is not in the bundle
    for agent, (satellite, sensing) in enumerate(zip(bundle.satellites, SENSINGS, strict=True)):
        assert [block.name for block in satellite.spec.blocks] == VISIBLE[agent]
        runner = ReferenceRunner(satellite.network, satellite.spec)
        hidden = np.zeros(satellite.network.design.hidden, np.float32)
        for t in np.flatnonzero(fresh.active[:, 0, agent]):
            mask = fresh.mask[t, 0, agent]
            logits, hidden = runner.step(fresh.obs[t, 0, agent][sensing.columns], mask, hidden)
            assert choose(logits, mask) == fresh.action[t, 0, agent]
        assert satellite.golden.exact
        hidden = np.zeros_like(hidden)
        for obs, mask, expected in zip(
            satellite.golden.obs, satellite.golden.mask, satellite.golden.logits, strict=True
        ):
            logits, hidden = runner.step(obs, mask, hidden)
            np.testing.assert_array_equal(logits, expected)
    assert [satellite.network.design for satellite in bundle.satellites] == [Design(8), Design(16), Design(4)]


def test_golden_vectors_are_the_answers_of_torch(tmp_path: Path) -> None:
    students = individual_team(SENSINGS, [8, 16, 4], torch.Generator().manual_seed(2))
    recorded = collect(ENV, NetworkPolicy(students, sample=False), [0])
    export_students(tmp_path / "bundle", "toy", students, SENSINGS, recorded, BUDGET, {}, 6)
    for agent, satellite in enumerate(read_bundle(tmp_path / "bundle").satellites):
        asked = np.flatnonzero(recorded.active[:, 0, agent])[:6]
        assert satellite.golden.action.tolist() == recorded.action[asked, 0, agent].tolist()
        np.testing.assert_array_equal(satellite.golden.obs, recorded.obs[asked, 0, agent][:, SENSINGS[agent].columns])


def test_students_that_the_reference_does_not_reproduce_are_not_exported(tmp_path: Path) -> None:
    students = individual_team(SENSINGS, [4, 4, 4])
    recorded = collect(ENV, NetworkPolicy(students, sample=True), [0])
    with torch.no_grad():  # the reference takes weights below 1e-12 for 0
        factors = {"context.weight": 1e-14, "context.bias": 0, "slot.weight": 1e-14, "key.weight": 1e14}
        for name, factor in factors.items():
            students.members[1].get_parameter(name).mul_(factor)
    with pytest.raises(BundleError, match=r"satellite '.*': the onboard reference gives logits .* allowed 1e-05"):
        export_students(tmp_path / "bundle", "toy", students, SENSINGS, recorded, BUDGET, {})
    assert not (tmp_path / "bundle").exists()


def test_a_processor_of_the_users_own() -> None:
    mine = ProcessorConfig(core="Cortex-R52", clock_mhz=600.0, power_w=1.5, cpi=1.5, counted_as="cortex-m7")
    budget = budget_of(BudgetConfig(processor="mine"), {"mine": mine})
    assert (budget.processor.name, budget.processor.clock_mhz, budget.processor.ram_bytes) == ("mine", 600.0, None)
    named_alike = budget_of(BudgetConfig(processor="GR740"), {"GR740": mine})
    assert named_alike.processor.core == "Cortex-R52"  # the user's own goes first
    assert budget_of(BudgetConfig(processor="GR740"), {"mine": mine}).processor == find("GR740")


def test_a_budget_that_cannot_be_used() -> None:
    with pytest.raises(ConfigError, match=r"processor='Z80' is not allowed: it must be one of RAD750, "):
        budget_of(BudgetConfig(processor="Z80"), {})


PROFILE = "core: Cortex-R52, power_w: 1.5, cpi: 1.5, counted_as: cortex-m7, factor: 0.5"


def test_a_profile_from_the_configuration() -> None:
    config = composed(f"+processors={{mine: {{{PROFILE}, clock_mhz: 600}}}}", "budget.processor=mine")
    assert budget_of(config.budget, config.processors).processor.latency_ms(4e5) == 1.0  # 400,000 * 1.5 / 600 MHz


@pytest.mark.parametrize(
    ("clock", "said"),
    [
        ("", "processors.mine.clock_mhz is not set: it must be a number"),
        (", clock_mhz: 0", "processors.mine.clock_mhz=0.0 is not allowed: it must be a number above 0"),
        (", clock_mhz: inf", "processors.mine.clock_mhz=inf is not allowed"),
        (", clock_mhz: fast", "processors.mine.clock_mhz='fast' is not allowed: it must be a number"),
        (", clock: 600", "processors.mine.clock is not a known key (did you mean clock_mhz?)"),
    ],
)
def test_a_profile_without_a_clock(clock: str, said: str) -> None:
    with pytest.raises((ConfigError, *COMPOSITION_ERRORS)) as caught:
        composed(f"+processors={{mine: {{{PROFILE}{clock}}}}}", "budget.processor=mine")
    error = caught.value
    assert said in (str(error) if isinstance(error, ConfigError) else explain(error))


def test_a_bundle_is_never_overwritten(tmp_path: Path) -> None:
    students = individual_team(SENSINGS, [4, 4, 4])
    recorded = collect(ENV, NetworkPolicy(students, sample=True), [0])
    export_students(tmp_path / "b", "toy", students, SENSINGS, recorded, BUDGET, {})
    with pytest.raises(BundleError, match="already exists"):
        export_students(tmp_path / "b", "toy", students, SENSINGS, recorded, BUDGET, {})
