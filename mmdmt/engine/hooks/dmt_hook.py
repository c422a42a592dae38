"""The hook that commits a phase and hands over its result."""

import resource
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mmdmt.engine.commit import commit
from mmdmt.engine.hooks.memory_hook import GPU_MEMORY
from mmdmt.engine.hooks.progress_hook import unwrapped
from mmdmt.errors import UserError

CLASS_FIGURES = ('class_iou', 'class_accuracy')


@HOOKS.register_module()
class DMTHook(Hook):
    """Commit a phase at its end, and hand over its result to the phases that need it.

    The plan, not this hook, alternates the two models: :func:`mmdmt.core.schedule.plan` defines which phase trains
    which model on whose labels. ``DMTRunner`` runs the phases one after the other, each as an ordinary mmengine run.
    This hook ties such a run to the plan. It names the model in every checkpoint. At the end, it writes ``phase.json``,
    which completes the phase and names the checkpoint that the next phases start from, and deletes other checkpoints.

    Args:
        phase: Name of the phase.
        model: Name of its model.
        metric: Name of the validation metric that selects the best checkpoint.
        select: ``last`` or ``val``, see :class:`~mmdmt.engine.settings.DMTSettings`.
        figures: Further entries of ``phase.json``, such as the number of labeled images.
        keep_best: Keep checkpoints that ``save_best`` of the config has written, too.
    """

    priority = 'LOWEST'

    def __init__(
        self,
        phase: str,
        model: str,
        metric: str,
        select: str = 'last',
        figures: Mapping[str, int] | None = None,
        keep_best: bool = False,
    ) -> None:
        self.phase, self.model, self.metric, self.select = phase, model, metric, select
        self.figures, self.keep_best = dict(figures or {}), keep_best
        self._start, self._cpu_start = time.perf_counter(), time.process_time()
        self._seconds_before = self._cpu_seconds_before = 0.0
        self._validated_iter: int | None = None

    @property
    def seconds(self) -> float:
        """Seconds spent on the phase, including a killed attempt up to its last checkpoint."""
        return self._seconds_before + time.perf_counter() - self._start

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds of this process (not of its loaders' workers), otherwise like ``seconds``."""
        return self._cpu_seconds_before + time.process_time() - self._cpu_start

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Restore the time of an interrupted attempt of the same phase."""
        mark = checkpoint.get('meta', {}).get('dmt', {})
        if mark.get('phase') == self.phase:
            self._seconds_before = mark.get('seconds', 0.0)
            self._cpu_seconds_before = mark.get('cpu_seconds', 0.0)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Store the model's name in the checkpoint: using it needs the overrides of that model."""
        mark = checkpoint['meta']['dmt'] = dict(
            phase=self.phase, model=self.model, seconds=self.seconds, cpu_seconds=self.cpu_seconds
        )
        prefix = getattr(unwrapped(runner.model), 'predictor_prefix', '')
        if prefix:  # of a method: which of its networks predicts
            mark['predictor_prefix'] = prefix

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Store the validated step.

        Raises:
            UserError: if the metric that compares models is not measured.
        """
        if metrics and self.metric not in metrics:
            known = ', '.join(sorted(metrics))
            raise UserError(f'dmt.metric={self.metric!r} is not one that val_evaluator gives: {known}')
        self._validated_iter = runner.iter

    def after_train(self, runner: Runner) -> None:
        """Commit a train phase; the next phases start from its checkpoint."""
        if runner.val_loop is not None and self._validated_iter != runner.iter:
            runner.val_loop.run()  # resumed from the last checkpoint, which was written before the validation
        info = runner.message_hub
        metrics = {
            key.removeprefix('val/'): float(value.current())  # some are NumPy scalars
            for key, value in info.log_scalars.items()
            if key.startswith('val/') and key not in ('val/data_time', 'val/time')
        }
        if runner.iter < runner.max_iters:  # stopped early: no other hook has saved this step
            meta = dict(epoch=runner.epoch, iter=runner.iter)
            runner.save_checkpoint(runner.work_dir, f'iter_{runner.iter}.pth', meta=meta, by_epoch=False)
        record = dict(checkpoint=f'iter_{runner.iter}.pth', metrics=metrics, steps=runner.iter)
        record.update({key: info.get_info(key) for key in CLASS_FIGURES if key in info.runtime_info})
        if self.select != 'last':
            # With several metrics in `save_best`, mmengine adds the name.
            suffix = '' if 'best_ckpt' in info.runtime_info else f'_{self.metric}'
            if f'best_ckpt{suffix}' in info.runtime_info:
                record['checkpoint'] = Path(info.get_info(f'best_ckpt{suffix}')).name
                record['metrics'] = {self.metric: float(info.get_info(f'best_score{suffix}'))}
                record['metrics_last'] = metrics
        self._commit(runner, record)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Commit a label phase."""
        self._commit(runner, {key.removeprefix('pseudo_label/'): value for key, value in (metrics or {}).items()})

    @master_only
    def _commit(self, runner: Runner, record: dict[str, Any]) -> None:
        if torch.cuda.is_available():
            now = torch.cuda.max_memory_allocated() // 2**20  # of a label phase, or a short one
            record[GPU_MEMORY] = runner.message_hub.runtime_info.get(GPU_MEMORY, now)
        record = dict(
            phase=self.phase,
            model=self.model,
            select=self.select,
            seconds=round(self.seconds, 1),
            cpu_seconds=round(self.cpu_seconds, 1),
            memory_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**10,  # peak of this process so far
            **self.figures,
            **record,
        )
        commit(Path(runner.work_dir), record, self.keep_best)
