"""What is known about the pseudo labels of each label phase, from the files that stay after the labels were used."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from mmdmt.analysis.label_check import CHECK
from mmdmt.analysis.label_quality import CONFIDENCE_EDGES, by_confidence
from mmdmt.analysis.run_record import RunRecord
from mmdmt.core.schedule import Phase
from mmdmt.files import read_json
from mmdmt.labels.maps import LabelMaps
from mmdmt.labels.table import LabelRow, LabelTable

Pair = tuple[int, int]
"""Number of labels, and of right ones among them."""


_CHECKED = dict(true_kept='kept', true_all='all', true_bins='bins', checked='images')


@dataclass(frozen=True)
class LabelFacts:
    """Pseudo labels of one teacher in one iteration: pixels, or images.

    ``by_class``, ``kept``: number of all labels, and of those that the ratio keeps, of each class.
    ``bins``: share of all labels in each bin of ``CONFIDENCE_EDGES``.
    ``true_kept``, ``true_all``, ``true_bins``: labels compared with the truth, by class or by bin; None if unknown.
    ``checked``: number of images compared with the truth.
    """

    phase: Phase
    by_class: Sequence[int]
    kept: Sequence[int]
    bins: Sequence[float]
    true_kept: Sequence[Pair] | None = None
    true_all: Sequence[Pair] | None = None
    true_bins: Sequence[Pair] | None = None
    checked: int = 0

    @property
    def coverage(self) -> float:
        """Share of the labels that are kept."""
        return sum(self.kept) / max(1, sum(self.by_class))

    @property
    def accuracy(self) -> float | None:
        """Share of right labels among those kept."""
        return share(self.true_kept)

    @property
    def accuracy_all(self) -> float | None:
        """Share of right labels among all."""
        return share(self.true_all)


def share(pairs: Sequence[Pair] | None) -> float | None:
    """Share of right labels in some pairs; None if there is none."""
    number = sum(pair[0] for pair in pairs or ())
    return sum(pair[1] for pair in pairs or ()) / number if number else None


def read_labels(record: RunRecord, phase: Phase, ranking: str = 'all') -> LabelFacts | None:
    """Read the facts of a label phase; None if it is not complete, or if its files are damaged."""
    folder = record.work_dir / phase.name
    info = record.label_info(phase)
    try:
        if 'pixels_by_class' in info:
            return _of_pixels(folder, phase, info['pixels_by_class'])
        if 'images_by_class' in info:
            return _of_images(folder, phase, info['images_by_class'], ranking)
    except (OSError, ValueError, KeyError, IndexError, EOFError, BadZipFile):
        return None
    return None


def _of_pixels(folder: Path, phase: Phase, by_class: Sequence[int]) -> LabelFacts:
    histogram = LabelMaps(folder).histogram()
    number = by_confidence(histogram)
    check = read_json(folder / CHECK) or {}
    truth = {name: check[key] for name, key in _CHECKED.items()} if check.keys() >= set(_CHECKED.values()) else {}
    kept = histogram.kept(phase.label_ratio or 1).tolist()
    return LabelFacts(phase, by_class, kept, (number / number.sum().clamp(min=1)).tolist(), **truth)


def _of_images(folder: Path, phase: Phase, by_class: Sequence[int], ranking: str) -> LabelFacts:
    rows, number = LabelTable(folder).rows(), len(by_class)
    selected = LabelTable.select_rows(rows, phase.label_ratio or 1, ranking).indices
    label: np.ndarray = np.array([row.label for row in rows])
    bins = _bin([row.log_odds for row in rows])
    kept: np.ndarray = np.zeros(len(rows), dtype=bool)
    kept[list(selected)] = True
    right = _right(rows)
    sizes = np.bincount(bins, minlength=len(CONFIDENCE_EDGES) - 1)
    truth = {} if right is None else dict(
        true_kept=_pairs(label[kept], right[kept], number), true_all=_pairs(label, right, number),
        true_bins=_pairs(bins, right, len(sizes)), checked=len(rows),
    )  # fmt: skip
    return LabelFacts(
        phase,
        by_class,
        np.bincount(label[kept], minlength=number).tolist(),
        (sizes / max(1, len(rows))).tolist(),
        **truth,  # type: ignore[arg-type]
    )


def _right(rows: Sequence[LabelRow]) -> np.ndarray | None:
    """Whether each label is right, bool [n]; None if the truth is not known."""
    if not rows or any(row.true_label is None for row in rows):
        return None
    return np.array([row.label == row.true_label for row in rows])


def _bin(log_odds: Sequence[float]) -> np.ndarray:
    """Bin of ``CONFIDENCE_EDGES`` of each confidence, int64 [n]."""
    confidence = 1 / (1 + np.exp(-np.asarray(log_odds, dtype=np.float64)))
    return np.asarray(np.searchsorted(CONFIDENCE_EDGES[1:-1], confidence, side='right'))


def _pairs(group: np.ndarray, right: np.ndarray, number: int) -> list[Pair]:
    sizes, hits = (np.bincount(part, minlength=number).tolist() for part in (group, group[right]))
    return list(zip(sizes, hits, strict=True))
