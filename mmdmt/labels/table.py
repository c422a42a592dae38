"""Pseudo labels of whole images on disk."""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmdmt.core.ranking import select_images
from mmdmt.errors import UserError
from mmdmt.files import atomic
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

    def __init__(self, root: str | os.PathLike) -> None:
        super().__init__(root)
        self._part: Path | None = None

    @property
    def path(self) -> Path:
        """Path of ``labels.csv``."""
        return self.root / 'labels.csv'

    def append(self, rows: Sequence[LabelRow]) -> None:
        """Append the labels of some images to this process's part."""
        if self._part is None:
            self.root.mkdir(parents=True, exist_ok=True)
            self._part = self._new_part()
        with open(self._part, 'a', newline='', encoding='utf-8') as file:
            csv.writer(file, lineterminator='\n').writerows(map(_cells, rows))

    def _new_part(self) -> Path:
        number = 0
        while True:
            path = self.root / f'part-{number}.csv'
            try:
                path.touch(exist_ok=False)
                return path
            except FileExistsError:  # of another process, or of a killed one
                number += 1

    def rows(self) -> list[LabelRow]:
        """Read the labels of all images so far, ordered by name.

        Raises:
            ValueError: if a line cannot be read; the message names file and line.
        """
        if self.path.is_file():
            return _read(self.path)
        rows = {row.name: row for part in self.root.glob('part-*.csv') for row in _read(part)}
        return [rows[name] for name in sorted(rows)]

    def names(self) -> set[str]:
        """Names of the images labeled so far."""
        return {row.name for row in self.rows()}

    def finish(self, **info: Any) -> None:
        """Mark the store complete: merge the parts into one file and add ``info`` to ``labels.json``."""
        rows = self.rows()
        with atomic(self.path, 'w') as file:
            csv.writer(file, lineterminator='\n').writerows([COLUMNS, *map(_cells, rows)])
        super().finish(**info)
        for part in self.root.glob('part-*.csv'):
            part.unlink()

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


def _read(path: Path) -> list[LabelRow]:
    content = path.read_bytes()
    # A killed process may have left half a line at the end.
    text = content[: content.rfind(b'\n') + 1].decode()
    rows = []
    for number, cells in enumerate(csv.reader(io.StringIO(text, newline='')), start=1):
        if tuple(cells) == COLUMNS:
            continue
        try:
            name, label, _, log_odds, true_label = cells
            rows.append(LabelRow(name, int(label), float(log_odds), int(true_label) if true_label else None))
        except ValueError:
            raise UserError(f'{path}, line {number}: must be {", ".join(COLUMNS)}, got {cells}') from None
    return rows
