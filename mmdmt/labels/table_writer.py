"""The metric that writes pseudo labels of whole images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dist import barrier, is_main_process
from mmengine.registry import METRICS

from mmdmt.labels.store import sample_name
from mmdmt.labels.table import LabelRow, LabelTable
from mmdmt.labels.writer import LabelWriter


@METRICS.register_module()
class ImageLabelWriter(LabelWriter):
    """Write a table of image labels.

    ``pseudo_label/coverage`` is the share of the images that the ratio keeps. If the dataset knows the true class of
    all images, ``pseudo_label/accuracy`` is the percentage of correct labels among the kept ones, and
    ``pseudo_label/accuracy_all`` the percentage among all.

    Args:
        num_classes: Number of classes of the model.
        ranking: Rank ``all`` images together, or within each ``class``.
        kwargs: Arguments of :class:`LabelWriter`.
    """

    def __init__(self, num_classes: int, ranking: str = 'all', **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes, self.ranking = num_classes, ranking
        self._store = LabelTable(self.label_dir)

    @property
    def store(self) -> LabelTable:
        """The label store."""
        return self._store

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Write the labels of a batch; the samples need ``pred_label``, ``log_odds``, ``img_path``, ``sample_idx``."""
        for sample in data_samples:
            if 'pred_score' in sample:
                self.check_finite(torch.as_tensor(sample['pred_score']), sample['img_path'])
        self.store.append(
            [
                LabelRow(
                    name=sample_name(sample['sample_idx'], sample['img_path']),
                    label=int(sample['pred_label']),
                    log_odds=float(sample['log_odds']),
                    true_label=sample.get('true_label'),
                )
                for sample in data_samples
            ]
        )

    def complete(self) -> dict[str, float]:
        """Merge the parts of the table, and return statistics of it."""
        rows = self.store.rows()
        barrier()  # the main process will replace the files that the others read
        right: np.ndarray = np.array([row.label == row.true_label for row in rows])
        kept = self.store.select_rows(rows, self.label_ratio, self.ranking).indices
        figures = {'coverage': len(kept) / len(rows)}
        if all(row.true_label is not None for row in rows):
            figures.update(accuracy=100 * right[kept].mean().item(), accuracy_all=100 * right.mean().item())
        if is_main_process():
            counts = np.bincount([row.label for row in rows], minlength=self.num_classes)
            self.warn_of_one_class(counts.tolist())
            self.store.finish(
                num_classes=self.num_classes,
                label_ratio=self.label_ratio,
                kept=len(kept),
                images_by_class=counts.tolist(),
                kept_by_class=np.bincount([rows[index].label for index in kept], minlength=self.num_classes).tolist(),
                **figures,
            )
        return figures
