"""Checks of segmentation data before the first training step, so that a mistake costs seconds."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine import fileio
from mmseg.datasets.transforms import LoadAnnotations

from mmdmt.config_dicts import type_name
from mmdmt.datasets.image_checks import (
    WORKERS,
    exif_orientation,
    load,
    load_transforms,
    load_unlabeled,
    open_image,
    turns_images,
)
from mmdmt.errors import MissingFileError, UserError
from mmdmt.labels.maps import PixelLabels
from mmdmt.seg.transforms import IGNORE_INDEX, REFUSED_TRANSFORMS

STOCK_LOADERS = {'img': LoadImageFromFile(), 'gt_seg_map': LoadAnnotations()}


def check_labeled(dataset: Any, key: str, classes: int) -> np.ndarray:
    """Check that every image of a labeled dataset can be loaded with its mask, and count the pixels of each class.

    Images and masks are loaded by the ``Load...`` transforms of the dataset's own pipeline.

    Returns:
        int64 [256]: number of pixels of each label value, 255 for ignored ones.

    Raises:
        MissingFileError: if an image or mask does not exist, or the dataset names no mask. The message names the image.
        UserError: if sizes differ, a label is neither a class nor 255, or there is nothing to learn. The message names
            the file and the values.
    """
    names = dataset.metainfo.get('classes')
    if isinstance(names, str):
        raise UserError(f'{key}: classes={names!r} is a text, not a list of names; write ({names!r},) for one class')
    if names is not None and len(names) != classes:
        raise UserError(f'{key} has {len(names)} classes, but the model has num_classes={classes}')
    infos = [dataset.get_data_info(idx) for idx in range(len(dataset))]
    loaders = load_transforms(dataset)
    with ThreadPoolExecutor(WORKERS) as pool:
        # The first error is raised, in the order of the images.
        counts: np.ndarray = sum(
            pool.map(lambda info: _check_pair(info, loaders, key, classes), infos), np.zeros(256, np.int64)
        )
    _check_counts(counts, key, [str(name) for name in names or range(classes)])
    return counts


def classes_shown(dataset: Any, key: str, classes: int) -> list[list[int]]:
    """The classes that each mask of a labeled dataset shows, loaded as for training.

    Raises:
        UserError: as :func:`check_labeled`.
    """
    infos, loaders = [dataset.get_data_info(idx) for idx in range(len(dataset))], load_transforms(dataset)
    with ThreadPoolExecutor(WORKERS) as pool:
        counts = pool.map(lambda info: _check_pair(info, loaders, key, classes), infos)
        return [np.flatnonzero(found[:classes]).tolist() for found in counts]


def _check_pair(info: dict, loaders: Sequence[Any], key: str, classes: int) -> np.ndarray:
    path, mask_path = info['img_path'], info.get('seg_map_path')
    if not fileio.exists(path):
        raise MissingFileError(f'{key}: image {path} does not exist')
    if not mask_path or not fileio.exists(mask_path):
        raise MissingFileError(f'{key}: image {path} has no mask at {mask_path!r}')
    if any(isinstance(loader, LoadAnnotations) for loader in loaders):
        _check_mode(mask_path, key)
    loaded = load(info, loaders, key)
    missing = [loader for name, loader in STOCK_LOADERS.items() if name not in loaded]
    if missing:  # by a pipeline without transforms of that name
        loaded = load(loaded, missing, key)
    mask = loaded['gt_seg_map']
    if mask.ndim != 2:
        raise UserError(
            f'{key}: mask {mask_path} has {mask.shape[-1]} channels; a mask needs one, which holds class indices'
        )
    turned = exif_orientation(path) if turns_images(loaders) else 1
    if mask.shape != loaded['img'].shape[:2]:
        reason = f' (turned by its EXIF orientation {turned})' if turned != 1 else ''
        raise UserError(
            f'{key}: mask {mask_path} is {mask.shape} (height, width), but its image {path} is '
            f'{loaded["img"].shape[:2]}{reason}'
        )
    if turned in (2, 3, 4) or (turned != 1 and mask.shape[0] == mask.shape[1]):
        raise UserError(
            f'{key}: image {path} has EXIF orientation {turned}: loading turns the image, but not its mask. Store the '
            "image upright, or load it with color_type='color_ignore_orientation'"
        )
    counts = np.bincount(mask.ravel(), minlength=256)
    unknown = [value for value in np.flatnonzero(counts).tolist() if value >= classes and value != IGNORE_INDEX]
    if unknown:
        hint = '; masks that count from 1 need reduce_zero_label=True' if not counts[0] and unknown == [classes] else ''
        raise UserError(
            f'{key}: mask {mask_path} holds label(s) {unknown}; allowed are 0..{classes - 1} and {IGNORE_INDEX} '
            f'(ignored){hint}'
        )
    return counts


def _check_mode(path: str, key: str) -> None:
    """Refuse masks of more than 8 bits, which mmsegmentation would cut to 8 without a word."""
    try:
        with open_image(path) as image:
            mode = image.mode
    except (OSError, SyntaxError) as error:  # Pillow's errors for broken files
        raise UserError(f'{key}: mask {path} cannot be read ({error})') from None
    if mode.startswith(('I', 'F')):
        what = 'floating-point numbers' if mode.startswith('F') else 'numbers of more than 8 bits'
        raise UserError(f'{key}: mask {path} holds {what} (mode {mode!r}); class indices must be stored in 8 bits')


def _check_counts(counts: np.ndarray, key: str, names: Sequence[str]) -> None:
    """Refuse masks in which there is nothing to tell apart."""
    seen = [name for name, count in zip(names, counts, strict=False) if count]
    if not seen:
        raise UserError(f'{key}: every pixel of every mask is {IGNORE_INDEX}, which means ignored')
    if len(seen) == 1 and len(names) > 1:
        missing = ', '.join(name for name in names if name not in seen)
        hint = ''
        if counts[IGNORE_INDEX]:
            hint = f'. {IGNORE_INDEX} means ignored: do the masks mark a class by {IGNORE_INDEX} that should be 1?'
        raise UserError(f'{key}: the masks show class {seen[0]!r} only, and no pixel of {missing}{hint}')


def check_pipeline(pipeline: Sequence[Any] | Mapping, key: str) -> None:
    """Refuse transforms that would silently separate the confidence from its label map.

    Raises:
        ValueError: if there is one; the message names the transform and the reason.
    """
    for transform in [pipeline] if isinstance(pipeline, Mapping) else pipeline:
        if isinstance(transform, list | tuple):  # the alternatives of RandomChoice
            check_pipeline(transform, key)
            continue
        name = type_name(transform) if isinstance(transform, Mapping) else type(transform).__name__
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
