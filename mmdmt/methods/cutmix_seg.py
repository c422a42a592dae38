"""CutMix-Seg."""

from collections.abc import Mapping

from mmengine.registry import MODELS
from torch import Tensor

from mmdmt.core.cutmix import draw_boxes, mix_boxes
from mmdmt.core.transfer import to_device
from mmdmt.methods.base import SemiSupervised, View, others


@MODELS.register_module()
class CutMixSeg(SemiSupervised):
    """Predict a mixed image as the average teacher predicts its two parts (CutMix-Seg, arXiv 1906.01916).

    Each unlabeled image ``u`` gets a box, of half its area, of another one ``v`` of the batch: mask ``m``::

        target  = softmax((1 - m) * teacher(u) + m * teacher(v))
        L_u     = mean over pixels of valid * sum over classes of (softmax(student(mixed)) - target)**2
        loss    = CE(labeled) + weight * sure * L_u

    ``sure`` is the share of all pixels whose target has a maximum of at least ``threshold``. With ``by_pixel``, each
    pixel has its own factor, 1 or 0. The teacher is in evaluation mode, its statistics of batch norm are averages, and
    it is tested.

    Args:
        model: Config of a stock segmentor.
        threshold: Confidence of a sure pixel, in [0, 1].
        weight: Weight of the loss on unlabeled images, not negative.
        by_pixel: Multiply each pixel by whether it is sure, instead of all pixels by the share of sure ones.
        teacher_momentum: See :class:`SemiSupervised`; the teacher starts as a copy.

    Raises:
        UserError: as :class:`SemiSupervised`, an argument out of its range, or a batch with one unlabeled image.
    """

    tasks = ('segmentation',)

    def __init__(
        self,
        model: Mapping,
        threshold: float = 0.97,
        weight: float = 1.0,
        by_pixel: bool = False,
        teacher_momentum: float = 0.99,
    ) -> None:
        super().__init__(model, teacher_momentum, warm=False)
        self._check_range('in [0, 1]', threshold=threshold)
        self._check_range('at least 0', weight=weight)
        self.threshold, self.weight, self.by_pixel = threshold, weight, by_pixel

    def loss(self, labeled: View, weak: View) -> dict[str, Tensor]:  # type: ignore[override]
        """Compute the losses of a step."""
        assert self.teacher is not None
        number, _, height, width = weak.images.shape
        mask = to_device(draw_boxes(number, height, width), weak.images.device)
        mixed, valid = (mix_boxes(values, others(values), mask) for values in (weak.images, weak.valid))
        logits = self.frozen_logits(self.teacher, weak)
        target = mix_boxes(logits, others(logits), mask).softmax(1)
        sure = (target.amax(1) >= self.threshold).float()
        found = self.logits(self.student, mixed).float().softmax(1)
        difference = (found - target).square().sum(1) * valid * (sure if self.by_pixel else self._share(sure))
        return {
            **self.supervised_loss(labeled),
            'loss_consistency': self.weight * difference.mean(),
            'sure': sure.mean(),
        }

    def _share(self, sure: Tensor) -> Tensor:
        """Share of sure pixels of the whole batch, whose parts have one size."""
        return sure.mean() if self.average is None else self.average(sure.mean())
