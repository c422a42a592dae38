"""Scikit-learn's handwritten digits, the source of all demo data."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mmdmt.errors import InstallationError

SPLITS = ('train', 'val')


@lru_cache(maxsize=1)
def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """Read all 1,797 digits: int64 ink (N, 8, 8) from 0 to 16, and int64 classes (N,) from 0 to 9; both read-only.

    Raises:
        InstallationError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits as read_packaged_digits
    except ImportError as error:
        raise InstallationError(
            "the handwritten digits come with scikit-learn, which is missing: pip install -e '.[demo]'"
        ) from error
    digits = read_packaged_digits()
    ink, labels = digits.images.astype(np.int64), digits.target.astype(np.int64)
    # All callers share these two cached arrays.
    ink.setflags(write=False)
    labels.setflags(write=False)
    return ink, labels


def digit_pool(split: str) -> np.ndarray:
    """Return the indices of the handwritten digits in ``split``, int64 of shape (N,).

    Every fourth digit belongs to ``val``, the others to ``train``, so the splits share no digit.

    Raises:
        ValueError: ``split`` is neither ``train`` nor ``val``.
        InstallationError: scikit-learn is not installed.
    """
    if split not in SPLITS:
        raise ValueError(f'split must be one of {SPLITS}, got {split!r}')
    indices = np.arange(len(load_digits()[1]))
    return indices[(indices % 4 == 3) == (split == 'val')]
