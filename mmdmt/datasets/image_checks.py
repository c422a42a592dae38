"""Checks of the images of any dataset, before the first training step."""

import io
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mmengine import fileio
from PIL import Image

from mmdmt.datasets.unlabeled import UnlabeledDataset
from mmdmt.errors import MissingFileError, UserError

WORKERS = 4
EXIF_ORIENTATION = 274
JPEG_END = b'\xff\xd9'


def identity(path: str) -> str:
    """What two spellings of one file, or a link and its file, have in common."""
    return os.path.realpath(path) if os.path.exists(path) else path


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
    except OSError:
        return 1


def load_transforms(dataset: Any) -> list[Any]:
    """The transforms of a dataset's pipeline that load something: those whose names begin with ``Load``."""
    transforms = getattr(getattr(dataset, 'pipeline', None), 'transforms', ())
    return [transform for transform in transforms if type(transform).__name__.startswith('Load')]


def turns_images(loaders: Sequence[Any]) -> bool:
    """Whether images are turned by their EXIF orientation, as mmcv's loading transform does by default."""
    types = [loader.color_type for loader in loaders if hasattr(loader, 'color_type')]
    return any('ignore_orientation' not in color_type and color_type != 'unchanged' for color_type in types)


def load(info: dict, loaders: Sequence[Any], key: str) -> dict:
    """Load an image, with what belongs to it.

    Raises:
        UserError: if it cannot be read; the message names the file.
    """
    results = {**info, 'seg_fields': []}
    for loader in loaders:
        try:
            results = loader(results)
        except Exception as error:
            of_mask = 'Annotation' in type(loader).__name__
            path = f'mask {info.get("seg_map_path")}' if of_mask else info['img_path']
            what = path + (' cannot be read' if of_mask else ' cannot be read as an image')
            raise UserError(f'{key}: {what} ({type(error).__name__}: {error})') from error
    _check_end(info['img_path'], key)
    return results


def _check_end(path: str, key: str) -> None:
    """Refuse a JPEG file that ends too early: OpenCV fills what is missing with gray, without a word."""
    if not path.lower().endswith(('.jpg', '.jpeg')) or not Path(path).is_file():
        return
    with open(path, 'rb') as file:
        file.seek(max(0, Path(path).stat().st_size - 2))
        if file.read() == JPEG_END:
            return
    try:
        with Image.open(path) as image:
            image.load()  # the file may go on after the image
    except OSError as error:
        raise UserError(f'{key}: {path} cannot be read as an image ({error})') from None


def image_size(path: str, key: str) -> tuple[int, int]:
    """Return height and width of an image file.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if it cannot be read as an image.
    """
    if not fileio.exists(path):
        raise MissingFileError(f'{key}: image {path} does not exist')
    try:
        with open_image(path) as image:
            return image.height, image.width
    except OSError as error:
        raise UserError(f'{key}: {path} cannot be read as an image ({error})') from None


def check_exist(dataset: Any, key: str) -> None:
    """Check that every image of a dataset exists: MissingFileError, naming the first that does not."""
    for idx in range(len(dataset)):
        info = dataset.get_data_info(idx)
        if 'img' not in info and not fileio.exists(info['img_path']):  # images in memory have no file
            raise MissingFileError(f'{key}: image {info["img_path"]} does not exist')


def check_images(dataset: Any, pipeline: Sequence[Any], key: str) -> None:
    """Check that the ``Load...`` transforms of a pipeline can load every image of an unlabeled dataset.

    Raises:
        UserError: if not; the message names the file.
    """
    images = UnlabeledDataset(dataset, pipeline)
    loaders = load_transforms(images)

    def check(idx: int) -> None:
        info = images.get_data_info(idx)
        if 'img' not in info:
            load(info, loaders, key)

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(check, range(len(images))))


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
