"""The result of a run: its best model, and the files of that model for the stock tools."""

import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from mmdmt.core.schedule import Phase
from mmdmt.engine.manifest import Manifest
from mmdmt.engine.phase_config import final_config
from mmdmt.engine.plan import RunPlan
from mmdmt.files import atomic, write_bytes, write_text
from mmdmt.untrusted import load_checkpoint


def best_phase(manifest: Manifest, metric: str) -> Phase:
    """The best-scoring train phase of the last iteration; the first one if nothing is validated."""
    iterations = manifest.phases[-1].iteration
    last = [phase for phase in manifest.phases if phase.kind == 'train' and phase.iteration == iterations]
    return max(last, key=lambda phase: -math.inf if (score := manifest.score(phase, metric)) is None else score)


def export(manifest: Manifest, plan: RunPlan, phase: Phase) -> None:
    """Write the model of a complete train phase as ``best.pth`` and ``best.py``, for the stock tools.

    ``best.safetensors`` holds the same weights, in a format that cannot contain code, if safetensors is installed.
    """
    checkpoint = predictor_of(load_checkpoint(manifest.checkpoint(phase.name)))
    # What only one run has, such as the time, is left out: runs of the same config give the same file.
    meta = {key: value for key, value in checkpoint['meta'].items() if key not in ('cfg', 'experiment_name', 'time')}
    meta['dmt'] = dict(phase=phase.name, model=phase.model)
    _save(dict(meta=meta, state_dict=checkpoint['state_dict']), manifest.work_dir / 'best.pth')
    if find_spec('safetensors'):
        from safetensors.torch import save

        weights = {name: value.clone().contiguous() for name, value in checkpoint['state_dict'].items()}
        write_bytes(manifest.work_dir / 'best.safetensors', save(weights, dict(format='pt', model=phase.model)))
    write_text(manifest.work_dir / 'best.py', final_config(plan, phase.model).pretty_text)


def predictor_of(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint with the weights of the model that predicts, named as in the stock model.

    A method (:mod:`mmdmt.methods`) holds several networks; its checkpoints name the prefix of the one that predicts.
    """
    meta, weights = dict(checkpoint.get('meta', {})), checkpoint.get('state_dict', checkpoint)
    prefix = meta.get('dmt', {}).get('predictor_prefix', '')
    if prefix:
        meta['dmt'] = {key: value for key, value in meta['dmt'].items() if key != 'predictor_prefix'}
        weights = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    return dict(meta=meta, state_dict=weights)


def predictor_file(path: str | Path, folder: Path) -> Path:
    """Path of a checkpoint of the model that predicts: ``path`` itself, or a file in ``folder`` made from it."""
    checkpoint = load_checkpoint(path)
    if 'predictor_prefix' not in checkpoint.get('meta', {}).get('dmt', {}):
        return Path(path)
    target = folder / f'predictor_{Path(path).name}'
    _save(predictor_of(checkpoint), target)
    return target


def _save(checkpoint: dict[str, Any], path: Path) -> None:
    with atomic(path) as file:
        torch.save(checkpoint, file)
