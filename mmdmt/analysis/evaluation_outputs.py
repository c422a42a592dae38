"""Metrics that write what a test has predicted: pictures, and the confusion matrix."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from PIL import Image

from mmdmt.analysis import pictures
from mmdmt.analysis.snapshots import shown
from mmdmt.core.ranking import IGNORED
from mmdmt.files import atomic, write_text

GAP = 4
"""White pixels between image, prediction and truth."""


class _Writer(BaseMetric):
    """A metric that writes files and returns no metric."""

    def __init__(self, out: str, collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.out = Path(out)

    @property
    def classes(self) -> list[str]:
        """Names of the classes; empty if the data set has none."""
        return [str(name) for name in (self.dataset_meta or {}).get('classes') or ()]


@METRICS.register_module()
class ShownPredictions(_Writer):
    """Write a picture of each tested image: image, prediction laid over it and, where known, truth, side by side.

    For classification, the pictures lie in ``OUT/right`` and ``OUT/wrong``; their names tell truth and prediction.

    Args:
        out: Folder of the pictures.
        kwargs: See ``BaseMetric``.
    """

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Write the pictures of a batch, from its ``inputs`` and predictions."""
        for inputs, sample in zip(data_batch['inputs'], data_samples, strict=True):
            path = str(sample.get('img_path', f'{len(self.results)}'))
            image = shown(inputs, in_memory='://' not in path and not Path(path).is_file())
            if 'pred_sem_seg' in sample:
                self._write(self._place(path), self._maps(image, sample))
            else:
                self._write(self._named(path, sample), image)
            self.results.append(path)

    def _maps(self, image: np.ndarray, sample: dict) -> np.ndarray:
        label = _map(sample['pred_sem_seg'])
        if image.shape[:2] != label.shape:  # a pipeline that resizes
            image = np.asarray(Image.fromarray(image).resize(label.shape[::-1]))
        parts = [label]
        truth = _map(sample['gt_sem_seg']) if 'gt_sem_seg' in sample else None
        if truth is not None and truth.shape == label.shape:
            parts.append(truth)
        number = max(len(self.classes), int(label.max()) + 1)
        colors = pictures.palette_of((self.dataset_meta or {}).get('palette'), number)
        gap: np.ndarray = np.full((len(image), GAP, 3), 255, np.uint8)
        columns = [image]
        for part in parts:
            columns += [gap, pictures.overlay(image, np.where(part < number, part, IGNORED).astype(np.uint8), colors)]
        return np.concatenate(columns, axis=1)

    def _named(self, path: str, sample: dict) -> Path:
        """Place of a picture of classification."""
        predicted = int(sample['pred_label'])
        found = sample.get('gt_label')
        if found is None or _values(found).size != 1:
            return self.out / f'{PurePath(path).stem}_is_{self._class(predicted)}.png'
        truth = int(found)
        folder = self.out / ('right' if truth == predicted else 'wrong')
        said = self._class(truth) if truth == predicted else f'{self._class(truth)}_as_{self._class(predicted)}'
        return folder / f'{PurePath(path).stem}_{said}.png'

    def _class(self, index: int) -> str:
        name = self.classes[index] if index < len(self.classes) else str(index)
        return ''.join(char if char.isalnum() or char in '-.' else '-' for char in name)

    def _place(self, path: str) -> Path:
        parts = [part for part in PurePath(path.split('://')[-1]).parts[-2:] if part not in ('/', '..')]
        return self.out.joinpath(*parts).with_suffix('.png')

    @staticmethod
    def _write(path: Path, image: np.ndarray) -> None:
        with atomic(path) as file:
            Image.fromarray(image).save(file, format='PNG')

    def compute_metrics(self, results: list) -> dict:
        """Return nothing: see :meth:`evaluate`."""
        return {}

    def evaluate(self, size: int) -> dict:
        """Return no metric; the pictures are written."""
        self.results.clear()
        return {}


@METRICS.register_module()
class ConfusionTable(_Writer):
    """Write how often each class was predicted as each other one: a CSV file, a row for each true class.

    Args:
        out: The file.
        kwargs: See ``BaseMetric``.
    """

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Count a batch, whose samples need a prediction and a truth."""
        for sample in data_samples:
            if 'pred_sem_seg' in sample:
                truth, predicted = _map(sample['gt_sem_seg']), _map(sample['pred_sem_seg'])
            else:
                truth, predicted = np.atleast_1d(_values(sample['gt_label'])), _values(sample['pred_label'])
            number = len(self.classes) or 1 + int(max(truth[truth != IGNORED].max(initial=0), predicted.max(initial=0)))
            known = truth < number
            pairs = truth[known].astype(np.int64) * number + np.broadcast_to(predicted, truth.shape)[known]
            self.results.append(np.bincount(pairs.ravel(), minlength=number**2).reshape(number, number))

    def compute_metrics(self, results: list) -> dict:
        """Sum the counts of all images and write the file; return no metric."""
        number = max(len(counts) for counts in results)
        total: np.ndarray = np.zeros((number, number), np.int64)
        for counts in results:
            total[: len(counts), : len(counts)] += counts
        names = self.classes or [str(index) for index in range(number)]
        text = io.StringIO(newline='')
        writer = csv.writer(text, lineterminator='\n')
        writer.writerow(['true class', *names, 'recall, %'])
        for index, name in enumerate(names):
            row = total[index]
            writer.writerow([name, *row.tolist(), f'{100 * row[index] / row.sum():.2f}' if row.sum() else ''])
        write_text(self.out, text.getvalue())
        return {}


def _map(field: Any) -> np.ndarray:
    """A class map [H, W] of a data sample, as an object or as a dict."""
    data = field['data'] if isinstance(field, dict) else field.data
    return _values(data)[0]


def _values(data: Any) -> np.ndarray:
    """Values of a tensor on any device."""
    return torch.as_tensor(data).cpu().numpy()
