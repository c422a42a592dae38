"""Derives the ordinary config of a phase, and of the final model, from a DMT config."""

import copy
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import get_world_size

from mmdmt.config_dicts import stock_model, without_pretrained
from mmdmt.core.schedule import Phase
from mmdmt.engine.plan import RunPlan
from mmdmt.engine.settings import DMTSettings, Stage, stage_of
from mmdmt.engine.task import Task

# A phase may combine datasets of different types (own images and a public set), so their classes need not match.
DATASET_META = ['classes', 'palette', 'label_map', 'reduce_zero_label']


@dataclass(frozen=True)
class ModelData:
    """Dataset configs of one model, with their numbers of images, and pipelines.

    Labeled images depend on the stage: the first phase of a model may use only a part of them. ``train_pipeline`` loads
    the unlabeled images for training, ``label_pipeline`` for labeling.
    """

    labeled: Mapping[Stage, dict]
    unlabeled: dict
    train_pipeline: list
    label_pipeline: list
    num_labeled: Mapping[Stage, int]
    num_unlabeled: int


@dataclass(frozen=True)
class ResolvedPhase:
    """A phase with everything known about it before the run starts; checked, then only read.

    ``config``: ordinary config, complete except for ``load_from`` if the phase starts from another phase's checkpoint.
    ``steps``: optimizer steps of a train phase, 0 for a label phase.
    ``data``: datasets of its model.
    """

    phase: Phase
    config: Config
    steps: int
    data: ModelData


def resolve(plan: RunPlan, phase: Phase, data: ModelData, work_dir: Path) -> ResolvedPhase:
    """Resolve a phase of a run in ``work_dir``.

    Args:
        plan: The run.
        phase: One of its phases.
        data: Datasets of its model.
        work_dir: Work dir of the run; it contains the folders of the phase and of its labels.
    """
    if phase.kind == 'label':
        return ResolvedPhase(phase, _label_config(plan, phase, data, work_dir), 0, data)
    steps = _steps(plan, phase, data)
    return ResolvedPhase(phase, _train_config(plan, phase, data, work_dir, steps), steps, data)


def final_config(plan: RunPlan, model: str) -> Config:
    """Config of ``model`` for the stock tools: without DMT or method, with the stock model and loss instead of ours."""
    result = copy.deepcopy(plan.configs[model][None])
    result['model'] = without_pretrained(_stock(stock_model(result['model']), plan.task))
    for key in _TRAINING_KEYS:
        result.pop(key, None)
    _end_workers(result)
    # A config with stock types only works without this package.
    result.setdefault('custom_imports', {})['allow_failed_imports'] = True
    return Config(result)


_TRAINING_KEYS = (
    'load_from resume launcher work_dir randomness train_dataloader train_cfg optim_wrapper param_scheduler '
    'auto_scale_lr custom_hooks'.split()
)


def phase_seed(seed: int, name: str) -> int:
    """Seed of a phase: different for each phase, the same in each run."""
    return zlib.crc32(f'{seed} {name}'.encode()) % 2**31


def _steps(plan: RunPlan, phase: Phase, data: ModelData) -> int:
    stage = plan.settings.stage(phase)
    if stage.get('iters') is not None:
        return stage['iters']
    if phase.supervised:
        images = data.num_labeled['supervised']
        per_step = plan.configs[phase.model]['supervised']['train_dataloader']['batch_size']
    else:
        images = plan.task.selected(data.num_unlabeled, phase.label_ratio or 1)
        per_step = stage['unlabeled_per_batch']
    return max(1, -int(-stage['epochs'] * images // (per_step * get_world_size())))


def _train_config(plan: RunPlan, phase: Phase, data: ModelData, work_dir: Path, steps: int) -> Config:
    result = copy.deepcopy(plan.configs[phase.model][stage_of(phase)])
    loader = result['train_dataloader']
    if phase.supervised:
        loader.update(dataset=data.labeled['supervised'], sampler=dict(type='InfiniteSampler', shuffle=True))
    else:
        stage = plan.settings.stage(phase)
        counts = dict(labeled=stage['labeled_per_batch'], unlabeled=stage['unlabeled_per_batch'])
        unlabeled = _unlabeled(plan.settings, phase, data, work_dir)
        loader.update(
            dataset=dict(type='ConcatDataset', datasets=[data.labeled['semi'], unlabeled], ignore_keys=DATASET_META),
            sampler=dict(type='LabeledUnlabeledSampler', **counts),
            batch_size=sum(counts.values()),
        )
        if phase.labels is None:
            loader['collate_fn'] = dict(type='collate_views')
    if phase.init is not None:
        result['load_from'] = None  # known when that phase is complete
        result['model'] = without_pretrained(result['model'])
    _set_length(result, steps, plan.settings, plan.cfg.get('train_cfg') or {})
    result.update(test_dataloader=None, test_cfg=None, test_evaluator=None)
    result['custom_hooks'] = [
        *(result.get('custom_hooks') or []),
        dict(type='ProgressHook'),
        dict(type='FiniteLossHook', phase=phase.name),
        _commit_hook(plan.settings, phase, labeled=data.num_labeled[stage_of(phase)]),
    ]
    return _finish(result, phase, work_dir)


def _unlabeled(settings: DMTSettings, phase: Phase, data: ModelData, work_dir: Path) -> dict[str, Any]:
    common = dict(dataset=data.unlabeled, pipeline=data.train_pipeline)
    if phase.labels is None:
        return dict(type='UnlabeledDataset', **common)
    return dict(
        type='PseudoLabelDataset',
        label_dir=str(work_dir / phase.labels),
        label_ratio=phase.label_ratio,
        ranking=settings.ranking,
        **common,
    )


def _label_config(plan: RunPlan, phase: Phase, data: ModelData, work_dir: Path) -> Config:
    """Config of a test run of the teacher; its metric writes the pseudo labels."""
    result, label_dir = copy.deepcopy(plan.configs[phase.model][None]), str(work_dir / phase.name)
    result['test_dataloader'] = result.get('test_dataloader') or dict(batch_size=1, num_workers=2)
    result['test_cfg'] = result.get('test_cfg') or {}
    result['test_dataloader'].update(
        dataset=dict(type='UnlabeledDataset', dataset=data.unlabeled, pipeline=data.label_pipeline),
        sampler=dict(type='UnfinishedSampler', label_dir=label_dir, store=plan.task.store),
    )
    result.update(
        model=without_pretrained(result['model']),
        load_from=None,
        test_evaluator=dict(
            **plan.task.writer(plan.settings),
            label_dir=label_dir,
            label_ratio=phase.label_ratio,
            num_classes=plan.num_classes(phase.model),
        ),
        custom_hooks=[_commit_hook(plan.settings, phase)],
    )
    result['default_hooks'] = {
        name: hook for name, hook in result.get('default_hooks', {}).items() if name in ('timer', 'logger')
    }
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler', 'auto_scale_lr'):
        result[key] = None
    result.update(val_dataloader=None, val_cfg=None, val_evaluator=None)
    # Images have many sizes, and cudnn would benchmark its algorithms for each size.
    result['env_cfg'] = {**(result.get('env_cfg') or {}), 'cudnn_benchmark': False}
    return _finish(result, phase, work_dir)


def _commit_hook(settings: DMTSettings, phase: Phase, **figures: int) -> dict[str, Any]:
    return dict(
        type='DMTHook',
        phase=phase.name,
        model=phase.model,
        metric=settings.metric,
        select=settings.select,
        figures=figures,
    )


def _set_length(result: dict, steps: int, settings: DMTSettings, base_loop: Mapping) -> None:
    """Set the length of a phase: its loop, the schedulers that last to the end, and its checkpoints."""
    loop = result.get('train_cfg') or {}
    interval = loop.get('val_interval', steps)
    if settings.select == 'val':
        interval = min(interval, max(1, steps // 10))
    result['train_cfg'] = dict(type='IterBasedTrainLoop', max_iters=steps, val_interval=min(interval, steps))
    for scheduler in schedulers_of(result):
        full = (None, loop.get('max_iters'), base_loop.get('max_iters'))
        for key in {'end', 'T_max', 'total_steps'} & {*scheduler, 'end'}:
            if scheduler.get(key) in full:
                scheduler[key] = steps
    checkpoint = result.setdefault('default_hooks', {}).setdefault('checkpoint', dict(type='CheckpointHook'))
    # A killed run loses at most a quarter of a phase, however short it is.
    interval = min(checkpoint.get('interval', 1000), max(1, steps // 4))
    # A checkpoint does not contain accumulated gradients, so it is written right after an update.
    accumulated = (result.get('optim_wrapper') or {}).get('accumulative_counts', 1)
    checkpoint['interval'] = interval + -interval % accumulated
    # The hook deletes an old checkpoint before it writes the new one. With two, one is always complete.
    checkpoint.update(by_epoch=False, save_last=True, max_keep_ckpts=max(2, checkpoint.get('max_keep_ckpts', 2)))
    if settings.select == 'val':
        checkpoint['save_best'] = settings.metric


def schedulers_of(config: Mapping) -> list[dict]:
    """All schedulers of a config: one, a list, or such for each of several optimizers by name."""
    found = config.get('param_scheduler') or []
    if isinstance(found, Mapping) and 'type' not in found:
        return [scheduler for part in found.values() for scheduler in schedulers_of(dict(param_scheduler=part))]
    return [found] if isinstance(found, dict) else list(found)


def _finish(result: dict, phase: Phase, work_dir: Path) -> Config:
    seed = (result.get('randomness') or {}).get('seed')
    if seed is not None:
        result['randomness']['seed'] = phase_seed(seed, phase.name)
    folder = str(work_dir / phase.name)
    result.update(work_dir=folder, experiment_name=phase.name, resume=False)
    if result.get('visualizer'):
        result['visualizer']['name'] = f'visualizer_{folder}'  # found by name, so each phase needs its own
    _end_workers(result)
    # mmengine dumps the config under `filename`; without `cfg_text`, it would read that file. Each checkpoint holds the
    # config as text, and yapf needs seconds to format a long one.
    return Config(result, cfg_text=f'# {phase.name}', filename=f'{phase.name}.py', format_python_code=False)


def _end_workers(result: dict) -> None:
    """Disable ``persistent_workers`` of loaders without workers: mmpretrain's train tool sets it, torch refuses it."""
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = result.get(key)
        if loader and not loader.get('num_workers'):
            loader['persistent_workers'] = False


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
