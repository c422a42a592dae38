"""The metric that writes pseudo labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, all_reduce, barrier, get_dist_info, is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS

from mmdmt.core.confidence import encode
from mmdmt.core.ranking import ClassHistogram
from mmdmt.datasets.label_store import LabelStore, sample_name


@METRICS.register_module()
class PseudoLabelWriter(BaseMetric):
    """Write the predictions of a test run as pseudo labels, and rank their confidences by class.

    One forward pass: each image's class map and confidence code go to disk at once, and all pixels are counted in a
    histogram by class, which is added up over the processes at the end. Images of an earlier, interrupted run in the
    same store are read back for the histogram and not labeled again.

    Args:
        label_dir: Folder of the label store.
        label_ratio: Share of each class that the phase after this one uses, for the figures.
        num_classes: Classes of the model.
        collect_device: See ``BaseMetric``.
        prefix: See ``BaseMetric``.
    """

    default_prefix = 'pseudo_label'

    def __init__(
        self,
        label_dir: str,
        label_ratio: float,
        num_classes: int,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.label_dir = label_dir
        self.label_ratio = label_ratio
        self.histogram = ClassHistogram(num_classes)
        self.written: list[str] = []

    @property
    def store(self) -> LabelStore:
        """The label store, with the palette of the data."""
        return LabelStore(self.label_dir, (self.dataset_meta or {}).get('palette'))

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Write the labels of a batch; the samples need ``seg_logits`` [C, H, W], ``img_path`` and ``sample_idx``."""
        for sample in data_samples:
            logits = sample['seg_logits']['data']
            label, code = (tensor[0].cpu() for tensor in encode(logits[None]))
            self.histogram.update(label, code)
            name = sample_name(sample['sample_idx'], sample['img_path'])
            self.store.write(name, label.numpy(), code.numpy().astype(np.uint16))
            self.written.append(name)

    def compute_metrics(self, results: list) -> dict:
        """Not used: :meth:`evaluate` needs no results of single images."""
        return {}

    def evaluate(self, size: int) -> dict:
        """Complete the store, once all processes have written their images.

        Args:
            size: Number of images to label.

        Returns:
            ``pseudo_label/coverage``: share of all pixels that the phase's ratio keeps; ``pseudo_label/images``.

        Raises:
            RuntimeError: if the store does not hold ``size`` images.
        """
        barrier()
        earlier = sorted(self.store.names().difference(*all_gather_object(self.written)))
        rank, world_size = get_dist_info()
        for name in earlier[rank::world_size]:
            label, code = self.store.read(name)
            self.histogram.update(torch.from_numpy(label.copy()), torch.from_numpy(code.astype(np.int32)))
        all_reduce(self.histogram.counts)
        found = len(self.store.names())
        if found != size:
            raise RuntimeError(f'{self.label_dir} holds labels of {found} images where {size} were to be labeled')
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
        barrier()
        return {f'{self.prefix}/coverage': coverage, f'{self.prefix}/images': size}
