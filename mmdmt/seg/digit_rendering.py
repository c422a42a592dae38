"""Render scenes of scikit-learn's handwritten digits, the embedded demo data."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import cv2
import numpy as np

from mmdmt.datasets.handwritten_digits import digit_pool, load_digits

SCENE_SIZE = 64
IGNORE_INDEX = 255
NUM_SCENES = {'train': 640, 'val': 200}

# These constants set the difficulty. All ranges are half open, as in numpy.random.Generator.integers.
_BACKGROUND = (25, 65)
_NUM_DIGITS = (5, 9)
_DIGIT_SIZE = (19, 22)
_NUM_LINES = (0, 3)
_NUM_FRAGMENTS = (1, 3)
_DIGIT_CONTRAST = (130, 160)
_LINE_CONTRAST = (30, 80)
_PIXEL_NOISE = 10
_GAP = 2
_PLACEMENT_TRIES = 20


class Scene(NamedTuple):
    """One rendered scene.

    Attributes:
        image: uint8 RGB array of shape (64, 64, 3).
        mask: uint8 array of shape (64, 64): 0 for background, 1 to 10 for digits 0 to 9, 255 for the ambiguous border
            of a digit, one pixel wide.
    """

    image: np.ndarray
    mask: np.ndarray


def render_scene(split: str, index: int) -> Scene:
    """Render scene ``index`` of ``split``; the same arguments give the same pixels in every process.

    All arithmetic uses integers, so no platform rounds differently.

    Raises:
        ValueError: ``split`` is unknown.
        IndexError: ``index`` is outside the split.
        InstallationError: scikit-learn is not installed.
    """
    pool = digit_pool(split)
    if not 0 <= index < NUM_SCENES[split]:
        raise IndexError(f'{split} has scenes 0 to {NUM_SCENES[split] - 1}, got {index}')
    rng = np.random.Generator(np.random.PCG64([list(NUM_SCENES).index(split), index]))
    image = _background(rng)
    mask: np.ndarray = np.zeros((SCENE_SIZE, SCENE_SIZE), dtype=np.uint8)
    taken = np.zeros_like(mask, dtype=bool)
    for _ in range(rng.integers(*_NUM_LINES)):
        _blend(image, _line(rng), rng, _LINE_CONTRAST)
    for is_fragment in [False] * rng.integers(*_NUM_DIGITS) + [True] * rng.integers(*_NUM_FRAGMENTS):
        source = pool[rng.integers(len(pool))]
        ink = _handwriting(rng, source, is_fragment)
        placed = _place(rng, ink, taken)
        if placed is None:
            continue
        _blend(image, placed, rng, _DIGIT_CONTRAST)
        if not is_fragment:
            _label(mask, placed, class_index=int(load_digits()[1][source]) + 1)
    image += rng.integers(-_PIXEL_NOISE, _PIXEL_NOISE + 1, size=image.shape)
    return Scene(np.clip(image, 0, 255).astype(np.uint8), mask)


def _resize(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Scale (..., H, W) int64 values bilinearly to (height, width), in integers, with pixel centers aligned."""
    for axis, size in ((-2, height), (-1, width)):
        low, high, weight = _neighbors(values.shape[axis], size)
        weight = weight.reshape(-1, *[1] * (-axis - 1))
        values = (values.take(low, axis) * (2 * size - weight) + values.take(high, axis) * weight) // (2 * size)
    return values


@cache
def _neighbors(old: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two old values that each of ``size`` new ones lies between, and the weight of the second one of 2 * size."""
    position = np.clip((2 * np.arange(size) + 1) * old - size, 0, 2 * size * (old - 1))
    low, weight = np.divmod(position, 2 * size)
    return low, np.minimum(low + 1, old - 1), weight


def _background(rng: np.random.Generator) -> np.ndarray:
    """Make a blotchy int64 background of shape (64, 64, 3) from a coarse and a finer random grid."""
    grid = rng.integers(*_BACKGROUND, size=(3, 3, 3))
    detail = rng.integers(-30, 31, size=(3, 13, 13))
    channels = _resize(grid, SCENE_SIZE, SCENE_SIZE) + _resize(detail, SCENE_SIZE, SCENE_SIZE)
    return np.ascontiguousarray(channels.transpose(1, 2, 0))


def _line(rng: np.random.Generator) -> np.ndarray:
    """Make the ink of one straight stroke, int64 (64, 64) of 0 or 16, as thick as the strokes of a digit."""
    start = rng.integers(0, SCENE_SIZE, size=2)
    step = rng.integers(-24, 25, size=2)
    length2 = max(int(step @ step), 1)
    offset = np.stack(np.mgrid[:SCENE_SIZE, :SCENE_SIZE], axis=-1) - start
    along = offset @ step
    across2 = (offset[..., 0] * step[1] - offset[..., 1] * step[0]) ** 2
    half_width = rng.integers(1, 3)
    return 16 * ((along >= 0) & (along <= length2) & (across2 <= half_width**2 * length2))


def _handwriting(rng: np.random.Generator, source: int, is_fragment: bool) -> np.ndarray:
    """Enlarge handwritten digit ``source``, or half of it for a fragment; return int64 ink from 0 to 16."""
    ink = load_digits()[0][source]
    height, width = rng.integers(*_DIGIT_SIZE, size=2)
    if is_fragment:
        ink = np.rot90(ink, int(rng.integers(4)))[:4]
        height //= 2
    return _resize(ink, height, width)


def _place(rng: np.random.Generator, ink: np.ndarray, taken: np.ndarray) -> np.ndarray | None:
    """Put ``ink`` at a random free place of an empty scene and mark it in ``taken``; return None if none is found."""
    height, width = ink.shape
    for _ in range(_PLACEMENT_TRIES):
        top, left = rng.integers(0, SCENE_SIZE - height + 1), rng.integers(0, SCENE_SIZE - width + 1)
        box = np.s_[top : top + height, left : left + width]
        if not taken[box].any():
            # A label extends beyond its ink. Without a gap, the labels of two digits would cut far into each other.
            taken[max(top - _GAP, 0) : top + height + _GAP, max(left - _GAP, 0) : left + width + _GAP] = True
            placed: np.ndarray = np.zeros((SCENE_SIZE, SCENE_SIZE), dtype=np.int64)
            placed[box] = ink
            return placed
    return None


def _blend(image: np.ndarray, ink: np.ndarray, rng: np.random.Generator, contrast: tuple[int, int]) -> None:
    """Paint ``ink`` onto ``image`` in place, with a random tint, brighter than the covered pixels."""
    color = rng.integers(*contrast) + rng.integers(-25, 26, size=3)
    image += ink[..., None] * color // 16


def _label(mask: np.ndarray, ink: np.ndarray, class_index: int) -> None:
    """Write the thickened strokes of one digit and their ambiguous border into ``mask`` in place."""
    strokes = cv2.dilate((ink >= 6).astype(np.uint8), np.ones((5, 5), np.uint8))
    border = cv2.dilate(strokes, np.ones((3, 3), np.uint8)) > strokes
    mask[border & (mask == 0)] = IGNORE_INDEX
    mask[strokes > 0] = class_index
