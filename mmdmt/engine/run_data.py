"""The data of a run: the images of each model, and the phases, resolved with these images and checked."""

import logging
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.dist import barrier, is_main_process
from mmengine.logging import print_log

from mmdmt.config_dicts import merge_all
from mmdmt.core.schedule import Phase
from mmdmt.core.splits import difference_maximised_sampling
from mmdmt.datasets.building import build_dataset
from mmdmt.datasets.image_checks import first_sample
from mmdmt.datasets.left_out import doubts
from mmdmt.datasets.reading import CheckedFiles
from mmdmt.engine.from_stock import not_repeated
from mmdmt.engine.held_out import hold_out
from mmdmt.engine.model_checks import (
    check_method,
    check_model,
    check_optimizer,
    check_schedule,
    check_served,
    check_supervised,
    check_views,
    check_weights,
)
from mmdmt.engine.phase_checks import check_label_pipeline, check_phase, too_many_workers
from mmdmt.engine.phase_config import ModelData, ResolvedPhase, resolve
from mmdmt.engine.phase_length import short_phases
from mmdmt.engine.plan import RunPlan
from mmdmt.engine.set_checks import SetChecks
from mmdmt.engine.settings import STAGES, SplitSettings, Stage
from mmdmt.errors import UserError, listed
from mmdmt.files import read_json, write_json, write_text


class RunData:
    """Datasets of each model of a run, and its resolved phases.

    :meth:`prepare` fills ``models`` (model -> data) and ``phases`` (name -> resolved phase). :meth:`check` fills
    ``warnings``; ``sets`` then knows the classes of each set of images, ``files`` what was read, and
    ``weight_bytes`` the size of each model's weights.

    Args:
        plan: The run.
        work_dir: Its work dir.
    """

    def __init__(self, plan: RunPlan, work_dir: Path) -> None:
        self.plan, self.work_dir = plan, work_dir
        self.models: dict[str, ModelData] = {}
        self.phases: dict[str, ResolvedPhase] = {}
        self.files = CheckedFiles(work_dir / 'checked_files.json')
        self.sets = SetChecks(plan, self.models, self.files, self.dataset, self._warn)
        self.warnings: list[str] = []
        self.weight_bytes: dict[str, int] = {}
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
        if self.plan.settings.select == 'holdout':
            held, names = hold_out(self.plan, self.models, lambda config: self.dataset(config, 'dmt.labeled'))
            self.models.update(held)
            if is_main_process():
                _write_lists(split_dir, {'holdout': '\n'.join(names) + '\n'})
            barrier()
        self.phases = {phase.name: self._resolve(phase) for phase in self.plan.phases}

    def _resolve(self, phase: Phase) -> ResolvedPhase:
        try:
            return resolve(self.plan, phase, self.models[phase.model], self.work_dir)
        except UserError:
            raise
        except (TypeError, AttributeError, KeyError, IndexError, ValueError, ZeroDivisionError) as error:
            raise UserError(
                f'the config of phase {phase.name} cannot be derived ({type(error).__name__}: {error}): look at the '
                'types of train_cfg, param_scheduler, default_hooks and optim_wrapper'
            ) from error

    def _model_data(self, model: str, lists: Mapping[str, str]) -> ModelData:
        task = self.plan.task
        labeled = {stage: not_repeated(merge_all(self._layers(model, stage, 'labeled'))) for stage in STAGES}
        unlabeled = not_repeated(merge_all(self._layers(model, 'semi', 'unlabeled')))
        if 'unlabeled' in lists:
            _check_same_images(labeled['semi'], unlabeled)
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
        self._pool = self.dataset(not_repeated(self.plan.settings.labeled), 'dmt.labeled')
        for line in doubts(self._pool):  # the lists that are drawn from it have none
            self._warn(f'dmt.labeled: {line}')
        lists = self._split_lists(split)
        if is_main_process():
            _write_lists(folder, {name: '\n'.join(images) + '\n' for name, images in lists.items()})
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
        try:
            labeled, unlabeled = self.plan.task.split(self._pool, size, split_id=split.split_id, seed=split.seed)
        except UserError:
            raise
        except ValueError as error:
            raise UserError(f'dmt.split: {error}') from None
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
            MissingFileError, UserError: if a check fails; names the file or key, the value found and what is allowed.
        """
        self.check_phases()
        configs = [resolved.config for resolved in self.phases.values()]
        for warning in (*short_phases(self.plan.settings, self.phases.values()), *too_many_workers(configs)):
            self._warn(warning)
        for model, data in self.models.items():
            self._check_model(model, data)
        for key, images in self.files.changed.items():
            self._warn(
                f'{key}: {len(images)} of its images, or their masks, are new or have changed since the run began: '
                f'{listed(images, 3)}. Phases before and after that have not had the same data'
            )

    def check_phases(self) -> None:
        """Check hooks, loops, loaders, optimizers and schedulers of all phases, without their data and models.

        Raises:
            UserError: naming the phase, the key, the value and what is allowed.
        """
        for resolved in self.phases.values():
            check_phase(resolved.config, resolved.steps, resolved.phase.name)
            if resolved.steps and not self.plan.settings.supervised_checkpoint(resolved.phase):
                check_optimizer(resolved.config.get('optim_wrapper'), resolved.phase.name)
                check_schedule(resolved.config.get('param_scheduler'), resolved.steps, resolved.phase.name)

    def _check_model(self, model: str, data: ModelData) -> None:
        """Check a model and its data."""
        task, key = self.plan.task, f'dmt.models.{model}'
        config, overrides = self.plan.configs[model][None], self.plan.settings.models[model]
        classes = self.plan.num_classes(model)
        built = check_model(config['model'], key)
        if not self._single:
            check_served(built, key)
        self.weight_bytes[model] = sum(value.nbytes for value in built.state_dict().values())
        check_method(built, key, self.plan.settings.scheme)
        check_weights(config, key, overrides.get('weights_help', ''), built)
        supervised = overrides.get('supervised_checkpoint')
        if supervised:
            check_supervised(supervised, f'{key}.supervised_checkpoint', built)
        check_label_pipeline(data.label_pipeline, 'dmt.label_pipeline')
        self.sets.check(model)
        if self._single:
            labeled = self.dataset(data.labeled['semi'], 'dmt.labeled')
            check_views(built, labeled, self.dataset(data.unlabeled, 'dmt.unlabeled'), data.train_pipeline)
        first = self.dataset(data.labeled['supervised'], 'dmt.labeled')
        if not self._single or 'inputs' in first_sample(first, 'dmt.labeled'):  # not several views of a labeled image
            task.check_forward(built, first, key, classes)

    @property
    def _single(self) -> bool:
        """Whether a method trains in one phase, without labels on disk."""
        return self.plan.settings.scheme == 'single'

    def _warn(self, warning: str) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)

    def list_family(self, model: str) -> tuple[str, str] | None:
        """Family of published lists that the labeled images of a model are of, empty for none, and a sentence."""
        data = self.models[model]
        return self.plan.task.list_family(
            self.dataset(data.labeled['semi'], 'dmt.labeled'), self.dataset(data.unlabeled, 'dmt.unlabeled')
        )

    def label_bytes(self, model: str) -> int:
        """Maximum size of the labels of one teacher, in bytes."""
        data = self.models[model]
        return self.plan.task.label_bytes(self.dataset(data.unlabeled, 'dmt.unlabeled'), data.label_pipeline)


def _pop_pipeline(dataset: dict) -> list:
    """Remove and return the pipeline of a dataset config; of a combination, that of the first part."""
    if 'pipeline' not in dataset and isinstance(dataset.get('dataset'), dict):
        return _pop_pipeline(dataset['dataset'])
    parts = dataset.get('datasets')
    if parts:
        pipelines = [_pop_pipeline(part) for part in parts]
        return pipelines[0]
    return dataset.pop('pipeline', [])


def _check_same_images(labeled: Mapping, unlabeled: Mapping) -> None:
    """Refuse unlabeled images of another place or list than the labeled ones, from whose names a split draws them."""
    found, expected = _place(unlabeled), _place(labeled)
    for name, value in found.items():
        if name == 'ann_file' and (name not in unlabeled or _list_path(unlabeled) == _list_path(labeled)):
            continue  # the split replaces it
        if value != expected[name]:
            raise UserError(
                f'dmt.split draws the unlabeled images from dmt.labeled, but dmt.unlabeled.{name} is {value!r} in '
                f'place of {expected[name]!r}: remove dmt.split if dmt.unlabeled has images of its own, or make '
                'dmt.unlabeled the data set of dmt.labeled'
            )


def _place(config: Mapping) -> dict[str, Any]:
    """The keys of a dataset config that say where its images are."""
    prefix = config.get('data_prefix')
    images = prefix.get('img_path') if isinstance(prefix, Mapping) else prefix
    return dict(
        data_root=config.get('data_root'),
        data_prefix=images,
        subset=config.get('subset'),
        ann_file=config.get('ann_file') or '',
    )


def _list_path(config: Mapping) -> str:
    found = config.get('ann_file')
    return os.path.abspath(os.path.join(config.get('data_root') or '', found)) if found else ''


def _check_split(list_file: str | None, found: int, key: str) -> None:
    """Refuse a dataset that ignores its list file."""
    if list_file is not None and found != len(Path(list_file).read_text().split('\n')) - 1:
        raise UserError(f'dmt.split: the dataset type of dmt.{key} does not read its images from `ann_file`')


def _write_lists(folder: Path, texts: Mapping[str, str]) -> None:
    """Write list files; one that is damaged, but shall hold what it held, is written anew."""
    sums = {name: zlib.crc32(text.encode()) for name, text in texts.items()}
    own = folder.with_name(f'{folder.name}.json')
    known = read_json(own) or {}
    for name, text in texts.items():
        path = folder / f'{name}.txt'
        if path.is_file() and path.read_bytes() != text.encode():
            if known.get(name) != sums[name]:
                raise UserError(
                    f'{path} was created from another list of images than dmt.labeled has now: restore the data, or '
                    'choose another --work-dir'
                )
            print_log(f'{path} was damaged or changed; it is written anew', 'current', logging.WARNING)
        write_text(path, text)
    if {**known, **sums} != known:
        write_json(own, {**known, **sums})
