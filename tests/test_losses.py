from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from scenarios.schema import DistillConfig
from training.losses import (
    best_legal,
    by_kind,
    chosen_log_prob,
    cosines,
    distillation_kl,
    entropy,
    gae,
    hard_label_ce,
    kd_marl,
    masked_log_softmax,
    normalised,
    ppo_clip,
    role_alignment,
    structural_relation,
    value_huber,
    weighted_mean,
)

# Two legal actions of probabilities 1/4 and 3/4, and an illegal one with the largest logit.
LOGITS = torch.tensor([0.0, math.log(3.0), 50.0])
EVEN = torch.tensor([1.0, 1.0, -7.0])  # probabilities 1/2, 1/2
MASK = torch.tensor([True, True, False])
ONE = torch.tensor(1.0)


def test_masked_log_softmax_gives_illegal_actions_no_probability_and_no_nan() -> None:
    log_p = masked_log_softmax(LOGITS, MASK)
    assert log_p[:2].exp().tolist() == pytest.approx([0.25, 0.75])
    assert log_p[2].exp() == 0 and torch.isfinite(log_p).all()
    assert torch.isfinite(masked_log_softmax(LOGITS, torch.zeros(3, dtype=torch.bool))).all()  # padding


def test_no_gradient_reaches_an_illegal_logit() -> None:
    logits = LOGITS.clone().requires_grad_()
    torch.autograd.backward(entropy(logits, MASK, ONE) + distillation_kl(EVEN, logits, MASK, ONE))
    assert logits.grad is not None and logits.grad[2] == 0 and logits.grad[0] != 0


def test_weighted_mean_counts_only_what_weighs() -> None:
    assert weighted_mean(torch.tensor([1.0, 2.0, 10.0]), torch.tensor([True, True, False])) == 1.5
    assert weighted_mean(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 1.0])) == 1.25
    assert weighted_mean(torch.tensor([1.0]), torch.tensor([0.0])) == 0


def test_gae_by_hand_with_death_truncation_and_padding() -> None:
    #                dies     cut off   one decision only
    reward = torch.tensor([[1.0, 1.0, 4.0], [2.0, 2.0, 7.0]])
    discount = torch.tensor([[0.5, 0.5, 0.5], [0.0, 0.5, 0.5]])
    value = torch.tensor([[1.0, 1.0, 2.0], [3.0, 3.0, 7.0]])
    next_value = torch.tensor([[3.0, 3.0, 6.0], [99.0, 4.0, 7.0]])
    valid = torch.tensor([[True, True, True], [True, True, False]])
    # delta_1: 2 - 3 = -1 | 2 + .5*4 - 3 = 1 | none
    # delta_0: 1 + .5*3 - 1 = 1.5 | 1.5 | 4 + .5*6 - 2 = 5
    # A_0 = delta_0 + .5 * .8 * A_1
    expected = torch.tensor([[1.5 - 0.4, 1.5 + 0.4, 5.0], [-1.0, 1.0, 0.0]])
    torch.testing.assert_close(gae(reward, discount, value, next_value, valid, 0.8), expected)


def test_gae_equals_its_definition_as_a_sum() -> None:
    generator = torch.Generator().manual_seed(0)
    reward, value, last = (torch.randn(9, generator=generator, dtype=torch.float64) for _ in range(3))
    discount = torch.rand(9, generator=generator, dtype=torch.float64)
    next_value = torch.cat((value[1:], last[:1]))
    found = gae(reward, discount, value, next_value, torch.ones(9, dtype=torch.bool), 0.95)
    for d in range(9):
        expected, factor = 0.0, 1.0
        for k in range(d, 9):
            expected += factor * float(reward[k] + discount[k] * next_value[k] - value[k])
            factor *= 0.95 * float(discount[k])
        assert float(found[d]) == pytest.approx(expected, abs=1e-12)


def test_normalised_advantages_ignore_padding() -> None:
    found = normalised(torch.tensor([1.0, 3.0, 1000.0]), torch.tensor([True, True, False]))
    assert found.tolist() == pytest.approx([-1.0, 1.0, 0.0])


def test_ppo_clips_by_hand() -> None:
    ratio = torch.tensor([1.5, 0.5, 1.5, 0.5, 100.0])
    advantage = torch.tensor([2.0, 2.0, -1.0, -1.0, 7.0])
    weight = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0])
    # min(3, 2.4), min(1, 1.6), min(-1.5, -1.2), min(-.5, -.8)
    expected = -(2.4 + 1.0 - 1.5 - 0.8) / 4
    log_b = torch.tensor([-1.0, -2.0, -0.5, -3.0, 0.0])
    assert ppo_clip(log_b + ratio.log(), log_b, advantage, weight, 0.2).item() == pytest.approx(expected, rel=1e-5)


def test_entropy_by_hand() -> None:
    assert entropy(LOGITS, MASK, ONE).item() == pytest.approx(0.25 * math.log(4) + 0.75 * math.log(4 / 3), rel=1e-6)


def test_chosen_log_prob_by_hand() -> None:
    assert chosen_log_prob(LOGITS, MASK, torch.tensor(1)).item() == pytest.approx(math.log(0.75), rel=1e-6)


def test_value_huber_by_hand() -> None:
    # within delta: x^2 / 2; beyond: delta (|x| - delta / 2)
    value, target = torch.tensor([0.0, 0.0, 5.0]), torch.tensor([0.5, 20.0, -1000.0])
    found = value_huber(value, target, torch.tensor([1.0, 1.0, 0.0]), delta=10.0)
    assert found.item() == pytest.approx((0.125 + 150.0) / 2)


def test_distillation_kl_by_hand_and_its_direction() -> None:
    forward = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    backward = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    assert distillation_kl(EVEN, LOGITS, MASK, ONE).item() == pytest.approx(forward, rel=1e-5)
    assert distillation_kl(LOGITS, EVEN, MASK, ONE).item() == pytest.approx(backward, rel=1e-5)
    assert distillation_kl(LOGITS, LOGITS + 3, MASK, ONE).item() == pytest.approx(0, abs=1e-6)


def test_hard_label_is_the_teachers_best_legal_action() -> None:
    assert hard_label_ce(best_legal(LOGITS, MASK), EVEN, MASK, ONE).item() == pytest.approx(math.log(2))
    teacher = torch.tensor([2.0, 1.0, 90.0])
    assert hard_label_ce(best_legal(teacher, MASK), LOGITS, MASK, ONE).item() == pytest.approx(math.log(4))


def test_by_kind_compares_imaging_as_a_whole_with_each_other_action() -> None:
    """By hand: charging is likelier than each of three images, but not than all of them together."""
    logits = torch.log(torch.tensor([0.4, 0.15, 0.25, 0.2]))
    legal = torch.ones(4, dtype=torch.bool)
    decided = by_kind(logits, legal, fixed=1)
    assert decided.softmax(-1).tolist() == pytest.approx([0.4, 0, 0.6, 0])
    assert logits.argmax() == 0 and decided.argmax() == 2
    # Without the second image, the others have 0.35 of 0.75: charging is the likelier kind.
    legal[2] = False
    decided = masked_log_softmax(by_kind(logits, legal, fixed=1), legal).exp()
    assert decided.tolist() == pytest.approx([0.4 / 0.75, 0, 0, 0.35 / 0.75])
    # Without any image, nothing but charging is left.
    legal = torch.tensor([True, False, False, False])
    decided = masked_log_softmax(by_kind(logits, legal, fixed=1), legal).exp()
    assert decided.tolist() == [1, 0, 0, 0]


def test_by_kind_is_a_target_without_nan() -> None:
    """Images that are never taken weigh nothing in Eq. 7, and their gradient pushes them down."""
    logits = LOGITS.clone().requires_grad_()
    target = by_kind(torch.zeros_like(LOGITS), MASK, fixed=1)
    loss = distillation_kl(target, logits, MASK, ONE)
    torch.autograd.backward(loss)
    assert torch.isfinite(loss) and logits.grad is not None and torch.isfinite(logits.grad).all()


def test_structural_relation_of_three_agents_by_hand() -> None:
    z_t = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])  # cosines 12: 0, 13 and 23: 1/sqrt 2
    z_s = torch.tensor([[3.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 5.0]])  # cosines 12: 1, 13 and 23: 0
    relation = structural_relation(cosines(z_t), cosines(z_s), torch.ones(3))
    assert relation.item() == pytest.approx((1 + 0.5 + 0.5) / 3)
    # the third one is dead: one pair is left; then nobody has a partner
    assert structural_relation(cosines(z_t), cosines(z_s), torch.tensor([1.0, 1.0, 0.0])).item() == pytest.approx(1)
    assert structural_relation(cosines(z_t), cosines(z_s), torch.tensor([1.0, 0.0, 0.0])).item() == 0


def test_role_alignment_sums_over_agents_the_mean_over_their_decisions() -> None:
    uneven, even = torch.tensor([0.0, math.log(3.0)]), torch.zeros(2)  # 1/4, 3/4 and 1/2, 1/2
    kl = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    # agent 0 decides twice, the second time in agreement; agent 1 decides once
    roles_t = torch.stack((torch.stack((uneven, uneven)), torch.stack((even, uneven)))).unsqueeze(
        1
    )  # [D=2, E=1, N=2, R]
    roles_s = torch.zeros(2, 1, 2, 2)
    valid = torch.tensor([[[True, True]], [[True, False]]])
    assert role_alignment(roles_t, roles_s, valid, 1.0).item() == pytest.approx(kl / 2 + kl, rel=1e-5)
    # tau = 2 halves the logits: log 9 acts like log 3
    assert role_alignment(roles_t * 2, roles_s, valid, 2.0).item() == pytest.approx(kl / 2 + kl, rel=1e-5)


def test_neither_relation_nor_roles_nor_labels_send_a_gradient_to_the_teacher() -> None:
    teacher = torch.randn(2, 1, 3, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    student = torch.randn(2, 1, 3, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
    weight = torch.ones(2, 1, 3)
    mask = torch.ones(2, 1, 3, 3, dtype=torch.bool)
    loss = structural_relation(cosines(teacher), cosines(student), weight)
    loss = loss + role_alignment(teacher, student, weight, 1.0) + distillation_kl(teacher, student, mask, weight)
    torch.autograd.backward(loss + hard_label_ce(best_legal(teacher, mask), student, mask, weight))
    assert teacher.grad is None and student.grad is not None


def test_the_composite_is_eq_5_with_eq_6_and_the_entropy_is_subtracted() -> None:
    values = {"ppo": 1.0, "kl": 2.0, "ce": 4.0, "relation": 8.0, "role": 16.0, "entropy": 32.0}
    weights = DistillConfig(ppo=2.0, kl=1.0, ce=0.5, relation=0.25, role=0.125, entropy=0.01)
    total, terms = kd_marl(weights, {name: partial(torch.tensor, value) for name, value in values.items()})
    assert total.item() == pytest.approx(2 + 2 + 2 + 2 + 2 - 0.32)
    assert {name: term.item() for name, term in terms.items()} == values


def without(term: str) -> DistillConfig:
    config = DistillConfig()
    setattr(config, term, 0.0)
    return config


@pytest.mark.parametrize("name", ["ppo", "kl", "ce", "relation", "role", "entropy"])
def test_a_term_of_weight_0_is_not_evaluated(name: str) -> None:
    def fails() -> Tensor:
        raise AssertionError("evaluated")

    terms = {each: lambda: torch.tensor(1.0) for each in ("ppo", "kl", "ce", "relation", "role", "entropy")}
    _, evaluated = kd_marl(without(name), terms | {name: fails})
    assert set(evaluated) == set(terms) - {name}
