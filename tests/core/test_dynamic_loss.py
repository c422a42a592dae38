import math

import pytest
import torch
from torch.nn import functional as F

from mmdmt.core.dynamic_loss import dynamic_mutual_loss
from mmdmt.core.dynamic_weight import HUMAN, dynamic_weight
from tests.core.reference import CONFIDENCES, GAMMAS, LABELS, PROBABILITIES, VARIANTS, pixels, slow_loss


@pytest.mark.parametrize('variant', VARIANTS)
@pytest.mark.parametrize(('gamma1', 'gamma2'), GAMMAS)
@pytest.mark.parametrize('class_weight', [None, torch.tensor([0.5, 1.0, 2.0, 3.0])])
@pytest.mark.parametrize('by_pixel', [False, True])
def test_loss_and_gradient_equal_slow_reference(batch, variant, gamma1, gamma2, class_weight, by_pixel):
    logits, label, confidence = batch
    options = {'class_weight': class_weight, 'pixel_weight': torch.rand(label.shape) if by_pixel else None}
    fast_logits = logits.clone().requires_grad_()
    slow_logits = logits.double().requires_grad_()

    loss, decision = dynamic_mutual_loss(fast_logits, label, confidence, gamma1, gamma2, variant, **options)
    loss.backward()
    expected, decisions = slow_loss(slow_logits, label, confidence, gamma1, gamma2, variant, **options)
    expected.backward()

    assert loss.dtype == torch.float32
    assert abs(loss.item() - expected.item()) <= 1e-6
    assert (fast_logits.grad - slow_logits.grad).abs().max() <= 1e-6
    weights, labels, disagree, wins = (torch.tensor(column) for column in zip(*decisions, strict=True))
    assert (decision.weight.flatten() - weights).abs().max() <= 1e-6
    assert torch.equal(decision.label.flatten(), labels)
    assert torch.equal(decision.disagree.flatten(), disagree)
    assert torch.equal(decision.student_wins.flatten(), wins)


@pytest.mark.parametrize(('gamma1', 'gamma2'), GAMMAS)
def test_is_bit_for_bit_the_published_rule(batch, gamma1, gamma2):
    """The rule of the paper in its shortest float32 form, cases and all."""
    logits, label, confidence = batch
    log_prob = logits.log_softmax(1)
    best, student = log_prob.max(1)
    own = log_prob.gather(1, torch.where(label == 255, 0, label)[:, None])[:, 0]
    weight = torch.where(student == label, (gamma1 * own).exp(), (gamma2 * own).exp())
    if gamma1 or gamma2:
        weight = torch.where((student != label) & (confidence < best.exp()), 0, weight)
    weight = torch.where(confidence > 1, 1, weight)
    weight = torch.where(label == 255, 0, weight)
    loss, decision = dynamic_mutual_loss(logits, label, confidence, gamma1, gamma2)
    assert torch.equal(decision.weight, weight)
    assert torch.equal(loss, torch.where(weight != 0, -weight * own, 0).sum() / (label != 255).sum())


def test_other_ignore_index():
    logits, _, confidence = pixels([0, 0], [0.9, 0.9])
    label = torch.tensor([[-100, 1]])
    loss, decision = dynamic_mutual_loss(logits, label, confidence, 2, 3, ignore_index=-100)
    assert decision.weight[0, 0] == 0
    assert loss.item() == pytest.approx(-0.008 * math.log(0.2), abs=1e-6)


def test_classification_shape():
    logits = torch.tensor(PROBABILITIES).log().repeat(2, 1)
    loss, decision = dynamic_mutual_loss(logits, torch.tensor([0, 1]), torch.tensor([0.9, HUMAN]), 2, 2)
    torch.testing.assert_close(decision.weight, torch.tensor([0.49, 1.0]))
    assert loss.item() == pytest.approx((-0.49 * math.log(0.7) - math.log(0.2)) / 2, abs=1e-6)


def test_reductions_by_hand():
    arguments = (*pixels(LABELS, CONFIDENCES), 2, 3)
    each = [-0.49 * math.log(0.7), -0.008 * math.log(0.2), 0, -math.log(0.1), 0, 0]
    none, _ = dynamic_mutual_loss(*arguments, reduction='none')
    torch.testing.assert_close(none, torch.tensor([each]), atol=1e-6, rtol=0)
    assert dynamic_mutual_loss(*arguments, reduction='sum')[0].item() == pytest.approx(sum(each), abs=1e-6)
    # N counts the four valid pixels, among them the one of weight 0.
    assert dynamic_mutual_loss(*arguments)[0].item() == pytest.approx(sum(each) / 4, abs=1e-6)


def test_divisor_of_several_processes_by_hand():
    """This process has 4 valid pixels, the average is 2.5."""
    given = []
    arguments = (*pixels(LABELS, CONFIDENCES), 2, 3)
    loss, _ = dynamic_mutual_loss(*arguments, average=lambda total: given.append(total.item()) or torch.tensor(2.5))
    total = -0.49 * math.log(0.7) - 0.008 * math.log(0.2) - math.log(0.1)
    assert given == [4]
    assert loss.item() == pytest.approx(total / 2.5, abs=1e-6)


def test_class_and_pixel_weight_by_hand():
    arguments = (*pixels(LABELS, CONFIDENCES), 2, 3)
    each = [-0.49 * math.log(0.7), -0.008 * math.log(0.2), 0, -math.log(0.1), 0, 0]
    class_weight = torch.tensor([1.0, 10.0, 4.0])
    loss, _ = dynamic_mutual_loss(*arguments, class_weight=class_weight)
    assert loss.item() == pytest.approx((each[0] + 10 * each[1] + 4 * each[3]) / (1 + 10 + 10 + 4), abs=1e-6)
    pixel_weight = torch.tensor([[0.0, 1.0, 1.0, 0.5, 1.0, 1.0]])
    loss, _ = dynamic_mutual_loss(*arguments, pixel_weight=pixel_weight)
    assert loss.item() == pytest.approx((each[1] + 0.5 * each[3]) / 4, abs=1e-6)


@pytest.mark.parametrize('class_weight', [None, torch.tensor([0.5, 1.0, 2.0, 3.0])])
def test_without_confidence_it_is_cross_entropy(batch, class_weight):
    logits, label, _ = batch
    mine, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    loss, decision = dynamic_mutual_loss(mine, label, None, 5, 5, class_weight=class_weight)
    expected = F.cross_entropy(theirs, label, weight=class_weight, ignore_index=255)
    loss.backward()
    expected.backward()
    assert decision is None
    torch.testing.assert_close(loss, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-7, rtol=0)


@pytest.mark.parametrize('variant', VARIANTS)
def test_gammas_zero_are_cross_entropy(batch, variant):
    logits, label, confidence = batch
    loss, _ = dynamic_mutual_loss(logits, label, confidence, 0, 0, variant)
    torch.testing.assert_close(loss, F.cross_entropy(logits, label, ignore_index=255), atol=1e-6, rtol=0)


@pytest.mark.parametrize('confidence', [None, 0.9, HUMAN])
@pytest.mark.parametrize('class_weight', [None, torch.tensor([1.0, 2.0, 3.0])])
def test_no_valid_pixel_gives_zero_with_a_graph(confidence, class_weight):
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    label = torch.full((2, 4, 4), 255)
    confidence = None if confidence is None else torch.full((2, 4, 4), confidence)
    loss, _ = dynamic_mutual_loss(logits, label, confidence, 5, 5, class_weight=class_weight)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_no_weight_at_all_gives_zero():
    logits = torch.tensor([[3.0, 0.0]], requires_grad=True)
    loss, _ = dynamic_mutual_loss(logits, torch.tensor([1]), torch.tensor([0.6]), 2, 2)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros(1, 2))


def test_empty_batch_gives_zero():
    logits = torch.randn(0, 3, 4, 4, requires_grad=True)
    loss, _ = dynamic_mutual_loss(logits, torch.zeros(0, 4, 4).long(), torch.zeros(0, 4, 4), 5, 5)
    assert loss.item() == 0


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize('variant', VARIANTS)
def test_other_dtypes_are_computed_in_float32(batch, dtype, variant):
    logits, label, confidence = batch
    logits = logits.to(dtype).requires_grad_()
    loss, decision = dynamic_mutual_loss(logits, label, confidence, 2, 3, variant)
    expected, expected_decision = dynamic_mutual_loss(logits.detach().float(), label, confidence, 2, 3, variant)
    loss.backward()
    assert loss.dtype == decision.weight.dtype == torch.float32
    torch.testing.assert_close(loss, expected, atol=1e-7, rtol=0)
    torch.testing.assert_close(decision.weight, expected_decision.weight, atol=1e-7, rtol=0)
    assert logits.grad.dtype == dtype
    assert logits.grad.isfinite().all()


# Autocast on a CPU knows bfloat16 only in torch 2.1, as it has no uint16.
AUTOCAST = [torch.bfloat16, torch.float16][: 2 if hasattr(torch, 'uint16') else 1]


@pytest.mark.parametrize('dtype', AUTOCAST)
def test_autocast(dtype):
    torch.manual_seed(0)
    head = torch.nn.Conv2d(3, 4, 1)
    label, confidence = torch.randint(0, 4, (2, 5, 5)), torch.rand(2, 5, 5)
    with torch.autocast('cpu', dtype=dtype):
        logits = head(torch.randn(2, 3, 5, 5))
        loss, decision = dynamic_mutual_loss(logits, label, confidence, 2, 3)
    assert logits.dtype == dtype
    assert loss.dtype == decision.weight.dtype == torch.float32
    expected, _ = dynamic_mutual_loss(logits.detach().float(), label, confidence, 2, 3)
    torch.testing.assert_close(loss.detach(), expected, atol=1e-7, rtol=0)
    loss.backward()
    assert head.weight.grad.isfinite().all()
    assert head.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ('variant', 'gamma1', 'gamma2', 'weight'),
    [('naive', 0, 4, 1), ('dmt', 4, 0, 1), ('flip', 4, 0, 1), ('dmt', 5, 5, 0), ('naive', 5, 5, 0), ('dmt', 0, 0, 1)],
)
def test_probability_zero_gives_no_nan(variant, gamma1, gamma2, weight):
    logits = torch.tensor([[2.0, 0.0, -math.inf]], requires_grad=True)
    loss, decision = dynamic_mutual_loss(logits, torch.tensor([2]), torch.tensor([0.99]), gamma1, gamma2, variant)
    loss.backward()
    assert decision.weight.item() == weight
    assert loss.item() == (math.inf if weight else 0)
    assert not logits.grad.isnan().any()


def test_ignored_pixel_beside_probability_zero_gives_no_nan():
    logits = torch.tensor([[-math.inf, 0.0], [0.0, 0.0]], requires_grad=True)
    loss, _ = dynamic_mutual_loss(logits, torch.tensor([255, 1]), None, 5, 5)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2), abs=1e-6)
    assert not logits.grad.isnan().any()


def test_gradient_does_not_flow_through_the_weight():
    logits = torch.tensor([[1.0, 0.0]], requires_grad=True)
    loss, _ = dynamic_mutual_loss(logits, torch.tensor([0]), torch.tensor([0.9]), 2, 2)
    loss.backward()
    probability = 1 / (1 + math.exp(-1))
    assert logits.grad[0, 0].item() == pytest.approx(probability**2 * (probability - 1), abs=1e-6)


def test_two_backward_passes_give_the_same_gradient(batch):
    logits, label, confidence = batch
    logits = logits.clone().requires_grad_()
    loss, _ = dynamic_mutual_loss(logits, label, confidence, 2, 3)
    gradients = [torch.autograd.grad(loss, logits, retain_graph=keep)[0] for keep in (True, False)]
    assert torch.equal(*gradients)


def test_gradient_reaches_a_weight_that_is_learned(batch):
    logits, label, _ = batch
    factor = torch.ones(label.shape, requires_grad=True)
    loss, _ = dynamic_mutual_loss(logits, label, None, 5, 5, pixel_weight=factor, reduction='sum')
    loss.backward()
    torch.testing.assert_close(factor.grad, F.cross_entropy(logits, label, ignore_index=255, reduction='none'))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'variant': 'none'}, r"'dmt', 'naive', 'flip'.*'none'"),
        ({'gamma1': -1}, 'gamma1 .*-1'),
        ({'gamma2': -0.5}, 'gamma2 .*-0.5'),
        ({'gamma1': math.nan}, 'gamma1 .*nan'),
        ({'label': torch.zeros(2, 4, 5).long()}, r'label \[2, 4, 5\] and logits \[2, 3, 4, 4\]'),
        ({'confidence': torch.zeros(2, 1, 4)}, r'confidence \[2, 1, 4\] and logits \[2, 3, 4, 4\]'),
    ],
)
def test_bad_arguments_are_refused(change, message):
    arguments = {
        'logits': torch.zeros(2, 3, 4, 4),
        'label': torch.zeros(2, 4, 4).long(),
        'confidence': torch.zeros(2, 4, 4),
        'gamma1': 5,
        'gamma2': 5,
    }
    for function in (dynamic_weight, dynamic_mutual_loss):
        function(**arguments)
        with pytest.raises(ValueError, match=message):
            function(**{**arguments, **change})


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ({'class_weight': torch.ones(4)}, r'\[3\].*\[4\]'),
        ({'pixel_weight': torch.ones(1, 4)}, r'pixel_weight \[1, 4\] and logits \[2, 3, 4\]'),
        ({'reduction': 'average'}, "'mean', 'sum', 'none'.*'average'"),
    ],
)
def test_bad_loss_options_are_refused(option, message):
    with pytest.raises(ValueError, match=message):
        dynamic_mutual_loss(torch.zeros(2, 3, 4), torch.zeros(2, 4).long(), None, 5, 5, **option)
