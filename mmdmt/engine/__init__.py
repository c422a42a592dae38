"""Plans, checks, executes and reports the phases of DMT; importing this package registers the runner."""

from mmdmt.installation import check_packages

check_packages()  # before the imports that would fail

from mmdmt.engine.amp import CPUAmpOptimWrapper
from mmdmt.engine.config_names import accept_own_names
from mmdmt.engine.hooks import (
    ChannelsLastHook,
    DMTHook,
    FiniteLossHook,
    PhaseCheckpointHook,
    ProgressHook,
    ResumeHook,
    StepSeedHook,
    StopHook,
)
from mmdmt.engine.phase_loop import PhaseLoop
from mmdmt.engine.runner import DMTRunner
from mmdmt.labels import ImageLabelWriter, PseudoLabelWriter
from mmdmt.methods import SemiSupervised

__all__ = [
    'CPUAmpOptimWrapper',
    'ChannelsLastHook',
    'DMTHook',
    'DMTRunner',
    'FiniteLossHook',
    'ImageLabelWriter',
    'PhaseCheckpointHook',
    'PhaseLoop',
    'ProgressHook',
    'PseudoLabelWriter',
    'ResumeHook',
    'SemiSupervised',
    'StepSeedHook',
    'StopHook',
]

accept_own_names()  # for scripts of users, which read configs by themselves
