"""A hook that warns at once when pseudo labels of a class, or the weights of pseudo labels, collapse."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdmt.core.alarms import AT_FIRST, LOST, LOW_WEIGHT, SHRUNK, WINDOW, lost_classes
from mmdmt.engine.hooks.weighted_hook import STATISTIC
from mmdmt.files import read_json
from mmdmt.labels.writer import ONE_CLASS

SHOWN = 5
LEAST_STEPS = 10
"""Steps that a mean weight is taken over at least."""


class AlarmHook(Hook):
    """Warn in one line, once a phase of each kind, with values and what to try.

    Labels are judged when a label phase is complete, before any training uses them: images that are sorted by class
    would raise a false alarm on the way. The mean weight is judged after every tenth of a train phase.

    Args:
        phase: Name of the phase.
        classes: Names of the classes.
        human: Number of labels of each class in the labeled images; None if unknown.
        before: The same in the labels that the teacher gave in the iteration before; None without one.
        weighs: Whether the phase trains on pseudo labels. A baseline logs a mean weight of 0 that means nothing.
    """

    priority = 'LOWEST'

    def __init__(
        self,
        phase: str,
        classes: Sequence[str],
        human: Sequence[int] | None = None,
        before: Sequence[int] | None = None,
        weighs: bool = True,
    ) -> None:
        self.phase, self.classes, self.human, self.before = phase, classes, human, before
        self._weights: list[torch.Tensor] = []
        self._warned = not weighs

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Compare the labels that the next phase uses with those of humans, and with those before."""
        info = read_json(Path(runner.work_dir) / 'labels.json') or {}
        kept, labels = info.get('kept_by_class'), info.get('pixels_by_class') or info.get('images_by_class') or ()
        if not kept or max(labels, default=0) >= ONE_CLASS * sum(labels):  # of a single class, the writer has warned
            return
        for reference, least, of in (
            (self.human, LOST, 'of the labeled images'),
            (self.before, SHRUNK, 'of the labels of the iteration before'),
        ):
            lost = lost_classes(kept, reference or (), least)
            if reference and lost:
                runner.logger.warning(
                    f'{self.phase}: {self._shares(lost, kept, reference)} {of}. The next phase hardly learns what it '
                    'sees so rarely. More labeled images of this, a longer dmt.supervised, or smaller dmt.label_ratios '
                    'may help'
                )
                return

    def _shares(self, lost: Sequence[int], kept: Sequence[int], reference: Sequence[int]) -> str:
        """The classes with their share of the labels, and of what they are compared with."""
        texts = [
            f'{self.classes[index]} {_percent(kept, index)} instead of {_percent(reference, index)}'
            for index in lost[:SHOWN]
        ]
        more = f' and {len(lost) - SHOWN} more classes' if len(lost) > SHOWN else ''
        return f'the used labels hardly contain {", ".join(texts)}{more}'

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Mapping[str, Any] | None = None
    ) -> None:
        """Judge the mean weight of the pseudo labels after each tenth of the phase."""
        found = [value for key, value in (outputs or {}).items() if key.endswith(STATISTIC)]
        if not found or self._warned:
            return
        self._weights.append(torch.as_tensor(found[0]).detach().float())  # not read each step: that would wait for it
        window = max(LEAST_STEPS, round(WINDOW * runner.max_iters))
        if (runner.iter + 1) % window:
            return
        weights, self._weights = self._weights, []
        if len(weights) < window or runner.iter + 1 <= AT_FIRST * runner.max_iters:
            return
        mean = torch.stack(weights).mean().item()
        if mean < LOW_WEIGHT:
            self._warned = True
            runner.logger.warning(
                f'{self.phase}: the mean weight of its pseudo labels over the last {window} steps is {mean:.2g}, so '
                'they teach next to nothing. A smaller gamma1 or gamma2 (docs/loss.md) raises it'
            )


def _percent(counts: Sequence[int], index: int) -> str:
    return f'{100 * counts[index] / max(1, sum(counts)):.2g} %'
