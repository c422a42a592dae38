"""Embedded demo data: scikit-learn's handwritten digits as an image classification dataset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmpretrain.registry import DATASETS

from mmdmt.cls.image_list import InMemoryDataset
from mmdmt.datasets.handwritten_digits import digit_pool, load_digits


@DATASETS.register_module()
class DigitsDataset(InMemoryDataset):
    """The 1,797 handwritten digits packaged with scikit-learn, 10 classes, gray images of 8x8 pixels.

    ``train`` has 1,078 images, ``val`` 270, ``trainval`` both, and ``test`` 449. Training scenes for segmentation
    (``mmdmt.seg.digits``) consist of the ``trainval`` digits, validation scenes of the ``test`` digits. An image is
    named ``digits/{index among the 1,797}_{class}``, for instance ``digits/0123_7``.

    Arguments and errors are those of :class:`InMemoryDataset`; without scikit-learn, it raises InstallationError.
    """

    METAINFO = {'classes': tuple(str(digit) for digit in range(10))}

    def load_images(self) -> tuple[Sequence[np.ndarray], list[int], list[str]]:
        """Return the subset in the order of scikit-learn: images, uint8 gray (8, 8, 3), labels and names."""
        pool = digit_pool('val' if self.subset == 'test' else 'train')
        if self.subset == 'val':
            pool = pool[::5]
        elif self.subset == 'train':
            pool = np.delete(pool, np.s_[::5])
        ink, classes = load_digits()
        gray = (ink[pool] * 255 // 16).astype(np.uint8)
        labels = classes[pool].tolist()
        names = [f'digits/{index:04d}_{label}' for index, label in zip(pool, labels, strict=True)]
        return list(np.repeat(gray[..., None], 3, axis=-1)), labels, names
