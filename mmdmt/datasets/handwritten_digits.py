"""Scikit-learn's handwritten digits, which all demo data is made of."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

SPLITS = ('train', 'val')


@lru_cache(maxsize=1)
def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """Read all 1,797 digits: int64 ink (N, 8, 8) from 0 to 16, and int64 class (N,) from 0 to 9; both read-only.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits as read_packaged_digits
    except ImportError as error:
        raise ImportError(
            'the handwritten digits are those packaged with scikit-learn: pip install scikit-learn'
        ) from error
    digits = read_packaged_digits()
    ink, labels = digits.images.astype(np.int64), digits.target.astype(np.int64)
    # Every caller gets the same two arrays out of the cache.
    ink.setflags(write=False)
    labels.setflags(write=False)
    return ink, labels


def digit_pool(split: str) -> np.ndarray:
    """Return the indices, int64 of shape (N,), of the handwritten digits that belong to ``split``.

    Every fourth digit belongs to ``val``, the others to ``train``: no handwritten digit is seen in both.

    Raises:
        ValueError: ``split`` is neither ``train`` nor ``val``.
        ImportError: scikit-learn is not installed.
    """
    if split not in SPLITS:
        raise ValueError(f'split must be one of {SPLITS}, got {split!r}')
    indices = np.arange(len(load_digits()[1]))
    return indices[(indices % 4 == 3) == (split == 'val')]
