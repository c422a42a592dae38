"""The result of a run: its best model, and the files of that model for the stock tools."""

import math

import torch
from mmengine.runner import CheckpointLoader

from mmdmt.core.schedule import Phase
from mmdmt.engine.manifest import Manifest
from mmdmt.engine.phase_config import final_config
from mmdmt.engine.plan import RunPlan
from mmdmt.files import atomic, write_text


def best_phase(manifest: Manifest, metric: str) -> Phase:
    """The best-scoring train phase of the last iteration; the first one if nothing is validated."""
    iterations = manifest.phases[-1].iteration
    last = [phase for phase in manifest.phases if phase.kind == 'train' and phase.iteration == iterations]
    return max(last, key=lambda phase: -math.inf if (score := manifest.score(phase, metric)) is None else score)


def export(manifest: Manifest, plan: RunPlan, phase: Phase) -> None:
    """Write the model of a complete train phase as ``best.pth`` and ``best.py``, for the stock tools."""
    checkpoint = CheckpointLoader.load_checkpoint(str(manifest.checkpoint(phase.name)), map_location='cpu')
    # What only one run has, such as the time, is left out: runs of the same config give the same file.
    meta = {key: value for key, value in checkpoint['meta'].items() if key not in ('cfg', 'experiment_name', 'time')}
    meta['dmt'] = dict(phase=phase.name, model=phase.model)
    with atomic(manifest.work_dir / 'best.pth') as file:
        torch.save(dict(meta=meta, state_dict=checkpoint['state_dict']), file)
    write_text(manifest.work_dir / 'best.py', final_config(plan, phase.model).pretty_text)
