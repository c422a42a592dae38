"""A hook that shows and logs how far a phase is, and how long the whole plan still takes."""

import resource
import time
from datetime import timedelta
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdmt.engine.screen import Screen
from mmdmt.engine.time_left import TimeLeft


class ScreenHook(Hook):
    """Keep the screen up to date, and log the time left as often as the losses.

    Args:
        screen: What the user looks at.
        title: Place of the phase in the plan, and its name.
        left: Estimates the time of later phases; None without any.
    """

    priority = 'LOWEST'

    def __init__(self, screen: Screen, title: str, left: TimeLeft | None = None) -> None:
        self.screen, self.title, self.left = screen, title, left
        self._trains = False

    def before_train(self, runner: Runner) -> None:
        """Start the clock of the steps."""
        self._trains = True
        self._begin(runner.iter, runner.max_iters, 'steps')

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Show and log a step."""
        log = self.every_n_train_iters(runner, _interval(runner))
        self._report(runner, runner.iter + 1, log, (outputs or {}).get('loss'))

    def before_val(self, runner: Runner) -> None:
        """Start the clock of a validation that is not part of training."""
        if not self._trains:
            self._begin_images(runner.val_dataloader)

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Show how far a validation is."""
        if not self._trains:
            self._report_batch(runner, runner.val_dataloader, batch_idx)
        elif self.screen.due(runner.iter):
            self.screen.show(runner.iter, [f'validation {batch_idx + 1}/{len(runner.val_dataloader)}'])

    def before_test(self, runner: Runner) -> None:
        """Start the clock of the images."""
        self._begin_images(runner.test_dataloader)

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Show and log a batch of images."""
        self._report_batch(runner, runner.test_dataloader, batch_idx)

    def after_run(self, runner: Runner) -> None:
        """Remove the live line."""
        self.screen.end()

    def _begin(self, first: int, total: int, unit: str) -> None:
        self._first, self._total, self._unit = first, total, unit
        self._start = time.perf_counter()
        self.screen.begin(self.title, total, unit)

    def _begin_images(self, loader: Any) -> None:
        total = len(loader.dataset)
        # A label phase that goes on has done some of its images before.
        self._begin(max(0, total - len(loader.sampler) * get_world_size()), total, 'images')

    def _report_batch(self, runner: Runner, loader: Any, batch_idx: int) -> None:
        done = self._first + (batch_idx + 1) * (loader.batch_size or 1) * get_world_size()
        self._report(runner, min(done, self._total), self.every_n_inner_iters(batch_idx, _interval(runner)))

    def _report(self, runner: Runner, done: int, log: bool, loss: Any = None) -> None:
        """Log, and show what is known, as far as it is time to."""
        if not log and not self.screen.due(done):
            return
        rate = (time.perf_counter() - self._start) / max(1, done - self._first)
        left = (self._total - done) * rate
        plan = '' if self.left is None else f' of {_clock(left + self.left.after(rate))}'
        if log and plan:
            runner.logger.info(f'DMT phase {self.title}; time left: {_clock(left)}{plan} for the whole plan')
        if self.screen.due(done):
            facts = [] if loss is None else [f'loss {torch.as_tensor(loss).item():.3g}']
            speed = f'{1 / max(rate, 1e-9):.3g} {self._unit}/s'
            self.screen.show(done, [*facts, f'{_clock(left)}{plan} left', speed, f'{_memory():.1f} GiB'])


def _memory() -> float:
    """Peak memory of the GPU, or of this process without one, in GiB."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _interval(runner: Runner) -> int:
    return (runner.cfg.get('default_hooks') or {}).get('logger', {}).get('interval', 50)
