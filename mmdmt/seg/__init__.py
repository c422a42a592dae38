"""What mmsegmentation needs for DMT; importing it registers all of it, ``mmdmt.engine`` registers the runner."""

from mmdmt.datasets import digits, samplers, transforms, unlabeled
from mmdmt.losses.dynamic_mutual_loss import DynamicMutualLoss
from mmdmt.seg.deeplabv2_head import DeepLabV2Head
from mmdmt.seg.segmentor import DMTCascadeEncoderDecoder, DMTEncoderDecoder

__all__ = [
    'DMTCascadeEncoderDecoder',
    'DMTEncoderDecoder',
    'DeepLabV2Head',
    'DynamicMutualLoss',
    'digits',
    'samplers',
    'transforms',
    'unlabeled',
]
