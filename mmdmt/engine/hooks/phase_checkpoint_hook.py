"""The hook that writes the checkpoints of a phase."""

from pathlib import Path

from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


@HOOKS.register_module()
class PhaseCheckpointHook(CheckpointHook):
    """A ``CheckpointHook`` whose checkpoints hold the state before the validation of their step.

    A phase that resumes from a step repeats its validation. mmengine's hook writes a checkpoint again when its
    validation was the best so far: schedulers and hooks that follow the metric would then count it twice. This hook
    does not. Instead, it writes a checkpoint before each validation, so one that is cut off loses no step.
    """

    last_ckpt: str | None = None

    def before_val(self, runner: Runner) -> None:
        """Write the checkpoint of the step to validate, if there is none and no gradients wait for their update."""
        step = runner.iter
        if not step or (Path(runner.work_dir) / self.filename_tmpl.format(step)).is_file():
            return
        if step % getattr(runner.optim_wrapper, '_accumulative_counts', 1) == 0:
            self._save_checkpoint_with_step(runner, step, meta=dict(epoch=runner.epoch, iter=step))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float]) -> None:
        """Write the checkpoint with the best metric so far."""
        last, self.last_ckpt = self.last_ckpt, None
        super().after_val_epoch(runner, metrics)
        self.last_ckpt = last
