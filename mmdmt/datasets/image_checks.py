"""Checks of the images of any dataset, before the first training step."""

import copy
import io
import os
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine import fileio
from PIL import Image

from mmdmt.datasets.image_files import missing_image
from mmdmt.datasets.reading import CheckedFiles, describe
from mmdmt.datasets.unlabeled import UnlabeledDataset
from mmdmt.errors import UserError

EXIF_ORIENTATION = 274
# How a whole file begins and ends. OpenCV may fill what is missing with gray, without a word.
ENDS = {b'\xff\xd8': b'\xff\xd9', b'\x89PNG': b'IEND\xaeB`\x82'}


def identity(path: str) -> Hashable:
    """What two spellings of one file, or a link and its file, have in common."""
    try:
        state = os.stat(path)
    except (OSError, ValueError):
        return path
    return state.st_dev, state.st_ino


def check_once(paths: Sequence[str], key: str) -> None:
    """Refuse an image that is listed twice.

    Raises:
        UserError: naming up to three of them.
    """
    number = Counter(map(identity, paths))
    twice = list(dict.fromkeys(path for path in paths if number[identity(path)] > 1))
    if twice:
        raise UserError(f'{key} lists {len(twice)} of its images more than once: {", ".join(twice[:3])}')


def check_disjoint(labeled: Sequence[str], unlabeled: Sequence[str]) -> None:
    """Refuse images that are both labeled and unlabeled.

    Raises:
        ValueError: if there are any; the message gives their number and names up to three.
    """
    known = {identity(path): path for path in labeled}
    shared = sorted({known[identity(path)] for path in unlabeled if identity(path) in known})
    if shared:
        shown = ', '.join(shared[:3])
        raise UserError(f'dmt.labeled and dmt.unlabeled share {len(shared)} of their images: {shown}')


def open_image(path: str) -> Image.Image:
    """Open an image of any file backend with Pillow; only its header is read."""
    return Image.open(path if Path(path).is_file() else io.BytesIO(fileio.get(path)))


def exif_orientation(path: str) -> int:
    """EXIF orientation of an image, 1 (upright) for one that has none or is not of a format that Pillow knows."""
    try:
        with open_image(path) as image:
            return image.getexif().get(EXIF_ORIENTATION, 1)
    except (OSError, SyntaxError, Image.DecompressionBombError):
        return 1


def concatenated(dataset: Any) -> list[Any]:
    """The datasets of a concatenation, each with a pipeline of its own; other datasets are their only part."""
    if not hasattr(dataset, 'datasets'):
        return [dataset]
    return [part for item in dataset.datasets for part in concatenated(item)]


def load_transforms(dataset: Any, needed: Sequence[str] = ('img',)) -> list[Any]:
    """The transforms of a dataset's pipeline that load what is ``needed``.

    These are the ones whose names begin with ``Load``; if they do not give it, the first ones of the pipeline.
    """
    source = dataset
    while not hasattr(source, 'pipeline') and hasattr(source, 'dataset'):  # a wrapper, such as RepeatDataset
        source = source.dataset
    transforms = list(getattr(getattr(source, 'pipeline', None), 'transforms', ()))
    named = [transform for transform in transforms if type(transform).__name__.startswith('Load')]
    info = dataset.get_data_info(0) if len(dataset) else {}
    first_ones = (transforms[:number] for number in range(1, len(transforms) + 1))
    return next((loaders for loaders in (named, *first_ones) if _give(loaders, info, needed)), named)


def _give(loaders: Sequence[Any], info: dict, needed: Sequence[str]) -> bool:
    results: Any = {**info, 'seg_fields': []}
    try:
        for loader in loaders:
            results = loader(results)
        return all(name in results for name in needed)
    except Exception:
        return False  # the checks that follow tell why


def orientation_turned_by(loaders: Sequence[Any], info: dict) -> int:
    """EXIF orientation by which loading turns an image, as mmcv does by default; 1 if it does not turn it."""
    orientation = exif_orientation(info['img_path'])
    for loader in loaders:
        color_type = getattr(loader, 'color_type', None)
        if orientation != 1 and color_type in ('color', 'grayscale'):
            as_stored = copy.copy(loader)
            as_stored.color_type = f'{color_type}_ignore_orientation'
            turned, stored = (transform({**info})['img'] for transform in (loader, as_stored))
            return 1 if np.array_equal(turned, stored) else orientation
    return 1


def load(info: dict, loaders: Sequence[Any], key: str) -> dict:
    """Load an image ``img``, with what belongs to it.

    Raises:
        UserError: if it cannot be read; the message names the file.
    """
    results = {**info, 'seg_fields': []}
    for loader in [*loaders, _load_if_missing]:
        try:
            results = loader(results)
        except Exception as error:
            of_mask = 'Annotation' in type(loader).__name__
            path = f'mask {info.get("seg_map_path")}' if of_mask else info['img_path']
            what = path + (' cannot be read' if of_mask else ' cannot be read as an image')
            raise UserError(f'{key}: {what} ({type(error).__name__}: {" ".join(str(error).split())})') from error
    _check_end(info['img_path'], key)
    image = results['img']
    if image.dtype.kind == 'f' and not np.isfinite(image).all():
        raise UserError(f'{key}: {info["img_path"]} holds values that are no finite numbers (NaN)')
    return results


def _load_if_missing(results: dict) -> dict:
    """Load an image as mmcv does, if no transform of its pipeline has."""
    return results if 'img' in results else LoadImageFromFile()(results)


def channels(image: np.ndarray) -> int:
    """Number of channels of an image [H, W] or [H, W, C]."""
    return 1 if image.ndim == 2 else image.shape[-1]


def check_same_channels(found: Sequence[int], infos: Sequence[dict], key: str) -> None:
    """Refuse images of different numbers of channels, which cannot form a batch.

    Raises:
        UserError: naming an image of each kind.
    """
    first = {number: info['img_path'] for number, info in reversed(list(zip(found, infos, strict=True)))}
    if len(first) > 1:
        (many, path), (few, other) = sorted(first.items(), reverse=True)[:2]
        raise UserError(
            f"{key}: image {path} has {many} channels, but {other} has {few}; color_type='color' of LoadImageFromFile "
            'loads three of any image'
        )


def _check_end(path: str, key: str) -> None:
    """Refuse a JPEG or PNG file that ends too early."""
    if not Path(path).is_file():
        return
    with open(path, 'rb') as file:
        start = file.read(4)
        end = next((end for mark, end in ENDS.items() if start.startswith(mark)), b'')
        file.seek(max(0, Path(path).stat().st_size - len(end)))
        if file.read() == end or not end:
            return
    try:
        with Image.open(path) as image:
            image.load()  # the file may go on after the image
    except (OSError, SyntaxError) as error:
        raise UserError(f'{key}: {path} cannot be read as an image ({error})') from None


def check_exist(dataset: Any, key: str) -> None:
    """Check that every image of a dataset exists: MissingFileError, naming the first that does not."""
    for idx in range(len(dataset)):
        info = dataset.get_data_info(idx)
        if 'img' not in info and not fileio.exists(info['img_path']):  # images in memory have no file
            raise missing_image(info['img_path'], key)


def check_images(dataset: Any, pipeline: Sequence[Any], key: str, files: CheckedFiles | None = None) -> None:
    """Check that the loading transforms of a pipeline can load every image of a dataset.

    Args:
        dataset: Its annotations are not looked at.
        pipeline: Transforms, or their configs.
        key: Config key of the dataset.
        files: What is known of files already.

    Raises:
        MissingFileError: if an image does not exist.
        UserError: if it cannot be read, or has other channels than the others; the message names the file.
    """
    images = UnlabeledDataset(dataset, pipeline)
    check_infos([images.get_data_info(idx) for idx in range(len(images))], load_transforms(images), key, files)


def check_infos(infos: Sequence[dict], loaders: Sequence[Any], key: str, files: CheckedFiles | None = None) -> None:
    """Check that transforms can load every image that is a file; see :func:`check_images`."""

    def check(info: dict) -> int:
        if not fileio.exists(info['img_path']):
            raise missing_image(info['img_path'], key)
        return channels(load(info, loaders, key)['img'])

    infos = [info for info in infos if 'img' not in info]  # images in memory have no file
    found = (files or CheckedFiles()).check(infos, check, f'image {describe(loaders)}', key)
    check_same_channels(found, infos, key)


def first_sample(dataset: Any, key: str) -> Mapping:
    """Load the first sample of a dataset through its own pipeline.

    Raises:
        UserError: if the pipeline fails; the message names the config key.
    """
    try:
        sample = dataset[0]
    except Exception as error:
        raise UserError(f'{key}.pipeline fails on the first image: {type(error).__name__}: {error}') from error
    return sample if isinstance(sample, Mapping) else {}


def load_unlabeled(dataset: Any, pipeline: Sequence, key: str, **extra: Any) -> Any:
    """Load the first unlabeled image, with ``extra`` data information, through a pipeline; return its data sample.

    Raises:
        ValueError: if the pipeline fails or lacks an output; the message names the config key.
    """
    try:
        images = UnlabeledDataset(dataset, pipeline)
        packed = images.pipeline({**images.get_data_info(0), **extra})
    except Exception as error:
        raise UserError(f'{key} fails on the first unlabeled image: {type(error).__name__}: {error}') from error
    for name in ('inputs', 'data_samples'):
        if name not in (packed or ()):
            raise UserError(f'{key} gives no {name!r}; it must load the image and end with PackDMTInputs')
    return packed['data_samples']
