"""Checks of segmentation data before the first training step, so that a mistake costs seconds."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine import fileio
from mmengine.dataset import Compose
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image

from mmdmt.config_dicts import type_name
from mmdmt.datasets.image_checks import (
    channels,
    check_same_channels,
    concatenated,
    first_sample,
    load,
    load_transforms,
    load_unlabeled,
    open_image,
    orientation_turned_by,
)
from mmdmt.datasets.image_files import broken_link, missing_image
from mmdmt.datasets.reading import CheckedFiles, describe
from mmdmt.errors import MissingFileError, UserError, listed
from mmdmt.labels.map_writer import check_whole
from mmdmt.labels.selected_pixels import PixelLabels
from mmdmt.seg.transforms import IGNORE_INDEX, REFUSED_TRANSFORMS


def check_labeled(dataset: Any, key: str, classes: int, files: CheckedFiles | None = None) -> np.ndarray:
    """Check that every image of a labeled dataset can be loaded with its mask, and count the pixels of each class.

    Images and masks are loaded by the transforms of the dataset's own pipeline. ``files`` knows what was checked
    already.

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
        raise UserError(f'{key} has {len(names)} classes ({listed(names)}), but the model has num_classes={classes}')
    infos, found = [], []
    for part in concatenated(dataset):
        own = [part.get_data_info(idx) for idx in range(len(part))]
        _check_voc_masks(own, key)
        found += _check_masks(own, load_transforms(part, ('img', 'gt_seg_map')), key, classes, files or CheckedFiles())
        infos += own
    check_same_channels([number for number, _ in found], infos, key)
    counts = _sum(values for _, values in found)
    _check_counts(counts, key, [str(name) for name in names or range(classes)])
    return counts


def _check_masks(
    infos: Sequence[dict], loaders: Sequence[Any], key: str, classes: int, files: CheckedFiles
) -> list[tuple[int, list[list[int]]]]:
    """Check images with their masks; for each, return its number of channels, and label values with their numbers."""

    def check(info: dict) -> tuple[int, list[list[int]]]:
        image, mask = _check_pair(info, loaders, key)
        _check_labels(mask, info['seg_map_path'], key, classes)
        return channels(image), _values(mask)

    return files.check(infos, check, f'mask {classes} {describe(loaders)}', key)


def classes_shown(dataset: Any, key: str, classes: int) -> list[list[int]]:
    """The classes that each mask of a labeled dataset shows, loaded as for training.

    Raises:
        UserError: as :func:`check_labeled`.
    """
    infos, loaders = (
        [dataset.get_data_info(idx) for idx in range(len(dataset))],
        load_transforms(dataset, ('img', 'gt_seg_map')),
    )

    def check(info: dict) -> list[list[int]]:
        _, mask = _check_pair(info, loaders, key)
        _check_labels(mask, info['seg_map_path'], key, classes)
        return _values(mask)

    found = CheckedFiles().check(infos, check, f'classes {classes} {describe(loaders)}', key)
    return [[value for value, _ in values if value < classes] for values in found]


def count_unlabeled(
    dataset: Any, pipeline: Sequence[Any], classes: int, files: CheckedFiles | None = None
) -> np.ndarray:
    """Count the pixels of each class in the masks of unlabeled images, which no model sees.

    Args:
        dataset: The unlabeled images.
        pipeline: Transforms, or their configs; those that load annotations load the masks.
        classes: Not needed.
        files: What was checked already.

    Returns:
        int64 [256]: number of pixels of each label value; all 0 if there is no mask. Masks that cannot be loaded do not
        count.
    """
    loaders = [item for item in Compose(pipeline).transforms if isinstance(item, LoadAnnotations)]
    infos = [dataset.get_data_info(idx) for idx in range(len(dataset))]
    infos = [info for info in infos if info.get('seg_map_path') and fileio.exists(info['seg_map_path'])]

    def count(info: dict) -> list[list[int]]:
        results = {**info, 'seg_fields': []}
        try:
            for loader in loaders:
                results = loader(results)
            mask = results['gt_seg_map']
            return _values(mask) if mask.ndim == 2 else []
        except Exception:
            return []

    return _sum((files or CheckedFiles()).check(infos, count, f'unseen mask {describe(loaders)}', 'dmt.unlabeled'))


def _values(mask: np.ndarray) -> list[list[int]]:
    """Pairs of a label value and its number of pixels."""
    counts = np.bincount(mask.ravel().astype(np.int64, copy=False), minlength=256)
    return [[value, int(counts[value])] for value in np.flatnonzero(counts).tolist()]


def _sum(values_of_masks: Iterable[list[list[int]]]) -> np.ndarray:
    counts: np.ndarray = np.zeros(256, np.int64)
    for values in values_of_masks:
        for value, number in values:
            counts[value] += number
    return counts


def _check_pair(info: dict, loaders: Sequence[Any], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Load an image and its mask, and check that they belong together."""
    path, mask_path = info['img_path'], info.get('seg_map_path')
    if not fileio.exists(path):
        raise missing_image(path, key)
    if not mask_path or not fileio.exists(mask_path):
        raise MissingFileError(f'{key}: image {path} has no mask at {mask_path!r}{broken_link(mask_path or "")}')
    if any(_is_stock(loader) for loader in loaders) or not loaders:
        _check_depth(mask_path, key)
    loaded = load(info, loaders, key)
    if 'gt_seg_map' not in loaded:  # by a pipeline that loads no annotations
        loaded = load(loaded, [LoadAnnotations()], key)
    image, mask = loaded['img'], loaded['gt_seg_map']
    if mask.ndim != 2:
        gray = '; they are all equal: store one of them' if (mask == mask[..., :1]).all() else ''
        raise UserError(
            f'{key}: mask {mask_path} has {mask.shape[-1]} channels; a mask needs one, which holds class indices{gray}'
        )
    turned = orientation_turned_by(loaders, info)
    if mask.shape != image.shape[:2]:
        reason = f' (turned by its EXIF orientation {turned})' if turned != 1 else ''
        raise UserError(
            f'{key}: mask {mask_path} is {mask.shape} (height, width), but its image {path} is '
            f'{image.shape[:2]}{reason}'
        )
    if turned in (2, 3, 4) or (turned != 1 and mask.shape[0] == mask.shape[1]):
        raise UserError(
            f'{key}: image {path} has EXIF orientation {turned}: loading turns the image, but not its mask. Store the '
            "image upright, or load it with color_type='color_ignore_orientation'"
        )
    return image, mask


def _check_labels(mask: np.ndarray, path: str, key: str, classes: int) -> None:
    """Refuse label values that are neither classes nor ignored."""
    values = [value for value, _ in _values(mask)] if mask.dtype == np.uint8 else np.unique(mask).tolist()
    allowed = {*range(classes), IGNORE_INDEX}
    unknown = [value for value in values if value not in allowed]
    if not unknown:
        return
    hint = ''
    if values[0] > 0 and unknown == [classes]:
        hint = '; masks that count from 1 need reduce_zero_label=True'
    elif Path(path).suffix.lower() in ('.jpg', '.jpeg'):
        hint = '; JPEG changes values: store masks as PNG'
    shown = f'{unknown[:8]} and {len(unknown) - 8} more' if len(unknown) > 8 else f'{unknown}'
    raise UserError(
        f'{key}: mask {path} holds label(s) {shown}; allowed are 0..{classes - 1} and {IGNORE_INDEX} (ignored){hint}'
    )


def _is_stock(loader: Any) -> bool:
    """Whether a transform loads masks as mmsegmentation does, which cuts them to 8 bits."""
    return getattr(type(loader), '_load_seg_map', None) is LoadAnnotations._load_seg_map


def _check_depth(path: str, key: str) -> None:
    """Refuse masks with values that change where mmsegmentation cuts them to 8 bits, without a word."""
    try:
        with open_image(path) as image:
            mode = image.mode
            deep = np.array(image) if mode.startswith(('I', 'F')) else np.zeros(0)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # Pillow's errors for broken files
        raise UserError(f'{key}: mask {path} cannot be read ({error})') from None
    with np.errstate(invalid='ignore'):
        changed = deep[deep != deep.astype(np.uint8)]
    if changed.size:
        what = 'floating-point numbers' if mode.startswith('F') else 'numbers of more than 8 bits'
        raise UserError(
            f'{key}: mask {path} holds {what} (mode {mode!r}), such as {changed[0]}; class indices must be whole '
            'numbers from 0 to 255'
        )


def _check_voc_masks(infos: Sequence[dict], key: str) -> None:
    """Refuse SBD's masks without those of VOC, as mmsegmentation's converter leaves them."""
    for folder in {os.path.dirname(info.get('seg_map_path') or '') for info in infos}:
        voc = Path(folder).with_name('SegmentationClass') if folder else Path()
        if Path(folder).name != 'SegmentationClassAug' or not voc.is_dir():
            continue
        missing = sorted(path.name for path in voc.glob('*.png') if not Path(folder, path.name).exists())
        if missing:
            raise MissingFileError(
                f'{key}: {folder} lacks {len(missing)} of the masks of {voc}, such as {missing[0]}: it holds those of '
                f'SBD only. Complete it: cp {voc}/*.png {folder}/'
            )


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
        if isinstance(transform, Mapping) and transform.get('seg_pad_val', IGNORE_INDEX) != IGNORE_INDEX:
            raise UserError(
                f'{key}: transform {name} has seg_pad_val={transform["seg_pad_val"]}, which would be learned as a '
                f'class: ignored pixels are {IGNORE_INDEX}'
            )
        if isinstance(transform, Mapping) and transform.get('backend') == 'pillow':
            raise UserError(f"{key}: transform {name} needs backend='cv2': pillow cannot resize confidences")
        if isinstance(transform, Mapping):
            check_pipeline(transform.get('transforms') or (), key)


def check_sample(dataset: Any, key: str) -> None:
    """Load one image through the training pipeline.

    Raises:
        ValueError: if the pipeline does not give a confidence.
    """
    sample = first_sample(dataset, key)
    if 'gt_confidence' not in sample.get('data_samples', ()):
        raise UserError(f'{key}.pipeline must load with LoadDMTAnnotations and end with PackDMTInputs')


def check_unlabeled_sample(dataset: Any, label_pipeline: Sequence, train_pipeline: Sequence) -> None:
    """Load one unlabeled image through the label pipeline and, with an empty label, through the training pipeline.

    Raises:
        ValueError: if a pipeline fails or lacks an output; the message names its config key.
    """
    sample = load_unlabeled(dataset, label_pipeline, 'dmt.label_pipeline')
    if 'sample_idx' not in sample.metainfo:
        raise UserError('dmt.label_pipeline must end with PackDMTInputs')
    check_whole(sample.metainfo)
    label, confidence = (np.zeros(sample.ori_shape, dtype) for dtype in (np.uint8, np.float32))
    empty = PixelLabels(label, confidence, '(sized by dmt.label_pipeline)')
    sample = load_unlabeled(dataset, train_pipeline, 'dmt.unlabeled.pipeline', pseudo_label=empty)
    if 'gt_confidence' not in sample:
        raise UserError('dmt.unlabeled.pipeline must load with LoadDMTAnnotations and end with PackDMTInputs')
