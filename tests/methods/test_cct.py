import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmdmt.methods import cct
from mmdmt.methods.cct import PERTURBATIONS
from tests.methods.conftest import SEGMENTOR, moved_by, sharpened, total

# At twice the size of the features: a region of the first image, nothing of the second one, all of the third one.
FOREGROUND = torch.zeros(3, 40, 48, dtype=torch.bool)
FOREGROUND[0, 10:30, 20:40] = FOREGROUND[2] = True


@pytest.fixture
def method(build):
    method = build('CCT', SEGMENTOR, weight=3.0, ramp=0.5)
    sharpened(method.student, 1.0)
    return method


def test_loss_by_hand(method, views, monkeypatch):
    """With perturbations that multiply the features by 2, 3, ..."""
    factors = {name: float(index + 2) for index, name in enumerate(PERTURBATIONS)}
    changed = {name: lambda features, *_, factor=factor: features * factor for name, factor in factors.items()}
    monkeypatch.setattr(cct, 'PERTURBATIONS', changed)
    method.eval()
    batch = views(method, 'pixels', padding=(0, 3, 0, 2))
    images, head = batch['weak'].images, method.student.decode_head
    main = method.logits(method.student, images).double().softmax(1)
    features = head._forward_feature(method.student.extract_feat(images))
    total_difference = 0.0
    for name, decoder in zip(method.perturbations, method.decoders, strict=True):
        logits = F.interpolate(decoder(features * factors[name]), images.shape[2:], mode='bilinear')
        difference = (logits.double().softmax(1) - main).square().mean(1)
        total_difference += difference[batch['weak'].valid].mean().item()
    method.set_progress(0.25)
    expected = 3 * math.exp(-5 * 0.25) * total_difference / 7
    assert len(method.decoders) == 7
    assert method.loss(**batch)['loss_consistency'].item() == pytest.approx(expected, rel=1e-5)


def test_unlabeled_loss_moves_decoders_and_features_but_not_the_main_decoder(method, views):
    assert moved_by(method, method.loss(**views(method, 'pixels'))['loss_consistency']) == {'student', 'decoders'}
    assert method.student.decode_head.conv_seg.weight.grad is None
    assert method.student.backbone.conv1.weight.grad.abs().sum() > 0
    assert 'cls_seg' not in vars(method.student.decode_head)


@pytest.fixture
def features():
    return torch.rand(3, 20, 5, 6)


@pytest.fixture
def decoder():
    return nn.Conv2d(20, 4, 1)


def test_dropout_is_by_channel(features, decoder):
    ratio = PERTURBATIONS['dropout'](features, decoder, FOREGROUND) / features
    assert set(ratio.round(decimals=4).unique().tolist()) == {0.0, 2.0}
    assert torch.equal(ratio.amax((2, 3)) > 1, ratio.amin((2, 3)) > 1)


def test_the_strongest_positions_are_dropped(features, decoder):
    features[:, :, 1, 2] += 2  # the largest channel mean of each image
    changed = PERTURBATIONS['feature_drop'](features, decoder, FOREGROUND)
    means = features.mean(1)
    dropped = (changed == 0).all(1)
    assert dropped[:, 1, 2].all()
    assert (means[dropped] >= 0.7 * means.max()).all() or dropped.sum() == 3
    assert (means[~dropped] < 0.9 * means.amax((1, 2)).max()).all()
    assert torch.equal(changed[~dropped[:, None].expand_as(changed)], features[~dropped[:, None].expand_as(features)])


def test_noise_is_one_tensor_for_the_batch(features, decoder):
    noise = PERTURBATIONS['feature_noise'](features, decoder, FOREGROUND) / features - 1
    torch.testing.assert_close(noise[0], noise[1], rtol=0, atol=1e-4)
    assert noise.abs().max() <= 0.3 + 1e-4
    assert noise.std() > 0.1


def test_the_adversarial_direction_changes_the_output_more_than_random_ones(features, decoder):
    with torch.no_grad():
        decoder.weight.mul_(3)

    def change(direction):
        moved = decoder(features + direction).log_softmax(1)
        reference = decoder(features).log_softmax(1)
        return (reference.exp() * (reference - moved)).sum((1, 2, 3))

    direction = PERTURBATIONS['adversarial'](features, decoder, FOREGROUND) - features
    torch.testing.assert_close(direction.flatten(1).norm(dim=1), torch.full((3,), 2.0), rtol=1e-4, atol=1e-4)
    for _ in range(5):
        other = torch.randn_like(features)
        other = 2 * other / other.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        assert (change(direction) > change(other)).all()
    assert decoder.weight.grad is None


def test_masks_keep_the_foreground_or_the_background(decoder):
    features = torch.rand(3, 20, 20, 24) + 0.1
    small = FOREGROUND[:, None, ::2, ::2]
    context, objects = (PERTURBATIONS[name](features, decoder, FOREGROUND) for name in ('context_mask', 'object_mask'))
    assert torch.equal(context, features * small) and torch.equal(objects, features * ~small)


def test_a_box_is_cut_out_of_each_large_region(decoder):
    features = torch.ones(3, 20, 20, 24)
    foreground = FOREGROUND.clone()
    foreground[0, 34:39, 2:7] = True  # a contour of 16 pixels
    for _ in range(5):
        dropped = PERTURBATIONS['guided_cutout'](features, decoder, foreground) == 0
        assert torch.equal(dropped.any(1), dropped.all(1))  # all channels
        rows, columns = (dropped[0, 0].any(side) for side in (1, 0))
        assert (rows.sum(), columns.sum(), dropped[0, 0].sum()) == (4, 4, 16)  # 0.4 of 20 x 20 pixels, at half the size
        assert dropped[0, 0, 5:15, 10:20].sum() == 16
        assert not dropped[1].any()
        assert dropped[2, 0].sum() in (8 * 10, 8 * 9)  # 16 x 19 of 40 x 48


def test_the_foreground_is_what_the_main_decoder_predicts(build, views, monkeypatch):
    seen = {}
    monkeypatch.setitem(PERTURBATIONS, 'object_mask', lambda features, _, mask: seen.update(mask=mask) or features)
    method = build('CCT', SEGMENTOR, decoders=dict(object_mask=1), background=1).eval()
    batch = views(method, 'pixels')
    with torch.no_grad():
        sharpened(method.student, 1.0).decode_head.conv_seg.bias.sub_(
            method.logits(method.student, batch['weak']).mean((0, 2, 3))
        )
    method.loss(**batch)
    foreground = method.logits(method.student, batch['weak']).argmax(1) != 1
    assert torch.equal(seen['mask'], foreground)
    assert 0 < foreground.float().mean() < 1


def test_all_perturbations_of_the_paper(build, views):
    decoders = dict.fromkeys(PERTURBATIONS, 1)
    method = build('CCT', SEGMENTOR, decoders=decoders, background=0)
    assert moved_by(method, method.loss(**views(method, 'pixels'))['loss_consistency']) == {'student', 'decoders'}


def test_bfloat16(method, views):
    with torch.autocast('cpu', torch.bfloat16):
        losses = method.loss(**views(method, 'pixels'))
    assert losses['loss_consistency'].dtype == torch.float32
    assert total(losses).isfinite()


def test_a_stock_checkpoint_leaves_the_decoders(method, build):
    before = method.decoders[0].weight.clone()
    stock = build(None, SEGMENTOR)
    method.load_state_dict(stock.state_dict())  # strictly
    assert torch.equal(method.decoders[0].weight, before)
    assert torch.equal(method.student.decode_head.conv_seg.weight, stock.decode_head.conv_seg.weight)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(decoders=dict(cutout=1)), 'must be a dict of'),
        (dict(decoders=dict(dropout=0)), 'must be whole numbers from 0, one above 0'),
        (dict(weight=-1.0), 'CCT: weight=-1.0 must be at least 0'),
        (dict(decoders=dict(object_mask=1)), 'CCT: background=None must be a class for object_mask'),
        (dict(background=3), r'CCT: background=3 must be a class of range\(0, 3\), or None'),
        (dict(ramp=2.0), r'CCT: ramp=2.0 must be in \[0, 1\]'),
    ],
)
def test_arguments_outside_their_range(build, arguments, message):
    with pytest.raises(ValueError, match=message):
        build('CCT', SEGMENTOR, **arguments)


def test_a_head_without_last_convolution(build):
    head = dict(type='DeepLabV2Head', in_channels=16, in_index=1, num_classes=3)
    with pytest.raises(ValueError, match='CCT: head DeepLabV2Head has no last convolution'):
        build('CCT', dict(SEGMENTOR, decode_head=head))
