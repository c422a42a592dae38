"""Deep Co-Training."""

from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmdmt.core.batch_norm import evaluating
from mmdmt.core.consistency import jensen_shannon, ramp_up, soft_cross_entropy
from mmdmt.errors import UserError
from mmdmt.methods.base import SemiSupervised, View, joined, labels_of, prefixed


@MODELS.register_module()
class DeepCoTraining(SemiSupervised):
    """Two networks agree on unlabeled images and resist each other's adversarial ones (arXiv 1803.05984).

    With soft-max outputs ``p1`` and ``p2``, unlabeled images ``u``, and ``z_i`` the labeled images of network ``i`` and
    ``u``::

        loss  = CE1(x1) + CE2(x2) + r(t) * (cot * L_cot + dif * L_dif)
        L_cot = mean of H((p1 + p2) / 2) - (H(p1) + H(p2)) / 2 on u          (Jensen-Shannon divergence)
        L_dif = mean of H(p1(z_1), p2(g1(z_1))) + mean of H(p2(z_2), p1(g2(z_2)))
        g_i(z) = z + epsilon * sign(gradient of CE(f_i(z), label) by z)

    ``H(p, q) = -sum p log q``; the label is the true one, or network i's own on ``u``. Each network sees its own half
    of the labeled images of a batch. Adversarial images are made in evaluation mode. The targets ``p_i`` of ``L_dif``
    have no gradient (public code lets it through; detaching is steadier). The first network is tested.

    Args:
        model: Config of a stock classifier; both networks are built from it.
        cot: Largest weight of ``L_cot``, not negative.
        dif: Largest weight of ``L_dif``, not negative.
        epsilon: Size of a change, in units of the normalized images, above 0.
        ramp: Share of the training after which the weights are reached, in [0, 1]; the paper's 80 of 600 epochs.

    Raises:
        UserError: as :class:`SemiSupervised`, an argument out of its range, or an odd number of labeled images.
    """

    tasks = ('classification',)

    def __init__(
        self, model: Mapping, cot: float = 10.0, dif: float = 0.5, epsilon: float = 0.02, ramp: float = 80 / 600
    ) -> None:
        super().__init__(model)
        self.second = self._build(model)
        self._check_range('at least 0', cot=cot, dif=dif)
        self._check_range('above 0', epsilon=epsilon)
        self._check_range('in [0, 1]', ramp=ramp)
        self.cot, self.dif, self.epsilon, self.ramp = cot, dif, epsilon, ramp

    def loss(self, labeled: View, weak: View) -> dict[str, Tensor]:  # type: ignore[override]
        """Compute the losses of a step."""
        number, losses = self._half(labeled), {}
        outputs, attacked = [], []
        for prefix, network, part in (('', self.student, slice(number)), ('second.', self.second, slice(number, None))):
            own = View(labeled.images[part], labeled.samples[part])
            images = joined(own, weak)
            attacked.append(self._attack(network, images, labels_of(own)))
            supervised, logits = self.joint(network, own, images)
            losses.update(prefixed(prefix, supervised))
            outputs.append(logits.float().softmax(1))
        fooled = (self.logits(self.second, attacked[0]), self.logits(self.student, attacked[1]))
        differ = [soft_cross_entropy(other, own.detach()) for other, own in zip(fooled, outputs, strict=True)]
        agree = jensen_shannon(*(probability[number:] for probability in outputs))
        ramp = ramp_up(self.progress, self.ramp)
        return {**losses, 'loss_cot': ramp * self.cot * agree, 'loss_dif': ramp * self.dif * (differ[0] + differ[1])}

    def _half(self, labeled: View) -> int:
        if len(labeled.images) % 2:
            raise UserError(
                'DeepCoTraining gives each network half of the labeled images: labeled_per_batch must be even, got '
                f'{len(labeled.images)}'
            )
        return len(labeled.images) // 2

    def _attack(self, network: nn.Module, images: Tensor, label: Tensor) -> Tensor:
        """Adversarial images [N, ...] of a network: the first ones have labels, it labels the others itself."""
        with evaluating(network), torch.enable_grad():
            images = images.detach().requires_grad_()
            logits = self.logits(network, images).float()
            target = torch.cat([label, logits[len(label) :].argmax(1)])
            (gradient,) = torch.autograd.grad(F.cross_entropy(logits, target, reduction='sum'), images)
        return (images + self.epsilon * gradient.sign()).detach()

    def _stock_networks(self) -> Iterable[tuple[str, bool]]:
        # A checkpoint with heads would make both networks equal.
        return [('student', True), ('second', False)]
