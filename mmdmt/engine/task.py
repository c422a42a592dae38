"""What a DMT run needs to know about its toolbox."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol

import numpy as np
from mmengine.config import Config

from mmdmt.checked import Checked
from mmdmt.datasets.reading import CheckedFiles
from mmdmt.errors import UserError

TASKS = {
    'mmseg': ('mmdmt.seg.segmentation_task', 'SegmentationTask'),
    'mmpretrain': ('mmdmt.cls.classification_task', 'ClassificationTask'),
}


class Task(Protocol):
    """What differs between segmentation and classification.

    ``metric``: default validation metric (``dmt.metric``).
    ``rankings``: allowed values of ``dmt.ranking``, the default first.
    ``schemes``: allowed values of ``dmt.scheme``.
    ``label_writer_settings``: allowed content of ``dmt.label_writer``.
    ``split_size``: key of ``dmt.split`` that sets how many images are labeled.
    ``store``: name of its label store, see :mod:`mmdmt.labels.stores`.
    ``stock_types``: type of a model or loss of this package -> stock type with the same predictions.
    ``own_arguments``: arguments that these stock models do not have.
    ``scope``: the ``default_scope`` of its configs.
    ``transforms``: stock transform -> the one that also carries the confidence of labels.
    ``packing``: the one of these that packs.
    ``heads``: keys of a model with its heads.
    ``loss_key``: key of a head with its loss.
    ``loss``: arguments of the dynamic loss of a stock model.
    ``other_heads``: stock heads whose cross-entropy does not compare classes.
    """

    metric: str
    rankings: tuple[str, ...]
    schemes: tuple[str, ...]
    label_writer_settings: type[Checked]
    split_size: str
    store: str
    stock_types: Mapping[str, Mapping[str, Any]]
    own_arguments: frozenset[str]
    scope: str
    transforms: Mapping[str, str]
    packing: str
    heads: tuple[str, ...]
    loss_key: str
    loss: Mapping[str, Any]
    other_heads: tuple[str, ...]

    def num_classes(self, model: Mapping) -> int:
        """Number of classes of a model config; ValueError if the config does not set it."""

    def writer(self, settings: Any, images: int) -> dict[str, Any]:
        """Config of the metric that writes pseudo labels, from the ``DMTSettings`` of a run and how many it labels."""

    def selected(self, number: int, ratio: float) -> int:
        """How many of ``number`` unlabeled images a phase with label ratio ``ratio`` uses."""

    def split(self, pool: Any, size: Any, split_id: int, seed: int) -> tuple[list[str], list[str]]:
        """Split a labeled dataset; return the list-file lines of its labeled and of its unlabeled images."""

    def from_list(self, list_file: str, pool: Any) -> dict[str, Any]:
        """Dataset overrides that restrict ``pool`` to the images of a list file."""

    def check_pipeline(self, pipeline: Sequence, key: str) -> None:
        """Refuse unsupported transforms."""

    def check_labeled(self, dataset: Any, key: str, classes: int, files: CheckedFiles | None = None) -> np.ndarray:
        """Check every image of a labeled dataset and its label; return how often each label value occurs."""

    def count_unlabeled(
        self, dataset: Any, pipeline: Sequence, classes: int, files: CheckedFiles | None = None
    ) -> np.ndarray:
        """Count the true labels of unlabeled images, as far as they are known; ``pipeline`` trains on them."""

    def classes_shown(self, dataset: Any, key: str, classes: int) -> list[list[int]]:
        """The classes that each image of a labeled dataset shows."""

    def check_samples(self, labeled: Any, unlabeled: Any, label_pipeline: Sequence, train_pipeline: Sequence) -> None:
        """Load a first sample in each way that a run uses."""

    def check_forward(self, model: Any, dataset: Any, key: str, classes: int) -> None:
        """Run a model on a first image."""

    def list_family(self, labeled: Any, unlabeled: Any) -> tuple[str, str] | None:
        """Family of published lists that the labeled images are of, empty for none, and a sentence; None if unknown."""

    def label_bytes(self, unlabeled: Any, label_pipeline: Sequence) -> int:
        """Maximum disk space of the labels of one teacher, in bytes."""


def task_of(cfg: Config) -> Task:
    """The task of a config, by its ``default_scope``.

    Raises:
        ValueError: if the scope is not one of mmseg and mmpretrain.
    """
    scope = cfg.get('default_scope', 'mmseg')
    if scope not in TASKS:
        raise UserError(f'default_scope={scope!r} is not one of {tuple(TASKS)}')
    module, name = TASKS[scope]
    return getattr(import_module(module), name)()
