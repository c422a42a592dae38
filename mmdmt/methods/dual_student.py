"""Dual Student."""

from collections.abc import Iterable, Mapping

import torch
from mmengine.registry import MODELS
from torch import Tensor

from mmdmt.core.consistency import ramp_up, squared_difference
from mmdmt.methods.base import SemiSupervised, View, joined, prefixed


@MODELS.register_module()
class DualStudent(SemiSupervised):
    """Two students, each of which learns from the other one where that one is stable (arXiv 1909.01804).

    Student ``l`` sees the first view with gradient and the second one without; student ``r`` the other way round. For
    each student, with soft-max outputs ``p`` (with gradient) and ``p'`` (without)::

        loss  = CE(labeled) + r(t) * (consistency * L_con + stabilization * n_u / n * L_sta)
        L_con = mean over images and classes of (p - p')**2
        L_sta = mean over unlabeled images and classes of learns * (p - other)**2

    A batch has ``n`` images, ``n_u`` of them unlabeled. ``other`` is the other student's ``p``, without gradient. A
    student is stable on an image if it predicts one class on both views, with a confidence above ``threshold`` on at
    least one. Where only the other student is stable, a student learns from it; where both are, the one with the
    larger ``(p - p')**2`` learns; where none is, or both differ equally, nobody does. The original has a second head
    for consistency; here, there is one. The first student is tested.

    Args:
        model: Config of a stock classifier; both students are built from it.
        consistency: Largest weight of a student's own consistency, not negative.
        stabilization: Largest weight of learning from the other student, not negative.
        threshold: Confidence of a stable prediction, in [0, 1].
        ramp: Share of the training after which the weights are reached, in [0, 1]; the paper's 5 of 300 epochs.

    Raises:
        UserError: as :class:`SemiSupervised`, or an argument out of its range.
    """

    tasks = ('classification',)

    def __init__(
        self,
        model: Mapping,
        consistency: float = 10.0,
        stabilization: float = 100.0,
        threshold: float = 0.8,
        ramp: float = 5 / 300,
    ) -> None:
        super().__init__(model)
        self.second = self._build(model)
        self._check_range('at least 0', consistency=consistency, stabilization=stabilization)
        self._check_range('in [0, 1]', threshold=threshold, ramp=ramp)
        self.consistency, self.stabilization = consistency, stabilization
        self.threshold, self.ramp = threshold, ramp

    def loss(  # type: ignore[override]
        self, labeled: View, labeled_again: View, first: View, second: View
    ) -> dict[str, Tensor]:
        """Compute the losses of a step; ``exchanged`` is the share of unlabeled images that a student learns from."""
        number, ramp, losses = len(labeled.images), ramp_up(self.progress, self.ramp), {}
        views = [joined(labeled, first), joined(labeled_again, second)]
        pairs = []
        for prefix, network, own, (images, other_images) in (
            ('', self.student, labeled, views),
            ('second.', self.second, labeled_again, reversed(views)),
        ):
            frozen = self.frozen_logits(network, other_images).softmax(1)
            supervised, logits = self.joint(network, own, images)
            learned = logits.float().softmax(1)
            losses.update(prefixed(prefix, supervised))
            losses[f'{prefix}loss_consistency'] = ramp * self.consistency * squared_difference(learned, frozen)
            pairs.append((learned[number:], frozen[number:]))
        learns = _who_learns(*pairs, self.threshold)
        weight = ramp * self.stabilization * len(first.images) / len(views[0])
        for prefix, mask, own_output, other_output in (
            ('', learns[0], pairs[0][0], pairs[1][0]),
            ('second.', learns[1], pairs[1][0], pairs[0][0]),
        ):
            difference = (own_output - other_output.detach()).square().mean(1)
            losses[f'{prefix}loss_stabilization'] = weight * (difference * mask).mean()
        return {**losses, 'exchanged': (learns[0] | learns[1]).float().mean()}

    def _stock_networks(self) -> Iterable[tuple[str, bool]]:
        # A checkpoint with heads would make both students equal.
        return [('student', True), ('second', False)]


@torch.no_grad()
def _who_learns(left: tuple[Tensor, Tensor], right: tuple[Tensor, Tensor], threshold: float) -> tuple[Tensor, Tensor]:
    """Which images each student learns from the other one, bool [N]; a student has two soft-max outputs [N, C]."""
    stable, unrest = [], []
    for own, other in (left, right):
        (confidence, label), (other_confidence, other_label) = own.max(1), other.max(1)
        sure = torch.maximum(confidence, other_confidence) > threshold
        stable.append((label == other_label) & sure)
        unrest.append((own - other).square().mean(1))
    both = stable[0] & stable[1]
    return (
        (stable[1] & ~stable[0]) | (both & (unrest[0] > unrest[1])),
        (stable[0] & ~stable[1]) | (both & (unrest[1] > unrest[0])),
    )
