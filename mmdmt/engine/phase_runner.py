"""The runner of one phase."""

import gc
import itertools
import logging
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmdmt.core.schedule import Phase
from mmdmt.engine.divergence import are_finite, diverged
from mmdmt.engine.hooks.memory_hook import MemoryHook
from mmdmt.engine.screen_runner import ScreenRunner
from mmdmt.engine.stop_signals import ignore_in_worker, in_phase
from mmdmt.files import disk_full, is_full
from mmdmt.labels.writer import LabelWriter

LOADING = ('torch.utils.data.dataloader', 'mmengine.runner.loops')
"""Modules whose functions hold the iterator of a data loader while it loads."""


class PhaseRunner(ScreenRunner):
    """A Runner with a unique experiment name; it logs environment and hooks only for the first phase of a process.

    mmengine finds logger and message hub by that name and appends only the time in seconds. Without a unique name, a
    later run in the same process could reuse those of an earlier phase, with its files and values. Each phase's folder
    contains its config.
    """

    shows_results = False  # the run prints a line of each phase
    _count = itertools.count()
    _described: set[Path] = set()

    def __init__(self, *args: Any, experiment_name: str, **kwargs: Any) -> None:
        super().__init__(*args, experiment_name=f'{experiment_name}_{next(self._count)}', **kwargs)

    def save_checkpoint(self, out_dir: str, filename: str, *args: Any, **kwargs: Any) -> None:
        """Write a checkpoint, if the weights are finite.

        Raises:
            DivergedError: in all processes, if they are not.
            DiskFullError: if the disk cannot hold it; names the file, what it needs and what is free.
        """
        if not are_finite(self.model.state_dict()):
            folder, step = Path(self.work_dir), self.iter + 1
            reason = f'phase {folder.name}: the weights are no longer finite after step {step} of {self.max_iters}'
            raise diverged(folder, reason, step)
        try:
            super().save_checkpoint(out_dir, filename, *args, **kwargs)
        except OSError as error:
            if not is_full(error):
                raise
            path = Path(out_dir) / filename
            path.unlink(missing_ok=True)  # half of it
            others = [other.stat().st_size for other in path.parent.glob('*.pth')]
            raise disk_full(path, max(others, default=0)) from error

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """The logger of the phase."""
        run = Path(self.work_dir).resolve().parent
        self._describes = run not in self._described
        self._described.add(run)
        return super().build_logger(*args, **kwargs)

    def _log_env(self, env_cfg: dict) -> None:
        if self._describes:
            super()._log_env(env_cfg)

    def get_hooks_info(self) -> str:
        """The table of hooks, for the first phase of a process only."""
        return super().get_hooks_info() if self._describes else 'see the log of the first phase'

    @staticmethod
    def build_dataloader(*args: Any, **kwargs: Any) -> DataLoader:
        """Build a data loader whose workers outlive a signal to all processes."""
        loader = Runner.build_dataloader(*args, **kwargs)
        loader.worker_init_fn = partial(_start_worker, loader.worker_init_fn)
        return loader


def _start_worker(initialize: Callable[[int], None] | None, worker: int) -> None:
    ignore_in_worker()
    if initialize is not None:
        initialize(worker)


def run_phase(cfg: Config, phase: Phase, hooks: Sequence[Hook] = ()) -> None:
    """Train or label, with further hooks: run a phase to its end, or until a signal stops it.

    Raises:
        Stopped: after the state was saved.
    """
    with in_phase():
        runner = PhaseRunner.from_cfg(cfg)
        for hook in (*hooks, *([MemoryHook()] if torch.cuda.is_available() else [])):
            runner.register_hook(hook)
        try:
            if phase.kind == 'train':
                runner.train()
            else:
                runner.test()
        except BaseException as error:
            _let_go_of_loaders(error)
            raise
        finally:
            _stop_writing(runner)
            release(runner)


def _stop_writing(runner: Runner) -> None:
    """After an error, no label may be written any more: the folder may be deleted, or labeled anew."""
    evaluator = getattr(runner._test_loop, 'evaluator', None)  # a dict until it is built
    for metric in getattr(evaluator, 'metrics', ()):
        if isinstance(metric, LabelWriter):
            metric.stop()


def empty_memory() -> None:
    """Free what a phase has left; the next one measures the peak of a GPU's memory anew."""
    gc.collect()  # the loaders' workers end with their last reference
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _let_go_of_loaders(error: BaseException) -> None:
    """Let the workers of a loader end that only the traceback of an error holds.

    At exit, Python would otherwise wait for them without end: they ignore the SIGTERM that it sends first.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_globals.get('__name__') in LOADING:
            frame.clear()


def release(runner: Runner) -> None:
    """Close the log files of a phase, and end its loaders' workers.

    The loaders of a Runner are in a reference cycle. A loader that the garbage collector finds in a cycle can no longer
    signal its workers, so shutdown waits five seconds per worker.
    """
    for loop in (runner._train_loop, runner._val_loop, runner._test_loop):
        if not isinstance(loop, dict | None):
            for name in ('dataloader', 'dataloader_iterator'):
                vars(loop).pop(name, None)
    for handler in list(runner.logger.handlers):
        if isinstance(handler, logging.FileHandler):
            handler.close()
            runner.logger.removeHandler(handler)
