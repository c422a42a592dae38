import pytest
import torch

from mmdmt.methods import cutmix_seg
from tests.methods.conftest import SEGMENTOR, SIZE, moved_by, padded_apart, sharpened

BOX = (slice(2, 8), slice(3, 11))


@pytest.fixture
def method(build, monkeypatch):
    """A method with the same box in each image, and networks that differ."""
    mask = torch.zeros(1, *SIZE, dtype=torch.bool)
    mask[:, BOX[0], BOX[1]] = True
    seen = []

    def draw(number, height, width):
        seen.append((number, height, width))
        return mask.expand(number, -1, -1)

    monkeypatch.setattr(cutmix_seg, 'draw_boxes', draw)

    def make(**arguments):
        method = build('CutMixSeg', SEGMENTOR, **{'threshold': 0.5, 'weight': 3.0, **arguments})
        sharpened(method.student, 1.0)
        sharpened(method.teacher, 1.0)
        return method

    return make


@pytest.mark.parametrize('by_pixel', [False, True])
def test_loss_by_hand(method, views, by_pixel):
    method = method(by_pixel=by_pixel)
    batch = views(method, 'pixels', 3)
    valid = padded_apart(batch['weak']).valid
    method.student.eval()
    images = batch['weak'].images
    mixed = images.clone()
    with torch.no_grad():
        logits = method.logits(method.teacher, images).double()
    target = logits.clone()
    for n in range(3):
        mixed[n, :, BOX[0], BOX[1]] = images[n - 1, :, BOX[0], BOX[1]]
        target[n, :, BOX[0], BOX[1]] = logits[n - 1, :, BOX[0], BOX[1]]
    target = target.softmax(1)
    found = method.logits(method.student, mixed).double().softmax(1)
    loss, sure, number = 0.0, 0, 3 * SIZE[0] * SIZE[1]
    for n in range(3):
        for y in range(SIZE[0]):
            for x in range(SIZE[1]):
                confident = bool(target[n, :, y, x].max() >= 0.5)
                sure += confident
                boxed = BOX[0].start <= y < BOX[0].stop and BOX[1].start <= x < BOX[1].stop
                if valid[n - boxed, y, x] and (confident or not by_pixel):
                    loss += (target[n, :, y, x] - found[n, :, y, x]).square().sum().item()
    expected = 3 * loss / number * (1 if by_pixel else sure / number)
    losses = method.loss(**batch)
    assert losses['loss_consistency'].item() == pytest.approx(expected, rel=1e-5)
    assert losses['sure'].item() == pytest.approx(sure / number)
    assert 0 < sure < number and len(valid.float().mean((1, 2)).unique()) == 3


def test_unlabeled_loss_moves_the_student_only(method, views):
    method = method(threshold=0.0)
    assert moved_by(method, method.loss(**views(method, 'pixels'))['loss_consistency']) == {'student'}


def test_the_teacher_is_in_evaluation_mode_and_its_statistics_are_averages(method, views):
    method = method()
    before = method.teacher.backbone.bn1.running_mean.clone()
    method.loss(**views(method, 'pixels'))
    assert torch.equal(method.teacher.backbone.bn1.running_mean, before)
    method.after_step()
    student = method.student.backbone.bn1.running_mean
    torch.testing.assert_close(method.teacher.backbone.bn1.running_mean, 0.99 * before + 0.01 * student)


def test_bfloat16(method, views):
    method = method(threshold=0.0)
    with torch.autocast('cpu', torch.bfloat16):
        losses = method.loss(**views(method, 'pixels'))
    assert losses['loss_consistency'].dtype == torch.float32
    assert moved_by(method, losses['loss_consistency']) == {'student'}


def test_one_unlabeled_image(method, views):
    method = method()
    with pytest.raises(ValueError, match='unlabeled_per_batch must be at least 2, got 1'):
        method.loss(**views(method, 'pixels', 1))


@pytest.mark.parametrize('argument', [dict(threshold=1.1), dict(weight=-1.0), dict(teacher_momentum=0.0)])
def test_arguments_outside_their_range(build, argument):
    ((name, value),) = argument.items()
    with pytest.raises(ValueError, match=rf'^CutMixSeg: {name}={value} must be '):
        build('CutMixSeg', SEGMENTOR, **argument)
