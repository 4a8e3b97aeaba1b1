"""Students in int8: torch rounds as the onboard engine does, and fine-tuning brings the float32 choices back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from envs.basilisk.episode_result import EpisodeResult
from envs.sensing import sense
from kdmarl_sat.bundles.quantise import comparison, int8_bundle, quantise, tables
from onboard import golden
from onboard.bundle import read_bundle, write_bundle
from onboard.network import Dtype
from onboard.quantise import quantised
from scenarios.compose import composed
from scenarios.quantise import QuantiseRunConfig
from scenarios.ranges import ConfigError
from scenarios.schema import BudgetConfig, QuantiseConfig
from tests.toy import ToyEnv
from training.missions.batch import to_batch
from training.missions.distill import agreement
from training.missions.export import budget_of, export_students, onboard_network, students_of
from training.missions.flight import onboard_spec
from training.missions.networks import Team, individual_team
from training.missions.policies import NetworkPolicy
from training.missions.quantise import Int8GRU, computes_in_int8, fine_tune, in_int8, rounded_inputs, rounded_weight
from training.missions.rollout import Rollout, collect, decisions
from training.missions.simulate import Flown

ROOT = Path(__file__).parents[1]
BUNDLE = ROOT / "results" / "bundles" / "imaging_constellation-lh"
ENV = ToyEnv(mortal=(False, False, False))
SENSINGS = [sense(spec, [block.name for block in spec.blocks]) for spec in ENV.specs]


def students_of_toy(outlier: float = 1.0) -> Team:
    """Opinionated networks; an ``outlier`` in each row of weights makes the steps of all others coarse."""
    team = individual_team(SENSINGS, [8, 16, 5], torch.Generator().manual_seed(2))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in team.named_parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.6)
            if parameter.dim() == 2 and "score" not in name and parameter.shape[1]:
                parameter[:, 0] *= outlier
    return team


def flown(team: Team, seeds: range) -> Rollout:
    return collect(ENV, NetworkPolicy(team, sample=False), list(seeds))


# --- rounding ---


def test_inputs_are_rounded_to_2047_steps_of_their_largest_magnitude() -> None:
    x = torch.tensor([[1.0, -0.5, 1 / 2047, 0.4 / 2047], [0.0, 0.0, 0.0, 0.0], [-3.0, 3 * 0.6 / 2047, 0.0, 2.0]])
    steps = torch.tensor([[2047.0, -1024, 1, 0], [0, 0, 0, 0], [-2047, 1, 0, 1365]])  # halves away from 0
    expected = steps * torch.tensor([[1 / 2047], [0.0], [3 / 2047]])
    torch.testing.assert_close(rounded_inputs(x), expected, rtol=1e-6, atol=0)


def test_weights_are_rounded_to_127_steps_of_each_outputs_largest() -> None:
    weight = torch.tensor([[1.27, 0.005, -0.0149], [0.0, 0.0, 0.0], [-254.0, 1.0, 3.0]])
    expected = torch.tensor([[1.27, 0.0, -0.01], [0.0, 0.0, 0.0], [-254.0, 0.0, 4.0]])
    torch.testing.assert_close(rounded_weight(weight), expected, rtol=1e-5, atol=1e-6)


def test_gradients_pass_straight_through() -> None:
    x, weight = torch.randn(3, 5, requires_grad=True), torch.randn(4, 5, requires_grad=True)
    (rounded_inputs(x).square().sum() + rounded_weight(weight).square().sum()).backward()
    assert x.grad is not None and weight.grad is not None
    torch.testing.assert_close(x.grad, 2 * rounded_inputs(x).detach())
    torch.testing.assert_close(weight.grad, 2 * rounded_weight(weight).detach())


def test_the_int8_gru_is_torchs_but_for_the_rounding() -> None:
    torch.manual_seed(0)
    gru = nn.GRU(12, 12)
    x, hidden = torch.randn(20, 3, 12), torch.randn(1, 3, 12).tanh()
    with torch.no_grad():
        expected, last = gru(x, hidden)
        states, final = Int8GRU(gru)(x, hidden)
    assert 1e-6 < float((states - expected).abs().max()) < 0.02
    torch.testing.assert_close(final, states[-1:])
    assert final.shape == last.shape


def test_torch_computes_what_flies() -> None:
    team = in_int8(students_of_toy())
    rollout = flown(team, range(6))
    packed, batch = decisions(rollout, 1.0), to_batch(rollout, 1.0)
    with torch.no_grad():
        logits = team(batch.obs, batch.mask)[0].numpy()
    compared = 0
    for n, (sensing, actor) in enumerate(zip(SENSINGS, team.members, strict=True)):
        network = onboard_network(actor)
        assert network.design.dtype is Dtype.INT8
        for e in range(6):
            asked = packed.valid[:, e, n]
            obs, mask = packed.obs[asked, e, n][:, sensing.columns], packed.mask[asked, e, n]
            expected = golden.record(network, onboard_spec(sensing), obs, mask)
            off = np.abs(logits[asked, e, n] - expected.logits)
            assert float(np.median(off)) < 1e-5 and float(off.max()) < 1e-2  # rarely another step is the nearest
            compared += len(off)
    assert compared > 100


def test_the_int8_team_is_a_copy_with_the_same_state() -> None:
    team = students_of_toy()
    before = {name: value.clone() for name, value in team.state_dict().items()}
    twin = in_int8(team)
    assert [computes_in_int8(actor) for actor in (*team.members, *twin.members)] == [False] * 3 + [True] * 3
    assert {n: v.tolist() for n, v in twin.state_dict().items()} == {n: v.tolist() for n, v in before.items()}
    with torch.no_grad():
        next(twin.parameters()).add_(1)
    assert all(torch.equal(value, before[name]) for name, value in team.state_dict().items())


# --- fine-tuning ---


def test_fine_tuning_brings_back_the_float32_choices() -> None:
    team = students_of_toy(outlier=100.0)
    before = {name: value.clone() for name, value in team.state_dict().items()}
    said: list[tuple[float, str]] = []
    config = QuantiseConfig(epochs=8, learning_rate=3e-3)
    tuned = fine_tune(team, flown(team, range(16)), config, 0, lambda *told: said.append(told))
    fresh = flown(team, range(100, 112))
    rounded = float(np.mean(agreement(in_int8(team), team, fresh)))
    brought_back = float(np.mean(agreement(tuned, team, fresh)))
    assert rounded < 0.9 and brought_back > 0.98
    assert all(torch.equal(value, before[name]) for name, value in team.state_dict().items())
    assert [share for share, _ in said] == pytest.approx([(n + 1) / 8 for n in range(8)])


def test_the_same_seed_gives_the_same_weights() -> None:
    team, config = students_of_toy(), QuantiseConfig(epochs=2)
    rollout = flown(team, range(4))
    one, other, another = (fine_tune(team, rollout, config, seed, lambda *_: None).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert any(not torch.equal(one[name], another[name]) for name in one)


# --- bundles ---


def exported(folder: Path, team: Team) -> Path:
    export_students(folder, "toy", team, SENSINGS, flown(team, range(1)), budget_of(BudgetConfig(), {}), {"seed": 0})
    return folder


def test_an_int8_team_is_exported_as_an_int8_bundle(tmp_path: Path) -> None:
    bundle = read_bundle(exported(tmp_path / "b", in_int8(students_of_toy())))
    assert [each.network.design.dtype for each in bundle.satellites] == [Dtype.INT8] * 3
    assert all(each.golden.exact for each in bundle.satellites)


def test_students_come_back_out_of_their_bundle(tmp_path: Path) -> None:
    team = students_of_toy()
    found = students_of(read_bundle(exported(tmp_path / "b", team)), SENSINGS).state_dict()
    assert {name: value.tolist() for name, value in found.items()} == {
        name: value.tolist() for name, value in team.state_dict().items()
    }


def test_int8_students_cannot_be_trained_further(tmp_path: Path) -> None:
    bundle = read_bundle(exported(tmp_path / "b", in_int8(students_of_toy())))
    with pytest.raises(ConfigError, match=r"'toy_0' has a network of kind 'int8 opportunity': it must be 'float32"):
        students_of(bundle, SENSINGS)


def test_a_bundle_keeps_its_questions_budget_and_fallback_in_int8(tmp_path: Path) -> None:
    team = students_of_toy()
    bundle = read_bundle(exported(tmp_path / "b", team))
    after = int8_bundle(bundle, SENSINGS, in_int8(team))
    write_bundle(tmp_path / "int8", "toy", after, {})
    for before, found in zip(bundle.satellites, read_bundle(tmp_path / "int8").satellites, strict=True):
        assert (found.spec, found.budget, found.fallback) == (before.spec, before.budget, before.fallback)
        assert found.golden.obs.tolist() == before.golden.obs.tolist()
        assert found.network.tensors["key.weight"].dtype == np.int8
        assert found.network.tensors["query.bias"].tolist() == before.network.tensors["query.bias"].tolist()


def result(seed: int, captured: float, deaths: int) -> EpisodeResult:
    return EpisodeResult(seed, captured, 9.0, (captured,), (1,), 0, deaths, (1,), (0,), 12.0)


def test_the_comparison_counts_choices_bytes_and_returns(tmp_path: Path) -> None:
    team = students_of_toy(outlier=100.0)
    bundle = read_bundle(exported(tmp_path / "b", team))
    after = int8_bundle(bundle, SENSINGS, in_int8(team))
    rollout = flown(team, range(2))
    flights = {
        "float32": [Flown(rollout, (result(0, 5.0, 0), result(1, 4.0, 1)), ())],
        "int8": [Flown(rollout, (result(0, 4.5, 0), result(1, 4.0, 0)), ())],
    }
    compared = comparison(bundle, after, SENSINGS, flights, composed().scenario)
    # Choices as torch makes them; without fine-tuning, both ways to int8 are one.
    same = agreement(in_int8(team), team, rollout)
    for n, each in enumerate(compared["satellites"]):
        assert each["decisions"] == rollout.active[:, :, n].sum()
        assert each["equal_tuned"] == each["equal_rounded"] == pytest.approx(same[n] * each["decisions"])
        # An int8 weight is a byte, and each output of a map has a float more; biases and the score stay float32.
        hidden, columns = each["hidden"], 1 + 3 + 3  # battery, hardware; value and noise
        weights = hidden * columns + 8 * hidden**2 + hidden
        outputs, rest = 10 * hidden + 1, 4 * (hidden + 6 * hidden + hidden + 1 + hidden + 1)
        assert (each["bytes_float32"], each["bytes_int8"]) == (4 * weights + rest, weights + 4 * outputs + rest)
    assert compared["agreement"]["tuned"] < 1 and not compared["agreement"]["met"]
    assert compared["intervals"]["captured"]["difference"]["estimate"] == pytest.approx(-0.25)
    assert compared["episodes"]["int8"]["return"] == pytest.approx(rollout.reward.sum(0).tolist())
    assert compared["episodes"]["float32"]["lost"] == [0.0, 1.0]
    tables(compared)


# --- the command ---


def config(**given: str) -> QuantiseRunConfig:
    return QuantiseRunConfig(scenario=composed("scenario.duration_s=240").scenario, **given)


def test_an_existing_folder_or_a_foreign_bundle_is_refused_before_any_flight(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"out=.* must be a folder that does not exist yet"):
        quantise(config(bundle=str(BUNDLE), out=str(tmp_path)), tmp_path)
    toy = exported(tmp_path / "toy", students_of_toy())
    with pytest.raises(ValueError, match="was made for satellites toy_0, toy_1, toy_2, and the mission has sat_0_slow"):
        quantise(config(bundle=str(toy), out=str(tmp_path / "int8")), tmp_path)


@pytest.mark.slow
def test_the_command_makes_and_compares_an_int8_bundle(tmp_path: Path) -> None:
    overrides = ["scenario.duration_s=600", "quantise.episodes=2", "quantise.epochs=2", "episodes=2"]
    where = [f"bundle={BUNDLE}", "out=int8", "output.records_dir=records"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "kdmarl_sat", "quantise", *where, *overrides]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    bundle = read_bundle(tmp_path / "int8")
    assert {each.network.design.dtype for each in bundle.satellites} == {Dtype.INT8}
    assert bundle.provenance["quantised"]["quantise"]["epochs"] == 2
    record = json.loads((tmp_path / "records" / "int8.json").read_text())
    assert record["agreement"]["tuned"] > 0.9 and len(record["episodes"]["int8"]["return"]) == 2
    assert read_bundle(BUNDLE).satellites[0].network.tensors["query.bias"].dtype == np.float32
    changed = bundle.satellites[0].network.tensors["gru_hidden.weight"]
    rounded = quantised(read_bundle(BUNDLE).satellites[0].network).tensors["gru_hidden.weight"]
    assert int((changed != rounded).sum()) > 0  # fine-tuned, not only rounded
