"""Checks of classification data before the first training step."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dataset import default_collate

from mmdmt.datasets.image_checks import check_infos, concatenated, first_sample, load_transforms, load_unlabeled
from mmdmt.datasets.reading import CheckedFiles
from mmdmt.errors import UserError, listed
from mmdmt.labels.table import SelectedImages


def check_labeled(dataset: Any, key: str, classes: int, files: CheckedFiles | None = None) -> np.ndarray:
    """Check every image of a labeled dataset and its label; training images must show every class.

    Images are loaded by the transforms of the dataset's own pipeline. ``files`` knows what was checked already.

    Returns:
        int64 [classes]: number of images of each class.

    Raises:
        FileNotFoundError: if an image does not exist.
        ValueError: if an image cannot be read, a label is not one class, or a class has no image.
    """
    names = dataset.metainfo.get('classes')
    if isinstance(names, str):
        raise UserError(f'{key}: classes={names!r} is a text, not a list of names; write ({names!r},) for one class')
    if names is not None and len(names) != classes:
        raise UserError(f'{key} has {len(names)} classes ({listed(names)}), but the model has num_classes={classes}')
    counts: np.ndarray = np.zeros(classes, np.int64)
    infos = [dataset.get_data_info(idx) for idx in range(len(dataset))]
    for idx, info in enumerate(infos):
        label = info.get('gt_label')
        if not isinstance(label, int | np.integer) or not 0 <= label < classes:
            image = info.get('img_path', idx)
            raise UserError(f'{key}: image {image} has label {label!r}; allowed is one of 0..{classes - 1}')
        counts[label] += 1
    for part in concatenated(dataset):
        check_infos([part.get_data_info(idx) for idx in range(len(part))], load_transforms(part), key, files)
    missing = np.flatnonzero(counts == 0).tolist()
    if missing and key.startswith('dmt.'):
        shown = ', '.join(repr(names[label]) if names else str(label) for label in missing[:5])
        raise UserError(f'{key} has no image of {len(missing)} of {classes} classes: {shown}; each needs at least one')
    return counts


def classes_shown(dataset: Any, key: str, classes: int) -> list[list[int]]:
    """The class of each image of a labeled dataset.

    Raises:
        UserError: for a label that is not one class.
    """
    labels = [dataset.get_data_info(idx).get('gt_label') for idx in range(len(dataset))]
    for label in labels:
        if not isinstance(label, int | np.integer):
            raise UserError(f'{key}: an image has label {label!r}; allowed is one of 0..{classes - 1}')
    return [[int(label)] for label in labels]


def count_unlabeled(dataset: Any, pipeline: Sequence, classes: int, files: CheckedFiles | None = None) -> np.ndarray:
    """Count the images of each class among unlabeled images whose class is known; no model sees it.

    Returns:
        int64 [classes]: number of images of each class; 0 if it is not known.
    """
    labels = [dataset.get_data_info(idx).get('gt_label') for idx in range(len(dataset))]
    known = [label for label in labels if isinstance(label, int | np.integer) and 0 <= label < classes]
    return np.bincount(np.array(known, np.int64), minlength=classes)


def check_samples(labeled: Any, unlabeled: Any, label_pipeline: Sequence, train_pipeline: Sequence) -> None:
    """Load one labeled image, and one unlabeled image through the label and the training pipeline.

    Raises:
        ValueError: if a pipeline fails or lacks an output; the message names its config key.
    """
    sample = first_sample(labeled, 'dmt.labeled')
    if 'gt_confidence' not in sample.get('data_samples', ()):
        raise UserError('dmt.labeled.pipeline must end with PackDMTInputs')
    packed = load_unlabeled(unlabeled, label_pipeline, 'dmt.label_pipeline').metainfo
    if not {'sample_idx', 'img_path'} <= set(packed):
        raise UserError('dmt.label_pipeline must end with PackDMTInputs, with sample_idx and img_path in its meta_keys')
    fields = SelectedImages.example().fields(0, '')
    if 'gt_confidence' not in load_unlabeled(unlabeled, train_pipeline, 'dmt.unlabeled.pipeline', **fields):
        raise UserError('dmt.unlabeled.pipeline must end with PackDMTInputs')


def check_forward(model: Any, dataset: Any, key: str, classes: int) -> None:
    """Let a model predict the first image of a dataset.

    Raises:
        ValueError: if the model fails, or its head does not give one score per class.
    """
    model.eval()
    sample = first_sample(dataset, 'dmt.labeled')
    try:
        with torch.no_grad():
            (prediction,) = model.test_step(default_collate([sample]))
    except Exception as error:
        raise UserError(f'{key}: the model cannot predict an image: {type(error).__name__}: {error}') from error
    if prediction.pred_score.numel() != classes:
        raise UserError(f'{key}: the model gives {prediction.pred_score.numel()} scores for {classes} classes')
    if 'log_odds' not in prediction and not hasattr(model, 'views'):  # a method needs no labels on disk
        raise UserError(
            f'{key}: predictions of {type(model).__name__} have no log_odds, which rank pseudo labels: set model.type '
            'to DMTImageClassifier'
        )
