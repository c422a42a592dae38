"""The transform that carries the teacher's confidence beside the label of an image."""

from collections.abc import Sequence

import torch
from mmpretrain.datasets.transforms import PackInputs
from mmpretrain.registry import TRANSFORMS

from mmdmt.core.dynamic_weight import HUMAN


@TRANSFORMS.register_module()
class PackDMTInputs(PackInputs):
    """Pack as mmpretrain's ``PackInputs`` does, with the confidence of the label.

    The data sample of an image with a label gets ``gt_confidence``, a float32 scalar: the teacher's, or 2.0 for human
    labels; its meta information says by ``human_label`` which of the two, so that nothing waits for a GPU to know. The
    meta information of an image to be labeled holds ``true_label``, if known, for statistics.

    Args:
        meta_keys: Meta keys to keep besides ``true_label``. Default: those of ``PackInputs``.
    """

    def __init__(self, meta_keys: Sequence[str] = PackInputs.DEFAULT_META_KEYS) -> None:
        super().__init__(meta_keys=(*meta_keys, 'true_label'))

    def transform(self, results: dict) -> dict:
        """Pack image, label and confidence."""
        packed = super().transform(results)
        sample = packed['data_samples']
        if 'gt_label' in sample:
            confidence = results.get('gt_confidence', HUMAN)
            sample.set_field(torch.tensor(confidence, dtype=torch.float32), 'gt_confidence')
            sample.set_metainfo(dict(human_label=confidence >= HUMAN))
        return packed
