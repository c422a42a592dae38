"""The metrics that write pseudo labels."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, all_reduce, barrier, get_dist_info, is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS

from mmdmt.core.confidence import encode
from mmdmt.core.dynamic_weight import without_class_weight
from mmdmt.core.ranking import ClassHistogram
from mmdmt.datasets.label_maps import LabelMaps
from mmdmt.datasets.label_store import LabelStore, sample_name
from mmdmt.datasets.label_table import LabelRow, LabelTable


class LabelWriter(BaseMetric):
    """Write the predictions of a test run as pseudo labels, each image once, and at the end complete the store.

    Args:
        label_dir: Folder of the label store.
        label_ratio: Share of the labels that the phase after this one uses, for the figures.
        collect_device: See ``BaseMetric``.
        prefix: See ``BaseMetric``.
    """

    default_prefix = 'pseudo_label'

    def __init__(
        self, label_dir: str, label_ratio: float, collect_device: str = 'cpu', prefix: str | None = None
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.label_dir = label_dir
        self.label_ratio = label_ratio

    @property
    @abstractmethod
    def store(self) -> LabelStore:
        """The label store."""

    @abstractmethod
    def complete(self) -> dict[str, float]:
        """Mark the store complete, once all images are in it (called by all processes); figures about it."""

    def compute_metrics(self, results: list) -> dict:
        """Not used: :meth:`evaluate` needs no results of single images."""
        return {}

    def evaluate(self, size: int) -> dict:
        """Complete the store, once all processes have written their images.

        Args:
            size: Number of images to label.

        Returns:
            ``pseudo_label/images`` and the figures of the kind of store, ``pseudo_label/coverage`` among them.

        Raises:
            RuntimeError: if the store does not hold ``size`` images.
        """
        barrier()
        found = len(self.store.names())
        if found != size:
            raise RuntimeError(f'{self.label_dir} holds labels of {found} images where {size} were to be labeled')
        barrier()  # none may complete the store while another still counts
        figures = self.complete()
        barrier()
        return {f'{self.prefix}/{name}': value for name, value in (*figures.items(), ('images', size))}


@METRICS.register_module()
class PseudoLabelWriter(LabelWriter):
    """Write label maps, and rank their confidences by class.

    One forward pass: each image's class map and confidence code go to disk at once, and all pixels are counted in a
    histogram by class, which is added up over the processes at the end. Images of an earlier, interrupted run in the
    same store are read back for the histogram and not labeled again. ``pseudo_label/coverage`` is the share of all
    pixels that the ratio keeps.

    Args:
        num_classes: Classes of the model.
        rank_stride: Count one in so many pixels of each image, row by row, as the published code does with 16.
        half: Round confidences to half precision, as the published code does.
        class_weight: Factors of the classes in the training of the model, to be taken out of its predictions.
        kwargs: Arguments of :class:`LabelWriter`.
    """

    def __init__(
        self,
        num_classes: int,
        rank_stride: int = 1,
        half: bool = False,
        class_weight: Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.histogram = ClassHistogram(num_classes)
        self.rank_stride, self.half = rank_stride, half
        self.class_weight = None if class_weight is None else torch.tensor(class_weight, dtype=torch.float32)
        self.written: list[str] = []

    @property
    def store(self) -> LabelMaps:
        """The label store, with the palette of the data."""
        return LabelMaps(self.label_dir, (self.dataset_meta or {}).get('palette'))

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Write the labels of a batch; the samples need ``seg_logits`` [C, H, W], ``img_path`` and ``sample_idx``."""
        for sample in data_samples:
            logits = sample['seg_logits']['data'][None].float()
            if self.class_weight is not None:
                logits = without_class_weight(logits, self.class_weight)
            label, code = (tensor[0].cpu() for tensor in encode(logits, half=self.half))
            self._count(label, code)
            name = sample_name(sample['sample_idx'], sample['img_path'])
            self.store.write(name, label.numpy(), code.numpy().astype(np.uint16))
            self.written.append(name)

    def complete(self) -> dict[str, float]:
        """Add up the histograms and write them."""
        earlier = sorted(self.store.names().difference(*all_gather_object(self.written)))
        rank, world_size = get_dist_info()
        for name in earlier[rank::world_size]:
            label, code = self.store.read(name)
            self._count(torch.from_numpy(label.copy()), torch.from_numpy(code.astype(np.int32)))
        all_reduce(self.histogram.counts)
        coverage = self.histogram.coverage(self.label_ratio)
        if is_main_process():
            thresholds = self.histogram.thresholds(self.label_ratio).tolist()
            self.store.finish(
                self.histogram,
                label_ratio=self.label_ratio,
                coverage=coverage,
                thresholds=thresholds,
                pixels_by_class=self.histogram.counts.sum(1).tolist(),
            )
        return {'coverage': coverage}

    def _count(self, label: torch.Tensor, code: torch.Tensor) -> None:
        self.histogram.update(label.flatten()[:: self.rank_stride], code.flatten()[:: self.rank_stride])


@METRICS.register_module()
class ImageLabelWriter(LabelWriter):
    """Write a table of image labels.

    ``pseudo_label/coverage`` is the share of the images that the ratio keeps; where the data set knows the true class
    of all images, ``pseudo_label/accuracy`` is the percentage of right labels among those kept, and
    ``pseudo_label/accuracy_all`` among all.

    Args:
        num_classes: Classes of the model.
        ranking: What is ranked together: ``all`` or ``class``.
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
        """Put the table together; figures about it."""
        rows = self.store.rows()
        barrier()  # the main process is about to replace what the others read
        right: np.ndarray = np.array([row.label == row.true_label for row in rows])
        kept = self.store.select_rows(rows, self.label_ratio, self.ranking).indices
        figures = {'coverage': len(kept) / len(rows)}
        if all(row.true_label is not None for row in rows):
            figures.update(accuracy=100 * right[kept].mean().item(), accuracy_all=100 * right.mean().item())
        if is_main_process():
            counts = np.bincount([row.label for row in rows], minlength=self.num_classes)
            self.store.finish(
                num_classes=self.num_classes,
                label_ratio=self.label_ratio,
                kept=len(kept),
                images_by_class=counts.tolist(),
                **figures,
            )
        return figures
