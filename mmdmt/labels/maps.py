"""Pseudo labels of pixels on disk."""

import os
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from mmdmt.core.confidence import decode
from mmdmt.core.ranking import IGNORED, NUM_CODES, ClassHistogram
from mmdmt.errors import UserError
from mmdmt.files import atomic
from mmdmt.labels.store import LabelStore

BYTES_PER_PIXEL = 3  # upper bound: class map (1 byte before compression) and confidence code (2 bytes)


class PixelLabels(NamedTuple):
    """Selected pseudo labels of an image.

    ``label``: uint8 [H, W], 255 where the ratio does not select a pixel. ``confidence``: float32 [H, W], in [0, 1].
    ``path``: origin of the labels, for error messages.
    """

    label: np.ndarray
    confidence: np.ndarray
    path: str


class LabelMaps(LabelStore):
    """Label store of segmentation.

    ``labels/NAME.png`` holds the class map, 8-bit palette PNG, uint8 [H, W]. ``confidence/NAME.npy`` holds the
    confidence codes (see :mod:`mmdmt.core.confidence`), uint16 [H, W]. ``histogram.npz`` counts the codes by class.

    Args:
        root: The folder. The first write creates it.
        palette: RGB colors of the classes, used for the PNGs only.
    """

    def __init__(self, root: str | os.PathLike, palette: Sequence[Sequence[int]] | None = None) -> None:
        super().__init__(root)
        colours = [channel for colour in palette or () for channel in colour][: 3 * 256]
        # Always 256 colors: with fewer, Pillow stores fewer bits per pixel and cuts off the higher classes.
        self._palette = colours + [0] * (3 * 256 - len(colours)) if colours else []

    def label_path(self, name: str) -> Path:
        """Path of the class map of image ``name``."""
        return self.root / 'labels' / f'{name}.png'

    def confidence_path(self, name: str) -> Path:
        """Path of the confidence codes of image ``name``."""
        return self.root / 'confidence' / f'{name}.npy'

    def names(self) -> set[str]:
        """Names of the images labeled so far."""
        return {path.stem for path in (self.root / 'labels').glob('*.png')}

    def write(self, name: str, label: np.ndarray, code: np.ndarray) -> None:
        """Store one image: ``label`` uint8 [H, W] and ``code`` uint16 [H, W].

        The class map is written last, so an image with a class map is complete.
        """
        with atomic(self.confidence_path(name)) as file:
            np.save(file, code)
        image = Image.fromarray(label)
        if self._palette:
            image.putpalette(self._palette)
        with atomic(self.label_path(name)) as file:
            image.save(file, format='PNG')

    def read(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Read class map uint8 [H, W] and confidence codes uint16 [H, W] of one image.

        Raises:
            FileNotFoundError: if the image is not in the store; the message names the file.
        """
        with Image.open(self.label_path(name)) as image:
            label = np.asarray(image)
        return label, np.load(self.confidence_path(name))

    def histogram(self) -> ClassHistogram:
        """Read the counts of confidence codes by predicted class."""
        with np.load(self.root / 'histogram.npz') as data:
            histogram = ClassHistogram(int(data['num_classes']))
            histogram.counts.view(-1)[torch.from_numpy(data['index']).long()] = torch.from_numpy(data['count'])
        return histogram

    def finish(self, histogram: ClassHistogram, **info: Any) -> None:  # type: ignore[override]
        """Mark the store complete; ``info`` goes into ``labels.json``."""
        flat = histogram.counts.numpy().ravel()
        index = np.flatnonzero(flat)  # few codes occur
        number = np.int64(histogram.num_classes)
        with atomic(self.root / 'histogram.npz') as file:
            np.savez_compressed(file, index=index.astype(np.int32), count=flat[index], num_classes=number)
        super().finish(num_classes=histogram.num_classes, **info)

    def select(self, names: Sequence[str], ratio: float, ranking: str = 'class') -> 'SelectedPixels':
        """Select all images, and of each class the pixels that a ratio keeps.

        Raises:
            ValueError: if the ranking is not ``class``.
        """
        if ranking != 'class':
            raise UserError(f"ranking={ranking!r}: pixels are ranked by 'class' only")
        return SelectedPixels(self, len(names), self.histogram().thresholds(ratio))

    def discard(self) -> None:
        """Delete the labels of all images, but keep the histogram and ``labels.json``."""
        for folder in ('labels', 'confidence'):
            shutil.rmtree(self.root / folder, ignore_errors=True)


class SelectedPixels:
    """All images, each with the pixels whose codes reach the thresholds."""

    def __init__(self, store: LabelMaps, number: int, thresholds: np.ndarray) -> None:
        self.store, self.indices, self.thresholds = store, range(number), thresholds

    def fields(self, position: int, name: str) -> dict[str, Any]:
        """Read the :class:`PixelLabels` of an image from disk, as ``pseudo_label``."""
        label, code = self.store.read(name)
        selected = np.where(code >= self.thresholds[label], label, np.uint8(IGNORED))
        return {'pseudo_label': PixelLabels(selected, _confidences()[code], str(self.store.label_path(name)))}


@cache
def _confidences() -> np.ndarray:
    """Probability of each code."""
    return decode(torch.arange(NUM_CODES)).numpy()
