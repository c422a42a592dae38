"""The metric that writes predicted label maps as files, in the folders of their images."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS
from PIL import Image

from mmdmt.config_dicts import dicts_in
from mmdmt.errors import UserError
from mmdmt.files import atomic


@METRICS.register_module()
class PredictedMaps(BaseMetric):
    """Write the predicted label map of ``ROOT/FOLDER/NAME.jpg`` as ``OUT/FOLDER/NAME.png``, 8 bits a pixel.

    ``output_dir`` of the stock metric has no folders: of images with one name, the last one remains. As there, indices
    of a dataset with ``reduce_zero_label`` count from 1.

    Args:
        out: Folder of the label maps.
        root: Folder of the images; images elsewhere keep their whole path below ``out``.
        collect_device: See ``BaseMetric``.
        prefix: See ``BaseMetric``.
    """

    def __init__(self, out: str, root: str = '', collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.out, self.root = Path(out), root
        self._written: dict[Path, str] = {}

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Write the label maps of a batch; the samples need ``pred_sem_seg`` [1, H, W] and ``img_path``.

        Raises:
            UserError: if two images would get one file.
        """
        for sample in data_samples:
            image, path = sample['img_path'], self.path(sample['img_path'])
            if self._written.setdefault(path, image) != image:
                raise UserError(f'--out: the label maps of {self._written[path]} and {image} would both be {path}')
            label: np.ndarray = sample['pred_sem_seg']['data'][0].cpu().numpy()
            if sample.get('reduce_zero_label', False):
                label = label + 1
            with atomic(path) as file:
                Image.fromarray(label.astype(np.uint8)).save(file, format='png')

    def path(self, image: str) -> Path:
        """Path of the label map of an image."""
        place = PurePath(image.split('://')[-1])
        root = os.path.abspath(self.root) if self.root else None
        if root is not None and PurePath(os.path.abspath(image)).is_relative_to(root):
            place = PurePath(os.path.abspath(image)).relative_to(root)
        parts = [part for part in place.parts if part not in (place.anchor, '..')]
        return self.out.joinpath(*parts).with_suffix('.png')

    def compute_metrics(self, results: list) -> dict:
        """Return nothing: see :meth:`evaluate`."""
        return {}

    def evaluate(self, size: int) -> dict:
        """Return no metric; the files are written."""
        return {}


def image_root(dataset: Mapping) -> str:
    """The folder that holds all images of a dataset config; empty if the config names none.

    Example:
        >>> image_root(dict(data_root='/data', data_prefix=dict(img_path='images', seg_map_path='masks')))
        '/data/images'
    """
    folders = []
    for part in dicts_in(dataset):
        prefix = part.get('data_prefix')
        if prefix:
            prefix = prefix.get('img_path', '') if isinstance(prefix, Mapping) else prefix
            folders.append(os.path.abspath(os.path.join(part.get('data_root') or '', prefix)))
    return os.path.commonpath(folders) if folders else ''
