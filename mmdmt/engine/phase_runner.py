"""The runner of one phase."""

import itertools
import logging
from typing import Any

from mmengine.runner import Runner


class PhaseRunner(Runner):
    """A Runner with an experiment name of its own, which logs environment, config and hooks for the baselines only.

    mmengine finds logger and message hub by that name, to which it adds the time in seconds only: a phase of a later
    run in the same process could get those of an earlier one, with its files and its values. The config lies in each
    folder.
    """

    _count = itertools.count()

    def __init__(self, *args: Any, experiment_name: str, **kwargs: Any) -> None:
        super().__init__(*args, experiment_name=f'{experiment_name}_{next(self._count)}', **kwargs)

    @property
    def _is_baseline(self) -> bool:
        return self._experiment_name.startswith('00_')

    def _log_env(self, env_cfg: dict) -> None:
        if self._is_baseline:
            super()._log_env(env_cfg)

    def get_hooks_info(self) -> str:
        """The table of hooks, of a baseline."""
        return super().get_hooks_info() if self._is_baseline else "as in the first phase's log"


def release(runner: Runner) -> None:
    """Close the log files of a phase, and end its loaders' workers.

    A loader that the garbage collector finds in a cycle, as those of a Runner, can no longer signal its workers, so
    shutdown waits five seconds per worker.
    """
    for loop in (runner._train_loop, runner._val_loop, runner._test_loop):
        if not isinstance(loop, dict | None):
            for name in ('dataloader', 'dataloader_iterator'):
                vars(loop).pop(name, None)
    for handler in list(runner.logger.handlers):
        if isinstance(handler, logging.FileHandler):
            handler.close()
            runner.logger.removeHandler(handler)
