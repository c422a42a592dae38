"""Labeled images that are set aside to choose between checkpoints: ``dmt.select='holdout'``."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mmdmt.core.splits import held_out
from mmdmt.datasets.building import image_paths
from mmdmt.datasets.image_checks import check_disjoint, identity
from mmdmt.engine.phase_config import ModelData
from mmdmt.engine.plan import RunPlan
from mmdmt.engine.task import Task
from mmdmt.errors import UserError

SHARE = 0.1
"""Share of the labeled images that is held out by default."""


def hold_out(
    plan: RunPlan, models: Mapping[str, ModelData], build: Callable[[dict], Any]
) -> tuple[dict[str, ModelData], tuple[str, ...]]:
    """Set a share of the labeled images of a run aside.

    Args:
        plan: The run.
        models: Data of each model. The images are drawn from those of the later phases of the first one.
        build: Builds a dataset.

    Returns:
        The data of each model without these images, which become its validation images; and their names.

    Raises:
        UserError: if none can be spared, or one is among the unlabeled images.
    """
    first, data = next(iter(models.items()))
    config, share = data.labeled['semi'], plan.settings.holdout or SHARE
    held = HeldOut.draw(config, build(config), plan.task, plan.num_classes(first), share)
    for data in models.values():
        check_disjoint([path for path in image_paths(build(config)) if identity(path) in held.images],
                       image_paths(build(data.unlabeled)))  # fmt: skip
    return {model: held.set_aside(data, build) for model, data in models.items()}, held.names


@dataclass(frozen=True)
class HeldOut:
    """The images that no phase trains on.

    ``config``: dataset config that they are drawn from.
    ``names``: their names, relative to the folder of all labeled images.
    ``images``: what identifies them in any dataset.
    """

    config: dict
    names: tuple[str, ...]
    images: frozenset

    @classmethod
    def draw(cls, config: dict, dataset: Any, task: Task, classes: int, share: float) -> 'HeldOut':
        """Draw a share of a labeled dataset, by class.

        Raises:
            UserError: if no image can be spared.
        """
        paths = image_paths(dataset)
        names = _short(paths)
        if len(set(names)) < len(names):
            raise UserError(
                f"dmt.select='holdout' needs each labeled image once, but dmt.labeled, a {type(dataset).__name__}, "
                'repeats some'
            )
        try:
            drawn = held_out(names, task.classes_shown(dataset, 'dmt.labeled', classes), share)
        except ValueError as error:
            raise UserError(f"dmt.select='holdout': {error}") from None
        path_of = dict(zip(names, paths, strict=True))
        return cls(config, tuple(drawn), frozenset(identity(path_of[name]) for name in drawn))

    def set_aside(self, data: ModelData, build: Callable[[dict], Any]) -> ModelData:
        """The data of a model without these images, which become its validation images.

        Args:
            data: Data of a model.
            build: Builds a labeled dataset.

        Raises:
            UserError: if they are all labeled images of a stage.
        """
        labeled, number = {}, {}
        for stage, config in data.labeled.items():
            rows = [row for row, path in enumerate(image_paths(build(config))) if identity(path) not in self.images]
            if not rows:
                raise UserError(f"dmt.select='holdout' leaves no labeled image for the phases of dmt.{stage}")
            labeled[stage], number[stage] = dict(type='SomeImages', dataset=config, indices=rows), len(rows)
        rows = [row for row, path in enumerate(image_paths(build(self.config))) if identity(path) in self.images]
        chosen = dict(type='SomeImages', dataset=self.config, indices=rows)
        return replace(data, labeled=labeled, num_labeled=number, held_out=chosen)


def _short(paths: Sequence[str]) -> list[str]:
    """Paths below the folder that all of them share: a data set that has moved keeps its draw."""
    try:
        root = os.path.commonpath([os.path.dirname(path) for path in paths])
    except ValueError:  # absolute and relative ones
        return list(paths)
    return [path[len(root) :].lstrip('/') for path in paths]
