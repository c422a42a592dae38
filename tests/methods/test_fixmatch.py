import math

import pytest
import torch

from mmdmt.methods.base import View
from tests.methods.conftest import SEGMENTOR, STOCK, moved_by, sharpened, total


def by_hand(weak, strong, threshold, valid):
    """Loss on unlabeled images of logits [N, C, ...], value by value in float64."""
    loss = 0.0
    weak, strong = (logits.detach().double().movedim(1, -1).reshape(-1, 3).tolist() for logits in (weak, strong))
    for first, second, inside in zip(weak, strong, valid.flatten().tolist(), strict=True):
        powers = [math.exp(value) for value in first]
        label = powers.index(max(powers))
        if inside and max(powers) / sum(powers) >= threshold:
            loss += math.log(sum(math.exp(value) for value in second)) - second[label]
    return loss / valid.sum().item()


@pytest.mark.parametrize('task', STOCK)
def test_loss_by_hand(build, views, task):
    method = build('FixMatch', STOCK[task], labeled_weight=0.5, unlabeled_weight=2.0)
    sharpened(method.student, 1.0)
    batch = views(method, task, 4, **(dict(padding=(0, 3, 0, 2)) if task == 'pixels' else {}))
    # Fixed statistics: each view is then computed as if alone.
    method.student.eval()
    weak, strong = (method.logits(method.student, batch[name]) for name in ('weak', 'strong'))
    method.threshold = threshold = weak.softmax(1).amax(1).median().item() + 1e-4
    valid = batch['strong'].valid if task == 'pixels' else torch.ones(4)
    losses = method.loss(**batch)
    assert losses['loss_unlabeled'].item() == pytest.approx(2 * by_hand(weak, strong, threshold, valid), rel=1e-5)
    stock = total(method.student.loss(*batch['labeled']))
    assert (total(losses) - losses['loss_unlabeled']).item() == pytest.approx(stock.item() / 2, rel=1e-5)
    sure = weak.softmax(1).amax(1) >= threshold
    assert losses['sure'].item() == pytest.approx(sure.float().mean().item())
    assert 0 < sure.float().mean() < 1


@pytest.mark.parametrize('task', STOCK)
def test_unlabeled_loss_moves_the_student_only_and_by_the_strong_view_only(build, views, task):
    method = build('FixMatch', STOCK[task], threshold=0.0, teacher_momentum=0.99)
    batch = views(method, task)
    for name in ('weak', 'strong'):
        batch[name].images.requires_grad_()
    assert moved_by(method, method.loss(**batch)['loss_unlabeled']) == {'student'}
    assert batch['strong'].images.grad.abs().sum() > 0
    assert batch['weak'].images.grad is None


def test_a_student_that_is_sure_of_nothing_learns_from_labels_only(build, views):
    method = build('FixMatch', SEGMENTOR, threshold=1.0)
    losses = method.loss(**views(method, 'pixels'))
    assert (losses['loss_unlabeled'].item(), losses['sure'].item()) == (0, 0)
    assert moved_by(method, total(losses)) == {'student'}


@pytest.mark.parametrize('task', STOCK)
def test_bfloat16(build, views, task):
    method = build('FixMatch', STOCK[task], threshold=0.0)
    with torch.autocast('cpu', torch.bfloat16):
        losses = method.loss(**views(method, task))
    assert losses['loss_unlabeled'].dtype == torch.float32
    assert losses['loss_unlabeled'].isfinite()
    # All weights learn, although autocast has cast them first for the weak view.
    losses['loss_unlabeled'].backward()
    assert all(weight.grad is not None for weight in method.student.parameters())


def test_a_confident_student_learns_its_own_label(build, view):
    method = build('FixMatch', STOCK['images'], threshold=0.5)
    images = view('images', 8, True)
    sharpened(method.student)
    label = method.logits(method.student.eval(), images).argmax(1)
    batch = dict(labeled=images, weak=View(images.images, []), strong=View(images.images, []))
    method.loss(**batch)['loss_unlabeled'].backward()
    before = method.logits(method.student, images).log_softmax(1)[torch.arange(8), label].mean()
    with torch.no_grad():
        for weight in method.student.parameters():
            weight -= 1e-4 * weight.grad
    assert method.logits(method.student, images).log_softmax(1)[torch.arange(8), label].mean() >= before


@pytest.mark.parametrize(
    'argument', [dict(threshold=1.1), dict(threshold=-0.1), dict(labeled_weight=-1.0), dict(unlabeled_weight=-1.0)]
)
def test_arguments_outside_their_range(build, argument):
    ((name, value),) = argument.items()
    with pytest.raises(ValueError, match=rf'^FixMatch: {name}={value} must be '):
        build('FixMatch', SEGMENTOR, **argument)
