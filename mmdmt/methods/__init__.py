"""Single-stage semi-supervised methods, one file each; importing this package registers them."""

from mmdmt.datasets import strong_color, views
from mmdmt.methods.base import SemiSupervised, View
from mmdmt.methods.cct import CCT
from mmdmt.methods.cross_pseudo import CrossPseudo
from mmdmt.methods.cutmix_seg import CutMixSeg
from mmdmt.methods.deep_co_training import DeepCoTraining
from mmdmt.methods.dual_student import DualStudent
from mmdmt.methods.fixmatch import FixMatch
from mmdmt.methods.mean_teacher import MeanTeacher
from mmdmt.methods.mixmatch import MixMatch
from mmdmt.methods.online_st import OnlineST
from mmdmt.methods.unimatch import UniMatch

__all__ = [
    'CCT',
    'CrossPseudo',
    'CutMixSeg',
    'DeepCoTraining',
    'DualStudent',
    'FixMatch',
    'MeanTeacher',
    'MixMatch',
    'OnlineST',
    'SemiSupervised',
    'UniMatch',
    'View',
    'strong_color',
    'views',
]
