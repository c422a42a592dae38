import pytest
import torch
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS

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
    alone, numbers = loss(logits, label, **arguments), []
    monkeypatch.setattr(whole_batch, 'average_of_processes', lambda own: numbers.append(own.item()) or own * 2)
    handle = divide_by_whole_batch(loss)
    torch.testing.assert_close(loss(logits, label, **arguments), alone / 2)
    valid = label[label != 255].tolist()
    assert numbers == [sum(WEIGHT[own] for own in valid) if 'class_weight' in options else len(valid)]
    handle.remove()
    torch.testing.assert_close(loss(logits, label, **arguments), alone)


def test_average_of_one_process_is_its_own_number():
    assert average_of_processes(torch.tensor(3)).item() == 3.0
