"""What mmsegmentation needs for DMT. Importing this package registers it; ``mmdmt.engine`` registers the runner."""

from mmdmt.installation import check_packages

check_packages('mmseg')  # before the imports that would fail

from mmdmt.datasets import PseudoLabelDataset
from mmdmt.losses import DynamicMutualLoss
from mmdmt.seg import digits, transforms
from mmdmt.seg.class_iou import ClassIoUMetric
from mmdmt.seg.deeplabv2_head import DeepLabV2Head
from mmdmt.seg.image_masks import ImageMaskDataset, ImageMaskList, VOCImageMaskList
from mmdmt.seg.predicted_maps import PredictedMaps
from mmdmt.seg.segmentor import DMTCascadeEncoderDecoder, DMTEncoderDecoder

__all__ = [
    'ClassIoUMetric',
    'DMTCascadeEncoderDecoder',
    'DMTEncoderDecoder',
    'DeepLabV2Head',
    'DynamicMutualLoss',
    'ImageMaskDataset',
    'ImageMaskList',
    'PredictedMaps',
    'PseudoLabelDataset',
    'VOCImageMaskList',
    'digits',
    'transforms',
]
