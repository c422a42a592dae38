"""Data of a DMT run: the pseudo label stores, the datasets that read them, and the samplers.

What needs mmsegmentation (``transforms``, ``digits``) is not imported here.
"""

from mmdmt.datasets.label_maps import LabelMaps
from mmdmt.datasets.label_table import LabelTable
from mmdmt.datasets.samplers import LabeledUnlabeledSampler, UnfinishedSampler
from mmdmt.datasets.unlabeled import OnlineLabelDataset, PseudoLabelDataset, UnlabeledDataset

__all__ = [
    'LabelMaps',
    'LabelTable',
    'LabeledUnlabeledSampler',
    'OnlineLabelDataset',
    'PseudoLabelDataset',
    'UnfinishedSampler',
    'UnlabeledDataset',
]
