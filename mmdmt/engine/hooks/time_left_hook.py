"""A hook that logs the progress of the whole plan."""

import time
from datetime import timedelta
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


@HOOKS.register_module()
class TimeLeftHook(Hook):
    """Log the running phase and the time left for the whole plan, as often as the losses.

    Args:
        phase: Name of the phase.
        position: Its number in the plan, from 1, and the number of phases.
        later_steps: Optimizer steps of all later phases.
        later_images: Images that all later phases label.
        step_seconds: Measured seconds per step, from earlier phases.
        image_seconds: Measured seconds per labeled image, from earlier phases.
    """

    priority = 'LOWEST'

    def __init__(
        self,
        phase: str,
        position: tuple[int, int],
        later_steps: int = 0,
        later_images: int = 0,
        step_seconds: float | None = None,
        image_seconds: float | None = None,
    ) -> None:
        self.phase, self.position = phase, tuple(position)
        self.later_steps, self.later_images = later_steps, later_images
        self.step_seconds, self.image_seconds = step_seconds, image_seconds

    def before_train(self, runner: Runner) -> None:
        """Start the clock of the steps."""
        self._first_iter, self._start = runner.iter, time.perf_counter()

    def before_test(self, runner: Runner) -> None:
        """Start the clock of the images."""
        self._start = time.perf_counter()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Log during a train phase."""
        if self.every_n_train_iters(runner, _log_interval(runner)):
            done = runner.iter + 1 - self._first_iter
            rate = (time.perf_counter() - self._start) / done
            self._log(runner, (runner.max_iters - runner.iter - 1) * rate, rate)

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Log during a label phase."""
        if self.every_n_inner_iters(batch_idx, _log_interval(runner)):
            rate = (time.perf_counter() - self._start) / (batch_idx + 1)
            self._log(runner, (len(runner.test_dataloader) - batch_idx - 1) * rate, None)

    def _log(self, runner: Runner, phase_seconds: float, step_seconds: float | None) -> None:
        step_seconds = step_seconds or self.step_seconds or 0.0
        batch_size = runner.cfg.get('train_dataloader') and runner.cfg.train_dataloader.batch_size
        # Estimate until a label phase is measured: an image costs about a third of its share of a training step.
        image_seconds = self.image_seconds or step_seconds / (3 * (batch_size or 1))
        left = phase_seconds + self.later_steps * step_seconds + self.later_images * image_seconds
        number, total = self.position
        runner.logger.info(
            f'DMT phase {number} of {total} ({self.phase}); time left for the whole plan: about '
            f'{timedelta(seconds=round(left))}'
        )


def _log_interval(runner: Runner) -> int:
    return (runner.cfg.get('default_hooks') or {}).get('logger', {}).get('interval', 50)
