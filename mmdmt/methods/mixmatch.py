"""MixMatch."""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor

from mmdmt.core.batch_norm import frozen_batch_norm
from mmdmt.core.consistency import sharpen, soft_cross_entropy, squared_difference
from mmdmt.core.transfer import to_device
from mmdmt.methods.base import SemiSupervised, View, joined, labels_of


@MODELS.register_module()
class MixMatch(SemiSupervised):
    """Guess labels, and mix labeled and unlabeled images (MixMatch, arXiv 1905.02249, Alg. 1).

    The guess for an unlabeled image is the mean soft-max of two views, sharpened: ``q_c**(1/T) / sum``. Labeled images
    and both views form one pool with targets. Each of its images ``i`` is mixed with another one ``j`` of the pool, a
    random permutation: ``l x_i + (1 - l) x_j`` and targets alike, with ``l = max(b, 1 - b), b ~ Beta(alpha, alpha)``::

        loss = soft CE(first n images) + weight * min(1, t / ramp) * mean over images and classes of (p - target)**2

    Guesses are made in training mode and leave no trace in the statistics of batch norm. The loss on labeled images
    replaces that of the head. The average of the student is tested.

    Args:
        model: Config of a stock classifier.
        temperature: ``T``, above 0 and at most 1.
        alpha: Parameter of the Beta distribution, above 0.
        weight: Largest weight of the loss on unlabeled images; 75 is the paper's for CIFAR-10.
        ramp: Share of the training after which the weight is reached, in [0, 1].
        teacher_momentum: See :class:`SemiSupervised`.

    Raises:
        UserError: as :class:`SemiSupervised`, or an argument out of its range.
    """

    tasks = ('classification',)

    def __init__(
        self,
        model: Mapping,
        temperature: float = 0.5,
        alpha: float = 0.75,
        weight: float = 75.0,
        ramp: float = 1 / 64,
        teacher_momentum: float | None = 0.999,
    ) -> None:
        super().__init__(model, teacher_momentum, warm=False)
        self._check_range('above 0 and at most 1', temperature=temperature)
        self._check_range('above 0', alpha=alpha)
        self._check_range('at least 0', weight=weight)
        self._check_range('in [0, 1]', ramp=ramp)
        self.temperature, self.alpha, self.weight, self.ramp = temperature, alpha, weight, ramp

    def loss(self, labeled: View, first: View, second: View) -> dict[str, Tensor]:  # type: ignore[override]
        """Compute the losses of a step."""
        guess = self._guess(first, second)
        target = F.one_hot(labels_of(labeled), guess.shape[1]).float()
        number, images = len(target), joined(labeled, first, second)
        mixed, target = self._mix(images, torch.cat([target, guess, guess]))
        logits = self.logits(self.student, mixed)
        weight = self.weight * (min(1.0, self.progress / self.ramp) if self.ramp else 1.0)
        unlabeled = squared_difference(logits[number:].float().softmax(1), target[number:])
        return {
            'loss_labeled': soft_cross_entropy(logits[:number], target[:number]),
            'loss_unlabeled': weight * unlabeled,
        }

    def _guess(self, first: View, second: View) -> Tensor:
        """Sharpened mean of the predictions of two views: float32 [N, C]."""
        with frozen_batch_norm(self.student):
            predictions = [self.frozen_logits(self.student, view).softmax(1) for view in (first, second)]
        return sharpen((predictions[0] + predictions[1]) / 2, self.temperature)

    def _mix(self, images: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        share = np.random.beta(self.alpha, self.alpha, len(images))
        own = to_device(torch.as_tensor(np.maximum(share, 1 - share), dtype=torch.float32), images.device)
        partner = to_device(torch.randperm(len(images)), images.device)
        return _blend(images, own, partner), _blend(target, own, partner)


def _blend(values: Tensor, own: Tensor, partner: Tensor) -> Tensor:
    """``own * values + (1 - own) * values[partner]``, with one share for each image of [N, ...]."""
    own = own.view(-1, *[1] * (values.ndim - 1))
    return own * values + (1 - own) * values[partner]
