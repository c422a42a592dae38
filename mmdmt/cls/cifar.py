"""CIFAR-10 and CIFAR-100 from local files, with a small validation set taken from the training images."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmpretrain.datasets.categories import CIFAR10_CATEGORIES, CIFAR100_CATEGORIES
from mmpretrain.registry import DATASETS

from mmdmt.cls.image_list import InMemoryDataset
from mmdmt.core.splits import balanced_split
from mmdmt.errors import MissingFileError, UserError
from mmdmt.safe_pickle import load_pickle

# Seed for choosing the validation images: every labeled split has the same ones, whatever its seed.
VAL_SEED = 8514
URL = 'https://www.cs.toronto.edu/~kriz/cifar.html'

_PIXELS = 3 * 32 * 32


class _Batch(NamedTuple):
    """Content of one file: read-only uint8 images (N, 32, 32, 3) RGB, and N labels."""

    images: np.ndarray
    labels: tuple[int, ...]


@DATASETS.register_module()
class DMTCIFAR10(InMemoryDataset):
    """CIFAR-10 from the Python files in ``data_root/cifar-10-batches-py``; nothing is downloaded.

    An image is named ``{file}/{index in the file}_{class}``, for instance ``data_batch_1/00012_frog``; an ``ann_file``
    lists such names. Each process parses the files once, whatever the number of datasets.

    Args:
        data_root: folder with the unpacked archive.
        subset: ``train`` (the training images without ``val``), ``val`` (``num_val`` training images, equally many of
            each class), ``trainval`` (all training images) or ``test``.
        ann_file: see :class:`InMemoryDataset`.
        num_val: number of validation images, a multiple of the number of classes; 200 in the paper's experiments.
        **kwargs: The other arguments of :class:`InMemoryDataset`, such as ``pipeline`` or ``indices``.

    Raises:
        FileNotFoundError: a file of the subset is missing.
        ValueError: ``num_val`` is no positive multiple of the number of classes, or larger than the data allows; a
            file has wrong content; :class:`InMemoryDataset` refuses an argument.
    """

    METAINFO = {'classes': CIFAR10_CATEGORIES}
    ARCHIVE = 'cifar-10-python.tar.gz'
    FOLDER = 'cifar-10-batches-py'
    TRAIN_FILES: tuple[str, ...] = tuple(f'data_batch_{number}' for number in range(1, 6))
    TEST_FILES: tuple[str, ...] = ('test_batch',)
    LABEL_KEY = 'labels'

    def __init__(self, data_root: str, subset: str, ann_file: str = '', num_val: int = 200, **kwargs: Any) -> None:
        num_classes = len(self.METAINFO['classes'])
        if isinstance(num_val, bool) or not isinstance(num_val, int) or num_val < 1 or num_val % num_classes:
            raise UserError(f'num_val must be a positive multiple of {num_classes}, got {num_val!r}')
        self.num_val = num_val
        super().__init__(subset=subset, ann_file=ann_file, data_root=data_root, **kwargs)

    def load_images(self) -> tuple[list[np.ndarray], list[int], list[str]]:
        """Return the subset in file order: read-only images, uint8 (32, 32, 3) RGB, labels and names."""
        images: list[np.ndarray] = []
        labels: list[int] = []
        names: list[str] = []
        classes = self.METAINFO['classes']
        for file in self.TEST_FILES if self.subset == 'test' else self.TRAIN_FILES:
            batch = self._read(file)
            images.extend(batch.images)
            labels.extend(batch.labels)
            names.extend(f'{file}/{index:05d}_{classes[label]}' for index, label in enumerate(batch.labels))
        if self.subset not in ('train', 'val'):
            return images, labels, names
        val = set(balanced_split(names, labels, self.num_val, seed=VAL_SEED)[0])
        rows = [row for row, name in enumerate(names) if (name in val) == (self.subset == 'val')]
        return [images[row] for row in rows], [labels[row] for row in rows], [names[row] for row in rows]

    def _read(self, file: str) -> _Batch:
        path = Path(self.data_root).expanduser() / self.FOLDER / file
        if not path.is_file():
            raise MissingFileError(
                f'{path} does not exist; download {self.ARCHIVE} from {URL} and unpack it into '
                f'data_root ({self.data_root!r})'
            )
        stat = path.stat()
        return _read_batch(path, self.LABEL_KEY, len(self.METAINFO['classes']), stat.st_mtime_ns, stat.st_size)


@DATASETS.register_module()
class DMTCIFAR100(DMTCIFAR10):
    """CIFAR-100 with its 100 fine classes from the Python files in ``data_root/cifar-100-python``.

    An image name is, for instance, ``train/00012_aquarium_fish``. Arguments and errors are those of
    :class:`DMTCIFAR10`.
    """

    METAINFO = {'classes': CIFAR100_CATEGORIES}
    ARCHIVE = 'cifar-100-python.tar.gz'
    FOLDER = 'cifar-100-python'
    TRAIN_FILES = ('train',)
    TEST_FILES = ('test',)
    LABEL_KEY = 'fine_labels'


# Eight entries hold the six files of CIFAR-10. Modification time and size in the key make a changed file load again.
@lru_cache(maxsize=8)
def _read_batch(path: Path, label_key: str, num_classes: int, _mtime_ns: int, _size: int) -> _Batch:
    content = load_pickle(path)
    if not isinstance(content, dict):
        raise UserError(f'{path} must hold a dict, got {type(content).__name__}')
    # Keys are bytes if Python 3 wrote them as bytes.
    fields = {key.decode('latin1') if isinstance(key, bytes) else key: value for key, value in content.items()}
    for key in ('data', label_key):
        if key not in fields:
            raise UserError(f'{path} must have the key {key!r}, got {list(fields)}')
    data, labels = fields['data'], fields[label_key]
    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != _PIXELS or not len(data):
        found = f'shape {data.shape}' if isinstance(data, np.ndarray) else type(data).__name__
        raise UserError(f"{path}: 'data' must be a uint8 array of shape (N, {_PIXELS}) with N > 0, got {found}")
    if not isinstance(labels, list) or len(labels) != len(data):
        found = f'{len(labels)} labels' if isinstance(labels, list) else type(labels).__name__
        raise UserError(f'{path}: {label_key!r} must be a list of {len(data)} labels, got {found}')
    for index, label in enumerate(labels):
        if type(label) is not int or not 0 <= label < num_classes:
            raise UserError(
                f'{path}: {label_key!r} must be integers from 0 to {num_classes - 1}, got {label!r} at {index}'
            )
    # A file stores the red, green and blue plane of an image in turn; copying plane by plane is fastest.
    images: np.ndarray = np.empty((len(data), 32, 32, 3), np.uint8)
    for channel, plane in enumerate(np.split(data.reshape(-1, 3 * 32, 32), 3, axis=1)):
        images[..., channel] = plane
    images.setflags(write=False)
    return _Batch(images, tuple(labels))
