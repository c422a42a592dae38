"""Cross-Consistency Training, with light auxiliary decoders."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmdmt.core.consistency import ramp_up, squared_difference
from mmdmt.errors import UserError
from mmdmt.methods.base import SemiSupervised, View


@MODELS.register_module()
class CCT(SemiSupervised):
    """Auxiliary decoders predict from perturbed features what the main one predicts (CCT, arXiv 2003.09005).

    ``z`` are the features that the head's last convolution sees, and each of M auxiliary decoders is one more such
    convolution, followed by upsampling. On unlabeled images, with soft-max outputs::

        loss = losses on labeled images + weight * r(t) * mean over decoders of mean of (aux(perturbed z) - main(z))**2

    over images, valid pixels and classes. ``main`` has no gradient; decoders and features learn. Perturbations:

    - ``dropout``: half of the channels are dropped, the others doubled;
    - ``feature_drop``: positions whose channel mean is at least U(0.7, 0.9) times the image's largest one become 0;
    - ``feature_noise``: ``z + z * N``, N uniform in (-0.3, 0.3), one tensor for the whole batch;
    - ``adversarial`` (VAT): ``z + 2 d``, where d of norm 1 is the direction in which the decoder's output changes most,
      by one power step from a random one;
    - ``context_mask``, ``object_mask``: features become 0 where ``main`` predicts the background, or all else;
    - ``guided_cutout``: in each region that ``main`` predicts as no background, with a contour of more than 50 pixels,
      features become 0 in a random box of 0.4 times the sides of the region.

    The last three need ``background``. The paper's decoders, with three steps of pixel shuffle, are replaced by light
    ones. They are in checkpoints, not in the result.

    Args:
        model: Config of a stock segmentor whose head ends with ``conv_seg``.
        decoders: Perturbation -> number of its decoders, at least one in total. Default: 2 of each of the first three,
            1 ``adversarial``. The paper's code has 6 of these three and of ``guided_cutout``, and 2 of each other one.
        background: Index of the background class, if there is one.
        weight: Largest weight of the loss on unlabeled images, not negative.
        ramp: Share of the training after which the weight is reached, in [0, 1].

    Raises:
        UserError: as :class:`SemiSupervised`, an argument out of its range, or a head without ``conv_seg``.
    """

    tasks = ('segmentation',)

    def __init__(
        self,
        model: Mapping,
        decoders: Mapping[str, int] | None = None,
        background: int | None = None,
        weight: float = 30.0,
        ramp: float = 0.1,
    ) -> None:
        super().__init__(model)
        decoders = dict(decoders or dict(dropout=2, feature_drop=2, feature_noise=2, adversarial=1))
        unknown = [name for name in decoders if name not in PERTURBATIONS]
        self._check(not unknown, decoders=decoders, allowed=f'a dict of {tuple(PERTURBATIONS)}')
        counts = decoders.values()
        whole = all(isinstance(number, int) and number >= 0 for number in counts)
        self._check(whole and sum(counts) > 0, decoders=decoders, allowed='whole numbers from 0, one above 0')
        masked = next((name for name in OF_FOREGROUND if decoders.get(name)), None)
        classes = range(self._head.num_classes)
        self._check(background in (None, *classes), background=background, allowed=f'a class of {classes}, or None')
        self._check(background is not None or not masked, background=background, allowed=f'a class for {masked}')
        self._check_range('at least 0', weight=weight)
        self._check_range('in [0, 1]', ramp=ramp)
        last = getattr(self._head, 'conv_seg', None)
        if not isinstance(last, nn.Conv2d):
            raise UserError(f'CCT: head {type(self._head).__name__} has no last convolution `conv_seg` to decode from')
        self.perturbations = [name for name, number in decoders.items() for _ in range(number)]
        self.decoders = nn.ModuleList(nn.Conv2d(last.in_channels, last.out_channels, 1) for _ in self.perturbations)
        self.background, self.weight, self.ramp = background, weight, ramp

    def loss(self, labeled: View, weak: View) -> dict[str, Tensor]:  # type: ignore[override]
        """Compute the losses of a step."""
        losses = self.supervised_loss(labeled)
        with _inputs_of(self._head) as seen:
            main = self.logits(self.student, weak).detach().float().softmax(1)
        if not seen:
            raise UserError(f'CCT: head {type(self._head).__name__} does not call cls_seg, so its features are unknown')
        features, valid, differences = seen[-1], weak.valid, []
        foreground = main.argmax(1) != self.background
        for name, decoder in zip(self.perturbations, self.decoders, strict=True):
            logits = decoder(PERTURBATIONS[name](features, decoder, foreground)).float()
            logits = F.interpolate(
                logits, main.shape[2:], mode='bilinear', align_corners=bool(self._head.align_corners)
            )
            differences.append(squared_difference(logits.softmax(1), main, valid, self.average))
        weight = self.weight * ramp_up(self.progress, self.ramp)
        return {**losses, 'loss_consistency': weight * torch.stack(differences).mean()}

    @property
    def _head(self) -> nn.Module:
        head = self.student.decode_head
        return head[-1] if isinstance(head, nn.ModuleList) else head


@contextmanager
def _inputs_of(head: nn.Module) -> Iterator[list[Tensor]]:
    """What a head's ``cls_seg`` gets: its features before dropout and the last convolution."""
    seen: list[Tensor] = []

    def record(features: Tensor) -> Any:
        seen.append(features)
        return type(head).cls_seg(head, features)

    head.cls_seg = record
    try:
        yield seen
    finally:
        del head.cls_seg


def _dropout(features: Tensor, *_: Any) -> Tensor:
    return F.dropout2d(features, 0.5)


def _feature_drop(features: Tensor, *_: Any) -> Tensor:
    attention = features.mean(1, keepdim=True)
    share = torch.empty(len(features), 1, 1, 1, device=features.device).uniform_(0.7, 0.9)
    return features * (attention < share * attention.amax((2, 3), keepdim=True))


def _feature_noise(features: Tensor, *_: Any) -> Tensor:
    noise = torch.empty(features.shape[1:], device=features.device).uniform_(-0.3, 0.3)
    return features + features * noise


def _adversarial(features: Tensor, decoder: nn.Conv2d, *_: Any) -> Tensor:
    """Move features by ``RADIUS`` into the direction that changes the decoder's output most (one power step)."""
    # So small a step as STEP changes nothing in float32.
    weight, bias = decoder.weight.detach().double(), None if decoder.bias is None else decoder.bias.detach().double()
    with torch.enable_grad(), torch.autocast(features.device.type, enabled=False):
        fixed = features.detach().double()
        reference = F.conv2d(fixed, weight, bias).log_softmax(1)
        direction = _normalized(torch.rand_like(fixed) - 0.5).requires_grad_()
        moved = F.conv2d(fixed + STEP * direction, weight, bias).log_softmax(1)
        divergence = F.kl_div(moved, reference, reduction='sum', log_target=True)
        (gradient,) = torch.autograd.grad(divergence, direction)
    return features + RADIUS * _normalized(gradient).to(features.dtype)


def _normalized(values: Tensor) -> Tensor:
    """The direction of each image's values [N, ...], with norm 1."""
    norm = values.flatten(1).norm(dim=1).clamp(min=torch.finfo(values.dtype).tiny)
    return values / norm.view(-1, *[1] * (values.ndim - 1))


def _context_mask(features: Tensor, decoder: nn.Conv2d, foreground: Tensor) -> Tensor:
    return features * _at_size(foreground, features)


def _object_mask(features: Tensor, decoder: nn.Conv2d, foreground: Tensor) -> Tensor:
    return features * _at_size(~foreground, features)


def _guided_cutout(features: Tensor, decoder: nn.Conv2d, foreground: Tensor) -> Tensor:
    kept = torch.ones_like(foreground)
    for image, own in zip(foreground.cpu().numpy().astype(np.uint8), kept, strict=True):
        contours, _ = cv2.findContours(image, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        for contour in contours:
            if len(contour) > CONTOUR:
                left, top, width, height = cv2.boundingRect(contour)
                columns, rows = round(ERASED * width), round(ERASED * height)
                left += np.random.randint(width - columns + 1)
                top += np.random.randint(height - rows + 1)
                own[top : top + rows, left : left + columns] = False
    return features * _at_size(kept, features)


def _at_size(mask: Tensor, features: Tensor) -> Tensor:
    """A mask [N, H, W] of images at the size of their features [N, C, h, w]: [N, 1, h, w]."""
    return F.interpolate(mask[:, None].to(features.dtype), features.shape[2:])


RADIUS, STEP = 2.0, 1e-6
CONTOUR, ERASED = 50, 0.4
OF_FOREGROUND = ('context_mask', 'object_mask', 'guided_cutout')
PERTURBATIONS: Mapping[str, Callable[[Tensor, nn.Conv2d, Tensor], Tensor]] = {
    'dropout': _dropout,
    'feature_drop': _feature_drop,
    'feature_noise': _feature_noise,
    'adversarial': _adversarial,
    'context_mask': _context_mask,
    'object_mask': _object_mask,
    'guided_cutout': _guided_cutout,
}
