"""The training loop of a phase."""

from typing import Any

from mmengine.registry import LOOPS
from mmengine.runner import IterBasedTrainLoop
from mmengine.runner.loops import _InfiniteDataloaderIterator


@LOOPS.register_module()
class PhaseLoop(IterBasedTrainLoop):
    """An ``IterBasedTrainLoop`` that resumes at the position of its step.

    The sampler starts there, so no skipped image is loaded. A validation that is due at that step is run first: the
    checkpoint was written before it, see :class:`~mmdmt.engine.hooks.PhaseCheckpointHook`.
    """

    def run(self) -> Any:
        """Train to the end of the phase; return the model."""
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        if self._iter > 0:
            self.dataloader.sampler.skip(self._iter * self.dataloader.batch_size)
            self.dataloader_iterator = _InfiniteDataloaderIterator(self.dataloader)
            self._validate_if_due()
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter(next(self.dataloader_iterator))
            self._validate_if_due()
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def _validate_if_due(self) -> None:
        self._decide_current_val_interval()
        due = self._iter % self.val_interval == 0 or self._iter == self._max_iters
        if due and self._iter >= self.val_begin and self.runner.val_loop is not None:
            self.runner.val_loop.run()
