"""The data of a run: which images each model learns from, checked, and how long its phases are."""

import os
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import barrier, get_world_size, is_main_process

from mmdmt.core.schedule import Phase
from mmdmt.core.splits import difference_maximised_sampling
from mmdmt.datasets.checks import build_dataset, check_disjoint, check_images, image_paths
from mmdmt.engine.checks import (
    check_cut_mix,
    check_model,
    check_schedule,
    check_supervised,
    check_variant,
    check_weights,
)
from mmdmt.engine.phase_config import ModelData, model_config, model_data
from mmdmt.engine.settings import DMTSettings
from mmdmt.engine.task import task_of


class RunData:
    """Datasets of each model of a run.

    ``of`` holds the dataset configs by model, ``sizes`` the numbers of labeled and unlabeled images; both are there
    once :meth:`prepare` was called.

    Args:
        cfg: A DMT config.
        settings: Its ``dmt`` dict.
    """

    def __init__(self, cfg: Config, settings: DMTSettings) -> None:
        self.cfg = cfg
        self.settings = settings
        self.task = task_of(cfg)
        self.of: dict[str, ModelData] = {}
        self.sizes: dict[str, tuple[int, int]] = {}
        self._built: dict[str, Any] = {}
        self._pool: Any = None

    def prepare(self, split_dir: Path) -> None:
        """Find the datasets of each model; the lists of a ``dmt.split`` are written into ``split_dir``.

        Raises:
            FileNotFoundError, ValueError: if the data is not there, or cannot be split as asked.
        """
        lists = self._split(split_dir)
        for model in self.settings.models:
            listed = {key: self.task.listed(path, self._pool) for key, path in lists[model].items()}
            data = self.of[model] = model_data(self.settings, model, listed)
            self.sizes[model] = (
                len(self._dataset(data.labeled, 'dmt.labeled')),
                len(self._dataset(data.unlabeled, 'dmt.unlabeled')),
            )
            for key, size in zip(('labeled', 'unlabeled'), self.sizes[model], strict=True):
                _check_split(lists[model].get(key), size, key)
            self._check_ratio(self.sizes[model][1])

    def _check_ratio(self, unlabeled: int) -> None:
        ratio = next(iter(self.settings.label_ratios), 1)
        if not self.task.selected(unlabeled, ratio):
            raise ValueError(f'dmt.label_ratios: {ratio} selects none of the {unlabeled} unlabeled images')

    def _dataset(self, config: dict, key: str) -> Any:
        """The dataset of a config, built once: most often, the models share their data."""
        mark = repr(config)
        if mark not in self._built:
            self._built[mark] = build_dataset(config, key, self.task.check_pipeline)
        return self._built[mark]

    def _split(self, folder: Path) -> dict[str, dict[str, str]]:
        """List files of each model, under ``labeled`` and ``unlabeled``; empty without a ``dmt.split``."""
        split, models = self.settings.split, list(self.settings.models)
        if split is None:
            return {model: {} for model in models}
        pool = self._pool = self._dataset(self.settings.labeled, 'dmt.labeled')
        labeled, unlabeled = self.task.split(
            pool, getattr(split, self.task.split_size), split_id=split.split_id, seed=split.seed
        )
        if not unlabeled:
            size = f'dmt.split.{self.task.split_size}={getattr(split, self.task.split_size)}'
            raise ValueError(f'{size} leaves none of the {len(pool)} images unlabeled')
        lists = {'unlabeled': unlabeled}
        if split.difference_maximised is None:
            lists['labeled'] = labeled
        else:
            parts = difference_maximised_sampling(labeled, split.difference_maximised)
            lists.update({f'labeled_{model}': part for model, part in zip(models, parts, strict=True)})
        if is_main_process():
            for name, images in lists.items():
                _write_list(folder / f'{name}.txt', images)
        barrier()
        own = {model: 'labeled' if 'labeled' in lists else f'labeled_{model}' for model in models}
        return {
            model: {'labeled': str(folder / f'{own[model]}.txt'), 'unlabeled': str(folder / 'unlabeled.txt')}
            for model in models
        }

    def check(self) -> None:
        """Check data, pipelines, models and weights of all phases, before the first step of any.

        Raises:
            FileNotFoundError, ValueError: naming the file or key, the value found and what is allowed.
        """
        for phase in self.settings.phases():
            if phase.kind == 'train' and not self.settings.supervised_checkpoint(phase):
                kind = 'supervised' if phase.supervised else 'semi'
                config = model_config(self.cfg, self.settings, phase.model, kind)
                check_schedule(config.get('param_scheduler'), self.steps(phase), phase.name)
                if not phase.supervised:
                    check_cut_mix(config['model'], self.settings.kind(phase)['unlabeled_per_batch'])
        checked: set[str] = set()
        for model, data in self.of.items():
            config = model_config(self.cfg, self.settings, model)
            classes = self.task.num_classes(config['model'])
            built = check_model(config['model'], f'dmt.models.{model}')
            check_variant(built, f'dmt.models.{model}', self.settings.scheme)
            weights_help = self.settings.models[model].get('weights_help', '')
            check_weights(config, f'dmt.models.{model}', weights_help, built)
            supervised = self.settings.models[model].get('supervised_checkpoint')
            if supervised:
                check_supervised(supervised, f'dmt.models.{model}.supervised_checkpoint', built)
            validation = (config.get('val_dataloader') or {}).get('dataset')
            labeled_sets = {'dmt.labeled': data.labeled, 'val_dataloader.dataset': validation}
            for key, dataset_config in labeled_sets.items():
                mark = repr((dataset_config, classes))
                if dataset_config is not None and mark not in checked:
                    checked.add(mark)
                    self.task.check_labeled(self._dataset(dataset_config, key), key, classes)
            if repr(data) not in checked:
                checked.add(repr(data))
                self._check_training_data(data, classes)
            self.task.check_forward(built, self._dataset(data.labeled, 'dmt.labeled'), f'dmt.models.{model}', classes)

    def _check_training_data(self, data: ModelData, classes: int) -> None:
        labeled = self._dataset(data.labeled, 'dmt.labeled')
        unlabeled = self._dataset(data.unlabeled, 'dmt.unlabeled')
        check_images(unlabeled, 'dmt.unlabeled')
        check_disjoint(image_paths(labeled), image_paths(unlabeled))
        self.task.check_samples(labeled, unlabeled, data.label_pipeline, data.train_pipeline, classes)

    def steps(self, phase: Phase, kept: int | None = None) -> int:
        """Optimizer steps of a train phase; ``kept`` is how many images its labels select, once that is known."""
        labeled, unlabeled = self.sizes[phase.model]
        kind = self.settings.kind(phase)
        if kind.get('iters') is not None:
            return kind['iters']
        if phase.supervised:
            loader = model_config(self.cfg, self.settings, phase.model, 'supervised')['train_dataloader']
            images, per_step = labeled, loader['batch_size']
        else:
            images = kept if kept is not None else self.task.selected(unlabeled, phase.label_ratio or 1)
            per_step = kind['unlabeled_per_batch']
        return max(1, -int(-kind['epochs'] * images // (per_step * get_world_size())))

    def label_bytes(self, model: str) -> int:
        """Bytes that the labels by one teacher take at most."""
        data = self.of[model]
        return self.task.label_bytes(self._dataset(data.unlabeled, 'dmt.unlabeled'), data.label_pipeline)


def _check_split(list_file: str | None, found: int, key: str) -> None:
    """Refuse a dataset that does not follow the list it was given."""
    if list_file is not None and found != len(Path(list_file).read_text().split('\n')) - 1:
        raise ValueError(f'dmt.split: the dataset type of dmt.{key} does not read its images from `ann_file`')


def _write_list(path: Path, names: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = '\n'.join(names) + '\n'
    if path.is_file() and path.read_text() != text:
        raise ValueError(
            f'{path} was made from another list of images than dmt.labeled has now: restore the data, or choose '
            'another --work-dir'
        )
    temporary = path.with_suffix(f'.{os.getpid()}.tmp')
    temporary.write_text(text)
    os.replace(temporary, path)
