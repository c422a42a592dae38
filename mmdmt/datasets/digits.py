"""Embedded demo data: scenes of scikit-learn's handwritten digits, rendered in memory.

The scenes live behind a mmengine file backend, so that a stock pipeline (``LoadImageFromFile``, ``LoadAnnotations``)
reads ``digits://train/images/000012.png`` as it would read a file, and nothing is downloaded or written.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from mmengine.fileio import BaseStorageBackend, register_backend
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

CLASSES = ('background', *(f'digit {digit}' for digit in range(10)))
SCENE_SIZE = 64
IGNORE_INDEX = 255
NUM_SCENES = {'train': 640, 'val': 200}
NUM_LABELED = 40
SUBSETS = ('labeled', 'unlabeled', 'train', 'val')

_KINDS = ('images', 'masks')
_FILE = re.compile(r'^digits:/{1,2}(\w+)/(\w+)/(\d{6})\.png$')
_FOLDER = re.compile(r'^digits:/{1,2}(\w+)(?:/(\w+))?/?$')

# What sets the difficulty. All ranges are half open, as in numpy.random.Generator.integers.
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
        mask: uint8 array of shape (64, 64): 0 background, 1 to 10 for digits 0 to 9, 255 on the one pixel wide
            border of a digit, where the label is ambiguous.
    """

    image: np.ndarray
    mask: np.ndarray


@lru_cache(maxsize=1)
def _load_digits() -> tuple[np.ndarray, np.ndarray]:
    """Read all 1,797 digits: int64 ink (N, 8, 8) from 0 to 16, and int64 class (N,) from 0 to 9."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            'the digit scenes are composed of the digits packaged with scikit-learn: pip install scikit-learn'
        ) from error
    digits = load_digits()
    return digits.images.astype(np.int64), digits.target.astype(np.int64)


def digit_pool(split: str) -> np.ndarray:
    """Return the indices, int64 of shape (N,), of the handwritten digits that scenes of ``split`` are composed of.

    Every fourth digit belongs to ``val``, the others to ``train``: no handwritten digit is seen in both.

    Raises:
        ValueError: ``split`` is neither ``train`` nor ``val``.
        ImportError: scikit-learn is not installed.
    """
    if split not in NUM_SCENES:
        raise ValueError(f'split must be one of {tuple(NUM_SCENES)}, got {split!r}')
    indices = np.arange(len(_load_digits()[1]))
    return indices[(indices % 4 == 3) == (split == 'val')]


def render_scene(split: str, index: int) -> Scene:
    """Render scene ``index`` of ``split``; the same arguments give the same pixels in every process.

    All arithmetic is on integers, so that no platform rounds differently.

    Raises:
        ValueError: ``split`` is unknown.
        IndexError: ``index`` is outside of the split.
        ImportError: scikit-learn is not installed.
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
            _label(mask, placed, class_index=int(_load_digits()[1][source]) + 1)
    image += rng.integers(-_PIXEL_NOISE, _PIXEL_NOISE + 1, size=image.shape)
    return Scene(np.clip(image, 0, 255).astype(np.uint8), mask)


def _resize(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Scale (H, W) int64 values bilinearly to (height, width), in integers, with pixel centres aligned."""
    for axis, size in ((0, height), (1, width)):
        old = values.shape[axis]
        position = np.clip((2 * np.arange(size) + 1) * old - size, 0, 2 * size * (old - 1))
        low, weight = np.divmod(position, 2 * size)
        high = np.minimum(low + 1, old - 1)
        weight = np.expand_dims(weight, 1 - axis)
        values = (values.take(low, axis) * (2 * size - weight) + values.take(high, axis) * weight) // (2 * size)
    return values


def _background(rng: np.random.Generator) -> np.ndarray:
    """Make a blotchy int64 background of shape (64, 64, 3) out of a coarse and a finer random grid."""
    grid = rng.integers(*_BACKGROUND, size=(3, 3, 3))
    detail = rng.integers(-30, 31, size=(3, 13, 13))
    channels = [
        _resize(g, SCENE_SIZE, SCENE_SIZE) + _resize(d, SCENE_SIZE, SCENE_SIZE)
        for g, d in zip(grid, detail, strict=True)
    ]
    return np.stack(channels, axis=-1)


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
    """Enlarge handwritten digit ``source``, or for a fragment one half of it; int64 ink from 0 to 16."""
    ink = _load_digits()[0][source]
    height, width = rng.integers(*_DIGIT_SIZE, size=2)
    if is_fragment:
        ink = np.rot90(ink, int(rng.integers(4)))[:4]
        height //= 2
    return _resize(ink, height, width)


def _place(rng: np.random.Generator, ink: np.ndarray, taken: np.ndarray) -> np.ndarray | None:
    """Put ``ink`` at a random free place of an empty scene and mark it in ``taken``; None where no place is found."""
    height, width = ink.shape
    for _ in range(_PLACEMENT_TRIES):
        top, left = rng.integers(0, SCENE_SIZE - height + 1), rng.integers(0, SCENE_SIZE - width + 1)
        box = np.s_[top : top + height, left : left + width]
        if not taken[box].any():
            # A label reaches over its ink; without a gap, the labels of two digits would cut far into each other.
            taken[max(top - _GAP, 0) : top + height + _GAP, max(left - _GAP, 0) : left + width + _GAP] = True
            placed: np.ndarray = np.zeros((SCENE_SIZE, SCENE_SIZE), dtype=np.int64)
            placed[box] = ink
            return placed
    return None


def _blend(image: np.ndarray, ink: np.ndarray, rng: np.random.Generator, contrast: tuple[int, int]) -> None:
    """Paint ``ink`` onto ``image`` in place, brighter than what it covers and with a tint of its own."""
    color = rng.integers(*contrast) + rng.integers(-25, 26, size=3)
    image += ink[..., None] * color // 16


def _label(mask: np.ndarray, ink: np.ndarray, class_index: int) -> None:
    """Write the thickened strokes of one digit into ``mask`` in place, and around them the ambiguous border."""
    strokes = cv2.dilate((ink >= 6).astype(np.uint8), np.ones((5, 5), np.uint8))
    border = cv2.dilate(strokes, np.ones((3, 3), np.uint8)) > strokes
    mask[border & (mask == 0)] = IGNORE_INDEX
    mask[strokes > 0] = class_index


@lru_cache(maxsize=2 * sum(NUM_SCENES.values()))
def _png(split: str, kind: str, index: int) -> bytes:
    """Render and encode one file; what is cached is the bytes, some kilobytes each."""
    scene = render_scene(split, index)
    # OpenCV writes BGR.
    pixels = scene.image[..., ::-1] if kind == 'images' else scene.mask
    return cv2.imencode('.png', np.ascontiguousarray(pixels))[1].tobytes()


@register_backend('digits', force=True, prefixes='digits')
class DigitSceneBackend(BaseStorageBackend):
    """Read-only mmengine file backend of paths ``digits://{train,val}/{images,masks}/NNNNNN.png``.

    ``mmengine.fileio`` finds it by the prefix, so no ``backend_args`` are needed. Images are 8 bit RGB PNG, masks 8 bit
    single channel PNG, both 64x64 (see :class:`Scene` for the labels). Rendering waits for the first :meth:`get`.
    """

    def get(self, filepath: str | Path) -> bytes:
        """Return the PNG bytes of ``filepath``.

        Raises:
            FileNotFoundError: there is no such scene.
            ImportError: scikit-learn is not installed.
        """
        key = self._parse(filepath)
        if key is None:
            ranges = ' or '.join(
                f'digits://{split}/{{{",".join(_KINDS)}}}/000000.png to {num - 1:06d}.png'
                for split, num in NUM_SCENES.items()
            )
            raise FileNotFoundError(f'no digit scene at {str(filepath)!r}; what exists is {ranges}')
        return _png(*key)

    def get_text(self, filepath: str | Path, encoding: str = 'utf-8') -> str:
        """Refuse: there are no text files.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(f'digit scenes are PNG files, {str(filepath)!r} cannot be read as text')

    def exists(self, filepath: str | Path) -> bool:
        """Return whether ``filepath`` is an image, a mask or one of the folders of the digit scenes."""
        return self.isfile(filepath) or self.isdir(filepath)

    def isfile(self, filepath: str | Path) -> bool:
        """Return whether ``filepath`` is an image or a mask."""
        return self._parse(filepath) is not None

    def isdir(self, filepath: str | Path) -> bool:
        """Return whether ``filepath`` is one of the folders, such as ``digits://val`` or ``digits://train/images``."""
        match = _FOLDER.match(str(filepath))
        return match is not None and match[1] in NUM_SCENES and match[2] in (None, *_KINDS)

    @staticmethod
    def _parse(filepath: str | Path) -> tuple[str, str, int] | None:
        """Split a path of an existing scene into split, kind and index; None for any other path."""
        match = _FILE.match(str(filepath))
        if match is None or match[1] not in NUM_SCENES or match[2] not in _KINDS:
            return None
        index = int(match[3])
        return (match[1], match[2], index) if index < NUM_SCENES[match[1]] else None


@DATASETS.register_module()
class DigitScenesDataset(BaseSegDataset):
    """Digit scenes for semi-supervised semantic segmentation, 11 classes, 64x64 pixels.

    Args:
        subset: ``labeled`` (the first ``num_labeled`` scenes of train), ``unlabeled`` (the other scenes of train,
            without a mask), ``train`` (all 640 scenes with masks, for an oracle) or ``val`` (200 scenes).
        num_labeled: How many of the 640 train scenes are labeled, 1 to 639.
        **kwargs: The arguments of :class:`mmseg.datasets.BaseSegDataset`, such as ``pipeline`` or ``indices``.

    Raises:
        ValueError: ``subset`` is not one of the above, or ``num_labeled`` is out of range.
    """

    METAINFO = {
        'classes': CLASSES,
        'palette': [
            [0, 0, 0],
            [31, 119, 180],
            [255, 127, 14],
            [44, 160, 44],
            [214, 39, 40],
            [148, 103, 189],
            [140, 86, 75],
            [227, 119, 194],
            [200, 200, 200],
            [188, 189, 34],
            [23, 190, 207],
        ],
    }

    def __init__(self, subset: str, num_labeled: int = NUM_LABELED, **kwargs: Any) -> None:
        if subset not in SUBSETS:
            raise ValueError(f'subset must be one of {SUBSETS}, got {subset!r}')
        if not 0 < num_labeled < NUM_SCENES['train']:
            raise ValueError(f'num_labeled must be from 1 to {NUM_SCENES["train"] - 1}, got {num_labeled}')
        self.subset = subset
        self.num_labeled = num_labeled
        split = 'val' if subset == 'val' else 'train'
        prefix = {'img_path': f'digits://{split}/images'}
        if subset != 'unlabeled':
            prefix['seg_map_path'] = f'digits://{split}/masks'
        super().__init__(**{'img_suffix': '.png', 'data_prefix': prefix, 'ignore_index': IGNORE_INDEX, **kwargs})

    def load_data_list(self) -> list[dict]:
        """Return one data info per scene, ordered by index; ``seg_map_path`` stands only where the mask is given."""
        scenes = {
            'labeled': range(self.num_labeled),
            'unlabeled': range(self.num_labeled, NUM_SCENES['train']),
            'train': range(NUM_SCENES['train']),
            'val': range(NUM_SCENES['val']),
        }[self.subset]
        data_list = []
        for index in scenes:
            data_info = {
                'img_path': f'{self.data_prefix["img_path"]}/{index:06d}{self.img_suffix}',
                'label_map': self.label_map,
                'reduce_zero_label': self.reduce_zero_label,
                'seg_fields': [],
            }
            if 'seg_map_path' in self.data_prefix:
                data_info['seg_map_path'] = f'{self.data_prefix["seg_map_path"]}/{index:06d}{self.seg_map_suffix}'
            data_list.append(data_info)
        return data_list
