"""What is checked of the images of any dataset before the first training step."""

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mmengine import fileio
from mmengine.registry import DATASETS
from mmengine.utils import is_abs
from PIL import Image

from mmdmt.datasets.unlabeled import UnlabeledDataset

WORKERS = 4


def build_dataset(config: Mapping, key: str, check_pipeline: Callable[[Sequence, str], None]) -> Any:
    """Build a dataset, having looked for the files and folders it names.

    Raises:
        FileNotFoundError: naming the config key and the path that does not exist.
        ValueError: if the dataset is empty, or if a training pipeline has a transform that is refused.
    """
    for part_key, part in _parts(config, key):
        if key.startswith('dmt.'):
            # Before anything is built: a refused transform may need a package that is not installed.
            check_pipeline(part.get('pipeline') or (), f'{part_key}.pipeline')
        root = part.get('data_root') or ''
        prefix = part.get('data_prefix') or {}
        paths = {
            'ann_file': part.get('ann_file'),
            **(prefix if isinstance(prefix, Mapping) else {'data_prefix': prefix}),
        }
        for name, value in paths.items():
            if not value or (name == 'seg_map_path' and part_key.startswith('dmt.unlabeled')):
                continue
            path = value if is_abs(value) or '://' in value else str(Path(root) / value)
            if not fileio.exists(path):
                raise FileNotFoundError(
                    f'{part_key}: {name} {path!r} does not exist; set data_root (now {root!r}) to where the data '
                    'lies. The README says how its folders must look'
                )
    try:
        dataset = DATASETS.build(plain(config))
        dataset.full_init()
    except ValueError as error:
        # What mmengine's BaseDataset says where it has nothing to serialize.
        if 'at least one array to concatenate' not in str(error):
            raise
        dataset = ()
    if len(dataset) == 0:
        raise ValueError(f'{key} lists no image ({_list_name(config)})')
    return dataset


def plain(config: Any) -> Any:
    """A deep copy of plain dicts and lists: building something must not change its config."""
    if isinstance(config, Mapping):
        return {name: plain(value) for name, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(plain(value) for value in config)
    return config


def _parts(config: Mapping, key: str) -> Iterable[tuple[str, Mapping]]:
    parts = config.get('datasets')
    if parts is None:
        yield key, config
    else:
        for index, part in enumerate(parts):
            yield from _parts(part, f'{key}.datasets.{index}')


def _list_name(config: Mapping) -> str:
    return ' and '.join(str(part.get('ann_file') or part.get('data_prefix')) for _, part in _parts(config, ''))


def image_paths(dataset: Any) -> list[str]:
    """Paths of all images of a dataset.

    Raises:
        ValueError: if it does not say them.
    """
    infos = [dataset.get_data_info(idx) for idx in range(len(dataset))]
    if not all('img_path' in info for info in infos):
        raise ValueError(
            f'dataset {type(dataset).__name__} gives no img_path, by which its pseudo labels are named (for CIFAR, use '
            'DMTCIFAR10 or DMTCIFAR100)'
        )
    return [info['img_path'] for info in infos]


def check_disjoint(labeled: Sequence[str], unlabeled: Sequence[str]) -> None:
    """Refuse an image that is labeled and unlabeled at once.

    Raises:
        ValueError: naming some of them, and how many there are.
    """
    shared = sorted(set(labeled) & set(unlabeled))
    if shared:
        shown = ', '.join(shared[:3])
        raise ValueError(f'dmt.labeled and dmt.unlabeled share {len(shared)} of their images: {shown}')


def image_size(path: str, key: str) -> tuple[int, int]:
    """Height and width of an image file.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it cannot be read as an image.
    """
    if not fileio.exists(path):
        raise FileNotFoundError(f'{key}: image {path} does not exist')
    try:
        with Image.open(path if Path(path).is_file() else io.BytesIO(fileio.get(path))) as image:
            return image.height, image.width
    except OSError as error:
        raise ValueError(f'{key}: {path} cannot be read as an image ({error})') from None


def check_images(dataset: Any, key: str) -> None:
    """Check that every image of an unlabeled dataset exists and can be read.

    Raises:
        FileNotFoundError, ValueError: naming the file.
    """
    infos = (dataset.get_data_info(idx) for idx in range(len(dataset)))
    paths = [info['img_path'] for info in infos if 'img' not in info]  # not of images in memory
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(lambda path: image_size(path, key), paths))


def load_unlabeled(dataset: Any, pipeline: Sequence, key: str, **extra: Any) -> Any:
    """Data sample of the first unlabeled image, with ``extra`` data information, through a pipeline.

    Raises:
        ValueError: if the pipeline fails or gives no image, naming its config key.
    """
    try:
        images = UnlabeledDataset(dataset, pipeline)
        packed = images.pipeline({**images.get_data_info(0), **extra})
    except Exception as error:
        raise ValueError(f'{key} fails on the first unlabeled image: {type(error).__name__}: {error}') from error
    for name in ('inputs', 'data_samples'):
        if name not in packed:
            raise ValueError(f'{key} gives no {name!r}: does it load the image and end with PackDMTInputs?')
    return packed['data_samples']
