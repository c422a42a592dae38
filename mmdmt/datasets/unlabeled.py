"""Datasets of images without human labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.dataset import Compose
from mmengine.registry import DATASETS

from mmdmt.datasets.label_store import LabelStore, sample_name


@DATASETS.register_module()
class UnlabeledDataset:
    """The images of any dataset, without their annotations.

    Args:
        dataset: Config (or instance) of a dataset whose ``get_data_info(idx)`` gives an ``img_path``: any mmseg
            dataset, or a ``ConcatDataset`` of them. Masks need not exist.
        pipeline: Transforms that take the place of the wrapped dataset's own.
    """

    def __init__(self, dataset: Any, pipeline: Sequence[Any]) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self.dataset.full_init()
        self.pipeline = Compose(pipeline)

    @property
    def metainfo(self) -> dict:
        """Meta information of the wrapped dataset."""
        return self.dataset.metainfo

    def full_init(self) -> None:
        """Do nothing: the wrapped dataset is initialised at once."""

    def __len__(self) -> int:
        return len(self.dataset)

    def name(self, idx: int) -> str:
        """Name of image ``idx`` in a label store."""
        return sample_name(idx, self.dataset.get_data_info(idx)['img_path'])

    def get_data_info(self, idx: int) -> dict:
        """Data information of image ``idx``: no annotation, and an index that is unique in a concatenation too."""
        info = self.dataset.get_data_info(idx)
        info.pop('seg_map_path', None)
        info.update(sample_idx=idx, seg_fields=[])
        return info

    def __getitem__(self, idx: int) -> Any:
        return self.pipeline(self.get_data_info(idx))


@DATASETS.register_module()
class PseudoLabelDataset(UnlabeledDataset):
    """Images with the pseudo labels that a teacher left in a label store (arXiv 2004.08514).

    Of each class, the ``label_ratio`` share of all its pixels that has the highest confidence is kept; the others
    become 255 when an image is loaded, so that another ratio needs no new labels. ``LoadDMTAnnotations`` in the
    pipeline does the loading.

    Args:
        dataset: See :class:`UnlabeledDataset`: the images that were labeled, in the same order.
        pipeline: See :class:`UnlabeledDataset`.
        label_dir: Folder of a complete label store.
        label_ratio: Share of each class to keep, in (0, 1].

    Raises:
        FileNotFoundError: if the label store is not complete.
        ValueError: if it was made for other images, or if the ratio is outside (0, 1].
    """

    def __init__(self, dataset: Any, pipeline: Sequence[Any], label_dir: str, label_ratio: float) -> None:
        super().__init__(dataset, pipeline)
        self.store = LabelStore(label_dir)
        self.store.check_names([self.name(idx) for idx in range(len(self))])
        self.thresholds: np.ndarray = self.store.histogram().thresholds(label_ratio)

    def get_data_info(self, idx: int) -> dict:
        """Data information of image ``idx``, with what ``LoadDMTAnnotations`` needs under ``pseudo_label``."""
        info = super().get_data_info(idx)
        name = sample_name(idx, info['img_path'])
        info['pseudo_label'] = dict(store=self.store, name=name, thresholds=self.thresholds)
        return info
