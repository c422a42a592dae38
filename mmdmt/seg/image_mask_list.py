"""Datasets whose list files name image and mask, as many semi-supervised projects publish their splits."""

from pathlib import Path
from typing import Any

from mmengine import fileio
from mmseg.datasets import BaseSegDataset, PascalVOCDataset
from mmseg.registry import DATASETS

from mmdmt.datasets.image_files import read_list
from mmdmt.errors import UserError


@DATASETS.register_module()
class ImageMaskList(BaseSegDataset):
    """Images and masks of a list with one ``IMAGE MASK`` a line, both relative to ``data_root``.

    A line may leave out the mask: unlabeled images need none.

    Args:
        ann_file: The list file.
        mask_folder: Folder that replaces the first one of each mask's path, such as ``SegmentationClassAug``.
        kwargs: Arguments of ``BaseSegDataset``.

    Raises:
        UserError: if a line is neither one nor two paths; names the file, the line and what it holds.
    """

    reads_any_list = True  # blank lines and a byte order mark, too

    def __init__(self, ann_file: str, mask_folder: str | None = None, **kwargs: Any) -> None:
        self.mask_folder = mask_folder
        super().__init__(ann_file=ann_file, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the list."""
        return [self._read(number, line) for number, line in read_list(self.ann_file)]

    def _read(self, number: int, line: str) -> dict[str, Any]:
        paths = line.split()
        if len(paths) > 2:
            raise UserError(f'{self.ann_file}, line {number}: {line!r} must be `IMAGE MASK` or `IMAGE`')
        info = dict(label_map=self.label_map, reduce_zero_label=self.reduce_zero_label, seg_fields=[])
        info['img_path'] = self._path(paths[0])
        if len(paths) == 2:
            mask = Path(paths[1])
            if self.mask_folder is not None:
                mask = Path(self.mask_folder, *mask.parts[1:])
            info['seg_map_path'] = self._path(mask.as_posix())
        return info

    def _path(self, path: str) -> str:
        return fileio.join_path(self.data_root or '', path)


@DATASETS.register_module()
class VOCImageMaskList(ImageMaskList):
    """:class:`ImageMaskList` with the classes of PASCAL VOC."""

    METAINFO = PascalVOCDataset.METAINFO
