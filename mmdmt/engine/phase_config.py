"""Deriving the ordinary config of a phase, and of the final model, from a DMT config."""

import copy
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmdmt.core.schedule import Phase
from mmdmt.engine.settings import OVERRIDES, DMTSettings, merge
from mmdmt.engine.task import Task, task_of

# The two datasets of a phase may be of different types (own images next to a public set): their classes need not match.
DATASET_META = ['classes', 'palette', 'label_map', 'reduce_zero_label']


@dataclass(frozen=True)
class ModelData:
    """Dataset configs of one model: labeled and unlabeled ones, without and with training pipeline, and to label."""

    labeled: dict
    unlabeled: dict
    train_pipeline: list
    label_pipeline: list


def model_data(settings: DMTSettings, model: str, listed: Mapping[str, Mapping]) -> ModelData:
    """Datasets of ``model``; ``listed`` has what a split adds to ``labeled`` and ``unlabeled``."""
    overrides = settings.models[model]
    labeled, unlabeled = (
        merge(getattr(settings, name), {**overrides.get(name, {}), **listed.get(name, {})})
        for name in ('labeled', 'unlabeled')
    )
    pipeline = pop_pipeline(unlabeled)
    return ModelData(labeled, unlabeled, pipeline, overrides.get('label_pipeline', settings.label_pipeline))


def pop_pipeline(dataset: dict) -> list:
    """Take the pipeline out of a dataset config, or out of the parts of a concatenation (the first one's counts)."""
    parts = dataset.get('datasets')
    if parts:
        pipelines = [pop_pipeline(part) for part in parts]
        return pipelines[0]
    return dataset.pop('pipeline', [])


def model_config(cfg: Config, settings: DMTSettings, model: str, kind: str | None = None) -> dict:
    """The config as ``model`` sees it, without what belongs to the run as a whole.

    Merged over the config, the later going first: ``dmt.KIND`` (``supervised`` or ``semi``; neither for other uses),
    ``dmt.models.MODEL``, ``dmt.models.MODEL.KIND``.
    """
    own = settings.models[model]
    layers = [own] if kind is None else [getattr(settings, kind), own, own.get(kind, {})]
    result = {key: value for key, value in cfg.to_dict().items() if key not in ('dmt', 'runner_type')}
    for layer in layers:
        if 'type' in layer.get('model', {}):  # another model, not a change of this one
            result.pop('model')
        result = merge(result, {key: value for key, value in layer.items() if key in OVERRIDES})
    return result


def train_config(
    cfg: Config,
    settings: DMTSettings,
    phase: Phase,
    data: ModelData,
    *,
    work_dir: Path,
    max_iters: int,
    label_dir: Path | None,
    init: Path | None,
) -> Config:
    """Ordinary config of a train phase of ``max_iters`` steps.

    ``label_dir`` is the label store of its pseudo labels, None for a phase without; ``init`` the checkpoint it goes on
    from, None for one that starts from the model's own weights.
    """
    result = model_config(cfg, settings, phase.model, 'supervised' if phase.supervised else 'semi')
    loader = result['train_dataloader']
    if phase.supervised:
        loader.update(dataset=data.labeled, sampler=dict(type='InfiniteSampler', shuffle=True))
    else:
        kind = settings.kind(phase)
        counts = dict(labeled=kind['labeled_per_batch'], unlabeled=kind['unlabeled_per_batch'])
        pseudo: dict[str, Any] = dict(type='OnlineLabelDataset', dataset=data.unlabeled, pipeline=data.train_pipeline)
        if label_dir is not None:
            pseudo.update(
                type='PseudoLabelDataset',
                label_dir=str(label_dir),
                label_ratio=phase.label_ratio,
                ranking=settings.ranking,
            )
        loader.update(
            dataset=dict(type='ConcatDataset', datasets=[data.labeled, pseudo], ignore_keys=DATASET_META),
            sampler=dict(type='LabeledUnlabeledSampler', **counts),
            batch_size=sum(counts.values()),
        )
    if init is not None:
        result['load_from'] = str(init)
        result['model'] = without_pretrained(result['model'])
    _set_length(result, max_iters, settings, cfg.get('train_cfg') or {})
    result.update(test_dataloader=None, test_cfg=None, test_evaluator=None)
    return _finish(result, phase, work_dir)


def _set_length(result: dict, max_iters: int, settings: DMTSettings, base_loop: Mapping) -> None:
    """Make a phase ``max_iters`` steps long: its loop, the schedulers that last to the end, and its checkpoints."""
    loop = result.get('train_cfg') or {}
    interval = loop.get('val_interval', max_iters)
    if settings.select == 'val':
        interval = min(interval, max(1, max_iters // 10))
    result['train_cfg'] = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=min(interval, max_iters))
    schedulers = result.get('param_scheduler') or []
    for scheduler in [schedulers] if isinstance(schedulers, dict) else schedulers:
        full = (None, loop.get('max_iters'), base_loop.get('max_iters'))
        for key in {'end', 'T_max', 'total_steps'} & {*scheduler, 'end'}:
            if scheduler.get(key) in full:
                scheduler[key] = max_iters
    checkpoint = result.setdefault('default_hooks', {}).setdefault('checkpoint', dict(type='CheckpointHook'))
    # A killed run loses at most a quarter of a phase, however short it is.
    interval = min(checkpoint.get('interval', 1000), max(1, max_iters // 4))
    # Gradients accumulated so far are not in a checkpoint: it is written right after an update.
    accumulated = (result.get('optim_wrapper') or {}).get('accumulative_counts', 1)
    checkpoint['interval'] = interval + -interval % accumulated
    # The hook deletes an old checkpoint before it writes the new one: with two, one is always whole.
    checkpoint.update(by_epoch=False, save_last=True, max_keep_ckpts=max(2, checkpoint.get('max_keep_ckpts', 2)))
    if settings.select == 'val':
        checkpoint['save_best'] = settings.metric


def label_config(
    cfg: Config,
    settings: DMTSettings,
    phase: Phase,
    data: ModelData,
    *,
    work_dir: Path,
    label_dir: Path,
    teacher: Path,
) -> Config:
    """Ordinary config of a label phase: a test run of ``teacher`` whose metric writes pseudo labels."""
    result = model_config(cfg, settings, phase.model)
    task = task_of(cfg)
    loader = result['test_dataloader']
    loader.update(
        dataset=dict(type='UnlabeledDataset', dataset=data.unlabeled, pipeline=data.label_pipeline),
        sampler=dict(type='UnfinishedSampler', label_dir=str(label_dir), store=task.store),
    )
    result.update(
        model=without_pretrained(result['model']),
        load_from=str(teacher),
        test_evaluator=dict(
            **task.writer(settings, model_config(cfg, settings, phase.model, 'semi')['model']),
            label_dir=str(label_dir),
            label_ratio=phase.label_ratio,
            num_classes=task.num_classes(result['model']),
        ),
        custom_hooks=[],
    )
    result['default_hooks'] = {
        name: hook for name, hook in result.get('default_hooks', {}).items() if name in ('timer', 'logger')
    }
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler', 'auto_scale_lr'):
        result[key] = None
    result.update(val_dataloader=None, val_cfg=None, val_evaluator=None)
    # Images come in many sizes, and cudnn would try all its algorithms for each of them.
    result['env_cfg'] = {**(result.get('env_cfg') or {}), 'cudnn_benchmark': False}
    return _finish(result, phase, work_dir)


def _finish(result: dict, phase: Phase, work_dir: Path) -> Config:
    seed = (result.get('randomness') or {}).get('seed')
    if seed is not None:
        result['randomness']['seed'] = phase_seed(seed, phase.name)
    result.update(work_dir=str(work_dir), experiment_name=phase.name, resume=False)
    if result.get('visualizer'):
        result['visualizer']['name'] = f'visualizer_{work_dir}'  # instances are found by name: each phase its own
    _end_workers(result)
    # The name under which mmengine dumps the config; without a text it would look for such a file. Each checkpoint
    # holds the config as text, and yapf takes seconds to lay out a long one.
    return Config(result, cfg_text=f'# {phase.name}', filename=f'{phase.name}.py', format_python_code=False)


def _end_workers(result: dict) -> None:
    """Let no loader without workers say that they persist: torch refuses it, and mmpretrain's train tool says it."""
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = result.get(key)
        if loader and not loader.get('num_workers'):
            loader['persistent_workers'] = False


def final_config(cfg: Config, settings: DMTSettings, model: str) -> Config:
    """Config of ``model`` for the stock tools: no DMT in it, the stock model and loss in place of ours."""
    result = model_config(cfg, settings, model)
    result['model'] = without_pretrained(_stock(result['model'], task_of(cfg)))
    for key in _TRAINING_KEYS:
        result.pop(key, None)
    _end_workers(result)
    # Where everything in the config is stock, it works without this package.
    result.setdefault('custom_imports', {})['allow_failed_imports'] = True
    return Config(result)


_TRAINING_KEYS = (
    'load_from resume launcher work_dir randomness train_dataloader train_cfg optim_wrapper param_scheduler '
    'auto_scale_lr custom_hooks'.split()
)


def phase_seed(seed: int, name: str) -> int:
    """Seed of a phase: another one for each, the same in each run."""
    return zlib.crc32(f'{seed} {name}'.encode()) % 2**31


def without_pretrained(node: Any) -> Any:
    """A copy of a model config that loads no weights of its own."""
    if isinstance(node, Mapping):
        if node.get('type') == 'Pretrained':
            return None
        return {key: None if key == 'pretrained' else without_pretrained(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return type(node)(without_pretrained(item) for item in node)
    return copy.deepcopy(node)


def dicts_of_type(node: Any, kind: str) -> Iterator[dict]:
    """All dicts in a config whose ``type`` is ``kind``."""
    if isinstance(node, Mapping):
        if node.get('type') == kind:
            yield node  # type: ignore[misc]
        node = node.values()
    elif not isinstance(node, list | tuple):
        return
    for value in node:
        yield from dicts_of_type(value, kind)


def _stock(node: Any, task: Task) -> Any:
    if isinstance(node, Mapping):
        stock = task.stock_types.get(node.get('type', ''))
        if node.get('type') == 'DynamicMutualLoss':
            kept = {key: node[key] for key in ('class_weight', 'loss_weight') if key in node}
            return {**(stock or {}), **kept}
        own = task.own_arguments if stock else frozenset()
        result = {key: _stock(value, task) for key, value in node.items() if key not in own}
        return {**result, **(stock or {})}
    if isinstance(node, list | tuple):
        return type(node)(_stock(item, task) for item in node)
    return node
