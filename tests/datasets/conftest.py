import cv2
import numpy as np
import pytest
from mmengine.registry import DefaultScope

import mmdmt.seg  # noqa: F401  (registers datasets, samplers and transforms)


@pytest.fixture(autouse=True)
def mmseg_scope():
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


@pytest.fixture
def write_png(tmp_path):
    """Write an array as tmp_path/path and return the path as a string."""

    def write(path, pixels):
        path = tmp_path / path
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), np.asarray(pixels, dtype=np.uint8))
        return str(path)

    return write


@pytest.fixture
def image_folder(tmp_path, write_png):
    """Make a folder of 2x3 images and return the config of a BaseSegDataset over it; no masks are made."""

    def make(folder, stems, **kwargs):
        for stem in stems:
            write_png(f'{folder}/{stem}.png', np.zeros((2, 3, 3)))
        return {
            'type': 'BaseSegDataset',
            'data_root': str(tmp_path),
            'img_suffix': '.png',
            'data_prefix': {'img_path': folder},
            'metainfo': {'classes': ('a', 'b'), 'palette': [[0, 0, 0], [9, 9, 9]]},
            **kwargs,
        }

    return make
