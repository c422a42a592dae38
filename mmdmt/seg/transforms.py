"""Transforms that carry the teacher's confidence beside the label map of mmsegmentation."""

from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform, RandomResize
from mmengine.structures import PixelData
from mmseg.datasets.transforms import LoadAnnotations, PackSegInputs
from mmseg.registry import TRANSFORMS

from mmdmt.core.dynamic_weight import HUMAN
from mmdmt.errors import UserError
from mmdmt.labels.selected_pixels import PixelLabels

IGNORE_INDEX = 255

# Transforms that skip or blend the confidence without changing its shape, so that no later check would notice.
REFUSED_TRANSFORMS = {
    'Albu': 'it transforms gt_seg_map but not gt_confidence',
    'RandomRotFlip': 'it interpolates label maps bilinearly, which invents classes and confidences',
}


@TRANSFORMS.register_module()
class LoadDMTAnnotations(LoadAnnotations):
    """Place a label map and the confidence of each of its pixels beside the image.

    Human labels are loaded as by mmsegmentation's ``LoadAnnotations`` and get the sentinel confidence 2.0. Images of a
    ``PseudoLabelDataset`` bring their pseudo labels. These are class indices of the model, so ``reduce_zero_label`` and
    ``label_map`` do not apply.

    Added keys: ``gt_seg_map`` uint8 [H, W]; ``gt_confidence`` float32 [H, W], in [0, 1] or 2.0. ``seg_fields`` lists
    both, so that stock transforms (resize, crop, flip, rotate, ...) move them together.

    Raises:
        ValueError: if pseudo labels and image have different sizes; the message names the image and both sizes.
    """

    def transform(self, results: dict) -> dict:
        """Add the label map and its confidence."""
        if 'pseudo_label' in results:
            pseudo_label: PixelLabels = results.pop('pseudo_label')
            _check_size(results, pseudo_label)
            results['gt_seg_map'], results['gt_confidence'], _ = pseudo_label
            results['seg_fields'].append('gt_seg_map')
        else:
            super().transform(results)
            results['gt_confidence'] = np.full(results['gt_seg_map'].shape, HUMAN, dtype=np.float32)
        results['seg_fields'].append('gt_confidence')
        return results


def _check_size(results: dict, pseudo_label: PixelLabels) -> None:
    size = pseudo_label.label.shape
    if 'img' in results and results['img'].shape[:2] != size:
        raise UserError(
            f'{results["img_path"]} is {results["img"].shape[:2]} (height, width), but its pseudo label '
            f'{pseudo_label.path} is {size}; resize the image in both pipelines before the label '
            'is made (followed by SetOriginalShape) or loaded, or in neither'
        )


@TRANSFORMS.register_module()
class PackDMTInputs(PackSegInputs):
    """Pack as mmsegmentation's ``PackSegInputs`` does, with the confidence and the sample's index.

    The data sample gets the meta key ``sample_idx`` and, if the pipeline has loaded a confidence, ``gt_confidence``,
    PixelData float32 [1, H, W].

    Raises:
        ValueError: if label map and confidence have different sizes, because a transform changed only one.
    """

    def __init__(self, meta_keys: tuple[str, ...] | None = None) -> None:
        super().__init__(**({} if meta_keys is None else dict(meta_keys=meta_keys)))
        self.meta_keys: tuple[str, ...] = (*self.meta_keys, 'sample_idx')

    def transform(self, results: dict) -> dict:
        """Pack image, label map and confidence."""
        packed = super().transform(results)
        confidence = results.get('gt_confidence')
        if confidence is not None:
            if confidence.shape != results['gt_seg_map'].shape:
                raise UserError(
                    f'gt_seg_map is {results["gt_seg_map"].shape} but gt_confidence {confidence.shape}: a transform '
                    'of the pipeline ignores `seg_fields` (mmcv Pad does: pad in the data_preprocessor instead)'
                )
            data = torch.from_numpy(np.ascontiguousarray(confidence[None]))
            packed['data_samples'].set_data(dict(gt_confidence=PixelData(data=data)))
        return packed


@TRANSFORMS.register_module()
class MarkValid(BaseTransform):
    """Mark each pixel of an unlabeled image as valid, before transforms that rotate or pad it.

    The label map is 0 everywhere: no mask is read. Transforms fill it with 255 where they fill the image, and the
    methods of :mod:`mmdmt.methods` ignore these pixels. Without this transform, they
    ignore only what the data preprocessor pads.
    """

    def transform(self, results: dict) -> dict:
        """Add ``gt_seg_map``, uint8 [H, W]."""
        results['gt_seg_map'] = np.zeros(results['img'].shape[:2], np.uint8)
        results['seg_fields'].append('gt_seg_map')
        return results


@TRANSFORMS.register_module()
class SetOriginalShape(BaseTransform):
    """Declare the current image size the original one: predictions come back at this size.

    Use it after a fixed ``Resize`` in the label pipeline. Pseudo labels are then made and stored at the training size
    of the images; at the file size, they could take many times the space.
    """

    def transform(self, results: dict) -> dict:
        """Set ``ori_shape``."""
        results['ori_shape'] = results['img'].shape[:2]
        return results


@TRANSFORMS.register_module()
class ResizeLabels(BaseTransform):
    """Resize label maps to the original shape, by the nearest pixel.

    After ``SetOriginalShape`` and ``LoadAnnotations`` of a test pipeline, prediction and truth are compared at the size
    of the tested image, as the paper does on Cityscapes.
    """

    def transform(self, results: dict) -> dict:
        """Resize every map in ``seg_fields``."""
        height, width = results['ori_shape']
        for key in results.get('seg_fields', ()):
            results[key] = cv2.resize(results[key], (width, height), interpolation=cv2.INTER_NEAREST)
        return results


@TRANSFORMS.register_module()
class OwnSizeRandomResize(RandomResize):
    """mmcv's ``RandomResize`` relative to the size of each image, as the published code resizes.

    An option can replace the type of a ``RandomResize`` by this one: ``ratio_range`` and the arguments of ``Resize``
    remain, ``scale`` has no effect.

    Raises:
        ValueError: ``ratio_range`` is missing.
    """

    def __init__(self, scale: Any = None, ratio_range: tuple[float, float] | None = None, **kwargs: Any) -> None:
        if ratio_range is None:
            raise UserError('OwnSizeRandomResize: ratio_range is missing')
        super().__init__(scale=scale, ratio_range=ratio_range, **kwargs)

    def transform(self, results: dict) -> dict:
        """Resize image and label maps."""
        height, width = results['img'].shape[:2]
        self.scale = (width, height)
        return super().transform(results)
