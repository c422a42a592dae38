"""The hook that ties a phase's ordinary run to the DMT run it belongs to."""

import math
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mmdmt.core.dynamic_weight import gamma_ramp
from mmdmt.datasets.label_store import write_json
from mmdmt.losses.dynamic_mutual_loss import DynamicMutualLoss


@HOOKS.register_module()
class DMTHook(Hook):
    """Watch a phase, and at its end commit it and hand its result over to the next ones.

    It lets gamma rise if asked to, stops on a loss that is not finite, logs where the whole plan stands, marks
    checkpoints with their model, and last of all writes ``phase.json``, which makes the phase complete.

    Args:
        phase: Name of the phase.
        model: Name of its model.
        position: Its number in the plan, from 1, and the number of phases.
        metric: Name of the validation metric that counts.
        select: ``last`` or ``val``, see :class:`~mmdmt.engine.settings.DMTSettings`.
        ramp: Let gamma rise over the phase (``gamma_ramp``).
        gamma_scale: Factor of all gammas in this phase.
        later_steps: Optimizer steps of all later phases.
        later_images: Images that all later phases label.
        step_seconds: Measured seconds of a step, from earlier phases.
        image_seconds: Measured seconds to label an image, from earlier phases.
    """

    priority = 'LOWEST'

    def __init__(
        self,
        phase: str,
        model: str,
        position: tuple[int, int],
        metric: str,
        select: str = 'last',
        ramp: bool = False,
        gamma_scale: float = 1.0,
        later_steps: int = 0,
        later_images: int = 0,
        step_seconds: float | None = None,
        image_seconds: float | None = None,
    ) -> None:
        self.phase, self.model, self.position = phase, model, tuple(position)
        self.metric, self.select, self.ramp, self.gamma_scale = metric, select, ramp, gamma_scale
        self.later_steps, self.later_images = later_steps, later_images
        self.step_seconds, self.image_seconds = step_seconds, image_seconds
        self._start = time.perf_counter()
        self._seconds_before = 0.0
        self._first_iter = 0
        self._validated_iter: int | None = None

    @property
    def seconds(self) -> float:
        """Seconds spent on the phase, up to the last checkpoint of a killed attempt included."""
        return self._seconds_before + time.perf_counter() - self._start

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Take over the time of an interrupted attempt of the same phase."""
        mark = checkpoint.get('meta', {}).get('dmt', {})
        if mark.get('phase') == self.phase:
            self._seconds_before = mark.get('seconds', 0.0)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Say in the checkpoint which model it is: the overrides of that model are needed to use it."""
        checkpoint['meta']['dmt'] = dict(phase=self.phase, model=self.model, seconds=self.seconds)

    def before_train(self, runner: Runner) -> None:
        """Start the clock of the steps."""
        self._first_iter, self._train_start = runner.iter, time.perf_counter()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Scale gamma for this phase, and on its ramp, which runs from the first step (t = 0) to the last (t = T)."""
        if self.ramp or self.gamma_scale != 1:
            ramp = gamma_ramp(1.0, runner.iter, max(1, runner.max_iters - 1)) if self.ramp else 1.0
            scale = self.gamma_scale * ramp
            for module in _unwrapped(runner).modules():
                if isinstance(module, DynamicMutualLoss):
                    module.gamma_scale = scale

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Stop on a loss that is not finite; now and then, say how far the plan is."""
        loss = torch.as_tensor((outputs or {}).get('loss', 0.0)).item()
        if not math.isfinite(loss):
            raise FloatingPointError(
                f'phase {self.phase}: the loss is {loss} at step {runner.iter + 1} of {runner.max_iters}; lower the '
                'learning rate or clip gradients (optim_wrapper.clip_grad); completed phases are kept'
            )
        if self.every_n_train_iters(runner, _log_interval(runner)):
            done = runner.iter + 1 - self._first_iter
            rate = (time.perf_counter() - self._train_start) / done
            self._log_progress(runner, (runner.max_iters - runner.iter - 1) * rate, rate)

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Now and then, say how far the plan is."""
        if self.every_n_inner_iters(batch_idx, _log_interval(runner)):
            rate = (time.perf_counter() - self._start) / (batch_idx + 1)
            self._log_progress(runner, (len(runner.test_dataloader) - batch_idx - 1) * rate, None)

    def _log_progress(self, runner: Runner, own_seconds: float, step_seconds: float | None) -> None:
        step_seconds = step_seconds or self.step_seconds or 0.0
        batch_size = runner.cfg.get('train_dataloader') and runner.cfg.train_dataloader.batch_size
        # Until a label phase was measured: an image costs about a third of its part of a training step.
        image_seconds = self.image_seconds or step_seconds / (3 * (batch_size or 1))
        left = own_seconds + self.later_steps * step_seconds + self.later_images * image_seconds
        number, total = self.position
        runner.logger.info(
            f'DMT phase {number} of {total} ({self.phase}); left of the whole plan: about '
            f'{timedelta(seconds=round(left))}'
        )

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Note the step that was validated."""
        self._validated_iter = runner.iter

    def after_train(self, runner: Runner) -> None:
        """Commit a train phase: its checkpoint is what the next phases start from."""
        if runner.val_loop is not None and self._validated_iter != runner.iter:
            runner.val_loop.run()  # resumed from the last checkpoint, which was written before the validation
        info = runner.message_hub
        metrics = {
            key.removeprefix('val/'): float(value.current())  # some are NumPy scalars
            for key, value in info.log_scalars.items()
            if key.startswith('val/') and key not in ('val/data_time', 'val/time')
        }
        record = dict(checkpoint=f'iter_{runner.max_iters}.pth', metrics=metrics, steps=runner.max_iters)
        if self.select == 'val' and 'best_ckpt' in info.runtime_info:
            record['checkpoint'] = Path(info.get_info('best_ckpt')).name
            record['metrics'] = {self.metric: float(info.get_info('best_score'))}
            record['metrics_last'] = metrics
        self._commit(runner, record)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Commit a label phase."""
        self._commit(runner, {key.removeprefix('pseudo_label/'): value for key, value in (metrics or {}).items()})

    @master_only
    def _commit(self, runner: Runner, record: dict[str, Any]) -> None:
        folder = Path(runner.work_dir)
        if torch.cuda.is_available():
            record['gpu_memory_mib'] = torch.cuda.max_memory_allocated() // 2**20
        record = dict(phase=self.phase, model=self.model, select=self.select, seconds=round(self.seconds, 1), **record)
        write_json(folder / 'phase.json', record)
        for path in folder.glob('*.pth'):
            if path.name != record.get('checkpoint'):
                path.unlink()


def _unwrapped(runner: Runner) -> torch.nn.Module:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def _log_interval(runner: Runner) -> int:
    return (runner.cfg.get('default_hooks') or {}).get('logger', {}).get('interval', 50)
