"""The method's mathematics as pure functions; they import only torch, numpy and the standard library.

``from mmdmt.core import dynamic_weight`` (or ``mixup``) gives the function, not the module of the same name.
"""

from mmdmt.core.confidence import decode, encode, top_log_odds
from mmdmt.core.consistency import (
    jensen_shannon,
    masked_cross_entropy,
    ramp_up,
    sharpen,
    soft_cross_entropy,
    squared_difference,
)
from mmdmt.core.cutmix import draw_boxes, draw_small_boxes, mix_boxes
from mmdmt.core.dynamic_loss import dynamic_mutual_loss
from mmdmt.core.dynamic_weight import HUMAN, DynamicWeight, dynamic_weight, gamma_ramp
from mmdmt.core.mixup import mixup
from mmdmt.core.ranking import ClassHistogram, select_images
from mmdmt.core.schedule import Phase, plan
from mmdmt.core.splits import balanced_split, difference_maximised_sampling, held_out, nested_split

__all__ = [
    'HUMAN',
    'ClassHistogram',
    'DynamicWeight',
    'Phase',
    'balanced_split',
    'decode',
    'difference_maximised_sampling',
    'draw_boxes',
    'draw_small_boxes',
    'dynamic_mutual_loss',
    'dynamic_weight',
    'encode',
    'gamma_ramp',
    'held_out',
    'jensen_shannon',
    'masked_cross_entropy',
    'mix_boxes',
    'mixup',
    'nested_split',
    'plan',
    'ramp_up',
    'select_images',
    'sharpen',
    'soft_cross_entropy',
    'squared_difference',
    'top_log_odds',
]
