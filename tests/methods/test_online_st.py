import copy

import pytest
import torch
from mmengine.structures import PixelData

from tests.methods.conftest import AUXILIARY, SEGMENTOR, moved_by, sharpened, total

THRESHOLD = 0.6


@pytest.fixture
def method(build):
    method = build('OnlineST', SEGMENTOR, threshold=THRESHOLD)
    sharpened(method.student, 1.0)
    return method


def by_hand(model, labeled, weak):
    """The loss and the labels, pixel by pixel: the mean over labeled pixels and those that the student is sure of."""
    images = torch.cat([labeled.images, weak.images])
    size = images.shape[2:]
    logits = model.encode_decode(images, [dict(img_shape=size)] * len(images)).double()
    probability = logits.exp() / logits.exp().sum(1, keepdim=True)
    loss, number, labels = 0.0, 0, []
    for n in range(len(images)):
        for y in range(size[0]):
            for x in range(size[1]):
                pixel = probability[n, :, y, x]
                if n < len(labeled.images):
                    label = int(labeled.samples[n].gt_sem_seg.data[0, y, x])
                else:
                    label = int(pixel.argmax()) if pixel.max() > THRESHOLD else 255
                    labels.append(label)
                if label != 255:
                    loss, number = loss - pixel[label].log(), number + 1
    return loss / number, labels


def test_loss_and_labels_by_hand(method, views):
    batch = views(method, 'pixels')
    expected, labels = by_hand(copy.deepcopy(method.student), **batch)
    losses = method.loss(**batch)
    assert total(losses).item() == pytest.approx(expected.item(), rel=1e-6)
    assert 0.1 < losses['sure'].item() < 0.9
    assert losses['sure'].item() == pytest.approx(sum(label != 255 for label in labels) / len(labels))


def test_gradient_is_that_of_the_loss_by_hand(method, views):
    batch = views(method, 'pixels')
    reference = copy.deepcopy(method.student)
    assert moved_by(method, total(method.loss(**batch))) == {'student'}
    by_hand(reference, **batch)[0].backward()
    for own, other in zip(method.student.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad, rtol=1e-4, atol=1e-6)


def test_an_auxiliary_head_learns_the_same_labels(build, views):
    method = build('OnlineST', dict(SEGMENTOR, auxiliary_head=AUXILIARY), threshold=0.0)
    losses = method.loss(**views(method, 'pixels'))
    assert {'decode.loss_ce', 'aux.loss_ce'} <= losses.keys()
    assert losses['sure'].item() == 1


def test_padding_is_not_labeled(build, views):
    method = build('OnlineST', SEGMENTOR, threshold=0.0)
    batch = views(method, 'pixels', padding=(0, 4, 0, 3))
    assert method.loss(**batch)['sure'].item() == pytest.approx(12 * 9 / (16 * 12))


def test_running_statistics_see_the_batch_once(method, views):
    method.loss(**views(method, 'pixels'))
    counts = {int(value) for name, value in method.state_dict().items() if name.endswith('num_batches_tracked')}
    assert counts == {1}


def test_the_samples_of_the_loader_stay_as_they_are(method, views):
    batch = views(method, 'pixels')
    method.loss(**batch)
    assert not any('gt_sem_seg' in sample for sample in batch['weak'].samples)
    assert isinstance(batch['labeled'].samples[0].gt_sem_seg, PixelData)


@pytest.mark.parametrize('threshold', [-0.1, 1.0])
def test_threshold_outside_its_range(build, threshold):
    with pytest.raises(ValueError, match=rf'^OnlineST: threshold={threshold} must be in \[0, 1\)$'):
        build('OnlineST', SEGMENTOR, threshold=threshold)


def test_bfloat16(method, views):
    with torch.autocast('cpu', torch.bfloat16):
        loss = total(method.loss(**views(method, 'pixels')))
    loss.backward()
    assert loss.isfinite()
    assert all(weight.grad is not None for weight in method.student.parameters())
