"""Checks of the sets of images of a run, each by itself and against the others, and a count of their classes."""

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

import numpy as np

from mmdmt.core.ranking import IGNORED
from mmdmt.datasets.building import dataset_leaves, image_paths
from mmdmt.datasets.image_checks import check_disjoint, check_images, check_once, identity
from mmdmt.datasets.left_out import doubts
from mmdmt.datasets.reading import CheckedFiles
from mmdmt.engine.phase_config import ModelData
from mmdmt.engine.plan import RunPlan
from mmdmt.errors import UserError

FIRST_PHASE = ', first phase'


class SetChecks:
    """Labeled, unlabeled, validation and test images.

    :meth:`check` fills ``class_counts`` (title of a set -> how often each label value occurs in it) and ``test_works``,
    whether the test set has no fault; training does not need it.

    Args:
        plan: The run.
        models: Datasets of each model.
        files: What earlier runs checked.
        dataset: Builds the dataset of a config, for its config key.
        warn: Takes a warning.
    """

    def __init__(
        self,
        plan: RunPlan,
        models: Mapping[str, ModelData],
        files: CheckedFiles,
        dataset: Callable[[dict, str], Any],
        warn: Callable[[str], None],
    ) -> None:
        self._plan, self._models, self._files = plan, models, files
        self._dataset, self._warn = dataset, warn
        self._checked: set[str] = set()
        self.class_counts: dict[str, np.ndarray] = {}
        self.test_works = True

    def check(self, model: str) -> None:
        """Check the sets of a model that were not checked yet.

        Raises:
            MissingFileError, UserError: naming the file or key and what is wrong.
        """
        data, classes = self._models[model], self._plan.num_classes(model)
        for title, key, config in self._labeled_sets(model):
            self._check_labeled(title, key, self._dataset(config, key), classes)
        if repr(data) not in self._checked:
            self._checked.add(repr(data))
            self._check_training_data(data)
            self._count_unlabeled(data, classes)
            self._check_overlap(model, data)

    def names(self, classes: int) -> list[str]:
        """Names of the classes, or their indices."""
        return [str(name) for name in self._reference().metainfo.get('classes') or range(classes)]

    def labeled_counts(self) -> np.ndarray | None:
        """How often each label value occurs in the labeled images of all phases; None before they were checked."""
        titles = sorted(title for title in self.class_counts if title.startswith('labeled'))
        return self.class_counts[titles[0]] if titles else None

    def _reference(self) -> Any:
        """The labeled images, whose classes all other sets must have."""
        return self._dataset(next(iter(self._models.values())).labeled['semi'], 'dmt.labeled')

    def _labeled_sets(self, model: str) -> Iterator[tuple[str, str, dict]]:
        """Title, config key and config of each labeled dataset of a model."""
        data = self._models[model]
        first, later = data.labeled['supervised'], data.labeled['semi']
        shared = all(own.labeled['semi'] == later for own in self._models.values())
        title = 'labeled' if shared else f'labeled {model}'
        yield title, 'dmt.labeled', later
        if first != later:
            yield f'labeled {model}{FIRST_PHASE}', 'dmt.labeled', first
        if data.held_out is not None:
            yield 'held out', 'the held-out images', data.held_out
        config = self._plan.configs[model][None]
        for subset in ('val', 'test'):
            dataset = (config.get(f'{subset}_dataloader') or {}).get('dataset')
            if dataset is not None:
                yield subset, f'{subset}_dataloader.dataset', dataset

    def _check_labeled(self, title: str, key: str, dataset: Any, classes: int) -> None:
        """Check a labeled dataset and count its classes; its counts may be known under another title."""
        mark = f'{title} {classes} {id(dataset)}'
        if mark in self._checked:
            return
        self._checked.add(mark)
        self._warn_of_left_out(dataset, key)
        self._check_names(dataset, key)
        try:
            counts = self._plan.task.check_labeled(dataset, key, classes, self._files)
        except UserError as error:
            if title != 'test':
                raise
            self.test_works = False  # training does not need it
            self._warn(f'the test set cannot be used: {error}')
            return
        if title in ('val', 'test'):
            check_once(_known_paths(dataset), key)
            self._check_evaluator(title, counts)
        self._note_classes(title, counts, classes)
        self._check_masks(dataset, key)

    def _check_masks(self, dataset: Any, key: str) -> None:
        """Warn of a mask that is that of two images."""
        shared: list[str] = []
        images: dict[Hashable, Any] = {}
        for info in (dataset.get_data_info(idx) for idx in range(len(dataset))):
            mask, image = info.get('seg_map_path'), info.get('img_path')
            if mask is not None and images.setdefault(identity(mask), image) != image:
                shared.append(f'{mask} is that of {images[identity(mask)]} and of {image}')
        if shared:
            self._warn(f'{key}: {len(shared)} of its images have the mask of another one: {"; ".join(shared[:3])}')

    def _warn_of_left_out(self, dataset: Any, key: str) -> None:
        for line in doubts(dataset):
            self._warn(f'{key}: {line}')

    def _check_names(self, dataset: Any, key: str) -> None:
        """Refuse classes of other names, or in another order, than those of the labeled images."""
        reference = self._reference()
        expected, found = (item.metainfo.get('classes') for item in (reference, dataset))
        twice = {name for name in found or () if list(found).count(name) > 1}
        if twice:
            raise UserError(f'{key}: two of its classes are called {sorted(twice)[0]!r}')
        if expected is not None and found is not None and list(found) != list(expected):
            raise UserError(f'{key} has the classes {list(found)}, but dmt.labeled has {list(expected)}')
        expected, found = (getattr(item, 'reduce_zero_label', None) for item in (reference, dataset))
        if expected is not None and found is not None and found != expected:
            self._warn(f'{key} has reduce_zero_label={found}, but dmt.labeled has {expected}')

    def _check_evaluator(self, title: str, counts: np.ndarray) -> None:
        """Warn if an evaluator ignores another label than the masks do."""
        evaluator = self._plan.cfg.get(f'{title}_evaluator') or ()
        for part in [evaluator] if isinstance(evaluator, Mapping) else evaluator:
            found = part.get('ignore_index', IGNORED)
            if found != IGNORED and len(counts) > IGNORED and counts[IGNORED]:
                self._warn(
                    f'{title}_evaluator.ignore_index={found}, but the masks mark ignored pixels by {IGNORED}: there, '
                    'every prediction counts as wrong'
                )

    def _count_unlabeled(self, data: ModelData, classes: int) -> None:
        """Note the classes of unlabeled images whose true labels exist."""
        dataset = self._dataset(data.unlabeled, 'dmt.unlabeled')
        mark = f'unlabeled {classes} {id(dataset)}'
        if mark in self._checked:
            return
        self._checked.add(mark)
        self._warn_of_left_out(dataset, 'dmt.unlabeled')
        counts = self._plan.task.count_unlabeled(dataset, data.train_pipeline, classes, self._files)
        if counts.any():
            self._note_classes('unlabeled', counts, classes)

    def _check_overlap(self, model: str, data: ModelData) -> None:
        """Warn of images to validate or test with that the model learns from."""
        learned = {identity(path) for config in (*data.labeled.values(), data.unlabeled)
                   for path in image_paths(self._dataset(config, 'dmt.labeled'))}  # fmt: skip
        for title, name, config in self._labeled_sets(model):
            if title in ('val', 'test'):
                shared = [path for path in _known_paths(self._dataset(config, name)) if identity(path) in learned]
                if shared:
                    shown = ', '.join(shared[:3])
                    self._warn(f'{name} shares {len(shared)} of its images with the training images: {shown}')

    def _note_classes(self, title: str, counts: np.ndarray, classes: int) -> None:
        """Keep how often each class occurs, and warn of classes that cannot be learned."""
        number = 1 + sum(known.partition(' (')[0] == title for known in self.class_counts)
        self.class_counts[title if number == 1 else f'{title} ({number})'] = counts
        # A first phase uses a part of the labeled images: only what this part lacks besides is new.
        whole = self.class_counts.get('labeled') if title.endswith(FIRST_PHASE) else None
        missing = [
            name
            for label, name in enumerate(self.names(classes))
            if not counts[label] and (whole is None or whole[label])
        ]
        if missing and title.startswith('labeled'):
            self._warn(f'{title}: no label shows class {", ".join(missing)}, which cannot be learned')

    def _check_training_data(self, data: ModelData) -> None:
        unlabeled = self._dataset(data.unlabeled, 'dmt.unlabeled')
        check_once(image_paths(unlabeled), 'dmt.unlabeled')
        first, later, single = data.labeled['supervised'], data.labeled['semi'], self._plan.settings.scheme == 'single'
        for config in [later] if first == later else [first, later]:
            labeled = self._dataset(config, 'dmt.labeled')
            # A wrapper may repeat images, to weigh them.
            check_once([path for part in dataset_leaves(labeled) for path in image_paths(part)], 'dmt.labeled')
            if not single:  # a method may learn from labeled images without their labels, too
                check_disjoint(image_paths(labeled), image_paths(unlabeled))
                self._plan.task.check_samples(labeled, unlabeled, data.label_pipeline, data.train_pipeline)
        pipeline = data.train_pipeline if single else data.label_pipeline
        check_images(unlabeled, pipeline, 'dmt.unlabeled', self._files)


def _known_paths(dataset: Any) -> list[str]:
    """Paths of the images of a dataset, as far as it gives them."""
    infos = (dataset.get_data_info(idx) for idx in range(len(dataset)))
    return [info['img_path'] for info in infos if 'img_path' in info]
