"""Cross pseudo supervision, with or without the dynamic weights of DMT."""

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmdmt.core.cutmix import draw_boxes, mix_boxes
from mmdmt.core.dynamic_loss import dynamic_mutual_loss
from mmdmt.core.transfer import to_device
from mmdmt.methods.base import IGNORED, SemiSupervised, View, joined, others, prefixed

Weighting = Literal['none', 'dmt']
WEIGHTINGS = ('none', 'dmt')


@MODELS.register_module()
class CrossPseudo(SemiSupervised):
    """Two networks label each other's batches (CPS, arXiv 2106.01226); with ``weighting='dmt'``, DMT without phases.

    Both networks have one architecture and different initial heads. With logits ``f1`` and ``f2``::

        loss    = CE1(labeled) + CE2(labeled) + weight * L_cross
        L_cross = mean of w1 * CE(f1, argmax f2) + mean of w2 * CE(f2, argmax f1)     over all valid pixels or images

    on labeled and unlabeled images alike; labels have no gradient. ``w`` is 1. With ``weighting='dmt'``, it is the
    dynamic weight of arXiv 2004.08514, from the confidence of the labeling network
    (:func:`~mmdmt.core.dynamic_weight.dynamic_weight`).

    With ``cut_mix``, ``L_cross`` is that of unlabeled images only. Both networks label them without gradient; then
    images and labels get three boxes of another image of the batch, of a quarter to half of the area. The first network
    is tested.

    Args:
        model: Config of a stock segmentor or classifier; both networks are built from it.
        weight: Weight of ``L_cross``, not negative. The paper uses 1.5 on VOC and 6 on Cityscapes.
        cut_mix: Mix unlabeled images (segmentation only).
        weighting: ``none`` or ``dmt``.
        gamma1: Exponent of the dynamic weight where both networks agree.
        gamma2: Exponent where they disagree.

    Raises:
        UserError: as :class:`SemiSupervised`, an argument out of its range, or a batch with one unlabeled image to mix.
    """

    def __init__(
        self,
        model: Mapping,
        weight: float = 1.5,
        cut_mix: bool = False,
        weighting: Weighting = 'none',
        gamma1: float = 2.0,
        gamma2: float = 2.0,
    ) -> None:
        super().__init__(model)
        self.second = self._build(model)
        self._check_range('at least 0', weight=weight, gamma1=gamma1, gamma2=gamma2)
        self._check(not cut_mix or self.pixels, cut_mix=cut_mix, allowed='False for a classifier')
        self._check(weighting in WEIGHTINGS, weighting=weighting, allowed=f'one of {WEIGHTINGS}')
        self.weight, self.cut_mix = weight, cut_mix
        self.gammas = (gamma1, gamma2) if weighting == 'dmt' else (0.0, 0.0)

    def loss(self, labeled: View, weak: View) -> dict[str, Tensor]:  # type: ignore[override]
        """Compute the losses of a step; ``disagree`` is the share of pixels or images that get different labels."""
        step = self._mixed(labeled, weak) if self.cut_mix else self._joint(labeled, weak)
        cross = [
            self._learn(logits, labeling, step.valid)
            for logits, labeling in zip(step.logits, reversed(step.labeling), strict=True)
        ]
        return {
            **step.losses,
            'loss_cross': self.weight * (cross[0][0] + cross[1][0]),
            'disagree': (cross[0][1] + cross[1][1]) / 2,
        }

    def _joint(self, labeled: View, weak: View) -> '_Step':
        """Both networks on all images."""
        images = joined(labeled, weak)
        step = _Step({}, [], [], self.valid(View(images, [*labeled.samples, *weak.samples])))
        for prefix, network in self._networks():
            losses, logits = self.joint(network, labeled, images)
            step.losses.update(prefixed(prefix, losses))
            step.logits.append(logits)
            step.labeling.append(logits.detach())
        return step

    def _mixed(self, labeled: View, weak: View) -> '_Step':
        """Both networks on labeled images, and on mixed unlabeled images only."""
        number, _, height, width = weak.images.shape
        mask = to_device(draw_boxes(number, height, width, share=(0.25, 0.5), boxes=3), weak.images.device)
        mixed, valid = (mix_boxes(values, others(values), mask) for values in (weak.images, weak.valid))
        step = _Step({}, [], [], valid)
        for prefix, network in self._networks():
            unmixed = self.frozen_logits(network, weak)
            step.labeling.append(mix_boxes(unmixed, others(unmixed), mask))
            step.logits.append(self.logits(network, mixed))
            step.losses.update(prefixed(prefix, self.supervised_loss(labeled, network=network)))
        return step

    def _networks(self) -> list[tuple[str, nn.Module]]:
        return [('', self.student), ('second.', self.second)]

    def _learn(self, logits: Tensor, labeling: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
        """Loss of one network on the labels of the other one, and the share where both differ."""
        confidence, label = labeling.float().softmax(1).max(1)
        if valid is not None:
            label = torch.where(valid, label, IGNORED)
        loss, decision = dynamic_mutual_loss(
            logits, label, confidence, *self.gammas, ignore_index=IGNORED, average=self.average
        )
        assert decision is not None
        return loss, decision.disagree.sum() / decision.pseudo.sum().clamp(min=1)

    def _stock_networks(self) -> Iterable[tuple[str, bool]]:
        # A checkpoint with heads would make both networks equal.
        return [('student', True), ('second', False)]


class _Step(NamedTuple):
    """What both networks, the student first, compute in a step: ``logits`` learn, ``labeling`` logits give labels."""

    losses: dict[str, Tensor]
    logits: list[Tensor]
    labeling: list[Tensor]
    valid: Tensor | None
