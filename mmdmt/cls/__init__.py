"""What mmpretrain needs for DMT. Importing this package registers it; ``mmdmt.engine`` registers the runner."""

from mmdmt.installation import check_packages

check_packages('mmpretrain')  # before the imports that would fail

from mmdmt.cls.cifar import DMTCIFAR10, DMTCIFAR100
from mmdmt.cls.class_accuracy import ClassAccuracy
from mmdmt.cls.classifier import DMTImageClassifier
from mmdmt.cls.digits import DigitsDataset
from mmdmt.cls.fine_grained_accuracy import FineGrainedAccuracy
from mmdmt.cls.rand_augment import SmallImageRandAugment
from mmdmt.cls.transforms import PackDMTInputs
from mmdmt.cls.wide_resnet import WideResNet
from mmdmt.datasets import PseudoLabelDataset
from mmdmt.losses import DynamicMutualLoss

__all__ = [
    'DMTCIFAR10',
    'DMTCIFAR100',
    'ClassAccuracy',
    'DMTImageClassifier',
    'DigitsDataset',
    'DynamicMutualLoss',
    'FineGrainedAccuracy',
    'PackDMTInputs',
    'PseudoLabelDataset',
    'SmallImageRandAugment',
    'WideResNet',
]
