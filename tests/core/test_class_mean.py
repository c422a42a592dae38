import copy
import math

import pytest
import torch

from mmdmt.core.class_mean import RunningClassMean
from mmdmt.core.dynamic_loss import dynamic_mutual_loss
from mmdmt.core.dynamic_weight import HUMAN, DynamicWeight, dynamic_weight


def decision(weight, label, pseudo):
    nowhere = torch.zeros(len(weight), dtype=torch.bool)
    return DynamicWeight(torch.tensor(weight), torch.tensor(label), torch.tensor(pseudo), nowhere, nowhere)


def test_by_hand():
    mean = RunningClassMean(momentum=0.5)
    # Class 0: mean 0.5; class 1: mean 0.02, which counts as 0.1; class 2: only of a human.
    first = decision([0.2, 0.8, 0.02, 1.0, 0.0], [0, 0, 1, 2, 255], [True, True, True, False, False])
    result = mean.normalise(first, 4)
    assert result.weight.tolist() == pytest.approx([0.4, 1.6, 0.2, 1.0, 0.0])
    assert result.weight.dtype == torch.float32
    assert torch.equal(result.label, first.label)
    # Of class 0: W = 0.5 * (0.5 * 1.0) + 0.5 * 0.9 = 0.7 and N = 0.5 * (0.5 * 2) + 0.5 * 3 = 2.
    second = decision([0.3, 0.3, 0.3, 0.6], [0, 0, 0, 3], [True, True, True, True])
    assert mean.normalise(second, 4).weight.tolist() == pytest.approx([0.3 / 0.35] * 3 + [1.0])
    # Class 1, absent since, has W = 0.5 * (0.5 * 0.02) + 0.5 * 0.6 = 0.305 and N = 0.5 * (0.5 * 1) + 0.5 * 1 = 0.75.
    third = decision([0.6], [1], [True])
    assert mean.normalise(third, 4).weight.tolist() == pytest.approx([0.6 * 0.75 / 0.305])
    assert mean.sums[:, 0].tolist() == pytest.approx([0.7, 2])


def test_no_factor_exceeds_ten_and_unseen_classes_have_none():
    mean = RunningClassMean()
    result = mean.normalise(decision([1e-6, 0.0], [0, 1], [True, True]), 3)
    assert result.weight.tolist() == pytest.approx([1e-5, 0])
    human = decision([1.0, 1.0], [0, 2], [False, False])
    assert mean.normalise(human, 3).weight.tolist() == [1, 1]


def slow_means(batches, momentum, num_classes):
    """Mean of each class after all batches, by loops over Python floats."""
    sums = [[0.0, 0.0] for _ in range(num_classes)]
    for batch in batches:
        for index in range(num_classes):
            pixels = zip(batch.weight.flatten(), batch.label.flatten(), batch.pseudo.flatten(), strict=True)
            own = [float(weight) for weight, label, pseudo in pixels if pseudo and label == index]
            if own:
                for column, value in enumerate((sum(own), len(own))):
                    sums[index][column] = momentum * sums[index][column] + (1 - momentum) * value
    return [weight / number if number else 1.0 for weight, number in sums]


def batches(number=4, num_classes=5):
    generator = torch.Generator().manual_seed(2)
    for step in range(number):
        logits = 2 * torch.randn(2, num_classes, 6, 7, generator=generator)
        label = torch.randint(0, num_classes - 1 - step % 2, (2, 6, 7), generator=generator)
        confidence = torch.rand(2, 6, 7, generator=generator)
        confidence[0, :2] = HUMAN
        label[:, 0] = 255
        yield logits, label, confidence


@pytest.mark.parametrize('variant', ['dmt', 'naive', 'flip'])
@pytest.mark.parametrize('momentum', [0.0, 0.9])
def test_equals_slow_reference_over_steps(variant, momentum):
    mean, seen = RunningClassMean(momentum), []
    for logits, label, confidence in batches():
        plain = dynamic_weight(logits, label, confidence, 3, 3, variant)
        seen.append(plain)
        expected = slow_means(seen, momentum, 5)
        result = mean.normalise(plain, 5)
        pixels = zip(plain.weight.flatten(), plain.label.flatten(), plain.pseudo.flatten(), strict=True)
        wanted = [w / max(expected[index], 0.1) if pseudo else w for w, index, pseudo in pixels]
        torch.testing.assert_close(result.weight.flatten(), torch.stack(wanted), rtol=1e-5, atol=1e-7)


def test_each_class_of_a_batch_keeps_a_mean_weight_of_one():
    logits, label, confidence = next(batches())
    plain = dynamic_weight(logits, label, confidence, 1, 1, 'naive')
    result = RunningClassMean(0.0).normalise(plain, 5)
    for index in range(4):
        own = plain.pseudo & (label == index)
        assert plain.weight[own].mean() > 0.1
        assert result.weight[own].mean() == pytest.approx(1)


def test_two_processes_have_the_mean_of_one_with_both_batches():
    both = [dynamic_weight(*batch, 2, 2) for batch in batches(2)]
    whole = DynamicWeight(*(torch.cat(parts) for parts in zip(*both, strict=True)))
    expected = RunningClassMean().normalise(whole, 5).weight
    sums = {}

    def collect(batch):
        sums[len(sums)] = batch.clone()

    for part in both:
        RunningClassMean(reduce=collect).normalise(part, 5)

    def all_reduce(batch):
        batch.copy_(sums[0] + sums[1])

    parts = [RunningClassMean(reduce=all_reduce).normalise(part, 5).weight for part in both]
    torch.testing.assert_close(torch.cat(parts), expected)


def test_loss_is_that_of_the_normalised_weights():
    logits, label, confidence = next(batches())
    loss, result = dynamic_mutual_loss(logits, label, confidence, 2, 2, class_mean=RunningClassMean())
    expected = RunningClassMean().normalise(dynamic_weight(logits, label, confidence, 2, 2), 5)
    assert torch.equal(result.weight, expected.weight)
    valid = label != 255
    cross_entropy = -logits.log_softmax(1).gather(1, torch.where(valid, label, 0)[:, None])[:, 0]
    assert loss.item() == pytest.approx(float((result.weight * cross_entropy)[valid].sum() / valid.sum()), rel=1e-5)


def test_mean_survives_very_many_steps_without_a_class():
    mean = RunningClassMean(0.5)
    mean.normalise(decision([0.5], [0], [True]), 2)
    for _ in range(2000):
        mean.normalise(decision([0.5], [1], [True]), 2)
    result = copy.deepcopy(mean).normalise(decision([0.5], [0], [True]), 2)
    assert result.weight.item() == pytest.approx(1)
    assert math.isfinite(float(mean.sums.sum()))
