"""Images and masks of any suffix, as folders or list files name them."""

import os
from pathlib import Path

from mmseg.datasets import BaseSegDataset, PascalVOCDataset
from mmseg.registry import DATASETS

from mmdmt.datasets.image_files import IMAGE_SUFFIXES, ImageFinder, broken_link, image_files, read_list
from mmdmt.errors import MissingFileError


@DATASETS.register_module(name=['ImageMaskDataset', 'ImageMaskList'])
class ImageMaskDataset(BaseSegDataset):
    """Images and masks, of mixed suffixes unless these are set, as list files name them.

    A line of a list is ``NAME``, with or without its suffix, or ``IMAGE MASK``, as many semi-supervised projects
    publish their splits. Names are relative to the folder of the images (masks) or to ``data_root``, or absolute. The
    mask of ``NAME`` has the same name in the folder of the masks. Blank lines and a byte order mark are skipped.
    Without a list, all images of the folder and its subfolders are used.

    Args:
        img_suffix: Suffix that is added to every name; None finds images of any suffix by their name.
        seg_map_suffix: Suffix of the mask of ``NAME``; None takes ``.png``, or else the suffix that exists.
        mask_folder: Folder that replaces the first one of the path of each mask in a list, such as
            ``SegmentationClassAug``.
        **kwargs: The other arguments of :class:`mmseg.datasets.BaseSegDataset`.

    Raises:
        MissingFileError: if the list names an image that does not exist; the message names list and line.
        UserError: if images or masks of several suffixes have one name.
    """

    reads_any_list = True  # blank lines and a byte order mark, too

    def __init__(
        self,
        img_suffix: str | None = None,
        seg_map_suffix: str | None = None,
        mask_folder: str | None = None,
        **kwargs: object,
    ) -> None:
        self.mask_folder = mask_folder
        super().__init__(img_suffix=img_suffix or '', seg_map_suffix=seg_map_suffix or '', **kwargs)

    def load_data_list(self) -> list[dict]:
        """Return one data info per image: in the order of the list, or by name."""
        folder = self.data_prefix.get('img_path') or self.data_root or '.'
        self._finder = ImageFinder([folder, self.data_root or ''])
        self._mask_finder = ImageFinder([self.data_prefix.get('seg_map_path') or '', self.data_root or ''], 'mask')
        if self.ann_file and not os.path.isdir(self.ann_file):
            pairs = [self._pair(line, number) for number, line in read_list(self.ann_file)]
        else:
            pairs = [(str(path), None) for path in image_files(Path(folder)) if path.name.endswith(self.img_suffix)]
        return [self._info(image, mask) for image, mask in pairs]

    def _pair(self, line: str, number: int) -> tuple[str, str | None]:
        """Image and, if the line names it, mask."""
        image = self._find(line)
        if image is not None:
            return image, None
        names = line.split()
        image = self._find(names[0]) if len(names) == 2 else None
        if image is not None:
            return image, self._mask(names[1])
        suffix = self.img_suffix or f' ({", ".join(sorted(IMAGE_SUFFIXES))})'
        path = os.path.join(self._finder.folders[0], line)
        raise MissingFileError(
            f'{self.ann_file}, line {number}: image {path}{suffix} does not exist{broken_link(path)}'
        )

    def _find(self, name: str) -> str | None:
        """Path of an image that a list names, with or without the suffix that is set."""
        return self._finder.find(name + self.img_suffix) or self._finder.find(name)

    def _mask(self, name: str) -> str:
        """Path of a mask that a list names."""
        if self.mask_folder is not None:
            name = Path(self.mask_folder, *Path(name).parts[1:]).as_posix()
        return self._mask_finder.find(name) or os.path.join(self._mask_finder.folders[0], name)

    def _info(self, image: str, mask: str | None) -> dict:
        info = dict(img_path=image, label_map=self.label_map, reduce_zero_label=self.reduce_zero_label, seg_fields=[])
        masks = self.data_prefix.get('seg_map_path')
        if mask is None and masks is not None:
            mask = self._mask_of(image, os.path.join(masks, self._name(image)))
        return info if mask is None else {**info, 'seg_map_path': mask}

    def _mask_of(self, image: str, stem: str) -> str:
        """Path of the mask of an image, without suffix ``stem``; images and masks may be in one folder."""
        path = stem + (self.seg_map_suffix or '.png')
        if self.seg_map_suffix or os.path.isfile(path):
            return path
        found = self._mask_finder.find(os.path.abspath(stem))
        if found is None or os.path.samefile(found, image):
            return path
        return stem + os.path.splitext(found)[1]

    def _name(self, image: str) -> str:
        """Name of an image relative to the folder of the images, without suffix."""
        folder = self.data_prefix.get('img_path') or self.data_root or '.'
        name = os.path.relpath(image, folder)
        if name.startswith('..'):  # elsewhere: its mask would be beside it
            name = os.path.abspath(image)
        return name[: -len(self.img_suffix)] if self.img_suffix else os.path.splitext(name)[0]


ImageMaskList = ImageMaskDataset
"""The name in earlier versions of a dataset for lists of ``IMAGE MASK``."""


@DATASETS.register_module()
class VOCImageMaskList(ImageMaskDataset):
    """:class:`ImageMaskDataset` with the classes of PASCAL VOC."""

    METAINFO = PascalVOCDataset.METAINFO
