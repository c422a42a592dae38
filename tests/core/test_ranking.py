import numpy as np
import pytest
import torch

from mmdmt.core.confidence import encode
from mmdmt.core.ranking import ClassHistogram

RATIOS = [0.2, 0.4, 0.6, 0.8, 1]


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
            assert ratio <= selected / len(own) + 1e-6
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
    [(torch.uint8, torch.uint16), (torch.uint8, torch.int32), (torch.int64, torch.int64), (torch.int16, torch.uint16)],
)
def test_integer_dtypes(label_dtype, code_dtype):
    label = torch.tensor([0, 1, 255]).to(label_dtype)
    code = torch.from_numpy(np.array([0, 65535, 7], dtype=np.uint16)).to(code_dtype)
    assert filled(label, code, 2).kept(1).tolist() == [1, 1]


@pytest.mark.parametrize('name', ['histogram.npz', 'histogram'])
def test_save_and_load(tmp_path, name):
    histogram = filled(LABELS, CODES, 3)
    path = tmp_path / name
    path.write_text('an older file')
    histogram.save(path)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert path.stat().st_size < 10_000
    loaded = ClassHistogram.load(str(path))
    assert loaded.num_classes == 3
    assert torch.equal(loaded.counts, histogram.counts)


def test_save_and_load_empty(tmp_path):
    ClassHistogram(4).save(tmp_path / 'empty.npz')
    assert ClassHistogram.load(tmp_path / 'empty.npz').counts.shape == (4, 65536)


def test_failed_save_keeps_the_older_file(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError('disk full')

    path = tmp_path / 'histogram.npz'
    filled(LABELS, CODES, 3).save(path)
    monkeypatch.setattr(np, 'savez_compressed', fail)
    with pytest.raises(OSError, match='disk full'):
        ClassHistogram(3).save(path)
    assert [file.name for file in tmp_path.iterdir()] == ['histogram.npz']
    assert ClassHistogram.load(path).counts.sum() == 14


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
