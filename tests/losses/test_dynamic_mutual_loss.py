import math
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from mmpretrain.models.heads import LinearClsHead
from mmpretrain.structures import DataSample
from torch.nn import functional as F

from mmdmt.losses.dynamic_mutual_loss import DynamicMutualLoss, Statistics, teacher_confidence
from tests.ranks import on_ranks

# Five pixels, two classes. In order: human; both agree; teacher wins; student wins; ignored.
PROBABILITY = [[0.5, 0.5], [0.8, 0.2], [0.25, 0.75], [0.25, 0.75], [0.9, 0.1]]
LABEL = torch.tensor([[[0, 0, 0, 0, 255]]])
CONFIDENCE = torch.tensor([[[2.0, 0.7, 0.9, 0.6, 0.9]]])
CROSS_ENTROPY = [-math.log(p) for p in (0.5, 0.8, 0.25, 0.25)]


def logits():
    return torch.tensor(PROBABILITY).log().T[None, :, None].clone().requires_grad_()


def build(confidence=CONFIDENCE, **kwargs):
    """A loss that has the confidence for as long as it lives."""
    loss = MODELS.build({'type': 'DynamicMutualLoss', **kwargs})
    loss.served = teacher_confidence([('its head', loss)], confidence)
    loss.served.__enter__()
    return loss


def figures(statistics):
    return [float(figure) for figure in statistics]


def random_batch(seed=0, num_classes=5):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(2, num_classes, 6, 7, generator=generator) * 3
    label = torch.randint(0, num_classes, (2, 6, 7), generator=generator)
    label[torch.rand(2, 6, 7, generator=generator) < 0.2] = 255
    return scores, label, torch.rand(2, 6, 7, generator=generator)


@pytest.mark.parametrize('class_weight', [None, [0.5, 1.0, 2.0, 0.0, 3.0]])
@pytest.mark.parametrize('reduction', ['mean', 'sum', 'none'])
def test_is_cross_entropy_without_confidence(class_weight, reduction):
    scores, label, _ = random_batch()
    loss = build(None, class_weight=class_weight)
    weight = None if class_weight is None else torch.tensor(class_weight)
    expected = F.cross_entropy(scores, label, weight=weight, ignore_index=255, reduction=reduction)
    torch.testing.assert_close(loss(scores, label, reduction_override=reduction), expected)
    assert loss.statistics is None


@pytest.mark.parametrize(
    ('kwargs', 'weights', 'last'),
    [
        ({'gamma1': 2.0, 'gamma2': 1.0}, [1, 0.8**2, 0.25, 0], 0),
        ({'gamma1': 2.0, 'gamma2': 2.0, 'variant': 'naive'}, [1, 0.8**2, 0.25**2, 0.25**2], CROSS_ENTROPY[3]),
        # where the student wins it learns its own label, at the weight (1 - c_A) ** gamma2
        ({'gamma1': 2.0, 'gamma2': 1.0, 'variant': 'flip'}, [1, 0.8**2, 0.25, 0.4], -math.log(0.75)),
        ({'gamma1': 0.0, 'gamma2': 0.0}, [1, 1, 1, 1], CROSS_ENTROPY[3]),
    ],
)
def test_by_hand(kwargs, weights, last):
    scores = logits()
    loss = build(**kwargs)
    value = loss(scores, LABEL)
    terms = [weight * ce for weight, ce in zip(weights, [*CROSS_ENTROPY[:3], last], strict=True)]
    assert value.item() == pytest.approx(sum(terms) / 4, rel=1e-5)
    assert loss(scores, LABEL, reduction_override='sum').item() == pytest.approx(sum(terms), rel=1e-5)
    single = loss(scores, LABEL, reduction_override='none')
    assert single.flatten().tolist() == pytest.approx([*terms, 0], rel=1e-5)
    assert figures(loss.statistics) == pytest.approx([2 / 3, 1 / 3, sum(weights[1:]) / 3])
    assert loss.statistics._fields == ('disagree', 'student_wins', 'mean_weight')
    value.backward()
    assert not any(value.requires_grad for value in loss.statistics)


@pytest.mark.parametrize('confidence', [torch.full((1, 1, 5), 2.0), torch.tensor([[[2.0, 2, 2, 2, 0.5]]])])
def test_statistics_of_a_batch_without_pseudo_labels_are_zero(confidence):
    loss = build(confidence)
    assert loss(logits(), LABEL).item() == pytest.approx(sum(CROSS_ENTROPY) / 4)
    assert figures(loss.statistics) == [0, 0, 0]


def test_ignored_batch_costs_nothing_and_can_be_trained_on():
    scores = logits()
    value = build()(scores, torch.full_like(LABEL, 255))
    value.backward()
    assert value.item() == 0
    assert not scores.grad.any()


def test_class_weight_by_hand():
    """N is the sum of the class weights over valid pixels; class 1 is the label of one of four."""
    label = torch.tensor([[[0, 1, 0, 0, 255]]])
    terms = [3 * CROSS_ENTROPY[0], 2 * -math.log(0.2), 3 * CROSS_ENTROPY[2], 3 * CROSS_ENTROPY[3]]
    loss = build(torch.full((1, 1, 5), 2.0), class_weight=[3, 2])
    assert loss(logits(), label).item() == pytest.approx(sum(terms) / (3 + 2 + 3 + 3), rel=1e-5)


def test_class_weight_scales_pseudo_labels_as_human_ones():
    # Student (.7, .2, .1): human 0, pseudo 1 and 0, human 0; without weighting, so that the factors stand alone.
    scores = torch.tensor([0.7, 0.2, 0.1]).log().view(1, 3, 1, 1).repeat(1, 1, 1, 4)
    label, confidence = torch.tensor([[[0, 1, 0, 0]]]), torch.tensor([[[2.0, 0.5, 0.5, 2.0]]])
    terms = [factor * -math.log(p) for factor, p in zip((3, 2, 3, 3), (0.7, 0.2, 0.7, 0.7), strict=True)]
    for given in (confidence, None):
        loss = build(given, gamma1=0.0, gamma2=0.0, class_weight=[3, 2, 1])
        assert loss(scores, label).item() == pytest.approx(sum(terms) / 11, rel=1e-5)


def test_loss_and_weigh_agree():
    scores, label, confidence = random_batch()
    class_weight = [0.3, 1.0, 2.5, 1.0, 0.6]
    loss = build(confidence, class_weight=class_weight)
    value = loss(scores, label)
    decision = loss.weigh(scores, label, confidence, ignore_index=255)
    assert figures(loss.statistics) == pytest.approx(figures(Statistics.of(decision)))
    factor = torch.tensor(class_weight)[torch.where(label == 255, 0, label)]
    single = F.cross_entropy(scores, label, reduction='none', ignore_index=255)
    expected = (decision.weight * factor * single).sum() / factor[label != 255].sum()
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize('ignore_index', [0, 3])
def test_ignore_index(ignore_index):
    scores, label, _ = random_batch()
    label[label == 255] = 1
    expected = F.cross_entropy(scores, label, ignore_index=ignore_index)
    torch.testing.assert_close(build(None)(scores, label, ignore_index=ignore_index), expected)


def test_ignore_index_of_a_head_that_gives_none_is_255():
    value = build()(logits(), LABEL, ignore_index=None)
    torch.testing.assert_close(value, build()(logits(), LABEL))


# exp(-5 (1 - progress)^2)
RAMP = [(0, 0.006737947), (0.5, 0.2865048), (0.75, 0.7316156), (1, 1)]


@pytest.mark.parametrize(('progress', 'scale'), RAMP)
def test_ramp_scales_both_gammas(progress, scale):
    scores, label, confidence = random_batch()
    whole = build(confidence, gamma1=4.0, gamma2=3.0)(scores, label)
    ramped = build(confidence, gamma1=4.0, gamma2=3.0, ramp=True)
    assert torch.equal(ramped(scores, label), whole)  # nothing has said how far it is
    ramped.set_progress(progress)
    scaled = build(confidence, gamma1=4.0 * scale, gamma2=3.0 * scale)
    torch.testing.assert_close(ramped(scores, label), scaled(scores, label))
    if progress < 1:
        assert ramped(scores, label) > whole
    else:
        assert torch.equal(ramped(scores, label), whole)


@pytest.mark.parametrize('progress', [0, 0.5, 1])
def test_without_ramp_progress_changes_nothing(progress):
    scores, label, confidence = random_batch()
    loss = build(confidence, gamma1=4.0, gamma2=3.0)
    before = loss(scores, label)
    loss.set_progress(progress)
    assert torch.equal(loss(scores, label), before)


@pytest.mark.parametrize('progress', [-0.1, 1.1, math.nan])
def test_progress_outside_of_a_phase_is_refused(progress):
    loss = build(gamma1=2.0, gamma2=1.0, ramp=True)
    before = loss(logits(), LABEL).item()
    with pytest.raises(ValueError, match=f'={progress}'):
        loss.set_progress(progress)
    assert loss(logits(), LABEL).item() == before


def test_loss_weight_is_a_factor():
    scores, label, confidence = random_batch()
    expected = 0.4 * build(confidence)(scores, label)
    torch.testing.assert_close(build(confidence, loss_weight=0.4)(scores, label), expected)


def test_pixel_weight_scales_pixels_and_not_their_number():
    weight = torch.tensor([[[1.0, 0, 0, 0, 1]]])
    assert build()(logits(), LABEL, weight=weight).item() == pytest.approx(CROSS_ENTROPY[0] / 4, rel=1e-5)


def head(**kwargs):
    config = {'type': 'FCNHead', 'in_channels': 4, 'channels': 4, 'num_convs': 0, 'concat_input': False,
              'dropout_ratio': 0, 'num_classes': 3, 'align_corners': False, **kwargs}  # fmt: skip
    with DefaultScope.overwrite_default_scope('mmseg'):
        torch.manual_seed(0)
        result = MODELS.build(config)
        result.init_weights()
        torch.nn.init.normal_(result.conv_seg.weight)
        return result


def test_stock_head_with_ohem_trains_on_the_hardest_pixels():
    own_loss = {'type': 'DynamicMutualLoss', 'gamma1': 1.0, 'gamma2': 1.0}
    ohem = head(sampler={'type': 'OHEMPixelSampler', 'min_kept': 7}, loss_decode=own_loss)
    features = torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(1))
    _, label, confidence = random_batch(num_classes=3)
    label, confidence = label[:, :5, :6], confidence[:, :5, :6]
    samples = [SimpleNamespace(gt_sem_seg=SimpleNamespace(data=one[None])) for one in label]
    with teacher_confidence([('decode_head FCNHead', ohem.loss_decode)], confidence):
        value = ohem.loss((features,), samples, None)['loss_dmt']

    reference = build(confidence, gamma1=1.0, gamma2=1.0)
    single = reference(ohem((features,)), label, reduction_override='none').flatten()
    hardest = sorted(single.tolist(), reverse=True)[: 2 * 7]
    assert value.item() == pytest.approx(sum(hardest) / int((label != 255).sum()), rel=1e-5)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'gamma1': -1.0}, r'gamma1=-1\.0 must be a finite number >= 0'),
        ({'gamma2': -0.5}, 'gamma2=-0.5'),
        ({'gamma1': math.nan}, 'gamma1=nan'),
        ({'gamma2': math.inf}, 'gamma2=inf'),
        ({'gamma1': [1.0, 2.0]}, r'gamma1=\[1\.0, 2\.0\] must be a finite number >= 0'),
        ({'gamma2': [1.0]}, r'gamma2=\[1\.0\] must be a finite number >= 0'),
        ({'gamma1': True}, 'gamma1=True must be a finite number >= 0'),
        ({'gamma2': '5'}, "gamma2='5' must be a finite number >= 0"),
        ({'variant': 'DMT'}, "variant='DMT' is not one of"),
        ({'variant': 'naive', 'gamma1': 1.0, 'gamma2': 2.0}, "variant 'naive' needs gamma1 = gamma2, got 1.0 and 2.0"),
        ({'ramp': 'yes'}, "ramp='yes' must be True or False"),
        ({'ramp': 1}, 'ramp=1 must be True or False'),
        ({'variant': 'online'}, "variant='online' is not one of"),
        ({'loss_weight': -1}, 'loss_weight must hold finite numbers that are not negative, got -1'),
        ({'class_weight': [1.0, math.nan]}, 'class_weight must hold finite numbers that are not negative, got nan'),
        ({'class_weight': [1, -2, 1]}, 'class_weight must hold .* got -2'),
        ({'loss_name': 'dmt'}, "loss_name='dmt' must start with 'loss_'"),
    ],
)
def test_bad_arguments_are_refused_at_once(kwargs, message):
    with pytest.raises(ValueError, match=f'DynamicMutualLoss: {message}'):
        DynamicMutualLoss(**kwargs)


def test_labels_of_another_shape_are_refused_and_the_head_named():
    first, second = DynamicMutualLoss(), DynamicMutualLoss()
    with teacher_confidence([('decode_head[1] SomeHead', first), ('auxiliary_head OtherHead', second)], CONFIDENCE):
        with pytest.raises(ValueError, match=r'decode_head\[1\] SomeHead.*\(1, 1, 3\).*\(1, 1, 5\)'):
            first(logits()[..., :3], LABEL[..., :3])
        with pytest.raises(ValueError, match=r'cannot serve auxiliary_head OtherHead: .*\(1, 1, 3\).*\(1, 1, 5\)'):
            second(logits()[..., :3], LABEL[..., :3])
    with pytest.raises(ValueError, match='class_weight'):
        build(class_weight=[1.0, 2.0, 3.0])(logits(), LABEL)


PLAIN, WEIGHTED = sum(CROSS_ENTROPY) / 4, (CROSS_ENTROPY[0] + 0.64 * CROSS_ENTROPY[1] + 0.25 * CROSS_ENTROPY[2]) / 4


def test_confidence_is_gone_after_the_block_and_the_statistics_stay():
    loss = DynamicMutualLoss(gamma1=2.0, gamma2=1.0)
    with teacher_confidence([('head', loss)], CONFIDENCE):
        assert loss(logits(), LABEL).item() == pytest.approx(WEIGHTED, rel=1e-5)
    assert figures(loss.statistics) == pytest.approx([2 / 3, 1 / 3, (0.64 + 0.25) / 3])
    assert loss(logits(), LABEL).item() == pytest.approx(PLAIN, rel=1e-5)
    assert loss(logits()[..., :3], LABEL[..., :3]).item() == pytest.approx(sum(CROSS_ENTROPY[:3]) / 3, rel=1e-5)
    assert figures(loss.statistics) == pytest.approx([2 / 3, 1 / 3, (0.64 + 0.25) / 3])


def test_confidence_is_gone_after_a_block_that_raises():
    loss = DynamicMutualLoss(gamma1=2.0, gamma2=1.0)
    with pytest.raises(RuntimeError, match='out of memory'), teacher_confidence([('head', loss)], CONFIDENCE):
        raise RuntimeError('out of memory')
    assert loss(logits(), LABEL).item() == pytest.approx(PLAIN, rel=1e-5)


@pytest.mark.parametrize('confidence', [CONFIDENCE, None])
def test_statistics_of_an_earlier_batch_are_forgotten(confidence):
    loss = DynamicMutualLoss(gamma1=2.0, gamma2=1.0)
    with teacher_confidence([('head', loss)], CONFIDENCE):
        loss(logits(), LABEL)
    assert loss.statistics is not None
    with teacher_confidence([('head', loss)], confidence):
        assert loss.statistics is None
        value = loss(logits(), LABEL).item()
    assert value == pytest.approx(PLAIN if confidence is None else WEIGHTED, rel=1e-5)
    assert (loss.statistics is None) == (confidence is None)


def test_several_losses_are_served_at_once():
    losses = [DynamicMutualLoss(gamma1=2.0, gamma2=1.0), DynamicMutualLoss(gamma1=0.0, gamma2=0.0), DynamicMutualLoss()]
    with teacher_confidence((('head', loss) for loss in losses[:2]), CONFIDENCE):
        values = [loss(logits(), LABEL).item() for loss in losses]
    assert values == pytest.approx([WEIGHTED, PLAIN, PLAIN], rel=1e-5)
    assert figures(losses[0].statistics) == pytest.approx([2 / 3, 1 / 3, (0.64 + 0.25) / 3])
    assert figures(losses[1].statistics) == pytest.approx([2 / 3, 1 / 3, 1])
    assert losses[2].statistics is None
    assert [loss(logits(), LABEL).item() for loss in losses] == pytest.approx([PLAIN] * 3, rel=1e-5)


def test_repr_shows_what_defines_the_loss():
    loss = build(gamma2=3.0, variant='flip', ramp=True)
    assert "gamma1=5.0, gamma2=3.0, variant='flip', ramp=True" in repr(loss)


def test_has_no_state():
    loss = build(ramp=True)
    loss.set_progress(0.5)
    loss(logits(), LABEL)
    assert not loss.state_dict()


def test_mixed_precision_computes_the_loss_in_float32():
    _, label, confidence = random_batch()
    features = torch.randn(2, 8, 6, 7, generator=torch.Generator().manual_seed(3))
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(8, 5, 1)

    def run():
        conv.zero_grad()
        with torch.autocast('cpu', torch.bfloat16):
            scores = conv(features)
            value = build(confidence)(scores, label)
        value.backward()
        return scores.detach(), value.detach(), conv.weight.grad.clone()

    first, second = run(), run()
    assert first[0].dtype == torch.bfloat16
    assert first[1].dtype == torch.float32
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(first[1], build(confidence)(first[0].float(), label))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_gammas_and_class_weights_are_not_rounded_to_the_precision_of_the_logits(dtype):
    scores, label, confidence = random_batch()
    loss = build(confidence, gamma1=1.7, gamma2=2.3, class_weight=[0.1, 1.7, 2.3, 4.9, 7.7])
    assert loss(scores.to(dtype), label).item() == loss(scores.to(dtype).float(), label).item()


# The first four of the five pixels above, as images.
IMAGE_LABEL = torch.tensor([0, 0, 0, 0])
IMAGE_CONFIDENCE = torch.tensor([2.0, 0.7, 0.9, 0.6])
# cases: human, agreement, the teacher wins, the student wins; gamma1 = 2, gamma2 = 1
IMAGE_WEIGHTS = [1, 0.8**2, 0.25, 0]


def image_logits():
    return torch.tensor(PROBABILITY[:4]).log().requires_grad_()


def random_images(number=12, num_classes=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(number, num_classes, generator=generator) * 3
    label = torch.randint(0, num_classes, (number,), generator=generator)
    return scores, label, torch.rand(number, generator=generator)


@pytest.mark.parametrize(('avg_factor', 'divisor'), [(None, 4), (4, 4), (8, 8), (2.5, 2.5)])
def test_images_by_hand(avg_factor, divisor):
    scores = image_logits()
    loss = build(IMAGE_CONFIDENCE, gamma1=2.0, gamma2=1.0)
    value = loss(scores, IMAGE_LABEL, avg_factor=avg_factor)
    terms = [weight * ce for weight, ce in zip(IMAGE_WEIGHTS, CROSS_ENTROPY, strict=True)]
    assert value.item() == pytest.approx(sum(terms) / divisor, rel=1e-5)
    assert figures(loss.statistics) == pytest.approx([2 / 3, 1 / 3, (0.64 + 0.25) / 3])
    value.backward()
    # of weight * cross-entropy, with the weight detached: weight * (p - y) / divisor
    expected = [[weight * (p[0] - 1), weight * p[1]] for weight, p in zip(IMAGE_WEIGHTS, PROBABILITY, strict=False)]
    torch.testing.assert_close(scores.grad, torch.tensor(expected) / divisor)


@pytest.mark.parametrize('soft', [False, True])
@pytest.mark.parametrize('reduction', ['sum', 'none'])
def test_avg_factor_divides_the_mean_only(reduction, soft):
    scores, label, confidence = random_images()
    label = F.one_hot(label, 5).float() if soft else label
    value = build(confidence)(scores, label, reduction_override=reduction, avg_factor=7)
    torch.testing.assert_close(value, build(confidence)(scores, label, reduction_override=reduction))


@pytest.mark.parametrize('class_weight', [None, [0.5, 1.0, 2.0, 0.0, 3.0]])
@pytest.mark.parametrize('avg_factor', [12, 5.0])
def test_avg_factor_divides_the_sum_of_pixels_and_images(class_weight, avg_factor):
    for scores, label, confidence in (random_images(), random_batch()):
        loss = build(confidence, class_weight=class_weight, gamma1=2.0, gamma2=1.0, loss_weight=0.5)
        total = loss(scores, label, reduction_override='sum')
        torch.testing.assert_close(loss(scores, label, avg_factor=avg_factor), total / avg_factor)


@pytest.mark.parametrize('class_weight', [None, [0.5, 1.0, 2.0, 0.0, 3.0]])
@pytest.mark.parametrize('reduction', ['mean', 'sum', 'none'])
def test_images_without_confidence_have_cross_entropy(class_weight, reduction):
    scores, label, _ = random_images()
    weight = None if class_weight is None else torch.tensor(class_weight)
    expected = F.cross_entropy(scores, label, weight=weight, reduction=reduction)
    loss = build(None, class_weight=class_weight)
    torch.testing.assert_close(loss(scores, label, reduction_override=reduction), expected)


def test_class_255_of_images_is_a_class_and_of_pixels_none():
    scores = torch.randn(3, 300, generator=torch.Generator().manual_seed(1))
    label = torch.tensor([255, 299, 0])
    single = F.cross_entropy(scores, label, reduction='none')
    assert build(None)(scores, label).item() == pytest.approx(single.mean().item(), rel=1e-5)
    pixels = build(None)(scores.T[None, :, None], label[None, None])
    assert pixels.item() == pytest.approx((single[1] + single[2]).item() / 2, rel=1e-5)
    given = build(None)(scores, label, ignore_index=255)
    assert given.item() == pytest.approx(pixels.item(), rel=1e-5)


def test_class_255_of_images_is_weighted_and_counted():
    scores = torch.zeros(2, 300)
    scores[:, 255] = 8.0
    label, confidence = torch.tensor([255, 7]), torch.tensor([0.9, 0.9])
    top = math.exp(8) / (math.exp(8) + 299)
    loss = build(confidence, gamma1=2.0, gamma2=2.0)
    value = loss(scores, label)
    assert value.item() == pytest.approx(-(top**2) * math.log(top) / 2, rel=1e-4)  # the student wins the other image
    assert figures(loss.statistics) == pytest.approx([0.5, 0.5, top**2 / 2])
    decision = loss.weigh(scores, label, confidence)
    assert decision.weight.tolist() == pytest.approx([top**2, 0])
    assert figures(Statistics.of(decision)) == pytest.approx([0.5, 0.5, top**2 / 2])


def soft_labels(seed=3):
    return torch.randn(12, 5, generator=torch.Generator().manual_seed(seed)).softmax(1)


@pytest.mark.parametrize('class_weight', [None, [0.5, 1.0, 2.0, 0.0, 3.0]])
@pytest.mark.parametrize('reduction', ['mean', 'sum', 'none'])
def test_soft_labels_have_cross_entropy(class_weight, reduction):
    scores, target = random_images()[0], soft_labels()
    weight = None if class_weight is None else torch.tensor(class_weight)
    expected = F.cross_entropy(scores, target, weight=weight, reduction=reduction)
    loss = build(None, class_weight=class_weight, loss_weight=0.5)
    torch.testing.assert_close(loss(scores, target, reduction_override=reduction), 0.5 * expected)
    assert loss.statistics is None


@pytest.mark.parametrize(('avg_factor', 'divisor'), [(None, 2), (2, 2), (10, 10)])
def test_soft_labels_by_hand(avg_factor, divisor):
    """Targets that mixup has weighted already: their sums are below 1, and N is the number of images still."""
    scores = torch.tensor([[0.75, 0.25], [0.5, 0.5]]).log()
    target = torch.tensor([[0.09375, 0.03125], [0, 0.625]])
    first, second = -0.09375 * math.log(0.75) - 0.03125 * math.log(0.25), -0.625 * math.log(0.5)
    value = build(None)(scores, target, avg_factor=avg_factor)
    assert value.item() == pytest.approx((first + second) / divisor, rel=1e-5)
    weighted = build(None, class_weight=[2, 4])(scores, target, avg_factor=avg_factor)
    by_class = -2 * 0.09375 * math.log(0.75) - 4 * 0.03125 * math.log(0.25) + 4 * second
    assert weighted.item() == pytest.approx(by_class / divisor, rel=1e-5)
    sampled = build(None)(scores, target, weight=torch.tensor([3.0, 0.0]), avg_factor=avg_factor)
    assert sampled.item() == pytest.approx(3 * first / divisor, rel=1e-5)


def test_one_hot_labels_cost_what_their_classes_do():
    scores, label, _ = random_images()
    torch.testing.assert_close(build(None)(scores, F.one_hot(label, 5).float()), build(None)(scores, label))


def test_soft_labels_are_not_weighted_again():
    scores, _, confidence = random_images()
    loss = build(confidence, gamma1=3.0, gamma2=3.0)
    torch.testing.assert_close(loss(scores, soft_labels()), build(None)(scores, soft_labels()))
    assert loss.statistics is None


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_soft_labels_in_mixed_precision_are_computed_in_float32(dtype):
    scores, target = random_images()[0].to(dtype), soft_labels().to(dtype)
    value = build(None)(scores, target)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, F.cross_entropy(scores.float(), target.float()))


@pytest.mark.parametrize(
    ('kwargs', 'weights', 'label'),
    [
        ({'gamma1': 2.0, 'gamma2': 1.0}, IMAGE_WEIGHTS, [0, 0, 0, 0]),
        ({'gamma1': 2.0, 'gamma2': 2.0, 'variant': 'naive'}, [1, 0.8**2, 0.25**2, 0.25**2], [0, 0, 0, 0]),
        ({'gamma1': 2.0, 'gamma2': 1.0, 'variant': 'flip'}, [1, 0.8**2, 0.25, 0.4], [0, 0, 0, 1]),
    ],
)
def test_weigh_by_hand(kwargs, weights, label):
    loss = build(None, **kwargs)
    result = loss.weigh(image_logits(), IMAGE_LABEL, IMAGE_CONFIDENCE)
    assert result.weight.tolist() == pytest.approx(weights)
    assert result.label.tolist() == label
    assert not result.weight.requires_grad
    assert figures(Statistics.of(result)) == pytest.approx([2 / 3, 1 / 3, sum(weights[1:]) / 3])
    assert not any(figure.requires_grad for figure in Statistics.of(result))
    assert loss.statistics is None


def test_weigh_without_any_exponent_has_no_case_of_weight_0():
    decision = build(None, gamma1=0.0, gamma2=0.0).weigh(image_logits(), IMAGE_LABEL, IMAGE_CONFIDENCE)
    assert decision.weight.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(('progress', 'scale'), RAMP)
def test_weigh_scales_both_gammas(progress, scale):
    loss = build(None, gamma1=2.0, gamma2=1.0, ramp=True)
    assert loss.weigh(image_logits(), IMAGE_LABEL, IMAGE_CONFIDENCE).weight.tolist() == pytest.approx(IMAGE_WEIGHTS)
    loss.set_progress(0.9)  # of the phase before
    loss.set_progress(progress)
    weights = loss.weigh(image_logits(), IMAGE_LABEL, IMAGE_CONFIDENCE).weight
    assert weights.tolist() == pytest.approx([1, 0.8 ** (2 * scale), 0.25**scale, 0])


def test_loss_of_weighed_soft_labels_is_the_loss_of_hard_labels_with_confidence():
    scores, label, confidence = random_images()
    confidence[:4] = 2.0
    hard, soft = build(confidence, gamma1=2.0, gamma2=1.0), build(None, gamma1=2.0, gamma2=1.0)
    result = soft.weigh(scores, label, confidence)
    target = F.one_hot(result.label, 5) * result.weight[:, None]
    torch.testing.assert_close(soft(scores, target), hard(scores, label))
    for one, other in zip(Statistics.of(result), hard.statistics, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ('gamma1', 'gamma2', 'weighs'), [(0.0, 0.0, False), (0.0, 1.0, True), (1.0, 0.0, True), (5.0, 5.0, True)]
)
def test_weighs_where_a_gamma_is_not_zero(gamma1, gamma2, weighs):
    loss = build(None, gamma1=gamma1, gamma2=gamma2, ramp=True)
    assert loss.weighs is weighs
    loss.set_progress(0.0)
    assert loss.weighs is weighs


def cls_head(loss, **kwargs):
    torch.manual_seed(0)
    return LinearClsHead(num_classes=5, in_channels=8, loss=loss, **kwargs)


def cls_samples(label, soft=None):
    samples = [DataSample().set_gt_label(int(one)) for one in label]
    if soft is not None:
        for sample, target in zip(samples, soft, strict=True):
            sample.set_gt_score(target)
    return samples


FEATURES = torch.randn(12, 8, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize('soft', [None, soft_labels()])
@pytest.mark.parametrize(
    'kwargs', [{}, {'class_weight': [0.5, 1.0, 2.0, 0.0, 3.0]}, {'loss_weight': 0.3}], ids=['plain', 'class', 'scaled']
)
def test_stock_classification_head_without_confidence(kwargs, soft):
    samples = cls_samples(random_images()[1], soft)
    own = cls_head({'type': 'DynamicMutualLoss', **kwargs}, cal_acc=soft is None)
    stock_loss = {'type': 'mmpretrain.CrossEntropyLoss', 'use_soft': soft is not None, **kwargs}
    stock = cls_head(stock_loss, cal_acc=soft is None)
    assert type(own.loss_module) is DynamicMutualLoss
    assert type(stock.loss_module) is not DynamicMutualLoss
    values, expected = own.loss((FEATURES,), samples), stock.loss((FEATURES,), samples)
    assert values.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(values[name], value)
    values['loss'].backward()
    expected['loss'].backward()
    torch.testing.assert_close(own.fc.weight.grad, stock.fc.weight.grad)


def test_stock_classification_head_with_confidence():
    _, label, confidence = random_images()
    confidence[::3] = 2.0
    head = cls_head({'type': 'DynamicMutualLoss', 'gamma1': 2.0, 'gamma2': 1.0})
    with teacher_confidence([('head LinearClsHead', head.loss_module)], confidence):
        value = head.loss((FEATURES,), cls_samples(label))['loss']
    total = 0.0
    for scores, own, teacher in zip(head((FEATURES,)).softmax(1).tolist(), label.tolist(), confidence, strict=True):
        student, probability = max(scores), scores[own]
        if teacher > 1:
            weight = 1.0
        elif probability == student:
            weight = probability**2
        else:
            weight = probability if teacher >= student else 0.0
        total -= weight * math.log(probability)
    assert value.item() == pytest.approx(total / 12, rel=1e-5)
    assert head.loss_module.statistics.disagree > 0
    assert head.loss_module.statistics.student_wins > 0


def test_confidence_of_another_batch_of_images_is_refused():
    loss = DynamicMutualLoss()
    with (
        teacher_confidence([('head LinearClsHead', loss)], IMAGE_CONFIDENCE),
        pytest.raises(ValueError, match=r'head LinearClsHead.*\(3,\).*\(4,\)'),
    ):
        loss(image_logits()[:3], IMAGE_LABEL[:3])


def shared_batch(pixels):
    """Four images of 3 classes; the last has no label at all, the others have 11, 6 and 1 of 12."""
    generator = torch.Generator().manual_seed(3)
    shape = (4, 3, 4) if pixels else (4,)
    features = torch.randn(shape[0], 5, *shape[1:], generator=generator)
    label = torch.randint(0, 3, shape, generator=generator)
    for number, valid in enumerate((11, 6, 1, 0) if pixels else ()):
        label[number].view(-1)[valid:] = 255
    confidence = torch.rand(shape, generator=generator)
    return features, label, torch.where(confidence > 0.5, 2.0, confidence)


def share(batch, kwargs):
    """Loss of the part of a batch that this process has, and the gradient that all processes get."""
    number, rank = int(os.environ['WORLD_SIZE']), int(os.environ['RANK'])
    torch.distributed.init_process_group('gloo')
    features, label, confidence = (part[rank * 4 // number : (rank + 1) * 4 // number] for part in batch)
    torch.manual_seed(0)
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Conv2d(5, 3, 1) if label.ndim > 1 else
                                                      torch.nn.Linear(5, 3))  # fmt: skip
    loss = build(confidence, gamma1=2.0, gamma2=1.0, **kwargs)
    loss.whole_batch = True
    value = loss(model(features), label)
    value.backward()
    return value.item(), [parameter.grad.tolist() for parameter in model.parameters()]


@pytest.mark.parametrize('kwargs', [{}, {'class_weight': [0.5, 1.0, 3.0]}, {'variant': 'flip'}], ids=str)
@pytest.mark.parametrize('pixels', [True, False])
def test_loss_of_a_batch_does_not_depend_on_the_number_of_processes(pixels, kwargs):
    """N is the number of valid pixels of the whole batch; a process without any gives 0, and takes part."""
    batch = shared_batch(pixels)
    ((whole, gradient),) = on_ranks(1, share, batch, kwargs)
    assert whole > 0.1
    for number in (2, 4):
        found = on_ranks(number, share, batch, kwargs)
        assert sum(value for value, _ in found) / number == pytest.approx(whole, rel=1e-6)
        for _, shared in found:
            for part, expected in zip(shared, gradient, strict=True):
                torch.testing.assert_close(torch.tensor(part), torch.tensor(expected), rtol=1e-5, atol=1e-7)
    if pixels:
        assert found[-1][0] == 0


def no_labels(batch):
    features, label, confidence = batch
    return share((features, torch.full_like(label, 255), confidence), {})


def test_batch_without_any_label_on_two_processes():
    for value, gradient in on_ranks(2, no_labels, shared_batch(pixels=True)):
        assert value == 0
        assert not any(torch.tensor(part).any() for part in gradient)


def test_mean_of_one_process_is_its_own():
    """Without a phase, such as for an analysis, other processes are not asked."""
    loss = build(None)
    assert not loss.whole_batch
    scores, label, _ = random_batch()
    alone = loss(scores, label)
    loss.whole_batch = True
    assert torch.equal(loss(scores, label), alone)


def test_class_weights_of_a_file(tmp_path, monkeypatch):
    """As mmseg's losses read them."""
    monkeypatch.chdir(tmp_path)
    Path('w.json').write_text('[3, 2.5, 1]')
    np.save('w.npy', np.array([3, 2.5, 1], np.float32))
    for given in ('w.json', 'w.npy', (3, 2.5, 1), np.array([3, 2.5, 1]), torch.tensor([3, 2.5, 1])):
        assert DynamicMutualLoss(class_weight=given).class_weight == [3, 2.5, 1]


@pytest.mark.parametrize('content', ['3', '{"a": 1}', 'null', '"abc"'])
def test_files_that_hold_no_class_weights(tmp_path, content):
    path = tmp_path / 'w.json'
    path.write_text(content)
    with pytest.raises(ValueError, match=rf"class_weight must be a list of numbers, or a \.json .* got '{path}'$"):
        DynamicMutualLoss(class_weight=str(path))


@pytest.mark.parametrize('given', [5, {}, dict(a=1), '', 'w.pkl', 'gone.json', [[1.0]], [1.0, 'a'], [True]])
def test_class_weights_that_are_none(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    Path('w.pkl').write_text('[1]')
    with pytest.raises(ValueError, match=r'Loss: class_weight .*(must be a|must hold finite|cannot be read)'):
        DynamicMutualLoss(class_weight=given)


@pytest.mark.parametrize(
    ('name', 'content'), [('w.json', b'[1, 2'), ('w.npy', b'[1, 2'), ('w.npy', b''), ('w.npy', b'PK\x03\x04')]
)
def test_files_of_class_weights_that_are_damaged(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"^DynamicMutualLoss: class_weight '{tmp_path / name}' cannot be read: "):
        DynamicMutualLoss(class_weight=str(tmp_path / name))
