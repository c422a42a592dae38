"""Rank pseudo labels by confidence: pixels within each class, images all together or by class (arXiv 2004.08514)."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

NUM_CODES = 65536
IGNORED = 255


class ClassHistogram:
    """Counts, over a whole unlabeled set, how often each class was predicted with each confidence code.

    ``counts`` is int64 [num_classes, 65536] on the CPU. It ranks the pixels without storing them.

    Args:
        num_classes: 1..255.

    Raises:
        ValueError: num_classes outside 1..255.

    Example:
        Ratio 0.5 selects the two most confident of the four pixels of class 0, and the only pixel of class 1.

        >>> histogram = ClassHistogram(num_classes=3)
        >>> histogram.update(torch.tensor([0, 0, 0, 0, 1, 255]), torch.tensor([10, 40, 20, 30, 5, 9]))
        >>> histogram.thresholds(0.5).tolist(), histogram.kept(0.5).tolist(), histogram.coverage(0.5)
        ([30, 5, 0], [2, 1, 0], 0.6)
    """

    def __init__(self, num_classes: int) -> None:
        if not 1 <= num_classes <= IGNORED:
            raise ValueError(f'num_classes must be in 1..{IGNORED}; got {num_classes}')
        self.num_classes = num_classes
        self.counts = torch.zeros(num_classes, NUM_CODES, dtype=torch.int64)

    def update(self, label: Tensor, code: Tensor) -> None:
        """Count the pixels of one image or batch.

        Args:
            label: predicted classes, any shape, any integer dtype; 255 is skipped.
            code: confidence codes 0..65535 (``confidence.encode``), same shape, any integer dtype.

        Raises:
            ValueError: different shapes, a label that is neither a class nor 255, a code outside 0..65535.
        """
        if label.shape != code.shape:
            raise ValueError(
                f'label and code must have one shape; got label {list(label.shape)}, code {list(code.shape)}'
            )
        label, code = label.flatten().cpu().long(), code.flatten().cpu().long()
        valid = label != IGNORED
        if not valid.all():
            label, code = label[valid], code[valid]
        _check_range('label', label, self.num_classes)
        _check_range('code', code, NUM_CODES)
        index = torch.add(code, label, alpha=NUM_CODES)
        self.counts.view(-1).scatter_add_(0, index, torch.ones(1, dtype=torch.int64).expand_as(index))

    def merge(self, other: 'ClassHistogram') -> None:
        """Add the counts of another histogram, e.g. of another process, to this one.

        Raises:
            ValueError: the two have different numbers of classes.
        """
        if other.num_classes != self.num_classes:
            raise ValueError(
                f'histograms must have the same num_classes; got {self.num_classes} and {other.num_classes}'
            )
        self.counts += other.counts

    def thresholds(self, ratio: float) -> NDArray[np.uint16]:
        """Return for each class the largest code t that at least ``max(1, round(ratio * n))`` of its n pixels reach.

        A pixel is selected if its code is >= the threshold of its class. Ties are kept, so ratio 1 selects all.

        Args:
            ratio: share of each class to select, in (0, 1].

        Returns:
            uint16 [num_classes]; 0 for a class that was never predicted.

        Raises:
            ValueError: ratio outside (0, 1].
        """
        return self._rank(ratio)[0].numpy().astype(np.uint16)

    def kept(self, ratio: float) -> NDArray[np.int64]:
        """Count the pixels that ``thresholds(ratio)`` selects, int64 [num_classes].

        Raises:
            ValueError: ratio outside (0, 1].
        """
        return self._rank(ratio)[1].numpy()

    def coverage(self, ratio: float) -> float:
        """Return the selected share of all pixels of all classes, in [0, 1]; 0 for an empty histogram.

        Raises:
            ValueError: ratio outside (0, 1].
        """
        kept = int(self.kept(ratio).sum())
        return kept / max(1, int(self.counts.sum()))

    def _rank(self, ratio: float) -> tuple[Tensor, Tensor]:
        """Return threshold and number of selected pixels of every class, int64 [num_classes] each."""
        if not 0 < ratio <= 1:
            raise ValueError(f'ratio must be in (0, 1]; got {ratio}')
        # One class after the other: sums over all of them at once would take several times the memory of the counts.
        ranked = [_threshold(counts, ratio) for counts in self.counts]
        return torch.stack([threshold for threshold, _ in ranked]), torch.stack([kept for _, kept in ranked])


def select_images(
    log_odds: NDArray[np.float32], ratio: float, label: NDArray[np.integer] | None = None
) -> NDArray[np.int64]:
    """Pick the ``round(ratio * n)`` most confident of n images (arXiv 2004.08514, classification).

    The number is exact: a fixed shuffle breaks ties. The order of the images would not do, because images are often
    sorted by class.

    Args:
        log_odds: confidence of each image, float [n]; any increasing function of it gives the same result.
        ratio: share to pick, in (0, 1].
        label: predicted class of each image, integer [n]. If given, each class is ranked separately, and at least one
            image of each predicted class is picked.

    Returns:
        Indices of the picked images, ascending, int64.

    Raises:
        ValueError: a ratio outside (0, 1] or one that picks nothing, different shapes, a NaN confidence.

    Example:
        >>> log_odds = np.array([1.0, 9.0, 3.0, 2.0], dtype=np.float32)
        >>> select_images(log_odds, 0.5).tolist()
        [1, 2]
        >>> select_images(log_odds, 0.5, label=np.array([0, 1, 1, 0])).tolist()
        [1, 3]
    """
    if not 0 < ratio <= 1:
        raise ValueError(f'ratio must be in (0, 1]; got {ratio}')
    if np.isnan(log_odds).any():
        raise ValueError('log_odds must not be NaN')
    number = len(log_odds)
    ties = np.random.Generator(np.random.PCG64(0)).permutation(number)
    order = np.lexsort((ties, -log_odds))  # lexsort sorts by its last key first
    if label is None:
        picked = order[: selected_number(number, ratio)]
        if not len(picked):
            raise ValueError(f'ratio {ratio} selects none of {number} images')
        return np.sort(picked)
    if label.shape != log_odds.shape:
        raise ValueError(f'label and log_odds must have one shape; got {label.shape} and {log_odds.shape}')
    of_class = [order[label[order] == cls] for cls in np.unique(label)]
    return np.sort(np.concatenate([members[: max(1, selected_number(len(members), ratio))] for members in of_class]))


def selected_number(number: int, ratio: float) -> int:
    """Return how many of ``number`` images a ratio selects: ``round(ratio * number)``.

    Example:
        >>> selected_number(11, 0.2)
        2
    """
    return round(ratio * number)


def _threshold(counts: Tensor, ratio: float) -> tuple[Tensor, Tensor]:
    """Threshold of one class, and how many pixels reach it, from its counts int64 [65536]."""
    at_least = counts.flip(0).cumsum(0).flip(0)
    wanted = (ratio * at_least[0].double()).round().long().clamp(min=1)
    # at_least falls with the code, so the codes 0..threshold select enough.
    threshold = ((at_least >= wanted).sum() - 1).clamp(min=0)
    return threshold, at_least[threshold]


def _check_range(name: str, values: Tensor, end: int) -> None:
    if values.numel() == 0:
        return
    low, high = (int(value) for value in values.aminmax())
    if low < 0 or high >= end:
        skipped = f' or {IGNORED}' if name == 'label' else ''
        raise ValueError(f'{name} must be in 0..{end - 1}{skipped}; got {low if low < 0 else high}')
