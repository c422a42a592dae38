import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS

from mmdmt.installation import installed_family
from mmdmt.losses import whole_batch
from mmdmt.losses.whole_batch import average_of_processes, divide_by_whole_batch, divides_by_labels

WEIGHT = [0.5, 1.0, 4.0]


def build(**loss):
    with DefaultScope.overwrite_default_scope('mmseg'):
        return MODELS.build(loss)


@pytest.mark.parametrize(
    ('loss', 'expected'),
    [
        (dict(type='CrossEntropyLoss', avg_non_ignore=True), True),
        (dict(type='CrossEntropyLoss', class_weight=WEIGHT), True),
        (dict(type='CrossEntropyLoss'), False),  # divides by all pixels
        (dict(type='CrossEntropyLoss', use_sigmoid=True, avg_non_ignore=True), False),
        (dict(type='CrossEntropyLoss', reduction='sum', avg_non_ignore=True), False),
        (dict(type='mmpretrain.CrossEntropyLoss', class_weight=WEIGHT), False),  # its heads divide by images
        (dict(type='DiceLoss'), False),
        (dict(type='DynamicMutualLoss', class_weight=WEIGHT), False),  # it has `whole_batch`
    ],
    ids=str,
)
def test_losses_that_divide_by_labels(loss, expected):
    assert divides_by_labels(build(**loss)) == expected


@pytest.mark.parametrize('options', [dict(avg_non_ignore=True), dict(class_weight=WEIGHT, loss_weight=0.4)], ids=str)
@pytest.mark.parametrize('ignored', [True, False])
def test_it_divides_by_the_average_of_the_processes(monkeypatch, options, ignored):
    """Where that is twice its own number, its pixels count half as much."""
    loss, generator = build(type='CrossEntropyLoss', **options), torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 5, generator=generator)
    label = torch.randint(3, (2, 4, 5), generator=generator)
    label[0, :, 2:] = 255 if ignored else 1
    arguments = dict(weight=None, ignore_index=255) if ignored else {}
    weight = torch.tensor(options['class_weight']) if 'class_weight' in options else None
    alone, numbers = loss.loss_weight * F.cross_entropy(logits, label, weight, ignore_index=255), []
    monkeypatch.setattr(whole_batch, 'average_of_processes', lambda own: numbers.append(own.item()) or own * 2)
    handle = divide_by_whole_batch(loss)
    torch.testing.assert_close(loss(logits, label, **arguments), alone / 2)
    valid = label[label != 255].tolist()
    assert numbers == [sum(WEIGHT[own] for own in valid) if 'class_weight' in options else len(valid)]
    handle.remove()
    assert not loss._forward_pre_hooks
    if not ignored or installed_family() == 'onedl':  # with class weights, 1.2.2 then fails by itself
        torch.testing.assert_close(loss(logits, label, **arguments), alone)


@pytest.mark.parametrize('avg_non_ignore', [True, False])
def test_a_single_process_with_class_weights_and_ignored_pixels(avg_non_ignore):
    """The stock loss alone fails in one family with either value, in the other one with the first."""
    loss = build(type='CrossEntropyLoss', class_weight=WEIGHT, avg_non_ignore=avg_non_ignore)
    divide_by_whole_batch(loss)
    logits = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    label = torch.arange(40).view(2, 4, 5) % 3
    label[0, :, 2:] = 255
    expected = F.cross_entropy(logits, label, torch.tensor(WEIGHT), ignore_index=255)
    (gradient,) = torch.autograd.grad(expected, logits)
    found = loss(logits, label, ignore_index=255)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, logits)[0], gradient)
    label[:] = 255
    assert loss(logits, label, ignore_index=255).item() == 0


def test_average_of_one_process_is_its_own_number():
    assert average_of_processes(torch.tensor(3)).item() == 3.0
