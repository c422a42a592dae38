"""Derives the ordinary config of a phase, and of the final model, from a DMT config."""

import copy
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import get_world_size

from mmdmt.config_dicts import first_pipeline, stock_model, with_pipeline, without_pretrained
from mmdmt.core.schedule import Phase
from mmdmt.engine.epochs import to_steps
from mmdmt.engine.phase_length import accumulated, own_best, set_length
from mmdmt.engine.plan import RunPlan
from mmdmt.engine.settings import DMTSettings, Stage, stage_of
from mmdmt.engine.task import Task
from mmdmt.engine.trackers import keep_local
from mmdmt.errors import UserError

# Hooks that every phase has; their settings follow from the rest of its config.
OWN_HOOKS = frozenset(
    'StepSeedHook ProgressHook WholeBatchHook FiniteLossHook WeightedHook ResumeHook DMTHook StopHook'.split()
)
# A phase may combine datasets of different types (own images and a public set), so their classes need not match.
DATASET_META = ['classes', 'palette', 'label_map', 'reduce_zero_label']


@dataclass(frozen=True)
class ModelData:
    """Dataset configs of one model, with their numbers of images, and pipelines.

    Labeled images depend on the stage: the first phase of a model may use only a part of them. ``train_pipeline`` loads
    the unlabeled images for training, ``label_pipeline`` for labeling. ``held_out`` are labeled images to validate on
    instead of the validation set, with their training pipeline.
    """

    labeled: Mapping[Stage, dict]
    unlabeled: dict
    train_pipeline: list
    label_pipeline: list
    num_labeled: Mapping[Stage, int]
    num_unlabeled: int
    held_out: dict | None = None


@dataclass(frozen=True)
class ResolvedPhase:
    """A phase with everything known about it before the run starts; checked, then only read.

    ``config``: ordinary config, complete except for ``load_from`` if the phase starts from another phase's checkpoint.
    ``steps``: optimizer steps of a train phase, 0 for a label phase.
    ``data``: datasets of its model.
    ``notes``: what was converted from epochs to steps.
    """

    phase: Phase
    config: Config
    steps: int
    data: ModelData
    notes: tuple[str, ...] = ()


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
    config, notes = _train_config(plan, phase, data, work_dir, steps)
    return ResolvedPhase(phase, config, steps, data, tuple(notes))


def final_config(plan: RunPlan, model: str) -> Config:
    """Config of ``model`` for the stock tools: without DMT or method, with the stock model and loss instead of ours."""
    result = copy.deepcopy(plan.configs[model][None])
    result['model'] = without_pretrained(_stock(stock_model(result['model']), plan.task))
    for key in _TRAINING_KEYS:
        result.pop(key, None)
    _end_workers(result)
    keep_local(result)
    # A config with stock types only works without this package.
    result.setdefault('custom_imports', {})['allow_failed_imports'] = True
    return Config(result)


_TRAINING_KEYS = (
    'load_from resume launcher work_dir randomness train_dataloader train_cfg optim_wrapper param_scheduler '
    'auto_scale_lr custom_hooks'.split()
)


def phase_seed(seed: int | None, name: str) -> int:
    """Seed of a phase: different for each phase, the same in each run. Without a seed, a run has seed 0.

    Raises:
        UserError: if the seed is no whole number.
    """
    seed = 0 if seed is None else seed
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise UserError(f'randomness.seed={seed!r} must be a whole number')
    return zlib.crc32(f'{seed} {name}'.encode()) % 2**31


def _steps(plan: RunPlan, phase: Phase, data: ModelData) -> int:
    stage = plan.settings.stage(phase)
    if stage.get('iters') is not None:
        return stage['iters']
    return max(
        stage.get('min_iters') or 1, -int(-stage['epochs'] * _images(plan, phase, data) // _per_step(plan, phase))
    )


def _images(plan: RunPlan, phase: Phase, data: ModelData) -> int:
    """Images of one epoch of a train phase."""
    if phase.supervised:
        return data.num_labeled['supervised']
    return plan.task.selected(data.num_unlabeled, phase.label_ratio or 1)


def _per_step(plan: RunPlan, phase: Phase) -> int:
    """How many of these images one step takes, in all processes."""
    if phase.supervised:
        return plan.configs[phase.model]['supervised']['train_dataloader']['batch_size'] * get_world_size()
    return plan.settings.stage(phase)['unlabeled_per_batch'] * get_world_size()


def _train_config(plan: RunPlan, phase: Phase, data: ModelData, work_dir: Path, steps: int) -> tuple[Config, list[str]]:
    """Config of a train phase, and what was converted from epochs in it."""
    result = copy.deepcopy(plan.configs[phase.model][stage_of(phase)])
    seed = _set_seed(result, phase)
    result['train_dataloader'].update(_train_loader(plan, phase, data, work_dir, seed))
    if phase.init is not None:
        result['load_from'] = None  # known when that phase is complete
        result['model'] = without_pretrained(result['model'])
    loops = [loop or {} for loop in (result.get('train_cfg'), plan.cfg.get('train_cfg'))]
    whole = tuple(loop[key] for loop in loops for key in ('max_epochs', 'max_iters') if loop.get(key))
    notes = to_steps(result, max(1, -(-_images(plan, phase, data) // _per_step(plan, phase))), steps, whole)
    keep_best = bool(own_best((result.get('default_hooks') or {}).get('checkpoint') or {}))
    set_length(result, steps, plan.settings)
    if data.held_out is not None:
        _validate_on(data.held_out, result)
    result.update(test_dataloader=None, test_cfg=None, test_evaluator=None)
    result['custom_hooks'] = [
        *(result.get('custom_hooks') or []),
        dict(type='StepSeedHook', seed=seed),
        dict(type='ProgressHook'),
        dict(type='WholeBatchHook'),
        dict(type='FiniteLossHook', phase=phase.name),
        *([dict(type='WeightedHook', phase=phase.name)] if phase.labels else []),
        dict(type='ResumeHook'),
        _commit_hook(plan.settings, phase, keep_best, labeled=data.num_labeled[stage_of(phase)]),
        dict(type='StopHook', accumulated=accumulated(result)),
    ]
    return _finish(result, phase, work_dir), notes


def _validate_on(dataset: dict, result: dict) -> None:
    """Validate on a dataset, loaded as the validation images are, or else the test images."""
    loader = copy.deepcopy(result.get('val_dataloader') or result['test_dataloader'])
    loader['dataset'] = with_pipeline(dataset, first_pipeline(loader['dataset']))
    evaluator = result.get('val_evaluator') or result['test_evaluator']
    result.update(val_dataloader=loader, val_evaluator=evaluator, val_cfg=result.get('val_cfg') or {})


def _train_loader(plan: RunPlan, phase: Phase, data: ModelData, work_dir: Path, seed: int) -> dict[str, Any]:
    """Dataset, sampler and batch of a train phase."""
    if phase.supervised:
        dataset, sampler = data.labeled['supervised'], dict(type='PassSampler', seed=seed)
        return dict(dataset=dict(type='SeededDataset', dataset=dataset, seed=seed), sampler=sampler)
    stage = plan.settings.stage(phase)
    counts = dict(labeled=stage['labeled_per_batch'], unlabeled=stage['unlabeled_per_batch'])
    unlabeled = _unlabeled(plan.settings, phase, data, work_dir)
    dataset = dict(type='ConcatDataset', datasets=[data.labeled['semi'], unlabeled], ignore_keys=DATASET_META)
    views = dict(collate_fn=dict(type='collate_views')) if phase.labels is None else {}
    return dict(
        **views,
        dataset=dict(type='SeededDataset', dataset=dataset, seed=seed),
        sampler=dict(type='LabeledUnlabeledSampler', **counts, seed=seed),
        batch_size=sum(counts.values()),
    )


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
    _set_seed(result, phase)
    batch_size = result['test_dataloader'].get('batch_size', 1)
    result['test_dataloader'].update(
        dataset=dict(type='UnlabeledDataset', dataset=data.unlabeled, pipeline=data.label_pipeline),
        sampler=dict(type='UnfinishedSampler', label_dir=label_dir, store=plan.task.store, batch_size=batch_size),
    )
    result.update(
        model=without_pretrained(result['model']),
        load_from=None,
        test_evaluator=dict(
            **plan.task.writer(plan.settings, data.num_unlabeled),
            label_dir=label_dir,
            label_ratio=phase.label_ratio,
            num_classes=plan.num_classes(phase.model),
            teacher=f'model {phase.model} of phase {phase.init}',
        ),
        custom_hooks=[_commit_hook(plan.settings, phase), dict(type='StopHook')],
    )
    result['default_hooks'] = {
        name: hook for name, hook in (result.get('default_hooks') or {}).items() if name in ('timer', 'logger')
    }
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler', 'auto_scale_lr'):
        result[key] = None
    result.update(val_dataloader=None, val_cfg=None, val_evaluator=None)
    # Images have many sizes, and cudnn would benchmark its algorithms for each size.
    if plan.settings.label_amp:
        result['test_cfg']['fp16'] = True
    result['env_cfg'] = {**(result.get('env_cfg') or {}), 'cudnn_benchmark': False}
    return _finish(result, phase, work_dir)


def _commit_hook(settings: DMTSettings, phase: Phase, keep_best: bool = False, **figures: int) -> dict[str, Any]:
    return dict(
        type='DMTHook',
        phase=phase.name,
        model=phase.model,
        metric=settings.metric,
        select=settings.select,
        figures=figures,
        **(dict(keep_best=True) if keep_best else {}),
    )


def _set_seed(result: dict, phase: Phase) -> int:
    """Replace the seed of the run with that of a phase, and return it."""
    randomness = result.get('randomness') or {}
    seed = phase_seed(randomness.get('seed'), phase.name)
    result['randomness'] = {**randomness, 'seed': seed}
    return seed


def schedulers_of(config: Mapping) -> list[dict]:
    """All schedulers of a config: one, a list, or such for each of several optimizers by name."""
    found = config.get('param_scheduler') or []
    if isinstance(found, Mapping) and 'type' not in found:
        return [scheduler for part in found.values() for scheduler in schedulers_of(dict(param_scheduler=part))]
    return [found] if isinstance(found, dict) else list(found)


def _finish(result: dict, phase: Phase, work_dir: Path) -> Config:
    folder = str(work_dir / phase.name)
    result.update(work_dir=folder, experiment_name=phase.name, resume=False)
    keep_local(result)
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
            if kept.get('class_weight') is not None and stock:
                # mmsegmentation then divides by the weights of the valid pixels; it fails to train with both arguments.
                stock = dict(type=stock['type'])
            return {**(stock or {}), **kept}
        own = task.own_arguments if stock else frozenset()
        result = {key: _stock(value, task) for key, value in node.items() if key not in own}
        return {**result, **(stock or {})}
    if isinstance(node, list | tuple):
        return type(node)(_stock(item, task) for item in node)
    return node
