"""Build the datasets of a config; errors name the missing file."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine import fileio
from mmengine.registry import DATASETS
from mmengine.utils import is_abs

from mmdmt.config_dicts import copy_config
from mmdmt.errors import MissingFileError, RefusedFileError, UserError


def build_dataset(config: Mapping, key: str, check_pipeline: Callable[[Sequence, str], None]) -> Any:
    """Check that the files and folders of a dataset config exist, and build the dataset.

    Raises:
        FileNotFoundError: if a path does not exist; the message names the config key and the path.
        ValueError: if the dataset is empty, if a training pipeline has a refused transform, if a list could run code,
            or if it names files outside of the folders in the config.
    """
    for part_key, part in _parts(config, key):
        if key.startswith('dmt.'):
            # Check before building: a refused transform may need a package that is not installed.
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
                raise MissingFileError(
                    f'{part_key}: {name} {path!r} does not exist; set data_root (now {root!r}) to the folder of the '
                    'data. The README describes its layout'
                )
    try:
        dataset = DATASETS.build(copy_config(config))
        dataset.full_init()
    except RefusedFileError as error:
        raise RefusedFileError(f'{key} ({_list_name(config)}): {error}') from error
    except ValueError as error:
        # mmengine's BaseDataset raises this if it has nothing to serialize.
        if 'at least one array to concatenate' not in str(error):
            raise
        dataset = ()
    if len(dataset) == 0:
        raise UserError(f'{key} lists no image ({_list_name(config)})')
    for part in _leaves(dataset):
        _check_inside(part, key)
    return dataset


def _leaves(dataset: Any) -> Iterator[Any]:
    """The datasets in a concatenation or another wrapper."""
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    if inner == [None]:
        yield dataset
    else:
        for part in inner:
            yield from _leaves(part)


def _check_inside(dataset: Any, key: str) -> None:
    """Refuse a list that leads out of the folders that the config names, by ``..`` or by absolute paths."""
    prefix = getattr(dataset, 'data_prefix', None) or {}
    named = [getattr(dataset, 'data_root', None), *(prefix.values() if isinstance(prefix, Mapping) else [prefix])]
    # Links are not followed: whoever made a link in the data folder chose its target.
    roots = [os.path.join(os.path.abspath(root), '') for root in {root for root in named if root} or {'.'}]
    for idx in range(len(dataset)):
        info = dataset.get_data_info(idx)
        for name, path in info.items():
            if not name.endswith('_path') or not isinstance(path, str) or 'img' in info:
                continue
            if not os.path.abspath(path).startswith(tuple(roots)):
                raise RefusedFileError(
                    f'{key} lists {path}, which is outside of {min(roots, key=len)}; if that is wanted, set '
                    'data_root or data_prefix to a folder that contains it'
                )


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
    """Return the paths of all images of a dataset.

    Raises:
        ValueError: if an image has no ``img_path``.
    """
    infos = [dataset.get_data_info(idx) for idx in range(len(dataset))]
    if not all('img_path' in info for info in infos):
        raise UserError(
            f'dataset {type(dataset).__name__} gives no img_path, which names the pseudo labels (for CIFAR, use '
            'DMTCIFAR10 or DMTCIFAR100)'
        )
    return [info['img_path'] for info in infos]
