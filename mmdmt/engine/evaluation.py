"""The config that tests or validates a model of a run, checked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from mmengine.config import Config
from mmengine.dist import barrier, is_main_process
from mmengine.fileio import isfile

from mmdmt.datasets.building import build_dataset
from mmdmt.engine import result
from mmdmt.engine.phase_config import final_config
from mmdmt.engine.plan import RunPlan
from mmdmt.errors import MissingFileError, UserError
from mmdmt.untrusted import load_checkpoint

WRITERS = frozenset({'PredictedMaps', 'DumpResults', 'ShownPredictions'})
"""Metrics that only write predictions."""

Subset = Literal['test', 'val']


def evaluation_config(plan: RunPlan, work_dir: Path, subset: Subset) -> Config:
    """Config of a test (or validation) of ``load_from``, or of the result of the run.

    Raises:
        MissingFileError, UserError: if the checkpoint or the data is missing or not valid, or if the config does not
            test (validate).
    """
    path = plan.cfg.get('load_from') or str(work_dir / 'best.pth')
    if not isfile(path):
        raise MissingFileError(f'checkpoint {path} does not exist')
    checkpoint = load_checkpoint(path)
    model = checkpoint.get('meta', {}).get('dmt', {}).get('model', next(iter(plan.settings.models)))
    cfg = final_config(plan, model)
    check_evaluation(plan, cfg, model, subset)
    load_from = _predictor(path, checkpoint, work_dir)
    cfg.merge_from_dict(dict(load_from=load_from, work_dir=str(work_dir), custom_hooks=[dict(type='FitHook')]))
    return cfg


def check_evaluation(plan: RunPlan, cfg: Mapping, model: str, subset: Subset) -> None:
    """Check that a config can test or validate, and that its images can be loaded with their labels.

    Raises:
        MissingFileError, UserError: naming the key or file, and what is wrong.
    """
    for part in ('dataloader', 'evaluator'):
        if not cfg.get(f'{subset}_{part}'):
            raise UserError(f'the config has no {subset}_{part}, so there is nothing to {subset}')
    key = f'{subset}_dataloader.dataset'
    dataset = build_dataset(cfg[f'{subset}_dataloader']['dataset'], key, plan.task.check_pipeline)
    if is_main_process() and _compares(cfg[f'{subset}_evaluator']):
        plan.task.classes_shown(dataset, key, plan.num_classes(model))


def _compares(evaluator: Any) -> bool:
    """Whether predictions are compared with labels, and not only written."""
    parts = evaluator if isinstance(evaluator, list | tuple) else [evaluator]
    return any(part.get('type') not in WRITERS and not part.get('format_only') for part in parts)


def _predictor(path: str, checkpoint: dict, work_dir: Path) -> str:
    """Path of a checkpoint of the model that predicts; the one of a method is taken from its checkpoint."""
    if 'predictor_prefix' not in checkpoint.get('meta', {}).get('dmt', {}):
        return path
    if is_main_process():
        result.predictor_file(path, work_dir)
    barrier()
    return str(work_dir / f'predictor_{Path(path).name}')
