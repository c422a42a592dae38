"""Checks of the images of any dataset, before the first training step."""

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mmengine import fileio
from PIL import Image

from mmdmt.datasets.unlabeled import UnlabeledDataset
from mmdmt.errors import MissingFileError, UserError

WORKERS = 4


def check_disjoint(labeled: Sequence[str], unlabeled: Sequence[str]) -> None:
    """Refuse images that are both labeled and unlabeled.

    Raises:
        ValueError: if there are any; the message gives their number and names up to three.
    """
    shared = sorted(set(labeled) & set(unlabeled))
    if shared:
        shown = ', '.join(shared[:3])
        raise UserError(f'dmt.labeled and dmt.unlabeled share {len(shared)} of their images: {shown}')


def image_size(path: str, key: str) -> tuple[int, int]:
    """Return height and width of an image file.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if it cannot be read as an image.
    """
    if not fileio.exists(path):
        raise MissingFileError(f'{key}: image {path} does not exist')
    try:
        with Image.open(path if Path(path).is_file() else io.BytesIO(fileio.get(path))) as image:
            return image.height, image.width
    except OSError as error:
        raise UserError(f'{key}: {path} cannot be read as an image ({error})') from None


def check_images(dataset: Any, key: str) -> None:
    """Check that every image of an unlabeled dataset exists and can be read.

    Raises:
        FileNotFoundError, ValueError: if not; the message names the file.
    """
    infos = (dataset.get_data_info(idx) for idx in range(len(dataset)))
    paths = [info['img_path'] for info in infos if 'img' not in info]  # images in memory have no file
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(lambda path: image_size(path, key), paths))


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
        if name not in packed:
            raise UserError(f'{key} gives no {name!r}; it must load the image and end with PackDMTInputs')
    return packed['data_samples']
