"""Pseudo labels of pixels, on disk."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmdmt.core.ranking import ClassHistogram
from mmdmt.datasets.label_store import LabelStore

BYTES_PER_PIXEL = 3  # an upper bound: the class map (1 byte before compression) and its confidence code (2 bytes)


class LabelMaps(LabelStore):
    """Label store of segmentation.

    ``labels/NAME.png`` is the class map, 8-bit palette PNG, uint8 [H, W]; ``confidence/NAME.npy`` the confidence
    code (see :mod:`mmdmt.core.confidence`), uint16 [H, W]; ``histogram.npz`` the codes of all pixels by class.

    Args:
        root: The folder. It is made when something is first written.
        palette: RGB colours of the classes, used for the PNGs only.
    """

    def __init__(self, root: str | os.PathLike, palette: Sequence[Sequence[int]] | None = None) -> None:
        super().__init__(root)
        colours = [channel for colour in palette or () for channel in colour][: 3 * 256]
        # Always 256 colours: with fewer, Pillow stores fewer bits a pixel and cuts off the higher classes.
        self._palette = colours + [0] * (3 * 256 - len(colours)) if colours else []

    def label_path(self, name: str) -> Path:
        """Path of the class map of image ``name``."""
        return self.root / 'labels' / f'{name}.png'

    def confidence_path(self, name: str) -> Path:
        """Path of the confidence codes of image ``name``."""
        return self.root / 'confidence' / f'{name}.npy'

    def names(self) -> set[str]:
        """Names of the images that are labeled so far."""
        return {path.stem for path in (self.root / 'labels').glob('*.png')}

    def write(self, name: str, label: np.ndarray, code: np.ndarray) -> None:
        """Store one image: ``label`` uint8 [H, W] and ``code`` uint16 [H, W].

        The class map is put in place last: where it is, the image is complete.
        """
        for path in (self.label_path(name), self.confidence_path(name)):
            path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.confidence_path(name).with_suffix('.tmp')
        with open(temporary, 'wb') as file:
            np.save(file, code)
        os.replace(temporary, self.confidence_path(name))
        image = Image.fromarray(label)
        if self._palette:
            image.putpalette(self._palette)
        temporary = self.label_path(name).with_suffix('.tmp')
        image.save(temporary, format='PNG')
        os.replace(temporary, self.label_path(name))

    def read(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Class map uint8 [H, W] and confidence code uint16 [H, W] of one image.

        Raises:
            FileNotFoundError: if the image is not in the store, naming the file.
        """
        with Image.open(self.label_path(name)) as image:
            label = np.asarray(image)
        return label, np.load(self.confidence_path(name))

    def histogram(self) -> ClassHistogram:
        """Confidence codes of all pixels, counted by predicted class."""
        return ClassHistogram.load(self.root / 'histogram.npz')

    def finish(self, histogram: ClassHistogram, **info: Any) -> None:  # type: ignore[override]
        """Mark the store complete; ``info`` goes into ``labels.json``."""
        histogram.save(self.root / 'histogram.npz')
        super().finish(num_classes=histogram.num_classes, **info)

    def select(self, names: Sequence[str], ratio: float, ranking: str = 'class') -> 'SelectedPixels':
        """All images; of each class, the pixels that a ratio selects.

        Raises:
            ValueError: if the ranking is not ``class``.
        """
        if ranking != 'class':
            raise ValueError(f"ranking={ranking!r}: pixels are ranked by 'class' only")
        return SelectedPixels(self, len(names), self.histogram().thresholds(ratio))

    def discard(self) -> None:
        """Delete the labels of all images; the histogram and ``labels.json`` stay."""
        for folder in ('labels', 'confidence'):
            shutil.rmtree(self.root / folder, ignore_errors=True)


class SelectedPixels:
    """All images; what ``LoadDMTAnnotations`` needs to select among their pixels goes under ``pseudo_label``."""

    def __init__(self, store: LabelMaps, number: int, thresholds: np.ndarray) -> None:
        self.store, self.indices, self.thresholds = store, range(number), thresholds

    def fields(self, position: int, name: str) -> dict[str, Any]:
        """``pseudo_label`` of an image."""
        return {'pseudo_label': dict(store=self.store, name=name, thresholds=self.thresholds)}
