"""Compares the pseudo labels of a label phase with true masks, where the unlabeled images have some."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine import fileio
from mmengine.registry import TRANSFORMS
from torch import Tensor
from torch.nn import functional as F

from mmdmt.analysis.label_quality import by_confidence
from mmdmt.config_dicts import copy_config, type_name
from mmdmt.core.ranking import IGNORED, ClassHistogram
from mmdmt.datasets.unlabeled import UnlabeledDataset
from mmdmt.errors import UserError
from mmdmt.files import write_json
from mmdmt.labels.maps import LabelMaps

CHECK = 'label_check.json'
"""File in the folder of a label phase: see :func:`check_labels`."""
IMAGES, PIXELS = 200, 40_000_000
"""How many images, and how many pixels at most, are compared: a few seconds at the end of a phase."""
LOADERS = ('LoadAnnotations', 'LoadDMTAnnotations')


def true_map(info: Mapping, pipeline: Sequence = ()) -> Tensor | None:
    """Human-labeled class map of an image, int64 [H, W]; None without a mask, or for one that cannot be read.

    Args:
        info: What the dataset knows about the image.
        pipeline: Transforms of the dataset; the one that loads annotations loads the mask.
    """
    path = info.get('seg_map_path')
    configs = [step for step in pipeline if isinstance(step, Mapping) and type_name(step) in LOADERS]
    loader = copy_config(configs[0]) if configs else dict(type='LoadAnnotations')
    try:
        if not path or not fileio.exists(path):
            return None
        mask = TRANSFORMS.build(loader).transform({'reduce_zero_label': False, **info, 'seg_fields': []})['gt_seg_map']
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return torch.from_numpy(np.asarray(mask).astype(np.int64))


def resized(label: Tensor, size: Sequence[int]) -> Tensor:
    """Resize a class map (nearest pixels), for labels that are made at another size than the files'."""
    if tuple(label.shape) == tuple(size):
        return label
    return F.interpolate(label[None, None].float(), size=tuple(size), mode='nearest')[0, 0].long()


def evenly(number: int, wanted: int) -> list[int]:
    """Up to ``wanted`` evenly spaced indices of ``number`` images.

    Example:
        >>> evenly(100, 3)
        [0, 50, 99]
    """
    return np.unique(np.linspace(0, number - 1, min(number, wanted)).round().astype(int)).tolist()


def check_labels(folder: Path, dataset: UnlabeledDataset, pipeline: Sequence, num_classes: int) -> dict | None:
    """Compare labels with masks on evenly spaced images, and write the figures to ``label_check.json``.

    Args:
        folder: Folder of a complete label phase of segmentation, with its labels.
        dataset: The unlabeled images.
        pipeline: See :func:`true_map`.
        num_classes: Number of classes.

    Returns:
        ``images``; ``kept`` and ``all``: number of labels and of right ones by class; ``bins``: the same by bin of
        confidence. None if no image has labels and a mask.
    """
    store = LabelMaps(folder)
    thresholds = torch.tensor(store.info()['thresholds'])
    labels, right = ClassHistogram(num_classes), ClassHistogram(num_classes)
    images = pixels = 0
    for idx in evenly(len(dataset), IMAGES):
        truth = true_map(dataset.dataset.get_data_info(idx), pipeline)
        found = None if truth is None else _read(store, dataset.name(idx))
        if truth is None or found is None:
            continue
        label, code = found
        truth = resized(truth, label.shape)
        known = truth != IGNORED
        labels.update(torch.where(known, label, IGNORED), code)
        right.update(torch.where(known & (label == truth), label, IGNORED), code)
        images, pixels = images + 1, pixels + label.numel()
        if pixels > PIXELS:
            break
    if not images:
        return None
    at_least = torch.arange(labels.counts.shape[1]) >= thresholds[:, None]
    result = dict(
        images=images,
        all=_pairs(labels.counts.sum(1), right.counts.sum(1)),
        kept=_pairs((labels.counts * at_least).sum(1), (right.counts * at_least).sum(1)),
        bins=_pairs(by_confidence(labels), by_confidence(right)),
    )
    write_json(folder / CHECK, result)
    return result


def _read(store: LabelMaps, name: str) -> tuple[Tensor, Tensor] | None:
    """Label and code of an image, int64 each; None if they were deleted or damaged."""
    try:
        label, code = store.read(name)
    except (OSError, UserError):
        return None
    return torch.from_numpy(label.astype(np.int64)), torch.from_numpy(code.astype(np.int64))


def _pairs(number: Tensor, right: Tensor) -> list[list[Any]]:
    return [[int(n), int(r)] for n, r in zip(number.tolist(), right.tolist(), strict=True)]
