"""A hook that stops a phase whose loss is no longer finite."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mmdmt.engine.divergence import diverged

SHOWN = 4


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stop at the first loss that is not finite, before a checkpoint of that step is written.

    A checkpoint whose weights gave this loss is deleted, so the newest one is one from which training went on.

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
            DivergedError: if it is not finite; names the phase, the loss, the step, its images, and the last good
                checkpoint.
        """
        loss = torch.as_tensor((outputs or {}).get('loss', 0.0)).item()
        if math.isfinite(loss):
            return
        reason = f'phase {self.phase}: the loss is {loss} at step {runner.iter + 1} of {runner.max_iters}'
        raise diverged(Path(runner.work_dir), reason + _images(data_batch), runner.iter)


def _images(data_batch: Any) -> str:
    """Name the images of a batch, as far as its samples do."""
    samples = data_batch.get('data_samples') if isinstance(data_batch, Mapping) else None
    paths = [path for sample in samples or () if hasattr(sample, 'get') and (path := sample.get('img_path'))]
    more = f' and {len(paths) - SHOWN} more' if len(paths) > SHOWN else ''
    return f' (images {", ".join(map(str, paths[:SHOWN]))}{more})' if paths else ''
