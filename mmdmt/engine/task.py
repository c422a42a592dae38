"""What a DMT run needs to know of the toolbox it runs in."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol

from mmengine.config import Config

from mmdmt.checked import Checked

TASKS = {
    'mmseg': ('mmdmt.seg.segmentation_task', 'SegmentationTask'),
    'mmpretrain': ('mmdmt.cls.classification_task', 'ClassificationTask'),
}


class Task(Protocol):
    """What differs between segmentation and classification.

    ``metric``: validation metric that counts unless the config says another.
    ``rankings``: what pseudo labels may be ranked by (``dmt.ranking``), the default first.
    ``schemes``: the schemes it has (``dmt.scheme``).
    ``label_writer_settings``: what ``dmt.label_writer`` may hold.
    ``split_size``: key of ``dmt.split`` that says how many images are labeled.
    ``store``: name of its label store, see :mod:`mmdmt.labels.stores`.
    ``stock_types``: models and losses of this package, and the stock ones that predict the same.
    ``own_arguments``: arguments that these stock models do not have.
    """

    metric: str
    rankings: tuple[str, ...]
    schemes: tuple[str, ...]
    label_writer_settings: type[Checked]
    split_size: str
    store: str
    stock_types: Mapping[str, Mapping[str, Any]]
    own_arguments: frozenset[str]

    def num_classes(self, model: Mapping) -> int:
        """Classes of a model config; ValueError if it does not say."""

    def writer(self, settings: Any) -> dict[str, Any]:
        """Config of the metric that writes pseudo labels, by the ``DMTSettings`` of a run."""

    def selected(self, number: int, ratio: float) -> int:
        """How many of ``number`` unlabeled images a phase of a ratio sees."""

    def split(self, pool: Any, size: Any, split_id: int, seed: int) -> tuple[list[str], list[str]]:
        """Lines of the list files of the labeled and of the unlabeled images of a labeled dataset."""

    def from_list(self, list_file: str, pool: Any) -> dict[str, Any]:
        """What a dataset config gets so that the dataset, a part of ``pool``, is that of a list file."""

    def check_pipeline(self, pipeline: Sequence, key: str) -> None:
        """Refuse transforms that cannot be used."""

    def check_labeled(self, dataset: Any, key: str, classes: int) -> None:
        """Check every image of a labeled dataset and its label."""

    def check_samples(self, labeled: Any, unlabeled: Any, label_pipeline: Sequence, train_pipeline: Sequence) -> None:
        """Load a first sample in each way that a run will."""

    def check_forward(self, model: Any, dataset: Any, key: str, classes: int) -> None:
        """Let a model predict a first image."""

    def label_bytes(self, unlabeled: Any, label_pipeline: Sequence) -> int:
        """Bytes on disk that the labels by one teacher take at most."""


def task_of(cfg: Config) -> Task:
    """The task of a config, by its ``default_scope``.

    Raises:
        ValueError: if the scope is not one of mmseg and mmpretrain.
    """
    scope = cfg.get('default_scope', 'mmseg')
    if scope not in TASKS:
        raise ValueError(f'default_scope={scope!r} is not one of {tuple(TASKS)}')
    module, name = TASKS[scope]
    return getattr(import_module(module), name)()
