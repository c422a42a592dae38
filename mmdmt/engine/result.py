"""The result of a run: its best model, and the files of that model for the stock tools."""

import math
from importlib.util import find_spec

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
    checkpoint = load_checkpoint(manifest.checkpoint(phase.name))
    # What only one run has, such as the time, is left out: runs of the same config give the same file.
    meta = {key: value for key, value in checkpoint['meta'].items() if key not in ('cfg', 'experiment_name', 'time')}
    meta['dmt'] = dict(phase=phase.name, model=phase.model)
    with atomic(manifest.work_dir / 'best.pth') as file:
        torch.save(dict(meta=meta, state_dict=checkpoint['state_dict']), file)
    if find_spec('safetensors'):
        from safetensors.torch import save

        weights = {name: value.clone().contiguous() for name, value in checkpoint['state_dict'].items()}
        write_bytes(manifest.work_dir / 'best.safetensors', save(weights, dict(format='pt', model=phase.model)))
    write_text(manifest.work_dir / 'best.py', final_config(plan, phase.model).pretty_text)
