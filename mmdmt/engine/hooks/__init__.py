"""Hooks of the phases, one concern each; importing this package registers them."""

from mmdmt.engine.hooks.channels_last_hook import ChannelsLastHook
from mmdmt.engine.hooks.dmt_hook import DMTHook
from mmdmt.engine.hooks.finite_loss_hook import FiniteLossHook
from mmdmt.engine.hooks.fit_hook import FitHook
from mmdmt.engine.hooks.phase_checkpoint_hook import PhaseCheckpointHook
from mmdmt.engine.hooks.progress_hook import ProgressHook
from mmdmt.engine.hooks.resume_hook import ResumeHook
from mmdmt.engine.hooks.step_seed_hook import StepSeedHook
from mmdmt.engine.hooks.stop_hook import StopHook
from mmdmt.engine.hooks.weighted_hook import WeightedHook
from mmdmt.engine.hooks.whole_batch_hook import WholeBatchHook

__all__ = [
    'ChannelsLastHook',
    'DMTHook',
    'FiniteLossHook',
    'FitHook',
    'PhaseCheckpointHook',
    'ProgressHook',
    'ResumeHook',
    'StepSeedHook',
    'StopHook',
    'WeightedHook',
    'WholeBatchHook',
]
