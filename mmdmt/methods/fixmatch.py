"""FixMatch."""

from collections.abc import Mapping

from mmengine.registry import MODELS
from torch import Tensor

from mmdmt.core.consistency import masked_cross_entropy
from mmdmt.methods.base import SemiSupervised, View


@MODELS.register_module()
class FixMatch(SemiSupervised):
    """Learn on strong views what the student is sure of on weak ones (FixMatch, arXiv 2001.07685, Eq. 4).

    With ``p`` the soft-max of the student on the weak view, without gradient::

        loss = labeled_weight * CE(labeled) + unlabeled_weight * L_u
        L_u  = mean over valid pixels or images of 1[max p >= threshold] * CE(strong, argmax p)

    With ``teacher_momentum``, an average of the student is tested; it does not label. The form of the segmentation
    papers, with boxes exchanged between images, is ``UniMatch(strong_views=1, feature_dropout='none')``.

    Args:
        model: Config of a stock segmentor or classifier.
        threshold: Confidence from which a label is learned, in [0, 1].
        labeled_weight: Weight of the losses on labeled images.
        unlabeled_weight: Weight of the loss on unlabeled images.
        teacher_momentum: See :class:`SemiSupervised`; the paper uses 0.999.

    Raises:
        UserError: as :class:`SemiSupervised`, a threshold outside [0, 1] or a negative weight.
    """

    def __init__(
        self,
        model: Mapping,
        threshold: float = 0.95,
        labeled_weight: float = 1.0,
        unlabeled_weight: float = 1.0,
        teacher_momentum: float | None = None,
    ) -> None:
        super().__init__(model, teacher_momentum, warm=False)
        self._check_range('in [0, 1]', threshold=threshold)
        self._check_range('at least 0', labeled_weight=labeled_weight, unlabeled_weight=unlabeled_weight)
        self.threshold = threshold
        self.labeled_weight, self.unlabeled_weight = labeled_weight, unlabeled_weight

    def loss(self, labeled: View, weak: View, strong: View) -> dict[str, Tensor]:  # type: ignore[override]
        """Compute the losses of a step; ``sure`` is the share of pixels or images that are learned."""
        confidence, target = self.frozen_logits(self.student, weak).softmax(1).max(1)
        sure = confidence >= self.threshold
        unlabeled = masked_cross_entropy(
            self.logits(self.student, strong), target, sure, self.valid(strong), self.average
        )
        return {
            **self.supervised_loss(labeled, self.labeled_weight),
            'loss_unlabeled': self.unlabeled_weight * unlabeled,
            'sure': sure.float().mean(),
        }
