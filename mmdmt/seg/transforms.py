"""Transforms that carry the teacher's confidence beside the label map of mmsegmentation."""

import cv2
import numpy as np
import torch
from mmcv.transforms.base import BaseTransform
from mmengine.structures import PixelData
from mmseg.datasets.transforms import LoadAnnotations, PackSegInputs
from mmseg.registry import TRANSFORMS

from mmdmt.core.dynamic_weight import HUMAN
from mmdmt.labels.maps import PixelLabels

IGNORE_INDEX = 255

# Transforms that leave the confidence behind, or blend it, without changing its shape: nothing would be noticed later.
REFUSED_TRANSFORMS = {
    'Albu': 'it transforms gt_seg_map but not gt_confidence',
    'RandomRotFlip': 'it interpolates label maps bilinearly, which invents classes and confidences',
}


@TRANSFORMS.register_module()
class LoadDMTAnnotations(LoadAnnotations):
    """Place a label map and the confidence of each of its pixels beside the image.

    Human labels are loaded as mmsegmentation's ``LoadAnnotations`` does, and get the sentinel confidence 2.0. Images
    of a ``PseudoLabelDataset`` come with their pseudo labels, which are class indices of the model: no
    ``reduce_zero_label`` and no label map applies. Images of an ``OnlineLabelDataset`` get 255 with the confidence 0
    everywhere.

    Added keys: ``gt_seg_map`` uint8 [H, W]; ``gt_confidence`` float32 [H, W], in [0, 1] or 2.0; both are listed in
    ``seg_fields``, so that stock transforms (resize, crop, flip, rotate, ...) move them together.

    Raises:
        ValueError: if pseudo labels and image have different sizes, naming the image and both.
    """

    def transform(self, results: dict) -> dict:
        """Add the label map and its confidence."""
        if 'pseudo_label' in results:
            pseudo_label: PixelLabels | None = results.pop('pseudo_label')
            if pseudo_label is None:
                shape = results['img'].shape[:2]
                pseudo_label = PixelLabels(np.full(shape, IGNORE_INDEX, np.uint8), np.zeros(shape, np.float32), '')
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
        raise ValueError(
            f'{results["img_path"]} is {results["img"].shape[:2]} (height, width) where its pseudo label '
            f'{pseudo_label.path} is {size}; resize the image in both pipelines before the label '
            'is made (followed by SetOriginalShape) or loaded, or in neither'
        )


@TRANSFORMS.register_module()
class PackDMTInputs(PackSegInputs):
    """Pack as mmsegmentation's ``PackSegInputs`` does, with the confidence and the sample's index.

    The data sample gets ``gt_confidence``, PixelData float32 [1, H, W], where the pipeline has loaded one, and the
    meta key ``sample_idx``.

    Raises:
        ValueError: if a transform has changed the size of the label map but not of the confidence.
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
                raise ValueError(
                    f'gt_seg_map is {results["gt_seg_map"].shape} but gt_confidence {confidence.shape}: a transform '
                    'of the pipeline ignores `seg_fields` (mmcv Pad does: pad in the data_preprocessor instead)'
                )
            data = torch.from_numpy(np.ascontiguousarray(confidence[None]))
            packed['data_samples'].set_data(dict(gt_confidence=PixelData(data=data)))
        return packed


@TRANSFORMS.register_module()
class SetOriginalShape(BaseTransform):
    """Take the image as it is now for the original: predictions come back at this size.

    After a fixed ``Resize`` in the label pipeline, pseudo labels are made and stored at the size the images are
    trained at, where the files' own size would cost many times the space.
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
