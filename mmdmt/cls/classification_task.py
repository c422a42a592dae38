"""What a DMT run needs to know about mmpretrain."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmdmt.checked import Checked
from mmdmt.cls import label_checks
from mmdmt.core.ranking import selected_number
from mmdmt.core.splits import balanced_split
from mmdmt.datasets.building import image_paths
from mmdmt.errors import UserError
from mmdmt.labels.table import BYTES_PER_IMAGE, RANKINGS


class ClassificationTask:
    """Image classification: see :class:`mmdmt.engine.task.Task`."""

    metric = 'accuracy/top1'
    rankings = RANKINGS
    schemes = ('mutual', 'self', 'chain', 'single')
    label_writer_settings = Checked
    split_size = 'num_labeled'
    store = 'table'
    # Models and losses of this package, and the stock ones that predict the same with the same weights.
    stock_types = {
        'DMTImageClassifier': dict(type='ImageClassifier'),
        'DynamicMutualLoss': dict(type='CrossEntropyLoss'),
    }
    own_arguments = frozenset({'mixup'})
    scope = 'mmpretrain'
    transforms = {'PackInputs': 'PackDMTInputs'}
    packing = 'PackDMTInputs'
    heads = ('head',)
    loss_key = 'loss'
    loss: Mapping[str, Any] = dict(gamma1=4.0, gamma2=4.0, ramp=True)  # of the paper
    other_heads: tuple[str, ...] = ()

    check_labeled = staticmethod(label_checks.check_labeled)
    classes_shown = staticmethod(label_checks.classes_shown)
    count_unlabeled = staticmethod(label_checks.count_unlabeled)
    check_forward = staticmethod(label_checks.check_forward)

    def num_classes(self, model: Mapping) -> int:
        """Return the number of classes of a classifier config, set in its head."""
        head = model.get('head') or {}
        if not isinstance(head.get('num_classes'), int):
            raise UserError(f'model.head ({head.get("type")}) must set num_classes')
        return head['num_classes']

    def writer(self, settings: Any, images: int) -> dict[str, Any]:
        """Return the config of the metric that writes a table of image labels."""
        return dict(type='ImageLabelWriter', ranking=settings.ranking)

    def selected(self, number: int, ratio: float) -> int:
        """Return how many of ``number`` images a ratio selects."""
        return selected_number(number, ratio)

    def split(self, pool: Any, size: int, split_id: int, seed: int) -> tuple[list[str], list[str]]:
        """Split an mmpretrain dataset, with ``size`` images labeled, balanced by class; return lines of list files."""
        paths, infos = image_paths(pool), [pool.get_data_info(idx) for idx in range(len(pool))]
        labels = [info.get('gt_label') for info in infos]
        if not hasattr(pool, 'data_prefix') or not all(isinstance(label, int | np.integer) for label in labels):
            raise UserError(
                f'dmt.split needs dmt.labeled to be one mmpretrain dataset with labels, got {type(pool).__name__}'
            )
        prefix = pool.data_prefix.get('img_path') or '.'
        # For images in memory, the path is only a name.
        names = [
            path if 'img' in info else os.path.relpath(path, prefix) for path, info in zip(paths, infos, strict=True)
        ]
        label_of = dict(zip(names, labels, strict=True))
        try:
            parts = balanced_split(names, list(label_of.values()), size, split_id, seed)
        except ValueError as error:
            raise UserError(f'dmt.split: {error}') from None
        labeled, unlabeled = ([f'{name} {label_of[name]}' for name in part] for part in parts)
        return labeled, unlabeled

    def from_list(self, list_file: str, pool: Any) -> dict[str, Any]:
        """Return the config keys for a list file, and the classes: with a list, folder names no longer give them."""
        classes = pool.metainfo.get('classes')
        return dict(ann_file=list_file, **({} if classes is None else dict(classes=list(classes))))

    def check_pipeline(self, pipeline: Sequence, key: str) -> None:
        """Do nothing: no transform can separate the confidence from its label."""

    def check_samples(self, labeled: Any, unlabeled: Any, label_pipeline: Sequence, train_pipeline: Sequence) -> None:
        """Load a first sample in each way that a run does."""
        label_checks.check_samples(labeled, unlabeled, label_pipeline, train_pipeline)

    def list_family(self, labeled: Any, unlabeled: Any) -> tuple[str, str] | None:
        """Return None: lists of classification are drawn by class, in one way."""
        return None

    def label_bytes(self, unlabeled: Any, label_pipeline: Sequence) -> int:
        """Estimate the bytes of a table of labels."""
        return len(unlabeled) * BYTES_PER_IMAGE
