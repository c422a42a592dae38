"""A hook that reports the progress of a phase to the model's modules."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


@HOOKS.register_module()
class ProgressHook(Hook):
    """Call ``set_progress(progress)`` of every module that has it, before each step.

    ``progress`` is 0 at the first step of the phase and 1 at the last one, whether or not the phase was interrupted.
    Ramps follow it, such as that of gamma in ``DynamicMutualLoss``.
    """

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Report the progress of the coming step."""
        progress = runner.iter / max(1, runner.max_iters - 1)
        for module in runner.model.modules():
            if hasattr(module, 'set_progress'):
                module.set_progress(progress)
