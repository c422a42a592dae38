"""A hook that completes what a checkpoint holds, so that a resumed phase ends as an undisturbed one."""

from collections.abc import Iterator

from mmengine.dist import broadcast, is_distributed
from mmengine.hooks import EarlyStoppingHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


@HOOKS.register_module()
class ResumeHook(Hook):
    """Keep no state that affects results outside the checkpoint.

    mmengine's checkpoints lack the count of an ``EarlyStoppingHook``, which this hook adds. They hold the buffers of
    the first process only, such as running means. This hook therefore gives these buffers to all processes before a
    validation; training uses the statistics of the batch.
    """

    priority = 'LOW'  # after EMAHook, which exchanges the weights for a validation

    def before_val_epoch(self, runner: Runner) -> None:
        """Give the buffers of the first process to all."""
        if is_distributed():
            for buffer in runner.model.buffers():
                broadcast(buffer)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Store the state of each ``EarlyStoppingHook``."""
        checkpoint['early_stopping'] = [[hook.wait_count, hook.best_score] for hook in _early_stopping(runner)]

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Restore the state of each ``EarlyStoppingHook`` of an interrupted attempt."""
        if runner._resume:
            for hook, state in zip(_early_stopping(runner), checkpoint.get('early_stopping', ()), strict=False):
                hook.wait_count, hook.best_score = state


def _early_stopping(runner: Runner) -> Iterator[EarlyStoppingHook]:
    return (hook for hook in runner.hooks if isinstance(hook, EarlyStoppingHook))
