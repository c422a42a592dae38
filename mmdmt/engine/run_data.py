"""The data of a run: the images of each model, and the phases, resolved with these images and checked."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import barrier, is_main_process

from mmdmt.config_dicts import merge_all
from mmdmt.core.splits import difference_maximised_sampling
from mmdmt.datasets.building import build_dataset, image_paths
from mmdmt.datasets.image_checks import check_disjoint, check_exist, check_images, check_once, identity
from mmdmt.engine.model_checks import (
    check_method,
    check_model,
    check_schedule,
    check_supervised,
    check_views,
    check_weights,
)
from mmdmt.engine.phase_config import ModelData, ResolvedPhase, resolve
from mmdmt.engine.plan import RunPlan
from mmdmt.engine.settings import STAGES, SplitSettings, Stage
from mmdmt.errors import UserError
from mmdmt.files import write_text


class RunData:
    """Datasets of each model of a run, and its resolved phases.

    :meth:`prepare` fills ``models`` (model -> data) and ``phases`` (name -> resolved phase).

    Args:
        plan: The run.
        work_dir: Its work dir.
    """

    def __init__(self, plan: RunPlan, work_dir: Path) -> None:
        self.plan, self.work_dir = plan, work_dir
        self.models: dict[str, ModelData] = {}
        self.phases: dict[str, ResolvedPhase] = {}
        self.class_counts: dict[str, list[int]] = {}
        self.warnings: list[str] = []
        self._built: dict[str, Any] = {}
        self._pool: Any = None

    def prepare(self, split_dir: Path) -> None:
        """Build the datasets of each model and resolve the phases; write the lists of a ``dmt.split`` to ``split_dir``.

        Raises:
            FileNotFoundError, ValueError: if the data does not exist or cannot be split as configured.
        """
        lists = self._split(split_dir)
        for model in self.plan.settings.models:
            data = self.models[model] = self._model_data(model, lists[model])
            for stage, size in data.num_labeled.items():
                _check_split(lists[model].get(stage), size, 'labeled')
            _check_split(lists[model].get('unlabeled'), data.num_unlabeled, 'unlabeled')
            self._check_ratio(data.num_unlabeled)
        self.phases = {
            phase.name: resolve(self.plan, phase, self.models[phase.model], self.work_dir) for phase in self.plan.phases
        }

    def _model_data(self, model: str, lists: Mapping[str, str]) -> ModelData:
        task = self.plan.task
        labeled = {stage: merge_all(self._layers(model, stage, 'labeled')) for stage in STAGES}
        unlabeled = merge_all(self._layers(model, 'semi', 'unlabeled'))
        for stage, config in labeled.items():
            if stage in lists:
                config.update(task.from_list(lists[stage], self._pool))
        if 'unlabeled' in lists:
            unlabeled.update(task.from_list(lists['unlabeled'], self._pool))
        train_pipeline = _pop_pipeline(unlabeled)
        return ModelData(
            labeled,
            unlabeled,
            train_pipeline,
            self._layers(model, 'semi', 'label_pipeline')[-1],
            num_labeled={stage: len(self.dataset(config, 'dmt.labeled')) for stage, config in labeled.items()},
            num_unlabeled=len(self.dataset(unlabeled, 'dmt.unlabeled')),
        )

    def _layers(self, model: str, stage: Stage, key: str) -> list:
        """Settings of a data key for a model in a stage; later layers override earlier ones."""
        settings, own = self.plan.settings, self.plan.settings.models[model]
        layers = [
            getattr(settings, key),
            *(part.get(key) for part in (getattr(settings, stage), own, own.get(stage, {}))),
        ]
        return [layer for layer in layers if layer is not None]

    def _check_ratio(self, unlabeled: int) -> None:
        ratio = next(iter(self.plan.settings.label_ratios), 1)
        if not self.plan.task.selected(unlabeled, ratio):
            raise UserError(f'dmt.label_ratios: {ratio} selects none of the {unlabeled} unlabeled images')

    def dataset(self, config: dict, key: str) -> Any:
        """Build the dataset of a config once: models often share their data."""
        mark = repr(config)
        if mark not in self._built:
            self._built[mark] = build_dataset(config, key, self.plan.task.check_pipeline)
        return self._built[mark]

    def _split(self, folder: Path) -> dict[str, dict[str, str]]:
        """List files of each model: labeled images by stage, and ``unlabeled`` ones; empty without a ``dmt.split``."""
        split, models = self.plan.settings.split, list(self.plan.settings.models)
        if split is None:
            return {model: {} for model in models}
        self._pool = self.dataset(self.plan.settings.labeled, 'dmt.labeled')
        lists = self._split_lists(split)
        if is_main_process():
            for name, images in lists.items():
                _write_list(folder / f'{name}.txt', images)
        barrier()
        own = {model: f'labeled_{model}' if f'labeled_{model}' in lists else 'labeled' for model in models}
        return {
            model: {
                'supervised': str(folder / f'{own[model]}.txt'),
                'semi': str(folder / 'labeled.txt'),
                'unlabeled': str(folder / 'unlabeled.txt'),
            }
            for model in models
        }

    def _split_lists(self, split: SplitSettings) -> dict[str, list[str]]:
        """Name -> lines, for each list file."""
        size = getattr(split, self.plan.task.split_size)
        labeled, unlabeled = self.plan.task.split(self._pool, size, split_id=split.split_id, seed=split.seed)
        if not unlabeled:
            key = f'dmt.split.{self.plan.task.split_size}={size}'
            raise UserError(f'{key} leaves none of the {len(self._pool)} images unlabeled')
        lists = {'unlabeled': unlabeled, 'labeled': labeled}
        if split.difference_maximised is not None:
            parts = difference_maximised_sampling(labeled, split.difference_maximised)
            lists.update(
                {f'labeled_{model}': part for model, part in zip(self.plan.settings.models, parts, strict=True)}
            )
        return lists

    def check(self) -> None:
        """Check data, pipelines, models and weights of all phases before the first step.

        Raises:
            FileNotFoundError, ValueError: if a check fails; names the file or key, the value found and what is allowed.
        """
        for resolved in self.phases.values():
            if resolved.steps and not self.plan.settings.supervised_checkpoint(resolved.phase):
                check_schedule(resolved.config.get('param_scheduler'), resolved.steps, resolved.phase.name)
        checked: set[str] = set()
        for model, data in self.models.items():
            self._check_model(model, data, checked)

    def _check_model(self, model: str, data: ModelData, checked: set[str]) -> None:
        """Check a model and its data; skip data in ``checked`` and add the rest to it."""
        task, key = self.plan.task, f'dmt.models.{model}'
        config, overrides = self.plan.configs[model][None], self.plan.settings.models[model]
        classes = self.plan.num_classes(model)
        built = check_model(config['model'], key)
        check_method(built, key, self.plan.settings.scheme)
        check_weights(config, key, overrides.get('weights_help', ''), built)
        supervised = overrides.get('supervised_checkpoint')
        if supervised:
            check_supervised(supervised, f'{key}.supervised_checkpoint', built)
        for title, name, dataset in self._labeled_sets(model, data):
            mark = repr((dataset, classes))
            if mark not in checked:
                checked.add(mark)
                counts = task.check_labeled(self.dataset(dataset, name), name, classes)
                self._check_names(self.dataset(dataset, name), name)
                self._note_classes(title, counts, classes)
        if repr(data) not in checked:
            checked.add(repr(data))
            self._check_training_data(data)
            self._check_overlap(model, data)
        if self._single:
            labeled = self.dataset(data.labeled['semi'], 'dmt.labeled')
            check_views(built, labeled, self.dataset(data.unlabeled, 'dmt.unlabeled'), data.train_pipeline)
        first = self.dataset(data.labeled['supervised'], 'dmt.labeled')
        if not self._single or 'inputs' in first[0]:  # not several views of a labeled image
            task.check_forward(built, first, key, classes)

    @property
    def _single(self) -> bool:
        """Whether a method trains in one phase, without labels on disk."""
        return self.plan.settings.scheme == 'single'

    def _labeled_sets(self, model: str, data: ModelData) -> Iterator[tuple[str, str, dict]]:
        """Title, config key and config of each labeled dataset of a model."""
        first, later = data.labeled['supervised'], data.labeled['semi']
        yield ('labeled' if first == later else f'labeled {model}, first phase'), 'dmt.labeled', first
        yield 'labeled', 'dmt.labeled', later
        config = self.plan.configs[model][None]
        for title in ('val', 'test'):
            dataset = (config.get(f'{title}_dataloader') or {}).get('dataset')
            if dataset is not None:
                yield title, f'{title}_dataloader.dataset', dataset

    def _check_names(self, dataset: Any, key: str) -> None:
        """Refuse classes of other names, or in another order, than those of the labeled images."""
        reference = self.dataset(next(iter(self.models.values())).labeled['semi'], 'dmt.labeled')
        expected, found = (item.metainfo.get('classes') for item in (reference, dataset))
        if expected is not None and found is not None and list(found) != list(expected):
            raise UserError(f'{key} has the classes {list(found)}, but dmt.labeled has {list(expected)}')

    def _check_overlap(self, model: str, data: ModelData) -> None:
        """Warn of images to validate or test with that the model learns from."""
        learned = {identity(path) for config in (*data.labeled.values(), data.unlabeled)
                   for path in image_paths(self.dataset(config, 'dmt.labeled'))}  # fmt: skip
        for title, name, config in self._labeled_sets(model, data):
            if title in ('val', 'test'):
                shared = [path for path in _known_paths(self.dataset(config, name)) if identity(path) in learned]
                if shared:
                    shown = ', '.join(shared[:3])
                    self._warn(f'{name} shares {len(shared)} of its images with the training images: {shown}')

    def _warn(self, warning: str) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)

    def _note_classes(self, title: str, counts: np.ndarray, classes: int) -> None:
        """Keep how often each class occurs, and warn of classes that cannot be learned."""
        if title in self.class_counts:  # of another model
            title = f'{title} ({len(self.class_counts) + 1})'
        self.class_counts[title] = counts[:classes].tolist()
        missing = [name for name, count in zip(self.class_names(classes), counts, strict=False) if not count]
        if missing and title.startswith('labeled'):
            self._warn(f'{title}: no label shows class {", ".join(missing)}, which cannot be learned')

    def class_names(self, classes: int) -> list[str]:
        """Names of the classes, or their indices."""
        labeled = self.dataset(next(iter(self.models.values())).labeled['semi'], 'dmt.labeled')
        return [str(name) for name in labeled.metainfo.get('classes') or range(classes)]

    def _check_training_data(self, data: ModelData) -> None:
        unlabeled = self.dataset(data.unlabeled, 'dmt.unlabeled')
        check_exist(unlabeled, 'dmt.unlabeled')
        check_once(image_paths(unlabeled), 'dmt.unlabeled')
        first, later = data.labeled['supervised'], data.labeled['semi']
        for config in [later] if first == later else [first, later]:
            labeled = self.dataset(config, 'dmt.labeled')
            check_once(image_paths(labeled), 'dmt.labeled')
            if not self._single:  # a method may learn from labeled images without their labels, too
                check_disjoint(image_paths(labeled), image_paths(unlabeled))
                self.plan.task.check_samples(labeled, unlabeled, data.label_pipeline, data.train_pipeline)
        check_images(unlabeled, data.train_pipeline if self._single else data.label_pipeline, 'dmt.unlabeled')

    def label_bytes(self, model: str) -> int:
        """Maximum size of the labels of one teacher, in bytes."""
        data = self.models[model]
        return self.plan.task.label_bytes(self.dataset(data.unlabeled, 'dmt.unlabeled'), data.label_pipeline)


def _pop_pipeline(dataset: dict) -> list:
    """Remove and return the pipeline of a dataset config; of a concatenation, that of the first part."""
    parts = dataset.get('datasets')
    if parts:
        pipelines = [_pop_pipeline(part) for part in parts]
        return pipelines[0]
    return dataset.pop('pipeline', [])


def _known_paths(dataset: Any) -> list[str]:
    """Paths of the images of a dataset, as far as it gives them."""
    infos = (dataset.get_data_info(idx) for idx in range(len(dataset)))
    return [info['img_path'] for info in infos if 'img_path' in info]


def _check_split(list_file: str | None, found: int, key: str) -> None:
    """Refuse a dataset that ignores its list file."""
    if list_file is not None and found != len(Path(list_file).read_text().split('\n')) - 1:
        raise UserError(f'dmt.split: the dataset type of dmt.{key} does not read its images from `ann_file`')


def _write_list(path: Path, names: list[str]) -> None:
    text = '\n'.join(names) + '\n'
    if path.is_file() and path.read_text() != text:
        raise UserError(
            f'{path} was created from another list of images than dmt.labeled has now: restore the data, or choose '
            'another --work-dir'
        )
    write_text(path, text)
