import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from torch.nn import functional as F

from mmdmt.losses.dynamic_mutual_loss import DynamicMutualLoss

# Five pixels, two classes. In order: human; both agree; teacher wins; student wins; ignored.
PROBABILITY = [[0.5, 0.5], [0.8, 0.2], [0.25, 0.75], [0.25, 0.75], [0.9, 0.1]]
LABEL = torch.tensor([[[0, 0, 0, 0, 255]]])
CONFIDENCE = torch.tensor([[[2.0, 0.7, 0.9, 0.6, 0.9]]])
CROSS_ENTROPY = [-math.log(p) for p in (0.5, 0.8, 0.25, 0.25)]


def logits():
    return torch.tensor(PROBABILITY).log().T[None, :, None].clone().requires_grad_()


def build(confidence=CONFIDENCE, **kwargs):
    loss = MODELS.build({'type': 'DynamicMutualLoss', **kwargs})
    loss.confidence = confidence
    return loss


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
    assert [float(value) for value in loss.statistics] == pytest.approx([2 / 3, 1 / 3, sum(weights[1:]) / 3])
    assert loss.statistics._fields == ('disagree', 'student_wins', 'mean_weight')
    value.backward()
    assert not any(value.requires_grad for value in loss.statistics)


@pytest.mark.parametrize('confidence', [torch.full((1, 1, 5), 2.0), torch.tensor([[[2.0, 2, 2, 2, 0.5]]])])
def test_statistics_of_a_batch_without_pseudo_labels_are_zero(confidence):
    loss = build(confidence)
    assert loss(logits(), LABEL).item() == pytest.approx(sum(CROSS_ENTROPY) / 4)
    assert [float(value) for value in loss.statistics] == [0, 0, 0]


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


@pytest.mark.parametrize('ignore_index', [0, 3])
def test_ignore_index(ignore_index):
    scores, label, _ = random_batch()
    label[label == 255] = 1
    expected = F.cross_entropy(scores, label, ignore_index=ignore_index)
    torch.testing.assert_close(build(None)(scores, label, ignore_index=ignore_index), expected)


def test_ignore_index_of_a_head_that_gives_none_is_255():
    value = build()(logits(), LABEL, ignore_index=None)
    torch.testing.assert_close(value, build()(logits(), LABEL))


@pytest.mark.parametrize('scale', [0.0, 0.3, 1.0])
def test_gamma_scale_is_a_factor_of_both_gammas(scale):
    scores, label, confidence = random_batch()
    ramped = build(confidence, gamma1=4.0, gamma2=3.0)
    assert ramped.gamma_scale == 1.0
    ramped.gamma_scale = scale
    scaled = build(confidence, gamma1=4.0 * scale, gamma2=3.0 * scale)
    torch.testing.assert_close(ramped(scores, label), scaled(scores, label))
    if scale < 1:
        assert ramped(scores, label) > build(confidence, gamma1=4.0, gamma2=3.0)(scores, label)


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
    ohem.loss_decode.confidence = confidence
    samples = [SimpleNamespace(gt_sem_seg=SimpleNamespace(data=one[None])) for one in label]
    value = ohem.loss((features,), samples, None)['loss_dmt']

    reference = build(confidence, gamma1=1.0, gamma2=1.0)
    single = reference(ohem((features,)), label, reduction_override='none').flatten()
    hardest = sorted(single.tolist(), reverse=True)[: 2 * 7]
    assert value.item() == pytest.approx(sum(hardest) / int((label != 255).sum()), rel=1e-5)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'gamma1': -1.0}, 'gamma1=-1.0'),
        ({'gamma2': -0.5}, 'gamma2=-0.5'),
        ({'gamma1': math.nan}, 'gamma1=nan'),
        ({'gamma2': math.inf}, 'gamma2=inf'),
        ({'variant': 'DMT'}, "variant='DMT' is not one of"),
        ({'variant': 'naive', 'gamma1': 1.0, 'gamma2': 2.0}, 'gamma1=1.0, gamma2=2.0'),
        ({'loss_name': 'dmt'}, "loss_name='dmt' must start with loss_"),
    ],
)
def test_bad_arguments_are_refused_at_once(kwargs, message):
    with pytest.raises(ValueError, match=message):
        DynamicMutualLoss(**kwargs)


def test_labels_of_another_shape_are_refused_and_the_head_named():
    loss = build()
    loss.owner = 'decode_head[1] SomeHead'
    with pytest.raises(ValueError, match=r'decode_head\[1\] SomeHead.*\(1, 1, 3\).*\(1, 1, 5\)'):
        loss(logits()[..., :3], LABEL[..., :3])
    with pytest.raises(ValueError, match='class_weight'):
        build(class_weight=[1.0, 2.0, 3.0])(logits(), LABEL)


def test_repr_shows_what_defines_the_loss():
    assert "gamma1=5.0, gamma2=3.0, variant='flip'" in repr(build(gamma2=3.0, variant='flip'))


def test_has_no_state():
    assert not build().state_dict()


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
