from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from envs.sensing import sense
from scenarios.schema import DistillConfig, Labels, StudentConfig, TeacherConfig
from tests.toy import ToyEnv, ToyOptimum
from training.checkpoint import load, save
from training.distill import DistillationHeads
from training.losses import best_legal
from training.missions.batch import to_batch
from training.missions.distill import (
    Distiller,
    Teacher,
    agreement,
    distill_update,
    new_distiller,
    on_step_grid,
    student_widths,
    targets_of,
)
from training.missions.mappo import imitate, new_learner
from training.missions.networks import Critic, Team, individual_team, shared_team
from training.missions.policies import NetworkPolicy
from training.missions.rollout import Rollout, collect

ENV = ToyEnv()
CONFIG = DistillConfig(
    learning_rate=1e-2, minibatches=2, teacher_epochs=25, student_iterations=2, student_epochs=6, student_episodes=16
)
ENOUGH = ["battery", "value"]


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    """Near-optimal, by imitation of the best plan."""
    config = TeacherConfig(
        hidden=16,
        critic_learning_rate=1e-2,
        discount_per_s=0.9,
        imitation_epochs=30,
        imitation_learning_rate=[1e-2, 1e-2],
    )
    sensings = [sense(spec, [block.name for block in spec.blocks]) for spec in ENV.specs]
    learner = new_learner(shared_team(sensings, 16), Critic(ENV.state_size, 32), config, seed=0)
    imitate(learner, collect(ENV, ToyOptimum(ENV), list(range(16))), config)
    return Teacher(learner.team, learner.critic, learner.value_norm, config.discount_per_s, config.gae_lambda)


def students_of(visible: list[str] = ENOUGH, seed: int = 1) -> Team:
    sensings = [sense(spec, visible) for spec in ENV.specs]
    return individual_team(sensings, [8, 12, 8], torch.Generator().manual_seed(seed))


def played_by(team: Team, seeds: range) -> Rollout:
    return collect(ENV, NetworkPolicy(team, sample=True), list(seeds))


def earned(team: Team) -> float:
    return float(collect(ENV, NetworkPolicy(team, sample=False), list(range(9000, 9020))).reward.sum(0).mean())


def distilled(teacher: Teacher, students: Team, config: DistillConfig = CONFIG) -> Distiller:
    """The paper's buffer, then the students' own episodes, as the config plans them."""
    distiller = new_distiller(students, teacher, config, seed=0)
    if config.teacher_episodes:
        distill_update(distiller, teacher, played_by(teacher.team, range(500, 516)), "teacher", config)
    for i in range(config.student_iterations):
        own = played_by(students, range(600 + 16 * i, 616 + 16 * i))
        distill_update(distiller, teacher, own, "student", config)
    return distiller


def test_students_who_see_enough_reach_the_teacher(teacher: Teacher) -> None:
    students = students_of()
    assert earned(students) < 0.6 * earned(teacher.team)
    distilled(teacher, students)
    assert earned(students) > 0.97 * earned(teacher.team) > 0.9 * ENV.optimum()
    assert min(agreement(students, teacher.team, played_by(students, range(700, 708)))) > 0.97


@pytest.mark.parametrize("source", ["teacher", "student"])
def test_either_source_alone_teaches(teacher: Teacher, source: str) -> None:
    students = students_of()
    if source == "teacher":
        config = dataclasses.replace(CONFIG, student_iterations=0)
    else:
        config = dataclasses.replace(CONFIG, teacher_episodes=0, student_iterations=5, imitation_left=1.0)
    distilled(teacher, students, config)
    assert earned(students) > 0.9 * earned(teacher.team)


def test_students_are_taught_what_the_teacher_does_when_it_flies() -> None:
    """A teacher that decides by kind: its flights, the labels and the measured agreement follow one rule."""
    sensings = [sense(spec, [block.name for block in spec.blocks]) for spec in ENV.specs]
    team, plain = (
        Team(sensings, [range(len(sensings))], [16], torch.Generator().manual_seed(0), by_kind)
        for by_kind in (True, False)
    )
    learner = new_learner(team, Critic(ENV.state_size, 8), TeacherConfig(hidden=16), seed=0)
    frozen = Teacher(team, learner.critic, learner.value_norm, 0.9, 0.85)
    flown = collect(ENV, NetworkPolicy(team, sample=False), list(range(40)))
    assert agreement(team, team, flown) == [1.0] * len(sensings)
    assert max(agreement(plain, team, flown)) < 1.0
    batch = to_batch(flown, 0.9)
    heads = DistillationHeads(16, [8, 8, 8], CONFIG, torch.Generator().manual_seed(0))
    target = targets_of(frozen, batch, heads, Labels.teacher)
    assert torch.equal(target.best[batch.valid], batch.action[batch.valid])
    assert torch.equal(best_legal(target.logits, batch.mask)[batch.valid], batch.action[batch.valid])


def test_imitation_counts_less_along_the_students_own_episodes(teacher: Teacher) -> None:
    """The last own batch trains on ppo - c_H H + 0.25 (KL + 0.5 CE): told by the loss against its terms."""
    config = dataclasses.replace(
        CONFIG, student_iterations=3, imitation_left=0.25, relation=0.0, role=0.0, student_epochs=1, minibatches=1
    )
    students = students_of()
    distiller = new_distiller(students, teacher, config, seed=0)
    distill_update(distiller, teacher, played_by(teacher.team, range(500, 504)), "teacher", config)
    for share in (1.0, 0.625, 0.25):
        own = played_by(students, range(600, 604))
        record = distill_update(distiller, teacher, own, "student", config)
        imitation = config.kl * record["kl"] + config.ce * record["ce"]
        reward = config.ppo * record["ppo"] - config.entropy * record["entropy"]
        assert record["loss"] == pytest.approx(reward + share * imitation, abs=1e-5)


def advised(rollout: Rollout, action: int) -> Rollout:
    """An adviser who would always have done the same, where that is legal."""
    return dataclasses.replace(rollout, advice=np.where(rollout.mask[..., action], action, 0))


def test_the_planners_action_is_the_label(teacher: Teacher) -> None:
    """The reward and the teacher say something else: of the planner alone, students learn what it would do."""
    config = dataclasses.replace(
        CONFIG, labels=Labels.planner, ppo=0.0, relation=0.0, role=0.0, teacher_epochs=40, student_iterations=0
    )
    students = students_of()
    distiller = new_distiller(students, teacher, config, seed=0)
    record = distill_update(distiller, teacher, advised(played_by(teacher.team, range(500, 516)), 0), "teacher", config)
    assert "kl" not in record and record["ce"] < 0.05
    flown = collect(ENV, NetworkPolicy(students, sample=False), list(range(700, 704)))
    assert (flown.action[flown.active] == 0).mean() > 0.95


def test_the_planners_action_beside_the_teachers_policy(teacher: Teacher) -> None:
    """The KL of ``both`` is the teacher's and its cross-entropy the planner's: the same as of either alone."""
    rollout = advised(played_by(teacher.team, range(500, 504)), 0)
    records = {}
    for labels in Labels:
        config = dataclasses.replace(CONFIG, labels=labels, teacher_epochs=1, minibatches=1)
        distiller = new_distiller(students_of(), teacher, config, seed=0)
        records[labels] = distill_update(distiller, teacher, rollout, "teacher", config)
    both = records[Labels.both]
    assert both["kl"] == records[Labels.teacher]["kl"] and both["ce"] == records[Labels.planner]["ce"]
    assert both["ce"] != records[Labels.teacher]["ce"]


def test_distilled_advantages_alone_teach(teacher: Teacher) -> None:
    """Eqs. 1-4 on the students' own episodes with the teacher's frozen critic, no imitation at all."""
    config = dataclasses.replace(
        CONFIG, teacher_episodes=0, student_iterations=8, kl=0.0, ce=0.0, relation=0.0, role=0.0
    )
    students = students_of()
    before = earned(students)
    distilled(teacher, students, config)
    assert earned(students) > before + 0.3 * (ENV.optimum() - before)


def test_what_the_mask_hides_costs(teacher: Teacher) -> None:
    blind = students_of(["battery"])
    distilled(teacher, blind)
    assert earned(blind) < 0.8 * earned(teacher.team)


def test_masked_columns_cannot_influence_the_student() -> None:
    students = students_of()
    batch = to_batch(played_by(students, range(4)), 0.9)
    seen = torch.from_numpy(sense(ENV.specs[0], ENOUGH).columns)
    garbled = torch.full_like(batch.obs, float("nan"))
    garbled[..., seen] = batch.obs[..., seen]
    logits, latents = students(batch.obs, batch.mask)
    logits_garbled, latents_garbled = students(garbled, batch.mask)
    assert torch.equal(logits, logits_garbled)
    assert all(torch.equal(a, b) for a, b in zip(latents, latents_garbled, strict=True))


@pytest.mark.parametrize("name", ["ppo", "kl", "ce", "relation", "role", "entropy"])
def test_a_weight_of_0_leaves_its_term_out(teacher: Teacher, name: str) -> None:
    rollout = played_by(teacher.team, range(4))
    config = dataclasses.replace(CONFIG, teacher_epochs=1, minibatches=1)
    whole = distill_update(new_distiller(students_of(), teacher, config, 0), teacher, rollout, "teacher", config)
    without = dataclasses.replace(config)
    setattr(without, name, 0.0)
    part = distill_update(new_distiller(students_of(), teacher, without, 0), teacher, rollout, "teacher", without)
    assert set(whole) - set(part) == {name}
    signed = -config.entropy if name == "entropy" else getattr(config, name)
    assert whole["loss"] - part["loss"] == pytest.approx(signed * whole[name], abs=1e-5)


def test_the_behaviour_policy_is_whoever_played(teacher: Teacher) -> None:
    """On the students' own episodes the first ratio is 1, so L_PPO is minus the mean normalised advantage: 0."""
    config = dataclasses.replace(CONFIG, student_epochs=1, teacher_epochs=1, minibatches=1)
    students = students_of()
    own = distill_update(
        new_distiller(students, teacher, config, 0), teacher, played_by(students, range(8)), "student", config
    )
    assert own["ppo"] == pytest.approx(0, abs=1e-5)
    fresh = new_distiller(students_of(), teacher, config, 0)
    expert = distill_update(fresh, teacher, played_by(teacher.team, range(8)), "teacher", config)
    assert abs(expert["ppo"]) > 1e-3


def test_the_teacher_and_its_role_map_stay_as_they_are(teacher: Teacher) -> None:
    modules = (teacher.team, teacher.critic, teacher.value_norm)
    before = [value.clone() for module in modules for value in module.state_dict().values()]
    students = students_of()
    distiller = new_distiller(students, teacher, CONFIG, 0)
    roles = distiller.heads.role_teacher.clone()
    maps = [parameter.clone() for parameter in distiller.heads.role.parameters()]
    distill_update(distiller, teacher, played_by(teacher.team, range(4)), "teacher", CONFIG)
    after = [value for module in modules for value in module.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    # W_T is frozen, not small, and no parameter, so Eq. 10 cannot collapse the roles; W_S learns
    assert torch.equal(distiller.heads.role_teacher, roles)
    torch.testing.assert_close(roles @ roles.T, torch.eye(CONFIG.roles), atol=1e-5, rtol=0)
    assert "role_teacher" not in dict(distiller.heads.named_parameters())
    assert not any(torch.equal(a, b) for a, b in zip(distiller.heads.role.parameters(), maps, strict=True))


def test_latents_are_held_between_decisions() -> None:
    values = torch.tensor([[[[1.0], [2.0]]], [[[3.0], [0.0]]]])  # [D=2, E=1, N=2, W=1]
    held = torch.tensor([[[0, -1]], [[0, 0]], [[1, 0]]])  # [T=3, E=1, N=2]
    found = on_step_grid(values, held)[..., 0]
    assert found[:, 0, 0].tolist() == [1, 1, 3]
    assert found[1:, 0, 1].tolist() == [2, 2]


def test_killed_and_resumed_distillation_is_the_same_to_the_byte(teacher: Teacher, tmp_path: Path) -> None:
    rollouts = [played_by(teacher.team, range(8 * i, 8 * i + 8)) for i in range(2)]
    config = dataclasses.replace(CONFIG, teacher_epochs=3)

    def train(distiller: Distiller) -> None:
        while distiller.updates < 2:
            distill_update(distiller, teacher, rollouts[distiller.updates], "teacher", config)

    through = new_distiller(students_of(), teacher, config, 0)
    train(through)
    save(tmp_path / "through", through.state_dict(), "c")
    killed = new_distiller(students_of(), teacher, config, 0)
    distill_update(killed, teacher, rollouts[0], "teacher", config)
    save(tmp_path / "half", killed.state_dict(), "c")
    resumed = new_distiller(students_of(seed=5), teacher, config, 5)
    resumed.load_state_dict(load(tmp_path / "half", "c"))
    train(resumed)
    save(tmp_path / "resumed", resumed.state_dict(), "c")
    assert (tmp_path / "resumed").read_bytes() == (tmp_path / "through").read_bytes()


def test_widths_follow_what_is_sensed() -> None:
    sensings = [sense(ENV.specs[0], visible) for visible in (["battery", "value"], ["battery", "value", "noise"])]
    config = StudentConfig(hidden=32, hidden_small=16, small_below=0.9)  # 4 and 10 columns
    assert student_widths(sensings, config, by_sensing=True) == [16, 32]
    assert student_widths(sensings, config, by_sensing=False) == [32, 32]
