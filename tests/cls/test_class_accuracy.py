import pytest
import torch
from mmengine.logging import MessageHub
from mmpretrain.evaluation import Accuracy

from mmdmt.cls import ClassAccuracy

# 3 of class 0, of which 2 are right; 1 of class 2, wrong; none of class 1.
TRUTH, PREDICTED = (0, 0, 0, 2), (0, 1, 0, 1)


def samples(scores):
    for truth, predicted in zip(TRUTH, PREDICTED, strict=True):
        sample = {'gt_label': torch.tensor([truth])}
        if scores:
            sample['pred_score'] = torch.nn.functional.one_hot(torch.tensor(predicted), 3).float()
        else:
            sample['pred_label'] = torch.tensor([predicted])
        yield sample


def evaluate(metric, data_samples, meta):
    metric.dataset_meta = meta
    metric.process({}, data_samples)
    return metric.evaluate(len(data_samples))


@pytest.mark.parametrize('scores', [True, False])
@pytest.mark.parametrize(
    ('meta', 'expected'),
    [(dict(classes=('cat', 'dog', 'cow')), {'cat': 66.67, 'cow': 0.0}), ({}, {'0': 66.67, '2': 0.0})],
)
def test_accuracy_of_each_class(scores, meta, expected):
    hub = MessageHub.get_instance(f'accuracy {scores} {len(meta)}')
    data_samples = list(samples(scores))
    found = evaluate(ClassAccuracy(), data_samples, meta)
    assert found == evaluate(Accuracy(), data_samples, meta)
    assert found['accuracy/top1'] == 50
    assert hub.get_info('class_accuracy') == expected
