import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS

CLASSES = ('road', 'wall', 'sky', 'never')
IGNORED = 255


def samples():
    """Two images as the evaluator gives them: label and prediction, a sixth of the pixels ignored."""
    rng = np.random.default_rng(0)
    for size in ((5, 6), (4, 3)):
        label, predicted = rng.integers(0, 3, (2, *size))
        label[rng.random(size) < 1 / 6] = IGNORED
        yield {
            'gt_sem_seg': {'data': torch.from_numpy(label)[None]},
            'pred_sem_seg': {'data': torch.from_numpy(predicted)[None]},
        }


def evaluate(metric, data_samples):
    metric.dataset_meta = dict(classes=CLASSES)
    metric.process({}, data_samples)
    return metric.evaluate(len(data_samples))


def test_iou_of_each_class():
    data_samples = list(samples())
    found = evaluate(METRICS.build(dict(type='ClassIoUMetric')), data_samples)
    stock = evaluate(IoUMetric(), data_samples)
    assert {name: found[name] for name in stock} == stock
    pairs = [
        (label, predicted)
        for sample in data_samples
        for label, predicted in zip(
            sample['gt_sem_seg']['data'].flatten().tolist(),
            sample['pred_sem_seg']['data'].flatten().tolist(),
            strict=True,
        )
        if label != IGNORED
    ]
    expected = {}
    for index, name in enumerate(CLASSES[:3]):
        inside = sum(label == predicted == index for label, predicted in pairs)
        expected[f'IoU/{name}'] = 100 * inside / sum(index in pair for pair in pairs)
    # No key for the class that does not occur.
    assert {name: value for name, value in found.items() if '/' in name} == pytest.approx(expected, abs=0.005)
    assert found['mIoU'] == pytest.approx(np.mean(list(expected.values())), abs=0.01)


def test_quiet_keeps_the_classes_for_the_record():
    hub = MessageHub.get_instance('quiet')
    data_samples = list(samples())
    loud = evaluate(METRICS.build(dict(type='ClassIoUMetric')), data_samples)
    quiet = evaluate(METRICS.build(dict(type='ClassIoUMetric', quiet=True)), data_samples)
    assert quiet == evaluate(IoUMetric(), data_samples)
    assert {f'IoU/{name}': value for name, value in hub.get_info('class_iou').items()} == {
        name: value for name, value in loud.items() if '/' in name
    }
    assert 'class_iou' not in hub.state_dict()['runtime_info']  # a checkpoint has no need of it
