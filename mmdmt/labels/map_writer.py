"""The metric that writes pseudo labels of pixels."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, all_reduce, get_dist_info, is_main_process
from mmengine.registry import METRICS

from mmdmt.core.confidence import encode
from mmdmt.core.ranking import ClassHistogram
from mmdmt.errors import DamagedFileError, UserError
from mmdmt.labels.background import Background
from mmdmt.labels.maps import LabelMaps
from mmdmt.labels.store import sample_name
from mmdmt.labels.writer import LabelWriter


def check_whole(sample: Mapping) -> None:
    """Refuse an image that was cut or padded: its logits would be stretched over the whole image.

    Args:
        sample: Meta data of a segmented image: ``img_path``, ``ori_shape``, ``img_shape`` and, if it was resized,
            ``scale_factor`` (width, height). What is missing is not compared.

    Raises:
        UserError: naming the image and its sizes.
    """
    if 'img_shape' not in sample or 'ori_shape' not in sample:
        return
    found, original = tuple(sample['img_shape'][:2]), tuple(sample['ori_shape'][:2])
    factors = tuple(sample.get('scale_factor') or (1, 1))[::-1]
    resized = [size * factor for size, factor in zip(original, factors, strict=True)]
    if found != original and any(abs(size - other) > 1 for size, other in zip(found, resized, strict=True)):
        raise UserError(
            f'dmt.label_pipeline turns {sample.get("img_path")} of {original[0]} x {original[1]} pixels into '
            f'{found[0]} x {found[1]} by other means than resizing, but each pixel needs a label: remove what crops or '
            'pads (data_preprocessor.test_cfg pads, and the padding is cut off again)'
        )


@METRICS.register_module()
class PseudoLabelWriter(LabelWriter):
    """Write label maps, and rank their confidences by class.

    One forward pass suffices: class map and confidence codes of an image are written while the next one is predicted,
    and a histogram counts its pixels by class. The histograms of all processes are summed at the end. Images that an
    interrupted run left in the store are not labeled again, but read for the histogram. ``pseudo_label/coverage`` is
    the share of the counted pixels that the ratio keeps.

    Args:
        num_classes: Number of classes of the model.
        rank_stride: Count every ``rank_stride``-th pixel of each image, in row-major order; the published code uses 16.
        half: Round confidences to half precision, as the published code does.
        archives: Write into archives, see :class:`LabelMaps`.
        kwargs: Arguments of :class:`LabelWriter`.
    """

    def __init__(
        self, num_classes: int, rank_stride: int = 1, half: bool = False, archives: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.histogram = ClassHistogram(num_classes)
        self.rank_stride, self.half, self.archives = rank_stride, half, archives
        self.written: list[str] = []
        self.background = Background()
        self._counting = Lock()

    @cached_property
    def store(self) -> LabelMaps:
        """The label store, with the palette of the dataset."""
        return LabelMaps(self.label_dir, (self.dataset_meta or {}).get('palette'), self.archives)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Write the labels of a batch; the samples need ``seg_logits`` [C, H, W], ``img_path`` and ``sample_idx``."""
        store = self.store  # made by one thread
        for sample in data_samples:
            check_whole(sample)
            logits = self.check_finite(sample['seg_logits']['data'][None].float(), sample['img_path'])
            name = sample_name(sample['sample_idx'], sample['img_path'])
            if logits.device.type == 'cpu':
                self.background.submit(self._encode_and_keep, store, name, logits)
            else:  # a GPU is fast, and its memory is not to hold logits that wait
                self.background.submit(self._keep, store, name, *self._encode(logits))
            self.written.append(name)

    def _encode(self, logits: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(tensor[0].cpu() for tensor in encode(logits, half=self.half))

    def _encode_and_keep(self, store: LabelMaps, name: str, logits: torch.Tensor) -> None:
        self._keep(store, name, *self._encode(logits))

    def _keep(self, store: LabelMaps, name: str, label: torch.Tensor, code: torch.Tensor) -> None:
        with self._counting:
            self._count(label, code)
        store.write(name, label.numpy(), code.numpy().astype(np.uint16))

    def evaluate(self, size: int) -> dict:
        """Complete the store, see :meth:`LabelWriter.evaluate`."""
        self.background.finish()
        self.store.close()
        return super().evaluate(size)

    def stop(self) -> None:
        """Wait for the images that are being written."""
        self.background.stop()

    def complete(self) -> dict[str, float]:
        """Sum the histograms over all processes and write the sum."""
        earlier = sorted(self.store.names().difference(*all_gather_object(self.written)))
        rank, world_size = get_dist_info()
        damaged = []
        for name in earlier[rank::world_size]:
            try:
                label, code = self.store.read(name)
            except DamagedFileError as error:
                damaged.append(str(error))
            else:
                self._count(torch.from_numpy(label.copy()), torch.from_numpy(code.astype(np.int32)))
        damaged = [message for messages in all_gather_object(damaged) for message in messages]
        if damaged:  # on any process: all of them have to stop
            raise DamagedFileError(damaged[0])
        all_reduce(self.histogram.counts)
        coverage = self.histogram.coverage(self.label_ratio)
        if is_main_process():
            thresholds = self.histogram.thresholds(self.label_ratio).tolist()
            pixels = self.histogram.counts.sum(1).tolist()
            self.warn_of_one_class(pixels)
            self.store.finish(
                self.histogram,
                label_ratio=self.label_ratio,
                coverage=coverage,
                thresholds=thresholds,
                pixels_by_class=pixels,
                kept_by_class=self.histogram.kept(self.label_ratio).tolist(),
            )
        return {'coverage': coverage}

    def _count(self, label: torch.Tensor, code: torch.Tensor) -> None:
        self.histogram.update(label.flatten()[:: self.rank_stride], code.flatten()[:: self.rank_stride])
