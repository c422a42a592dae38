"""Data of a DMT run: the pseudo label store, the datasets that read it, and the samplers.

What needs mmsegmentation (``transforms``, ``digits``) is not imported here.
"""

from mmdmt.datasets.label_store import LabelStore
from mmdmt.datasets.samplers import LabeledUnlabeledSampler, UnfinishedSampler
from mmdmt.datasets.unlabeled import PseudoLabelDataset, UnlabeledDataset

__all__ = ['LabelStore', 'LabeledUnlabeledSampler', 'PseudoLabelDataset', 'UnfinishedSampler', 'UnlabeledDataset']
