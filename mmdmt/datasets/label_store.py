"""The pseudo labels of one label phase, on disk."""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmdmt.core.ranking import ClassHistogram

BYTES_PER_PIXEL = 3  # an upper bound: the class map (1 byte before compression) and its confidence code (2 bytes)


def sample_name(sample_idx: int, img_path: str) -> str:
    """Name of an image's files: its index in the unlabeled dataset, which is unique, and its stem, to be read."""
    return f'{sample_idx:06d}_{Path(img_path).stem}'


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file so that it is there either whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'{path.name}.{os.getpid()}.tmp')
    with open(temporary, 'w') as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


class LabelStore:
    """Folder that holds the pseudo labels of one teacher.

    ``labels/NAME.png`` is the class map, 8-bit palette PNG, uint8 [H, W]; ``confidence/NAME.npy`` the confidence
    code (see :mod:`mmdmt.core.confidence`), uint16 [H, W]; ``histogram.npz`` the codes of all pixels by class;
    ``labels.json`` is written last, so its presence means that the store is complete.

    Args:
        root: The folder. It is made when something is first written.
        palette: RGB colours of the classes, used for the PNGs only.
    """

    def __init__(self, root: str | os.PathLike, palette: Sequence[Sequence[int]] | None = None) -> None:
        self.root = Path(root)
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

    @property
    def complete(self) -> bool:
        """Whether all images are labeled."""
        return (self.root / 'labels.json').is_file()

    def finish(self, histogram: ClassHistogram, **info: Any) -> None:
        """Mark the store complete; ``info`` goes into ``labels.json`` beside what :meth:`info` promises."""
        names = self.names()
        histogram.save(self.root / 'histogram.npz')
        write_json(
            self.root / 'labels.json',
            dict(num_images=len(names), num_classes=histogram.num_classes, names=_digest(names), **info),
        )

    def info(self) -> dict[str, Any]:
        """Content of ``labels.json``: num_images, num_classes, a digest of the names, and what the writer added.

        Raises:
            FileNotFoundError: if the store is not complete.
        """
        path = self.root / 'labels.json'
        if not self.complete:
            raise FileNotFoundError(f'{path}: the pseudo labels are not complete; run their label phase first')
        return json.loads(path.read_text())

    def histogram(self) -> ClassHistogram:
        """Confidence codes of all pixels, counted by predicted class."""
        return ClassHistogram.load(self.root / 'histogram.npz')

    def check_names(self, names: Sequence[str]) -> None:
        """Refuse labels that were made for another list of images.

        Raises:
            ValueError: naming the store and both counts.
        """
        info = self.info()
        if info['names'] != _digest(names):
            raise ValueError(
                f'{self.root} holds labels of {info["num_images"]} images, but not of the {len(names)} images that '
                'the unlabeled dataset lists now (names or order differ): run its label phase again'
            )

    def discard(self) -> None:
        """Delete the labels of all images; the histogram and ``labels.json`` stay."""
        for folder in ('labels', 'confidence'):
            shutil.rmtree(self.root / folder, ignore_errors=True)


def _digest(names: Sequence[str] | set[str]) -> str:
    return hashlib.sha256('\n'.join(sorted(names)).encode()).hexdigest()
