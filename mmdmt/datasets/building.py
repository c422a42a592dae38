"""Building the datasets that a config names, with errors that say which file is missing."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine import fileio
from mmengine.registry import DATASETS
from mmengine.utils import is_abs

from mmdmt.config_dicts import copy_config


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
        dataset = DATASETS.build(copy_config(config))
        dataset.full_init()
    except ValueError as error:
        # What mmengine's BaseDataset says where it has nothing to serialize.
        if 'at least one array to concatenate' not in str(error):
            raise
        dataset = ()
    if len(dataset) == 0:
        raise ValueError(f'{key} lists no image ({_list_name(config)})')
    return dataset


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
