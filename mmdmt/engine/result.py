"""The result of a run: which model is the better one, and its files for the stock tools."""

import torch
from mmengine.runner import CheckpointLoader

from mmdmt.core.schedule import Phase
from mmdmt.engine.manifest import Manifest
from mmdmt.engine.phase_config import final_config
from mmdmt.engine.plan import RunPlan
from mmdmt.files import atomic, write_text


def best_phase(manifest: Manifest, metric: str) -> Phase:
    """The train phase of the last iteration that scores best; the first one where nothing is validated."""
    iterations = manifest.phases[-1].iteration
    last = [phase for phase in manifest.phases if phase.kind == 'train' and phase.iteration == iterations]
    return max(last, key=lambda phase: manifest.score(phase, metric) or float('-inf'))


def export(manifest: Manifest, plan: RunPlan, phase: Phase) -> None:
    """Write the model of a complete train phase as ``best.pth`` and ``best.py``, with nothing of DMT in them."""
    checkpoint = CheckpointLoader.load_checkpoint(str(manifest.checkpoint(phase.name)), map_location='cpu')
    with atomic(manifest.work_dir / 'best.pth') as file:
        torch.save({key: checkpoint[key] for key in ('meta', 'state_dict')}, file)
    write_text(manifest.work_dir / 'best.py', final_config(plan, phase.model).pretty_text)
