"""A rehearsal: the first phases of a run in miniature, so that what fails, fails before hours of training."""

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from mmengine.config import Config
from mmengine.device import is_cuda_available
from mmengine.runner import Runner

from mmdmt.core.schedule import Phase
from mmdmt.datasets.unlabeled import UnlabeledDataset
from mmdmt.engine.hooks.memory_hook import GPU_MEMORY
from mmdmt.engine.hooks.pace_hook import PaceHook
from mmdmt.engine.manifest import Manifest
from mmdmt.engine.pace import Pace, workers_of
from mmdmt.engine.phase_checks import hooks_with_monitor
from mmdmt.engine.phase_config import final_config, resolve
from mmdmt.engine.phase_runner import PhaseRunner, empty_memory, release, run_phase
from mmdmt.engine.result import predictor_file
from mmdmt.engine.run_data import RunData
from mmdmt.engine.settings import stage_of
from mmdmt.engine.take_over import take_over
from mmdmt.errors import UserError

LABEL_RATIO = 0.5
VALIDATED = (0, 1)
LOOKED_AT = 32
ON_CPU = 2
BATCH_KEYS = ('labeled', 'unlabeled')
PATIENCE = 20.0
"""Seconds of the processor after which, without a GPU, no further phase is tried."""


def rehearse(data: RunData, folder: Path) -> tuple[list[str], Pace]:
    """Run the baselines and the first iteration of a run, one step each, on a few of its images.

    Models, optimizers, schedulers, hooks, data loaders and evaluators are those of the run itself. Each phase takes one
    batch of the true size, labels a few images or trains on such labels, and validates two images. At last, the model
    is tested on two images. Without a GPU, a large model would take minutes, so a batch has at most two labeled and two
    unlabeled images, and what is left after ``PATIENCE`` is not tried.

    Args:
        data: Prepared data of the run.
        folder: An empty folder for what the phases write.

    Returns:
        Names of the phases that were not tried, and what a step or batch of the others took.

    Raises:
        UserError: naming the phase and what went wrong there.
    """
    plan, manifest, start = data.plan, Manifest(folder, data.plan.phases), process_time()
    images, pace = _images_to_label(data), Pace()
    phases = [phase for phase in plan.phases if phase.iteration <= 1]
    for number, phase in enumerate(phases):
        if not is_cuda_available() and process_time() - start > PATIENCE:
            return [later.name for later in phases[number:]], pace
        cfg = resolve(plan, phase, data.models[phase.model], folder).config
        measured, begun = PaceHook(workers_of(cfg)), perf_counter()
        cfg = _miniature(cfg, images[phase.model])
        if phase.init is not None:
            cfg.load_from = str(manifest.checkpoint(phase.init))
        try:
            _run(phase, cfg, plan.settings.supervised_checkpoint(phase), measured)
        except Exception as error:
            raise UserError(
                f'phase {phase.name} fails when it is tried for one step: {_first_line(error)}. '
                f'Its settings are in {_sections(phase)}.'
            ) from error
        _check_metric(manifest, phase, plan.settings.metric, cfg)
        memory = (manifest.record(phase.name) or {}).get(GPU_MEMORY)
        pace.add(phase, measured, perf_counter() - begun, memory)
        empty_memory()
    _test(data, manifest)
    return [], pace


def _run(phase: Phase, cfg: Config, supervised: str | None, measured: PaceHook) -> None:
    if supervised is not None:
        release(take_over(PhaseRunner, cfg, phase, supervised))
    else:
        run_phase(cfg, phase, [measured])


def _miniature(cfg: Config, to_label: Sequence[int]) -> Config:
    """The config of a phase, cut to one step and a few images."""
    cfg.log_level = 'ERROR'
    # cuDNN's search for kernels takes all memory that is free, so the memory that is needed could not be measured.
    cfg.env_cfg = {**(cfg.get('env_cfg') or {}), 'cudnn_benchmark': False}
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        _without_workers(cfg.get(name))
    if cfg.get('val_dataloader'):
        cfg.val_dataloader.dataset = _some(cfg.val_dataloader.dataset, VALIDATED)
    if cfg.get('train_cfg'):
        cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=1, val_interval=1)
        cfg.default_hooks.checkpoint.interval = 1
        for hook in cfg.get('custom_hooks') or ():
            if hook.get('begin_iter'):  # some hooks refuse to begin after the last step
                hook['begin_iter'] = 1
        if not is_cuda_available():
            _shrink(cfg.train_dataloader)
        for part in cfg.train_dataloader.dataset.dataset.get('datasets', ()):
            if part.type in ('PseudoLabelDataset', 'UnlabeledDataset'):
                part.dataset = _some(part.dataset, to_label)
            if part.type == 'PseudoLabelDataset':
                part.label_ratio = LABEL_RATIO
    else:
        cfg.test_dataloader.dataset.dataset = _some(cfg.test_dataloader.dataset.dataset, to_label)
        cfg.test_evaluator.label_ratio = LABEL_RATIO
        cfg.test_evaluator.teacher = None  # batch norm after one step says nothing about the trained teacher
    return cfg


def _some(dataset: Any, indices: Sequence[int]) -> dict[str, Any]:
    return dict(type='SomeImages', dataset=dataset, indices=list(indices))


def _shrink(loader: Any) -> None:
    """Let a train phase take a batch of at most ``ON_CPU`` images of each kind."""
    counts = {key: min(loader.sampler[key], ON_CPU) for key in BATCH_KEYS if key in loader.sampler}
    loader.sampler.update(counts)
    loader.batch_size = sum(counts.values()) or min(loader.batch_size, ON_CPU)


def _without_workers(loader: Any) -> None:
    if loader:
        loader.update(num_workers=0, persistent_workers=False)
        loader.pop('prefetch_factor', None)


def _images_to_label(data: RunData) -> dict[str, list[int]]:
    """Indices of the unlabeled images of each model that are labeled: a batch of those that differ most in size."""
    found = {}
    for model, own in data.models.items():
        dataset = UnlabeledDataset(data.dataset(own.unlabeled, 'dmt.unlabeled'), own.label_pipeline)
        batch = (data.plan.configs[model][None].get('test_dataloader') or {}).get('batch_size', 1)
        step = max(1, len(dataset) // LOOKED_AT)
        looked_at = list(range(0, len(dataset), step))[:LOOKED_AT]
        by_size = sorted(looked_at, key=lambda idx: dataset[idx]['inputs'].shape[-2:].numel())
        number = min(max(2, batch), len(by_size))
        ends = [
            by_size[place] for pair in zip(range(number), range(-1, -number - 1, -1), strict=True) for place in pair
        ]
        found[model] = sorted(dict.fromkeys(ends[:number]))
    return found


def _check_metric(manifest: Manifest, phase: Phase, metric: str, cfg: Config) -> None:
    if phase.kind != 'train' or not cfg.get('val_dataloader'):
        return
    metrics = (manifest.record(phase.name) or {}).get('metrics', {})
    for key, monitor in hooks_with_monitor(cfg):
        if monitor not in metrics:
            raise UserError(f'{key}={monitor!r} is not one that val_evaluator gives: {", ".join(sorted(metrics))}')
    if metric not in metrics:
        raise UserError(f'dmt.metric={metric!r} is not one that val_evaluator gives: {", ".join(sorted(metrics))}')


def _test(data: RunData, manifest: Manifest) -> None:
    """Test the last of the models on two images, as the result of the run will be."""
    phase = [phase for phase in manifest.phases if phase.kind == 'train' and phase.iteration == 1][-1]
    cfg = final_config(data.plan, phase.model)
    if not cfg.get('test_dataloader') or not data.sets.test_works:
        return
    _without_workers(cfg.test_dataloader)
    cfg.test_dataloader.dataset = _some(cfg.test_dataloader.dataset, VALIDATED)
    cfg.update(val_dataloader=None, val_cfg=None, val_evaluator=None)
    checkpoint = predictor_file(manifest.checkpoint(phase.name), manifest.work_dir)
    cfg.merge_from_dict(dict(load_from=str(checkpoint), work_dir=str(manifest.work_dir / 'test')))
    cfg.update(log_level='ERROR', experiment_name='rehearsal')
    if cfg.get('visualizer'):
        cfg.visualizer.name = f'visualizer_{manifest.work_dir}'  # instances are found by name
    try:
        runner: Runner = PhaseRunner.from_cfg(cfg)
        try:
            runner.test()
        finally:
            release(runner)
    except Exception as error:
        raise UserError(f'the test of the result fails when it is tried on two images: {_first_line(error)}') from error


def _sections(phase: Phase) -> str:
    own = f'dmt.models.{phase.model}'
    if phase.kind == 'label':
        return f'dmt.label_pipeline, {own} and at the top of the config'
    return f'dmt.{stage_of(phase)}, {own} and at the top of the config'


def _first_line(error: Exception) -> str:
    text = (str(error).strip().splitlines() or ['(no message)'])[0]
    return text if isinstance(error, UserError) else f'{type(error).__name__}: {text}'
