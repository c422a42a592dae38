"""Build the datasets of a config; errors name the missing file."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine import fileio
from mmengine.registry import DATASETS
from mmengine.utils import is_abs

from mmdmt.config_dicts import copy_config
from mmdmt.datasets.image_files import broken_link, check_plain, read_list
from mmdmt.errors import MissingFileError, RefusedFileError, UserError

# How to make what data sets do not come with.
MADE_BY = {
    'ImageSets/Segmentation/trainaug.txt': 'it names the 10,582 training images of VOC with SBD. With the masks of SBD '
    'in SegmentationClassAug, `python tools/make_splits.py voc {}` writes it; for a part of VOC, list its '
    'images, one a line'
}
LIST_SUFFIXES = ('', '.txt', '.lst', '.list')


def build_dataset(config: Mapping, key: str, check_pipeline: Callable[[Sequence, str], None]) -> Any:
    """Check that the files and folders of a dataset config exist, and build the dataset.

    Raises:
        FileNotFoundError: if a path does not exist; the message names the config key and the path.
        ValueError: if the dataset is empty, if a training pipeline has a refused transform, if a list could run code,
            or if it names files outside of the folders in the config.
    """
    for part_key, part in _nodes(config, key) if key.startswith('dmt.') else ():
        # Check before building: a refused transform may need a package that is not installed.
        if part.get('pipeline'):
            check_pipeline(part['pipeline'], f'{part_key}.pipeline')
    for part_key, part in _parts(config, key):
        _check_paths(part, part_key)
    try:
        dataset = DATASETS.build(copy_config(config))
        dataset.full_init()
    except RefusedFileError as error:
        raise RefusedFileError(f'{key} ({list_name(config)}): {error}') from error
    except UserError:
        raise
    except Exception as error:  # a dataset may be of the user's own
        # mmengine's BaseDataset raises this if it has nothing to serialize.
        if 'at least one array to concatenate' not in str(error):
            _explain_list(config, key, error)
            raise UserError(f'{key} cannot be built: {type(error).__name__}: {error}') from error
        dataset = ()
    if len(dataset) == 0:
        raise UserError(f'{key} lists no image ({list_name(config)})')
    for part in dataset_leaves(dataset):
        _check_inside(part, key)
    return dataset


def _check_paths(part: Mapping, key: str) -> None:
    """Refuse files and folders that do not exist, and lists that their dataset would misread."""
    prefix = part.get('data_prefix') or {}
    paths = {
        'ann_file': part.get('ann_file'),
        **(prefix if isinstance(prefix, Mapping) else {'data_prefix': prefix}),
    }
    for name, value in paths.items():
        if not value or (name == 'seg_map_path' and key.startswith('dmt.unlabeled')):
            continue
        path = _joined(part, value)
        if not fileio.exists(path):
            root = part.get('data_root') or ''
            if link := broken_link(path):
                raise MissingFileError(f'{key}: {name} {path!r} does not exist{link}')
            if str(value) in MADE_BY and fileio.exists(root):
                raise MissingFileError(f'{key}: {name} {path!r} does not exist: {MADE_BY[str(value)].format(root)}')
            raise MissingFileError(
                f'{key}: {name} {path!r} does not exist; set data_root (now {root!r}) to the folder of the data. '
                'docs/data.md and, for images and masks of your own, docs/own_data.md describe its layout'
            )
        if name == 'ann_file' and _is_list(path) and not _reads_any_list(part):
            check_plain(path)


def _joined(part: Mapping, value: str) -> str:
    return value if is_abs(value) or '://' in value else str(Path(part.get('data_root') or '') / value)


def _is_list(path: str) -> bool:
    return Path(path).suffix.lower() in LIST_SUFFIXES and not fileio.isdir(path)


def _reads_any_list(part: Mapping) -> bool:
    kind = part.get('type')
    with DATASETS.switch_scope_and_registry(None) as registry:
        return getattr(registry.get(kind) if isinstance(kind, str) else kind, 'reads_any_list', False)


def _explain_list(config: Mapping, key: str, error: Exception) -> None:
    """Raise the error of the first line of a list that is not NAME LABEL, if this is what went wrong."""
    if 'values to unpack' not in str(error) and 'invalid literal for int' not in str(error):
        return
    for _, part in _parts(config, key):
        path = _joined(part, part.get('ann_file') or '')
        for number, line in read_list(path) if fileio.isfile(path) and _is_list(path) else ():
            if not line.rpartition(' ')[2].lstrip('-').isdigit() or ' ' not in line:
                raise UserError(f'list {path}, line {number}: must be NAME LABEL, got {line!r}') from error


def dataset_leaves(dataset: Any) -> Iterator[Any]:
    """The datasets in a concatenation or another wrapper."""
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    if inner == [None]:
        yield dataset
    else:
        for part in inner:
            yield from dataset_leaves(part)


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


def _nodes(config: Mapping, key: str) -> Iterator[tuple[str, Mapping]]:
    """Key and config of a dataset and of all datasets in it."""
    yield key, config
    if isinstance(inner := config.get('dataset'), Mapping):
        yield from _nodes(inner, f'{key}.dataset')
    for index, part in enumerate(config.get('datasets') or ()):
        yield from _nodes(part, f'{key}.datasets.{index}')


def _parts(config: Mapping, key: str) -> Iterator[tuple[str, Mapping]]:
    """Those of the datasets in it that have images of their own."""
    for part_key, part in _nodes(config, key):
        if part.get('datasets') is None and not isinstance(part.get('dataset'), Mapping):
            yield part_key, part


def list_name(config: Mapping) -> str:
    """The lists or folders that name the images of a dataset config."""
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
