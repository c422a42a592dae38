"""A hook that reports the progress of a phase to the model's modules."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapperDict
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn


@HOOKS.register_module()
class ProgressHook(Hook):
    """Call ``set_progress(progress)`` of every module before each step, and ``after_step()`` of the model after it.

    Both are called only where they exist. ``progress`` is 0 at the first step of the phase and 1 at the last one,
    whether or not the phase was interrupted. Ramps follow it, such as that of gamma in ``DynamicMutualLoss``.
    ``after_step`` follows each step of the optimizer; methods average weights there.
    """

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Report the progress of the coming step."""
        progress = runner.iter / max(1, runner.max_iters - 1)
        for module in runner.model.modules():
            if hasattr(module, 'set_progress'):
                module.set_progress(progress)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Report a step; a forward pass whose gradients are still accumulated is none."""
        model = unwrapped(runner.model)
        wrapper = runner.optim_wrapper
        # Several optimizers step when the model says so.
        if hasattr(model, 'after_step') and (isinstance(wrapper, OptimWrapperDict) or wrapper.should_update()):
            model.after_step()


def unwrapped(model: nn.Module) -> nn.Module:
    """The model within a wrapper for distributed training; any other model itself."""
    return model.module if is_model_wrapper(model) else model
