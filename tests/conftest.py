"""Shared fixtures: a tiny DMT config on the embedded digits, and a small data set in files with a config for it."""

import copy
import gc
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).parents[1]
os.environ.setdefault('OMP_NUM_THREADS', '1')  # for the processes that tests start; see one_thread()
# Model b differs from a in width, channel order and normalization, so one in place of the other gives other figures.
OTHER_MODEL = dict(
    data_preprocessor=dict(mean=[104.0, 117.0, 123.0], std=[70.0, 60.0, 50.0], bgr_to_rgb=False),
    backbone=dict(base_channels=8, stem_channels=8, style='caffe'),
    decode_head=dict(in_channels=64, channels=24),
)
# 4 labeled, 6 unlabeled and 4 validation scenes; two iterations of a few steps each.
TINY = {
    'train_dataloader.batch_size': 2,
    'val_dataloader.dataset.indices': 4,
    # Images one by one: their labels may not depend on which others share their batch.
    'test_dataloader.batch_size': 1,
    'test_dataloader.dataset.indices': 4,
    'default_hooks.logger.interval': 2,
    'optim_wrapper.optimizer': dict(_delete_=True, type='SGD', lr=0.05, momentum=0.9),
    'param_scheduler': [dict(type='PolyLR', power=0.9, begin=0, end=20000, by_epoch=False)],
    'train_cfg.max_iters': 20000,
    'dmt.models.b': dict(model=OTHER_MODEL),
    'dmt.label_ratios': (0.5, 1.0),
    'dmt.labeled.indices': 4,
    'dmt.unlabeled.indices': 6,
    'dmt.supervised': dict(_delete_=True, iters=4),
    'dmt.semi': dict(_delete_=True, iters=4, labeled_per_batch=1, unlabeled_per_batch=2),
    'dmt.keep_labels': True,
    'dmt.rehearse': False,
    'dmt.report': False,
}
CLASSES = ('road', 'wall', 'sky')
# image and mask size of the data set in files: height, width
SIZE = (24, 32)


@pytest.fixture(scope='session', autouse=True)
def one_thread() -> None:
    """Compute on one thread, so that the results of two processes can be compared bit for bit."""
    torch.set_num_threads(1)


@pytest.fixture(scope='session')
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope='module', autouse=True)
def known_objects_unsearched() -> None:
    """Leave what tests and modules hold out of the search for garbage, which mmengine starts with each data set."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope='session')
def tiny_config() -> Callable:
    """``tiny_config(work_dir, {dotted key: value})``: a DMT config whose run takes seconds."""

    def make(work_dir: Path, options: dict | None = None):
        from mmengine.config import Config

        cfg = Config.fromfile(ROOT / 'configs/dmt/fcn_digits.py')
        cfg.merge_from_dict({**TINY, 'work_dir': str(work_dir), **(options or {})})
        return cfg

    return make


@pytest.fixture
def write_image() -> Callable:
    """``write_image(path, uint8 array)``: write a PNG file."""

    def write(path: Path, pixels: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)

    return write


@pytest.fixture
def folder_data(tmp_path: Path, write_image: Callable) -> Path:
    """A data set in files: images/, masks/ (of all but the unlabeled images), {labeled,unlabeled,val}.txt."""
    rng = np.random.default_rng(0)
    folder = tmp_path / 'data'
    for subset, number in (('labeled', 3), ('unlabeled', 4), ('val', 2)):
        names = [f'{subset}{index}' for index in range(number)]
        for name in names:
            write_image(folder / f'images/{name}.png', rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8))
            if subset != 'unlabeled':
                mask = rng.integers(0, len(CLASSES), SIZE, dtype=np.uint8)
                mask[:2] = 255
                write_image(folder / f'masks/{name}.png', mask)
        (folder / f'{subset}.txt').write_text('\n'.join(names) + '\n')
    return folder


@pytest.fixture
def folder_config(tmp_path: Path, folder_data: Path, tiny_config: Callable):
    """A DMT config for ``folder_data``."""
    cfg = tiny_config(tmp_path / 'run', {'model.decode_head.num_classes': len(CLASSES)})

    def dataset(subset: str, pipeline: list) -> dict:
        return dict(
            type='BaseSegDataset',
            data_root=str(folder_data),
            ann_file=f'{subset}.txt',
            data_prefix=dict(img_path='images', seg_map_path='masks'),
            img_suffix='.png',
            metainfo=dict(classes=CLASSES),
            pipeline=copy.deepcopy(pipeline),
        )

    cfg.dmt.label_pipeline = [dict(type='LoadImageFromFile'), dict(type='PackDMTInputs')]
    cfg.dmt.labeled = dataset('labeled', cfg.train_pipeline)
    cfg.dmt.unlabeled = dataset('unlabeled', cfg.train_pipeline)
    cfg.val_dataloader.dataset = cfg.test_dataloader.dataset = dataset('val', cfg.test_pipeline)
    return cfg


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
