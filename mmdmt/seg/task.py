"""What a DMT run needs to know of mmsegmentation."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from mmdmt.core.splits import nested_split
from mmdmt.datasets.checks import image_paths
from mmdmt.datasets.label_maps import BYTES_PER_PIXEL
from mmdmt.datasets.unlabeled import UnlabeledDataset
from mmdmt.seg import checks


class SegmentationTask:
    """Semantic segmentation: see :class:`mmdmt.engine.task.Task`."""

    metric = 'mIoU'
    rankings = ('class',)
    schemes = ('mutual', 'self', 'chain', 'online')
    confidence_dtypes = ('float32', 'float16')
    split_size = 'ratio'
    store = 'maps'
    # Segmentors and losses of this package, and the stock ones that predict the same with the same weights.
    stock_types = {
        'DMTEncoderDecoder': dict(type='EncoderDecoder'),
        'DMTCascadeEncoderDecoder': dict(type='CascadeEncoderDecoder'),
        'DynamicMutualLoss': dict(type='CrossEntropyLoss', avg_non_ignore=True),
    }
    own_arguments = frozenset({'cut_mix'})

    check_pipeline = staticmethod(checks.check_pipeline)
    check_labeled = staticmethod(checks.check_labeled)

    def num_classes(self, model: Mapping) -> int:
        """Classes of a segmentor config: those of its (last) decode head."""
        head = _final_head(model)
        # That of K-Net says it of the head it starts from.
        number = head.get('num_classes', (head.get('kernel_generate_head') or {}).get('num_classes'))
        if not isinstance(number, int):
            raise ValueError(f'model.decode_head ({head.get("type")}) must say its num_classes')
        return number

    def writer(self, settings: Any, model: Mapping) -> dict[str, Any]:
        """Config of the metric that writes label maps."""
        options = dict(rank_stride=settings.rank_stride) if settings.rank_stride > 1 else {}
        if settings.confidence_dtype == 'float16':
            options['half'] = True
        losses = _final_head(model).get('loss_decode') or ()
        for loss in [losses] if isinstance(losses, Mapping) else losses:
            if loss.get('prior_corrected'):
                options['class_weight'] = list(loss['class_weight'])
        return dict(type='PseudoLabelWriter', **options)

    def selected(self, number: int, ratio: float) -> int:
        """All images: what is selected is their pixels."""
        return number

    def split(self, pool: Any, size: float, split_id: int, seed: int) -> tuple[list[str], list[str]]:
        """The published split of a mmseg dataset: one image in ``size`` is labeled; lines of list files."""
        if not hasattr(pool, 'img_suffix'):
            raise ValueError(f'dmt.split needs dmt.labeled to be one mmseg dataset, got {type(pool).__name__}')
        prefix = pool.data_prefix['img_path']
        names = [os.path.relpath(path, prefix)[: -len(pool.img_suffix)] for path in image_paths(pool)]
        return nested_split(names, size, split_id, seed)

    def listed(self, list_file: str, pool: Any) -> dict[str, Any]:
        """What a dataset config gets so that the dataset is that of a list file."""
        return dict(ann_file=list_file)

    def check_samples(
        self, labeled: Any, unlabeled: Any, label_pipeline: Sequence, train_pipeline: Sequence, classes: int
    ) -> None:
        """Load a first sample in each way that a run will."""
        checks.check_pipeline(train_pipeline, 'dmt.unlabeled.pipeline')
        checks.check_sample(labeled, 'dmt.labeled')
        checks.check_unlabeled_sample(unlabeled, label_pipeline, train_pipeline, classes)

    def check_forward(self, model: Any, dataset: Any, key: str, classes: int) -> None:
        """Nothing: a head that cannot be served is refused when it is built."""

    def label_bytes(self, unlabeled: Any, label_pipeline: Sequence) -> int:
        """Bytes that the labels by one teacher take at most, from some of the images at the size they get labels."""
        dataset = UnlabeledDataset(unlabeled, label_pipeline)
        looked_at = range(0, len(dataset), max(1, len(dataset) // 16))
        shapes = [dataset[idx]['data_samples'].ori_shape for idx in looked_at]
        return round(sum(height * width for height, width in shapes) / len(shapes) * len(dataset) * BYTES_PER_PIXEL)


def _final_head(model: Mapping) -> Mapping:
    head = model['decode_head']
    return head if isinstance(head, Mapping) else head[-1]
