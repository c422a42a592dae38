"""Checks of segmentation data before the first training step, so that a mistake costs seconds."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from mmengine import fileio
from mmseg.datasets.transforms import LoadAnnotations

from mmdmt.datasets.image_checks import WORKERS, image_size, load_unlabeled
from mmdmt.errors import MissingFileError, UserError
from mmdmt.labels.maps import PixelLabels
from mmdmt.seg.transforms import IGNORE_INDEX, REFUSED_TRANSFORMS


def check_labeled(dataset: Any, key: str, classes: int) -> None:
    """Check that every image of a labeled dataset has a mask of its size without unknown classes.

    Raises:
        FileNotFoundError: if an image or mask does not exist, or the dataset names no mask. The message names the
            image.
        ValueError: if sizes differ or a label is neither a class nor 255. The message names the file and the values.
    """
    names = dataset.metainfo.get('classes')
    if names is not None and len(names) != classes:
        raise UserError(f'{key} has {len(names)} classes, but the model has num_classes={classes}')
    infos = [dataset.get_data_info(idx) for idx in range(len(dataset))]
    with ThreadPoolExecutor(WORKERS) as pool:
        # list() raises the first error, in the order of the images.
        list(pool.map(lambda info: _check_pair(info, key, classes), infos))


def _check_pair(info: dict, key: str, classes: int) -> None:
    mask_path = info.get('seg_map_path')
    size = image_size(info['img_path'], key)
    if not mask_path or not fileio.exists(mask_path):
        raise MissingFileError(f'{key}: image {info["img_path"]} has no mask at {mask_path!r}')
    info = {**info, 'seg_fields': []}
    try:
        LoadAnnotations().transform(info)
    except (OSError, SyntaxError) as error:  # Pillow's errors for broken files
        raise UserError(f'{key}: mask {mask_path} cannot be read ({error})') from None
    mask = info['gt_seg_map']
    if mask.shape != size:
        raise UserError(
            f'{key}: mask {mask_path} is {mask.shape} (height, width), but its image {info["img_path"]} is {size}'
        )
    unknown = [int(value) for value in np.unique(mask) if value >= classes and value != IGNORE_INDEX]
    if unknown:
        raise UserError(
            f'{key}: mask {mask_path} holds label(s) {unknown}; allowed are 0..{classes - 1} and {IGNORE_INDEX} '
            '(ignored)'
        )


def check_pipeline(pipeline: Sequence[Any], key: str) -> None:
    """Refuse transforms that would silently separate the confidence from its label map.

    Raises:
        ValueError: if there is one; the message names the transform and the reason.
    """
    for transform in pipeline:
        if isinstance(transform, list | tuple):  # the alternatives of RandomChoice
            check_pipeline(transform, key)
            continue
        name = transform.get('type') if isinstance(transform, Mapping) else type(transform).__name__
        if name in REFUSED_TRANSFORMS:
            raise UserError(f'{key}: transform {name} cannot be used with DMT: {REFUSED_TRANSFORMS[name]}')
        if isinstance(transform, Mapping) and transform.get('backend') == 'pillow':
            raise UserError(f"{key}: transform {name} needs backend='cv2': pillow cannot resize confidences")
        if isinstance(transform, Mapping):
            check_pipeline(transform.get('transforms') or (), key)


def check_sample(dataset: Any, key: str) -> None:
    """Load one image through the training pipeline.

    Raises:
        ValueError: if the pipeline does not give a confidence.
    """
    sample = dataset[0]
    if not isinstance(sample, Mapping) or 'gt_confidence' not in sample.get('data_samples', ()):
        raise UserError(f'{key}.pipeline must load with LoadDMTAnnotations and end with PackDMTInputs')


def check_unlabeled_sample(dataset: Any, label_pipeline: Sequence, train_pipeline: Sequence) -> None:
    """Load one unlabeled image through the label pipeline and, with an empty label, through the training pipeline.

    Raises:
        ValueError: if a pipeline fails or lacks an output; the message names its config key.
    """
    sample = load_unlabeled(dataset, label_pipeline, 'dmt.label_pipeline')
    if 'sample_idx' not in sample.metainfo:
        raise UserError('dmt.label_pipeline must end with PackDMTInputs')
    label, confidence = (np.zeros(sample.ori_shape, dtype) for dtype in (np.uint8, np.float32))
    empty = PixelLabels(label, confidence, '(sized by dmt.label_pipeline)')
    sample = load_unlabeled(dataset, train_pipeline, 'dmt.unlabeled.pipeline', pseudo_label=empty)
    if 'gt_confidence' not in sample:
        raise UserError('dmt.unlabeled.pipeline must load with LoadDMTAnnotations and end with PackDMTInputs')
