"""Mean Teacher."""

from collections.abc import Mapping
from typing import Literal

from mmengine.registry import MODELS
from torch import Tensor

from mmdmt.core.consistency import ramp_up, squared_difference
from mmdmt.methods.base import SemiSupervised, View

Distance = Literal['probability', 'logit']
DISTANCES = ('probability', 'logit')


@MODELS.register_module()
class MeanTeacher(SemiSupervised):
    """Make the student predict what its average predicts (Mean Teacher, arXiv 1703.01780).

    ::

        loss = CE(labeled) + weight * r(t) * mean over images, valid pixels and classes of (student - teacher)**2

    of soft-max outputs or logits on unlabeled images, with ``r(t) = exp(-5 (1 - min(t, ramp) / ramp)**2)``. Student and
    teacher see views of their own; without gradient to the teacher. Both are in training mode; parameters are averaged,
    and each network keeps its own statistics of batch norm. The teacher is tested.

    Defaults are those of the comparison in arXiv 1905.02249 with WRN-28-2. For segmentation, PixelSSL (arXiv
    2004.09548) uses ``distance='logit', weight=1, ramp=0.15, teacher_momentum=0.99, warm=True``. The original paper
    also compares the predictions on labeled images.

    Args:
        model: Config of a stock segmentor or classifier.
        distance: Compare ``probability`` (soft-max outputs) or ``logit``.
        weight: Largest weight of the comparison, not negative.
        ramp: Share of the training after which the weight is reached, in [0, 1].
        teacher_momentum: See :class:`SemiSupervised`.
        warm: See :class:`SemiSupervised`.

    Raises:
        UserError: as :class:`SemiSupervised`, or an argument out of its range.
    """

    teacher_trains = True

    def __init__(
        self,
        model: Mapping,
        distance: Distance = 'probability',
        weight: float = 50.0,
        ramp: float = 0.4,
        teacher_momentum: float = 0.999,
        warm: bool = False,
    ) -> None:
        super().__init__(model, teacher_momentum, warm, average_buffers=False)
        self._check(distance in DISTANCES, distance=distance, allowed=f'one of {DISTANCES}')
        self._check_range('at least 0', weight=weight)
        self._check_range('in [0, 1]', ramp=ramp)
        self.distance, self.weight, self.ramp = distance, weight, ramp

    def loss(self, labeled: View, teacher_view: View, student_view: View) -> dict[str, Tensor]:  # type: ignore[override]
        """Compute the losses of a step."""
        assert self.teacher is not None
        target = self._output(self.frozen_logits(self.teacher, teacher_view))
        found = self._output(self.logits(self.student, student_view).float())
        difference = squared_difference(found, target, self.valid(student_view), self.average)
        weight = self.weight * ramp_up(self.progress, self.ramp)
        return {**self.supervised_loss(labeled), 'loss_consistency': weight * difference}

    def _output(self, logits: Tensor) -> Tensor:
        return logits.softmax(1) if self.distance == 'probability' else logits
