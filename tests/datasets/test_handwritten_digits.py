import numpy as np
import pytest

from mmdmt.datasets.handwritten_digits import SPLITS, digit_pool, load_digits


def test_digits_are_those_of_scikit_learn():
    ink, labels = load_digits()
    assert (ink.shape, ink.dtype, labels.shape, labels.dtype) == ((1797, 8, 8), np.int64, (1797,), np.int64)
    assert (ink.min(), ink.max()) == (0, 16)
    assert labels[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert ink[0, 0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]


def test_digits_are_read_once_and_cannot_be_changed():
    first, second = load_digits(), load_digits()
    assert first is second
    for array in first:
        with pytest.raises(ValueError, match='read-only'):
            array[0] = 1


def test_every_fourth_digit_is_for_validation():
    train, val = (digit_pool(split) for split in SPLITS)
    assert (train.dtype, val.dtype) == (np.int64, np.int64)
    assert (len(train), len(val)) == (1348, 449)  # 1797 = 4 * 449 + 1
    assert train[:7].tolist() == [0, 1, 2, 4, 5, 6, 8]
    assert val[:3].tolist() == [3, 7, 11]
    assert (train[-1], val[-1]) == (1796, 1795)


@pytest.mark.parametrize('split', ['test', 'trainval', None])
def test_other_split_is_refused(split):
    with pytest.raises(ValueError, match=rf"^split must be one of \('train', 'val'\), got {split!r}$"):
        digit_pool(split)
