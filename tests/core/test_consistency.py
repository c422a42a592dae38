import math

import numpy as np
import pytest
import torch

from mmdmt.core.consistency import (
    entropy,
    jensen_shannon,
    masked_cross_entropy,
    ramp_up,
    sharpen,
    soft_cross_entropy,
    squared_difference,
    warm_momentum,
)


@pytest.fixture
def pixels():
    """Logits of two batches, labels, and which pixels are valid."""
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(2, 3, 2, 4, generator=generator) * 2 for _ in range(2)]
    label = torch.randint(3, (2, 2, 4), generator=generator)
    return *logits, label, torch.rand(2, 2, 4, generator=generator) > 0.3


def softmax(logits):
    powers = np.exp(logits.double().numpy())
    return powers / powers.sum(1, keepdims=True)


def test_ramp_by_hand():
    assert ramp_up(0, 0.4) == pytest.approx(math.exp(-5))
    assert ramp_up(0.2, 0.4) == pytest.approx(math.exp(-1.25))
    assert ramp_up(0.4, 0.4) == ramp_up(1, 0.4) == ramp_up(0, 0) == 1


def test_a_warm_average_is_at_first_the_mean_of_all_steps():
    values, average = [3.0, 5.0, 10.0, 2.0], 99.0
    for step, value in enumerate(values):
        share = warm_momentum(torch.tensor(step), 0.999).item()
        average = share * average + (1 - share) * value
    assert average == pytest.approx(5.0)
    assert warm_momentum(torch.tensor(10**6), 0.99).item() == pytest.approx(0.99)


def test_cross_entropy_divides_by_valid_pixels_and_not_by_sure_ones(pixels):
    logits, _, label, valid = pixels
    sure, total, probability = label != 1, 0.0, softmax(logits)
    for index in np.ndindex(*label.shape):
        if valid[index] and sure[index]:
            total -= math.log(probability[index[0], label[index], index[1], index[2]])
    loss = masked_cross_entropy(logits, label, sure, valid)
    assert loss.item() == pytest.approx(total / valid.sum().item(), rel=1e-5)
    assert 0 < (sure & valid).sum() < valid.sum()  # so that the divisor matters


def test_nothing_valid_or_nothing_sure_is_a_loss_of_zero_with_a_graph(pixels):
    logits, _, label, valid = pixels
    logits.requires_grad_()
    for mask, where in ((label >= 0, valid & False), (label < 0, valid)):
        loss = masked_cross_entropy(logits, label, mask, where)
        loss.backward()
        assert loss.item() == 0
        assert logits.grad.abs().sum() == 0


def test_squared_difference_is_the_mean_over_classes_and_valid_pixels(pixels):
    first, second, _, valid = pixels
    total = [
        (first[n, c, y, x] - second[n, c, y, x]).item() ** 2
        for n in range(2) for c in range(3) for y in range(2) for x in range(4) if valid[n, y, x]
    ]  # fmt: skip
    assert squared_difference(first, second, valid).item() == pytest.approx(sum(total) / len(total), rel=1e-5)


@pytest.mark.parametrize('function', [masked_cross_entropy, squared_difference, jensen_shannon, soft_cross_entropy])
def test_mean_over_the_losses_of_two_processes_is_that_of_their_whole_batch(function, pixels):
    first, second, label, valid = pixels
    arguments = dict(masked_cross_entropy=(first, label, label != 1)).get(
        function.__name__, (first.softmax(1), second.softmax(1))
    )
    valid[1] = False
    valid[1, 0, 0] = True  # one pixel of the second process, more of the first one
    average = valid.sum() / 2
    parts = [
        function(*(values[rank : rank + 1] for values in (*arguments, valid)), average=lambda number: average)
        for rank in range(2)
    ]
    whole = function(*arguments, valid)
    assert (parts[0] + parts[1]).item() / 2 == pytest.approx(whole.item(), rel=1e-6)
    alone = [function(*(values[rank : rank + 1] for values in (*arguments, valid))) for rank in range(2)]
    assert abs((alone[0] + alone[1]).item() / 2 - whole.item()) > 1e-3
    asked = []
    function(*arguments, valid, average=lambda number: asked.append(number.item()) or number)
    assert asked == [valid.sum().item()]
    assert function(*arguments, average=asked.append).isfinite() and len(asked) == 1  # equally many in all processes


def test_jensen_shannon_is_that_of_probabilities(pixels):
    first, second, _, valid = pixels
    p, q = softmax(first), softmax(second)
    kl = [(part * np.log(part / ((p + q) / 2))).sum(1) for part in (p, q)]
    by_hand = ((kl[0] + kl[1]) / 2)[valid.numpy()].mean()
    assert jensen_shannon(first.softmax(1), second.softmax(1), valid).item() == pytest.approx(by_hand, rel=1e-5)


def test_entropy_of_a_certain_prediction_has_a_finite_gradient():
    probability = torch.tensor([[1.0, 0.0]], requires_grad=True)
    entropy(probability).sum().backward()
    assert probability.grad.isfinite().all()


def test_soft_cross_entropy_of_one_class_is_that_of_its_label(pixels):
    logits, _, label, _ = pixels
    target = torch.nn.functional.one_hot(label, 3).movedim(-1, 1)
    assert soft_cross_entropy(logits, target).item() == pytest.approx(
        torch.nn.functional.cross_entropy(logits, label).item(), rel=1e-6
    )


def test_sharpen_by_hand():
    torch.testing.assert_close(sharpen(torch.tensor([[0.5, 0.3, 0.2]]), 0.5), torch.tensor([[25.0, 9.0, 4.0]]) / 38)
    torch.testing.assert_close(sharpen(torch.tensor([[0.5, 0.3, 0.2]]), 1.0), torch.tensor([[0.5, 0.3, 0.2]]))


@pytest.mark.parametrize('function', [squared_difference, jensen_shannon, soft_cross_entropy])
def test_losses_are_computed_in_float32(function, pixels):
    half = [values.softmax(1).bfloat16() for values in pixels[:2]]
    assert function(*half).dtype == torch.float32
    assert function(*half).item() == pytest.approx(function(*[values.float() for values in half]).item(), rel=1e-6)
