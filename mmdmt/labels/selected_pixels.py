"""The pixels of a label store of segmentation that a ratio selects."""

from functools import cache
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
import torch

from mmdmt.core.confidence import decode
from mmdmt.core.ranking import NUM_CODES
from mmdmt.errors import DamagedFileError


class PixelLabels(NamedTuple):
    """Selected pseudo labels of an image.

    ``label``: uint8 [H, W], 255 where the ratio does not select a pixel. ``confidence``: float32 [H, W], in [0, 1].
    ``path``: origin of the labels, for error messages.
    """

    label: np.ndarray
    confidence: np.ndarray
    path: str


class Store(Protocol):
    """What holds the labels of all pixels: :class:`~mmdmt.labels.maps.LabelMaps`."""

    def read(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Class map uint8 [H, W] and confidence codes uint16 [H, W] of an image."""

    def place(self, name: str) -> str:
        """Where they lie, for messages."""


class SelectedPixels:
    """All images, each with the pixels whose codes reach the thresholds."""

    def __init__(self, store: Store, number: int, thresholds: np.ndarray) -> None:
        self.store, self.indices, self.thresholds = store, range(number), thresholds
        self._table: np.ndarray = np.zeros(256, np.uint16)  # cv2.LUT needs a value for each uint8
        self._table[: len(thresholds)] = thresholds

    def fields(self, position: int, name: str) -> dict[str, Any]:
        """Read the :class:`PixelLabels` of an image from disk, as ``pseudo_label``."""
        try:
            label, code = self.store.read(name)
        except FileNotFoundError as error:
            raise DamagedFileError(f'{error.filename} is missing; --resume makes it anew') from error
        left_out = code < cv2.LUT(label, self._table)
        selected = label | -left_out.view(np.uint8)  # 255, ignored, where True
        # Every code is in the table: `clip` only skips the check of each one.
        confidence: np.ndarray = _confidences().take(code, mode='clip')
        return {'pseudo_label': PixelLabels(selected, confidence, self.store.place(name))}


@cache
def _confidences() -> np.ndarray:
    """Probability of each code."""
    return decode(torch.arange(NUM_CODES)).numpy()
