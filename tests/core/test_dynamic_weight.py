import math

import pytest
import torch

from mmdmt.core.dynamic_weight import dynamic_weight, gamma_ramp, weight_from_log_prob
from tests.core.reference import CONFIDENCES, LABELS, VARIANTS, pixels


def test_batch_of_the_reference_holds_every_case(batch):
    decision = dynamic_weight(*batch, 5, 5)
    label, confidence = batch[1:]
    assert decision.student_wins.any()
    assert (decision.disagree & ~decision.student_wins).any()
    assert ((confidence <= 1) & (label != 255) & ~decision.disagree).any()
    assert ((confidence > 1) & (label != 255)).any()
    assert ((confidence > 1) & (label == 255)).any()


@pytest.mark.parametrize(
    ('variant', 'gamma1', 'gamma2', 'weight', 'label'),
    [
        ('dmt', 2, 3, [0.49, 0.008, 0.0, 1, 0, 0], LABELS),
        ('naive', 2, 3, [0.49, 0.04, 0.04, 1, 0, 0], LABELS),
        ('flip', 2, 3, [0.49, 0.008, 0.125, 1, 0, 0], [0, 1, 0, 2, 255, 255]),
        ('dmt', 0, 3, [1, 0.008, 0.0, 1, 0, 0], LABELS),
        ('flip', 2, 0, [0.49, 1, 1, 1, 0, 0], [0, 1, 0, 2, 255, 255]),
        ('naive', 0, 3, [1, 1, 1, 1, 0, 0], LABELS),
        ('dmt', 0, 0, [1, 1, 1, 1, 0, 0], LABELS),
        ('flip', 0, 0, [1, 1, 1, 1, 0, 0], LABELS),
    ],
)
def test_case_table_by_hand(variant, gamma1, gamma2, weight, label):
    decision = dynamic_weight(*pixels(LABELS, CONFIDENCES), gamma1, gamma2, variant)
    torch.testing.assert_close(decision.weight, torch.tensor([weight]).float(), atol=1e-6, rtol=0)
    assert decision.label.tolist() == [label]
    assert decision.disagree.tolist() == [[False, True, True, False, False, False]]
    assert decision.student_wins.tolist() == [[False, False, True, False, False, False]]


def test_dtypes_and_no_gradient():
    logits, label, confidence = pixels(LABELS, CONFIDENCES)
    decision = dynamic_weight(logits.requires_grad_(), label, confidence, 5, 5, 'flip')
    assert [tensor.dtype for tensor in decision] == [torch.float32, torch.int64, torch.bool, torch.bool, torch.bool]
    assert not decision.weight.requires_grad


def test_equal_confidence_is_negative_disagreement():
    logits = torch.tensor([[1.0, 0.0, 0.0]])
    student = logits.log_softmax(1).max().exp()
    same = dynamic_weight(logits, torch.tensor([1]), student[None], 1, 1)
    below = dynamic_weight(logits, torch.tensor([1]), torch.nextafter(student, torch.tensor(0.0))[None], 1, 1)
    assert not same.student_wins.item()
    assert same.weight.item() == pytest.approx(1 / (2 + math.e), abs=1e-6)
    assert below.student_wins.item()
    assert below.weight.item() == 0


def test_confidence_one_is_a_pseudo_label():
    decision = dynamic_weight(*pixels([1], [1.0]), 2, 3)
    assert decision.disagree.item()
    assert decision.weight.item() == pytest.approx(0.008, abs=1e-6)


def test_weight_from_log_prob_is_the_same(batch):
    logits, label, confidence = batch
    for variant in VARIANTS:
        direct = dynamic_weight(logits, label, confidence, 2, 3, variant)
        shared = weight_from_log_prob(logits.log_softmax(1), label, confidence, 2, 3, variant, 255)
        assert all(torch.equal(one, other) for one, other in zip(direct, shared, strict=True))


def test_half_precision_logits_do_not_saturate():
    # In float16 the soft-max of (9, 0) is exactly 1; the weight 1 - 1.2e-4 shows that float32 was used.
    logits = torch.tensor([[9.0, 0.0]], dtype=torch.float16)
    decision = dynamic_weight(logits, torch.tensor([0]), torch.tensor([0.5]), 1, 1)
    assert decision.weight.item() == pytest.approx(1 / (1 + math.exp(-9)), abs=1e-7)
    assert decision.weight.item() < 1


@pytest.mark.parametrize(
    ('gamma_max', 't', 't_max', 'expected'),
    [
        (4, 0, 10, 4 * 0.006737947),
        (4, 5, 10, 4 * 0.2865048),
        (4, 10, 10, 4),
        (4, 0, 0, 4),
        (0, 3, 10, 0),
        (2, 2.5, 10, 2 * 0.0600546),
    ],
)
def test_gamma_ramp(gamma_max, t, t_max, expected):
    assert gamma_ramp(gamma_max, t, t_max) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ('gamma_max', 't', 't_max', 'message'),
    [
        (4, -1, 10, 't=-1, t_max=10'),
        (4, 11, 10, 't=11, t_max=10'),
        (4, 1, 0, 't=1, t_max=0'),
        (4, 0, -1, 't=0, t_max=-1'),
        (-1, 1, 10, 'gamma_max .*-1'),
    ],
)
def test_gamma_ramp_refuses(gamma_max, t, t_max, message):
    with pytest.raises(ValueError, match=message):
        gamma_ramp(gamma_max, t, t_max)


@pytest.mark.parametrize('variant', VARIANTS)
def test_a_label_among_the_two_best_classes_agrees(variant):
    logits = torch.tensor([[0.4, 0.4, 0.2]] * 3).log()
    decision = dynamic_weight(logits, torch.tensor([0, 1, 2]), torch.tensor([0.1, 0.1, 0.1]), 2, 2, variant)
    assert decision.disagree.tolist() == [False, False, True]
    assert decision.student_wins.tolist() == [False, False, True]
    third = {'dmt': 0.0, 'naive': 0.04, 'flip': 0.81}[variant]
    torch.testing.assert_close(decision.weight, torch.tensor([0.16, 0.16, third]))
