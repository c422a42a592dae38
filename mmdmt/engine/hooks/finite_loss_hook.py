"""A hook that stops a phase whose loss is no longer finite."""

import math
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mmdmt.errors import DivergedError


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stop at the first loss that is not finite, before a checkpoint of that step is written.

    Args:
        phase: Name of the phase, for the message.
    """

    def __init__(self, phase: str) -> None:
        self.phase = phase

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Check the loss of a step.

        Raises:
            DivergedError: if it is not finite; names the phase, the loss and the step.
        """
        loss = torch.as_tensor((outputs or {}).get('loss', 0.0)).item()
        if not math.isfinite(loss):
            raise DivergedError(
                f'phase {self.phase}: the loss is {loss} at step {runner.iter + 1} of {runner.max_iters}; lower the '
                'learning rate or clip gradients (optim_wrapper.clip_grad); completed phases are kept'
            )
