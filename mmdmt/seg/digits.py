"""Embedded demo data: scenes of handwritten digits as an mmsegmentation dataset.

An mmengine file backend serves the scenes. A stock pipeline (``LoadImageFromFile``, ``LoadAnnotations``) reads
``digits://train/images/000012.png`` like a file; nothing is downloaded or written.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.fileio import BaseStorageBackend, register_backend
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from mmdmt.errors import MissingFileError, UserError
from mmdmt.seg.digit_rendering import IGNORE_INDEX, NUM_SCENES, render_scene

CLASSES = ('background', *(f'digit {digit}' for digit in range(10)))
NUM_LABELED = 40
SUBSETS = ('labeled', 'unlabeled', 'train', 'val')

_FOLDERS = ('images', 'masks')
_FILE = re.compile(r'^digits:/{1,2}(\w+)/(\w+)/(\d{6})\.png$')
_FOLDER = re.compile(r'^digits:/{1,2}(\w+)(?:/(\w+))?/?$')


@cache
def _files(split: str, index: int) -> dict[str, bytes]:
    """Render a scene, and encode its two files, by folder; the cache holds the bytes, some kilobytes per scene."""
    scene = render_scene(split, index)
    pixels = dict(images=scene.image[..., ::-1], masks=scene.mask)  # OpenCV expects BGR
    return {name: cv2.imencode('.png', np.ascontiguousarray(values))[1].tobytes() for name, values in pixels.items()}


@register_backend('digits', force=True, prefixes='digits')
class DigitSceneBackend(BaseStorageBackend):
    """Read-only mmengine file backend for paths ``digits://{train,val}/{images,masks}/NNNNNN.png``.

    ``mmengine.fileio`` finds it by the prefix, so no ``backend_args`` are needed. Images are 8-bit RGB PNG, masks 8-bit
    single-channel PNG, both 64x64 (labels: see ``digit_rendering.Scene``). The first :meth:`get` of a file renders it.
    """

    def get(self, filepath: str | Path) -> bytes:
        """Return the PNG bytes of ``filepath``.

        Raises:
            FileNotFoundError: the scene does not exist.
            InstallationError: scikit-learn is not installed.
        """
        key = self._parse(filepath)
        if key is None:
            ranges = ' or '.join(
                f'digits://{split}/{{{",".join(_FOLDERS)}}}/000000.png to {num - 1:06d}.png'
                for split, num in NUM_SCENES.items()
            )
            raise MissingFileError(f'digit scene {str(filepath)!r} does not exist; allowed are {ranges}')
        split, folder, index = key
        return _files(split, index)[folder]

    def get_text(self, filepath: str | Path, encoding: str = 'utf-8') -> str:
        """Refuse, because there are no text files.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(f'{str(filepath)!r} cannot be read as text: digit scenes are PNG files')

    def exists(self, filepath: str | Path) -> bool:
        """Return whether ``filepath`` is an image, a mask or a folder of the digit scenes."""
        return self.isfile(filepath) or self.isdir(filepath)

    def isfile(self, filepath: str | Path) -> bool:
        """Return whether ``filepath`` is an image or a mask."""
        return self._parse(filepath) is not None

    def isdir(self, filepath: str | Path) -> bool:
        """Return whether ``filepath`` is one of the folders, such as ``digits://val`` or ``digits://train/images``."""
        match = _FOLDER.match(str(filepath))
        return match is not None and match[1] in NUM_SCENES and match[2] in (None, *_FOLDERS)

    @staticmethod
    def _parse(filepath: str | Path) -> tuple[str, str, int] | None:
        """Split a path of an existing scene into split, folder and index; None for any other path."""
        match = _FILE.match(str(filepath))
        if match is None or match[1] not in NUM_SCENES or match[2] not in _FOLDERS:
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
            raise UserError(f'subset must be one of {SUBSETS}, got {subset!r}')
        if not 0 < num_labeled < NUM_SCENES['train']:
            raise UserError(f'num_labeled must be from 1 to {NUM_SCENES["train"] - 1}, got {num_labeled}')
        self.subset = subset
        self.num_labeled = num_labeled
        split = 'val' if subset == 'val' else 'train'
        prefix = {'img_path': f'digits://{split}/images'}
        if subset != 'unlabeled':
            prefix['seg_map_path'] = f'digits://{split}/masks'
        prefix.update(kwargs.pop('data_prefix', {}))
        super().__init__(**{'img_suffix': '.png', 'data_prefix': prefix, 'ignore_index': IGNORE_INDEX, **kwargs})

    def load_data_list(self) -> list[dict]:
        """Return one data info per scene, ordered by index; without a mask, ``seg_map_path`` is absent."""
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
