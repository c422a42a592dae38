"""Datasets and samplers of a DMT run; importing this package registers them."""

from mmdmt.datasets.labeled_unlabeled_sampler import LabeledUnlabeledSampler
from mmdmt.datasets.pass_sampler import PassSampler
from mmdmt.datasets.seeded_dataset import SeededDataset
from mmdmt.datasets.some_images import SomeImages
from mmdmt.datasets.unfinished_sampler import UnfinishedSampler
from mmdmt.datasets.unlabeled import PseudoLabelDataset, UnlabeledDataset
from mmdmt.labels import LabelMaps, LabelTable

__all__ = [
    'LabelMaps',
    'LabelTable',
    'LabeledUnlabeledSampler',
    'PassSampler',
    'PseudoLabelDataset',
    'SeededDataset',
    'SomeImages',
    'UnfinishedSampler',
    'UnlabeledDataset',
]
