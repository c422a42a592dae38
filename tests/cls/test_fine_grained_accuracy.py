import math

import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope
from mmpretrain.evaluation import Accuracy
from mmpretrain.structures import DataSample

from mmdmt.cls.fine_grained_accuracy import FineGrainedAccuracy


def sample(score, label):
    return {'pred_score': torch.tensor(score), 'gt_label': torch.tensor([label])}


def evaluate(*samples, metric=FineGrainedAccuracy):
    metric = metric()
    metric.process(None, samples)
    return metric.evaluate(len(samples))


@pytest.mark.parametrize(
    ('samples', 'expected'),
    [
        ([([0.75, 0.25], 0)], 75),
        ([([0.75, 0.25], 1)], 0),
        ([([0.75, 0.25], 0), ([0.25, 0.75], 0)], 37.5),
        # 0.5, 0 (wrong: class 2 wins), 1 and 0.25 + 1/64 (a narrow win)
        ([([0.5, 0.25, 0.25, 0.0], 0), ([0.0, 0.25, 0.75, 0.0], 1), ([0.0, 0.0, 0.0, 1.0], 3),
          ([0.25, 0.265625, 0.25, 0.234375], 1)], 100 * 1.765625 / 4),
    ],
)  # fmt: skip
def test_hand_computed(samples, expected):
    assert evaluate(*(sample(*pair) for pair in samples)) == {'accuracy/fine_grained': expected}


def test_tie_is_that_of_argmax():
    score = [0.5, 0.5]
    winner = int(torch.tensor(score).argmax())
    assert evaluate(sample(score, winner)) == {'accuracy/fine_grained': 50}
    assert evaluate(sample(score, 1 - winner)) == {'accuracy/fine_grained': 0}


def test_equals_accuracy_for_one_hot_scores_and_is_below_it_otherwise():
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(200, 4, generator=generator).softmax(1)
    labels = torch.randint(4, (200,), generator=generator).tolist()
    one_hot = torch.nn.functional.one_hot(scores.argmax(1), 4).float()
    top1 = evaluate(*map(sample, one_hot.tolist(), labels), metric=Accuracy)['accuracy/top1']
    assert 10 < top1 < 50
    assert evaluate(*map(sample, one_hot.tolist(), labels))['accuracy/fine_grained'] == pytest.approx(top1)
    assert 0 < evaluate(*map(sample, scores.tolist(), labels))['accuracy/fine_grained'] < top1 / 2


def test_through_the_evaluator():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        evaluator = Evaluator([{'type': 'Accuracy'}, {'type': 'FineGrainedAccuracy'}])
    scores = [([0.75, 0.25], 0), ([0.5, 0.5], 0), ([0.125, 0.875], 0)]
    samples = [DataSample().set_pred_score(torch.tensor(score)).set_gt_label(label) for score, label in scores]
    evaluator.process(samples[:2])
    evaluator.process(samples[2:])
    metrics = evaluator.evaluate(3)
    assert metrics['accuracy/fine_grained'] == pytest.approx(100 * 1.25 / 3)
    assert metrics['accuracy/top1'] == pytest.approx(100 * 2 / 3)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes(dtype):
    score = torch.tensor([0.25, 0.75], dtype=dtype)
    assert evaluate({'pred_score': score, 'gt_label': torch.tensor([1])}) == {'accuracy/fine_grained': 75}


def test_is_evaluated_afresh_every_time():
    metric = FineGrainedAccuracy()
    metric.process(None, [sample([0.75, 0.25], 0)])
    assert metric.evaluate(1) == {'accuracy/fine_grained': 75}
    metric.process(None, [sample([0.75, 0.25], 1)])
    assert metric.evaluate(1) == {'accuracy/fine_grained': 0}


def test_own_prefix():
    metric = FineGrainedAccuracy(prefix='teacher')
    metric.process(None, [sample([0.75, 0.25], 0)])
    assert metric.evaluate(1) == {'teacher/fine_grained': 75}


def test_nothing_is_nan():
    assert math.isnan(FineGrainedAccuracy().compute_metrics([])['fine_grained'])


def test_missing_scores_are_refused():
    data_sample = {'pred_label': torch.tensor([1]), 'gt_label': torch.tensor([1])}
    with pytest.raises(ValueError, match=r"must have pred_score.*got \['gt_label', 'pred_label'\]"):
        FineGrainedAccuracy().process(None, [data_sample])


@pytest.mark.parametrize('label', [[0, 1], []])
def test_several_or_no_classes_are_refused(label):
    data_sample = {'pred_score': torch.tensor([0.75, 0.25]), 'gt_label': torch.tensor(label)}
    with pytest.raises(ValueError, match='gt_label must be exactly one class'):
        FineGrainedAccuracy().process(None, [data_sample])
