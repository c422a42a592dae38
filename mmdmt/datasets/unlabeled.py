"""Datasets of images without human labels."""

from collections.abc import Sequence
from typing import Any

from mmengine.dataset import Compose
from mmengine.registry import DATASETS

from mmdmt.errors import UserError
from mmdmt.labels.store import sample_name
from mmdmt.labels.stores import open_store


@DATASETS.register_module()
class UnlabeledDataset:
    """The images of any dataset, without their annotations.

    If the dataset knows the class of an image, ``true_label`` holds it, for statistics only; no model learns it.

    Args:
        dataset: Config (or instance) of a dataset whose ``get_data_info(idx)`` gives an ``img_path``: any dataset of
            mmseg or mmpretrain, or a ``ConcatDataset`` of them. Annotations need not exist.
        pipeline: Transforms that replace those of the wrapped dataset.
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
        """Do nothing: the constructor has initialized the wrapped dataset."""

    def __len__(self) -> int:
        return len(self.dataset)

    def name(self, idx: int) -> str:
        """Name of image ``idx`` in a label store."""
        return sample_name(idx, self.dataset.get_data_info(idx)['img_path'])

    def get_data_info(self, idx: int) -> dict:
        """Return the data information of image ``idx``, without annotation; ``sample_idx`` is unique."""
        info = self.dataset.get_data_info(idx)
        info.pop('seg_map_path', None)
        info.pop('gt_score', None)
        if 'gt_label' in info:
            info['true_label'] = info.pop('gt_label')
        info.update(sample_idx=idx, seg_fields=[])
        return info

    def __getitem__(self, idx: int) -> Any:
        info = self.get_data_info(idx)
        path = info.get('img_path', idx)
        try:
            return self.pipeline(info)
        except UserError:
            raise
        except Exception as error:
            label = isinstance(error, KeyError) and error.args == ('gt_seg_map',)
            hint = ', which unlabeled images do not have (RandomCrop needs it for cat_max_ratio)' if label else ''
            raise UserError(f'image {path}: a transform fails: {type(error).__name__}: {error}{hint}') from error


@DATASETS.register_module()
class PseudoLabelDataset(UnlabeledDataset):
    """Images with the pseudo labels that a teacher wrote to a label store (arXiv 2004.08514).

    Segmentation: all images. Of each class, the share ``label_ratio`` of its pixels with the highest confidence keeps
    its label; the other pixels are 255. This class reads label and confidence; ``LoadDMTAnnotations`` places them.
    Classification: the share ``label_ratio`` of the images with the highest confidence, with ``gt_label`` and
    ``gt_confidence``. Another ratio needs no new labels.

    Args:
        dataset: See :class:`UnlabeledDataset`; the labeled images in the same order.
        pipeline: See :class:`UnlabeledDataset`.
        label_dir: Folder of a complete label store.
        label_ratio: Share to keep, in (0, 1].
        ranking: Rank within each ``class``, or (classification only) ``all`` images together.

    Raises:
        FileNotFoundError: if the label store is not complete.
        ValueError: if the store was made for other images, or if the ratio is outside (0, 1].
    """

    def __init__(
        self, dataset: Any, pipeline: Sequence[Any], label_dir: str, label_ratio: float, ranking: str = 'class'
    ) -> None:
        super().__init__(dataset, pipeline)
        names = [self.name(idx) for idx in range(len(self.dataset))]
        self.store = open_store(label_dir)
        self.store.check_names(names)
        self.selection = self.store.select(names, label_ratio, ranking)

    def __len__(self) -> int:
        return len(self.selection.indices)

    def get_data_info(self, idx: int) -> dict:
        """Return the data information of selected image ``idx``, with its pseudo label."""
        info = super().get_data_info(self.selection.indices[idx])
        info.pop('true_label', None)
        info.update(self.selection.fields(idx, sample_name(info['sample_idx'], info['img_path'])))
        return info
