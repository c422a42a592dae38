"""Rebuilds the model that a train phase has produced."""

from typing import Any

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import MODELS
from mmengine.runner.checkpoint import load_state_dict

from mmdmt.config_dicts import without_pretrained
from mmdmt.core.schedule import Phase
from mmdmt.engine.manifest import Manifest
from mmdmt.engine.plan import RunPlan
from mmdmt.engine.settings import Stage
from mmdmt.untrusted import load_checkpoint, state_dict


def trained_model(plan: RunPlan, manifest: Manifest, phase: Phase, stage: Stage) -> Any:
    """The model of a complete train phase in evaluation mode, on the device of a run.

    Args:
        plan: The run.
        manifest: Its state.
        phase: The train phase.
        stage: Whose config describes the model; ``semi`` has the loss of phases with pseudo labels.
    """
    config = plan.configs[phase.model][stage]
    own = without_pretrained(config['model'])
    if config.get('data_preprocessor') is not None:
        own.setdefault('data_preprocessor', config['data_preprocessor'])
    model = MODELS.build(Config(dict(model=own)).model)
    load_state_dict(model, state_dict(load_checkpoint(manifest.checkpoint(phase.name))), logger='silent')
    return model.to(get_device()).eval()
