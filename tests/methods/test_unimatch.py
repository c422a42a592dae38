import pytest
import torch

from mmdmt.methods import unimatch
from mmdmt.methods.unimatch import _complementary, _drop
from tests.methods.conftest import SEGMENTOR, SIZE, moved_by, padded_apart, sharpened, total

THRESHOLD = 0.5
MASKS = torch.zeros(2, 3, *SIZE, dtype=torch.bool)
MASKS[0, 0, 2:7, 1:9] = True
MASKS[1, 1:, :5, 4:] = True
VERSIONS = {
    'fixmatch': dict(strong_views=1, feature_dropout='none'),
    'v1': dict(),
    'v2': dict(feature_dropout='complementary', teacher='average'),
}


@pytest.fixture
def make(build, monkeypatch):
    """``make(**arguments)``: a method in evaluation mode, with the same boxes in each step and networks that differ."""
    boxes = []

    def draw(number, height, width, prob):
        assert (number, height, width, prob) == (3, *SIZE, 0.5)
        boxes.append(MASKS[len(boxes) % 2])
        return boxes[-1]

    monkeypatch.setattr(unimatch, 'draw_small_boxes', draw)

    def make(**arguments):
        method = build('UniMatch', SEGMENTOR, threshold=THRESHOLD, **arguments)
        sharpened(method.student, 1.0)
        if method.teacher is not None:
            sharpened(method.teacher, 1.0)
        return method.eval()

    return make


def by_hand(logits, labeling, mask, valid):
    """Loss of strong logits [3, C, H, W] on the labels of the weak view, pixel by pixel."""
    probability, log_prob = labeling.double().softmax(1), logits.double().log_softmax(1)
    loss, number = 0.0, 0
    for n in range(3):
        for y in range(SIZE[0]):
            for x in range(SIZE[1]):
                source = n - 1 if mask is not None and mask[n, y, x] else n
                pixel = probability[source, :, y, x]
                if valid[source, y, x]:
                    number += 1
                    if pixel.max() >= THRESHOLD:
                        loss -= log_prob[n, pixel.argmax(), y, x].item()
    return loss / number


@pytest.mark.parametrize('version', VERSIONS)
def test_loss_by_hand(make, views, monkeypatch, version):
    """In evaluation mode, and with feature dropout made one that doubles all features."""
    monkeypatch.setattr(unimatch, '_drop', lambda features: features * 2)
    monkeypatch.setattr(unimatch, '_complementary', lambda number: lambda features: features * 3)
    method = make(**VERSIONS[version])
    batch = views(method, 'pixels', 3)
    labeling = method.frozen_logits(method.teacher or method.student, batch['weak'])
    valid, strong = padded_apart(batch['weak']).valid, []
    for index, name in enumerate(method.views[2:]):
        images = batch[name].images
        images = torch.where(MASKS[index][:, None], images[[2, 0, 1]], images)
        logits = method.logits(method.student, images)
        if version == 'v2':
            features = [values * 3 for values in method.student.extract_feat(images)]
            logits = method.student.decode_head.predict(features, [dict(img_shape=images.shape[2:])], {})
        strong.append(by_hand(logits, labeling, MASKS[index], valid))
    losses = method.loss(**batch)
    share = 0.25 if version == 'v1' else 0.5
    assert len(strong) == (1 if version == 'fixmatch' else 2)
    assert losses['loss_strong'].item() == pytest.approx(share * sum(strong) / len(strong), rel=1e-5)
    if version == 'v1':
        features = [values * 2 for values in method.student.extract_feat(batch['weak'].images)]
        logits = method.student.decode_head.predict(features, [dict(img_shape=batch['weak'].images.shape[2:])], {})
        assert losses['loss_dropped'].item() == pytest.approx(0.25 * by_hand(logits, labeling, None, valid), rel=1e-5)
    else:
        assert 'loss_dropped' not in losses
    labeled = total(losses) - sum(losses[key] for key in ('loss_strong', 'loss_dropped') if key in losses)
    assert labeled.item() == pytest.approx(total(method.student.loss(*batch['labeled'])).item() / 2, rel=1e-5)


@pytest.mark.parametrize('version', VERSIONS)
@pytest.mark.parametrize('name', ['loss_strong', 'loss_dropped'])
def test_unlabeled_losses_move_the_student_only(make, views, version, name):
    method = make(**VERSIONS[version]).train()
    losses = method.loss(**views(method, 'pixels', 3))
    if name in losses:
        assert moved_by(method, losses[name]) == {'student'}
    else:
        assert version != 'v1'


@pytest.mark.parametrize('version', VERSIONS)
def test_bfloat16(make, views, version):
    method = make(**VERSIONS[version]).train()
    with torch.autocast('cpu', torch.bfloat16):
        losses = method.loss(**views(method, 'pixels', 3))
    assert losses['loss_strong'].dtype == torch.float32
    losses['loss_strong'].backward()
    assert all(weight.grad is not None for weight in method.student.parameters())


def test_a_box_brings_labels_of_the_student_in_evaluation_mode(make, views, monkeypatch):
    """The weak view's own labels are those of the training mode."""
    method = make(feature_dropout='none').train()
    modes = []
    original = method.logits
    monkeypatch.setattr(
        method, 'logits', lambda network, view: modes.append(network.training) or original(network, view)
    )
    method.loss(**views(method, 'pixels', 3))
    assert modes == [False, True, True]
    assert all(module.training for module in method.student.modules())


def test_half_of_the_channels_are_dropped_and_the_others_doubled():
    features = _drop(torch.ones(20, 50, 2, 3))
    assert set(features.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(features, features[:, :, :1, :1].expand_as(features))
    assert 0.9 < features.mean() < 1.1


def test_complementary_masks_of_two_views():
    change = _complementary(6)
    first, second = change(torch.ones(12, 40, 2, 2)).split(6)
    torch.testing.assert_close(first + second, torch.full_like(first, 2.0))
    untouched = [bool((image == 1).all()) for image in first]
    assert sum(untouched) == 3
    assert {
        value for image, same in zip(first, untouched, strict=True) if not same for value in image.unique().tolist()
    } == {0, 2}
    again = change(torch.ones(12, 40, 1, 1))
    assert torch.equal(again[:6, :, 0, 0], first[:, :, 0, 0])  # equal at all levels
    assert change(torch.ones(12, 8, 1, 1)).shape == (12, 8, 1, 1)


def test_views_by_version(make):
    assert make(**VERSIONS['fixmatch']).views == ('labeled', 'weak', 'strong')
    assert make().views == ('labeled', 'weak', 'strong', 'strong_again')


@pytest.mark.parametrize(
    'argument',
    [dict(threshold=1.5), dict(strong_views=3), dict(feature_dropout='all'), dict(teacher='none'), dict(box_prob=2.0)],
)
def test_arguments_outside_their_range(build, argument):
    ((name, value),) = argument.items()
    with pytest.raises(ValueError, match=rf'^UniMatch: {name}={value!r} must be '):
        build('UniMatch', SEGMENTOR, **argument)


def test_complementary_dropout_needs_two_views(build):
    with pytest.raises(ValueError, match='UniMatch: strong_views=1 must be 2 for complementary'):
        build('UniMatch', SEGMENTOR, strong_views=1, feature_dropout='complementary')
