"""Runners that show little: one line that tells how far they are, warnings, and results."""

import os
from typing import Any, Literal

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner

from mmdmt.engine.console import show
from mmdmt.engine.hooks.evaluation_kernels_hook import EvaluationKernelsHook
from mmdmt.engine.hooks.result_hook import ResultHook
from mmdmt.engine.hooks.screen_hook import ScreenHook
from mmdmt.engine.screen import screen_for
from mmdmt.errors import UserError
from mmdmt.files import check_folder


class ScreenRunner(Runner):
    """A Runner whose messages below warnings go to its log file only, tables of results excepted."""

    shows_results = True

    def set_randomness(self, seed: int | None, diff_rank_seed: bool = False, deterministic: bool = False) -> None:
        """Seed all generators; with ``deterministic``, let cuBLAS be so, too."""
        if deterministic:
            os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')  # torch requires it; read at its first use
        super().set_randomness(seed, diff_rank_seed, deterministic)

    def register_hooks(self, *args: Any, **kwargs: Any) -> None:
        """Register the hooks of the config, and that of deterministic runs."""
        super().register_hooks(*args, **kwargs)
        if torch.are_deterministic_algorithms_enabled():
            self.register_hook(EvaluationKernelsHook())

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """The logger, with less on the screen."""
        logger = super().build_logger(*args, **kwargs)
        show(logger, results=self.shows_results)
        return logger


def run_alone(cfg: Config, operation: Literal['train', 'val', 'test'], *hooks: Hook) -> Any:
    """Train, validate or test an ordinary config, which is not part of a plan; show how far it is and its results.

    Args:
        cfg: The config.
        operation: Name of the Runner's method.
        hooks: Further hooks.

    Returns:
        What the method returns: metrics, or the trained model.
    """
    if not cfg.get('model'):
        raise UserError('the config has no model, so there is nothing to run: is it a part of a config?')
    check_folder(cfg.work_dir)
    runner = ScreenRunner.from_cfg(cfg)
    screen = screen_for(cfg.get('log_level', 'INFO'))
    for hook in (*hooks, ResultHook(screen), ScreenHook(screen, operation)):
        runner.register_hook(hook)
    try:
        return getattr(runner, operation)()
    finally:
        screen.end()
