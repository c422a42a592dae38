from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch

from mmdmt.core.confidence import encode
from mmdmt.core.ranking import NUM_CODES, ClassHistogram, select_images, selected_number

RATIOS = [0.2, 0.4, 0.6, 0.8, 1]
UINT16 = getattr(torch, 'uint16', torch.int32)  # not in torch 2.1


def filled(labels, codes, num_classes):
    histogram = ClassHistogram(num_classes)
    histogram.update(torch.as_tensor(labels), torch.as_tensor(codes))
    return histogram


def slow_rank(labels, codes, num_classes, ratio):
    """Thresholds and kept pixels by sorting Python lists: the k-th highest code of each class."""
    thresholds, kept = [], []
    for index in range(num_classes):
        own = sorted((code for label, code in zip(labels, codes, strict=True) if label == index), reverse=True)
        threshold = own[max(1, round(ratio * len(own))) - 1] if own else 0
        thresholds.append(threshold)
        kept.append(sum(code >= threshold for code in own))
    return thresholds, kept


@pytest.mark.parametrize('ratio', [0.01, 0.2, 0.37, 0.5, 0.999, 1])
@pytest.mark.parametrize('highest', [5, 300, 65535])
def test_equals_slow_reference(ratio, highest):
    generator = torch.Generator().manual_seed(highest)
    label = torch.randint(0, 4, (3, 10, 20), generator=generator)
    label[label == 2] = 255
    code = torch.randint(0, highest + 1, (3, 10, 20), generator=generator)
    histogram = filled(label, code, 4)
    thresholds, kept = slow_rank(label.flatten().tolist(), code.flatten().tolist(), 4, ratio)
    assert histogram.thresholds(ratio).tolist() == thresholds
    assert histogram.kept(ratio).tolist() == kept
    assert histogram.coverage(ratio) == sum(kept) / int((label != 255).sum())


# Class 0: ten pixels with codes 0..9; class 1: a tie of three at the top and one below; class 2 never predicted.
LABELS = [0] * 10 + [1] * 4 + [255]
CODES = [*range(10), 7, 7, 7, 3, 65535]


@pytest.mark.parametrize(
    ('ratio', 'thresholds', 'kept', 'coverage'),
    [
        (0.01, [9, 7, 0], [1, 3, 0], 4 / 14),  # at least one pixel; ties are kept
        (0.2, [8, 7, 0], [2, 3, 0], 5 / 14),
        (0.5, [5, 7, 0], [5, 3, 0], 8 / 14),
        (0.8, [2, 7, 0], [8, 3, 0], 11 / 14),
        (1, [0, 3, 0], [10, 4, 0], 1),
    ],
)
def test_by_hand(ratio, thresholds, kept, coverage):
    histogram = filled(LABELS, CODES, 3)
    assert histogram.thresholds(ratio).dtype == np.uint16
    assert histogram.thresholds(ratio).tolist() == thresholds
    assert histogram.kept(ratio).dtype == np.int64
    assert histogram.kept(ratio).tolist() == kept
    assert histogram.coverage(ratio) == pytest.approx(coverage)


def test_extreme_codes():
    histogram = filled([0, 0, 1], [0, 65535, 65535], 2)
    assert histogram.counts.shape == (2, 65536)
    assert histogram.counts.dtype == torch.int64
    assert [histogram.counts[0, 0], histogram.counts[0, 65535], histogram.counts[1, 65535]] == [1, 1, 1]
    assert histogram.thresholds(0.5).tolist() == [65535, 65535]
    assert histogram.thresholds(1).tolist() == [0, 65535]


def test_empty_histogram():
    histogram = filled([255, 255], [1, 2], 2)
    assert histogram.thresholds(0.5).tolist() == [0, 0]
    assert histogram.kept(1).tolist() == [0, 0]
    assert histogram.coverage(1) == 0.0


def test_update_takes_empty_tensors():
    histogram = filled(torch.zeros(0).long(), torch.zeros(0).long(), 2)
    assert histogram.counts.sum() == 0


@pytest.fixture(scope='module')
def sharp():
    """1e7 confidences of a trained model: 20 % above 1 - 1e-7 (log-odds 16.12), over five unequal classes."""
    number = 10_000_000
    generator = torch.Generator().manual_seed(0)
    log_odds = (5 + 3 * torch.randn(number, generator=generator)).clamp_(min=0.001)
    log_odds[: number // 5] = 16.2 + torch.empty(number // 5).exponential_(generator=generator)
    label = torch.multinomial(torch.tensor([0.5, 0.3, 0.15, 0.04, 0.01]), number, True, generator=generator)
    _, code = encode(torch.stack([log_odds, torch.zeros(number)], dim=1))
    assert (log_odds > 16.12).float().mean() >= 0.2
    return label.to(torch.uint8), code


def test_selected_share_of_sharp_confidences(sharp):
    label, code = sharp
    histogram = filled(label, code, 5)
    code_of_class = [code[label == index] for index in range(5)]
    for ratio in RATIOS:
        thresholds, kept = histogram.thresholds(ratio), histogram.kept(ratio)
        for index, own in enumerate(code_of_class):
            selected = int((own >= int(thresholds[index])).sum())
            assert selected == kept[index]
            assert selected >= round(ratio * len(own))
            assert abs(selected / len(own) - ratio) <= 0.0005
        assert abs(histogram.coverage(ratio) - ratio) <= 0.0005


def test_merge_equals_one_update_over_both():
    whole, first, second = filled(LABELS, CODES, 3), filled(LABELS[:6], CODES[:6], 3), filled(LABELS[6:], CODES[6:], 3)
    assert not torch.equal(whole.counts, first.counts)
    first.merge(second)
    assert torch.equal(whole.counts, first.counts)


def test_updates_add_up():
    histogram = filled(LABELS, CODES, 3)
    histogram.update(torch.tensor(LABELS), torch.tensor(CODES))
    assert torch.equal(histogram.counts, 2 * filled(LABELS, CODES, 3).counts)


@pytest.mark.parametrize(
    ('label_dtype', 'code_dtype'),
    [(torch.uint8, UINT16), (torch.uint8, torch.int32), (torch.int64, torch.int64), (torch.int16, UINT16)],
)
def test_integer_dtypes(label_dtype, code_dtype):
    label = torch.tensor([0, 1, 255]).to(label_dtype)
    code = torch.from_numpy(np.array([0, 65535, 7])).to(code_dtype)
    assert filled(label, code, 2).kept(1).tolist() == [1, 1]


@pytest.mark.parametrize(
    ('labels', 'codes', 'message'),
    [
        ([0, 3], [1, 1], r'label must be in 0\.\.2 or 255; got 3'),
        ([0, 254], [1, 1], 'got 254'),
        ([-1, 0], [1, 1], 'got -1'),
        ([0, 1], [1, 65536], r'code must be in 0\.\.65535; got 65536'),
        ([0, 1], [-2, 1], 'code .*got -2'),
        ([0, 1], [1], r'label \[2\], code \[1\]'),
    ],
)
def test_update_refuses(labels, codes, message):
    histogram = ClassHistogram(3)
    with pytest.raises(ValueError, match=message):
        histogram.update(torch.tensor(labels), torch.tensor(codes))
    assert histogram.counts.sum() == 0


@pytest.mark.parametrize('ratio', [0, -0.1, 1.01, float('nan')])
@pytest.mark.parametrize('method', ['thresholds', 'kept', 'coverage'])
def test_ratio_is_refused(ratio, method):
    with pytest.raises(ValueError, match=rf'\(0, 1\]; got {ratio}'):
        getattr(filled(LABELS, CODES, 3), method)(ratio)


def test_merge_refuses_other_classes():
    with pytest.raises(ValueError, match='3 and 4'):
        ClassHistogram(3).merge(ClassHistogram(4))


@pytest.mark.parametrize('num_classes', [0, 256])
def test_num_classes_is_refused(num_classes):
    with pytest.raises(ValueError, match=rf'1\.\.255; got {num_classes}'):
        ClassHistogram(num_classes)


def slow_select(log_odds, ratio, label=None):
    """Images by decreasing confidence, in Python lists; for confidences without ties."""
    if label is None:
        groups = [range(len(log_odds))]
    else:
        groups = [[index for index, own in enumerate(label) if own == cls] for cls in set(label)]
    least = 0 if label is None else 1
    picked = []
    for group in groups:
        ranked = sorted(group, key=lambda index: log_odds[index], reverse=True)
        picked += ranked[: max(least, round(ratio * len(ranked)))]
    return sorted(picked)


@pytest.mark.parametrize(
    ('number', 'ratio', 'selected'),
    [
        (0, 0.5, 0),
        (1, 0.5, 0),  # a half is rounded to even
        (3, 0.5, 2),
        (10, 0.25, 2),
        (30, 0.25, 8),
        (1, 0.51, 1),
        (7, 1, 7),
        (45800, 0.2, 9160),  # CIFAR-10 with 4000 labels and 200 images held out
        (48800, 0.6, 29280),
    ],
)
def test_selected_number(number, ratio, selected):
    assert selected_number(number, ratio) == selected


@pytest.mark.parametrize('ratio', ['0.01', '0.2', '0.37', '0.5', '0.875', '0.999', '1'])
@pytest.mark.parametrize('levels', [1, 3, 10**6])
def test_exactly_the_ratio_is_selected_whatever_ties(ratio, levels):
    generator = np.random.default_rng(levels)
    for number in [*range(1, 40), 100, 1000]:
        log_odds = generator.integers(0, levels, number).astype(np.float32)
        wanted = round(Fraction(ratio) * number)  # exact, half to even
        if wanted == 0:
            continue
        picked = select_images(log_odds, float(ratio))
        assert picked.dtype == np.int64
        assert len(picked) == wanted
        assert (np.diff(picked) > 0).all()
        assert 0 <= picked[0] <= picked[-1] < number
        rest = np.delete(log_odds, picked)
        assert log_odds[picked].min() >= rest.max(initial=-np.inf)


@pytest.mark.parametrize(
    ('ratio', 'by_all', 'by_class'),
    [
        (0.2, [3], [1, 3]),  # class 3 has one image, of which at least one
        (0.8, [0, 1, 3, 4, 5], [0, 1, 3, 4, 5]),
        (0.5, [1, 3, 5], [1, 3, 5]),  # class 7 has five images, of which round(2.5) = 2
        (1, [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5]),
    ],
)
def test_select_by_hand(ratio, by_all, by_class):
    log_odds = np.array([0.5, 3.0, -2.0, 9.0, 1.0, 2.0], dtype=np.float32)
    label = np.array([7, 7, 7, 3, 7, 7])
    assert select_images(log_odds, ratio).tolist() == by_all
    assert select_images(log_odds, ratio, label).tolist() == by_class


@pytest.mark.parametrize('ratio', [0.01, 0.2, 0.37, 0.6, 1])
@pytest.mark.parametrize('number', [1, 2, 11, 300])
def test_select_equals_slow_reference(ratio, number):
    generator = np.random.default_rng(number)
    log_odds = generator.permutation(number).astype(np.float32)
    label = generator.choice([0, 1, 5, 300], number, p=[0.6, 0.3, 0.08, 0.02])
    assert select_images(log_odds, ratio, label).tolist() == slow_select(log_odds.tolist(), ratio, label.tolist())
    if round(ratio * number):
        assert select_images(log_odds, ratio).tolist() == slow_select(log_odds.tolist(), ratio)


def test_ties_are_not_broken_by_the_order_of_the_images():
    """1000 equal confidences, sorted by class as in a folder of folders: each class gets about its share."""
    log_odds = np.full(1000, 88.0, dtype=np.float32)
    picked = select_images(log_odds, 0.2)
    counts = np.bincount(picked // 100, minlength=10)
    assert counts.sum() == 200
    assert counts.min() >= 8
    assert counts.max() <= 32
    np.testing.assert_array_equal(select_images(log_odds, 0.2), picked)
    of_class = select_images(log_odds, 0.2, np.zeros(1000, dtype=int))
    np.testing.assert_array_equal(of_class, picked)


def test_choice_does_not_depend_on_the_global_generator():
    log_odds = np.zeros(50, dtype=np.float32)
    np.random.seed(1)
    first, state = select_images(log_odds, 0.3), np.random.get_state()[1].copy()
    np.random.seed(2)
    np.testing.assert_array_equal(select_images(log_odds, 0.3), first)
    np.random.seed(1)
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_a_larger_ratio_selects_the_same_images_and_more():
    log_odds = np.random.default_rng(0).integers(0, 4, 200).astype(np.float32)
    chosen = [set(select_images(log_odds, ratio).tolist()) for ratio in RATIOS]
    for fewer, more in pairwise(chosen):
        assert fewer < more


def test_any_increasing_function_of_the_confidence_selects_the_same():
    log_odds = np.random.default_rng(1).normal(size=99).astype(np.float32)
    np.testing.assert_array_equal(select_images(np.exp(log_odds), 0.4), select_images(log_odds, 0.4))


def test_each_predicted_class_gets_its_rounded_share_and_at_least_one_image():
    label = np.repeat([4, 0, 9, 2], [1, 2, 8, 40])
    log_odds = np.zeros(51, dtype=np.float32)
    picked = select_images(log_odds, 0.2, label)
    assert np.bincount(label[picked], minlength=10).tolist() == [1, 0, 8, 0, 1, 0, 0, 0, 0, 2]
    assert (np.diff(picked) > 0).all()


def test_infinite_confidence_ranks_first():
    log_odds = np.array([5, np.inf, -np.inf, 80], dtype=np.float32)
    assert select_images(log_odds, 0.25).tolist() == [1]
    assert select_images(log_odds, 0.75).tolist() == [0, 1, 3]


def test_one_image():
    one = np.array([0.3], dtype=np.float32)
    assert select_images(one, 1).tolist() == select_images(one, 0.6).tolist() == [0]
    assert select_images(one, 0.01, np.array([5])).tolist() == [0]
    with pytest.raises(ValueError, match=r'ratio 0\.5 selects none of 1 images'):
        select_images(one, 0.5)


@pytest.mark.parametrize(
    ('log_odds', 'ratio', 'label', 'message'),
    [
        ([1, 2], 0, None, r'\(0, 1\]; got 0'),
        ([1, 2], -0.2, None, 'got -0.2'),
        ([1, 2], 1.01, [0, 1], 'got 1.01'),
        ([1, 2], float('nan'), None, 'got nan'),
        ([1, 2], 0.1, None, 'ratio 0.1 selects none of 2 images'),
        ([], 1, None, 'selects none of 0 images'),
        ([1, np.nan], 1, None, 'NaN'),
        ([1, np.nan], 1, [0, 1], 'NaN'),
        ([1, 2], 1, [0, 1, 1], r'one shape; got \(3,\) and \(2,\)'),
        ([1, 2], 1, [[0], [1]], r'got \(2, 1\) and \(2,\)'),
    ],
)
def test_select_refuses(log_odds, ratio, label, message):
    with pytest.raises(ValueError, match=message):
        select_images(np.array(log_odds, dtype=np.float32), ratio, None if label is None else np.array(label))


def test_ranking_takes_hardly_more_memory_than_the_counts(monkeypatch):
    """Cumulative sums of all classes at once would take three times as much."""
    histogram, sizes = ClassHistogram(40), []
    flip = torch.Tensor.flip
    monkeypatch.setattr(torch.Tensor, 'flip', lambda self, *dims: sizes.append(self.numel()) or flip(self, *dims))
    histogram.thresholds(0.5)
    assert max(sizes) == NUM_CODES
