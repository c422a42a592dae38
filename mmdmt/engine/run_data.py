"""The data of a run: which images each model learns from, checked, and how long its phases are."""

import os
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import barrier, get_world_size, is_main_process

from mmdmt.core.schedule import Phase
from mmdmt.core.splits import difference_maximised_sampling, nested_split
from mmdmt.datasets.label_store import BYTES_PER_PIXEL
from mmdmt.datasets.unlabeled import UnlabeledDataset
from mmdmt.engine import checks
from mmdmt.engine.phase_config import ModelData, model_config, model_data, num_classes
from mmdmt.engine.settings import DMTSettings


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
        self.of: dict[str, ModelData] = {}
        self.sizes: dict[str, tuple[int, int]] = {}
        self._built: dict[str, Any] = {}

    def prepare(self, split_dir: Path) -> None:
        """Find the datasets of each model; the lists of a ``dmt.split`` are written into ``split_dir``.

        Raises:
            FileNotFoundError, ValueError: if the data is not there, or cannot be split as asked.
        """
        lists = self._split(split_dir)
        for model in self.settings.models:
            data = self.of[model] = model_data(self.settings, model, lists[model])
            self.sizes[model] = (
                len(self._dataset(data.labeled, 'dmt.labeled')),
                len(self._dataset(data.unlabeled, 'dmt.unlabeled')),
            )
            for key, size in zip(('labeled', 'unlabeled'), self.sizes[model], strict=True):
                _check_split(lists[model].get(key), size, key)

    def _dataset(self, config: dict, key: str) -> Any:
        """The dataset of a config, built once: most often, the models share their data."""
        mark = repr(config)
        if mark not in self._built:
            self._built[mark] = checks.build_dataset(config, key)
        return self._built[mark]

    def _split(self, folder: Path) -> dict[str, dict[str, str]]:
        """List files of each model, under ``labeled`` and ``unlabeled``; empty without a ``dmt.split``."""
        split, models = self.settings.split, list(self.settings.models)
        if split is None:
            return {model: {} for model in models}
        pool = checks.build_dataset(self.settings.labeled, 'dmt.labeled')
        if not hasattr(pool, 'img_suffix'):
            raise ValueError(f'dmt.split needs dmt.labeled to be one mmseg dataset, got {type(pool).__name__}')
        prefix = pool.data_prefix['img_path']
        names = [os.path.relpath(path, prefix)[: -len(pool.img_suffix)] for path in checks.image_paths(pool)]
        labeled, unlabeled = nested_split(names, split.ratio, split.split_id, split.seed)
        if not unlabeled:
            raise ValueError(f'dmt.split.ratio={split.ratio} leaves none of the {len(names)} images unlabeled')
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
        checked: set[str] = set()
        for model, data in self.of.items():
            config = model_config(self.cfg, self.settings, model)
            classes = num_classes(config['model'])
            built = checks.check_model(config['model'], f'dmt.models.{model}')
            weights_help = self.settings.models[model].get('weights_help', '')
            checks.check_weights(config, f'dmt.models.{model}', weights_help, built)
            validation = (config.get('val_dataloader') or {}).get('dataset')
            labeled_sets = {'dmt.labeled': data.labeled, 'val_dataloader.dataset': validation}
            for key, dataset_config in labeled_sets.items():
                mark = repr((dataset_config, classes))
                if dataset_config is not None and mark not in checked:
                    checked.add(mark)
                    checks.check_labeled(self._dataset(dataset_config, key), key, classes)
            if repr(data) not in checked:
                checked.add(repr(data))
                self._check_training_data(data, classes)

    def _check_training_data(self, data: ModelData, classes: int) -> None:
        labeled = self._dataset(data.labeled, 'dmt.labeled')
        unlabeled = self._dataset(data.unlabeled, 'dmt.unlabeled')
        checks.check_images(unlabeled, 'dmt.unlabeled')
        checks.check_disjoint(checks.image_paths(labeled), checks.image_paths(unlabeled))
        checks.check_pipeline(data.train_pipeline, 'dmt.unlabeled.pipeline')
        checks.check_sample(labeled, 'dmt.labeled')
        checks.check_unlabeled_sample(unlabeled, data.label_pipeline, data.train_pipeline, classes)

    def steps(self, phase: Phase) -> int:
        """Optimizer steps of a train phase."""
        labeled, unlabeled = self.sizes[phase.model]
        kind = self.settings.kind(phase)
        if kind.get('iters') is not None:
            return kind['iters']
        if phase.labels is None:
            loader = model_config(self.cfg, self.settings, phase.model, 'supervised')['train_dataloader']
            images, per_step = labeled, loader['batch_size']
        else:
            images, per_step = unlabeled, kind['unlabeled_per_batch']
        return max(1, -int(-kind['epochs'] * images // (per_step * get_world_size())))

    def label_bytes(self, model: str) -> int:
        """Bytes that the labels by one teacher take at most, from some of the images at the size they get labels."""
        data = self.of[model]
        dataset = UnlabeledDataset(self._dataset(data.unlabeled, 'dmt.unlabeled'), data.label_pipeline)
        looked_at = range(0, len(dataset), max(1, len(dataset) // 16))
        shapes = [dataset[idx]['data_samples'].ori_shape for idx in looked_at]
        return round(sum(height * width for height, width in shapes) / len(shapes) * len(dataset) * BYTES_PER_PIXEL)


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
