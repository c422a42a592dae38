"""Derives the configs of an experiment's runs from its plan."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmdmt.analysis.label_analysis import check_mask, why_not
from mmdmt.config_dicts import dicts_of_type, merge
from mmdmt.datasets.building import build_dataset
from mmdmt.engine.cli import read_config
from mmdmt.engine.model_checks import check_model
from mmdmt.engine.plan import RunPlan
from mmdmt.engine.run_data import RunData
from mmdmt.engine.settings import LENGTH_KEYS
from mmdmt.errors import MissingFileError, UserError
from mmdmt.experiments.jobs import ANY_MODEL, Job, plan_jobs
from mmdmt.experiments.plan import ExperimentPlan, Method


@dataclass(frozen=True)
class ControlLength:
    """Length of the control of one model: DMT's optimizer steps after the baseline, and the images per step."""

    steps: int
    batch_size: int


@dataclass(frozen=True)
class Experiment:
    """A checked plan, with its jobs in order.

    ``control``: data set -> method -> model -> length of the control.
    ``metrics``: data set -> metric that counts.
    ``classes``: data set -> class names.
    ``tested``: data sets whose test split is not their validation split.
    """

    plan: ExperimentPlan
    jobs: list[Job]
    control: dict[str, dict[str, dict[str, ControlLength]]]
    metrics: dict[str, str]
    classes: dict[str, tuple[str, ...]]
    tested: set[str]


def dmt_config(plan: ExperimentPlan, data_set: str, seed: int, method: str | None = None) -> Config:
    """DMT config of a method on a data set with a seed; without a method, the config of the data set.

    Raises:
        FileNotFoundError: if the config file does not exist.
    """
    own = plan.data_sets[data_set]
    path = own.config if method is None else plan.method_config(data_set, method)
    cfg = _read(path, own.data_root, own.options)
    if method is not None:
        cfg.merge_from_dict(dict(plan.methods[method].options))
        _set_loss(cfg, plan.methods[method].loss)
    keys = plan.seed_keys or ('randomness.seed', *(['dmt.split.split_id'] if cfg.dmt.get('split') else []))
    cfg.merge_from_dict(dict.fromkeys(keys, seed))
    return cfg


def _set_loss(cfg: Config, arguments: Mapping[str, Any]) -> None:
    """Set arguments of every dynamic loss, also of those that stock models get."""
    losses = list(dicts_of_type([cfg.get('model'), cfg.dmt], 'DynamicMutualLoss'))
    for loss in losses:
        loss.update(arguments)
    if arguments and not losses:
        cfg.merge_from_dict({'dmt.loss': dict(arguments)})


def job_config(
    plan: ExperimentPlan, job: Job, baselines: Mapping[str, Path], control: Mapping[str, ControlLength]
) -> Config:
    """The config that a job trains.

    Args:
        plan: The plan.
        job: One of its jobs.
        baselines: Model -> checkpoint of its baseline, for a method or a control.
        control: Model -> length of its control, for a control.
    """
    if job.role == 'oracle':
        own = plan.data_sets[job.data_set]
        cfg = _read(own.oracle[job.models[0]], own.data_root, {})
        keys = plan.seed_keys or ('randomness.seed',)
        cfg.merge_from_dict({key: job.seed for key in keys if not key.startswith('dmt.')})
        return cfg
    cfg = dmt_config(plan, job.data_set, job.seed, job.method if job.method in plan.methods else None)
    if job.role == 'method':
        models = cfg.dmt.models.to_dict()
        if plan.methods[job.method].self_training:
            cfg.dmt.scheme = 'self'
        given = bool(cfg.dmt.get('supervised'))  # some methods train from the initial weights in one phase
        cfg.dmt.models = {
            model: dict(models[model], **(dict(supervised_checkpoint=str(baselines[model])) if given else {}))
            for model in job.models
        }
    elif job.role == 'control':
        (model,) = job.models
        _continue_with_labels(cfg, model, baselines[model], control[model])
    return cfg


def _continue_with_labels(cfg: Config, model: str, baseline: Path, length: ControlLength) -> None:
    """Turn the first phase of a DMT config into the control: it continues the baseline with settings of ``semi``."""
    dmt = cfg.dmt.to_dict()
    own = dmt['models'][model]
    kept = {key: value for key, value in dmt['semi'].items() if key not in LENGTH_KEYS}
    loader = dict(train_dataloader=dict(batch_size=length.batch_size))
    cfg.dmt.supervised = merge(merge(kept, loader), dict(iters=length.steps))
    semi = {key: value for key, value in own.pop('semi', {}).items() if key not in LENGTH_KEYS}
    for settings in (cfg.dmt.supervised, semi):  # there is nothing to label
        for key in ('unlabeled', 'label_pipeline'):
            settings.pop(key, None)
    if cfg.dmt.get('split'):  # all labeled images, as in the phases with labels
        cfg.dmt.split.difference_maximised = None
    own.pop('supervised_checkpoint', None)
    own.update(load_from=str(baseline), supervised=merge(semi, loader))
    cfg.dmt.models[model] = own


def check_plan(plan: ExperimentPlan) -> Experiment:
    """Build the parts of a plan's runs, so that mistakes are found before the first run.

    Raises:
        FileNotFoundError, ValueError: if a check fails; names the key, the value found and what is allowed.
    """
    models, methods, baselines, control, metrics, classes, tested = {}, {}, {}, {}, {}, {}, set()
    families: dict[str, tuple[str, str]] = {}
    labels_only = [name for name, method in plan.methods.items() if method.labels_only]
    for name, data_set in plan.data_sets.items():
        key = f'data_sets.{name}'
        cfg = dmt_config(plan, name, plan.seeds[0])
        init_default_scope(cfg.get('default_scope', 'mmseg'))
        run = RunPlan.of(cfg)
        models[name], metrics[name] = list(run.settings.models), run.settings.metric
        if cfg.test_dataloader.dataset != cfg.val_dataloader.dataset:
            tested.add(name)
        with tempfile.TemporaryDirectory() as folder:
            data = RunData(run, Path(folder))
            data.prepare(Path(folder))
            if data_set.label_images:
                _check_masks(data, key)
            control[name] = {'control': _control_lengths(data)}
            families[name] = next(filter(None, map(data.list_family, data.models)), ('', ''))
        classes[name] = _classes(cfg)
        _check_frequent(data_set.frequent_classes, classes[name], key)
        unknown = sorted(data_set.oracle.keys() - {*models[name], ANY_MODEL})
        if unknown:
            raise UserError(f'{key}.oracle: {unknown[0]!r} is not a model of {data_set.config}: {models[name]}')
        own_methods = [method for method in plan.methods if name in plan.data_sets_of(method)]
        methods[name] = {method: _check_method(plan, name, method, models[name]) for method in own_methods}
        baselines[name] = {method: plan.baseline_of(name, method) for method in own_methods}
        _check_baselines(name, methods[name], baselines[name])
        control[name].update(
            {method: _lengths_of_method(plan, name, method) for method in labels_only if method in own_methods}
        )
        for model, path in data_set.oracle.items():
            oracle = _read(path, data_set.data_root, {})
            if not isinstance((oracle.get('train_cfg') or {}).get('max_iters'), int) or 'runner_type' in oracle:
                raise UserError(f'{key}.oracle: {path} must be an ordinary config with train_cfg.max_iters')
            check_model(oracle.model, f'{key}.oracle.{model}')
    _check_families(families)
    oracles = {name: list(data_set.oracle) for name, data_set in plan.data_sets.items()}
    supervised_only = [name for name, method in plan.methods.items() if method.supervised_only]
    jobs = plan_jobs(plan.seeds, models, methods, oracles, plan.control, labels_only, supervised_only, baselines)
    return Experiment(plan, jobs, control, metrics, classes, tested)


def _check_families(families: Mapping[str, tuple[str, str]]) -> None:
    """Refuse lists of several families: as columns of one table, they would be compared."""
    known = {family: name for name, (family, _) in families.items() if family}
    if len(known) > 1:
        texts = '; '.join(f'{name}: {families[name][1]}' for name in known.values())
        raise UserError(
            f'data_sets: lists of several families are no columns of one table, use a plan for each: {texts}'
        )


def _check_method(plan: ExperimentPlan, data_set: str, method: str, known: list[str]) -> list[tuple[str, ...]]:
    """Check a method and return the models that each of its runs trains."""
    key, own = f'methods.{method}', plan.methods[method]
    try:
        cfg = dmt_config(plan, data_set, plan.seeds[0], method)
        unknown = sorted({*cfg.dmt.models, *own.self_training, *own.supervised_only} - set(known))
        if unknown:
            raise UserError(f'{unknown[0]!r} is not a model of {plan.data_sets[data_set].config}: {known}')
        alone = own.self_training or own.supervised_only or (tuple(cfg.dmt.models) if own.labels_only else ())
        runs: list[tuple[str, ...]] = [(model,) for model in alone] or [tuple(cfg.dmt.models)]
        for models in runs:
            job = Job(data_set, plan.seeds[0], _role(own), method, models)
            lengths = dict.fromkeys(models, ControlLength(1, 1))  # a placeholder: the data defines it
            cfg = job_config(plan, job, dict.fromkeys(models, Path('baseline')), lengths)
            run = RunPlan.of(cfg)
            for model in models:
                config = run.configs[model][None]['model']
                _check_loss(config, own.loss)
                check_model(config, f'dmt.models.{model}')
            with tempfile.TemporaryDirectory() as folder:
                data = RunData(run, Path(folder))
                data.prepare(Path(folder))
                data.check_phases()
    except ValueError as error:
        raise UserError(f'{key} on {data_set}: {error}') from error
    return runs


def _role(method: Method) -> Literal['baseline', 'method', 'control']:
    return 'control' if method.labels_only else 'baseline' if method.supervised_only else 'method'


def _check_baselines(data_set: str, methods: Mapping[str, list[tuple[str, ...]]], baselines: Mapping[str, str]) -> None:
    """Refuse a method that starts from baselines which do not cover its models."""
    for method, runs in methods.items():
        start = baselines[method]
        known = None if start not in methods else [model for models in methods[start] for model in models]
        missing = sorted({model for models in runs for model in models} - set(known)) if known is not None else []
        if missing:
            raise UserError(f'methods.{method}.baseline on {data_set}: {start!r} trains {known}, not {missing[0]!r}')


def _check_loss(model: Mapping, wanted: Mapping[str, Any]) -> None:
    losses = list(dicts_of_type(model, 'DynamicMutualLoss'))
    if wanted and not losses:
        raise UserError(f'loss={dict(wanted)!r}, but the model has no DynamicMutualLoss')
    for loss in losses:
        other = {key: loss.get(key) for key, value in wanted.items() if loss.get(key) != value}
        if other:
            raise UserError(f'loss={dict(wanted)!r}, but a model overrides it with {other!r}: use options')


def _check_masks(data: RunData, key: str) -> None:
    reason = why_not(data.plan)
    if reason is not None:
        raise UserError(f'{key}.label_images: {reason}')
    unlabeled = build_dataset(next(iter(data.models.values())).unlabeled, 'dmt.unlabeled', lambda pipeline, key: None)
    try:
        check_mask(unlabeled.get_data_info(0))
    except FileNotFoundError as error:
        raise MissingFileError(f'{key}.label_images: {error}') from None


def _classes(cfg: Config) -> tuple[str, ...]:
    validation = build_dataset(cfg.val_dataloader.dataset, 'val_dataloader.dataset', lambda pipeline, key: None)
    return tuple(validation.metainfo['classes'])


def _check_frequent(frequent: tuple[str, ...], classes: tuple[str, ...], key: str) -> None:
    unknown = [name for name in frequent if name not in classes]
    if unknown:
        raise UserError(f'{key}.frequent_classes: {unknown[0]!r} is not one of {", ".join(classes)}')


def _lengths_of_method(plan: ExperimentPlan, data_set: str, method: str) -> dict[str, ControlLength]:
    cfg = dmt_config(plan, data_set, plan.seeds[0], method)
    with tempfile.TemporaryDirectory() as folder:
        data = RunData(RunPlan.of(cfg), Path(folder))
        data.prepare(Path(folder))
        return _control_lengths(data)


def _control_lengths(data: RunData) -> dict[str, ControlLength]:
    return {model: _control_length(data, model) for model in data.models}


def _control_length(data: RunData, model: str) -> ControlLength:
    trains = [item for item in data.phases.values() if item.phase.kind == 'train' and item.phase.model == model]
    phases = [item for item in trains if not item.phase.supervised]
    stage = data.plan.settings.stage(phases[0].phase)
    return ControlLength(
        steps=sum(item.steps for item in phases),
        batch_size=stage['labeled_per_batch'] + stage['unlabeled_per_batch'],
    )


def _read(path: str, data_root: str | None, options: Mapping[str, Any]) -> Config:
    cfg = read_config(path, {**options, **({} if data_root is None else dict(data_root=data_root))})
    if cfg.get('default_scope', 'mmseg') == 'mmseg':
        for metric in dicts_of_type(cfg._cfg_dict, 'IoUMetric'):
            metric['type'] = 'ClassIoUMetric'
    return cfg
