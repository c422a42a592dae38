import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from mmdmt.analysis.label_quality import CONFIDENCE_EDGES, LabelQuality, Prediction, ScoreHistogram, auc
from mmdmt.core.confidence import decode, encode
from mmdmt.core.ranking import ClassHistogram

RATIOS = [0.2, 0.4, 0.6, 0.8, 1.0]
CLASSES = 4


def code_of(probability):
    """Confidence code of a probability, by the formula of ``encode``."""
    return round((math.log(probability / (1 - probability)) + 6) / 48 * 65535)


@pytest.fixture(scope='module')
def images():
    """Three images [8, 9] of a teacher that is right more often where it is sure; class 3 is never predicted."""
    generator = torch.Generator().manual_seed(0)
    result = []
    for _ in range(3):
        logits = torch.randn(1, CLASSES, 8, 9, generator=generator) * 3
        logits[:, 3] = -20
        label, code = encode(logits)
        sure = torch.rand(label.shape, generator=generator) < 0.8 * decode(code)
        true_label = torch.where(sure, label, torch.randint(0, CLASSES, label.shape, generator=generator))
        true_label[torch.rand(label.shape, generator=generator) < 0.1] = 255
        student = Prediction.of(torch.randn(1, CLASSES, 8, 9, generator=generator) * 2, label.long())
        weight = student.probability**3
        weight[(student.label != label) & (decode(code) < student.confidence)] = 0
        result.append((true_label, label, code, student, weight))
    return result


@pytest.fixture(scope='module')
def thresholds(images):
    histogram = ClassHistogram(CLASSES)
    for _, label, code, *_ in images:
        histogram.update(label, code)
    return {ratio: torch.from_numpy(histogram.thresholds(ratio).astype(np.int64)) for ratio in RATIOS}


def filled(images, thresholds=None):
    quality = LabelQuality(CLASSES, thresholds)
    for image in images:
        quality.update(*image)
    return quality


def pixel_list(images):
    """One dict for each pixel whose truth is known."""
    pixels = []
    for true_label, label, code, student, weight in images:
        columns = (true_label, label, code, *student, weight)
        names = ('true', 'label', 'code', 'p', 'student', 'c_b', 'weight')
        for values in zip(*(tensor.flatten().tolist() for tensor in columns), strict=True):
            pixel = dict(zip(names, values, strict=True))
            if pixel['true'] != 255:
                pixel['c'] = 1 / (1 + math.exp(-(pixel['code'] / 65535 * 48 - 6)))
                pixel['right'] = pixel['label'] == pixel['true']
                pixels.append(pixel)
    return pixels


def mean(values):
    values = list(values)
    return sum(values) / len(values)


@pytest.mark.parametrize('ratio', RATIOS)
def test_equals_a_slow_loop_over_pixels(images, thresholds, ratio):
    figures = filled(images, thresholds[ratio]).figures()
    everything = pixel_list(images)
    pixels = [pixel for pixel in everything if pixel['code'] >= thresholds[ratio][pixel['label']]]
    assert len(pixels) < len(everything) or ratio == 1
    right = [pixel['right'] for pixel in pixels]
    assert 0 < sum(right) < len(right)
    assert figures['accuracy'] == pytest.approx(mean(right))
    assert figures['accuracy_all'] == pytest.approx(mean(pixel['right'] for pixel in everything))
    for name, side in (('right', True), ('wrong', False)):
        expected = mean(pixel['weight'] for pixel in pixels if pixel['right'] is side)
        assert figures['mean_weight'][name] == pytest.approx(expected, rel=1e-6)
    scores = {
        'weight': [pixel['weight'] for pixel in pixels],
        'confidence': [pixel['c'] for pixel in pixels],
        'weight * confidence': [pixel['weight'] * pixel['c'] for pixel in pixels],
        'p_B': [pixel['p'] for pixel in pixels],
    }
    for name, score in scores.items():
        assert figures['auc'][name] == pytest.approx(roc_auc_score(right, score), abs=1e-4)
    for index in range(CLASSES):
        own = [pixel for pixel in pixels if pixel['label'] == index]
        mass, accuracy = figures['class_weight_mass'][index], figures['class_accuracy'][index]
        if own:
            assert mass == pytest.approx(mean(pixel['weight'] for pixel in own), rel=1e-6)
            assert accuracy == pytest.approx(mean(pixel['right'] for pixel in own))
        else:
            assert index == 3
            assert math.isnan(mass)
            assert math.isnan(accuracy)


def case_of(pixel):
    if pixel['student'] == pixel['label']:
        return 'agreement'
    return 'student wins' if pixel['c'] < pixel['c_b'] else 'teacher wins'


def test_cases_equal_a_slow_loop_over_pixels(images):
    pixels = pixel_list(images)
    for name, case in filled(images).figures()['cases'].items():
        own = [pixel for pixel in pixels if case_of(pixel) == name]
        assert case['share'] == pytest.approx(len(own) / len(pixels))
        assert case['teacher_right'] == pytest.approx(mean(pixel['right'] for pixel in own))
        assert case['student_right'] == pytest.approx(mean(pixel['student'] == pixel['true'] for pixel in own))


def test_accuracy_by_ratio_and_error_by_confidence_equal_a_slow_loop(images, thresholds):
    quality, pixels = filled(images, thresholds[0.2]), pixel_list(images)
    for ratio in RATIOS:
        kept = [pixel['right'] for pixel in pixels if pixel['code'] >= thresholds[ratio][pixel['label']]]
        assert quality.accuracy(thresholds[ratio]) == pytest.approx(mean(kept))
    assert quality.accuracy() == quality.accuracy(thresholds[0.2])
    bins = quality.figures()['error_by_confidence']
    assert len(bins) == len(CONFIDENCE_EDGES) - 1
    for (share, error), low, high in zip(bins, CONFIDENCE_EDGES, CONFIDENCE_EDGES[1:], strict=False):
        own = [not pixel['right'] for pixel in pixels if low <= pixel['c'] < high]
        assert share == pytest.approx(len(own) / len(pixels))
        assert error == pytest.approx(mean(own)) if own else math.isnan(error)


def test_by_hand():
    """Five pixels of two classes; the last but one is not selected, the last one's truth is not known."""
    code = torch.tensor([code_of(p) for p in (0.9, 0.8, 0.7, 0.6, 0.9)])
    student = Prediction(
        torch.tensor([0.5, 0.4, 0.1, 0.9, 0.9]), torch.tensor([0, 1, 0, 1, 0]), torch.tensor([0.5, 0.6, 0.9, 0.9, 0.9])
    )
    quality = LabelQuality(2, torch.tensor([0, code_of(0.65)]))
    truth, label = torch.tensor([0, 1, 0, 1, 255]), torch.tensor([0, 0, 1, 1, 0])
    quality.update(truth, label, code, student, torch.tensor([0.25, 0.16, 0.5, 7.0, 7.0]))
    figures = quality.figures()
    assert figures['accuracy'] == pytest.approx(1 / 3)
    assert figures['accuracy_all'] == pytest.approx(2 / 4)
    assert figures['mean_weight'] == pytest.approx({'right': 0.25, 'wrong': 0.33})
    # The right label outscores one of the two wrong ones by its weight, both by confidence and p_B.
    auc_by_hand = {'weight': 0.5, 'confidence': 1, 'weight * confidence': 0.5, 'p_B': 1}
    assert figures['auc'] == pytest.approx(auc_by_hand)
    assert figures['class_weight_mass'] == pytest.approx([0.205, 0.5])
    assert figures['class_accuracy'] == [0.5, 0]
    assert figures['cases'] == {
        'agreement': dict(share=pytest.approx(1 / 3), teacher_right=1, student_right=1),
        'teacher wins': dict(share=pytest.approx(1 / 3), teacher_right=0, student_right=1),
        'student wins': dict(share=pytest.approx(1 / 3), teacher_right=0, student_right=1),
    }


@pytest.mark.parametrize(
    ('right', 'wrong', 'expected'),
    [
        ([0, 0, 4], [3, 2, 0], 1),
        ([4, 0, 0], [0, 2, 1], 0),
        ([2, 2], [2, 2], 0.5),
        ([0, 5, 0], [0, 7, 0], 0.5),
        ([1, 3], [3, 1], (3 * 3 + (3 + 3) / 2) / 16),
    ],
)
def test_auc_by_hand(right, wrong, expected):
    assert auc(torch.tensor(right), torch.tensor(wrong)) == pytest.approx(expected)


@pytest.mark.parametrize(('right', 'wrong'), [([1, 2], [0, 0]), ([0, 0], [1, 2]), ([0], [0])])
def test_auc_of_one_kind_alone_is_not_known(right, wrong):
    assert math.isnan(auc(torch.tensor(right), torch.tensor(wrong)))


@pytest.mark.parametrize('kind', ['tiny', 'saturated', 'above one', 'zeros'])
def test_auc_of_extreme_scores(kind):
    generator = np.random.default_rng(1)
    right = generator.random(20_000) < 0.7
    quality = generator.normal(right * 1.0)  # the right ones tend to have more
    score = {
        'tiny': np.exp(-12 + 3 * quality),
        'saturated': 1 / (1 + np.exp(-5 - quality)),
        'above one': np.exp(quality).clip(0, 10),
        'zeros': np.where(quality < 0.5, 0, np.exp(quality - 5)),
    }[kind]
    histogram = ScoreHistogram()
    for part in np.array_split(np.arange(20_000), 3):
        histogram.update(torch.from_numpy(score[part]), torch.from_numpy(right[part]))
    assert histogram.counts.sum() == 20_000
    assert histogram.auc() == pytest.approx(roc_auc_score(right, score), abs=1e-4)


@pytest.mark.parametrize('score', [-0.1, math.nan])
def test_bad_scores_are_refused(score):
    with pytest.raises(ValueError, match='negative or NaN'):
        ScoreHistogram().update(torch.tensor([0.5, score]), torch.tensor([True, False]))


def test_prediction_by_hand():
    logits = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]]).log().half()
    student = Prediction.of(logits, torch.tensor([1, 2]))
    torch.testing.assert_close(student.probability, torch.tensor([0.2, 0.4]), atol=1e-3, rtol=0)
    torch.testing.assert_close(student.confidence, torch.tensor([0.7, 0.4]), atol=1e-3, rtol=0)
    assert student.label.tolist() == [0, 2]
    assert student.probability.dtype == torch.float32


def test_nothing_counted_gives_nan_not_an_error():
    figures = LabelQuality(2).figures()
    assert math.isnan(figures['accuracy'])
    assert math.isnan(figures['auc']['weight'])
    assert all(math.isnan(share) and math.isnan(error) for share, error in figures['error_by_confidence'])


def test_shapes_are_checked(images):
    true_label, label, code, student, weight = images[0]
    with pytest.raises(ValueError, match=r'weight \[1, 8, 8\] and true_label \[1, 8, 9\]'):
        LabelQuality(CLASSES).update(true_label, label, code, student, weight[..., :8])
    with pytest.raises(ValueError, match=r'thresholds must have shape \[4\]; got \[3\]'):
        LabelQuality(CLASSES, torch.zeros(3))
