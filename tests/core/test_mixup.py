import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mmdmt.core.mixup import WEIGHTINGS, draw_lam, draw_partners, mix, mixup

# Three images of one pixel with labels 0, 1, 1 of two classes; the dynamic loss has rejected the label of the first.
IMAGES = torch.tensor([1.0, 2.0, 4.0])[:, None, None, None]
ONE_HOT = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
WEIGHT = torch.tensor([0.0, 0.5, 1.0])
PARTNER = torch.tensor([1, 2, 0])


def random_batch(number=7, classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(0, classes, (number,), generator=generator)
    images = torch.randn(number, 3, 2, 2, generator=generator)
    weight = torch.rand(number, generator=generator)
    return images, label, weight, torch.randperm(number, generator=generator)


def slow_target(label, weight, lam, partner, classes, weighting):
    """Weighted targets, entry by entry in Python floats."""
    label, weight, partner = label.tolist(), weight.tolist(), partner.tolist()
    result = []
    for own, other in enumerate(partner):
        row = [0.0] * classes
        for index, share in ((own, lam), (other, 1 - lam)):
            both = lam * weight[own] + (1 - lam) * weight[other]
            row[label[index]] += share * (weight[index] if weighting == 'term' else both)
        result.append(row)
    return torch.tensor(result)


@pytest.mark.parametrize(
    ('weighting', 'target'),
    [
        # mixed weights 1/8, 5/8, 3/4 times mixed labels [3/4, 1/4], [0, 1], [1/4, 3/4]
        ('image', [[0.09375, 0.03125], [0, 0.625], [0.1875, 0.5625]]),
        # the rejected label 0 of the first image counts nowhere, neither in its own row nor in the last one
        ('term', [[0, 0.125], [0, 0.625], [0, 0.75]]),
    ],
)
def test_by_hand(weighting, target):
    mixed = mixup(IMAGES, ONE_HOT, WEIGHT, 0.75, PARTNER, weighting)
    assert mixed.images.flatten().tolist() == [1.25, 2.5, 3.25]
    assert mixed.images.shape == IMAGES.shape
    assert mixed.target.tolist() == target
    assert mixed.target.dtype == torch.float32


@pytest.mark.parametrize(('weighting', 'regained'), [('image', [0.75 * 0.25, 0.25 * 0.25]), ('term', [0, 0.25])])
def test_rejected_label_regains_weight_through_its_partner_if_weighted_by_image(weighting, regained):
    one_hot, weight = torch.eye(2), torch.tensor([0.0, 1.0])
    target = mixup(IMAGES[:2], one_hot, weight, 0.75, torch.tensor([1, 0]), weighting).target
    assert target[0].tolist() == regained


def test_weighted_by_image_is_the_default():
    default = mixup(IMAGES, ONE_HOT, WEIGHT, 0.75, PARTNER).target
    assert torch.equal(default, mixup(IMAGES, ONE_HOT, WEIGHT, 0.75, PARTNER, 'image').target)


@pytest.mark.parametrize('weighting', WEIGHTINGS)
@pytest.mark.parametrize('lam', [0.0, 0.3, 0.75, 1.0])
def test_equals_slow_reference(weighting, lam):
    images, label, weight, partner = random_batch()
    mixed = mixup(images, F.one_hot(label, 4).float(), weight, lam, partner, weighting)
    expected = [lam * images[own] + (1 - lam) * images[other] for own, other in enumerate(partner)]
    torch.testing.assert_close(mixed.images, torch.stack(expected))
    torch.testing.assert_close(mixed.target, slow_target(label, weight, lam, partner, 4, weighting))


@pytest.mark.parametrize('weighting', WEIGHTINGS)
def test_lam_one_changes_nothing(weighting):
    mixed = mixup(IMAGES, ONE_HOT, WEIGHT, 1.0, PARTNER, weighting)
    assert torch.equal(mixed.images, IMAGES)
    assert mixed.target.tolist() == [[0, 0], [0, 0.5], [0, 1]]


def test_both_weightings_agree_where_all_weights_are_one():
    images, label, weight, partner = random_batch()
    one_hot = F.one_hot(label, 4).float()
    by_image, by_term = (mixup(images, one_hot, torch.ones(7), 0.6, partner, weighting) for weighting in WEIGHTINGS)
    torch.testing.assert_close(by_image.target, by_term.target)
    torch.testing.assert_close(by_image.target.sum(1), torch.ones(7))
    by_image, by_term = (mixup(images, one_hot, weight, 0.6, partner, weighting) for weighting in WEIGHTINGS)
    assert not torch.allclose(by_image.target, by_term.target)


@pytest.mark.parametrize('weighting', WEIGHTINGS)
def test_soft_cross_entropy_is_the_mixed_cross_entropy_where_all_weights_are_one(weighting):
    images, label, _, partner = random_batch()
    log_prob = torch.randn(7, 4, generator=torch.Generator().manual_seed(1)).log_softmax(1)
    target = mixup(images, F.one_hot(label, 4).float(), torch.ones(7), 0.7, partner, weighting).target
    own, other = (F.nll_loss(log_prob, labels, reduction='none') for labels in (label, label[partner]))
    torch.testing.assert_close(-(target * log_prob).sum(1), 0.7 * own + 0.3 * other)


def test_mix_by_hand():
    assert mix(torch.tensor([[0.0, 8.0], [4.0, 0.0]]), 0.75, torch.tensor([1, 0])).tolist() == [[1, 6], [3, 2]]


@pytest.mark.parametrize('dominant', [True, False])
def test_lam_is_reproducible_and_in_range(dominant):
    np.random.seed(3)
    first = [draw_lam(0.75, dominant) for _ in range(200)]
    np.random.seed(3)
    assert [draw_lam(0.75, dominant) for _ in range(200)] == first
    assert len(set(first)) == 200
    assert all(type(lam) is float and 0 <= lam <= 1 for lam in first)
    assert (min(first) >= 0.5) == dominant


def test_dominant_lam_is_the_larger_share():
    np.random.seed(4)
    plain = [draw_lam(0.75, False) for _ in range(100)]
    np.random.seed(4)
    assert [draw_lam(0.75, True) for _ in range(100)] == [max(lam, 1 - lam) for lam in plain]


@pytest.mark.parametrize('alpha', [0.3, 0.75, 4.0])
def test_lam_is_beta_distributed(alpha):
    np.random.seed(5)
    lams = np.array([draw_lam(alpha, False) for _ in range(20000)])
    variance = 1 / (4 * (2 * alpha + 1))
    assert lams.mean() == pytest.approx(0.5, abs=5 * (variance / 20000) ** 0.5)
    assert lams.var() == pytest.approx(variance, rel=0.03)


def test_partners_are_a_permutation_drawn_anew():
    torch.manual_seed(0)
    drawn = [draw_partners(20, torch.device('cpu')) for _ in range(3)]
    for partner in drawn:
        assert partner.dtype == torch.int64
        assert sorted(partner.tolist()) == list(range(20))
    assert len({tuple(partner.tolist()) for partner in [*drawn, torch.arange(20)]}) == 4
    torch.manual_seed(0)
    assert torch.equal(draw_partners(20, torch.device('cpu')), drawn[0])


def test_unknown_weighting_is_refused():
    with pytest.raises(ValueError, match=r"'image', 'term'.*got 'pixel'"):
        mixup(IMAGES, ONE_HOT, WEIGHT, 0.75, PARTNER, 'pixel')
