"""Base of image datasets in memory: named subsets, and list files that choose images by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmpretrain.datasets.base_dataset import BaseDataset

from mmdmt.core.splits import balanced_split
from mmdmt.datasets.image_files import read_list
from mmdmt.errors import UserError

SUBSETS = ('train', 'val', 'trainval', 'test')


class InMemoryDataset(BaseDataset):
    """Base of classification datasets whose images are no files; a subclass defines :meth:`load_images`.

    A data info has ``img`` (uint8 (H, W, 3) RGB), ``gt_label`` (int) and ``img_path``, the unique name of the image in
    list files; it names no file on disk.

    Args:
        subset: ``train``, ``val``, ``trainval`` (both) or ``test``.
        ann_file: list file, absolute or relative to ``data_root``, of lines ``NAME`` or ``NAME LABEL``. The dataset
            holds these images of the subset, in this order; without a list file, the whole subset.
        num_labeled: use only this number of images of the subset, equally many of each class. They are the labeled
            images of a DMT run with ``dmt.split=dict(num_labeled=..., split_id=...)`` and the default seed, to train a
            separate baseline.
        split_id: which choice of these images.
        serialize_data: whether mmengine packs the data infos into one buffer. This copies all images and takes more
            than a second for 50,000; without it, the datasets of one process share the images.
        **kwargs: The other arguments of :class:`mmpretrain.datasets.BaseDataset`, such as ``pipeline`` or ``indices``.

    Raises:
        ValueError: ``subset`` is not one of the above or has no images; ``ann_file`` lists no image, an image that the
            subset lacks, an image twice, or a wrong label; ``ann_file`` and ``num_labeled`` are both given;
            :func:`mmdmt.core.splits.balanced_split` refuses ``num_labeled`` or ``split_id``.
    """

    reads_any_list = True  # blank lines and a byte order mark, too

    def __init__(
        self,
        subset: str,
        ann_file: str = '',
        num_labeled: int | None = None,
        split_id: int = 0,
        serialize_data: bool = False,
        **kwargs: Any,
    ) -> None:
        if subset not in SUBSETS:
            raise UserError(f'subset must be one of {SUBSETS}, got {subset!r}')
        if ann_file and num_labeled is not None:
            raise UserError(f'ann_file={ann_file!r} and num_labeled={num_labeled} cannot both choose the images')
        self.subset = subset
        self.num_labeled, self.split_id = num_labeled, split_id
        super().__init__(ann_file=ann_file, serialize_data=serialize_data, **kwargs)

    def load_images(self) -> tuple[Sequence[np.ndarray], list[int], list[str]]:
        """Return images (N times uint8 (H, W, 3) RGB), labels and unique names of ``self.subset``.

        Raises:
            NotImplementedError: the subclass does not define it.
        """
        raise NotImplementedError(f'{type(self).__name__} must define load_images')

    def load_data_list(self) -> list[dict]:
        """Return one data info per image, in the order of the list file, or else of the subset."""
        images, labels, names = self.load_images()
        if not names:
            raise UserError(f'subset {self.subset!r} must have at least one image, got none')
        rows: Sequence[int] = range(len(names))
        if self.ann_file:
            rows = _listed(self.ann_file, names, labels, self.subset)
        elif self.num_labeled is not None:
            row_of = {name: row for row, name in enumerate(names)}
            rows = [row_of[name] for name in balanced_split(names, labels, self.num_labeled, self.split_id)[0]]
        return [{'img': images[row], 'gt_label': labels[row], 'img_path': names[row]} for row in rows]

    def extra_repr(self) -> list[str]:
        """Return what mmpretrain prints about the dataset besides its size and pipeline."""
        return [f'Subset: \t{self.subset}', f'Annotation file: \t{self.ann_file}']


def _listed(path: str, names: list[str], labels: list[int], subset: str) -> list[int]:
    """Return the positions in ``names`` of the listed images, in the order of the list file."""
    row_of = {name: row for row, name in enumerate(names)}
    rows: dict[str, int] = {}
    for number, line in read_list(path):
        fields = line.split()
        if len(fields) > 2:
            raise UserError(f'{path}, line {number}: must be NAME or NAME LABEL, got {line!r}')
        name = fields[0]
        if name not in row_of:
            raise UserError(
                f'{path}, line {number}: subset {subset!r} has images such as {names[0]!r}, but not {name!r}'
            )
        if name in rows:
            raise UserError(f'{path}, line {number}: names must be unique, got {name!r} more than once')
        rows[name] = row_of[name]
        if len(fields) == 2 and fields[1] != str(labels[rows[name]]):
            raise UserError(f'{path}, line {number}: the label of {name!r} is {labels[rows[name]]}, got {fields[1]!r}')
    if not rows:
        raise UserError(f'{path} must name at least one image, got none')
    return list(rows.values())
