"""A hook that saves and stops when a signal asks for it."""

from pathlib import Path
from typing import Any

from mmengine.dist import barrier
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mmdmt.engine.stop_signals import Stopped, signal_received, stop_requested


@HOOKS.register_module()
class StopHook(Hook):
    """Write a checkpoint and stop, at the first step after a signal that updates the weights.

    A checkpoint does not contain accumulated gradients. A validation stops at its next batch, since
    ``PhaseCheckpointHook`` has saved the step before it, and a label phase after its current batch.

    Args:
        accumulated: Steps per update of the weights.
    """

    priority = 'LOWEST'

    def __init__(self, accumulated: int = 1) -> None:
        self.accumulated = accumulated

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Save and stop after a step."""
        step = runner.iter + 1
        if (step % self.accumulated and step < runner.max_iters) or not stop_requested():
            return
        if not (Path(runner.work_dir) / f'iter_{step}.pth').is_file():
            runner.save_checkpoint(runner.work_dir, f'iter_{step}.pth', by_epoch=False)
        barrier()
        raise Stopped

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Stop in a validation, which is repeated."""
        if signal_received():  # processes may have different numbers of batches, so each decides alone
            raise Stopped

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Stop in a label phase; the labels so far are stored."""
        if signal_received():
            raise Stopped
