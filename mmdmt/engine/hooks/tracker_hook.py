"""A hook that sends the figures of a phase to the trackers of the run."""

from collections.abc import Collection, Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdmt.engine.trackers import Tracker

TRAIN, LABEL = 'train/', 'pseudo_label/'
CURRENT = ('lr', 'momentum')
"""How the names of figures end that are set, not measured: their last value counts, not their mean."""


class TrackerHook(Hook):
    """Send losses, metrics and statistics of labels, named ``MODEL/train/..``, ``MODEL/val/..``, ``MODEL/label/..``.

    Args:
        tracker: The trackers of the run.
        model: Name of the model that trains or labels.
        offset: Steps of all phases before, for steps that count on over the whole plan.
        without: Figures of training that mean nothing in this phase.
    """

    priority = 'LOWEST'

    def __init__(self, tracker: Tracker, model: str, offset: int, without: Collection[str] = ()) -> None:
        self.tracker, self.model, self.offset, self.without = tracker, model, offset, without

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Send the means since the last time, as often as they are logged."""
        interval = (runner.cfg.get('default_hooks') or {}).get('logger', {}).get('interval', 50)
        if self.every_n_train_iters(runner, interval):
            found = {
                name: value.current() if name.endswith(CURRENT) else value.mean(interval)
                for name, value in runner.message_hub.log_scalars.items()
                if name.startswith(TRAIN) and name.rpartition('.')[2].removeprefix(TRAIN) not in self.without
            }
            self._send('', found, runner.iter + 1)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Send the metrics of a validation."""
        self._send('val/', metrics or {}, runner.iter)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Send the statistics of the labels."""
        found = {name.removeprefix(LABEL): value for name, value in (metrics or {}).items()}
        self._send('label/', found, 0)

    def _send(self, kind: str, figures: Mapping[str, Any], step: int) -> None:
        self.tracker.scalars({f'{self.model}/{kind}{name}': value for name, value in figures.items()},
                             self.offset + step)  # fmt: skip
