"""Shows pseudo labels of a label phase as a contact sheet: evenly chosen ones, or the worst."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from mmdmt.analysis import pictures
from mmdmt.analysis.document import Grid, Picture, Section
from mmdmt.analysis.label_check import evenly, resized, true_map
from mmdmt.analysis.snapshots import shown
from mmdmt.config_dicts import copy_config
from mmdmt.core.confidence import decode
from mmdmt.core.ranking import IGNORED
from mmdmt.core.schedule import Phase
from mmdmt.datasets.unlabeled import UnlabeledDataset
from mmdmt.engine.manifest import Manifest
from mmdmt.engine.plan import RunPlan
from mmdmt.engine.run_data import RunData
from mmdmt.errors import MissingFileError, UserError
from mmdmt.labels.maps import LabelMaps
from mmdmt.labels.stores import holds_labels
from mmdmt.labels.table import LabelRow, LabelTable

MOST = 2000
"""Images that are read to find the worst."""
COLUMNS = 6


class Figures(NamedTuple):
    """One image: ``wrong``: share of wrong labels, None without a truth; ``confidence``: mean; ``kept``: share."""

    idx: int
    wrong: float | None
    confidence: float
    kept: float


class LabelBrowser:
    """The pseudo labels of one label phase.

    Args:
        plan: The run.
        manifest: Its state.
        data: Its prepared data.
        name: Name of a complete label phase, whose labels were kept.

    Raises:
        UserError, MissingFileError: if there is no such phase, or if its labels are not there.
    """

    def __init__(self, plan: RunPlan, manifest: Manifest, data: RunData, name: str) -> None:
        self.plan, self.phase = plan, _label_phase(plan, name)
        self.folder = manifest.folder(name)
        own = data.models[self.phase.model]
        self.dataset = UnlabeledDataset(copy_config(own.unlabeled), copy_config(own.label_pipeline))
        self.train_pipeline = own.train_pipeline
        self.maps = plan.task.store == 'maps'
        self._check()
        number = plan.num_classes(self.phase.model)
        self.classes = [str(item) for item in self.dataset.metainfo.get('classes') or range(number)]
        self.colors = pictures.palette_of(self.dataset.metainfo.get('palette'), number)

    def _check(self) -> None:
        if not (self.folder / 'labels.json').is_file():
            raise MissingFileError(f'phase {self.phase.name} in {self.folder.parent} is not complete')
        if not holds_labels(self.folder):
            raise MissingFileError(
                f'the labels of {self.phase.name} were deleted after use; dmt.keep_labels=True keeps them'
            )

    def sheet(self, number: int, worst: bool, only: str | None = None) -> Section:
        """A contact sheet.

        Args:
            number: How many images.
            worst: The images with the most wrong labels; without a truth, those with the least confidence. Otherwise
                evenly chosen ones.
            only: Name or index of a class: only images with labels of this class, and figures of these labels.
        """
        index = None if only is None else self._class(only)
        found = self._maps(index) if self.maps else self._images(index)
        if not found:
            raise UserError(f'{self.phase.name}: no image has a label of class {only!r}')
        if worst:
            found.sort(key=lambda own: (-(own.wrong or 0), own.confidence))
            chosen = found[:number]
        else:
            chosen = [found[place] for place in evenly(len(found), number)]
        how = 'worst first' if worst else 'evenly chosen'
        text = (
            f'{len(chosen)} of {len(found)} images, {how}' + ('' if only is None else f', labels of class {only}') + '.'
        )
        grid = self._map_grid(chosen) if self.maps else self._image_grid(chosen)
        return Section(f'Pseudo labels of {self.phase.name}', [text], [grid])

    def _class(self, given: str) -> int:
        if given in self.classes:
            return self.classes.index(given)
        if given.isdigit() and int(given) < len(self.classes):
            return int(given)
        raise UserError(f'--class {given!r} is not one of {", ".join(self.classes)}')

    def _maps(self, only: int | None) -> list[Figures]:
        """Figures of up to ``MOST`` evenly chosen images."""
        store, thresholds = self._store()
        found = []
        for idx in evenly(len(self.dataset), MOST):
            label, code = store.read(self.dataset.name(idx))
            used = np.ones(label.shape, bool) if only is None else label == only
            if not used.any():
                continue
            truth = self._truth(idx, label)
            confidence = decode(torch.from_numpy(code.astype(np.int64))).numpy()
            kept = code >= thresholds[label]
            wrong = None if truth is None else _share((label != truth)[used & (truth != IGNORED)])
            found.append(Figures(idx, wrong, float(confidence[used].mean()), float(kept[used].mean())))
        return found

    def _store(self) -> tuple[LabelMaps, np.ndarray]:
        store = LabelMaps(self.folder)
        return store, np.array(store.info()['thresholds'])

    def _truth(self, idx: int, label: np.ndarray) -> np.ndarray | None:
        truth = true_map(self.dataset.dataset.get_data_info(idx), self.train_pipeline)
        return None if truth is None else resized(truth, label.shape).numpy()

    def _map_grid(self, chosen: Sequence[Figures]) -> Grid:
        store, thresholds = self._store()
        rows: list[list[Picture | str]] = []
        for own in chosen:
            name = self.dataset.name(own.idx)
            label, code = store.read(name)
            used = np.where(code >= thresholds[label], label, np.uint8(IGNORED))
            truth = self._truth(own.idx, label)
            confidence = decode(torch.from_numpy(code.astype(np.int64))).numpy()
            rows.append([
                f'{name}\n{_said(own)}',
                self._photo(own.idx),
                Picture(pictures.class_picture(used, self.colors), 'used labels'),
                Picture(pictures.class_picture(label, self.colors), 'all labels'),
                Picture(pictures.weight_picture(confidence, np.zeros_like(label)), 'confidence'),
                '' if truth is None else Picture(pictures.class_picture(truth, self.colors), 'truth'),
            ])  # fmt: skip
        legend = [((255, 255, 255), 'ignored'), *zip(self.colors, self.classes, strict=True)]
        header = ['', 'image', 'used labels', 'all labels', 'confidence', 'truth']
        return Grid(header, rows, 'Confidence: dark 0, bright 1.', legend)

    def _photo(self, idx: int, note: str = '', mark: str = '') -> Picture:
        inputs, info = self.dataset[idx]['inputs'], self.dataset.dataset.get_data_info(idx)
        return Picture(pictures.photo(shown(inputs, 'img' in info)), self.dataset.name(idx), note, mark)

    def _rows(self) -> list[LabelRow]:
        rows = {row.name: row for row in LabelTable(self.folder).rows()}
        return [rows[self.dataset.name(idx)] for idx in range(len(self.dataset))]

    def _images(self, only: int | None) -> list[Figures]:
        rows = self._rows()
        selected = LabelTable.select_rows(rows, self.phase.label_ratio or 1, self.plan.settings.ranking).indices
        kept = set(selected)
        return [
            Figures(
                idx,
                None if row.true_label is None else float(row.label != row.true_label),
                _probability(row) if row.label == row.true_label or row.true_label is None else 1 - _probability(row),
                float(idx in kept),
            )
            for idx, row in enumerate(rows)
            if only is None or row.label == only
        ]

    def _image_grid(self, chosen: Sequence[Figures]) -> Grid:
        rows, cells = self._rows(), list[Picture | str]()
        for own in chosen:
            row = rows[own.idx]
            note = f'{self.classes[row.label]} {_probability(row):.3f}' + ('' if own.kept else ', not used')
            mark = ''
            if row.true_label is not None:
                mark = 'right' if row.label == row.true_label else 'wrong'
                note += '' if mark == 'right' else f'\n(is {self.classes[row.true_label]})'
            cells.append(self._photo(own.idx, note, mark))
        lines = [['', *cells[start : start + COLUMNS]] for start in range(0, len(cells), COLUMNS)]
        return Grid(
            ['', *([''] * COLUMNS)], lines, 'Label and confidence of the teacher; wrong ones in red, the surest first.'
        )


def _label_phase(plan: RunPlan, name: str) -> Phase:
    labels = [phase for phase in plan.phases if phase.kind == 'label']
    if not labels:
        raise UserError("the run has no pseudo labels on disk (dmt.scheme='single')")
    found = [phase for phase in labels if phase.name == name]
    if not found:
        raise UserError(f'--phase {name!r} is not one of {", ".join(phase.name for phase in labels)}')
    return found[0]


def last_labels(plan: RunPlan, work_dir: Path) -> str:
    """Name of the last label phase of a run whose labels are there; of the last one if none are."""
    names = [phase.name for phase in plan.phases if phase.kind == 'label']
    there = [name for name in names if holds_labels(work_dir / name)]
    return [*names, *there][-1] if names else ''


def _share(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None


def _probability(row: LabelRow) -> float:
    return float(1 / (1 + np.exp(-row.log_odds)))


def _said(own: Figures) -> str:
    wrong = '' if own.wrong is None else f'{100 * own.wrong:.1f} % wrong\n'
    return f'{wrong}confidence {own.confidence:.3f}\n{100 * own.kept:.1f} % used'
