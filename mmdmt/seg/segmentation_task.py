"""What a DMT run needs to know about mmsegmentation."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from mmdmt.checked import Checked, PositiveInt
from mmdmt.core.splits import nested_split
from mmdmt.datasets.building import image_paths
from mmdmt.datasets.unlabeled import UnlabeledDataset
from mmdmt.errors import UserError
from mmdmt.labels.maps import BYTES_PER_PIXEL
from mmdmt.seg import mask_checks
from mmdmt.seg.ignored_label import check_ignored_label
from mmdmt.seg.voc_lists import voc_family

MANY_IMAGES = 100_000
"""Images above which their labels go into archives."""


class LabelMapSettings(Checked):
    """Options of :class:`mmdmt.labels.PseudoLabelWriter`; the first two are for comparisons with the published code."""

    rank_stride: PositiveInt = 1
    """Rank every ``rank_stride``-th pixel of each image instead of all; the published code uses 16."""
    half: bool = False
    """Round confidences to half precision."""
    archives: bool | None = None
    """Write labels into tar archives, not into two files an image; None does so for more than 100,000 images."""


class SegmentationTask:
    """Semantic segmentation: see :class:`mmdmt.engine.task.Task`."""

    metric = 'mIoU'
    rankings = ('class',)
    schemes = ('mutual', 'self', 'chain', 'single')
    label_writer_settings = LabelMapSettings
    split_size = 'ratio'
    store = 'maps'
    # Segmentors and losses of this package, and the stock ones that predict the same with the same weights.
    stock_types = {
        'DMTEncoderDecoder': dict(type='EncoderDecoder'),
        'DMTCascadeEncoderDecoder': dict(type='CascadeEncoderDecoder'),
        'DynamicMutualLoss': dict(type='CrossEntropyLoss', avg_non_ignore=True),
    }
    own_arguments: frozenset[str] = frozenset()
    scope = 'mmseg'
    transforms = {'LoadAnnotations': 'LoadDMTAnnotations', 'PackSegInputs': 'PackDMTInputs'}
    packing = 'PackDMTInputs'
    heads = ('decode_head', 'auxiliary_head')
    loss_key = 'loss_decode'
    loss: Mapping[str, Any] = {}
    other_heads = ('STDCHead',)  # learns boundaries

    check_pipeline = staticmethod(mask_checks.check_pipeline)
    check_labeled = staticmethod(mask_checks.check_labeled)
    classes_shown = staticmethod(mask_checks.classes_shown)
    count_unlabeled = staticmethod(mask_checks.count_unlabeled)

    def num_classes(self, model: Mapping) -> int:
        """Return the number of classes of a segmentor config, set in its (last) decode head."""
        head = model['decode_head']
        head = head if isinstance(head, Mapping) else head[-1]
        # K-Net's head sets num_classes in its kernel_generate_head.
        number = head.get('num_classes', (head.get('kernel_generate_head') or {}).get('num_classes'))
        if not isinstance(number, int):
            raise UserError(f'model.decode_head ({head.get("type")}) must set num_classes')
        return number

    def writer(self, settings: Any, images: int) -> dict[str, Any]:
        """Return the config of the metric that writes label maps."""
        options = {key: value for key, value in settings.label_writer.items() if value is not None}
        if images > MANY_IMAGES:
            options.setdefault('archives', True)
        return dict(type='PseudoLabelWriter', **options)

    def selected(self, number: int, ratio: float) -> int:
        """Return the number of all images: a ratio selects pixels."""
        return number

    def split(self, pool: Any, size: float, split_id: int, seed: int) -> tuple[list[str], list[str]]:
        """Split an mmseg dataset as published, with one image in ``size`` labeled; return lines of list files."""
        if not hasattr(pool, 'img_suffix'):
            raise UserError(f'dmt.split needs dmt.labeled to be one mmseg dataset, got {type(pool).__name__}')
        prefix = pool.data_prefix['img_path']
        names = [os.path.relpath(path, prefix).removesuffix(pool.img_suffix) for path in image_paths(pool)]
        return nested_split(names, size, split_id, seed)

    def from_list(self, list_file: str, pool: Any) -> dict[str, Any]:
        """Return the config keys that make a dataset use a list file."""
        return dict(ann_file=list_file)

    def check_samples(self, labeled: Any, unlabeled: Any, label_pipeline: Sequence, train_pipeline: Sequence) -> None:
        """Load a first sample in each way that a run does."""
        mask_checks.check_pipeline(train_pipeline, 'dmt.unlabeled.pipeline')
        mask_checks.check_sample(labeled, 'dmt.labeled')
        mask_checks.check_unlabeled_sample(unlabeled, label_pipeline, train_pipeline)

    def check_forward(self, model: Any, dataset: Any, key: str, classes: int) -> None:
        """Check the label that a model ignores; it refuses heads that it cannot serve when it is built."""
        check_ignored_label(model, key)

    def list_family(self, labeled: Any, unlabeled: Any) -> tuple[str, str] | None:
        """Return the family of lists that labeled images of VOC are of."""
        return voc_family(image_paths(labeled), image_paths(unlabeled))

    def label_bytes(self, unlabeled: Any, label_pipeline: Sequence) -> int:
        """Estimate an upper bound of the bytes of one teacher's labels, from the labeling size of some images."""
        dataset = UnlabeledDataset(unlabeled, label_pipeline)
        looked_at = range(0, len(dataset), max(1, len(dataset) // 16))
        shapes = [dataset[idx]['data_samples'].ori_shape for idx in looked_at]
        return round(sum(height * width for height, width in shapes) / len(shapes) * len(dataset) * BYTES_PER_PIXEL)
