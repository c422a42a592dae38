"""Runs made by hand, as they look on disk, and a real one."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mmdmt.core.ranking import ClassHistogram
from mmdmt.core.schedule import plan
from mmdmt.labels.maps import LabelMaps
from tests.steps import SELF_TAUGHT

CLASSES = ['sky', 'road', 'pole']
SCORES = {'00_train_a': 50.0, '00_train_b': 52.0, '01_train_b': 55.5, '01_train_a': 49.0}
CLASS_IOU = {
    '00_train_a': dict(sky=90.0, road=60.0, pole=10.0),
    '01_train_a': dict(sky=91.0, road=56.0, pole=0.5),
}
# Codes of two images of 2 x 3 pixels, and their labels; ratio 0.5 keeps the upper half of each class.
LABELS = [[[0, 0, 0], [1, 1, 1]], [[0, 1, 1], [1, 1, 1]]]
CODES = [[[60000, 50000, 40000], [30000, 20000, 6000]], [[30000, 60000, 50000], [40000, 15000, 5000]]]


MASKS = {'dmt.unlabeled.data_prefix': dict(seg_map_path='digits://train/masks')}


@pytest.fixture(scope='session')
def reported_run(tiny_config, tmp_path_factory) -> Path:
    """Work dir of a complete real run of one model and one iteration on digit scenes, with labels and report."""
    from mmdmt.engine import DMTRunner

    cfg = tiny_config(tmp_path_factory.mktemp('reported') / 'run', {**SELF_TAUGHT, **MASKS, 'dmt.report': True})
    DMTRunner(cfg).train()
    return Path(cfg.work_dir)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture
def label_maps(tmp_path) -> Callable:
    """``label_maps(folder)``: a complete store of two images, labeled with ``LABELS`` and ``CODES``, ratio 0.5."""

    def make(folder):
        store, histogram = LabelMaps(folder), ClassHistogram(len(CLASSES))
        for index, (label, code) in enumerate(zip(LABELS, CODES, strict=True)):
            store.write(f'{index:06d}_{index}', np.array(label, np.uint8), np.array(code, np.uint16))
            histogram.update(torch.tensor(label), torch.tensor(code))
        store.finish(
            histogram,
            label_ratio=0.5,
            coverage=histogram.coverage(0.5),
            thresholds=histogram.thresholds(0.5).tolist(),
            pixels_by_class=histogram.counts.sum(1).tolist(),
        )
        return store

    return make


@pytest.fixture
def made_run(tmp_path, label_maps) -> Callable:
    """``made_run(name)``: the work dir of a complete mutual run of one iteration; its scores are ``SCORES``."""

    def make(name='run', seed=0, shift=0.0):
        work_dir = tmp_path / name
        phases = plan('mutual', ['a', 'b'], (0.5,))
        config = {'dmt.metric': "'mIoU'", 'data_root': "'data/camvid'"}
        write(work_dir / 'dmt.json', dict(format=1, config=config, plan=[vars(phase) for phase in phases]))
        notes = dict(commands=['train.py x.py'], seed=seed, classes=CLASSES, metric='mIoU', versions=dict(python='3'))
        notes['gammas'] = dict(a=['gamma1=5.0'])
        notes['class_counts'] = dict(labeled=[50, 40, 10])
        write(work_dir / 'run_notes.json', notes)
        for phase in phases:
            folder = work_dir / phase.name
            if phase.kind == 'label':
                label_maps(folder)
                write(folder / 'phase.json', dict(phase=phase.name, seconds=2.0, coverage=0.5, images=2))
                continue
            record = dict(phase=phase.name, seconds=60.0, steps=4, labeled=7)
            record['metrics'] = dict(mIoU=SCORES[phase.name] + shift * (phase.iteration > 0))
            record['class_iou'] = CLASS_IOU.get(phase.name, {})
            write(folder / 'phase.json', record)
            lines = [dict(loss=1.0 / step, mean_weight=0.5, disagree=0.25, lr=0.1, step=step) for step in range(1, 5)]
            lines.append(dict(mIoU=SCORES[phase.name], step=4))
            log = folder / '20260101_000000/vis_data/scalars.json'
            log.parent.mkdir(parents=True)
            log.write_text(''.join(json.dumps(line) + '\n' for line in lines) + '{"loss": 1')
        return work_dir

    return make
