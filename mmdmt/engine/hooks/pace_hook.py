"""A hook that measures what a step of training, and an image of a validation or of labeling, takes."""

import time
from typing import Any

import torch
from mmengine.device import is_cuda_available
from mmengine.hooks import Hook
from mmengine.runner import Runner

QUICK = 10.0
"""Seconds below which a step, also on a CPU, and the loading of its batch are measured once more: the first ones load
libraries and warm caches up, which takes many times as long on a busy machine."""


class PaceHook(Hook):
    """Measure seconds per image: ``work`` of training or labeling, ``validation``; None until measured.

    Args:
        workers: Workers that will load the training images. They load while the step computes.
    """

    priority = 'VERY_HIGH'  # the hooks of a tried step write checkpoints, which others rarely do

    def __init__(self, workers: int = 0) -> None:
        self.workers = workers
        self.work: float | None = None
        self.validation: float | None = None

    def before_train_epoch(self, runner: Runner) -> None:
        """Start the clock before the first batch is loaded."""
        self._start = time.perf_counter()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Stop the time of loading."""
        self._loaded = time.perf_counter()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Stop the time of the step."""
        loading, step = self._loaded - self._start, _now() - self._loaded
        if loading < QUICK:
            loading = min(loading, _load_again(runner))
        if step < QUICK or is_cuda_available():
            step = _again(runner, data_batch, step)
        seconds = max(step, loading / self.workers) if self.workers else step + loading
        self.work = seconds / runner.train_dataloader.batch_size

    def before_val_epoch(self, runner: Runner) -> None:
        """Start the clock of a validation."""
        self._start = time.perf_counter()

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Take the mean over the images so far, but for the first batch."""
        self.validation = self._each(runner.val_dataloader, batch_idx)

    def before_test_epoch(self, runner: Runner) -> None:
        """Start the clock of labeling."""
        self._start = time.perf_counter()

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Take the mean over the images so far, but for the first batch."""
        self.work = self._each(runner.test_dataloader, batch_idx)

    def _each(self, loader: Any, batch_idx: int) -> float:
        now, size = _now(), loader.batch_size or 1
        if batch_idx == 0:  # it counts only if there is no other
            self._first = now
            return (now - self._start) / min(len(loader.dataset), size)
        return (now - self._first) / (min(len(loader.dataset), (batch_idx + 1) * size) - size)


def _now() -> float:
    """The time when all work so far is done."""
    if is_cuda_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _load_again(runner: Runner) -> float:
    """Seconds of loading another batch."""
    start = time.perf_counter()
    next(iter(runner.train_dataloader))
    return time.perf_counter() - start


def _again(runner: Runner, data_batch: Any, first: float) -> float:
    """Seconds of the same step once more: the first one takes many times as long on a GPU, or in a small model.

    The weights of a rehearsal serve nothing else. A model may refuse the same batch again; the first time then counts.
    """
    start = _now()
    try:
        runner.model.train_step(data_batch, optim_wrapper=runner.optim_wrapper)
    except Exception:  # of any model
        return first
    return _now() - start
