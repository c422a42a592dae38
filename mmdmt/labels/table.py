"""Pseudo labels of whole images on disk."""

import csv
import io
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmdmt.core.ranking import select_images
from mmdmt.errors import UserError
from mmdmt.files import write_text
from mmdmt.labels.store import LabelStore

COLUMNS = ('name', 'label', 'confidence', 'log_odds', 'true_label')
BYTES_PER_IMAGE = 60
RANKINGS = ('all', 'class')


class LabelRow(NamedTuple):
    """Pseudo label of one image: class, log-odds of that class, and the true class if known."""

    name: str
    label: int
    log_odds: float
    true_label: int | None = None


class LabelTable(LabelStore):
    """Label store of classification.

    ``labels.csv`` has one line per image, ordered by name: name, class, confidence, log-odds of the class (they rank
    even confidences that round to 1), and the true class if the dataset knows it (for statistics only). Until the
    store is complete, ``part-*.csv`` files hold the lines, one file per process that wrote some.
    """

    always_kept = True
    summed = ('labels.csv',)

    @property
    def path(self) -> Path:
        """Path of ``labels.csv``."""
        return self.root / 'labels.csv'

    def append(self, rows: Sequence[LabelRow]) -> None:
        """Append the labels of some images to this process's part."""
        self._append(_lines(map(_cells, rows)))

    def rows(self) -> list[LabelRow]:
        """Read the labels of all images so far, ordered by name.

        Raises:
            ValueError: if a line cannot be read; the message names file and line.
        """
        if self.complete:
            return _read(self.path)
        paths = [self.path] if self.path.is_file() else []  # finished, but for labels.json
        rows = {row.name: row for path in (*paths, *self.parts()) for row in _read(path, skip_bad=True)}
        return [rows[name] for name in sorted(rows)]

    def names(self) -> set[str]:
        """Names of the images labeled so far."""
        return {row.name for row in self.rows()}

    def finish(self, **info: Any) -> None:
        """Mark the store complete: merge the parts into one file and add ``info`` to ``labels.json``."""
        self._merge(self.rows())
        super().finish(**info)

    def forget(self, names: Collection[str]) -> None:
        """Drop the labels of some images."""
        self._merge([row for row in self.rows() if row.name not in names])
        for part in self.parts():
            part.unlink()

    def _merge(self, rows: Sequence[LabelRow]) -> None:
        write_text(self.path, _lines([COLUMNS, *map(_cells, rows)]))

    def select(self, names: Sequence[str], ratio: float, ranking: str = 'all') -> 'SelectedImages':
        """Select the most confident images: of ``all`` together, or of each predicted ``class``."""
        rows = {row.name: row for row in self.rows()}
        return self.select_rows([rows[name] for name in names], ratio, ranking)

    @staticmethod
    def select_rows(rows: Sequence[LabelRow], ratio: float, ranking: str = 'all') -> 'SelectedImages':
        """Select as :meth:`select` does, from the labels of all images.

        Raises:
            ValueError: if the ranking is neither ``all`` nor ``class``.
        """
        if ranking not in RANKINGS:
            raise UserError(f'ranking={ranking!r} is not one of {RANKINGS}')
        label = np.array([row.label for row in rows])
        log_odds: np.ndarray = np.array([row.log_odds for row in rows], dtype=np.float32)
        return SelectedImages(select_images(log_odds, ratio, label if ranking == 'class' else None), label, log_odds)

    def discard(self) -> None:
        """Do nothing: the table is small."""


class SelectedImages:
    """The most confident images; ``gt_label`` holds their label, ``gt_confidence`` the teacher's confidence."""

    def __init__(self, indices: np.ndarray, label: np.ndarray, log_odds: np.ndarray) -> None:
        self.indices: Sequence[int] = indices.tolist()
        self.label = label[indices]
        self.confidence = 1 / (1 + np.exp(-log_odds[indices].astype(np.float64)))

    @classmethod
    def example(cls) -> 'SelectedImages':
        """Make a selection of one image of class 0, to try a pipeline before labels exist."""
        return cls(np.zeros(1, int), np.zeros(1, int), np.zeros(1, np.float32))

    def fields(self, position: int, name: str) -> dict[str, Any]:
        """``gt_label`` and ``gt_confidence`` of an image."""
        return {'gt_label': int(self.label[position]), 'gt_confidence': float(self.confidence[position])}


def _cells(row: LabelRow) -> tuple[str, ...]:
    confidence = 1 / (1 + np.exp(-np.float64(row.log_odds)))
    true_label = '' if row.true_label is None else str(row.true_label)
    # Nine digits reproduce every float32.
    return row.name, str(row.label), f'{confidence:.6f}', f'{row.log_odds:.9g}', true_label


def _lines(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO(newline='')
    csv.writer(text, lineterminator='\n').writerows(rows)
    return text.getvalue()


def _read(path: Path, skip_bad: bool = False) -> list[LabelRow]:
    content = path.read_bytes()
    # A killed process may have left half a line at the end.
    text = content[: content.rfind(b'\n') + 1].decode(errors='replace')
    rows = []
    for number, line in enumerate(text.split('\n')[:-1], start=1):
        try:
            cells = next(csv.reader([line]), [])
            if tuple(cells) == COLUMNS:
                continue
            name, label, _, log_odds, true_label = cells
            rows.append(LabelRow(name, int(label), float(log_odds), int(true_label) if true_label else None))
        except (ValueError, csv.Error):
            if not skip_bad:
                raise UserError(f'{path}, line {number}: must be {", ".join(COLUMNS)}, got {line!r}') from None
    return rows
